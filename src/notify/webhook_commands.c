/* webhook_commands: webhook add, list, show, del, test and events. */
#include "auth/seal.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/list.h"
#include "base/principal.h"
#include "base/rand.h"
#include "codec/http_reply.h"
#include "home/duty.h"
#include "home/here.h"
#include "notify/webhook_queue.h"
#include "notify/webhooks.h"
#include "notify/webhooks_private.h"
#include "ops/events.h"
#include "store/store.h"

enum { SECRET_MIN = 16, SECRET_MADE = 32 /* random bytes */, EVENTS_BYTES_MAX = 1000 };

/* A change that is being stored; in the arena of its call. */
struct webhook_change {
    struct command_call *call;
    int64_t id;
    slice url, events, secret;
    bool made; /* the server made the secret, and shows it */
    uint64_t at_us;
};

/* false: the call has failed. */
static bool webhooks_known(struct command_call *call)
{
    if (!webhooks_are_read())
        command_fail(call, E_AGAIN,
                     "the webhooks are not read from the database yet; try again, and see `alarm "
                     "list` if that lasts");
    return webhooks_are_read();
}

static bool webhook_stored(struct command_call *call, enum store_result result)
{
    if (result != STORE_OK)
        command_fail_cause(call, err_of_store(result), NULL);
    return result == STORE_OK;
}

/* Receivers often have a key in the path or the query. */
static slice webhook_short_url(struct arena *arena, slice url)
{
    struct http_uri uri;
    bool secure = false;
    if (!webhook_uri(&uri, url, &secure))
        return SLICE("…");
    if (slice_eq(uri.path, SLICE("/")))
        return slice_dup(arena, url);
    return slice_of(
        arena_printf(arena, "%s://%.*s/…", secure ? "https" : "http", SLICE_ARG(uri.authority)));
}

/* Never its secret. */
static slice webhook_note(const struct command_call *call, int64_t id, slice url, slice events)
{
    return command_changed_parts(
        call->arena, (const struct command_part[]){
                         { "id", slice_of(arena_printf(call->arena, "%lld", (long long)id)) },
                         { "url", webhook_short_url(call->arena, url) },
                         { "events", events },
                         { 0 } });
}

static void webhook_added(void *arg, enum store_result result, const struct store_batch *b)
{
    struct webhook_change *c = arg;
    (void)b;
    if (!webhook_stored(c->call, result))
        return;
    command_changed(c->call, SLICE(""), webhook_note(c->call, c->id, c->url, c->events));
    webhook_put(c->id, c->url, c->events, c->secret, c->at_us);
    command_row(c->call);
    command_int(c->call, "id", c->id);
    command_text(c->call, "url", c->url);
    command_text(c->call, "events", c->events);
    if (c->made)
        command_text(c->call, "secret", c->secret);
    command_done(c->call, "%s", "");
}

static struct store_batch *webhook_write(const struct command_call *call)
{
    const struct worker *w = call->worker;
    return store_write(worker_store(w), webhook_lane());
}

/* A webhook reads what its events tell. false: the call has failed. */
static bool webhook_may_read(struct command_call *call, uint32_t kinds)
{
    for (unsigned kind = 0; kind < EVENT_KINDS; kind++) {
        const struct event_row *row = event_row((enum event_kind)kind);
        if ((kinds >> kind & 1) == 0 || principal_may(&call->who, row->permission))
            continue;
        call->culprit = "events";
        command_fail(call, E_DENIED, "webhook add: %s needs the permission %s; name other events",
                     row->name, row->permission);
        return false;
    }
    return true;
}

static void run_webhook_add(struct command_call *call)
{
    const struct worker *w = call->worker;
    struct webhook_change *c = arena_new(call->arena, struct webhook_change, 1);
    *c = (struct webhook_change){ .call = call,
                                  .url = command_arg(call, "url"),
                                  .events = command_arg(call, "events"),
                                  .secret = command_arg(call, "secret"),
                                  .at_us = clock_wall_us() };
    if (c->events.ptr == NULL)
        c->events = SLICE("*");
    if (!webhooks_known(call) || !webhook_may_read(call, webhook_kinds(c->events)))
        return;
    if (webhook_is_forbidden(c->url)) {
        call->culprit = "url";
        command_fail(call, E_DENIED,
                     "webhook add: url: this address is of this machine or its link, which is not "
                     "allowed; `set webhook.allow-local on` allows it");
        return;
    }
    if (!seal_ready()) {
        command_fail(call, E_DOWN,
                     "the key in secrets.key cannot be used; `alarm list` says what to do");
        return;
    }
    c->id = webhook_new_id();
    if (c->id == 0) {
        command_fail(call, E_LIMIT, "there are %d webhooks, which is the most", WEBHOOKS_MAX);
        return;
    }
    if (c->secret.len == 0) {
        char secret[2 * SECRET_MADE + 1];
        rand_hex(secret, SECRET_MADE);
        c->secret = slice_dup(call->arena, slice_of(secret));
        c->made = true;
    }
    struct store_batch *b = webhook_write(call);
    slice sealed = seal(c->secret, slice_of(webhook_context(c->id, call->arena)), call->arena);
    STORE_ADD(b, &webhook_put_stmt, 1, SV_I(c->id), SV_T(c->url), SV_T(c->events), SV_T(sealed),
              SV_I(c->at_us));
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, webhook_added, c);
}

/* The webhook that the call names. NULL: there is none, and the call has failed. */
static struct webhook *webhook_named(struct command_call *call)
{
    if (!webhooks_known(call))
        return NULL;
    int64_t id = command_number(call, "id", 0);
    struct webhook *h = webhook_find(id);
    h = h != NULL && h->leaves_us > 0 ? NULL : h;
    if (h == NULL)
        command_fail(call, E_NOTFOUND, "%lld: no such webhook; `webhook list` lists them",
                     (long long)id);
    return h;
}

static void webhook_add_stamp(struct command_call *call, const char *key, uint64_t at_us)
{
    char stamp[CLOCK_STAMP_LEN] = "";
    if (at_us > 0)
        clock_stamp(stamp, at_us);
    command_text(call, key, slice_of(stamp));
}

/* Those who may make webhooks see all of it. */
static slice webhook_shown_url(const struct command_call *call, slice url)
{
    char permission[COMMAND_PERMISSION_MAX];
    command_permission(&webhook_add_command, permission, sizeof permission);
    return principal_may(&call->who, permission) ? slice_dup(call->arena, url)
                                                 : webhook_short_url(call->arena, url);
}

static void webhook_add_row(struct command_call *call, const struct webhook *h)
{
    command_row(call);
    command_int(call, "id", h->id);
    command_text(call, "url", webhook_shown_url(call, h->url));
    command_text(call, "events", slice_dup(call->arena, h->events));
    command_int(call, "waiting", (int64_t)h->waiting + h->unstored);
    command_int(call, "unstored", h->unstored);
    command_int(call, "taken", (int64_t)h->taken);
    webhook_add_stamp(call, "last", h->taken_us);
    command_text(call, "failure", slice_dup(call->arena, slice_of(h->why)));
    webhook_add_stamp(call, "created", h->created_us);
}

static void run_webhook_list(struct command_call *call)
{
    if (!webhooks_known(call))
        return;
    LIST_EACH (it, &webhooks_all) {
        const struct webhook *h = CONTAINER_OF(it, struct webhook, node);
        if (h->leaves_us == 0)
            webhook_add_row(call, h);
    }
    command_done(call, "%s", call->rows != NULL ? "" : "there is no webhook");
}

static void run_webhook_show(struct command_call *call)
{
    const struct webhook *h = webhook_named(call);
    if (h == NULL)
        return;
    webhook_add_row(call, h);
    command_done(call, "%s", "");
}

static void webhook_deleted(void *arg, enum store_result result, const struct store_batch *b)
{
    struct webhook_change *c = arg;
    (void)b;
    if (!webhook_stored(c->call, result))
        return;
    struct webhook *h = webhook_find(c->id);
    if (h != NULL && h->leaves_us == 0)
        webhook_leave(h);
    command_done(c->call, "the webhook is deleted, with the events that waited for it");
}

static void run_webhook_del(struct command_call *call)
{
    const struct worker *w = call->worker;
    const struct webhook *h = webhook_named(call);
    if (h == NULL)
        return;
    struct webhook_change *c = arena_new(call->arena, struct webhook_change, 1);
    *c = (struct webhook_change){ .call = call, .id = h->id };
    command_changed(call, webhook_note(call, h->id, h->url, h->events), SLICE(""));
    struct store_batch *b = webhook_write(call);
    STORE_ADD(b, &webhook_drop_stmt, STORE_ANY_ROWS, SV_I(h->id));
    STORE_ADD(b, &webhook_forget_stmt, STORE_ANY_ROWS, SV_I(h->id));
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, webhook_deleted, c);
}

static void run_webhook_test(struct command_call *call)
{
    struct webhook *h = webhook_named(call);
    if (h != NULL)
        webhook_test(h, call);
}

static void run_webhook_events(struct command_call *call)
{
    for (unsigned i = 0; i < EVENT_KINDS; i++) {
        const struct event_row *r = event_row((enum event_kind)i);
        command_row(call);
        command_text(call, "event", slice_of(r->name));
        command_text(call, "subject", slice_of(r->subject));
        command_text(call, "fields", slice_of(r->fields));
        command_text(call, "meaning", slice_of(r->doc));
    }
    command_done(call, "%s", "");
}

#define WEBHOOK_COMMAND(NAME, REST, EFFECT)                                                        \
    .name = (NAME), .rest = (REST), .effect = (EFFECT), .area = "webhooks",                        \
    .runs_at = COMMAND_DUTY, .duty = DUTY_WEBHOOKS
#define ID_ARG                                                                                     \
    (const struct command_arg[])                                                                   \
    {                                                                                              \
        { .name = "id",                                                                            \
          .kind = ARG_POSITIONAL,                                                                  \
          .type = PARAM_INT,                                                                       \
          .min = 1,                                                                                \
          .max = PARAM_NONE,                                                                       \
          .refers = REFERS_WEBHOOK,                                                                \
          .doc = "its number" },                                                                   \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

static const struct command_column webhook_columns[] = {
    { .name = "id", .type = PARAM_INT, .doc = "its number" },
    { .name = "url",
      .doc =
          "the receiver; its path is shown to those who may add webhooks, since it may be secret" },
    { .name = "events", .doc = "the events that it wants" },
    { .name = "waiting", .moves = true, .type = PARAM_INT, .doc = "events that wait for it" },
    { .name = "unstored",
      .moves = true,
      .type = PARAM_INT,
      .doc = "those of them that only memory has, since the database has yet to take them" },
    { .name = "taken",
      .moves = true,
      .type = PARAM_INT,
      .doc = "events that it has taken since the start" },
    { .name = "last", .moves = true, .type = PARAM_STAMP, .doc = "when it took the last one" },
    { .name = "failure", .moves = true, .doc = "why the last request failed; empty: it did not" },
    { .name = "created", .wide = true, .type = PARAM_STAMP, .doc = "when it was added" },
    { 0 },
};

struct command webhook_add_command = {
    WEBHOOK_COMMAND("webhook add", "POST /webhooks", COMMAND_CHANGES),
    .args =
        (const struct command_arg[]){
            { .name = "url",
              .kind = ARG_POSITIONAL,
              .min = 1,
              .max = WEBHOOK_URL_MAX,
              .check = webhook_url_ok,
              .noted = webhook_short_url,
              .form = "an address such as https://hook.example.org/muster",
              .doc = "the receiver" },
            { .name = "events",
              .kind = ARG_OPTION,
              .min = 1,
              .max = EVENTS_BYTES_MAX,
              .many = true,
              .check = webhook_events_ok,
              .form = "events of `webhook events`, user.*, or *, separated by spaces",
              .doc = "what it wants to hear of; without it, everything" },
            { .name = "secret",
              .kind = ARG_SECRET_MADE,
              .type = PARAM_SECRET,
              .min = SECRET_MIN,
              .max = WEBHOOK_SECRET_MAX,
              .doc = "what requests are signed with, 16 to 1000 bytes" },
            { 0 } },
    .run = run_webhook_add,
    .doc = "Tells a receiver of events by HTTP. Each is a POST that is signed with the secret; "
           "without one the server makes it and shows it once.",
    .columns =
        (const struct command_column[]){
            { .name = "id", .type = PARAM_INT, .doc = "its number" },
            { .name = "url", .doc = "the receiver" },
            { .name = "events", .doc = "the events that it wants" },
            { .name = "secret", .optional = true, .doc = "the secret that was made" },
            { 0 } },
};
struct command webhook_list_command = {
    WEBHOOK_COMMAND("webhook list", "GET /webhooks", COMMAND_READS),
    .run = run_webhook_list,
    .doc =
        "Lists the webhooks, of which there are up to 32: how many events wait for each, and what "
        "failed.",
    .columns = webhook_columns,
};
struct command webhook_show_command = {
    WEBHOOK_COMMAND("webhook show", "GET /webhooks/{id}", COMMAND_READS),
    .args = ID_ARG,
    .record = true,
    .run = run_webhook_show,
    .doc = "Shows a webhook. Its secret is not shown.",
    .columns = webhook_columns,
};
struct command webhook_del_command = {
    WEBHOOK_COMMAND("webhook del", "DELETE /webhooks/{id}", COMMAND_CHANGES),
    .asks = "The webhook and the events that wait for it are deleted.",
    .args = ID_ARG,
    .run = run_webhook_del,
    .doc = "Deletes a webhook. Events that wait for it are deleted, too. A receiver of audit.entry "
           "gets the entry of this command.",
};
struct command webhook_test_command = {
    WEBHOOK_COMMAND("webhook test", "POST /webhooks/{id}/test", COMMAND_CHANGES),
    .args = ID_ARG,
    .run = run_webhook_test,
    .doc = "Sends a test event to a webhook at once. Says whether the receiver has taken it.",
};
struct command webhook_events_command = {
    WEBHOOK_COMMAND("webhook events", "GET /webhooks/events", COMMAND_READS),
    .run = run_webhook_events,
    .doc = "Lists the events that a webhook can want.",
    .columns =
        (const struct command_column[]){
            { .name = "event", .doc = "its name" },
            { .name = "subject", .doc = "events of one subject are in order" },
            { .name = "fields", .doc = "what is in `data`; a field that is empty is left out" },
            { .name = "meaning", .doc = "when it happens" },
            { 0 } },
};
