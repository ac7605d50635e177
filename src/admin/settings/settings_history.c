/* settings_history: every change of settings is a version: who, when, why, and each setting before
 * and after. Older versions are found by going back from what is stored now. */
#include "admin/settings/settings_history.h"
#include "admin/settings/settings_change.h"
#include "admin/settings/settings_impact.h"
#include "admin/settings/settings_private.h"
#include "admin/settings/settings_shown.h"
#include "admin/settings/settings_statements.h"
#include "auth/seal.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "home/duty.h"
#include "home/here.h"
#include "io/timer.h"
#include "ops/audit_command.h"
#include <stdio.h>

enum { RETRY_MS = 5000 };

struct alarm settings_waiting_alarm = {
    .name = "settings.unconfirmed",
    .severity = ALARM_WARNING,
    .text = "A change of settings waits to be confirmed. Without that it is rolled back.",
    .action = "Run `musterctl config confirm` to keep it, or `musterctl config rollback`.",
    .explanation =
        "A candidate was applied with a time limit, so that a mistake that locks you out is "
        "undone.",
    .raised_when = "`config apply --confirm` has applied a change.",
    .cleared_when = "The change is confirmed or rolled back.",
};
static const struct setting_impact beyond_impact = { .stmt = &settings_versions_beyond,
                                                     .what = "versions beyond it",
                                                     .deletes = true };
struct setting settings_history_max = {
    .name = "config.history-max",
    .impact = &beyond_impact,
    .type = PARAM_INT,
    .scope = SCOPE_CLUSTER,
    .def = 1000,
    .min = 10,
    .max = 100000,
    .unit = "versions",
    .doc = "How many changes of settings the history keeps. It is possible to go back to each. The "
           "next change deletes older ones.",
};

static int64_t last_version; /* the newest; 0: none */
static struct {
    int64_t version; /* 0: none */
    int64_t at_us, by_us;
} waiting;
static struct timer waiting_timer;
static struct settings_touch *touches;

const struct settings_touch *settings_last(const struct setting *s)
{
    const struct settings_touch *t = touches;
    while (t != NULL && t->setting != s)
        t = t->next;
    return t;
}

static void touch(const struct setting *s, int64_t version, int64_t at_us, slice actor)
{
    struct settings_touch **at = &touches, *item;
    while (*at != NULL && (*at)->setting != s)
        at = &(*at)->next;
    struct settings_touch *next = *at != NULL ? (*at)->next : NULL;
    mem_free(at);
    item = mem_alloc(sizeof *item + actor.len + 1);
    *item = (struct settings_touch){ next, s, version, at_us };
    memcpy(item->actor, actor.ptr, actor.len);
    item->actor[actor.len] = '\0';
    *at = item;
}

const char *settings_waiting(struct arena *tmp)
{
    return waiting.version == 0
               ? NULL
               : arena_printf(tmp,
                              "version %lld waits to be confirmed until %s: `config confirm` keeps "
                              "it, `config rollback` gives it up",
                              (long long)waiting.version, settings_stamp_text(waiting.by_us, tmp));
}

static slice turn_actor(const struct settings_turn *t)
{
    return t->call != NULL ? t->call->who.actor : SLICE("server");
}

/* How many versions stay: as before this change or behind it, whichever is more. So a lower number
 * deletes only with the next change, and going back from it nothing. */
static int64_t versions_kept(const struct settings_turn *t)
{
    int64_t most = setting_int(&settings_history_max), value;
    struct why why;
    for (size_t i = 0; i < t->count; i++) {
        if (t->item[i].setting != &settings_history_max)
            continue;
        value = settings_history_max.def;
        if (t->item[i].value.ptr != NULL &&
            param_check(&settings_history_max.param, t->item[i].value, &value, &why) != OK)
            continue;
        most = value > most ? value : most;
    }
    return most;
}

void settings_history_add(struct settings_turn *t, struct store_batch *b)
{
    int64_t oldest, at = t->at_us = (int64_t)clock_wall_us();
    const struct store_val none = SV_NULL;
    if (t->undoes != 0)
        STORE_ADD(b, &settings_version_state, 1, SV_I(t->undoes), SV_T(SLICE("rolled back")),
                  SV_T(turn_actor(t)));
    if (t->count + t->away_count == 0)
        return;
    t->version = last_version + 1;
    oldest = t->version - versions_kept(t);
    if (waiting.version != 0 && oldest >= waiting.version) /* it is perhaps taken back */
        oldest = waiting.version - 1;
    STORE_ADD(b, &settings_version_put, 1, SV_I(t->version), SV_I(at), SV_T(turn_actor(t)),
              SV_T(slice_of(settings_kind_names[t->kind])), SV_T(t->comment),
              SV_T(t->confirm_ms > 0 ? SLICE("waits") : SLICE("applied")),
              t->confirm_ms > 0 ? SV_I(at + (int64_t)t->confirm_ms * 1000) : none);
    STORE_ADD(b, &settings_item_trim, STORE_ANY_ROWS, SV_I(oldest));
    STORE_ADD(b, &settings_version_trim, STORE_ANY_ROWS, SV_I(oldest));
}

void settings_history_item(struct settings_turn *t, struct store_batch *b,
                           const struct settings_item *item)
{
    const struct setting *s = item->setting;
    const struct stored *old = settings_stored_find(s);
    ensure(t->version > last_version);
    slice was = old != NULL ? (slice){ old->value, old->len } : (slice){ 0 }, now = item->value;
    if (setting_is_secret(s) && was.ptr != NULL)
        was = seal(was, settings_context(s, t->arena), t->arena);
    if (setting_is_secret(s) && now.ptr != NULL)
        now = seal(now, settings_context(s, t->arena), t->arena);
    if (item->sealed != NULL) {
        was = item->sealed->now;
        now = item->sealed->value;
    }
    STORE_ADD(b, &settings_version_item, 1, SV_I(t->version), SV_T(slice_of(s->name)),
              was.ptr != NULL ? SV_T(was) : SV_NULL, now.ptr != NULL ? SV_T(now) : SV_NULL);
}

void settings_history_away(struct settings_turn *t, struct store_batch *b)
{
    for (size_t i = 0; i < t->away_count; i++) {
        const struct settings_away *away = &t->away[i];
        slice now = away->now, value = away->value;
        STORE_ADD(b, &settings_version_item, 1, SV_I(t->version), SV_T(away->name),
                  now.ptr != NULL ? SV_T(now) : SV_NULL, value.ptr != NULL ? SV_T(value) : SV_NULL);
        if (value.ptr == NULL)
            STORE_ADD(b, &settings_del, STORE_ANY_ROWS, SV_T(away->name));
        else
            STORE_ADD(b, &settings_put, 1, SV_T(away->name), SV_T(value));
    }
}

static void give_up(struct timer *timer, struct loop *loop);

static void watch_waiting(struct worker *w)
{
    struct arena *tmp = arena_create(0);
    ensure(waiting.version != 0 && waiting.by_us >= waiting.at_us);
    int64_t left = waiting.by_us - (int64_t)clock_wall_us(), most = waiting.by_us - waiting.at_us;
    left = left < 0 ? 0 : left > most ? most : left; /* the clock may have been set */
    waiting_timer.fn = give_up;
    timer_set(worker_loop(w), &waiting_timer, (uint64_t)left / 1000);
    alarm_raise(&settings_waiting_alarm,
                slice_of(arena_printf(tmp, "version %lld, until %s", (long long)waiting.version,
                                      settings_stamp_text(waiting.by_us, tmp))));
    arena_destroy(&tmp);
}

static void waiting_over(void)
{
    waiting.version = 0;
    timer_cancel(&waiting_timer);
    alarm_clear(&settings_waiting_alarm);
}

static void log_away(const struct settings_turn *t)
{
    for (size_t i = 0; i < t->away_count; i++)
        log_warn(&log_settings, LOG_EV("setting.unknown"), LOG_S("name", t->away[i].name),
                 LOG_C("hint", "this version has no such setting, or this node no such domain; its "
                               "earlier value is stored"));
}

void settings_history_done(struct settings_turn *t)
{
    int64_t at = t->at_us;
    if (t->undoes != 0 && t->undoes == waiting.version)
        waiting_over();
    if (t->version == 0)
        return;
    last_version = t->version;
    for (size_t i = 0; i < t->count; i++)
        touch(t->item[i].setting, t->version, at, turn_actor(t));
    log_away(t);
    for (size_t i = 0; i < t->count; i++)
        if (t->item[i].sealed != NULL)
            log_warn(&log_settings, LOG_EV("setting.sealed"),
                     LOG_C("name", t->item[i].setting->name),
                     LOG_C("hint", "its earlier value cannot be decrypted, so the default applies; "
                                   "see alarm secrets.key, or use `musterctl set`"));
    if (t->confirm_ms == 0)
        return;
    ensure(waiting.version == 0); /* nothing else changes meanwhile */
    waiting.version = t->version;
    waiting.at_us = at;
    waiting.by_us = at + (int64_t)t->confirm_ms * 1000;
    watch_waiting(settings_writer);
}

int64_t settings_history_newest(void) { return last_version; }

/* The versions are looked at last: what is deleted meanwhile is missing there, too. */
struct store_batch *settings_history_since(int64_t version, int64_t to)
{
    struct store_batch *b = store_read(worker_store(settings_writer), 0);
    STORE_ADD(b, &settings_compared, STORE_ANY_ROWS, SV_I(version), SV_I(to));
    STORE_ADD(b, &settings_version_gone, STORE_ANY_ROWS, SV_I(version));
    return b;
}

bool settings_history_reaches(const struct store_batch *b, struct arena *tmp, const char **text)
{
    if (store_row_count(b, 1) == 0)
        return true;
    *text = arena_printf(tmp, "version %lld is no longer kept; the oldest is %lld",
                         (long long)store_int(b, 1, 0, 0), (long long)store_int(b, 1, 0, 1));
    return false;
}

bool settings_history_differs(const struct store_batch *b, unsigned stmt, uint32_t row)
{
    slice was = store_text(b, stmt, row, 1), now = store_text(b, stmt, row, 2);
    return (was.ptr == NULL) != (now.ptr == NULL) || !slice_eq(was, now);
}

/* Going back: the items are what the settings had before, of those that `config compare` shows. */

static void rollback_refuse(struct settings_turn *t, const char *text)
{
    settings_turn_fail(t, E_CONFLICT, text);
}

const struct setting *settings_of_all(slice name)
{
    slice general, domain;
    return slice_cut(name, '@', &general, &domain) ? setting_find(general) : NULL;
}

/* Whether the caller may change a setting that is away: as the one for all domains. One that this
 * version does not have might be about administrators. */
static bool away_is_for(const struct command_call *call, slice name, struct why *why)
{
    const struct setting *s = settings_of_all(name);
    if (s != NULL)
        return settings_is_for(call, s, why);
    if (!principal_is_remote(&call->who))
        return true;
    why_set(why, "%.*s: this version has no such setting; change it with musterctl at the server",
            SLICE_ARG(name));
    return false;
}

static struct settings_away read_away(const struct settings_turn *t, const struct store_batch *b,
                                      uint32_t i)
{
    return (struct settings_away){ .name = slice_dup(t->arena, store_text(b, 0, i, 0)),
                                   .value = slice_dup(t->arena, store_text(b, 0, i, 1)),
                                   .now = slice_dup(t->arena, store_text(b, 0, i, 2)) };
}

/* Of a secret, also what was there before may be sealed with a key that is lost: nothing of it is
 * in memory, and it goes from the database. */
static void item_unseal(const struct settings_turn *t, struct settings_item *item,
                        const struct settings_away *stored)
{
    slice context = settings_context(item->setting, t->arena), now;
    bool known = stored->value.ptr != NULL ? unseal(&item->value, stored->value, context, t->arena)
                                           : unseal(&now, stored->now, context, t->arena);
    if (known)
        return;
    struct settings_away *sealed = arena_new(t->arena, struct settings_away, 1);
    *sealed = *stored;
    item->value = (slice){ 0 };
    item->sealed = sealed;
}

/* The clock asks nobody. */
static void items_apply(struct settings_turn *t)
{
    struct why why;
    for (size_t i = 0; t->call != NULL && i < t->away_count; i++)
        if (!away_is_for(t->call, t->away[i].name, &why)) {
            settings_turn_fail(t, E_DENIED, why.text);
            return;
        }
    if (t->call == NULL)
        settings_change(t);
    else
        settings_accept(t, settings_change, rollback_refuse);
}

static void items_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct settings_turn *t = arg;
    const char *gone;
    uint32_t rows = result == STORE_OK ? store_row_count(b, 0) : 0;
    if (result != STORE_OK) {
        settings_turn_fail(t, err_of_store(result),
                           arena_printf(t->arena, "the history cannot be read: %s",
                                        err_text(err_of_store(result))));
        return;
    }
    if (!settings_history_reaches(b, t->arena, &gone)) {
        settings_turn_fail(t, E_NOTFOUND, gone);
        return;
    }
    t->item = arena_new(t->arena, struct settings_item, rows + 1);
    t->away = arena_new(t->arena, struct settings_away, rows + 1);
    for (uint32_t i = 0; i < rows; i++) {
        if (!settings_history_differs(b, 0, i))
            continue;
        struct settings_away stored = read_away(t, b, i);
        struct settings_item *item = &t->item[t->count];
        *item =
            (struct settings_item){ .setting = setting_find(stored.name), .value = stored.value };
        if (item->setting == NULL) {
            t->away[t->away_count++] = stored;
            continue;
        }
        if (setting_is_secret(item->setting))
            item_unseal(t, item, &stored);
        t->count++;
    }
    items_apply(t);
}

static void read_back(struct settings_turn *t, int64_t version)
{
    store_submit(settings_history_since(version, last_version), worker_loop(settings_writer), 0,
                 items_read, t);
}

static void audit_rollback(int64_t version, slice before, slice after)
{
    char args[64];
    snprintf(args, sizeof args, "version=%lld comment=\"not confirmed in time\"",
             (long long)version - 1);
    audit_of_server("config rollback", slice_of(args), before, after);
}

static void timed_begin(struct settings_turn *t)
{
    if (waiting.version == 0) { /* confirmed, or given up, while this waited */
        settings_turn_over(t);
        arena_destroy(&t->arena);
        return;
    }
    t->undoes = waiting.version;
    timer_set(worker_loop(settings_writer), &waiting_timer, RETRY_MS); /* should it fail */
    read_back(t, waiting.version - 1);
}

static void tell_rollback(const struct settings_turn *t)
{
    log_warn(&log_settings, LOG_EV("setting.rolled_back"), LOG_I("version", t->undoes),
             LOG_C("hint", "it was not confirmed in time; `config history` shows it"));
    audit_rollback(t->undoes, t->before, t->after);
}

static void timed_done(struct settings_turn *t)
{
    tell_rollback(t);
    settings_turn_over(t);
    arena_destroy(&t->arena);
}

static void give_up(struct timer *timer, struct loop *loop)
{
    struct arena *arena = arena_create(0);
    struct settings_turn *t = arena_new(arena, struct settings_turn, 1);
    (void)timer, (void)loop;
    *t = (struct settings_turn){ .arena = arena,
                                 .begin = timed_begin,
                                 .done = timed_done,
                                 .kind = SETTINGS_TIMED,
                                 .comment = SLICE_INIT("not confirmed in time") };
    settings_turn_take(t);
}

/* Names of settings whose earlier value is only stored, with the reason before the first. */
struct only_stored {
    const char *text;
    size_t count;
};

static void add_only_stored(struct only_stored *o, const char *reason, slice name,
                            struct arena *tmp)
{
    o->text = o->count++ == 0
                  ? arena_printf(tmp, "; %s, so that the earlier value is only stored: %.*s",
                                 reason, SLICE_ARG(name))
                  : arena_printf(tmp, "%s, %.*s", o->text, SLICE_ARG(name));
}

static void rollback_done(struct settings_turn *t)
{
    struct only_stored fixed = { .text = "" }, away = { .text = "" }, sealed = { .text = "" };
    for (size_t i = 0; i < t->count; i++)
        if (settings_is_locked(t->item[i].setting))
            add_only_stored(&fixed, "fixed by the node file", slice_of(t->item[i].setting->name),
                            t->arena);
        else if (t->item[i].sealed != NULL)
            add_only_stored(&sealed, "not to be decrypted without the key that is lost",
                            slice_of(t->item[i].setting->name), t->arena);
    for (size_t i = 0; i < t->away_count; i++)
        add_only_stored(&away, "unknown to this node", t->away[i].name, t->arena);
    if (t->version == 0)
        command_done(t->call, "nothing to change");
    else
        command_done(t->call, "version %lld; settings that have earlier values: %zu%s%s%s",
                     (long long)t->version, t->count - fixed.count - sealed.count, fixed.text,
                     away.text, sealed.text);
    settings_turn_over(t);
}

/* Whether the change that waits is the one that the caller has seen, if they name it: it may have
 * been confirmed or taken back meanwhile, and another one applied. */
static bool waits_as_seen(struct settings_turn *t, const char *arg)
{
    int64_t seen = command_number(t->call, arg, waiting.version);
    const char *waits = settings_waiting(t->arena);
    if (seen == waiting.version)
        return true;
    settings_turn_fail(t, E_CONFLICT,
                       arena_printf(t->arena,
                                    "nothing was changed: version %lld does not wait to be "
                                    "confirmed; %s",
                                    (long long)seen, waits != NULL ? waits : "no change waits"));
    return false;
}

static void rollback_begin(struct settings_turn *t)
{
    int64_t to = command_number(t->call, "version", -1);
    if (!waits_as_seen(t, "waits"))
        return;
    if (to > last_version) {
        settings_turn_fail(t, E_NOTFOUND,
                           arena_printf(t->arena, "version %lld: the last one is %lld",
                                        (long long)to, (long long)last_version));
        return;
    }
    if (to < 0 && last_version == 0) {
        settings_turn_fail(t, E_NOTFOUND, "no setting has been changed yet");
        return;
    }
    if (to < 0 || (waiting.version != 0 && to == waiting.version - 1))
        t->undoes = waiting.version;
    if (to < 0)
        to = (waiting.version != 0 ? waiting.version : last_version) - 1;
    read_back(t, to);
}

static void run_rollback(struct command_call *call)
{
    struct settings_turn *t = arena_new(call->arena, struct settings_turn, 1);
    slice comment = command_arg(call, "comment");
    *t = (struct settings_turn){ .call = call,
                                 .arena = call->arena,
                                 .begin = rollback_begin,
                                 .done = rollback_done,
                                 .kind = SETTINGS_BACK,
                                 .comment = comment.ptr != NULL ? comment : SLICE("") };
    settings_turn_take(t);
}

static void confirm_done(struct settings_turn *t)
{
    int64_t version = waiting.version;
    ensure(version != 0);
    waiting_over();
    command_done(t->call, "confirmed: version %lld", (long long)version);
    settings_turn_over(t);
}

/* Confirming a change needs the right to make it. */
static void confirm_checked(void *arg, enum store_result result, const struct store_batch *b)
{
    struct settings_turn *t = arg;
    struct why why;
    ensure(waiting.version != 0); /* nothing else changes meanwhile */
    if (result != STORE_OK) {
        settings_turn_fail(t, err_of_store(result),
                           arena_printf(t->arena, "the history cannot be read: %s",
                                        err_text(err_of_store(result))));
        return;
    }
    for (uint32_t i = 0; i < store_row_count(b, 0); i++) {
        slice name = store_text(b, 0, i, 0);
        const struct setting *s = setting_find(name);
        if (s != NULL ? !settings_is_for(t->call, s, &why) : !away_is_for(t->call, name, &why)) {
            settings_turn_fail(t, E_DENIED, why.text);
            return;
        }
    }
    struct store_batch *write = settings_batch();
    STORE_ADD(write, &settings_version_state, 1, SV_I(waiting.version), SV_T(SLICE("confirmed")),
              SV_T(t->call->who.actor));
    settings_commit(t, write);
}

static void confirm_begin(struct settings_turn *t)
{
    if (!waits_as_seen(t, "version"))
        return;
    if (waiting.version == 0) {
        settings_turn_fail(t, E_NOTFOUND, "no change waits to be confirmed");
        return;
    }
    struct store_batch *b = store_read(worker_store(settings_writer), 0);
    STORE_ADD(b, &settings_version_items, STORE_ANY_ROWS, SV_I(waiting.version));
    store_submit(b, worker_loop(settings_writer), 0, confirm_checked, t);
}

static void run_confirm(struct command_call *call)
{
    struct settings_turn *t = arena_new(call->arena, struct settings_turn, 1);
    *t = (struct settings_turn){
        .call = call, .arena = call->arena, .begin = confirm_begin, .done = confirm_done
    };
    settings_turn_take(t);
}

/* At start, before workers run. What was not confirmed in time has its old values before anything
 * reads them. */

static void heads_loaded(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)arg;
    last_version = 0;
    waiting.version = 0;
    if (result != STORE_OK || store_row_count(b, 0) == 0)
        return;
    last_version = store_int(b, 0, 0, 0);
    uint32_t row = store_row_count(b, 0) - 1; /* the last, or that which waits before it */
    if (!slice_is(store_text(b, 0, row, 1), "waits"))
        return;
    waiting.version = store_int(b, 0, row, 0);
    waiting.at_us = store_int(b, 0, row, 2);
    waiting.by_us = store_int(b, 0, row, 3);
}

static int64_t rolled_back;  /* at start; it is still to be told; 0: none */
static int64_t late_version; /* that this made */

static enum store_result roll_back_late(struct store *store)
{
    int64_t version = waiting.version;
    struct store_batch *b = store_write(store, 0);
    STORE_ADD(b, &settings_version_state, 1, SV_I(version), SV_T(SLICE("rolled back")),
              SV_T(SLICE("server")));
    STORE_ADD(b, &settings_version_put, 1, SV_I(last_version + 1), SV_I(clock_wall_us()),
              SV_T(SLICE("server")), SV_T(slice_of(settings_kind_names[SETTINGS_TIMED])),
              SV_T(SLICE("not confirmed in time")), SV_T(SLICE("applied")), SV_NULL);
    STORE_ADD(b, &settings_timed_items, STORE_ANY_ROWS, SV_I(version), SV_I(last_version + 1));
    STORE_ADD(b, &settings_timed_del, STORE_ANY_ROWS, SV_I(version));
    STORE_ADD(b, &settings_timed_put, STORE_ANY_ROWS, SV_I(version));
    rolled_back = version;
    waiting.version = 0;
    late_version = ++last_version;
    return store_run(b, NULL, NULL);
}

enum err settings_history_load(struct store *store, struct why *why)
{
    struct store_batch *b = store_read(store, 0);
    store_add(b, &settings_versions_last, STORE_ANY_ROWS, NULL, 0);
    enum store_result result = store_run(b, heads_loaded, NULL);
    if (result == STORE_OK && waiting.version != 0 && waiting.by_us <= (int64_t)clock_wall_us())
        result = roll_back_late(store);
    if (result == STORE_OK)
        return OK;
    why_set(why, "the history of settings cannot be read: %s", store_result_name(result));
    return E_DOWN;
}

static void touches_loaded(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)arg;
    for (uint32_t i = 0; result == STORE_OK && i < store_row_count(b, 0); i++) {
        const struct setting *s = setting_find(store_text(b, 0, i, 0));
        if (s != NULL)
            touch(s, store_int(b, 0, i, 1), store_int(b, 0, i, 2), store_text(b, 0, i, 3));
    }
}

void settings_history_names(struct store *store)
{
    struct store_batch *b = store_read(store, 0);
    store_add(b, &settings_touched, STORE_ANY_ROWS, NULL, 0);
    if (store_run(b, touches_loaded, NULL) != STORE_OK)
        log_warn(&log_settings, LOG_EV("setting.history"),
                 LOG_C("hint", "who changed which setting cannot be read"));
}

static void late_items(struct settings_turn *t, const struct store_batch *b)
{
    uint32_t rows = store_row_count(b, 0);
    slice *was = arena_new(t->arena, slice, rows + 1);
    t->item = arena_new(t->arena, struct settings_item, rows + 1);
    t->away = arena_new(t->arena, struct settings_away, rows + 1);
    for (uint32_t i = 0; i < rows; i++) {
        struct settings_away stored = { .name = slice_dup(t->arena, store_text(b, 0, i, 0)),
                                        .now = slice_dup(t->arena, store_text(b, 0, i, 1)),
                                        .value = slice_dup(t->arena, store_text(b, 0, i, 2)) };
        struct setting *s = setting_find(stored.name);
        if (s == NULL) {
            t->away[t->away_count++] = stored;
            continue;
        }
        was[t->count] = stored.now;
        t->item[t->count++] = (struct settings_item){ .setting = s, .value = stored.value };
    }
    settings_undone(t, was);
}

static void late_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct settings_turn *t = arg;
    if (result == STORE_OK)
        late_items(t, b);
    log_away(t);
    tell_rollback(t);
    arena_destroy(&t->arena);
}

/* A rollback at the start is told as one while the server runs. Webhooks hear of events when all
 * have started. */
static void tell_late(struct loop_defer *d)
{
    struct arena *arena = arena_create(0);
    struct settings_turn *t = arena_new(arena, struct settings_turn, 1);
    (void)d;
    *t = (struct settings_turn){ .arena = arena, .undoes = rolled_back };
    rolled_back = 0;
    struct store_batch *b = store_read(worker_store(settings_writer), 0);
    STORE_ADD(b, &settings_version_items, STORE_ANY_ROWS, SV_I(late_version));
    store_submit(b, worker_loop(settings_writer), 0, late_read, t);
}

void settings_history_start(struct worker *w)
{
    static struct loop_defer late = { .fn = tell_late };
    if (rolled_back != 0)
        loop_defer(worker_loop(w), &late);
    if (waiting.version != 0)
        watch_waiting(w);
}

void settings_history_stop(void) { timer_cancel(&waiting_timer); }

/* The rows. */

struct command settings_rollback_command = {
    .name = "config rollback",
    .rest = "POST /settings/rollback",
    .effect = COMMAND_CHANGES,
    .area = "settings",
    .args = (const struct command_arg[]){ { .name = "version",
                                            .kind = ARG_OPTIONAL,
                                            .type = PARAM_INT,
                                            .max = PARAM_NONE,
                                            .doc = "the version to go back to; without it: the one "
                                                   "before the last" },
                                          { .name = "waits",
                                            .kind = ARG_OPTION,
                                            .type = PARAM_INT,
                                            .min = 1,
                                            .max = PARAM_NONE,
                                            .doc = "only if the change that waits to be confirmed "
                                                   "is this version" },
                                          SETTINGS_ACCEPT_ARG,
                                          SETTINGS_COMMENT_ARG,
                                          { 0 } },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_SETTINGS,
    .run = run_rollback,
    .doc = "Goes back to an earlier version of the settings. That is a new version. What would "
           "delete something that is stored needs --accept. A setting that the node file fixes "
           "keeps the value of the node file. The earlier one is stored, and the answer names it. "
           "The same is so for a setting of a domain that is no longer served.",
};
struct command settings_confirm_command = {
    .name = "config confirm",
    .rest = "POST /settings/confirmation",
    .effect = COMMAND_CHANGES,
    .area = "settings",
    .args = (const struct command_arg[]){ { .name = "version",
                                            .kind = ARG_OPTIONAL,
                                            .type = PARAM_INT,
                                            .min = 1,
                                            .max = PARAM_NONE,
                                            .doc = "only if the change that waits is this version; "
                                                   "without it: whichever waits" },
                                          { 0 } },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_SETTINGS,
    .run = run_confirm,
    .doc = "Keeps a change that waits to be confirmed. Without this it is rolled back.",
};
