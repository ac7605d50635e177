#include "ops/events.h"
#include "account/account.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/json_text.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/message.h"
#include "home/node.h"
#include "home/question.h"
#include "session/session.h"
#include <stdatomic.h>

static const struct event_row event_rows[EVENT_KINDS] = {
    [EVENT_USER_CREATED] = { "user.created", "the account", "jid", "An account was made.",
                             "users.read" },
    [EVENT_USER_CHANGED] = { "user.changed", "the account", "jid",
                             "The profile of an account may be another one.", "users.read" },
    [EVENT_USER_DELETED] = { "user.deleted", "the account", "jid", "An account was deleted.",
                             "users.read" },
    [EVENT_USER_DISABLED] = { "user.disabled", "the account", "jid",
                              "An account was disabled: nobody can log in.", "users.read" },
    [EVENT_USER_ENABLED] = { "user.enabled", "the account", "jid",
                             "An account that was disabled is enabled.", "users.read" },
    [EVENT_SESSION_AVAILABLE] = { "session.available", "the account", "jid resource",
                                  "A client has sent its first presence.", "sessions.read" },
    [EVENT_SESSION_UNAVAILABLE] = { "session.unavailable", "the account", "jid resource",
                                    "A client that was available is not available any more.",
                                    "sessions.read" },
    [EVENT_ROOM_CREATED] = { "room.created", "the room", "jid",
                             "A room that is stored was made, or a room became one.",
                             "rooms.read" },
    [EVENT_ROOM_DESTROYED] = { "room.destroyed", "the room", "jid",
                               "A room that was stored was destroyed, or is stored no longer.",
                               "rooms.read" },
    [EVENT_ALARM_RAISED] = { "alarm.raised", "the alarm", "alarm severity text detail action",
                             "An alarm is active, for its hold-down.", "server.read" },
    [EVENT_ALARM_CHANGED] = { "alarm.changed", "the alarm", "alarm severity text detail action",
                              "An active alarm has another severity.", "server.read" },
    [EVENT_ALARM_CLEARED] = { "alarm.cleared", "the alarm", "alarm severity text detail action",
                              "An alarm is not active any more, for its hold-down.",
                              "server.read" },
    [EVENT_SETTING_CHANGED] = { "setting.changed", "the setting", "setting value",
                                "A setting has another value. Secrets have none here.",
                                "settings.read" },
    [EVENT_AUDIT_ENTRY] = { "audit.entry", "the audit log",
                            "id actor from role command args result before after",
                            "The audit log has a new entry.", "audit.read" },
};

static _Atomic uint32_t wanted;
static events_take_fn *taker;

const struct event_row *event_row(enum event_kind kind)
{
    ensure(kind < EVENT_KINDS);
    return &event_rows[kind];
}

bool event_is_wanted(enum event_kind kind)
{
    return (atomic_load_explicit(&wanted, memory_order_relaxed) >> kind & 1) != 0;
}

void events_want(uint32_t kinds) { atomic_store(&wanted, kinds); }
void events_take(events_take_fn *take) { taker = take; }

static void event_arrived(struct worker *w, void *message, const struct message_from *from)
{
    (void)from;
    if (taker != NULL)
        taker(w, message);
}

static const struct message_field event_fields[] = {
    F_U8(struct event_told, kind, EVENT_KINDS - 1),
    F_U64(struct event_told, at_us),
    F_TEXT(struct event_told, subject, EVENT_SUBJECT_MAX),
    F_TEXT(struct event_told, data, EVENT_DATA_MAX),
    { 0 },
};
static const struct message_row event_message = {
    .id = 140,
    .scope = MESSAGE_CLUSTER,
    .name = "event",
    .size = sizeof(struct event_told),
    .fields = event_fields,
    .run = event_arrived,
};

void event_tell(struct worker *w, enum event_kind kind, slice subject,
                const struct event_field *fields)
{
    struct buf data;
    if (!event_is_wanted(kind) || subject.len > EVENT_SUBJECT_MAX)
        return;
    buf_init(&data, EVENT_DATA_MAX);
    buf_lit(&data, "{");
    for (const struct event_field *f = fields; f->name != NULL; f++) {
        if (f->value.len == 0)
            continue;
        buf_printf(&data, "%s\"%s\":", data.len > 1 ? "," : "", f->name);
        json_text(&data, f->value);
    }
    buf_lit(&data, "}");
    struct event_told told = { .kind = (uint8_t)kind,
                               .at_us = clock_wall_us(),
                               .subject = subject,
                               .data = data.overflow ? SLICE("{}") : buf_slice(&data) };
    duty_send(w, DUTY_WEBHOOKS, &event_message, &told);
    buf_fini(&data);
}

/* Events of accounts and sessions. */

static void tell_jid(struct worker *w, enum event_kind kind, slice bare, slice resource)
{
    event_tell(w, kind, bare,
               (const struct event_field[]){ { "jid", bare }, { "resource", resource }, { 0 } });
}

static void event_created(struct worker *w, slice bare)
{
    tell_jid(w, EVENT_USER_CREATED, bare, SLICE(""));
}

static void event_profile_changed(struct worker *w, slice bare)
{
    tell_jid(w, EVENT_USER_CHANGED, bare, SLICE(""));
}

/* Tells of an account at its home: of one that is gone nothing is told behind its end. */

struct changed {
    slice bare;
};
struct changing {
    struct worker *worker;
    struct message_from from;
};

static const struct message_row changed_answer = {
    .id = 165,
    .scope = MESSAGE_CLUSTER,
    .name = "profile-changed-untold",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
};

static void changed_with(struct account *a, enum err e, void *arg)
{
    struct changing *c = arg;
    ensure(worker_is_here(c->worker));
    if (e != OK)
        question_answer(c->worker, &c->from, &changed_answer, &(struct message_nothing){ 0 });
    else if (a->state == ACTOR_READY || a->disabled)
        tell_jid(c->worker, EVENT_USER_CHANGED, a->jid, SLICE(""));
    question_end(c->worker, &c->from);
    mem_free(&c);
}

static void profile_changed_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct changed *m = message;
    struct changing *c = mem_new(struct changing);
    *c = (struct changing){ w, *from };
    account_with(w, m->bare, changed_with, c);
}

static const struct message_field changed_fields[] = {
    F_BARE(struct changed, bare),
    { 0 },
};
static const struct message_row changed_message = {
    .id = 164,
    .scope = MESSAGE_CLUSTER,
    .name = "profile-changed",
    .size = sizeof(struct changed),
    .fields = changed_fields,
    .run = profile_changed_run,
    .answer = &changed_answer,
    .later = true,
};

void event_ask_changed(struct worker *w, slice bare, const struct asker *by)
{
    home_ask(w, bare, &changed_message, &(struct changed){ bare }, by);
}

static void event_deleted(struct worker *w, slice bare)
{
    if (node_is_home(w, bare)) /* each worker hears of it; here it is behind what it did */
        tell_jid(w, EVENT_USER_DELETED, bare, SLICE(""));
}

static void event_left_disabled(struct worker *w, slice bare)
{
    if (node_is_home(w, bare))
        tell_jid(w, EVENT_USER_DISABLED, bare, SLICE(""));
}

static void event_session(struct session *s, enum event_kind kind)
{
    struct account *a = s->account;
    tell_jid(a->worker, kind, a->jid, slice_from(s->jid, (size_t)s->bare_len + 1));
}

static void event_available(struct session *s) { event_session(s, EVENT_SESSION_AVAILABLE); }

static void event_unavailable(struct session *s, const struct stanza *st)
{
    (void)st;
    event_session(s, EVENT_SESSION_UNAVAILABLE);
}

const struct feature events_feature = {
    .name = "events",
    .messages = (const struct message_row *const[]){ &event_message, &changed_message,
                                                     &changed_answer, NULL },
    .account.created = event_created,
    .account.profile_changed = event_profile_changed,
    .account.deleted = event_deleted,
    .account.left_disabled = event_left_disabled,
    .session.available = event_available,
    .session.unavailable = event_unavailable,
};
