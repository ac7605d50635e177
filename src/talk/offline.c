#include "talk/offline.h"
#include "account/account.h"
#include "archive/archive.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "core/stage.h"
#include "home/here.h"
#include "home/node.h"
#include "session/behind.h"
#include "session/given.h"
#include "session/session_queue.h"
#include "session/session_struct.h"
#include "talk/message.h"

/* A page ends at its rows or bytes; the next one waits until the client has taken this one: it
 * acknowledged all but a few, or it was written (architecture §4: internal producers take credits).
 */
enum { PAGE_ROWS = 64, PAGE_BYTES = 64 * 1024, UNACKED_MAX = 16 };

/* A page that could not be read is read again: the first time after RETRY_MS, then after twice as
 * long each time, at most RETRY_MS_MAX. Until then what comes live waits behind it. */
enum { RETRY_MS = 250, RETRY_MS_MAX = 4000 };

struct flush {
    struct session *session; /* NULL: it ended while a page was read */
    struct account *account; /* pinned */
    uint64_t read_to;        /* archive id up to which all entries have been looked at */
    uint64_t began;          /* last id when the delivery began: later ones were live */
    uint64_t asked;    /* last id when the read under way was submitted: it sees all of these */
    uint64_t owed;     /* the last that was live for the session and not delivered */
    uint32_t rows;     /* a page has at most so many */
    uint32_t retry_ms; /* before the next attempt; 0: the last read was answered */
    struct timer retry;
    bool stale;   /* messages were replaced since the read under way was submitted */
    bool again;   /* entries behind read_to were opened again: once more from the start */
    bool waiting; /* for the client to take what it got, for its stream, or for `retry` */
    bool holding; /* the client is not read before it has the first page: what it asks
                     next is answered behind its messages */
};

static void im_offline_read_page(struct flush *f);

static void let_go(struct flush *f)
{
    if (!f->holding)
        return;
    f->holding = false;
    session_release(f->session, HOLD_OFFLINE);
}

static void im_offline_finish(struct flush *f)
{
    struct session *s = f->session;
    ensure(account_is_pinned(f->account));
    if (s != NULL) {
        let_go(f);
        s->flush = NULL;
        s->flushing = false;
        session_deliver_behind(s, UINT64_MAX);
        behind_free(&s->behind);
    }
    timer_cancel(&f->retry);
    account_unpin(f->account);
    mem_free(&f);
}

/* Older entries are delivered if nobody has them; one that came while we were reading was live for
 * all sessions it is addressed to, also if another one has acknowledged it meanwhile. */
static void deliver_entry(struct flush *f, uint64_t id, uint64_t at_us, slice text)
{
    struct account *a = f->account;
    struct session *s = f->session;
    struct worker *w = a->worker;
    struct stanza *st;
    enum entry_state state = mailbox_state(a, id);
    if (state != ENTRY_OPEN && (id <= f->began || !s->available))
        return;
    if (stanza_load(&st, text, worker_xml(w), loop_scratch(worker_loop(w))) != OK) {
        mailbox_settle(a, id); /* damaged on disk: nothing can be delivered, ever */
        return;
    }
    if (state == ENTRY_OPEN && given_to(a, id, s->id)) { /* it has a copy; who it was for has not */
        mailbox_set(a, id, ENTRY_TAKEN);
        message_hand_over(a, NULL, st, id, at_us);
        stanza_unref(&st);
        return;
    }
    bool mine = state == ENTRY_OPEN || stanza_to_is_bare(st) || slice_eq(stanza_to(st), s->jid);
    enum stage_since since = s->available ? stage_since(a, st) : SINCE_FREE;
    if (since == SINCE_BLOCKED) {
        mailbox_settle(a, id);
    } else if (since == SINCE_FREE && mine && stage_takes(s, st)) {
        mailbox_set(a, id, ENTRY_TAKEN);
        session_deliver(s, st, id, at_us);
    }
    stanza_unref(&st);
}

static bool im_offline_taken(const struct session *s)
{
    return s->queue_len - s->queue_unsent <= (s->sm == 0 ? 0 : UNACKED_MAX);
}

static bool deliverable(const struct flush *f)
{
    return f->session != NULL && f->session->state == SESSION_ATTACHED;
}

static bool once_more(struct flush *f)
{
    if (!f->again)
        return false;
    f->again = false;
    f->read_to = f->account->mailbox.cursor;
    f->began = f->account->mailbox.last_id;
    behind_looked(f->session->behind, f->read_to);
    return true;
}

/* Delivers the entries of a page. true: there was room for all. */
static bool deliver_page(struct flush *f, const struct store_batch *b, uint32_t rows)
{
    uint32_t i = 0;
    for (size_t bytes = 0; i < rows && bytes < PAGE_BYTES && deliverable(f); i++) {
        slice text = store_text(b, 0, i, 2);
        f->read_to = (uint64_t)store_int(b, 0, i, 0);
        session_deliver_behind(f->session, f->read_to - 1);
        bytes += text.len;
        deliver_entry(f, f->read_to, (uint64_t)store_int(b, 0, i, 1), text);
    }
    return i == rows;
}

/* An empty page is not the end: what came since it was asked for is in none yet. */
static bool complete(const struct flush *f)
{
    return f->read_to >= f->owed && mailbox_next_open(f->account, f->read_to) == 0;
}

static void im_offline_retry(struct timer *t, struct loop *loop)
{
    (void)loop;
    offline_continue(CONTAINER_OF(t, struct flush, retry)->session);
}

static void read_later(struct flush *f)
{
    f->retry_ms = f->retry_ms == 0                 ? RETRY_MS
                  : f->retry_ms < RETRY_MS_MAX / 2 ? f->retry_ms * 2
                                                   : RETRY_MS_MAX;
    f->retry.fn = im_offline_retry;
    f->waiting = true;
    timer_set(worker_loop(f->account->worker), &f->retry, f->retry_ms);
}

static void im_offline_page_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct flush *f = arg;
    uint32_t rows = store_row_count(b, 0);
    ensure(f->rows > 0 && account_is_pinned(f->account));
    if (result == STORE_OK && f->stale && f->session != NULL) {
        im_offline_read_page(f);
        return;
    }
    if (result == STORE_OK && deliver_page(f, b, rows) && rows < f->rows && f->read_to < f->asked)
        f->read_to = f->asked;
    if (f->session == NULL) {
        im_offline_finish(f);
        return;
    }
    session_deliver_behind(f->session, f->read_to);
    let_go(f);
    if (result == STORE_OK)
        f->retry_ms = 0;
    if (result == STORE_CONFLICT && f->rows > 1) { /* more bytes than one read may give */
        f->rows /= 8;
        im_offline_read_page(f);
    } else if (result != STORE_OK) {
        read_later(f);
    } else if (!deliverable(f)) {
        f->waiting = true; /* it goes on where it stopped when the session is resumed */
    } else if (complete(f) && !once_more(f)) {
        im_offline_finish(f);
    } else if (!im_offline_taken(f->session)) {
        f->waiting = true;
    } else {
        im_offline_read_page(f);
    }
}

void offline_continue(struct session *s)
{
    struct flush *f = s->flush;
    if (f == NULL || !f->waiting || !im_offline_taken(s) || s->state != SESSION_ATTACHED ||
        timer_is_set(&f->retry))
        return;
    f->waiting = false;
    im_offline_read_page(f);
}

void offline_owes(struct session *s, const struct stanza *st, uint64_t archive_id)
{
    if (s->flush == NULL)
        return;
    s->flush->owed = archive_id;
    if (mailbox_state(s->account, archive_id) != ENTRY_OPEN)
        behind_owes(s->behind, st, archive_id);
}

static void im_offline_read_page(struct flush *f)
{
    struct account *a = f->account;
    struct store_batch *b = store_read(worker_store(a->worker), account_lane(a));
    f->asked = a->mailbox.last_id;
    f->stale = false;
    store_read_late(b, a->id);
    STORE_ADD(b, &archive_page, STORE_ANY_ROWS, SV_I(a->id), SV_I(f->read_to), SV_I(f->rows));
    store_submit(b, worker_loop(a->worker), 0, im_offline_page_read, f);
}

void offline_collect(struct session *s)
{
    ensure(session_here(s));
    s->collects = true;
}

/* XEP-0013 §2.2: while a session asks for them itself, no other is sent them either. */
static bool collected(const struct account *a)
{
    LIST_EACH (it, &a->sessions)
        if (CONTAINER_OF(it, struct session, node)->collects)
            return true;
    return false;
}

static struct flush *flush_begin(struct session *s)
{
    struct flush *f = mem_new(struct flush);
    ensure(session_here(s) && s->flush == NULL);
    f->session = s;
    f->account = s->account;
    f->rows = PAGE_ROWS;
    s->flush = f;
    s->behind = behind_new();
    s->flushing = true;
    account_pin(s->account);
    return f;
}

void offline_flush(struct session *s)
{
    struct account *a = s->account;
    if (s->flushing) { /* it was interrupted */
        offline_continue(s);
        return;
    }
    if (!mailbox_has_open(a) || collected(a))
        return;
    struct flush *f = flush_begin(s);
    f->read_to = a->mailbox.cursor;
    f->began = a->mailbox.last_id;
    f->holding = true;
    session_hold(s, HOLD_OFFLINE);
    im_offline_read_page(f);
}

struct offline_saved offline_save(const struct session *s)
{
    const struct flush *f = s->flush;
    return f == NULL ? (struct offline_saved){ 0 }
                     : (struct offline_saved){ f->read_to, f->began, f->owed };
}

/* The last id may have been of an entry that is gone: nothing is owed behind what there is. */
void offline_restore(struct session *s, struct offline_saved saved)
{
    uint64_t last_id = s->account->mailbox.last_id;
    if (saved.began == 0)
        return;
    struct flush *f = flush_begin(s);
    f->read_to = saved.read_to;
    f->began = saved.began;
    f->owed = saved.owed < last_id ? saved.owed : last_id;
    f->again = f->waiting = true;
}

void offline_again(struct session *s)
{
    if (s->flush != NULL)
        s->flush->again = true;
    else
        offline_flush(s);
}

void offline_reread(struct session *s)
{
    if (s->flush != NULL)
        s->flush->stale = true;
}

/* It is handed over as what was not acknowledged. */
static void leave_behind(struct session *s, const struct queued *q)
{
    session_queue_push(s, q->st, 0, q->at_us);
    session_queue_at(s, s->queue_len - 1)->to = q->to;
}

void offline_cancel(struct session *s)
{
    struct flush *f = s->flush;
    s->flush = NULL;
    s->flushing = false;
    if (f == NULL)
        return;
    behind_take(s->behind, UINT64_MAX, leave_behind, s);
    behind_free(&s->behind);
    f->session = NULL;
    if (f->waiting)
        im_offline_finish(f);
}

void offline_priority_changed(struct session *s)
{
    if (s->available && s->priority >= 0)
        offline_flush(s);
}
