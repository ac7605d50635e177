#include "gate/s2s/s2s_mail.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "gate/s2s/s2s_judge.h"
#include "gate/s2s/s2s_partner.h"
#include "gate/s2s/s2s_rows.h"
#include "gate/s2s/s2s_unacked.h"
#include "home/here.h"
#include "home/trail.h"
#include "im/foreign.h"
#include "im/outgoing_bounce.h"
#include "io/loop.h"
#include <stdlib.h>

enum {
    SETTLE_MS = 1000,
    SETTLE_MANY = OUTGOING_MANY, /* then at once */
    EXPIRE_MIN_MS = 500,
    EXPIRE_MAX_MS = 60000,
    READ_AGAIN_MS = 1000,
    REST_MS = 100,
    HURRY_US = 2 * 1000000
};

static struct loop *mail_loop(const struct s2s_mail *m)
{
    return worker_loop(partner_worker(m->partner));
}

/* Fills `room`. */
static const struct outgoing_pair *mail_pair(const struct s2s_mail *m, struct outgoing_pair *room)
{
    *room = (struct outgoing_pair){ partner_worker(m->partner), partner_local(m->partner),
                                    partner_remote(m->partner), partner_share(m->partner) };
    return room;
}

static void mail_settle_due(struct timer *t, struct loop *loop);
static void mail_expire_due(struct timer *t, struct loop *loop);
static void mail_rested(struct timer *t, struct loop *loop);

static slice mail_asked_key(const void *item);

void s2s_mail_init(struct s2s_mail *m, struct partner *p)
{
    m->partner = p;
    m->settle.fn = mail_settle_due;
    m->expire.fn = mail_expire_due;
    m->rest.fn = mail_rested;
    list_init(&m->left);
    map_init(&m->asked_of, mail_asked_key);
}

/* What is left to the database. Its write may be under way, or have failed: the home of its sender
 * is asked, where the answer comes behind it, and so behind that of all older ones of this sender:
 * only the newest one is asked for. */
struct left {
    struct list node; /* in mail.left */
    struct s2s_mail *mail;
    struct s2s_sent sent; /* st NULL: it is asked for, nobody needs its text */
    uint64_t newest;      /* of the same sender, left meanwhile: it is asked for next */
    uint64_t older_to;    /* the newest one when the last pass began */
    bool several;         /* it was asked for with older ones */
    bool older;           /* counted in mail.older */
    bool given_up;        /* its sender is being told */
    struct timer again;   /* it is asked for again */
};

static slice mail_asked_key(const void *item)
{
    const struct left *l = item;
    return (slice){ (const char *)&l->sent.id.sender, sizeof l->sent.id.sender };
}

static bool mail_is_given_up(const struct s2s_mail *m, const struct outgoing_id *id)
{
    LIST_EACH (it, &m->left) {
        const struct left *l = CONTAINER_OF(it, const struct left, node);
        if (l->given_up && l->sent.id.entry == id->entry && l->sent.id.sender == id->sender)
            return true;
    }
    return false;
}

/* What is confirmed. */

bool s2s_mail_has(const struct s2s_mail *m, const struct outgoing_id *id)
{
    for (uint32_t i = 0; i < m->settled_len; i++)
        if (m->settled[i].id.entry == id->entry && m->settled[i].id.sender == id->sender)
            return true;
    return mail_is_given_up(m, id);
}

static void mail_written_remove(struct s2s_mail *m)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < m->settled_len; i++)
        if (!m->settled[i].written)
            m->settled[kept++] = m->settled[i];
    m->settled_len = kept;
    if (kept == 0) {
        mem_free(&m->settled);
        m->settled_cap = 0;
    }
}

/* When this server is stopped, there may be no time left for others to come. Or: see
 * s2s_mail_hurries(). */
static bool mail_settles_at_once(const struct s2s_mail *m)
{
    struct worker *w = partner_worker(m->partner);
    return s2s_worker(partner_gate(m->partner), w)->out.stopped ||
           loop_now_us(mail_loop(m)) < m->hurry_us;
}

/* A page that was begun before may have what is over. */
static bool mail_reads(const struct s2s_mail *m)
{
    return m->page != NULL || m->judge != NULL || m->old_page != NULL || m->old_judge != NULL;
}

static void mail_settle_ends(struct s2s_mail *m)
{
    if (!m->told || mail_reads(m))
        return;
    m->told = false;
    mail_written_remove(m);
    m->telling = 0;
    if (!m->tell_failed && (m->settled_len >= SETTLE_MANY || mail_settles_at_once(m)))
        s2s_mail_write(m);
    else if (m->settled_len > 0)
        timer_set(mail_loop(m), &m->settle, SETTLE_MS);
}

/* A batch of those that are being written: they keep their places until all batches have answered.
 */
struct mail_batch {
    struct s2s_mail *mail;
    uint32_t from, count;
};

static void mail_settle_told(void *arg, enum err e)
{
    const struct mail_batch batch = *(struct mail_batch *)arg;
    struct s2s_mail *m = batch.mail;
    mem_free(&arg);
    ensure(m->tells > 0 && batch.from + batch.count <= m->telling);
    for (uint32_t i = 0; i < batch.count; i++)
        m->settled[batch.from + i].written = e == OK;
    m->tell_failed |= e != OK;
    m->told = --m->tells == 0;
    mail_settle_ends(m);
    s2s_mail_go(m); /* there is room again, perhaps */
    partner_unpin(m->partner);
}

static int mail_settled_compare(const void *a, const void *b)
{
    const struct outgoing_id *x = &((const struct mail_settled *)a)->id,
                             *y = &((const struct mail_settled *)b)->id;
    return x->sender != y->sender ? (x->sender > y->sender) - (x->sender < y->sender)
                                  : (x->entry > y->entry) - (x->entry < y->entry);
}

/* A batch for each sender. */
void s2s_mail_write(struct s2s_mail *m)
{
    timer_cancel(&m->settle);
    if (m->telling > 0 || m->settled_len == 0)
        return;
    m->tell_failed = false;
    m->telling = m->settled_len;
    qsort(m->settled, m->telling, sizeof *m->settled, mail_settled_compare);
    for (uint32_t i = 0, n; i < m->telling; i += n) {
        struct outgoing_id ids[OUTGOING_MANY];
        for (n = 0; i + n < m->telling && n < OUTGOING_MANY &&
                    m->settled[i + n].id.sender == m->settled[i].id.sender;
             n++)
            ids[n] = m->settled[i + n].id;
        struct mail_batch *batch = mem_new(struct mail_batch);
        *batch = (struct mail_batch){ m, i, n };
        m->tells++;
        partner_pin(m->partner);
        outgoing_tell(mail_pair(m, &(struct outgoing_pair){ 0 }), ids, n, OUTGOING_CONFIRMED,
                      mail_settle_told, batch);
    }
}

static void mail_settle_due(struct timer *t, struct loop *loop)
{
    (void)loop;
    s2s_mail_write(CONTAINER_OF(t, struct s2s_mail, settle));
}

void s2s_mail_confirmed(struct s2s_mail *m, const struct outgoing_id *id)
{
    if (m->settled_len == m->settled_cap) {
        m->settled_cap = m->settled_cap == 0 ? 16 : 2 * m->settled_cap;
        m->settled = mem_realloc(m->settled, m->settled_cap * sizeof *m->settled);
    }
    m->settled[m->settled_len++] = (struct mail_settled){ .id = *id };
    if (m->settled_len - m->telling >= SETTLE_MANY || mail_settles_at_once(m))
        s2s_mail_write(m);
    else if (!timer_is_set(&m->settle) && m->telling == 0)
        timer_set(mail_loop(m), &m->settle, SETTLE_MS);
}

void s2s_mail_hurries(struct s2s_mail *m)
{
    m->hurry_us = loop_now_us(mail_loop(m)) + HURRY_US;
    s2s_mail_write(m);
}

static struct left *mail_left_add(struct s2s_mail *m, const struct s2s_sent *s, bool given_up)
{
    struct left *l = mem_new(struct left);
    *l = (struct left){ .mail = m, .sent = *s, .newest = s->id.entry, .given_up = given_up };
    list_append(&m->left, &l->node);
    partner_pin(m->partner);
    return l;
}

static void mail_left_free(struct left *l)
{
    struct partner *p = l->mail->partner;
    list_remove(&l->node);
    stanza_unref(&l->sent.st);
    mem_free(&l);
    partner_unpin(p);
}

static void mail_is_over(struct s2s_mail *m, const struct left *l)
{
    if (mail_reads(m))
        s2s_mail_confirmed(m, &l->sent.id);
}

static void mail_bounced(void *arg, enum err e)
{
    struct left *l = arg;
    if (e != OK && e != E_NOTFOUND) /* it waits as before */
        s2s_mail_found(l->mail);
    else
        mail_is_over(l->mail, l);
    mail_left_free(l);
}

/* Takes over both references. */
static void mail_give_up(struct s2s_mail *m, const struct s2s_sent *s, struct stanza *error)
{
    outgoing_bounce(mail_pair(m, &(struct outgoing_pair){ 0 }), &s->id, error, mail_bounced,
                    mail_left_add(m, s, true));
}

static void mail_is_there(struct s2s_mail *m)
{
    m->backlog = true;
    m->again = true;
    if (!timer_is_set(&m->expire))
        timer_set(mail_loop(m), &m->expire, EXPIRE_MIN_MS);
    partner_mail_came(m->partner);
}

void s2s_mail_found(struct s2s_mail *m)
{
    m->closing = false; /* another connection has left some: they are on no way to the inbox */
    mail_is_there(m);
}

static void mail_left_told(void *arg, enum err e);

static void mail_left_ask(struct left *l)
{
    outgoing_tell(mail_pair(l->mail, &(struct outgoing_pair){ 0 }), &l->sent.id, 1, OUTGOING_ASKED,
                  mail_left_told, l);
}

static void mail_left_again(struct timer *t, struct loop *loop)
{
    (void)loop;
    mail_left_ask(CONTAINER_OF(t, struct left, again));
}

/* Until it is known, what is there is sent, and the backlog does not end: its row may still come.
 */
static void mail_left_told(void *arg, enum err e)
{
    struct left *l = arg;
    struct s2s_mail *m = l->mail;
    ensure(m->asked > 0);
    if (e != OK && e != E_NOTFOUND) {
        l->again.fn = mail_left_again;
        timer_set(mail_loop(m), &l->again, READ_AGAIN_MS);
        mail_is_there(m);
        s2s_mail_go(m);
        return;
    }
    if (l->older && l->sent.id.entry >= l->older_to) {
        l->older = false;
        m->older--;
    }
    if (e == OK || l->several) /* it is there, or older ones */
        mail_is_there(m);
    if (l->newest > l->sent.id.entry) {
        l->sent.id.entry = l->newest;
        l->several = true;
        mail_left_ask(l);
        s2s_mail_go(m);
        return;
    }
    m->asked--;
    map_del(&m->asked_of, mail_asked_key(l));
    s2s_mail_go(m);
    if (!s2s_mail_waits(m)) {
        s2s_mail_keeps_none(m);
        partner_mail_done(m->partner); /* none was stored: nothing goes before the inbox */
    }
    mail_left_free(l);
}

void s2s_mail_leave(struct s2s_mail *m, const struct s2s_sent *s, bool is_new)
{
    struct s2s_sent gone = *s;
    ensure(s->id.entry != 0);
    if (partner_has(m->partner, &s->id)) { /* a page of the backlog had it already */
        stanza_unref(&gone.st);
        return;
    }
    trail_note(s->st, "waits", "for its server", partner_remote(m->partner));
    struct left *l =
        map_get(&m->asked_of, (slice){ (const char *)&s->id.sender, sizeof s->id.sender });
    if (l == NULL && is_new && m->asked >= MAIL_LEFT_MAX) {
        mail_give_up(m, s,
                     stanza_make_error(s->st, SE_RESOURCE_CONSTRAINT,
                                       SLICE("too many stanzas wait for this server")));
        return;
    }
    stanza_unref(&gone.st);
    m->again = true;
    m->closing = false;
    if (l != NULL) {
        l->several |= s->id.entry < l->sent.id.entry;
        l->newest = s->id.entry > l->newest ? s->id.entry : l->newest;
        return;
    }
    l = mail_left_add(m, &(struct s2s_sent){ .id = s->id }, false);
    map_put(&m->asked_of, l);
    m->asked++;
    mail_left_ask(l);
}

void s2s_mail_bounce(struct s2s_mail *m, const struct s2s_sent *s, struct stanza *reply)
{
    mail_give_up(m, s, reply);
}

static struct stanza *mail_refusal(const struct stanza *st, const struct edge_word *word)
{
    return word->silent ? NULL : stanza_make_error(st, word->error, (slice){ 0 });
}

void s2s_mail_refuse(struct s2s_mail *m, const struct s2s_sent *s, const struct edge_word *word)
{
    mail_give_up(m, s, mail_refusal(s->st, word));
}

/* The backlog, when the stream is up. */

static void mail_backlog_ends(struct s2s_mail *m)
{
    m->backlog = false;
    s2s_mail_keeps_none(m);
    m->behind = (struct outgoing_id){ 0 };
    timer_cancel(&m->expire);
    partner_mail_done(m->partner);
}

static void mail_gone_forget(struct s2s_mail *m)
{
    mem_free(&m->gone);
    m->gone_len = m->gone_cap = 0;
}

/* Another one with the same hash is read again, too. */
static bool mail_is_of_gone(const struct s2s_mail *m, const struct outgoing_line *line)
{
    if (line->st == NULL || m->gone_len == 0)
        return false;
    uint64_t sender = hash_keyed(stanza_from_bare(line->st));
    for (uint32_t i = 0; i < m->gone_len; i++)
        if (m->gone[i] == sender)
            return true;
    return false;
}

static void mail_gone_add(struct s2s_mail *m, slice bare)
{
    if (m->gone_len == m->gone_cap) {
        m->gone_cap = m->gone_cap == 0 ? 16 : 2 * m->gone_cap;
        m->gone = mem_realloc(m->gone, m->gone_cap * sizeof *m->gone);
    }
    m->gone[m->gone_len++] = hash_keyed(bare);
}

static bool mail_line_send(struct s2s_mail *m, const struct outgoing_line *line,
                           const struct edge_word *word)
{
    struct s2s_sent s = { .st = line->st, .id = line->id, .at_us = line->at_us };
    if (s2s_mail_is_full(m))
        return false;
    if (mail_is_of_gone(m, line)) {
        m->again = true; /* it may be of the next account of that address */
        return true;
    }
    if (partner_has(m->partner, &line->id) || s2s_mail_has(m, &line->id))
        return true;
    if (partner_judges_older(m->partner, &line->id)) {
        timer_set(mail_loop(m), &m->rest, REST_MS);
        return false;
    }
    if (line->st == NULL) {
        s2s_mail_confirmed(m, &line->id); /* there is nothing to send any more */
        return true;
    }
    if (m->kept && partner_keeps_older(m->partner, &line->id, line->st)) {
        m->again |= !m->closing; /* else it is on its way to the inbox, */
        m->passed = true;        /* ... unless another node has left it */
        return true;
    }
    bool goes = edge_word_goes(word);
    if (goes && !partner_takes_mail(m->partner))
        return false;
    stanza_ref(s.st);
    if (goes) {
        s.st = foreign_goes(s.st, word);
        partner_send(m->partner, &s);
    } else {
        s2s_mail_refuse(m, &s, word);
    }
    return true;
}

/* What is being left now goes before all that comes from now on. */
static void mail_close(struct s2s_mail *m)
{
    m->closing = true;
    m->whole = false;
    m->older = m->asked;
    LIST_EACH (it, &m->left) {
        struct left *l = CONTAINER_OF(it, struct left, node);
        l->older = !l->given_up;
        l->older_to = l->newest;
    }
}

void s2s_mail_keeps(struct s2s_mail *m)
{
    ensure(m->kept <= s2s_mail_waits(m));
    if (s2s_mail_waits(m) && !m->closing)
        mail_close(m);
    m->kept = s2s_mail_waits(m);
}

void s2s_mail_hint(struct s2s_mail *m, bool inbox)
{
    if (!m->kept && (s2s_mail_waits(m) || !inbox)) {
        s2s_mail_found(m);
        return;
    }
    mail_is_there(m);
    if (!m->kept)
        s2s_mail_keeps(m);
}

void s2s_mail_keeps_none(struct s2s_mail *m) { m->kept = m->closing = false; }

/* The end of a pass is not that of the backlog. */
static void mail_pass_ends(struct s2s_mail *m)
{
    m->behind = (struct outgoing_id){ 0 };
    if (m->kept && m->whole && (!m->closing || !m->again)) {
        m->kept = false;
        partner_mail_done(m->partner); /* the inbox is next, and then another pass */
        return;
    }
    if (!m->kept && !m->closing)
        mail_close(m);
    timer_set(mail_loop(m), &m->rest, REST_MS);
}

static void mail_page_judged(void *arg, const struct outgoing_page *page,
                             const struct edge_word *words)
{
    struct s2s_mail *m = arg;
    unsigned i = 0;
    m->judge = NULL;
    partner_pin(m->partner);
    while (i < page->count && mail_line_send(m, &page->lines[i], &words[i]))
        m->behind = page->lines[i++].id;
    mail_settle_ends(m);
    if (i == page->count && page->more) {
        m->behind = page->last;
    } else if (i == page->count && !m->again && !m->passed && m->asked == 0) {
        mail_backlog_ends(m);
        partner_unpin(m->partner);
        return;
    } else if (i == page->count) {
        mail_pass_ends(m);
    }
    s2s_mail_go(m);
    partner_unpin(m->partner);
}

static void mail_page(void *arg, const struct outgoing_page *page)
{
    struct s2s_mail *m = arg;
    m->page = NULL;
    if (page->error != OK) { /* the timer tries it again */
        timer_set(mail_loop(m), &m->expire, READ_AGAIN_MS);
        mail_settle_ends(m);
        return;
    }
    struct s2s_judge *j = s2s_judge_page(partner_worker(m->partner), page, mail_page_judged, m);
    if (j != NULL)
        m->judge = j;
}

void s2s_mail_go(struct s2s_mail *m)
{
    if (!m->backlog || m->page != NULL || m->judge != NULL || timer_is_set(&m->rest) ||
        s2s_mail_is_full(m) || !partner_takes_mail(m->partner))
        return;
    if (m->behind.entry == 0) {
        m->again = m->passed = false;
        m->whole = m->older == 0;
    }
    mail_gone_forget(m);
    m->page = outgoing_read(mail_pair(m, &(struct outgoing_pair){ 0 }), &m->behind, UINT64_MAX,
                            mail_page, m);
}

static void mail_rested(struct timer *t, struct loop *loop)
{
    (void)loop;
    s2s_mail_go(CONTAINER_OF(t, struct s2s_mail, rest));
}

/* It is read again, perhaps. */
static void mail_page_drop(struct s2s_mail *m)
{
    outgoing_cancel(&m->page);
    s2s_judge_cancel(&m->judge);
    mail_settle_ends(m);
}

void s2s_mail_sender_gone(struct s2s_mail *m, slice bare)
{
    if (m->page == NULL && (m->judge == NULL || !s2s_judge_has(m->judge, bare)))
        return;
    if (m->gone_len < MAIL_GONE_MAX) {
        mail_gone_add(m, bare);
        return;
    }
    mail_page_drop(m);
    s2s_mail_go(m); /* the rows are gone: that was committed before */
}

void s2s_mail_widened(struct s2s_mail *m)
{
    if (!m->backlog)
        return;
    mail_page_drop(m);
    m->behind = (struct outgoing_id){ 0 };
    s2s_mail_go(m);
}

void s2s_mail_stop(struct s2s_mail *m)
{
    mail_page_drop(m);
    timer_cancel(&m->rest);
    m->closing &= m->kept;
    m->behind = (struct outgoing_id){ 0 };
    if (m->backlog && !timer_is_set(&m->expire))
        timer_set(mail_loop(m), &m->expire, EXPIRE_MIN_MS);
}

/* While the domain fails: what is too old, and before that, if rules have changed since it was last
 * looked for, what they do not let go any more. */

static void mail_old_next(struct s2s_mail *m);

static void mail_old_told(void *arg, enum err e)
{
    struct left *l = arg;
    struct s2s_mail *m = l->mail;
    ensure(m->giving_up > 0);
    m->giving_up--;
    m->given_up += e == OK && !m->judges;
    if (e == OK || e == E_NOTFOUND)
        mail_is_over(m, l);
    else /* also if the stream is up by now, and a page was read to its end without it */
        s2s_mail_found(m);
    if (m->giving_up == 0)
        mail_old_next(m);
    mail_left_free(l);
}

/* words: what becomes of its lines; NULL: all are too old. */
static void mail_old_lines(struct s2s_mail *m, const struct outgoing_page *page,
                           const struct edge_word *words)
{
    for (unsigned i = 0; i < page->count; i++) {
        const struct outgoing_line *line = &page->lines[i];
        if (partner_has(m->partner, &line->id) || s2s_mail_has(m, &line->id))
            continue;
        if (line->st == NULL) {
            if (!s2s_mail_is_full(m)) /* else the next pass finds it */
                s2s_mail_confirmed(m, &line->id);
            continue;
        }
        if (words != NULL && edge_word_goes(&words[i]))
            continue;
        m->giving_up++;
        outgoing_bounce(mail_pair(m, &(struct outgoing_pair){ 0 }), &line->id,
                        words == NULL ? partner_complaint(m->partner, line->st)
                                      : mail_refusal(line->st, &words[i]),
                        mail_old_told,
                        mail_left_add(m, &(struct s2s_sent){ .id = line->id }, true));
    }
}

static void mail_old_handle(struct s2s_mail *m, const struct outgoing_page *page,
                            const struct edge_word *words)
{
    partner_pin(m->partner);
    m->old_more = page->error == OK && page->more;
    m->old_behind = page->last;
    if (m->remains && page->error == OK && page->count == 0 && !page->more && !m->again &&
        m->asked == 0)
        mail_backlog_ends(m);
    if (!m->remains && partner_may_give_up(m->partner)) /* still */
        mail_old_lines(m, page, words);
    mail_settle_ends(m);
    if (m->giving_up == 0 && !m->remains)
        mail_old_next(m);
    else if (m->remains && m->judged_version != foreign_version())
        s2s_mail_expire(m);
    partner_unpin(m->partner);
}

static void mail_old_judged(void *arg, const struct outgoing_page *page,
                            const struct edge_word *words)
{
    struct s2s_mail *m = arg;
    m->old_judge = NULL;
    mail_old_handle(m, page, words);
}

static void mail_old_page(void *arg, const struct outgoing_page *page)
{
    struct s2s_mail *m = arg;
    m->old_page = NULL;
    if (m->judges && page->error != OK)
        m->judged_version = 0; /* it is looked for again */
    if (!m->judges || page->error != OK) {
        mail_old_handle(m, page, NULL);
        return;
    }
    struct s2s_judge *j = s2s_judge_page(partner_worker(m->partner), page, mail_old_judged, m);
    if (j != NULL)
        m->old_judge = j;
}

static void mail_old_read(struct s2s_mail *m)
{
    m->old_page = outgoing_read(mail_pair(m, &(struct outgoing_pair){ 0 }), &m->old_behind,
                                m->old_before_us, mail_old_page, m);
}

/* A pass begins. All its pages have one limit: else a page could be due when the one before it was
 * not, and senders would be told in another order. */
static void mail_old_begin(struct s2s_mail *m)
{
    uint64_t now = loop_wall_us(mail_loop(m));
    uint64_t keep_us = (uint64_t)setting_int(&s2s_keep_for) * 1000;
    m->remains = m->old_more = false;
    m->old_behind = (struct outgoing_id){ 0 };
    bool hopeless = partner_is_hopeless(m->partner); /* then all go back, and for that reason */
    m->judges = !hopeless && m->judged_version != foreign_version();
    m->judged_version = foreign_version();
    m->old_before_us = m->judges       ? UINT64_MAX
                       : hopeless      ? now + 1
                       : now > keep_us ? now - keep_us + 1
                                       : 0;
    mail_old_read(m);
}

static void mail_old_told_of(struct s2s_mail *m)
{
    if (m->given_up > 0)
        partner_mail_given_up(m->partner, m->given_up);
    m->given_up = 0;
}

/* The rest of the pass; what is too old; and then, whether any are left: others end them, too. */
static void mail_old_next(struct s2s_mail *m)
{
    bool ends = partner_may_give_up(m->partner);
    if (!ends || !m->old_more)
        mail_old_told_of(m);
    if (!ends)
        return;
    if (m->old_more) {
        mail_old_read(m);
    } else if (m->judges && m->judged_version != 0) {
        mail_old_begin(m);
    } else {
        m->judges = false;
        m->remains = true;
        m->again = false;
        m->old_behind = (struct outgoing_id){ 0 };
        m->old_before_us = UINT64_MAX;
        mail_old_read(m);
    }
}

void s2s_mail_expire(struct s2s_mail *m)
{
    if (!m->backlog || m->old_page != NULL || m->old_judge != NULL || m->giving_up > 0 ||
        !partner_may_give_up(m->partner))
        return;
    mail_old_begin(m);
}

bool s2s_mail_gives_up(const struct s2s_mail *m)
{
    LIST_EACH (it, &m->left)
        if (CONTAINER_OF(it, const struct left, node)->given_up)
            return true;
    return false;
}

bool s2s_mail_hands_over(struct s2s_mail *m)
{
    bool any = m->backlog;
    ensure(m->page == NULL && m->judge == NULL);
    m->backlog = m->again = false;
    s2s_mail_keeps_none(m);
    timer_cancel(&m->expire);
    return any;
}

static void mail_expire_due(struct timer *t, struct loop *loop)
{
    struct s2s_mail *m = CONTAINER_OF(t, struct s2s_mail, expire);
    uint64_t ms = (uint64_t)setting_int(&s2s_keep_for) / 4;
    if (!m->backlog)
        return;
    timer_set(loop, t,
              ms < EXPIRE_MIN_MS   ? EXPIRE_MIN_MS
              : ms > EXPIRE_MAX_MS ? EXPIRE_MAX_MS
                                   : ms);
    s2s_mail_expire(m);
    s2s_mail_go(m); /* a page could not be read, perhaps */
}

void s2s_mail_fini(struct s2s_mail *m)
{
    timer_cancel(&m->settle);
    timer_cancel(&m->expire);
    timer_cancel(&m->rest);
    outgoing_cancel(&m->page);
    s2s_judge_cancel(&m->judge);
    outgoing_cancel(&m->old_page);
    s2s_judge_cancel(&m->old_judge);
    LIST_EACH (it, &m->left) {
        struct left *l = CONTAINER_OF(it, struct left, node);
        timer_cancel(&l->again);
        list_remove(it);
        stanza_unref(&l->sent.st);
        mem_free(&l);
    }
    map_fini(&m->asked_of);
    mail_gone_forget(m);
    mem_free(&m->settled);
    m->settled_len = m->settled_cap = 0;
}
