#include "notify/webhook_incoming.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/rand.h"
#include "base/setting.h"
#include "codec/json_text.h"
#include "home/here.h"
#include "home/node.h"
#include "io/timer.h"
#include "notify/webhook_queue.h"
#include "notify/webhooks_private.h"
#include "ops/events.h"
#include "store/store.h"

enum {
    INCOMING_BYTES_MAX = 64 << 20,
    ARENA_MORE_BYTES = 128, /* its own, and the gaps between texts */
    BATCH_MAX = 100,
    RETRY_MS = 1000,
    BODY_MAX = EVENT_DATA_MAX + 6 * EVENT_SUBJECT_MAX + 1024
};

struct setting webhook_queue_max = {
    .name = "webhook.queue-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 10000,
    .min = 100,
    .max = 100000,
    .unit = "events",
    .doc = "How many events wait for all receivers of webhooks together. New ones beyond that are "
           "dropped, which raises the alarm webhook.dropped. Of them, up to 64 MiB wait for the "
           "database to take them.",
};

/* An event that is not in the database yet. */
struct incoming {
    struct list node;
    struct arena *arena;
    int64_t id;   /* 0: it has none yet */
    int64_t hook; /* 0: any that wants it, as they are not read yet */
    enum event_kind kind;
    uint64_t at_us;
    slice event_id, subject, body;
};

static struct {
    struct worker *worker;
    const struct webhook_incoming_ops *ops;
    struct list all; /* the first `writing` of them are under way */
    size_t bytes;
    unsigned count, writing;
    bool busy;
    struct timer retry;
} incoming;

unsigned webhook_incoming_count(void) { return incoming.count; }

static unsigned waiting_total(void) { return webhooks_waiting() + incoming.count; }

/* Its arena has one block, of this size. */
static size_t incoming_bytes(const struct incoming *in)
{
    return ARENA_MORE_BYTES + sizeof *in + in->event_id.len + in->subject.len + in->body.len;
}

/* Out of those that wait. */
static void incoming_leave(struct incoming *in)
{
    struct webhook *h = webhook_find(in->hook); /* NULL: it was deleted, or is not known yet */
    if (h != NULL)
        h->unstored--;
    ensure(incoming.count > 0);
    list_remove(&in->node);
    incoming.count--;
}

static void incoming_free(struct incoming *in)
{
    struct arena *arena = in->arena;
    ensure(incoming.bytes >= incoming_bytes(in));
    incoming.bytes -= incoming_bytes(in);
    arena_destroy(&arena);
}

static void incoming_end(struct incoming *in)
{
    incoming_leave(in);
    incoming_free(in);
}

static void incoming_written(void)
{
    for (; incoming.writing > 0; incoming.writing--) {
        struct incoming *in = CONTAINER_OF(incoming.all.next, struct incoming, node);
        struct webhook *h = webhook_find(in->hook);
        if (h != NULL)
            (void)webhook_item_add(in->id, h, in->subject, in->at_us);
        else /* it was deleted meanwhile */
            webhook_forget_rows(in->hook);
        incoming_end(in);
    }
}

static void queue_wrote(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)arg, (void)b;
    incoming.busy = false;
    if (result != STORE_OK) {
        incoming.writing = 0;
        timer_set(worker_loop(incoming.worker), &incoming.retry, RETRY_MS);
        return;
    }
    incoming_written();
    webhook_incoming_write();
    incoming.ops->stored();
}

static struct store_batch *queue_batch(void)
{
    struct store_batch *b = store_write(worker_store(incoming.worker), webhook_lane());
    incoming.writing = 0;
    LIST_EACH (it, &incoming.all) {
        struct incoming *in = CONTAINER_OF(it, struct incoming, node);
        if (incoming.writing == BATCH_MAX)
            break;
        in->id = in->id == 0 ? webhook_new_item_id() : in->id;
        STORE_ADD(b, &webhook_queue_stmt, STORE_ANY_ROWS, SV_I(in->id), SV_I(in->hook),
                  SV_T(in->event_id), SV_T(slice_of(event_row(in->kind)->name)), SV_T(in->subject),
                  SV_I(in->at_us), SV_T(in->body));
        incoming.writing++;
    }
    return b;
}

void webhook_incoming_write(void)
{
    if (incoming.busy || incoming.count == 0 || !webhooks_are_read())
        return;
    incoming.busy = true;
    store_submit(queue_batch(), worker_loop(incoming.worker), 0, queue_wrote, NULL);
}

static void queue_retry(struct timer *t, struct loop *loop)
{
    (void)t, (void)loop;
    webhook_incoming_write();
}

static slice event_body(struct arena *arena, const struct event_told *e, const char *id)
{
    char stamp[CLOCK_STAMP_LEN];
    struct buf out;
    clock_stamp(stamp, e->at_us);
    buf_init(&out, BODY_MAX);
    buf_printf(&out, "{\"id\":\"%s\",\"event\":\"%s\",\"time\":\"%s\",\"server\":", id,
               event_row((enum event_kind)e->kind)->name, stamp);
    json_text(&out, worker_node(incoming.worker)->domains[0]);
    buf_lit(&out, ",\"subject\":");
    json_text(&out, e->subject);
    buf_lit(&out, ",\"data\":");
    buf_add(&out, e->data);
    buf_lit(&out, "}");
    slice body = slice_dup(arena, buf_fit(&out));
    buf_fini(&out);
    return body;
}

static void incoming_add(const struct incoming *like, int64_t hook)
{
    struct webhook *h = webhook_find(hook); /* NULL: they are not read yet */
    if (waiting_total() >= (uint64_t)setting_int(&webhook_queue_max)) {
        incoming.ops->dropped(1, "webhook.queue-max events wait");
        return;
    }
    if (incoming.bytes + incoming_bytes(like) > INCOMING_BYTES_MAX) {
        incoming.ops->dropped(1, "the database has yet to take 64 MiB of them");
        return;
    }
    struct arena *arena = arena_create(incoming_bytes(like));
    struct incoming *in = arena_new(arena, struct incoming, 1);
    *in = (struct incoming){ .arena = arena,
                             .hook = hook,
                             .kind = like->kind,
                             .at_us = like->at_us,
                             .event_id = slice_dup(arena, like->event_id),
                             .subject = slice_dup(arena, like->subject),
                             .body = slice_dup(arena, like->body) };
    list_append(&incoming.all, &in->node);
    incoming.bytes += incoming_bytes(in);
    incoming.count++;
    if (h != NULL)
        h->unstored++;
}

static void incoming_add_for_all(const struct incoming *like)
{
    LIST_EACH (it, &webhooks_all) {
        const struct webhook *h = CONTAINER_OF(it, struct webhook, node);
        if ((h->kinds >> like->kind & 1) != 0)
            incoming_add(like, h->id);
    }
}

static void webhooks_take(struct worker *w, const struct event_told *e)
{
    char id[2 * WEBHOOK_EVENT_ID_BYTES + 1];
    ensure(w == incoming.worker);
    if (webhooks_are_read() && !event_is_wanted((enum event_kind)e->kind))
        return;
    rand_hex(id, WEBHOOK_EVENT_ID_BYTES);
    struct arena *tmp = arena_create(0);
    const struct incoming in = { .kind = (enum event_kind)e->kind,
                                 .at_us = e->at_us,
                                 .event_id = slice_of(id),
                                 .subject = e->subject,
                                 .body = event_body(tmp, e, id) };
    if (webhooks_are_read())
        incoming_add_for_all(&in);
    else
        incoming_add(&in, 0);
    arena_destroy(&tmp);
    webhook_incoming_write();
}

void webhook_incoming_share_out(void)
{
    for (unsigned left = incoming.count; left > 0; left--) {
        struct incoming *in = CONTAINER_OF(incoming.all.next, struct incoming, node);
        incoming_leave(in); /* those for each webhook take its place */
        incoming_add_for_all(in);
        incoming_free(in);
    }
}

void webhook_incoming_start(struct worker *w, const struct webhook_incoming_ops *ops)
{
    incoming.worker = w;
    incoming.ops = ops;
    incoming.retry.fn = queue_retry;
    list_init(&incoming.all);
    events_take(webhooks_take);
}

static void last_wrote(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)b;
    *(bool *)arg = result == STORE_OK;
    for (; result == STORE_OK && incoming.writing > 0; incoming.writing--)
        incoming_end(CONTAINER_OF(incoming.all.next, struct incoming, node));
}

void webhook_incoming_stop(bool write)
{
    timer_cancel(&incoming.retry);
    events_take(NULL);
    while (write && incoming.count > 0)
        (void)store_run(queue_batch(), last_wrote, &write);
    while (incoming.count > 0)
        incoming_end(CONTAINER_OF(incoming.all.next, struct incoming, node));
}

void webhook_forget_rows(int64_t id)
{
    struct store_batch *b = store_write(worker_store(incoming.worker), webhook_lane());
    STORE_ADD(b, &webhook_forget_stmt, STORE_ANY_ROWS, SV_I(id));
    store_submit(b, worker_loop(incoming.worker), 0, NULL, NULL);
}
