#include "gate/s2s/peer/s2s_backlog.h"
#include "gate/s2s/peer/s2s_peer_private.h"
#include "home/here.h"
#include "home/trail.h"
#include "remote/outgoing_bounce.h"
#include "xmpp/stanza.h"
#include <stdlib.h>

enum {
    SETTLE_MS = 1000,
    SETTLE_MANY = OUTGOING_MANY, /* then at once */
    EXPIRE_MIN_MS = 500,
    EXPIRE_MAX_MS = 60000
};

/* Fills `room`. */
static const struct outgoing_pair *backlog_pair(const struct s2s_peer *p,
                                                struct outgoing_pair *room)
{
    *room = (struct outgoing_pair){ p->worker, s2s_peer_local(p), s2s_peer_remote(p) };
    return room;
}

static struct s2s_peer *peer_of_timer(struct timer *t, size_t at)
{
    return (struct s2s_peer *)(void *)((char *)t - at);
}

static void peer_unpin(struct s2s_peer *p)
{
    ensure(p->pins > 0);
    p->pins--;
    peer_work(p);
}

/* Messages that are confirmed, until the database knows it. */

static bool backlog_reads(const struct s2s_backlog *b) { return b->page != NULL || b->old != NULL; }

static void settled_written_remove(struct s2s_backlog *b)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < b->settled_len; i++)
        if (!b->settled[i].written)
            b->settled[kept++] = b->settled[i];
    b->settled_len = kept;
    if (kept == 0) {
        mem_free(&b->settled);
        b->settled_cap = 0;
    }
}

/* When this server is stopped, there may be no time left for others to come. */
static void settled_plan(struct s2s_peer *p)
{
    struct s2s_backlog *b = &p->backlog;
    if (b->settled_len - b->telling >= SETTLE_MANY || peer_stopped(p))
        s2s_backlog_flush(p);
    else if (b->settled_len > b->telling && b->telling == 0 && !timer_is_set(&b->settle))
        timer_set(peer_loop(p), &b->settle, SETTLE_MS);
}

/* A page that was begun before may have what is over. */
static void settled_end(struct s2s_peer *p)
{
    struct s2s_backlog *b = &p->backlog;
    if (!b->told || backlog_reads(b))
        return;
    b->told = false;
    settled_written_remove(b);
    b->telling = 0;
    settled_plan(p);
}

/* A batch of those that are being written: they keep their places until all have answered. */
struct settled_batch {
    struct s2s_peer *peer;
    uint32_t from, count;
};

static void settled_told(void *arg, enum err e)
{
    const struct settled_batch batch = *(struct settled_batch *)arg;
    struct s2s_peer *p = batch.peer;
    struct s2s_backlog *b = &p->backlog;
    mem_free(&arg);
    ensure(b->tells > 0 && batch.from + batch.count <= b->telling);
    for (uint32_t i = 0; i < batch.count; i++)
        b->settled[batch.from + i].written = e == OK;
    b->told = --b->tells == 0;
    settled_end(p);
    peer_pump(p); /* there is room again, perhaps */
    peer_unpin(p);
}

static int settled_compare(const void *a, const void *b)
{
    const struct outgoing_id *x = &((const struct backlog_settled *)a)->id,
                             *y = &((const struct backlog_settled *)b)->id;
    return x->sender != y->sender ? (x->sender > y->sender) - (x->sender < y->sender)
                                  : (x->entry > y->entry) - (x->entry < y->entry);
}

/* A batch for each sender. */
void s2s_backlog_flush(struct s2s_peer *p)
{
    struct s2s_backlog *b = &p->backlog;
    timer_cancel(&b->settle);
    if (b->telling > 0 || b->settled_len == 0)
        return;
    b->telling = b->settled_len;
    qsort(b->settled, b->telling, sizeof *b->settled, settled_compare);
    for (uint32_t i = 0, n; i < b->telling; i += n) {
        struct outgoing_id ids[OUTGOING_MANY];
        for (n = 0; i + n < b->telling && n < OUTGOING_MANY &&
                    b->settled[i + n].id.sender == b->settled[i].id.sender;
             n++)
            ids[n] = b->settled[i + n].id;
        struct settled_batch *batch = mem_new(struct settled_batch);
        *batch = (struct settled_batch){ p, i, n };
        b->tells++;
        p->pins++;
        outgoing_tell(backlog_pair(p, &(struct outgoing_pair){ 0 }), ids, n, OUTGOING_CONFIRMED,
                      settled_told, batch);
    }
}

static void settled_due(struct timer *t, struct loop *loop)
{
    (void)loop;
    s2s_backlog_flush(peer_of_timer(t, offsetof(struct s2s_peer, backlog.settle)));
}

void s2s_backlog_confirmed(struct s2s_peer *p, const struct outgoing_id *id)
{
    struct s2s_backlog *b = &p->backlog;
    if (b->settled_len == b->settled_cap) {
        b->settled_cap = b->settled_cap == 0 ? 16 : 2 * b->settled_cap;
        b->settled = mem_realloc(b->settled, b->settled_cap * sizeof *b->settled);
    }
    b->settled[b->settled_len++] = (struct backlog_settled){ .id = *id };
    settled_plan(p);
}

/* Messages that go back to their senders. */

struct bounce {
    struct list node; /* in backlog.bounces */
    struct s2s_peer *peer;
    struct outgoing_id id;
    bool old; /* counted in backlog.giving_up */
};

bool s2s_backlog_knows(const struct s2s_peer *p, const struct outgoing_id *id)
{
    const struct s2s_backlog *b = &p->backlog;
    for (uint32_t i = 0; i < b->settled_len; i++)
        if (b->settled[i].id.entry == id->entry && b->settled[i].id.sender == id->sender)
            return true;
    LIST_EACH (it, &b->bounces) {
        const struct bounce *one = CONTAINER_OF(it, const struct bounce, node);
        if (one->id.entry == id->entry && one->id.sender == id->sender)
            return true;
    }
    return false;
}

static void backlog_old_next(struct s2s_peer *p);
static void left_settled(struct s2s_backlog *b, const struct outgoing_id *id);

static void bounce_done(void *arg, enum err e)
{
    struct bounce *one = arg;
    struct s2s_peer *p = one->peer;
    bool over = e == OK || e == E_NOTFOUND;
    list_remove(&one->node);
    if (over)
        left_settled(&p->backlog, &one->id);
    if (over && backlog_reads(&p->backlog))
        s2s_backlog_confirmed(p, &one->id); /* that page may have it */
    if (!over)                              /* it waits as before */
        s2s_backlog_found(p);
    if (one->old) {
        p->backlog.given_up += e == OK;
        if (--p->backlog.giving_up == 0)
            backlog_old_next(p);
    }
    mem_free(&one);
    peer_unpin(p);
}

static void bounce_begin(struct s2s_peer *p, const struct outgoing_id *id, struct stanza *error,
                         bool old)
{
    struct bounce *one = mem_new(struct bounce);
    *one = (struct bounce){ .peer = p, .id = *id, .old = old };
    list_append(&p->backlog.bounces, &one->node);
    p->pins++;
    outgoing_bounce(backlog_pair(p, &(struct outgoing_pair){ 0 }), id, error, bounce_done, one);
}

void s2s_backlog_bounce(struct s2s_peer *p, const struct s2s_sent *s, struct stanza *error)
{
    struct stanza *st = s->st;
    bounce_begin(p, &s->id, error, false);
    stanza_unref(&st);
}

/* Messages that the database keeps and memory does not. */

struct left {
    struct outgoing_id newest; /* of this sender; in front: its key */
    uint64_t bound;            /* rows from here on go behind what waits in memory; 0: none do */
};

static slice left_key(const void *item)
{
    const struct left *l = item;
    return (slice){ (const char *)&l->newest.sender, sizeof l->newest.sender };
}

static struct left *backlog_left(const struct s2s_backlog *b, const int64_t *sender)
{
    return map_get(&b->left, (slice){ (const char *)sender, sizeof *sender });
}

/* The newest of a sender waits no longer: nothing is left of it. */
static void left_settled(struct s2s_backlog *b, const struct outgoing_id *id)
{
    struct left *l = backlog_left(b, &id->sender);
    if (l == NULL || l->newest.entry != id->entry)
        return;
    map_del(&b->left, left_key(l));
    mem_free(&l);
}

static bool left_any_bound(const struct s2s_backlog *b)
{
    const struct left *l;
    for (uint32_t i = 0; (l = map_next(&b->left, &i)) != NULL;)
        if (l->bound != 0)
            return true;
    return false;
}

bool s2s_backlog_leaves(const struct s2s_peer *p)
{
    const struct s2s_backlog *b = &p->backlog;
    return b->some && (!b->first || left_any_bound(b));
}

bool s2s_backlog_holds(const struct s2s_peer *p) { return p->backlog.some && p->backlog.first; }

static void backlog_is_there(struct s2s_peer *p)
{
    p->backlog.some = true;
    if (!timer_is_set(&p->backlog.expire))
        timer_set(peer_loop(p), &p->backlog.expire, EXPIRE_MIN_MS);
    peer_work(p);
}

void s2s_backlog_found(struct s2s_peer *p)
{
    if (!p->backlog.some)
        p->backlog.first = true;
    p->backlog.anew = true;
    backlog_is_there(p);
}

void s2s_backlog_leave(struct s2s_peer *p, const struct s2s_sent *s, bool is_new)
{
    struct s2s_backlog *b = &p->backlog;
    struct stanza *st = s->st;
    struct left *l = backlog_left(b, &s->id.sender);
    ensure(s->id.entry != 0);
    if (l == NULL && is_new && b->left.count >= BACKLOG_SENDERS) {
        s2s_backlog_bounce(p, s,
                           stanza_make_error(st, SE_RESOURCE_CONSTRAINT,
                                             SLICE("too many stanzas wait for this server")));
        return;
    }
    trail_note(st, "waits", "for its server", s2s_peer_remote(p));
    if (l == NULL) {
        l = mem_new(struct left);
        l->newest = s->id;
        map_put(&b->left, l);
    }
    if (s->id.entry > l->newest.entry)
        l->newest = s->id;
    if (b->some && b->first && is_new && l->bound == 0)
        l->bound = s->id.entry;
    stanza_unref(&st);
    backlog_is_there(p);
}

/* Senders of whom nothing is left, or all of whose rows are next. */
static void left_forget(struct s2s_backlog *b, bool bound)
{
    struct left *l;
    for (uint32_t i = 0; (l = map_next(&b->left, &i)) != NULL;) {
        if (l->bound != 0 && !bound)
            continue;
        map_del(&b->left, left_key(l));
        mem_free(&l);
    }
}

void s2s_backlog_drained(struct s2s_peer *p)
{
    struct s2s_backlog *b = &p->backlog;
    struct left *l;
    if (!b->some || (b->first && !left_any_bound(b)))
        return;
    b->first = true;
    b->anew = true;
    for (uint32_t i = 0; (l = map_next(&b->left, &i)) != NULL;)
        l->bound = 0;
}

/* The pass. */

static void backlog_ends(struct s2s_peer *p)
{
    struct s2s_backlog *b = &p->backlog;
    b->some = b->first = false;
    timer_cancel(&b->expire);
    left_forget(b, true);
}

static void pass_ends(struct s2s_peer *p)
{
    struct s2s_backlog *b = &p->backlog;
    b->pass = PASS_NONE;
    if (b->anew)
        return;
    left_forget(b, false);
    if (b->left.count > 0)
        b->first = false; /* what waits in memory is next, and then another pass */
    else
        backlog_ends(p);
}

/* false: no more may be written now. */
static bool pass_sends(struct s2s_peer *p, const struct outgoing_line *line)
{
    const struct left *l = backlog_left(&p->backlog, &line->id.sender);
    bool behind = l != NULL && l->bound != 0 && line->id.entry >= l->bound;
    if (behind || s2s_queue_has(&p->queue, line->id.sender, line->id.entry) ||
        s2s_backlog_knows(p, &line->id))
        return true;
    if (line->st == NULL) {
        s2s_backlog_confirmed(p, &line->id); /* there is nothing to send any more */
        return true;
    }
    if (!peer_may_write(p) || p->backlog.settled_len >= BACKLOG_SETTLED_MAX)
        return false;
    peer_write_row(
        p, &(struct s2s_sent){ .st = stanza_ref(line->st), .id = line->id, .at_us = line->at_us });
    return true;
}

static void pass_page(void *arg, const struct outgoing_page *page)
{
    struct s2s_peer *p = arg;
    struct s2s_backlog *b = &p->backlog;
    unsigned i = 0;
    b->page = NULL;
    if (page->error != OK) { /* `expire` tries it again */
        settled_end(p);
        return;
    }
    while (i < page->count && pass_sends(p, &page->lines[i]))
        b->behind = page->lines[i++].id;
    settled_end(p);
    if (i == page->count && page->more)
        b->behind = page->last;
    else if (i == page->count)
        pass_ends(p);
    peer_pump(p);
}

static void pass_asked(void *arg, enum err e)
{
    struct s2s_peer *p = arg;
    ensure(p->backlog.asked > 0);
    p->backlog.asked--;
    (void)e; /* a home that is away has written nothing */
    peer_pump(p);
    peer_unpin(p);
}

static void pass_begins(struct s2s_peer *p)
{
    struct s2s_backlog *b = &p->backlog;
    struct left *l;
    b->pass = PASS_ASKS;
    b->anew = false;
    b->behind = (struct outgoing_id){ 0 };
    for (uint32_t i = 0; (l = map_next(&b->left, &i)) != NULL;) {
        b->asked++;
        p->pins++;
        outgoing_tell(backlog_pair(p, &(struct outgoing_pair){ 0 }), &l->newest, 1, OUTGOING_ASKED,
                      pass_asked, p);
    }
}

void s2s_backlog_go(struct s2s_peer *p)
{
    struct s2s_backlog *b = &p->backlog;
    if (!s2s_backlog_holds(p) || b->page != NULL || !peer_may_write(p) ||
        b->settled_len >= BACKLOG_SETTLED_MAX)
        return;
    if (b->pass == PASS_NONE)
        pass_begins(p);
    if (b->asked > 0)
        return;
    b->pass = PASS_READS;
    b->page = outgoing_read(backlog_pair(p, &(struct outgoing_pair){ 0 }), &b->behind, UINT64_MAX,
                            pass_page, p);
}

void s2s_backlog_stop(struct s2s_peer *p)
{
    outgoing_cancel(&p->backlog.page);
    p->backlog.pass = PASS_NONE;
    settled_end(p);
}

/* A page that has them is read again: the rows are gone, that was committed before. */
void s2s_backlog_sender_gone(struct s2s_peer *p)
{
    if (p->backlog.page == NULL)
        return;
    outgoing_cancel(&p->backlog.page);
    settled_end(p);
    s2s_backlog_go(p);
}

/* What is too old. All pages of it have one limit: else a page could be due when the one before it
 * was not, and senders would be told in another order. */

static bool backlog_may_give_up(const struct s2s_peer *p)
{
    return p->state != PEER_UP && p->state != PEER_CLOSING && p->failures > 0 && !peer_stopped(p);
}

static void backlog_old_lines(struct s2s_peer *p, const struct outgoing_page *page)
{
    for (unsigned i = 0; i < page->count; i++) {
        const struct outgoing_line *line = &page->lines[i];
        if (s2s_queue_has(&p->queue, line->id.sender, line->id.entry) ||
            s2s_backlog_knows(p, &line->id))
            continue;
        if (line->st == NULL) {
            s2s_backlog_confirmed(p, &line->id);
            continue;
        }
        p->backlog.giving_up++;
        bounce_begin(p, &line->id,
                     stanza_make_error(line->st, (enum stanza_error)p->blame.error, peer_words(p)),
                     true);
    }
}

static void backlog_old_page(void *arg, const struct outgoing_page *page)
{
    struct s2s_peer *p = arg;
    struct s2s_backlog *b = &p->backlog;
    b->old = NULL;
    b->old_more = page->error == OK && page->more;
    b->old_behind = page->last;
    settled_end(p);
    if (b->remains && page->error == OK && page->count == 0 && !page->more && b->left.count == 0)
        backlog_ends(p); /* others end them, too */
    else if (!b->remains && backlog_may_give_up(p))
        backlog_old_lines(p, page);
    if (b->giving_up == 0 && !b->remains)
        backlog_old_next(p);
    peer_work(p);
}

static void backlog_old_read(struct s2s_peer *p)
{
    struct s2s_backlog *b = &p->backlog;
    b->old = outgoing_read(backlog_pair(p, &(struct outgoing_pair){ 0 }), &b->old_behind,
                           b->old_before_us, backlog_old_page, p);
}

static void backlog_old_told(struct s2s_peer *p)
{
    uint32_t count = p->backlog.given_up;
    bool served = s2s_was_ours(p->worker, s2s_peer_local(p));
    p->backlog.given_up = 0;
    if (count == 0)
        return;
    metric_add_to(&s2s_given_up, served ? 0 : 1, count);
    if (served)
        log_info(&log_s2s, LOG_EV("s2s.given-up"), LOG_S("domain", s2s_peer_remote(p)),
                 LOG_S("local", s2s_peer_local(p)), LOG_I("messages", count),
                 LOG_C("why", p->blame.why));
    else
        log_warn(&log_s2s, LOG_EV("s2s.given-up"), LOG_S("domain", s2s_peer_remote(p)),
                 LOG_S("local", s2s_peer_local(p)), LOG_I("messages", count),
                 LOG_C("why", p->blame.why),
                 LOG_C("hint", "their senders are told when this server serves their domain "
                               "again, and not before"));
}

/* The rest; and then, whether any are left. */
static void backlog_old_next(struct s2s_peer *p)
{
    struct s2s_backlog *b = &p->backlog;
    if (!b->old_more)
        backlog_old_told(p);
    if (!backlog_may_give_up(p) || b->old != NULL)
        return;
    if (!b->old_more) {
        b->remains = true;
        b->old_behind = (struct outgoing_id){ 0 };
        b->old_before_us = UINT64_MAX;
    }
    backlog_old_read(p);
}

void s2s_backlog_expire(struct s2s_peer *p)
{
    struct s2s_backlog *b = &p->backlog;
    if (!b->some || b->old != NULL || b->giving_up > 0 || !backlog_may_give_up(p))
        return;
    uint64_t now = loop_wall_us(peer_loop(p)),
             keep_us = (uint64_t)setting_int(&s2s_keep_for) * 1000;
    bool all = p->state == PEER_REFUSED;
    b->remains = b->old_more = false;
    b->old_behind = (struct outgoing_id){ 0 };
    b->old_before_us = all ? now + 1 : now > keep_us ? now - keep_us + 1 : 0;
    backlog_old_read(p);
}

static void backlog_expire_due(struct timer *t, struct loop *loop)
{
    struct s2s_peer *p = peer_of_timer(t, offsetof(struct s2s_peer, backlog.expire));
    uint64_t ms = (uint64_t)setting_int(&s2s_keep_for) / 4;
    if (!p->backlog.some)
        return;
    timer_set(loop, t,
              ms < EXPIRE_MIN_MS   ? EXPIRE_MIN_MS
              : ms > EXPIRE_MAX_MS ? EXPIRE_MAX_MS
                                   : ms);
    s2s_backlog_expire(p);
    peer_pump(p); /* a page could not be read, perhaps */
}

/* Life. */

void s2s_backlog_init(struct s2s_peer *p)
{
    struct s2s_backlog *b = &p->backlog;
    b->settle.fn = settled_due;
    b->expire.fn = backlog_expire_due;
    list_init(&b->bounces);
    map_init(&b->left, left_key);
}

bool s2s_backlog_is_idle(const struct s2s_peer *p)
{
    const struct s2s_backlog *b = &p->backlog;
    return !b->some && b->settled_len == 0 && !backlog_reads(b) && list_empty(&b->bounces);
}

void s2s_backlog_fini(struct s2s_peer *p)
{
    struct s2s_backlog *b = &p->backlog;
    timer_cancel(&b->settle);
    timer_cancel(&b->expire);
    outgoing_cancel(&b->page);
    outgoing_cancel(&b->old);
    LIST_EACH (it, &b->bounces) {
        struct bounce *one = CONTAINER_OF(it, struct bounce, node);
        list_remove(it);
        mem_free(&one);
    }
    left_forget(b, true);
    map_fini(&b->left);
    mem_free(&b->settled);
    b->settled_len = b->settled_cap = 0;
}
