#include "muc/archive/queue.h"
#include "account/account.h"
#include "archive/archive.h"
#include "base/alarm.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/setting.h"
#include "home/here.h"
#include "home/router.h"
#include "home/ticket.h"
#include "home/trail.h"
#include "io/timer.h"
#include "muc/archive/archive.h"
#include "muc/archive/bury.h"
#include "muc/archive/delete.h"
#include "muc/archive/history.h"
#include "muc/archive/recorder.h"
#include "store/store.h"

enum { RETRY_MS = 1000, PREFIX_BYTES = 1 << 20, ENDED_MAX = 256 };

struct setting muc_recording_queue = {
    .name = "muc.recording-queue",
    .scope = SCOPE_NODE,
    .type = PARAM_INT,
    .def = 10000,
    .min = 1,
    .max = 1000000,
    .unit = "messages",
    .doc = "Messages of rooms that wait in memory to be archived while the database is away. When "
           "that many wait, archived rooms refuse messages with resource-constraint.",
};
struct alarm muc_recording_alarm = {
    .name = "muc.recording",
    .severity = ALARM_ERROR,
    .text = "Messages of rooms cannot be archived.",
    .action = "See why the database does not store. The messages wait in memory, up to "
              "muc.recording-queue. They are lost if the node stops before they are stored.",
    .explanation = "Rooms go on, but their messages wait in memory to be archived.",
    .raised_when = "The database did not store messages of a room.",
    .cleared_when = "It stores them.",
    .settings = "muc.recording-queue",
};
static struct metric recorded = { .name = "muster_muc_recorded",
                                  .kind = METRIC_COUNTER,
                                  .help = "Messages of rooms written to the archive." };
static struct metric waiting = { .name = "muster_muc_recording_waiting",
                                 .kind = METRIC_GAUGE,
                                 .help = "Messages of rooms that wait for the database." };
static struct metric lost = { .name = "muster_muc_recording_lost",
                              .kind = METRIC_COUNTER,
                              .help = "Messages of rooms that could not be archived." };
struct metric *const muc_recording_metrics[] = { &recorded, &waiting, &lost, NULL };

/* A message that was retracted while it waited. */
struct buried {
    struct stanza *was; /* a reference */
    struct archive_event event;
    slice by; /* on the heap */
};

/* A repeat that is handled when the message is. */
struct also {
    struct also *next;
    struct origin origin;
};

struct record {
    struct list node; /* in recorder.waiting or recorder.written */
    struct recorder *recorder;
    struct stanza *st;     /* a reference */
    struct buried *buried; /* then `st` is a tombstone; else NULL */
    int64_t owner, repeats;
    uint64_t id, at_us;
    struct origin origin; /* who waits */
    struct also *also;    /* and who more */
    uint8_t flags;
    uint16_t sender_len;
    char sender[];
};

static _Atomic int64_t node_waiting;

bool room_archive_full(void)
{
    return atomic_load_explicit(&node_waiting, memory_order_relaxed) >=
           setting_int(&muc_recording_queue);
}

static void archive_queue_retry(struct recorder *r);

static void free_record(struct record *rec)
{
    for (struct also *one; (one = rec->also) != NULL;) {
        rec->also = one->next;
        mem_free(&one);
    }
    stanza_unref(&rec->st);
    if (rec->buried != NULL) {
        stanza_unref(&rec->buried->was);
        slice_release(&rec->buried->by);
        mem_free(&rec->buried);
    }
    mem_free(&rec);
}

/* It is stored, or never will be. */
static void archive_queue_tell(struct record *rec)
{
    if (rec->origin.session != 0)
        ticket_done(rec->recorder->worker, rec->origin);
    rec->origin = ORIGIN_NONE;
    for (struct also *one; (one = rec->also) != NULL;) {
        rec->also = one->next;
        ticket_done(rec->recorder->worker, one->origin);
        mem_free(&one);
    }
}

static void note_recorded(const struct record *rec)
{
    trail_note(rec->st, "archived", "by the room", stanza_from_bare(rec->st));
}

static void archive_queue_lose(struct record *rec, const char *why)
{
    metric_add(&lost, 1);
    trail_note(rec->st, "not-stored", why, stanza_from_bare(rec->st));
    log_error(&muc_archive_log, LOG_EV("message.lost"), LOG_I("room", rec->owner),
              LOG_I("id", (int64_t)rec->id), LOG_C("why", why),
              LOG_C("hint", "this message of a room is missing in its archive"));
    archive_queue_tell(rec);
    free_record(rec);
}

static void count_waiting(int64_t n)
{
    int64_t was = atomic_fetch_add(&node_waiting, n);
    metric_add(&waiting, n);
    if (was == 0)
        alarm_raise(&muc_recording_alarm, SLICE("the database did not take what was said"));
    else if (was + n == 0)
        alarm_clear(&muc_recording_alarm);
}

static void archive_queue_due(struct timer *t, struct loop *loop)
{
    (void)loop;
    archive_queue_retry(CONTAINER_OF(t, struct recorder, timer));
}

static void try_later(struct recorder *r)
{
    r->prefix = 0;
    r->writing = false;
    if (!list_empty(&r->waiting) && !worker_stopping(r->worker)) {
        r->timer.fn = archive_queue_due;
        timer_set(worker_loop(r->worker), &r->timer, RETRY_MS);
    }
}

static void wait_for_store(struct record *rec)
{
    struct recorder *r = rec->recorder;
    bool first = list_empty(&r->waiting);
    ensure(worker_is_here(r->worker) && !list_linked(&rec->node));
    list_append(&r->waiting, &rec->node);
    count_waiting(1);
    if (first)
        try_later(r);
}

static void record_text(struct buf *text, const struct stanza *st, slice sender)
{
    struct stanza_note note = { .to = sender.len > 0 ? sender : (slice){ 0 } };
    size_t max = stanza_write_max(st, &note);
    buf_init(text, max);
    char *at = buf_reserve(text, max);
    text->len += stanza_write(at, st, &note);
}

static void add_record(struct store_batch *b, const struct record *rec)
{
    struct buf text, was;
    slice sender = { rec->sender, rec->sender_len };
    struct jid jid = jid_split(sender);
    record_text(&text, rec->st, sender);
    archive_add(b, &(struct archive_message){ .at_us = rec->at_us,
                                              .rcpt = rec->owner,
                                              .rcpt_entry = rec->id,
                                              .flags = rec->flags,
                                              .origin = rec->repeats,
                                              .remote = sender.len > 0 ? jid_bare(&jid) : sender,
                                              .stanza = buf_fit(&text) });
    if (rec->buried != NULL) {
        struct archive_event event = rec->buried->event;
        event.by = rec->buried->by;
        record_text(&was, rec->buried->was, sender);
        archive_event_add(b, 0, &event, buf_fit(&was), text.len);
        buf_fini(&was);
    }
    buf_fini(&text);
}

/* Rooms that ended lately: what was with the store by then, and could not be stored, must not be
 * tried again. The oldest is forgotten first: by then its writes have come back. */
struct ended {
    struct list node;
    int64_t owner;
};

static bool has_ended(const struct recorder *r, int64_t owner)
{
    LIST_EACH (it, &r->ended)
        if (CONTAINER_OF(it, struct ended, node)->owner == owner)
            return true;
    return false;
}

static void note_ended(struct recorder *r, int64_t owner)
{
    struct ended *e;
    if (has_ended(r, owner))
        return;
    if (r->ended_count == ENDED_MAX) {
        ensure(!list_empty(&r->ended));
        e = CONTAINER_OF(list_pop(&r->ended), struct ended, node);
    } else {
        e = mem_new(struct ended);
        r->ended_count++;
    }
    e->owner = owner;
    list_append(&r->ended, &e->node);
}

static void archive_queue_stored(void *arg, enum store_result result, const struct store_batch *b)
{
    struct record *rec = arg;
    (void)b;
    ensure(worker_is_here(rec->recorder->worker));
    list_remove(&rec->node);
    if (result == STORE_OK) {
        metric_add(&recorded, 1);
        note_recorded(rec);
        archive_queue_tell(rec);
        free_record(rec);
    } else if (result == STORE_CONFLICT) {
        archive_queue_lose(rec, "the database refuses it");
    } else if (has_ended(rec->recorder, rec->owner)) { /* its archive is gone */
        archive_queue_tell(rec);
        free_record(rec);
    } else { /* all have read it: however many wait, as many as the store had taken may be more */
        wait_for_store(rec);
    }
}

/* XEP-0313 §5.1.2, §7.4: removes elements that only the room may add about the author. */
static struct stanza *archive_queue_without_claims(struct stanza *st)
{
    return st->kind == STANZA_PRESENCE
               ? stanza_ref(st)
               : stanza_without(stanza_ref(st), KNOWN(MUC_USER), NULL, NULL);
}

enum routed room_archive_put(const struct room_archive *a, const struct room_post *p,
                             struct origin origin)
{
    ensure(p->id > 0 && p->id <= a->last_id); /* room_archive_mint() made it */
    struct worker *w = a->worker;
    struct recorder *r = recorder_of(w);
    struct record *rec = mem_zalloc(sizeof *rec + p->sender.len);
    rec->recorder = r;
    rec->st = archive_queue_without_claims(p->st);
    rec->owner = a->owner;
    rec->repeats = p->repeats;
    rec->id = p->id;
    rec->at_us = p->at_us;
    rec->flags = (uint8_t)(p->flags | archive_kind(p->st));
    rec->sender_len = (uint16_t)p->sender.len;
    if (p->sender.len > 0)
        memcpy(rec->sender, p->sender.ptr, p->sender.len);
    rec->origin = origin;
    if (list_empty(&r->waiting)) {
        struct store_batch *b = store_write(worker_store(w), (uint64_t)a->owner);
        add_record(b, rec);
        list_append(&r->written, &rec->node);
        store_submit(b, worker_loop(w), 0, archive_queue_stored, rec);
    } else if (room_archive_full()) {
        archive_queue_lose(rec, "too many wait");
    } else { /* what was said before goes first */
        wait_for_store(rec);
    }
    return origin.session != 0 ? ROUTE_PENDING : ROUTED;
}

static struct record *archive_queue_find(struct list *list, int64_t owner, uint64_t id)
{
    LIST_EACH (it, list) {
        struct record *rec = CONTAINER_OF(it, struct record, node);
        if (rec->owner == owner && rec->id == id)
            return rec;
    }
    return NULL;
}

enum routed room_archive_also(const struct room_archive *a, uint64_t id, struct origin origin)
{
    struct recorder *r = recorder_of(a->worker);
    struct record *rec = archive_queue_find(&r->written, a->owner, id);
    if (rec == NULL)
        rec = archive_queue_find(&r->waiting, a->owner, id);
    ensure(origin.session != 0);
    if (rec == NULL)
        return ROUTED;
    struct also *one = mem_new(struct also);
    *one = (struct also){ rec->also, origin };
    rec->also = one;
    return ROUTE_PENDING;
}

/* Waiting messages. */

static void prefix_done(struct recorder *r)
{
    for (uint32_t n = r->prefix; n > 0; n--) {
        ensure(!list_empty(&r->waiting));
        struct record *rec = CONTAINER_OF(list_pop(&r->waiting), struct record, node);
        note_recorded(rec);
        archive_queue_tell(rec);
        free_record(rec);
    }
    metric_add(&recorded, r->prefix);
    count_waiting(-(int64_t)r->prefix);
    r->prefix = 0;
    r->writing = false;
    r->prefix_max = RECORD_PREFIX_MAX;
    archive_queue_retry(r);
}

/* It is one of them that cannot be stored: they go one by one then. */
static void prefix_refused(struct recorder *r)
{
    if (r->prefix == 1) {
        count_waiting(-1);
        archive_queue_lose(CONTAINER_OF(list_pop(&r->waiting), struct record, node),
                           "the database refuses it");
    }
    r->prefix = 0;
    r->writing = false;
    r->prefix_max = 1;
    archive_queue_retry(r);
}

/* Its room ended while it was looked for. */
static void prefix_dropped(struct recorder *r)
{
    for (uint32_t n = r->prefix; n > 0; n--) {
        ensure(!list_empty(&r->waiting));
        struct record *rec = CONTAINER_OF(list_pop(&r->waiting), struct record, node);
        archive_queue_tell(rec);
        free_record(rec);
    }
    count_waiting(-(int64_t)r->prefix);
    r->prefix = 0;
    archive_queue_retry(r);
}

static void prefix_written(void *arg, enum store_result result, const struct store_batch *b)
{
    struct recorder *r = arg;
    (void)b;
    int64_t owner = CONTAINER_OF(r->waiting.next, struct record, node)->owner;
    bool ended = has_ended(r, owner);
    ensure(r->writing && !list_empty(&r->waiting));
    if (result == STORE_OK)
        prefix_done(r);
    else if (result == STORE_CONFLICT)
        prefix_refused(r);
    else
        try_later(r);
    if (ended && result != STORE_CONFLICT) /* what was stored behind the end of the room goes too */
        recorder_doom(r, owner);
}

static void prefix_looked_for(void *arg, enum store_result result, const struct store_batch *found)
{
    struct recorder *r = arg;
    struct list *it = r->waiting.next;
    unsigned added = 0;
    ensure(r->prefix > 0 && !list_empty(&r->waiting));
    if (result != STORE_OK) {
        try_later(r);
        return;
    }
    int64_t owner = CONTAINER_OF(it, struct record, node)->owner;
    if (has_ended(r, owner)) {
        prefix_dropped(r);
        return;
    }
    struct store_batch *b = store_write(worker_store(r->worker), (uint64_t)owner);
    for (uint32_t i = 0; i < r->prefix; i++, it = it->next) {
        if (store_row_count(found, i) > 0)
            continue;
        add_record(b, CONTAINER_OF(it, struct record, node));
        added++;
    }
    r->writing = true;
    if (added > 0) {
        store_submit(b, worker_loop(r->worker), 0, prefix_written, r);
    } else {
        store_drop(&b);
        prefix_done(r);
    }
}

static void archive_queue_retry(struct recorder *r)
{
    size_t bytes = 0;
    if (list_empty(&r->waiting) || r->prefix > 0)
        return;
    int64_t owner = CONTAINER_OF(r->waiting.next, struct record, node)->owner;
    struct store_batch *b = store_read(worker_store(r->worker), (uint64_t)owner);
    store_read_late(b, owner);
    for (struct list *it = r->waiting.next; it != &r->waiting; it = it->next) {
        const struct record *rec = CONTAINER_OF(it, struct record, node);
        bytes += rec->st->bytes;
        if (rec->owner != owner || r->prefix == r->prefix_max ||
            (r->prefix > 0 && bytes > PREFIX_BYTES))
            break;
        STORE_ADD(b, &archive_has, STORE_ANY_ROWS, SV_I(owner), SV_I(rec->id));
        r->prefix++;
    }
    store_submit(b, worker_loop(r->worker), 0, prefix_looked_for, r);
}

static void archive_queue_bury(struct record *rec, const struct room_burial *what)
{
    rec->buried = mem_new(struct buried);
    *rec->buried = (struct buried){ .was = rec->st,
                                    .event = room_burial_event(what, rec->recorder->worker),
                                    .by = slice_keep(what->moderator) };
    rec->st = room_tombstone(rec->st, what->tombstone);
    rec->flags |= MESSAGE_RETRACTED;
}

/* The text is made when it is written, so before that it can be another. */
bool recorder_bury(struct recorder *r, int64_t owner, const struct room_burial *what, enum err *e)
{
    uint32_t at = 0;
    for (struct list *it = r->waiting.next; it != &r->waiting; it = it->next, at++) {
        struct record *rec = CONTAINER_OF(it, struct record, node);
        if (rec->owner != owner || rec->id != what->id)
            continue;
        if (r->writing && at < r->prefix)
            return false;
        struct jid jid = jid_split((slice){ rec->sender, rec->sender_len });
        *e = what->author.len == 0 || slice_eq(jid_bare(&jid), what->author) ? OK : E_DENIED;
        if (*e != OK)
            return true;
        if (rec->buried == NULL)
            archive_queue_bury(rec, what);
        return true;
    }
    return false;
}

void recorder_begin(struct recorder *r, int64_t owner)
{
    LIST_EACH (it, &r->ended) {
        struct ended *e = CONTAINER_OF(it, struct ended, node);
        if (e->owner != owner)
            continue;
        list_remove(it);
        mem_free(&e);
        ensure(r->ended_count > 0);
        r->ended_count--;
    }
}

void recorder_drop(struct recorder *r, int64_t owner)
{
    uint32_t at = 0;
    note_ended(r, owner);
    LIST_EACH (it, &r->waiting) {
        struct record *rec = CONTAINER_OF(it, struct record, node);
        if (at++ < r->prefix || rec->owner != owner)
            continue;
        list_remove(it);
        count_waiting(-1);
        archive_queue_tell(rec);
        free_record(rec);
    }
}

/* No acknowledgement covers lost messages, so clients that resume after a planned restart send them
 * again. */
void recorder_end(struct recorder *r)
{
    struct list *it;
    int64_t count = 0;
    timer_cancel(&r->timer);
    while ((it = list_pop(&r->waiting)) != NULL) {
        struct record *rec = CONTAINER_OF(it, struct record, node);
        count_waiting(-1);
        count++;
        free_record(rec);
    }
    metric_add(&lost, count);
    if (count > 0)
        log_error(&muc_archive_log, LOG_EV("messages.lost"), LOG_I("count", count),
                  LOG_C("why", "the node ends while the database is away"),
                  LOG_C("hint", "these messages of rooms are missing in their archives"));
    while ((it = list_pop(&r->ended)) != NULL)
        mem_free(&(struct ended *){ CONTAINER_OF(it, struct ended, node) });
}
