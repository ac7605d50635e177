#include "app/webhooks.h"
#include "admin/alarms.h"
#include "app/outbound.h"
#include "app/webhook_post.h"
#include "app/webhook_queue.h"
#include "app/webhooks_private.h"
#include "app/webhooks_read.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/rand.h"
#include "base/setting.h"
#include "codec/json_text.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "im/feature.h"
#include "io/timer.h"
#include "ops/events.h"
#include "store/store.h"
#include <stdio.h>

enum {
    FLIGHTS_MORE_MAX = 16, /* beyond one for each webhook */
    FLIGHTS_MAX = WEBHOOKS_MAX + FLIGHTS_MORE_MAX,
    INCOMING_BYTES_MAX = 64 << 20,
    ARENA_MORE_BYTES = 128, /* its own, and the gaps between texts */
    BATCH_MAX = 100,
    SWEPT_MAX = 1000, /* in one step */
    RETRY_MS = 1000,
    BACK_OFF_MS = 1000,
    BACK_OFF_MAX_MS = 10 * 60 * 1000,
    SWEEP_MS = 60 * 1000,
    DROPPED_US = 10 * 60 * 1000000,
    LAST_US = 5 * 1000000,
    FAILURES_ALARM = 3,
    EVENT_ID_BYTES = 16,
    BODY_MAX = EVENT_DATA_MAX + 6 * EVENT_SUBJECT_MAX + 1024,
    US_A_MS = 1000
};

struct log_area log_webhook = { .name = "webhook" };
static struct metric events_metric = { .name = "muster_webhook_events",
                                       .kind = METRIC_COUNTER,
                                       .label = "result",
                                       .values = (const char *const[]){ "taken", "failed",
                                                                        "dropped", NULL },
                                       .help = "Events that receivers of webhooks have taken, "
                                               "attempts that failed, and events that were "
                                               "dropped." };
enum { EVENTS_TAKEN, EVENTS_FAILED, EVENTS_DROPPED };

static struct setting queue_max = {
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
static const struct setting_impact older_impact = { .stmt = &webhook_older_stmt,
                                                    .what = "events that have waited longer",
                                                    .unit_us = US_A_MS,
                                                    .deletes = true };
static void keep_changed(struct worker *w, const struct setting *s);
static struct setting queue_keep = {
    .name = "webhook.keep",
    .impact = &older_impact,
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = INT64_C(24) * 3600 * 1000,
    .min = 1000,
    .max = INT64_C(30) * 24 * 3600 * 1000,
    .doc = "How long an event waits for the receiver of a webhook. Then it is dropped, which "
           "raises the alarm webhook.dropped.",
    .changed = keep_changed,
};
static struct alarm failing_alarm = {
    .name = "webhook.failing",
    .severity = ALARM_WARNING,
    .text = "The receiver of a webhook does not take events.",
    .action = "See which and why in the detail and in `musterctl webhook list`. Mend the receiver, "
              "and try it with `musterctl webhook test`, or delete the webhook with `musterctl "
              "webhook del`.",
    .explanation = "Another system does not hear of what happens here. The events wait in the "
                   "database and follow by themselves.",
    .raised_when = "Three requests to a receiver have failed in a row: it cannot be reached, or "
                   "its answer has no status of 200 to 299.",
    .cleared_when = "Each receiver has taken the last request to it.",
};
static struct alarm dropped_alarm = {
    .name = "webhook.dropped",
    .severity = ALARM_ERROR,
    .text = "Events were dropped that a webhook wanted.",
    .action = "Mend the receiver that does not take them (`musterctl webhook list`), or the "
              "database if the detail names it. What the receiver has missed must be read from the "
              "server by other means.",
    .explanation = "The queue of webhooks is bounded, so that a receiver that is away does not "
                   "fill the database.",
    .raised_when = "An event has waited for webhook.keep, webhook.queue-max events wait, or 64 MiB "
                   "of events wait for the database to take them. The detail says which.",
    .cleared_when = "For ten minutes none was dropped.",
    .settings = "webhook.keep webhook.queue-max",
};

/* One that is not in the database yet. */
struct incoming {
    struct list node;
    struct arena *arena;
    int64_t id;   /* 0: it has none yet */
    int64_t hook; /* 0: any that wants it, as they are not read yet */
    enum event_kind kind;
    uint64_t at_us;
    slice event_id, subject, body;
};

struct flight {
    struct webhook_post post;
    struct webhook *hook;      /* NULL: it is free */
    struct webhook_item *item; /* NULL: a test, for `call` */
    struct command_call *call;
};

static struct {
    struct worker *worker; /* NULL: the duty is not here */
    bool stopping;
    struct list incoming; /* the first `writing` of them are under way */
    size_t incoming_bytes;
    unsigned incoming_count, writing;
    bool busy;
    struct timer retry, due, sweep;
    bool sweeping; /* a step is being written */
    struct flight flights[FLIGHTS_MAX];
    unsigned more; /* of them, beyond the first one of each webhook */
    uint64_t dropped, dropped_us;
} queue;

static void dispatch(void);
static void queue_write(void);
static void sweep_now(void);

/* What waits is not about the wall clock, which may be set back. */
static uint64_t webhooks_now_us(void) { return loop_now_us(worker_loop(queue.worker)); }

static uint64_t webhook_lane(void) { return hash_keyed(SLICE("webhook")); }

/* Webhooks that fail, or go. */

static void say_failing(void)
{
    char text[2 * ALARM_DETAIL_BYTES];
    LIST_EACH (it, &webhooks_all) {
        const struct webhook *h = CONTAINER_OF(it, struct webhook, node);
        if (h->refusals < FAILURES_ALARM || h->leaves_us > 0)
            continue;
        snprintf(text, sizeof text, "webhook %lld: %.120s", (long long)h->id, h->why);
        alarm_raise(&failing_alarm, slice_of(text));
        return;
    }
    alarm_clear(&failing_alarm);
}

static void hook_forget_rows(int64_t id)
{
    struct store_batch *b = store_write(worker_store(queue.worker), webhook_lane());
    STORE_ADD(b, &webhook_forget_stmt, STORE_ANY_ROWS, SV_I(id));
    store_submit(b, worker_loop(queue.worker), 0, NULL, NULL);
}

static void hook_drop(struct webhook *h)
{
    hook_forget_rows(h->id);
    webhook_remove(h);
}

void webhook_leave(struct webhook *h)
{
    ensure(h->leaves_us == 0);
    h->leaves_us = webhooks_now_us() + LAST_US;
    h->kinds &= UINT32_C(1) << EVENT_AUDIT_ENTRY;
    webhook_forget_items(h);
    say_failing();
    if (h->kinds == 0)
        hook_drop(h);
    else
        dispatch();
}

/* Those whose time is over; when that of the next is. */
static void hooks_left(uint64_t now_us, uint64_t *next_us)
{
    struct list *next;
    for (struct list *at = webhooks_all.next; at != &webhooks_all; at = next) {
        struct webhook *h = CONTAINER_OF(at, struct webhook, node);
        next = at->next;
        if (h->leaves_us > 0 && h->leaves_us <= now_us)
            hook_drop(h);
        else if (h->leaves_us > 0 && h->leaves_us < *next_us)
            *next_us = h->leaves_us;
    }
}

/* Sending. */

/* Events from before this time have waited for webhook.keep. */
static uint64_t expired_us(void)
{
    return clock_wall_us() - (uint64_t)setting_int(&queue_keep) * US_A_MS;
}

static uint64_t back_off_us(unsigned failures)
{
    uint64_t ms = (uint64_t)BACK_OFF_MS << (failures < 12 ? failures : 12);
    ms = ms < BACK_OFF_MAX_MS ? ms : BACK_OFF_MAX_MS;
    return (ms / 2 + rand_u64() % (ms / 2 + 1)) * US_A_MS;
}

static void flight_free(struct flight *f)
{
    struct webhook *h = f->hook;
    ensure(h != NULL && h->flights > 0);
    f->hook = NULL;
    f->item = NULL;
    f->call = NULL;
    if (--h->flights > 0)
        queue.more--;
    else if (h->deleted)
        webhook_free(h);
}

static void item_taken(struct webhook *h, struct webhook_item *i)
{
    struct store_batch *b = store_write(worker_store(queue.worker), webhook_lane());
    STORE_ADD(b, &webhook_taken_stmt, STORE_ANY_ROWS, SV_I(i->id));
    store_submit(b, worker_loop(queue.worker), 0, NULL, NULL);
    webhook_item_free(h, i);
    metric_add_to(&events_metric, EVENTS_TAKEN, 1);
    h->taken++;
    h->taken_us = clock_wall_us();
}

/* Receivers are told how often an event was tried, also after a restart. */
static void item_waits(struct webhook *h, struct webhook_item *i)
{
    metric_add_to(&events_metric, EVENTS_FAILED, 1);
    i->flying = false;
    i->due_us = webhooks_now_us() + back_off_us(i->attempts);
    i->attempts++;
    if (h->deleted) {
        webhook_item_free(h, i);
        return;
    }
    struct store_batch *b = store_write(worker_store(queue.worker), webhook_lane());
    STORE_ADD(b, &webhook_tried_stmt, STORE_ANY_ROWS, SV_I(i->id), SV_I(i->attempts));
    store_submit(b, worker_loop(queue.worker), 0, NULL, NULL);
}

static void test_end(struct command_call *call, const struct webhook_post *p, const char *why)
{
    if (why != NULL)
        command_fail(call, p->ours ? E_CONFLICT : E_OUTSIDE, "%s", why);
    else
        command_done(call, "the receiver has taken the test event");
}

/* An answer, even a bad one, means that other events may be tried at once. */
static void hook_heard(struct webhook *h, unsigned status, const char *why)
{
    snprintf(h->why, sizeof h->why, "%s", why != NULL ? why : "");
    h->refusals = why != NULL ? h->refusals + 1 : 0;
    if (status == 0) {
        h->due_us = webhooks_now_us() + back_off_us(h->failures);
        h->failures++;
    } else {
        h->failures = 0;
        h->due_us = 0;
    }
    if (!h->deleted)
        say_failing();
}

static void flight_done(struct webhook_post *p, const char *why)
{
    struct flight *f = CONTAINER_OF(p, struct flight, post);
    struct webhook *h = f->hook;
    ensure(h != NULL);
    hook_heard(h, p->status, why);
    if (f->call != NULL)
        test_end(f->call, p, why);
    else if (why == NULL)
        item_taken(h, f->item);
    else
        item_waits(h, f->item);
    flight_free(f);
    dispatch();
}

static void flight_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct flight *f = arg;
    if (queue.stopping)
        return;
    if (result == STORE_OK && store_row_count(b, 0) > 0) {
        f->post.done = flight_done;
        webhook_post(&f->post, queue.worker,
                     &(struct webhook_request){ .url = f->hook->url,
                                                .secret = f->hook->secret,
                                                .id = store_text(b, 0, 0, 0),
                                                .event = store_text(b, 0, 0, 1),
                                                .body = store_text(b, 0, 0, 2),
                                                .attempt = f->item->attempts + 1 });
        return;
    }
    if (result == STORE_OK) /* it was deleted there */
        webhook_item_free(f->hook, f->item);
    else
        item_waits(f->hook, f->item);
    flight_free(f);
    dispatch();
}

/* The first one of a webhook has room: slow receivers do not hold up the others. */
static struct flight *flight_new(struct webhook *h)
{
    if (h->flights > 0 && queue.more == FLIGHTS_MORE_MAX)
        return NULL;
    for (unsigned i = 0; i < FLIGHTS_MAX; i++) {
        struct flight *f = &queue.flights[i];
        if (f->hook != NULL)
            continue;
        f->hook = h;
        if (h->flights++ > 0)
            queue.more++;
        return f;
    }
    return NULL;
}

static bool item_send(struct webhook *h, struct webhook_item *i)
{
    struct flight *f = flight_new(h);
    if (f == NULL)
        return false;
    f->item = i;
    i->flying = true;
    struct store_batch *b = store_read(worker_store(queue.worker), webhook_lane());
    STORE_ADD(b, &webhook_one_stmt, STORE_ANY_ROWS, SV_I(i->id), SV_I(h->id));
    store_submit(b, worker_loop(queue.worker), 0, flight_read, f);
    return true;
}

/* An item may go if none of its subject is before it, and its time has come. */
static void hook_dispatch(struct webhook *h, uint64_t now_us, uint64_t *next_us)
{
    unsigned most = h->failures > 0 ? 1 : WEBHOOK_FLIGHTS;
    if (h->secret.len == 0)
        return;
    if (h->due_us > now_us && h->waiting > 0 && h->due_us < *next_us)
        *next_us = h->due_us;
    if (h->due_us > now_us)
        return;
    LIST_EACH (it, &h->first) {
        struct webhook_item *i = CONTAINER_OF(it, struct webhook_item, first);
        if (h->flights >= most)
            return;
        if (!i->flying && i->at_us < expired_us())
            sweep_now();
        else if (!i->flying && i->due_us > now_us)
            *next_us = i->due_us < *next_us ? i->due_us : *next_us;
        else if (!i->flying && !item_send(h, i))
            return;
    }
}

static void dispatch(void)
{
    uint64_t now_us = webhooks_now_us(), next_us = UINT64_MAX;
    if (queue.stopping || !webhooks_are_read())
        return;
    hooks_left(now_us, &next_us);
    LIST_EACH (it, &webhooks_all)
        hook_dispatch(CONTAINER_OF(it, struct webhook, node), now_us, &next_us);
    if (next_us != UINT64_MAX)
        timer_set(worker_loop(queue.worker), &queue.due, (next_us - now_us) / US_A_MS + 1);
}

static void dispatch_due(struct timer *t, struct loop *loop)
{
    (void)t, (void)loop;
    dispatch();
}

/* What comes in. */

static unsigned queue_total(void) { return webhooks_waiting() + queue.incoming_count; }

static void say_dropped(unsigned count, const char *why)
{
    char text[2 * ALARM_DETAIL_BYTES];
    queue.dropped += count;
    queue.dropped_us = webhooks_now_us();
    metric_add_to(&events_metric, EVENTS_DROPPED, (int)count);
    snprintf(text, sizeof text, "%llu since the start, %u wait; the last because %s",
             (unsigned long long)queue.dropped, queue_total(), why);
    alarm_raise(&dropped_alarm, slice_of(text));
}

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
    ensure(queue.incoming_count > 0);
    list_remove(&in->node);
    queue.incoming_count--;
}

static void incoming_free(struct incoming *in)
{
    struct arena *arena = in->arena;
    ensure(queue.incoming_bytes >= incoming_bytes(in));
    queue.incoming_bytes -= incoming_bytes(in);
    arena_destroy(&arena);
}

static void incoming_end(struct incoming *in)
{
    incoming_leave(in);
    incoming_free(in);
}

static void incoming_written(void)
{
    for (; queue.writing > 0; queue.writing--) {
        struct incoming *in = CONTAINER_OF(queue.incoming.next, struct incoming, node);
        struct webhook *h = webhook_find(in->hook);
        if (h != NULL)
            (void)webhook_item_add(in->id, h, in->subject, in->at_us);
        else /* it was deleted meanwhile */
            hook_forget_rows(in->hook);
        incoming_end(in);
    }
}

static void queue_wrote(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)arg, (void)b;
    queue.busy = false;
    if (result != STORE_OK) {
        queue.writing = 0;
        timer_set(worker_loop(queue.worker), &queue.retry, RETRY_MS);
        return;
    }
    incoming_written();
    queue_write();
    dispatch();
}

static struct store_batch *queue_batch(void)
{
    struct store_batch *b = store_write(worker_store(queue.worker), webhook_lane());
    queue.writing = 0;
    LIST_EACH (it, &queue.incoming) {
        struct incoming *in = CONTAINER_OF(it, struct incoming, node);
        if (queue.writing == BATCH_MAX)
            break;
        in->id = in->id == 0 ? webhook_new_item_id() : in->id;
        STORE_ADD(b, &webhook_queue_stmt, STORE_ANY_ROWS, SV_I(in->id), SV_I(in->hook),
                  SV_T(in->event_id), SV_T(slice_of(event_row(in->kind)->name)), SV_T(in->subject),
                  SV_I(in->at_us), SV_T(in->body));
        queue.writing++;
    }
    return b;
}

static void queue_write(void)
{
    if (queue.busy || queue.incoming_count == 0 || !webhooks_are_read())
        return;
    queue.busy = true;
    store_submit(queue_batch(), worker_loop(queue.worker), 0, queue_wrote, NULL);
}

static void queue_retry(struct timer *t, struct loop *loop)
{
    (void)t, (void)loop;
    queue_write();
}

static slice event_body(struct arena *arena, const struct event_told *e, const char *id)
{
    char stamp[CLOCK_STAMP_LEN];
    struct buf out;
    clock_stamp(stamp, e->at_us);
    buf_init(&out, BODY_MAX);
    buf_printf(&out, "{\"id\":\"%s\",\"event\":\"%s\",\"time\":\"%s\",\"server\":", id,
               event_row((enum event_kind)e->kind)->name, stamp);
    json_text(&out, worker_node(queue.worker)->domains[0]);
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
    if (queue_total() >= (uint64_t)setting_int(&queue_max)) {
        say_dropped(1, "webhook.queue-max events wait");
        return;
    }
    if (queue.incoming_bytes + incoming_bytes(like) > INCOMING_BYTES_MAX) {
        say_dropped(1, "the database has yet to take 64 MiB of them");
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
    list_append(&queue.incoming, &in->node);
    queue.incoming_bytes += incoming_bytes(in);
    queue.incoming_count++;
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
    char id[2 * EVENT_ID_BYTES + 1];
    ensure(w == queue.worker);
    if (webhooks_are_read() && !event_is_wanted((enum event_kind)e->kind))
        return;
    rand_hex(id, EVENT_ID_BYTES);
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
    queue_write();
}

/* At the home of DUTY_ALARMS, which is any worker. */
static void tell_alarm(struct worker *w, const struct alarms_news *n)
{
    static const enum event_kind kinds[] = { EVENT_ALARM_RAISED, EVENT_ALARM_CHANGED,
                                             EVENT_ALARM_CLEARED };
    const struct alarm *a = n->alarm;
    event_tell(
        w, kinds[n->what], slice_of(a->name),
        (const struct event_field[]){ { "alarm", slice_of(a->name) },
                                      { "severity", slice_of(alarm_severities[n->severity]) },
                                      { "text", slice_of(a->text) },
                                      { "detail", slice_of(n->detail) },
                                      { "action", slice_of(alarms_action(n)) },
                                      { 0 } });
}

void webhook_test(struct webhook *h, struct command_call *call)
{
    if (h->secret.len == 0) {
        command_fail(call, E_CONFLICT, "%s", SECRET_UNREAD);
        return;
    }
    struct flight *f = flight_new(h);
    if (f == NULL || queue.stopping) {
        command_fail(call, E_AGAIN, "too many requests are under way; try again");
        return;
    }
    char stamp[CLOCK_STAMP_LEN], id[2 * EVENT_ID_BYTES + 1];
    clock_stamp(stamp, clock_wall_us());
    rand_hex(id, EVENT_ID_BYTES);
    const char *body = arena_printf(call->arena,
                                    "{\"id\":\"%s\",\"event\":\"test\",\"time\":\"%s\",\"server\":"
                                    "\"%.*s\",\"subject\":\"test\",\"data\":{}}",
                                    id, stamp, SLICE_ARG(worker_node(queue.worker)->domains[0]));
    f->call = call;
    f->post.done = flight_done;
    webhook_post(&f->post, queue.worker,
                 &(struct webhook_request){ .url = h->url,
                                            .secret = h->secret,
                                            .id = slice_of(id),
                                            .event = SLICE("test"),
                                            .body = slice_of(body),
                                            .attempt = 1 });
}

/* Begin, end, and what is too old. */

/* Their times need not rise: the clock may have been set back. How many were dropped. */
static unsigned hook_sweep(struct webhook *h, unsigned most, struct store_batch *b)
{
    unsigned dropped = 0;
    uint64_t before_us = expired_us();
    struct list *next;
    for (struct list *at = h->items.next; at != &h->items && dropped < most; at = next) {
        struct webhook_item *i = CONTAINER_OF(at, struct webhook_item, node);
        next = at->next;
        if (i->flying || i->at_us >= before_us)
            continue;
        STORE_ADD(b, &webhook_taken_stmt, STORE_ANY_ROWS, SV_I(i->id));
        webhook_item_free(h, i);
        dropped++;
    }
    if (dropped == 0)
        return 0;
    log_error(&log_webhook, LOG_EV("webhook.dropped"), LOG_I("webhook", h->id),
              LOG_I("events", dropped), LOG_C("hint", "they have waited for webhook.keep"));
    say_dropped(dropped, "it had waited for webhook.keep");
    return dropped;
}

static uint64_t sweep_ms(void)
{
    int64_t keep = setting_int(&queue_keep);
    return (uint64_t)(keep < SWEEP_MS ? keep : SWEEP_MS);
}

/* The next step, if there may be more; what the receivers wait for is behind what was dropped. */
static void queue_swept(void *arg, enum store_result result, const struct store_batch *b)
{
    bool more = arg != NULL && result == STORE_OK;
    (void)b;
    queue.sweeping = false;
    if (queue.stopping)
        return;
    timer_set(worker_loop(queue.worker), &queue.sweep, more ? 0 : sweep_ms());
    dispatch();
}

static void sweep_now(void)
{
    if (!queue.sweeping && !queue.stopping && webhooks_are_read())
        timer_set(worker_loop(queue.worker), &queue.sweep, 0);
}

static void keep_changed(struct worker *w, const struct setting *s)
{
    (void)s;
    if (duty_is_here(w, DUTY_WEBHOOKS))
        sweep_now();
}

static void queue_sweep(struct timer *t, struct loop *loop)
{
    unsigned dropped = 0;
    struct store_batch *b = store_write(worker_store(queue.worker), webhook_lane());
    LIST_EACH (it, &webhooks_all)
        dropped += hook_sweep(CONTAINER_OF(it, struct webhook, node), SWEPT_MAX - dropped, b);
    if (queue.incoming_count == 0)
        STORE_ADD(b, &webhook_before_stmt, STORE_ANY_ROWS, SV_I(webhooks_first_waiting()));
    queue.sweeping = store_stmt_count(b) > 0;
    if (queue.sweeping) {
        store_submit(b, loop, 0, queue_swept, dropped == SWEPT_MAX ? &queue : NULL);
    } else {
        store_drop(&b);
        timer_set(loop, t, sweep_ms());
    }
    if (queue.dropped_us == 0 || webhooks_now_us() >= queue.dropped_us + DROPPED_US)
        alarm_clear(&dropped_alarm);
}

/* Now it is known who wants the events that came meanwhile. */
static void webhooks_begin(void)
{
    webhooks_set_read();
    for (unsigned left = queue.incoming_count; left > 0; left--) {
        struct incoming *in = CONTAINER_OF(queue.incoming.next, struct incoming, node);
        incoming_leave(in); /* those for each webhook take its place */
        incoming_add_for_all(in);
        incoming_free(in);
    }
    if (queue.stopping)
        return;
    queue_write();
    timer_set(worker_loop(queue.worker), &queue.due, RETRY_MS);
    timer_set(worker_loop(queue.worker), &queue.sweep, RETRY_MS); /* a stop may have been long */
}

static void webhooks_end(void)
{
    queue.stopping = true;
    webhooks_read_end();
    timer_cancel(&queue.due);
    timer_cancel(&queue.sweep);
    for (unsigned i = 0; i < FLIGHTS_MAX; i++) {
        struct flight *f = &queue.flights[i];
        struct command_call *call = f->call;
        f->call = NULL;
        webhook_post_cancel(&f->post);
        if (call != NULL)
            command_fail(call, E_CANCELED, "the server ends");
    }
}

static void webhooks_start(struct worker *w)
{
    if (worker_index(w) == 0 && duty_is_here(w, DUTY_ALARMS))
        alarms_on_told(tell_alarm);
    if (!duty_is_here(w, DUTY_WEBHOOKS))
        return;
    queue.worker = w;
    queue.retry.fn = queue_retry;
    queue.due.fn = dispatch_due;
    queue.sweep.fn = queue_sweep;
    list_init(&queue.incoming);
    events_take(webhooks_take);
    outbound_at_stop(webhooks_end);
    webhook_queue_start();
    webhooks_read_begin(w, webhooks_begin);
}

static void last_wrote(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)b;
    *(bool *)arg = result == STORE_OK;
    for (; result == STORE_OK && queue.writing > 0; queue.writing--)
        incoming_end(CONTAINER_OF(queue.incoming.next, struct incoming, node));
}

/* The loop has ended. Events that were under way are written again, which changes nothing. */
static void webhooks_stop(struct worker *w)
{
    bool works = true;
    if (queue.worker != w)
        return;
    timer_cancel(&queue.retry);
    events_want(0);
    events_take(NULL);
    if (!webhooks_are_read() && queue.incoming_count > 0)
        works = webhooks_read_now();
    while (works && queue.incoming_count > 0)
        (void)store_run(queue_batch(), last_wrote, &works);
    while (queue.incoming_count > 0)
        incoming_end(CONTAINER_OF(queue.incoming.next, struct incoming, node));
    for (unsigned i = 0; i < FLIGHTS_MAX; i++) {
        struct webhook *h = queue.flights[i].hook;
        queue.flights[i] = (struct flight){ 0 };
        if (h != NULL && --h->flights == 0 && h->deleted)
            webhook_end(h);
    }
    webhook_queue_stop();
    queue.more = 0;
    queue.worker = NULL;
}

const struct feature webhooks_feature = {
    .name = "webhooks",
    .schema = &webhook_schema,
    .settings = (struct setting *const[]){ &queue_max, &queue_keep, &webhook_allow_local, NULL },
    .commands = (struct command *const[]){ &webhook_add_command, &webhook_list_command,
                                           &webhook_show_command, &webhook_del_command,
                                           &webhook_test_command, &webhook_events_command, NULL },
    .metrics = (struct metric *const[]){ &events_metric, NULL },
    .alarms =
        (struct alarm *const[]){ &failing_alarm, &dropped_alarm, &webhook_unread_alarm, NULL },
    .logs = (struct log_area *const[]){ &log_webhook, NULL },
    .worker.start = webhooks_start,
    .worker.stop = webhooks_stop,
    .worker.secrets_dropped = webhooks_secrets_dropped,
};
