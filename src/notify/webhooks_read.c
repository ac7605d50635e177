#include "notify/webhooks_read.h"
#include "auth/seal.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/log.h"
#include "home/duty.h"
#include "home/here.h"
#include "io/timer.h"
#include "notify/webhook_queue.h"
#include "notify/webhooks.h"
#include "notify/webhooks_private.h"
#include "store/store.h"
#include <stdio.h>

enum {
    PAGE_ROWS = 4000, /* with subjects of EVENT_SUBJECT_MAX: see STORE_RESULT_BYTES_MAX */
    RETRY_MS = 1000
};

struct alarm webhook_unread_alarm = {
    .name = "webhook.unread",
    .severity = ALARM_ERROR,
    .text = "The webhooks and the events that wait for them cannot be read from the database.",
    .action = "See the other alarms of the database and mend it. The detail names the error.",
    .explanation = "No event is sent to a webhook. New events wait in memory. Webhooks cannot be "
                   "listed or changed.",
    .raised_when = "The database has not answered when the server started.",
    .cleared_when = "They are read, which is tried each second.",
};

/* The rows of deleted webhooks go first, so that no other webhook gets them with the number. */
enum step { STEP_LEFT, STEP_HOOKS, STEP_QUEUE, STEP_DONE };
static struct {
    struct worker *worker;
    webhooks_read_fn *done;
    struct timer retry;
    enum step step;
    int64_t after; /* the last row of the queue that was read */
    bool failed, ended;
} reading;

static struct store_batch *step_batch(void)
{
    struct store *store = worker_store(reading.worker);
    struct store_batch *b;
    if (reading.step == STEP_LEFT) {
        b = store_write(store, webhook_lane());
        store_add(b, &webhook_left_stmt, STORE_ANY_ROWS, NULL, 0);
        return b;
    }
    b = store_read(store, 0);
    if (reading.step == STEP_HOOKS)
        store_add(b, &webhook_all_stmt, STORE_ANY_ROWS, NULL, 0);
    else
        STORE_ADD(b, &webhook_waiting_stmt, STORE_ANY_ROWS, SV_I(reading.after), SV_I(PAGE_ROWS));
    return b;
}

static void hook_read(const struct store_batch *b, uint32_t row)
{
    struct arena *tmp = arena_create(0);
    slice secret = { "", 0 };
    int64_t id = store_int(b, 0, row, 0);
    bool read = unseal(&secret, store_text(b, 0, row, 3), slice_of(webhook_context(id, tmp)), tmp);
    webhook_put(id, store_text(b, 0, row, 1), store_text(b, 0, row, 2), read ? secret : SLICE(""),
                (uint64_t)store_int(b, 0, row, 4));
    arena_destroy(&tmp);
    if (read)
        return;
    snprintf(webhook_find(id)->why, WEBHOOK_WHY_BYTES, "%s", SECRET_UNREAD);
    log_error(&log_webhook, LOG_EV("webhook.unread"), LOG_I("webhook", id),
              LOG_C("hint", SECRET_UNREAD));
}

static void queue_page_read(const struct store_batch *b)
{
    for (uint32_t row = 0; row < store_row_count(b, 0); row++) {
        struct webhook *h = webhook_find(store_int(b, 0, row, 1));
        reading.after = store_int(b, 0, row, 0);
        if (h != NULL)
            webhook_waits(h,
                          &(struct webhook_row){ .id = reading.after,
                                                 .subject = store_text(b, 0, row, 2),
                                                 .at_us = (uint64_t)store_int(b, 0, row, 3),
                                                 .attempts = (unsigned)store_int(b, 0, row, 4) });
    }
    if (store_row_count(b, 0) < PAGE_ROWS)
        reading.step = STEP_DONE;
}

static void say_unread(const char *why)
{
    if (!reading.failed)
        log_error(&log_webhook, LOG_EV("webhook.queue-unread"), LOG_C("why", why),
                  LOG_C("hint", "it is tried again each second"));
    reading.failed = true;
    alarm_raise(&webhook_unread_alarm, slice_of(why));
}

static void step_ended(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)arg;
    if (result != STORE_OK) {
        say_unread(store_result_name(result));
        return;
    }
    if (reading.step == STEP_QUEUE) {
        queue_page_read(b);
    } else {
        for (uint32_t row = 0; reading.step == STEP_HOOKS && row < store_row_count(b, 0); row++)
            hook_read(b, row);
        reading.step++;
    }
    if (reading.step != STEP_DONE)
        return;
    alarm_clear(&webhook_unread_alarm);
    reading.done();
}

static void step_submit(struct timer *t, struct loop *loop);

static void step_came(void *arg, enum store_result result, const struct store_batch *b)
{
    if (reading.ended)
        return;
    step_ended(arg, result, b);
    if (result != STORE_OK)
        timer_set(worker_loop(reading.worker), &reading.retry, RETRY_MS);
    else if (reading.step != STEP_DONE)
        step_submit(&reading.retry, worker_loop(reading.worker));
}

static void step_submit(struct timer *t, struct loop *loop)
{
    (void)t;
    store_submit(step_batch(), loop, 0, step_came, NULL);
}

bool webhooks_read_now(void)
{
    while (reading.step != STEP_DONE)
        if (store_run(step_batch(), step_ended, NULL) != STORE_OK)
            return false;
    return true;
}

void webhooks_read_begin(struct worker *w, webhooks_read_fn *done)
{
    reading.worker = w;
    reading.done = done;
    reading.retry.fn = step_submit;
    if (!webhooks_read_now())
        timer_set(worker_loop(w), &reading.retry, RETRY_MS);
}

void webhooks_read_end(void)
{
    reading.ended = true;
    timer_cancel(&reading.retry);
}

/* Those that are not read yet are in no row any more. */
void webhooks_secrets_dropped(struct worker *w)
{
    struct list *next;
    ensure(duty_is_here(w, DUTY_WEBHOOKS));
    for (struct list *at = webhooks_all.next; at != &webhooks_all; at = next) {
        struct webhook *h = CONTAINER_OF(at, struct webhook, node);
        next = at->next;
        if (h->leaves_us == 0)
            webhook_leave(h);
    }
}
