#include "notify/webhooks.h"
#include "admin/alarms.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/rand.h"
#include "base/setting.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "io/timer.h"
#include "notify/outbound.h"
#include "notify/webhook_incoming.h"
#include "notify/webhook_post.h"
#include "notify/webhook_queue.h"
#include "notify/webhooks_private.h"
#include "notify/webhooks_read.h"
#include "ops/events.h"
#include "store/store.h"
#include <stdio.h>

enum {
    FLIGHTS_MORE_MAX = 16, /* beyond one for each webhook */
    FLIGHTS_MAX = WEBHOOKS_MAX + FLIGHTS_MORE_MAX,
    SWEPT_MAX = 1000, /* in one step */
    BEGIN_MS = 1000,  /* from when all is read */
    BACK_OFF_MS = 1000,
    BACK_OFF_MAX_MS = 10 * 60 * 1000,
    SWEEP_MS = 60 * 1000,
    DROPPED_US = 10 * 60 * 1000000,
    LAST_US = 5 * 1000000,
    FAILURES_ALARM = 3,
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

struct flight {
    struct webhook_post post;
    struct webhook *hook;      /* NULL: it is free */
    struct webhook_item *item; /* NULL: a test, for `call` */
    struct command_call *call;
};

static struct {
    struct worker *worker; /* NULL: the duty is not here */
    bool stopping;
    struct timer due, sweep;
    bool sweeping; /* a step is being written */
    struct flight flights[FLIGHTS_MAX];
    unsigned more; /* of them, beyond the first one of each webhook */
    uint64_t dropped, dropped_us;
} sending;

static void dispatch(void);
static void sweep_now(void);

/* What waits is not about the wall clock, which may be set back. */
static uint64_t webhooks_now_us(void) { return loop_now_us(worker_loop(sending.worker)); }

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

static void hook_drop(struct webhook *h)
{
    webhook_forget_rows(h->id);
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
        sending.more--;
    else if (h->deleted)
        webhook_free(h);
}

static void item_taken(struct webhook *h, struct webhook_item *i)
{
    struct store_batch *b = store_write(worker_store(sending.worker), webhook_lane());
    STORE_ADD(b, &webhook_taken_stmt, STORE_ANY_ROWS, SV_I(i->id));
    store_submit(b, worker_loop(sending.worker), 0, NULL, NULL);
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
    struct store_batch *b = store_write(worker_store(sending.worker), webhook_lane());
    STORE_ADD(b, &webhook_tried_stmt, STORE_ANY_ROWS, SV_I(i->id), SV_I(i->attempts));
    store_submit(b, worker_loop(sending.worker), 0, NULL, NULL);
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
    if (sending.stopping)
        return;
    if (result == STORE_OK && store_row_count(b, 0) > 0) {
        f->post.done = flight_done;
        webhook_post(&f->post, sending.worker,
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
    if (h->flights > 0 && sending.more == FLIGHTS_MORE_MAX)
        return NULL;
    for (unsigned i = 0; i < FLIGHTS_MAX; i++) {
        struct flight *f = &sending.flights[i];
        if (f->hook != NULL)
            continue;
        f->hook = h;
        if (h->flights++ > 0)
            sending.more++;
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
    struct store_batch *b = store_read(worker_store(sending.worker), webhook_lane());
    STORE_ADD(b, &webhook_one_stmt, STORE_ANY_ROWS, SV_I(i->id), SV_I(h->id));
    store_submit(b, worker_loop(sending.worker), 0, flight_read, f);
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
    if (sending.stopping || !webhooks_are_read())
        return;
    hooks_left(now_us, &next_us);
    LIST_EACH (it, &webhooks_all)
        hook_dispatch(CONTAINER_OF(it, struct webhook, node), now_us, &next_us);
    if (next_us != UINT64_MAX)
        timer_set(worker_loop(sending.worker), &sending.due, (next_us - now_us) / US_A_MS + 1);
}

static void dispatch_due(struct timer *t, struct loop *loop)
{
    (void)t, (void)loop;
    dispatch();
}

void webhook_test(struct webhook *h, struct command_call *call)
{
    if (h->secret.len == 0) {
        command_fail(call, E_CONFLICT, "%s", SECRET_UNREAD);
        return;
    }
    struct flight *f = flight_new(h);
    if (f == NULL || sending.stopping) {
        command_fail(call, E_AGAIN, "too many requests are under way; try again");
        return;
    }
    char stamp[CLOCK_STAMP_LEN], id[2 * WEBHOOK_EVENT_ID_BYTES + 1];
    clock_stamp(stamp, clock_wall_us());
    rand_hex(id, WEBHOOK_EVENT_ID_BYTES);
    const char *body = arena_printf(call->arena,
                                    "{\"id\":\"%s\",\"event\":\"test\",\"time\":\"%s\",\"server\":"
                                    "\"%.*s\",\"subject\":\"test\",\"data\":{}}",
                                    id, stamp, SLICE_ARG(worker_node(sending.worker)->domains[0]));
    f->call = call;
    f->post.done = flight_done;
    webhook_post(&f->post, sending.worker,
                 &(struct webhook_request){ .url = h->url,
                                            .secret = h->secret,
                                            .id = slice_of(id),
                                            .event = SLICE("test"),
                                            .body = slice_of(body),
                                            .attempt = 1 });
}

/* Begin, end, and what is too old. */

static void say_dropped(unsigned count, const char *why)
{
    char text[2 * ALARM_DETAIL_BYTES];
    unsigned waiting = webhooks_waiting() + webhook_incoming_count();
    sending.dropped += count;
    sending.dropped_us = webhooks_now_us();
    metric_add_to(&events_metric, EVENTS_DROPPED, (int)count);
    snprintf(text, sizeof text, "%llu since the start, %u wait; the last because %s",
             (unsigned long long)sending.dropped, waiting, why);
    alarm_raise(&dropped_alarm, slice_of(text));
}

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
    sending.sweeping = false;
    if (sending.stopping)
        return;
    timer_set(worker_loop(sending.worker), &sending.sweep, more ? 0 : sweep_ms());
    dispatch();
}

static void sweep_now(void)
{
    if (!sending.sweeping && !sending.stopping && webhooks_are_read())
        timer_set(worker_loop(sending.worker), &sending.sweep, 0);
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
    struct store_batch *b = store_write(worker_store(sending.worker), webhook_lane());
    LIST_EACH (it, &webhooks_all)
        dropped += hook_sweep(CONTAINER_OF(it, struct webhook, node), SWEPT_MAX - dropped, b);
    if (webhook_incoming_count() == 0)
        STORE_ADD(b, &webhook_before_stmt, STORE_ANY_ROWS, SV_I(webhooks_first_waiting()));
    sending.sweeping = store_stmt_count(b) > 0;
    if (sending.sweeping) {
        store_submit(b, loop, 0, queue_swept, dropped == SWEPT_MAX ? &sending : NULL);
    } else {
        store_drop(&b);
        timer_set(loop, t, sweep_ms());
    }
    if (sending.dropped_us == 0 || webhooks_now_us() >= sending.dropped_us + DROPPED_US)
        alarm_clear(&dropped_alarm);
}

static void webhooks_begin(void)
{
    webhooks_set_read();
    webhook_incoming_share_out();
    if (sending.stopping)
        return;
    webhook_incoming_write();
    timer_set(worker_loop(sending.worker), &sending.due, BEGIN_MS);
    /* A stop may have been long. */
    timer_set(worker_loop(sending.worker), &sending.sweep, BEGIN_MS);
}

static void webhooks_end(void)
{
    sending.stopping = true;
    webhooks_read_end();
    timer_cancel(&sending.due);
    timer_cancel(&sending.sweep);
    for (unsigned i = 0; i < FLIGHTS_MAX; i++) {
        struct flight *f = &sending.flights[i];
        struct command_call *call = f->call;
        f->call = NULL;
        webhook_post_cancel(&f->post);
        if (call != NULL)
            command_fail(call, E_CANCELED, "the server ends");
    }
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

static const struct webhook_incoming_ops webhook_incoming_ops = { .stored = dispatch,
                                                                  .dropped = say_dropped };

static void webhooks_start(struct worker *w)
{
    if (worker_index(w) == 0 && duty_is_here(w, DUTY_ALARMS))
        alarms_on_told(tell_alarm);
    if (!duty_is_here(w, DUTY_WEBHOOKS))
        return;
    sending.worker = w;
    sending.due.fn = dispatch_due;
    sending.sweep.fn = queue_sweep;
    webhook_incoming_start(w, &webhook_incoming_ops);
    outbound_at_stop(webhooks_end);
    webhook_queue_start();
    webhooks_read_begin(w, webhooks_begin);
}

/* The loop has ended. */
static void webhooks_stop(struct worker *w)
{
    bool read = true;
    if (sending.worker != w)
        return;
    events_want(0);
    if (!webhooks_are_read() && webhook_incoming_count() > 0)
        read = webhooks_read_now();
    webhook_incoming_stop(read);
    for (unsigned i = 0; i < FLIGHTS_MAX; i++) {
        struct webhook *h = sending.flights[i].hook;
        sending.flights[i] = (struct flight){ 0 };
        if (h != NULL && --h->flights == 0 && h->deleted)
            webhook_end(h);
    }
    webhook_queue_stop();
    sending.more = 0;
    sending.worker = NULL;
}

const struct feature webhooks_feature = {
    .name = "webhooks",
    .schema = &webhook_schema,
    .settings =
        (struct setting *const[]){ &webhook_queue_max, &queue_keep, &webhook_allow_local, NULL },
    .commands = (struct command *const[]){ &webhook_add_command, &webhook_list_command,
                                           &webhook_show_command, &webhook_del_command,
                                           &webhook_test_command, &webhook_events_command, NULL },
    .metrics = (struct metric *const[]){ &events_metric, NULL },
    .alarms =
        (struct alarm *const[]){ &failing_alarm, &dropped_alarm, &webhook_unread_alarm, NULL },
    .logs = (struct log_area *const[]){ &log_webhook, NULL },
    .worker.start = webhooks_start,
    .worker.stop = webhooks_stop,
};
