#include "session/session_queue.h"
#include "account/account.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/setting.h"
#include "codec/xml_write.h"
#include "core/budget.h"
#include "core/feature.h"
#include "core/stage.h"
#include "home/here.h"
#include "home/router.h"
#include "home/trail.h"
#include "session/behind.h"
#include "session/given.h"
#include "session/session_struct.h"

/* How often a long queue has an archive id: a search from its oldest on would cost its length for
 * each message that is handed over or acknowledged. */
struct queued_id {
    uint64_t archive_id;
    uint32_t all, own; /* own: not as a copy of what went to another session */
};

enum { SEARCHED_MAX = 64 }; /* a shorter queue is searched */

static slice queued_id_key(const void *item)
{
    const struct queued_id *id = item;
    return (slice){ (const char *)&id->archive_id, sizeof id->archive_id };
}

static struct queued_id *queue_index_find(const struct session *s, uint64_t archive_id)
{
    return map_get(s->queue_index, (slice){ (const char *)&archive_id, sizeof archive_id });
}

static void queue_index_add(struct session *s, const struct queued *q)
{
    if (s->queue_index == NULL || q->archive_id == 0)
        return;
    struct queued_id *id = queue_index_find(s, q->archive_id);
    if (id == NULL) {
        id = mem_new(struct queued_id);
        id->archive_id = q->archive_id;
        map_put(s->queue_index, id);
    }
    id->all++;
    id->own += !queued_is_carbon(q);
}

static void queue_index_remove(struct session *s, const struct queued *q)
{
    if (s->queue_index == NULL || q->archive_id == 0)
        return;
    struct queued_id *id = queue_index_find(s, q->archive_id);
    bool own = !queued_is_carbon(q);
    ensure(id != NULL && id->all > 0 && id->own >= own);
    id->all--;
    id->own -= own;
    if (id->all > 0)
        return;
    map_del(s->queue_index, queued_id_key(id));
    mem_free(&id);
}

static void queue_index_make(struct session *s)
{
    ensure(s->queue_index == NULL);
    s->queue_index = mem_new(struct map);
    map_init(s->queue_index, queued_id_key);
    for (uint32_t i = 0; i < s->queue_len; i++)
        queue_index_add(s, session_queue_at(s, i));
}

static void queue_index_free(struct session *s)
{
    struct queued_id *id;
    if (s->queue_index == NULL)
        return;
    for (uint32_t i = 0; (id = map_next(s->queue_index, &i)) != NULL;)
        mem_free(&id);
    map_fini(s->queue_index);
    mem_free(&s->queue_index);
}

static void session_queue_grow(struct session *s)
{
    uint32_t cap = s->queue_cap == 0 ? 8 : s->queue_cap * 2;
    struct queued *q = mem_alloc(cap * sizeof *q);
    for (uint32_t i = 0; i < s->queue_len; i++)
        q[i] = *session_queue_at(s, i);
    mem_free(&s->queue);
    s->queue = q;
    s->queue_cap = cap;
    s->queue_head = 0;
}

static void session_queue_push_stanza(struct session *s, struct stanza *st,
                                      const struct stanza_note *note, enum queued_to to)
{
    if (s->queue_len == s->queue_cap)
        session_queue_grow(s);
    uint64_t now = loop_wall_us(worker_loop(s->account->worker));
    bool late = note->delay_us != 0;
    s->queue_bytes += st->bytes;
    s->account->queue_bytes += st->bytes;
    *session_queue_at(s, s->queue_len++) = (struct queued){ .st = stanza_ref(st),
                                                            .archive_id = note->archive_id,
                                                            .at_us = late ? note->delay_us : now,
                                                            .seq = s->out_count,
                                                            .delayed = late,
                                                            .to = (uint8_t)to };
    queue_index_add(s, session_queue_at(s, s->queue_len - 1));
}

void session_queue_push(struct session *s, struct stanza *st, uint64_t archive_id,
                        uint64_t delay_us)
{
    session_queue_push_stanza(
        s, st, &(struct stanza_note){ .archive_id = archive_id, .delay_us = delay_us }, QUEUED_OWN);
}

static void session_queue_release(struct session *s, struct queued *q)
{
    s->queue_bytes -= q->st->bytes;
    s->account->queue_bytes -= q->st->bytes;
    stanza_unref(&q->st);
}

static void session_queue_remove(struct session *s, struct queued *q)
{
    queue_index_remove(s, q);
    session_queue_release(s, q);
}

void session_queue_free(struct session *s)
{
    queue_index_free(s);
    for (uint32_t i = 0; i < s->queue_len; i++)
        session_queue_release(s, session_queue_at(s, i));
    s->queue_len = 0;
    mem_free(&s->queue);
}

static void took(struct session *s, const struct queued *q)
{
    struct account *a = s->account;
    if (queued_is_carbon(q) && mailbox_state(a, q->archive_id) != ENTRY_TAKEN)
        return; /* it waits for a session that is to receive it */
    if (!queued_is_carbon(q) || !session_queued_elsewhere(a, s, q->archive_id, false))
        mailbox_settle(a, q->archive_id);
    else
        given_put(a, q->archive_id, s->id);
}

static void session_queue_pop(struct session *s)
{
    struct queued *q = session_queue_at(s, 0);
    if (s->sm != 0)
        trail_note(q->st, "acknowledged", "", s->jid);
    if (q->archive_id != 0)
        took(s, q);
    session_queue_remove(s, q);
    s->queue_head = (s->queue_head + 1) & (s->queue_cap - 1);
    s->queue_len--;
    if (s->queue_unsent > s->queue_len)
        s->queue_unsent = s->queue_len;
    if (s->queue_len == 0)
        queue_index_free(s);
    if (s->queue_len == 0 && s->queue_cap > 64) { /* a burst is over */
        mem_free(&s->queue);
        s->queue_cap = s->queue_head = 0;
    }
}

static void pop_to(struct session *s, uint32_t seq)
{
    while (s->queue_len > 0 && (int32_t)(session_queue_at(s, 0)->seq - seq) <= 0)
        session_queue_pop(s);
    if (s->flushing || s->awaited)
        EMIT(session.took, s);
    if (s->producers != NULL && session_took(s))
        session_produce(s, s);
}

/* Without stream management all was written; with it all but a few are acknowledged. */
bool session_took(const struct session *s)
{
    enum { UNACKED_MAX = 16 };
    return s->state == SESSION_ATTACHED && s->queue_len <= (s->sm == 0 ? 0 : UNACKED_MAX);
}

static void session_queue_flush_some(struct session *s, bool all);

static bool all_asked(const struct session *s)
{
    return s->out_asked == s->out_count - s->queue_unsent;
}

static void ask(struct session *s)
{
    s->out_asked = s->out_count - s->queue_unsent;
    session_down(s, &(struct down){ .kind = DOWN_REQUEST });
}

void session_wait(struct session *s, struct producer *p)
{
    struct producer **at = &s->producers;
    while (*at != NULL) /* in the order in which they asked */
        at = &(*at)->next;
    p->next = NULL;
    *at = p;
    session_queue_flush_some(s, false); /* what is not sent is never taken */
    if (s->sm != 0 && s->state == SESSION_ATTACHED && !all_asked(s))
        ask(s);
}

bool session_claim(struct session *s)
{
    if (s->claims == SESSION_CLAIMS_MAX)
        return false;
    s->claims++;
    return true;
}

void session_unclaim(struct worker *w, uint64_t session)
{
    struct session *s = session_find(w, session);
    if (s != NULL && s->claims > 0)
        s->claims--;
}

void session_produce(struct session *s, struct session *to)
{
    struct producer *p = s->producers, *next;
    s->producers = NULL;
    for (; p != NULL; p = next) {
        next = p->next;
        p->go(p, to);
    }
}

bool session_acked(struct session *s, uint32_t h)
{
    uint32_t target = s->out_base + h;
    if (target - s->out_acked > s->out_count - s->queue_unsent - s->out_acked)
        return false; /* too high, or gone backwards */
    s->out_acked = target;
    if ((int32_t)(s->out_asked - target) < 0)
        s->out_asked = target;
    pop_to(s, target);
    return true;
}

void session_written(struct session *s, uint32_t count)
{
    if (s->sm == 0) /* else only the client's acknowledgement settles (architecture §6) */
        pop_to(s, count);
}

/* The id that the client is told: hidden entries have none. */
static uint64_t told_id(const struct session *s, uint64_t archive_id)
{
    return mailbox_hides(s->account, archive_id) ? 0 : archive_id;
}

/* After a long stanza the next one waits until its stream says whether the client reads. A stream
 * on this worker says it at once. */
static void send_down(struct session *s, struct down *d)
{
    uint32_t bytes = d->st->bytes;
    if (bytes > SESSION_LONG_BYTES && bytes > s->long_output)
        s->long_output = bytes; /* before its stream tells about it, and the account is weighed */
    session_down(s, d);
    if (bytes <= SESSION_LONG_BYTES || s->state != SESSION_ATTACHED)
        return;
    if (s->link.local == NULL)
        session_pause(s, PAUSE_SLOW);
    else if ((s->paused & PAUSE_SLOW) == 0)
        s->long_output = 0; /* it was written */
}

static void send_queued(struct session *s, const struct queued *q, bool delay)
{
    struct stanza_note note = { .archive_id = told_id(s, q->archive_id),
                                .delay_us = delay ? q->at_us : 0,
                                .by = session_bare(s) };
    bool full = q->to == QUEUED_FULL || q->to == QUEUED_CARBON;
    if (q->to == QUEUED_COPY) /* it says all that in its content */
        note = (struct stanza_note){ 0 };
    else if (q->to != QUEUED_OWN)
        note.to = full ? session_jid(s) : session_bare(s);
    if (queued_is_carbon(q))
        note.archive_id = 0;
    bool noted = note.archive_id != 0 || note.delay_us != 0 || note.to.ptr != NULL;
    send_down(s,
              &(struct down){
                  .kind = DOWN_STANZA, .st = q->st, .num = q->seq, .note = noted ? &note : NULL });
}

void session_queue_resend(struct session *s)
{
    uint32_t sent = s->queue_len - s->queue_unsent;
    ensure(session_here(s) && s->queue_unsent <= s->queue_len);
    s->queue_unsent = 0;
    s->out_count = s->out_acked + s->queue_len; /* what is left follows what the client has */
    for (uint32_t i = 0; i < s->queue_len; i++) {
        struct queued *q = session_queue_at(s, i);
        q->seq = s->out_acked + 1 + i;
        /* what came while it hibernated says when (XEP-0198 §5, XEP-0203) */
        bool late = i >= sent && q->st->kind == STANZA_MESSAGE;
        send_queued(s, q, q->delayed || late);
    }
    if (s->queue_len > 0)
        ask(s);
}

enum { LATE_US = 1000000 }; /* a message that was kept for longer says when it came (XEP-0203) */

/* Sends what was not sent yet; if not `all`, until the output of the stream waits. */
static void session_queue_flush_some(struct session *s, bool all)
{
    uint64_t now = loop_wall_us(worker_loop(s->account->worker)), waited = 0;
    uint32_t count = 0;
    ensure(session_here(s) && s->queue_unsent <= s->queue_len);
    if (s->queue_unsent == 0 || s->state != SESSION_ATTACHED)
        return;
    while (s->queue_unsent > 0 && (all || (s->paused & PAUSE_SLOW) == 0)) {
        const struct queued *q = session_queue_at(s, s->queue_len - s->queue_unsent);
        s->queue_unsent--;
        count++;
        uint64_t age = q->delayed || now < q->at_us ? 0 : now - q->at_us;
        waited += age;
        send_queued(s, q, q->delayed || (age > LATE_US && q->st->kind == STANZA_MESSAGE));
    }
    if (count == 0)
        return;
    if (s->sm != 0)
        ask(s);
    metric_add(&session_flushes, 1);
    metric_add(&session_flush_stanzas, count);
    metric_add(&session_flush_waited, (int64_t)(waited / 1000));
}

void session_queue_flush(struct session *s) { session_queue_flush_some(s, true); }

/* Among what was not sent yet, presence of one contact is kept once: its last. The counts of those
 * behind it close up. While it hibernates, what was sent gives way, too: either the h of the client
 * will cover it, or the client lacks it, and the counts close up then (session_queue_resend). */
static bool same_contact(const struct stanza *st, const struct stanza *newer)
{
    return st->kind == STANZA_PRESENCE && st->type <= TYPE_UNAVAILABLE &&
           newer->kind == STANZA_PRESENCE && newer->type <= TYPE_UNAVAILABLE &&
           slice_eq(stanza_from(st), stanza_from(newer));
}

static bool superseded(const struct session *s, uint32_t i)
{
    const struct stanza *st = session_queue_at(s, i)->st;
    if (st->kind != STANZA_PRESENCE)
        return false;
    for (uint32_t k = i + 1; k < s->queue_len; k++)
        if (same_contact(st, session_queue_at(s, k)->st))
            return true;
    return false;
}

/* Drops entries from one on: those of which it says true, whose reference is released then. */
typedef bool drop_fn(struct session *s, uint32_t i, const void *arg);

static void drop_if(struct session *s, uint32_t from, drop_fn *unwanted, const void *arg)
{
    uint32_t kept = from, unsent = 0, sent = s->queue_len - s->queue_unsent;
    uint32_t seq = s->out_count - s->queue_unsent; /* of the last that was sent */
    for (uint32_t i = from; i < s->queue_len; i++) {
        struct queued *q = session_queue_at(s, i);
        if (unwanted(s, i, arg)) {
            session_queue_remove(s, q);
            continue;
        }
        if (i >= sent) {
            q->seq = ++seq;
            unsent++;
        }
        *session_queue_at(s, kept++) = *q;
    }
    s->queue_len = kept;
    s->queue_unsent = unsent;
    s->out_count = seq;
    if (kept == 0)
        queue_index_free(s);
}

static bool is_superseded(struct session *s, uint32_t i, const void *unused)
{
    (void)unused;
    return superseded(s, i);
}

static bool session_queue_gives_way(struct session *s, uint32_t i, const void *newer)
{
    return same_contact(session_queue_at(s, i)->st, newer);
}

/* While it hibernates, what was sent may be dropped too: see above. */
static uint32_t first_droppable(const struct session *s)
{
    return s->state == SESSION_ATTACHED ? s->queue_len - s->queue_unsent : 0;
}

/* Not what ends something: answers, errors, that a contact went. A copy was asked for. */
static bool may_be_blocked(const struct queued *q)
{
    enum stanza_type type = (enum stanza_type)q->st->type;
    if (q->to == QUEUED_COPY || q->st->from_len == 0 || type == TYPE_ERROR)
        return false;
    if (q->st->kind == STANZA_PRESENCE)
        return type == TYPE_AVAILABLE || type == TYPE_SUBSCRIBE;
    return q->st->kind == STANZA_MESSAGE || stanza_is_request(q->st);
}

static bool session_queue_is_blocked(struct session *s, uint32_t i, const void *unused)
{
    struct account *a = s->account;
    const struct queued *q = session_queue_at(s, i);
    (void)unused;
    if (!may_be_blocked(q) || stage_since(a, q->st) != SINCE_BLOCKED)
        return false;
    if (q->archive_id != 0)
        mailbox_settle(a, q->archive_id);
    if (q->st->kind == STANZA_IQ && !q->answered)
        route_error(a->worker, q->st, SE_SERVICE_UNAVAILABLE, (slice){ 0 });
    return true;
}

void session_queue_answered(struct session *s, const struct stanza *answer)
{
    uint32_t sent = s->queue_len - s->queue_unsent;
    for (uint32_t i = sent; i > 0 && sent - i < ANSWERS_LOOK_BACK; i--) {
        struct queued *q = session_queue_at(s, i - 1);
        if (stanza_is_request(q->st) && !q->answered &&
            slice_eq(stanza_id(q->st), stanza_id(answer)) &&
            slice_eq(stanza_from(q->st), stanza_to(answer))) {
            q->answered = true;
            return;
        }
    }
}

void session_queue_review(struct session *s)
{
    if (s->queue_len > first_droppable(s))
        drop_if(s, first_droppable(s), session_queue_is_blocked, NULL);
}

/* From the newest on, until there are too many: so a long queue costs its length times the buffer.
 */
bool session_queue_fits(struct session *s)
{
    uint32_t max = (uint32_t)setting_int(&sm_hibernate_buffer), kept = 0;
    uint32_t max_bytes = (uint32_t)setting_int(&sm_hibernate_bytes), bytes = 0;
    if (s->queue_len <= max && s->queue_bytes <= max_bytes)
        return true;
    for (uint32_t i = s->queue_len; i-- > 0;) {
        if (superseded(s, i))
            continue;
        bytes += session_queue_at(s, i)->st->bytes;
        if (++kept > max || bytes > max_bytes)
            return false;
    }
    drop_if(s, 0, is_superseded, NULL);
    return true;
}

/* With `more` bytes. A long answer to one request says nothing of how fast the client reads, nor
 * whether it acknowledges: the longest stanza does not count. */
static bool holds_too_much(const struct session *s, uint32_t more)
{
    size_t max = (size_t)setting_int(&sm_queue_bytes);
    if (s->queue_bytes + (size_t)more <= max)
        return false;
    uint32_t longest = session_queue_longest(s);
    return s->queue_bytes + (size_t)more - (more > longest ? more : longest) > max;
}

static bool is_long_answer(const struct stanza *st)
{
    return st->kind == STANZA_IQ && st->type == TYPE_RESULT && st->bytes > SESSION_LONG_BYTES;
}

/* NULL: it cannot be made. */
static struct stanza *session_queue_refused(const struct stanza *answer)
{
    struct buf error;
    struct xml_write x;
    xml_begin(&x, &error, XML_PART_MAX);
    stanza_error_write(&x, SE_RESOURCE_CONSTRAINT, NULL,
                       SLICE("too much waits: read it, then ask again"));
    return stanza_make_buf(STANZA_IQ, TYPE_ERROR, stanza_from(answer), stanza_to(answer),
                           stanza_id(answer), &error);
}

static void replace(struct session *s, struct queued *q, struct stanza *st)
{
    session_queue_release(s, q);
    q->st = stanza_ref(st);
    s->queue_bytes += st->bytes;
    s->account->queue_bytes += st->bytes;
}

void session_queue_replace(struct session *s, uint64_t archive_id, struct stanza *st)
{
    for (uint32_t i = 0; i < s->queue_len; i++) {
        struct queued *q = session_queue_at(s, i);
        if (q->archive_id == archive_id && q->to == QUEUED_OWN)
            replace(s, q, st);
    }
}

/* Long answers that were sent, but are not acknowledged. A client that resumes without them asks
 * again. */
static void shorten(struct session *s)
{
    for (uint32_t i = 0; i < s->queue_len - s->queue_unsent; i++) {
        struct queued *q = session_queue_at(s, i);
        struct stanza *st = is_long_answer(q->st) ? session_queue_refused(q->st) : NULL;
        if (st == NULL)
            continue;
        replace(s, q, st);
        stanza_unref(&st);
    }
}

/* Checks whether the session or its account now holds too much. */
static void check_size(struct session *s, const struct stanza *st)
{
    struct account *a = s->account;
    if (holds_too_much(s, 0))
        shorten(s);
    if (s->queue_len > setting_int(&sm_queue_max) || holds_too_much(s, 0))
        session_end_later(s, END_SLOW);
    budget_grew(a->worker, st->bytes);
    budget_queued(a, a->worker, a->queue_bytes);
}

/* A client that reads too slowly and has much waiting: that is in its output now. */
static void flush_full(struct session *s)
{
    metric_add(&session_flushes_limit, 1);
    session_queue_flush(s);
    if ((s->paused & PAUSE_SLOW) != 0)
        budget_weigh(s->account);
}

static void session_queue_keep(struct session *s, struct stanza *st, const struct stanza_note *note,
                               enum queued_to to)
{
    struct stanza *error = NULL;
    if (st->kind == STANZA_PRESENCE)
        drop_if(s, first_droppable(s), session_queue_gives_way, st);
    bool too_much =
        s->state == SESSION_ATTACHED && is_long_answer(st) && holds_too_much(s, st->bytes);
    if (too_much)
        shorten(s);
    if (too_much && holds_too_much(s, st->bytes))
        error = session_queue_refused(st);
    if (error != NULL)
        st = error;
    s->out_count++;
    session_queue_push_stanza(s, st, note, to);
    trail_note(st, "queued",
               s->state == SESSION_HIBERNATING ? "hibernates"
               : (s->paused & PAUSE_SLOW) != 0 ? "reads slowly"
                                               : "inactive",
               s->jid);
    stanza_unref(&error);
    s->queue_unsent++;
    if (s->state == SESSION_ATTACHED) {
        if (s->queue_unsent >= setting_int(&session_pause_buffer) ||
            ((s->paused & PAUSE_SLOW) == 0 && s->queue_bytes > setting_int(&sm_queue_bytes) / 2))
            flush_full(s);
        check_size(s, st);
        return;
    }
    budget_grew(s->account->worker, st->bytes);
    budget_queued(s->account, s->account->worker, s->account->queue_bytes);
    if (!worker_stopping(s->account->worker) && !list_linked(&s->end_node) &&
        !session_queue_fits(s))
        session_end_later(s, END_FULL); /* ends resumability, not messages (architecture §6) */
}

/* What a paused session does with it. What has a delay stamp comes from the mailbox or another
 * session: it has waited long enough. */
static enum hold held(struct session *s, const struct stanza *st, const struct stanza_note *note)
{
    if ((s->paused & PAUSE_SLOW) != 0)
        return HOLD_KEEP;
    enum hold h = note->delay_us != 0 ? HOLD_SEND : stage_hold(s, st);
    return h == HOLD_DROP && note->archive_id != 0 ? HOLD_KEEP : h;
}

static void tell_quiet(struct session *s, unsigned was)
{
    if (((was ^ s->paused) & PAUSE_QUIET) == 0)
        return;
    EMIT_ONE(push, quiet, s);
}

void session_pause(struct session *s, enum session_pause why)
{
    unsigned was = s->paused;
    ensure(session_here(s));
    s->paused |= (uint8_t)why;
    tell_quiet(s, was);
}

void session_unpause(struct session *s, enum session_pause why)
{
    unsigned was = s->paused;
    s->paused &= (uint8_t)~why;
    if (s->paused == 0 || (was & ~s->paused & PAUSE_SLOW) != 0) /* what was urgent was kept, too */
        session_queue_flush_some(s, false);
    tell_quiet(s, was);
}

static void ask_is_due(struct timer *t, struct loop *loop)
{
    struct session *s = CONTAINER_OF(t, struct session, timer);
    (void)loop;
    ensure(session_here(s) && s->state == SESSION_ATTACHED);
    if (s->sm != 0 && !all_asked(s))
        ask(s);
}

/* A client that ends in order acknowledges what it was asked for, and seldom more: without this the
 * few messages of a quiet hour would come again at its next login (XEP-0198 §4). */
static void ask_soon(struct session *s)
{
    if (timer_is_set(&s->timer))
        return;
    s->timer.fn = ask_is_due;
    timer_set(worker_loop(s->account->worker), &s->timer, (uint64_t)setting_int(&sm_ack_after));
}

static void send_live(struct session *s, struct stanza *st, const struct stanza_note *note,
                      bool stored)
{
    send_down(s,
              &(struct down){ .kind = DOWN_STANZA, .st = st, .num = s->out_count, .note = note });
    if (s->queue_len > 0)
        check_size(s, st);
    else
        budget_grew(s->account->worker, st->bytes);
    if (s->sm == 0)
        return;
    if (s->out_count - s->out_asked >= (uint32_t)setting_int(&sm_ack_every))
        ask(s);
    else if (stored)
        ask_soon(s);
}

static void session_queue_give(struct session *s, struct stanza *st, const struct stanza_note *note,
                               enum queued_to to)
{
    struct stanza_note told = *note;
    told.archive_id = to < QUEUED_COPY ? told_id(s, note->archive_id) : 0;
    bool noted = told.archive_id != 0 || told.delay_us != 0 || told.to.ptr != NULL;
    ensure(s->state != SESSION_ENDED);
    if (s->state == SESSION_HIBERNATING) {
        session_queue_keep(s, st, note, to);
        return;
    }
    if (s->paused != 0) {
        enum hold h = held(s, st, note);
        if (h == HOLD_KEEP)
            session_queue_keep(s, st, note, to);
        if (h != HOLD_SEND)
            return;
        session_queue_flush_some(s, false);
        if ((s->paused & PAUSE_SLOW) != 0) {
            session_queue_keep(s, st, note, to);
            return;
        }
    }
    s->out_count++;
    if (s->sm != 0 || note->archive_id != 0)
        session_queue_push_stanza(s, st, note, to);
    send_live(s, st, noted ? &told : NULL, note->archive_id != 0);
}

static void give_behind(struct session *s, const struct queued *q)
{
    struct stanza_note note = { .delay_us = q->at_us, .by = session_bare(s) };
    if (q->to != QUEUED_OWN)
        note.to = q->to == QUEUED_FULL ? session_jid(s) : session_bare(s);
    session_queue_give(s, q->st, &note, (enum queued_to)q->to);
}

void session_deliver_behind(struct session *s, uint64_t archive_id)
{
    if (archive_id != UINT64_MAX)
        behind_looked(s->behind, archive_id);
    behind_take(s->behind, archive_id, give_behind, s);
}

/* What the server and the account itself say does not wait. */
static bool waits_behind(struct session *s, struct stanza *st, enum queued_to to, uint64_t delay_us)
{
    slice from = stanza_from_bare(st);
    if (to > QUEUED_BARE || from.len == 0 || slice_eq(from, session_bare(s)))
        return false;
    enum behind_says says =
        behind_hold(s->behind, st, to, delay_us, mailbox_last_from(s->account, from));
    if (says == BEHIND_IS_FULL) /* what waits comes before this */
        behind_take(s->behind, UINT64_MAX, give_behind, s);
    return says == BEHIND_WAITS;
}

static void session_queue_deliver(struct session *s, struct stanza *st,
                                  const struct stanza_note *note, enum queued_to to)
{
    if (s->flushing && note->archive_id == 0 && waits_behind(s, st, to, note->delay_us))
        return;
    session_queue_give(s, st, note, to);
}

void session_deliver(struct session *s, struct stanza *st, uint64_t archive_id, uint64_t delay_us)
{
    session_queue_deliver(s, st,
                          &(struct stanza_note){ .archive_id = archive_id,
                                                 .delay_us = delay_us,
                                                 .by = session_bare(s) },
                          QUEUED_OWN);
}

void session_deliver_to(struct session *s, struct stanza *st, slice to)
{
    ensure(to.len == s->jid.len || to.len == s->bare_len);
    session_queue_deliver(s, st, &(struct stanza_note){ .by = session_bare(s), .to = to },
                          to.len == s->jid.len ? QUEUED_FULL : QUEUED_BARE);
}

void session_deliver_carbon(struct session *s, struct stanza *st, slice to, uint64_t archive_id)
{
    ensure(to.len == s->jid.len || to.len == s->bare_len);
    session_queue_deliver(
        s, st, &(struct stanza_note){ .archive_id = archive_id, .by = session_bare(s), .to = to },
        to.len == s->jid.len ? QUEUED_CARBON : QUEUED_CARBON_BARE);
}

void session_deliver_copy(struct session *s, struct stanza *st, uint64_t archive_id)
{
    struct stanza_note note = { .archive_id = archive_id };
    ensure(s->state != SESSION_ENDED);
    if (s->state == SESSION_HIBERNATING || (s->paused & PAUSE_SLOW) != 0) {
        session_queue_keep(s, st, &note, QUEUED_COPY);
        return;
    }
    session_queue_flush_some(s, false); /* it was asked for: order is that of the calls */
    if ((s->paused & PAUSE_SLOW) != 0) {
        session_queue_keep(s, st, &note, QUEUED_COPY);
        return;
    }
    s->out_count++;
    session_queue_push_stanza(s, st, &note, QUEUED_COPY);
    send_live(s, st, NULL, archive_id != 0);
}

const struct stanza *session_last_unacked(const struct session *s)
{
    for (uint32_t i = s->queue_len; i > 0; i--)
        if (session_queue_at(s, i - 1)->archive_id != 0 &&
            session_queue_at(s, i - 1)->to < QUEUED_COPY)
            return session_queue_at(s, i - 1)->st;
    return NULL;
}

static bool queue_has(struct session *s, uint64_t archive_id, bool own)
{
    ensure(archive_id != 0);
    if (s->queue_index == NULL && s->queue_len > SEARCHED_MAX)
        queue_index_make(s);
    if (s->queue_index != NULL) {
        const struct queued_id *id = queue_index_find(s, archive_id);
        return id != NULL && (!own || id->own > 0);
    }
    for (uint32_t i = 0; i < s->queue_len; i++)
        if (session_queue_at(s, i)->archive_id == archive_id &&
            (!own || !queued_is_carbon(session_queue_at(s, i))))
            return true;
    return false;
}

bool session_queued(struct session *s, uint64_t archive_id)
{
    return queue_has(s, archive_id, false);
}

bool session_queued_elsewhere(const struct account *a, const struct session *but,
                              uint64_t archive_id, bool own)
{
    LIST_EACH (it, &a->sessions) {
        struct session *s = CONTAINER_OF(it, struct session, node);
        if (s != but && s->state != SESSION_ENDED && queue_has(s, archive_id, own))
            return true;
    }
    return false;
}
