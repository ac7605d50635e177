/* settings_change: changes of settings, one after the other, each all or nothing. */
#include "admin/settings/settings_change.h"
#include "admin/settings/settings_candidate.h"
#include "admin/settings/settings_history.h"
#include "admin/settings/settings_impact.h"
#include "admin/settings/settings_private.h"
#include "admin/settings/settings_restart.h"
#include "admin/settings/settings_shown.h"
#include "admin/settings/settings_statements.h"
#include "auth/seal.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/log.h"
#include "home/here.h"
#include "home/node.h"
#include "home/setting_news.h"
#include "ops/access.h"
#include "ops/events.h"
#include <stdarg.h>
#include <stdio.h>

enum { AUDIT_VALUES_MAX = 64 << 10 };

const char *const settings_kind_names[] = { "set",         "reset",    "apply", "rollback",
                                            "unconfirmed", "deletion", NULL };

static struct settings_turn *first_turn; /* the one under way, and who waits */

/* One that only checks has no turn. */
static bool turn_is_right(const struct settings_turn *t)
{
    return t == first_turn || t->refused != NULL;
}

void settings_turn_take(struct settings_turn *t)
{
    unsigned waiting = 0;
    ensure(settings_writer != NULL && t->next == NULL && t->refused == NULL);
    struct settings_turn **at = &first_turn;
    for (; *at != NULL; at = &(*at)->next)
        waiting++;
    if (waiting >= SETTINGS_TURNS_MAX && t->call != NULL) {
        command_fail(t->call, E_LIMIT, "%d other changes of settings wait; try again",
                     SETTINGS_TURNS_MAX);
        return;
    }
    *at = t;
    if (t == first_turn)
        t->begin(t);
}

void settings_turn_over(struct settings_turn *t)
{
    ensure(t == first_turn);
    first_turn = t->next;
    if (first_turn != NULL)
        first_turn->begin(first_turn);
}

void settings_turn_fail(struct settings_turn *t, enum err e, const char *text)
{
    struct command_call *call = t->call;
    ensure(turn_is_right(t));
    if (t->refused != NULL) {
        t->refused(t, text);
        return;
    }
    if (call != NULL)
        command_fail(call, e, "%s", text); /* its arena lives on until the end of the tick */
    else
        log_warn(&log_settings, LOG_EV("setting.rollback_failed"), LOG_C("why", text),
                 LOG_C("hint", "it is tried again"));
    settings_turn_over(t);
    if (call == NULL)
        arena_destroy(&t->arena);
}

struct store_batch *settings_batch(void)
{
    return store_write(worker_store(settings_writer), hash_keyed(SLICE("settings")));
}

static void turn_committed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct settings_turn *t = arg;
    enum err e = err_of_store(result);
    (void)b;
    if (e != OK)
        settings_turn_fail(t, e, arena_printf(t->arena, "%s; %s", err_text(e), command_outcome(e)));
    else
        t->done(t);
}

void settings_commit(struct settings_turn *t, struct store_batch *b)
{
    store_submit(b, worker_loop(settings_writer), STORE_UNTIL_DONE, turn_committed, t);
}

/* It is about how administrators log in, what they may reach, what is kept of what they did and
 * where, from which address they seem to come, and who speaks for accounts, also theirs: who may
 * change settings does not loosen that. */
static bool protects_admins(const struct setting *s)
{
    static const char *const areas[] = { "admin.",        "api.",
                                         "audit.",        "component.",
                                         "console.",      "http.trusted-proxies",
                                         "syslog.server", "webhook.allow-local" };
    slice name = slice_of(s->name);
    for (unsigned i = 0; i < sizeof areas / sizeof areas[0]; i++)
        if (slice_starts(name, slice_of(areas[i])))
            return true;
    return setting_has_accounts(s);
}

/* Refuses clients of administrators a setting that names a file of the host: with the password of
 * an administrator, an attacker could read and write files. With a token of one, one could make
 * another, which gives the first a new password. Accounts of settings may do everything, so only
 * who may that names them. */
bool settings_is_for(const struct command_call *call, const struct setting *s, struct why *why)
{
    if (principal_is_remote(&call->who) && setting_is_local(s))
        why_set(why, "%s: changed with musterctl at the server only", s->name);
    else if (protects_admins(s) && !principal_may(&call->who, "admins.write"))
        why_set(why,
                "%s: it is about administrators, so this needs the permission admins.write, which "
                "the role %.*s does not have",
                s->name, SLICE_ARG(call->who.role));
    else if (setting_has_accounts(s) && !access_covers(&call->who, SLICE("*")))
        why_set(why,
                "%s: its accounts may do everything, so this needs all permissions, which the role "
                "%.*s does not have",
                s->name, SLICE_ARG(call->who.role));
    else if (call->who.weak && protects_admins(s))
        why_set(why, "%s: %s", s->name, PRINCIPAL_WEAK);
    else
        return true;
    return false;
}

/* Only who logs in here can have its rights. */
static bool is_ours_alone(const struct setting *s, slice list, struct why *why)
{
    slice jid;
    while (setting_has_accounts(s) && slice_word(&list, &jid))
        if (!node_serves(worker_node(settings_writer), jid_split(jid).domain)) {
            why_set(why,
                    "%s: found %.*s, which is of another server, allowed: accounts of this one",
                    s->name, SLICE_ARG(jid));
            return false;
        }
    return true;
}

bool settings_item_ok(const struct command_call *call, const struct setting *s, slice value,
                      struct why *why)
{
    if (settings_is_locked(s)) {
        why_set(why, "%s: fixed by the node file; change it there and reload", s->name);
        return false;
    }
    if (!settings_is_for(call, s, why))
        return false;
    if (value.ptr == NULL)
        return true;
    if (setting_check(s, value, why) != OK || !is_ours_alone(s, value, why))
        return false;
    if (value.len >= SETTING_BYTES_MAX) {
        why_set(why, "%s: found %zu bytes, allowed less than %d", s->name, value.len,
                SETTING_BYTES_MAX);
        return false;
    }
    if (setting_is_secret(s) && !seal_ready()) {
        why_set(why, "%s: the key in secrets.key cannot be used; `alarm list` says what to do",
                s->name);
        return false;
    }
    return true;
}

/* A reset passes over what the node file fixes. To go back stores such a value without applying it,
 * so that the node file does not hinder the others. An unconfirmed change goes back in any case. */
static bool may_change(const struct settings_turn *t, const struct settings_item *item,
                       struct why *why)
{
    const struct setting *s = item->setting;
    if (t->kind == SETTINGS_TIMED)
        return true;
    if (t->kind == SETTINGS_RESET)
        return settings_stored_find(s) == NULL || settings_is_for(t->call, s, why);
    if (t->kind == SETTINGS_BACK && settings_is_locked(s))
        return settings_is_for(t->call, s, why);
    return settings_item_ok(t->call, s, item->value, why);
}

static bool items_ok(const struct settings_turn *t, struct why *why)
{
    struct setting_change *change = arena_new(t->arena, struct setting_change, t->count + 1);
    size_t changes = 0;
    for (size_t i = 0; i < t->count; i++) {
        const struct setting *s = t->item[i].setting;
        if (!may_change(t, &t->item[i], why))
            return false;
        if (!settings_is_locked(s))
            change[changes++] = (struct setting_change){ s, t->item[i].value };
    }
    return t->kind == SETTINGS_TIMED || changes == 0 || setting_agree(change, changes, why) == OK;
}

static enum err refusal(const struct settings_turn *t, const struct why *why)
{
    int64_t value;
    struct why again;
    for (size_t i = 0; i < t->count; i++) {
        const struct settings_item *item = &t->item[i];
        bool locked = settings_is_locked(item->setting);
        if ((locked && t->kind != SETTINGS_BACK) ||
            !settings_is_for(t->call, item->setting, &again))
            return E_DENIED;
        if (item->value.ptr == NULL || locked)
            continue;
        enum err e = param_check(&item->setting->param, item->value, &value, &again);
        if (e != OK)
            return e;
        if (item->value.len >= SETTING_BYTES_MAX)
            return E_LIMIT;
    }
    (void)why;
    return E_CONFLICT;
}

static void add_item(struct settings_turn *t, struct store_batch *b,
                     const struct settings_item *item)
{
    const struct setting *s = item->setting;
    slice value = item->value;
    settings_history_item(t, b, item);
    if (item->sealed != NULL)
        value = item->sealed->value;
    else if (value.ptr != NULL && setting_is_secret(s))
        value = seal(value, settings_context(s, t->arena), t->arena);
    if (value.ptr == NULL)
        STORE_ADD(b, &settings_del, STORE_ANY_ROWS, SV_T(slice_of(s->name)));
    else
        STORE_ADD(b, &settings_put, 1, SV_T(slice_of(s->name)), SV_T(value));
}

static void tell_item(const struct setting *s)
{
    char value[SETTING_BYTES_MAX];
    setting_format(s, value, sizeof value);
    event_tell(worker_here(), EVENT_SETTING_CHANGED, slice_of(s->name),
               (const struct event_field[]){
                   { "setting", slice_of(s->name) },
                   { "value", setting_is_secret(s) ? SLICE("") : slice_of(value) },
                   { 0 } });
}

static void apply_item(const struct settings_item *item)
{
    struct setting *s = item->setting;
    struct why why;
    if (item->value.ptr == NULL)
        settings_stored_drop(s);
    else
        settings_stored_put(s, item->value);
    if (settings_is_locked(s)) /* perhaps by a reload meanwhile */
        return;
    if (item->value.ptr == NULL) {
        setting_reset(s);
    } else {
        enum err e = setting_set(s, item->value, &why);
        ensure(e == OK); /* has been checked before it was stored */
    }
    tell_item(s);
}

static void add_value(const struct settings_turn *t, struct buf *out, const char *name, slice value)
{
    bool several = t->count + t->away_count > 1;
    bool in_args = t->kind == SETTINGS_SET || t->kind == SETTINGS_RESET;
    if (several || !in_args)
        command_changed_part(out, name, value);
    else
        buf_add(out, value);
    buf_printf(out, "%s", several ? "\n" : "");
}

static void add_away_values(const struct settings_turn *t, struct buf *out, bool applied)
{
    for (size_t i = 0; i < t->away_count; i++) {
        const struct settings_away *away = &t->away[i];
        const struct setting *s = settings_of_all(away->name);
        if (s != NULL && !setting_is_secret(s) && !s->told)
            add_value(t, out, slice_cstr(t->arena, away->name),
                      settings_show(s, applied ? away->value : away->now, t->arena));
    }
}

/* Text that setting_format() gives for that stored value. */
static slice stored_text(const struct setting *s, slice stored, struct arena *tmp)
{
    char *text = arena_new(tmp, char, SETTING_BYTES_MAX);
    if (stored.ptr != NULL)
        return settings_show(s, stored, tmp);
    if (s->general != NULL)
        return (slice){ text, setting_format(s->general, text, SETTING_BYTES_MAX) };
    if (setting_is_text(s))
        return slice_of(s->def_text);
    return (slice){ text, param_format(&s->param, s->def, text, SETTING_BYTES_MAX) };
}

/* The values of its settings, for the audit log: of several, a line each; with the name, unless it
 * is in the arguments of the command. Neither secrets nor what users are told. stored: instead of
 * the values that apply; NULL: those. */
static slice values_of(const struct settings_turn *t, const slice *stored, bool applied)
{
    struct buf out;
    char value[SETTING_BYTES_MAX];
    buf_init(&out, AUDIT_VALUES_MAX);
    for (size_t i = 0; i < t->count; i++) {
        const struct setting *s = t->item[i].setting;
        if (setting_is_secret(s) || s->told)
            continue;
        setting_format(s, value, sizeof value);
        add_value(t, &out, s->name,
                  stored == NULL || settings_is_locked(s) ? slice_of(value)
                                                          : stored_text(s, stored[i], t->arena));
    }
    add_away_values(t, &out, applied);
    slice values = slice_dup(t->arena, buf_fit(&out));
    buf_fini(&out);
    return values;
}

static slice values_now(const struct settings_turn *t, bool applied)
{
    return values_of(t, NULL, applied);
}

void settings_undone(struct settings_turn *t, const slice *was)
{
    t->before = values_of(t, was, false);
    t->after = values_now(t, true);
    for (size_t i = 0; i < t->count; i++)
        if (!settings_is_locked(t->item[i].setting))
            tell_item(t->item[i].setting);
}

static settings_reload_fn *reload_by;

void settings_reload_by(settings_reload_fn *reload) { reload_by = reload; }

/* It is stored, and the history has it. So it is said that it does not apply, and how to go back.
 */
static void settings_reloaded(void *arg, const char *refused)
{
    struct settings_turn *t = arg;
    if (refused == NULL)
        t->done(t);
    else
        settings_turn_fail(t, E_CONFLICT,
                           arena_printf(t->arena,
                                        "version %lld is stored, but does not apply: %s; `config "
                                        "rollback` goes back",
                                        (long long)t->version, refused));
}

/* Each worker was told. */
static void settings_told(struct worker *w, void *arg)
{
    struct settings_turn *t = arg;
    bool reloads = false;
    for (size_t i = 0; i < t->count; i++)
        reloads = reloads || t->item[i].setting->reloads;
    if (reloads && reload_by != NULL)
        reload_by(w, t->arena, settings_reloaded, t);
    else
        t->done(t);
}

static void settings_apply(struct settings_turn *t)
{
    t->before = values_now(t, false);
    for (size_t i = 0; i < t->count; i++)
        apply_item(&t->item[i]);
    settings_restart_look();
    t->after = values_now(t, true);
    if (t->call != NULL)
        command_changed(t->call, t->before, t->after);
    settings_history_done(t);
    if (t->candidate != NULL)
        settings_candidate_forget(t->candidate);
    setting_news_wait(settings_writer, &(struct asker){ .done = settings_told, .arg = t });
}

/* Accounts are deleted meanwhile. A deletion that is committed before the change refuses it, and
 * one behind it takes the account out of what is stored. But it may be told here before the commit
 * of the change is, and then what is stored is read before it applies. */
static bool deleted_meanwhile; /* since the write that is under way began */

void settings_change_deleted(void) { deleted_meanwhile = true; }

static void stored_read(void *arg, enum store_result result, const struct store_batch *b);

static bool item_names_accounts(const struct settings_item *item)
{
    return setting_has_accounts(item->setting) && item->value.len > 0;
}

static void apply_stored(struct settings_turn *t)
{
    struct store_batch *b = store_read(worker_store(settings_writer), 0);
    for (size_t i = 0; deleted_meanwhile && i < t->count; i++)
        if (item_names_accounts(&t->item[i]))
            STORE_ADD(b, &settings_value, STORE_ANY_ROWS, SV_T(slice_of(t->item[i].setting->name)));
    deleted_meanwhile = false;
    if (store_stmt_count(b) > 0) {
        store_submit(b, worker_loop(settings_writer), 0, stored_read, t);
    } else {
        store_drop(&b);
        settings_apply(t);
    }
}

/* A value that cannot be read gives nobody anything. */
static void stored_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct settings_turn *t = arg;
    unsigned stmt = 0;
    for (size_t i = 0; i < t->count; i++)
        if (item_names_accounts(&t->item[i])) {
            bool there = result == STORE_OK && store_row_count(b, stmt) == 1;
            t->item[i].value = there ? slice_dup(t->arena, store_text(b, stmt, 0, 0)) : SLICE("");
            stmt++;
        }
    apply_stored(t);
}

static void settings_committed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct settings_turn *t = arg;
    bool names = false;
    for (size_t i = 0; i < t->count; i++)
        names = names || item_names_accounts(&t->item[i]);
    if (result == STORE_OK)
        apply_stored(t);
    else if (result == STORE_CONFLICT && names)
        settings_turn_fail(t, E_NOTFOUND,
                           "nothing was changed: an account that the new value names has been "
                           "deleted meanwhile");
    else
        turn_committed(t, result, b);
}

static bool is_news(const struct settings_item *item)
{
    const struct stored *old = settings_stored_find(item->setting);
    if (item->sealed != NULL)
        return true;
    if (old == NULL || item->value.ptr == NULL)
        return old != NULL || item->value.ptr != NULL;
    return !slice_eq((slice){ old->value, old->len }, item->value);
}

static void write_change(struct settings_turn *t)
{
    size_t news = 0;
    ensure(turn_is_right(t));
    if (t->refused != NULL) {
        t->done(t);
        return;
    }
    struct store_batch *b = settings_batch();
    deleted_meanwhile = false;
    for (size_t i = 0; i < t->count; i++)
        if (is_news(&t->item[i]))
            t->item[news++] = t->item[i];
    t->count = news;
    if (news + t->away_count == 0 && t->undoes == 0 && t->candidate == NULL) {
        store_drop(&b);
        t->done(t);
        return;
    }
    for (size_t i = 0; i < news; i++)
        if (item_names_accounts(&t->item[i]))
            settings_hold_accounts(b, worker_node(settings_writer), t->item[i].value);
    settings_history_add(t, b);
    for (size_t i = 0; i < news; i++)
        add_item(t, b, &t->item[i]);
    settings_history_away(t, b);
    if (t->candidate != NULL)
        settings_candidate_applied(t, b);
    store_submit(b, worker_loop(settings_writer), STORE_UNTIL_DONE, settings_committed, t);
}

/* A name without an account is refused; a change that goes back unconfirmed leaves the name out.
 * false: the turn has failed. */
static bool item_accounts_ok(struct settings_turn *t, struct settings_item *item,
                             const struct store_batch *b, unsigned *stmt)
{
    slice jid, list = item->value;
    while (settings_next_missing(b, stmt, worker_node(settings_writer), &list, &jid)) {
        if (t->kind != SETTINGS_TIMED) {
            settings_turn_fail(
                t, E_NOTFOUND,
                arena_printf(t->arena,
                             "%s: found %.*s, which is no account; `user add` makes it first",
                             item->setting->name, SLICE_ARG(jid)));
            return false;
        }
        item->value = settings_list_without(item->value, jid, t->arena);
    }
    return true;
}

static void accounts_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct settings_turn *t = arg;
    unsigned stmt = 0;
    if (result != STORE_OK) {
        settings_turn_fail(t, err_of_store(result),
                           arena_printf(t->arena, "the accounts cannot be looked up: %s",
                                        err_text(err_of_store(result))));
        return;
    }
    for (size_t i = 0; i < t->count; i++)
        if (item_names_accounts(&t->item[i]) && !item_accounts_ok(t, &t->item[i], b, &stmt))
            return;
    write_change(t);
}

static bool is_in_turn(const struct settings_turn *t, const struct setting *s)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->item[i].setting == s)
            return true;
    return false;
}

/* Secrets that would be sent to somebody else go. One that was set while nobody was named is for
 * the first who is. To go back restores what was together. */
static void add_cleared(struct settings_turn *t)
{
    bool given = t->kind == SETTINGS_BACK || t->kind == SETTINGS_TIMED;
    size_t count = given ? 0 : t->count;
    struct settings_item *all = arena_new(t->arena, struct settings_item, 2 * t->count + 1);
    memcpy(all, t->item, t->count * sizeof *all);
    t->item = all;
    for (size_t i = 0; i < count; i++) {
        const struct setting *s = all[i].setting;
        if (s->secret == NULL || settings_is_locked(s) || *setting_text(s->secret) == '\0' ||
            *setting_text(s) == '\0' || !is_news(&all[i]) || is_in_turn(t, s->secret))
            continue;
        all[t->count++] = (struct settings_item){ .setting = s->secret };
        t->cleared = slice_of(arena_printf(t->arena,
                                           "%.*s; %s is cleared, since it was for the %s of "
                                           "before: set it again",
                                           SLICE_ARG(t->cleared), s->secret->name, s->name));
    }
}

slice settings_words(const struct settings_turn *t, const char *fmt, ...)
{
    va_list args;
    char text[SETTING_BYTES_MAX + 256];
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return slice_of(arena_printf(t->arena, "%s%.*s", text, SLICE_ARG(t->cleared)));
}

void settings_change(struct settings_turn *t)
{
    ensure(turn_is_right(t) && t->version == 0);
    struct why why;
    add_cleared(t);
    const char *waiting = t->undoes == 0 ? settings_waiting(t->arena) : NULL;
    if (waiting != NULL) {
        settings_turn_fail(t, E_CONFLICT, waiting);
        return;
    }
    if (!items_ok(t, &why)) {
        settings_turn_fail(t, refusal(t, &why), why.text);
        return;
    }
    struct store_batch *b = store_read(worker_store(settings_writer), 0);
    for (size_t i = 0; i < t->count; i++)
        if (item_names_accounts(&t->item[i]))
            settings_read_accounts(b, worker_node(settings_writer), t->item[i].value);
    if (store_stmt_count(b) > 0) {
        store_submit(b, worker_loop(settings_writer), 0, accounts_read, t);
    } else {
        store_drop(&b);
        write_change(t);
    }
}

/* Items of a turn are counted one after the other. */
struct accepting {
    struct settings_turn *turn;
    void (*go_on)(struct settings_turn *t);
    void (*refuse)(struct settings_turn *t, const char *text);
    size_t at;
};

static void accepting_go_on(struct accepting *a);

static void accepting_counted(void *arg, enum store_result result, const struct store_batch *b)
{
    struct accepting *a = arg;
    struct settings_turn *t = a->turn;
    const struct setting *s = t->item[a->at].setting;
    bool known = result == STORE_OK && store_row_count(b, 0) == 1;
    int64_t count = known ? store_int(b, 0, 0, 0) : -1;
    ensure(worker_is_here(t->call->worker));
    if (count == 0) {
        a->at++;
        accepting_go_on(a);
        return;
    }
    a->refuse(
        t, settings_impact_refusal(
               s, settings_impact_text(s->impact, count, "could not be counted in time", t->arena),
               t->arena));
}

static void accepting_go_on(struct accepting *a)
{
    struct settings_turn *t = a->turn;
    struct why why;
    for (; a->at < t->count; a->at++) {
        const struct settings_item *item = &t->item[a->at];
        int64_t at;
        if (!settings_lowers(item) || !settings_impact_at(item->setting, item->value, &at) ||
            !settings_item_ok(t->call, item->setting, item->value, &why))
            continue; /* settings_change() refuses what is wrong */
        settings_impact_count(t->call->worker, item->setting, at, accepting_counted, a);
        return;
    }
    a->go_on(t);
}

void settings_accept(struct settings_turn *t, void (*go_on)(struct settings_turn *t),
                     void (*refuse)(struct settings_turn *t, const char *text))
{
    ensure(t->call != NULL);
    if (command_flag(t->call, "accept")) {
        go_on(t);
        return;
    }
    struct accepting *a = arena_new(t->arena, struct accepting, 1);
    *a = (struct accepting){ .turn = t, .go_on = go_on, .refuse = refuse };
    accepting_go_on(a);
}
