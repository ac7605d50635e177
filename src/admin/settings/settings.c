#include "admin/settings/settings.h"
#include "account/account.h"
#include "admin/settings/settings_candidate.h"
#include "admin/settings/settings_change.h"
#include "admin/settings/settings_commands.h"
#include "admin/settings/settings_history.h"
#include "admin/settings/settings_history_read.h"
#include "admin/settings/settings_private.h"
#include "admin/settings/settings_restart.h"
#include "admin/settings/settings_statements.h"
#include "auth/seal.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/similar.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "ops/audit_command.h"
#include "ops/events.h"
#include "xmpp/jid.h"

struct log_area log_settings = { .name = "settings" };

struct alarm settings_restart_alarm = {
    .name = "settings.restart",
    .severity = ALARM_WARNING,
    .text = "A changed setting applies only after a restart.",
    .action = "Restart the part that `musterctl get NAME` names.",
    .explanation = "Some settings are read only when a part of the server starts.",
    .raised_when = "The value of such a setting is not the one that the server runs with.",
    .cleared_when = "The server starts, or the setting has the value again that it runs with.",
    .also = "XCPConfigMgrJabberRestartRequired",
};

static struct store_stmt stmt_all = {
    .name = "setting.all",
    .sql = "SELECT name, value FROM setting ORDER BY name",
    .params = "",
    .cols = "tt",
};
struct store_stmt settings_put = {
    .name = "setting.put",
    .sql = "INSERT INTO setting (name, value) VALUES ($1, $2) "
           "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    .params = "tt",
    .cols = "",
};
struct store_stmt settings_del = {
    .name = "setting.del",
    .sql = "DELETE FROM setting WHERE name = $1",
    .params = "t",
    .cols = "",
};

static struct store_stmt stmt_account = {
    .name = "setting.account",
    .sql = "SELECT id FROM account WHERE jid = $1",
    .params = "t",
    .cols = "i",
};

/* For the rest of the transaction, the account stays, or its deletion comes first. */
static struct store_stmt stmt_hold = {
    .name = "setting.hold",
    .sql = "UPDATE account SET disabled = disabled WHERE jid = $1",
    .params = "t",
    .cols = "",
};
struct store_stmt settings_value = {
    .name = "setting.value",
    .sql = "SELECT value FROM setting WHERE name = $1",
    .params = "t",
    .cols = "t",
};

/* Takes a word out of a list: each space is doubled before, so that words do not share one. */
static struct store_stmt stmt_without = {
    .name = "setting.without",
    .sql = "UPDATE setting SET value = trim(replace(replace(replace(' ' || value || ' ', ' ', "
           "'  '), ' ' || CAST($2 AS TEXT) || ' ', ''), '  ', ' ')) WHERE name = $1 AND "
           "replace(' ' || value || ' ', ' ' || CAST($2 AS TEXT) || ' ', '') <> "
           "' ' || value || ' '",
    .params = "tt",
    .cols = "",
};

/* The same in the history and in candidates: to go back, or to apply one, must not give a later
 * account of that name anything. */
#define WITHOUT(column)                                                                            \
    column " = trim(replace(replace(replace(' ' || " column " || ' ', ' ', '  '), ' ' || "         \
           "CAST($2 AS TEXT) || ' ', ''), '  ', ' '))"
static struct store_stmt stmt_forget = {
    .name = "setting.forget",
    .sql = "UPDATE setting_change SET " WITHOUT("was") ", " WITHOUT("became") " WHERE name = $1",
    .params = "tt",
    .cols = "",
};
static struct store_stmt stmt_unedit = {
    .name = "setting.unedit",
    .sql = "UPDATE setting_candidate SET " WITHOUT("value") " WHERE name = $1",
    .params = "tt",
    .cols = "",
};

static const char create_setting[] =
    "CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL)";
#define HISTORY(i)                                                                                 \
    "CREATE TABLE setting_version (id " i " PRIMARY KEY, at_us " i " NOT NULL, "                   \
    "actor TEXT NOT NULL, kind TEXT NOT NULL, comment TEXT NOT NULL, state TEXT NOT NULL, "        \
    "confirm_by_us " i ", ended_by TEXT NOT NULL DEFAULT '');"                                     \
    "CREATE TABLE setting_change (version " i " NOT NULL, name TEXT NOT NULL, was TEXT, "          \
    "became TEXT, PRIMARY KEY (name, version));"                                                   \
    "CREATE INDEX setting_change_version ON setting_change (version);"                             \
    "CREATE TABLE setting_candidate (owner TEXT NOT NULL, name TEXT NOT NULL, value TEXT, "        \
    "base " i " NOT NULL, at_us " i " NOT NULL, PRIMARY KEY (owner, name))"
static const struct store_migration migrations[] = {
    { .version = 1, .sqlite = create_setting, .pgsql = create_setting },
    { .version = 2, /* from this version on, secrets are sealed (auth/seal.h) */
      .sqlite = "DELETE FROM setting WHERE name = 'extdisco.turn-secret'",
      .pgsql = "DELETE FROM setting WHERE name = 'extdisco.turn-secret'" },
    { .version = 3, .sqlite = HISTORY("INTEGER"), .pgsql = HISTORY("BIGINT") },
    { 0 },
};
#define LISTS                                                                                      \
    "name IN ('admin.accounts', 'guest.domains', 'push.services', "                                \
    "'service.blacklist', 'service.whitelist')"
static const struct store_schema schema = {
    .feature = "settings",
    .migrations = migrations,
    .addresses =
        (const struct store_address[]){
            { "setting", "name", .kind = STORE_JID, .beside = "", .only = "name LIKE '%@%'",
              .not_alone = true }, /* NAME@DOMAIN */
            { "setting", "value", .kind = STORE_JID_LIST, .separator = ' ', .only = LISTS },
            { "setting", "value", .kind = STORE_WRITTEN, .beside = "name" },
            { "setting_change", "name", .kind = STORE_JID, .beside = "version",
              .only = "name LIKE '%@%'", .not_alone = true },
            { "setting_change", "was", .kind = STORE_JID_LIST, .separator = ' ', .only = LISTS },
            { "setting_change", "became", .kind = STORE_JID_LIST, .separator = ' ', .only = LISTS },
            { "setting_candidate", "name", .kind = STORE_JID, .beside = "owner",
              .only = "name LIKE '%@%'", .not_alone = true },
            { "setting_candidate", "value", .kind = STORE_JID_LIST, .separator = ' ',
              .only = LISTS },
            { "setting_candidate", "owner", .kind = STORE_JID, .beside = "name", .mark = "'xmpp:'",
              .only = "owner LIKE 'xmpp:%'" },
            { "setting_candidate", "owner", .kind = STORE_JID, .beside = "name",
              .mark = "'console:'", .only = "owner LIKE 'console:%@%'" },
            { 0 } },
    .stmts = (struct store_stmt *const[]){ &stmt_all,
                                           &settings_put,
                                           &settings_del,
                                           &stmt_account,
                                           &stmt_hold,
                                           &settings_value,
                                           &stmt_without,
                                           &stmt_forget,
                                           &stmt_unedit,
                                           &settings_version_put,
                                           &settings_version_item,
                                           &settings_version_trim,
                                           &settings_item_trim,
                                           &settings_version_state,
                                           &settings_versions_last,
                                           &settings_version_read,
                                           &settings_version_items,
                                           &settings_compared,
                                           &settings_listed,
                                           &settings_versions_beyond,
                                           &settings_version_gone,
                                           &settings_touched,
                                           &settings_timed_items,
                                           &settings_timed_del,
                                           &settings_timed_put,
                                           &settings_candidate_put,
                                           &settings_candidate_del,
                                           &settings_candidate_clear,
                                           &settings_candidate_all,
                                           NULL },
};

/* The table in memory. It has the value for a setting that is no longer locked after a reload. */
static struct stored *stored_first;

void settings_stored_drop(const struct setting *s)
{
    struct stored **at = &stored_first;
    while (*at != NULL && (*at)->setting != s)
        at = &(*at)->next;
    if (*at == NULL)
        return;
    struct stored *gone = *at;
    *at = gone->next;
    mem_free(&gone);
}

void settings_stored_put(struct setting *s, slice value)
{
    settings_stored_drop(s);
    struct stored *item = mem_alloc(sizeof *item + value.len);
    *item = (struct stored){ .next = stored_first, .setting = s, .len = value.len };
    if (value.len > 0)
        memcpy(item->value, value.ptr, value.len);
    stored_first = item;
}

const struct stored *settings_stored_find(const struct setting *s)
{
    const struct stored *item = stored_first;
    while (item != NULL && item->setting != s)
        item = item->next;
    return item;
}

/* The node file fixes it, or the value for all domains. */
bool settings_is_locked(const struct setting *s)
{
    return s->locked || (s->general != NULL && s->general->locked);
}

slice settings_context(const struct setting *s, struct arena *tmp)
{
    return slice_of(arena_printf(tmp, "setting %s", s->name));
}

static void admin_settings_load_row(slice name, slice value, struct arena *tmp)
{
    struct why why;
    struct setting *s = setting_find(name);
    if (s == NULL) {
        log_warn(&log_settings, LOG_EV("setting.unknown"), LOG_S("name", name),
                 LOG_C("hint", "this version has no such setting, or this node no such domain; the "
                               "stored value is ignored"));
        return;
    }
    if (setting_is_secret(s) && !unseal(&value, value, settings_context(s, tmp), tmp)) {
        log_warn(&log_settings, LOG_EV("setting.sealed"), LOG_S("name", name),
                 LOG_C("hint", "the stored value cannot be decrypted, so the default applies; see "
                               "alarm secrets.key"));
        return;
    }
    if (setting_check(s, value, &why) != OK) {
        log_warn(&log_settings, LOG_EV("setting.ignored"), LOG_C("why", why.text),
                 LOG_C("hint", "the stored value is not allowed, so the default applies; "
                               "`musterctl set` sets another"));
        return;
    }
    settings_stored_put(s, value);
    if (!settings_is_locked(s) && setting_set(s, value, &why) != OK)
        log_warn(&log_settings, LOG_EV("setting.ignored"), LOG_C("why", why.text),
                 LOG_C("hint", "the stored value is not allowed, so the default applies; "
                               "`musterctl set` sets another"));
}

static void admin_settings_loaded(void *arg, enum store_result result, const struct store_batch *b)
{
    for (uint32_t row = 0; result == STORE_OK && row < store_row_count(b, 0); row++)
        admin_settings_load_row(store_text(b, 0, row, 0), store_text(b, 0, row, 1), arg);
}

/* Only a warning: stored values never make a node file invalid. Code that reads such rows takes the
 * smaller value; of versions of TLS the least one counts. */
static void warn_disagreement(void)
{
    struct why why;
    if (setting_agree(NULL, 0, &why) != OK)
        log_warn(&log_settings, LOG_EV("setting.disagrees"), LOG_C("why", why.text),
                 LOG_C("hint",
                       "the smaller value applies, of TLS the least version; correct the node file "
                       "or use `musterctl set`"));
}

enum err settings_load(struct store *store, struct why *why)
{
    enum err e = settings_history_load(store, why);
    if (e != OK)
        return e;
    struct store_batch *b = store_read(store, 0);
    store_add(b, &stmt_all, STORE_ANY_ROWS, NULL, 0);
    struct arena *arena = arena_create(0);
    enum store_result result = store_run(b, admin_settings_loaded, arena);
    arena_destroy(&arena);
    if (result == STORE_OK) {
        warn_disagreement();
        settings_history_names(store);
        return settings_candidates_load(store, why);
    }
    why_set(why, "the settings in the database cannot be read: %s", store_result_name(result));
    return E_DOWN;
}

/* Lists of accounts (`accounts`). */

struct worker *settings_writer; /* the home of DUTY_SETTINGS, while it runs */

/* The next word of the list that is an address of ours. */
static bool next_account(const struct node *n, slice *list, slice *jid)
{
    while (slice_word(list, jid))
        if (node_serves(n, jid_split(*jid).domain))
            return true;
    return false;
}

/* Adds one read for each address of ours in the list. */
void settings_read_accounts(struct store_batch *b, const struct node *n, slice list)
{
    slice jid;
    while (next_account(n, &list, &jid))
        STORE_ADD(b, &stmt_account, STORE_ANY_ROWS, SV_T(jid));
}

void settings_hold_accounts(struct store_batch *b, const struct node *n, slice list)
{
    slice jid;
    while (next_account(n, &list, &jid))
        STORE_ADD(b, &stmt_hold, 1, SV_T(jid));
}

/* The next address whose read found no account; *stmt is the next statement of the batch. */
bool settings_next_missing(const struct store_batch *b, unsigned *stmt, const struct node *n,
                           slice *list, slice *jid)
{
    while (next_account(n, list, jid))
        if (store_row_count(b, (*stmt)++) == 0)
            return true;
    return false;
}

static void missing_read(void *arg, enum store_result result, const struct store_batch *b)
{
    const char *text = arg;
    slice jid, list = slice_of(text);
    unsigned stmt = 0;
    const struct setting *s = setting_first();
    while (s != NULL && !(setting_has_accounts(s) && setting_text(s) == text))
        s = s->next;
    if (result != STORE_OK || settings_writer == NULL || s == NULL) /* NULL: changed meanwhile */
        return;
    while (settings_next_missing(b, &stmt, worker_node(settings_writer), &list, &jid))
        log_warn(&log_settings, LOG_EV("setting.no_account"), LOG_C("name", s->name),
                 LOG_S("account", jid),
                 LOG_C("hint", "whoever gets this address later has what the setting gives; take "
                               "it out of the setting, or make the account with `user add`"));
}

/* An account in the node file that does not exist is not refused: the node file is there first. */
static void warn_missing(void)
{
    for (struct setting *s = setting_first(); s != NULL && settings_writer != NULL; s = s->next) {
        const char *text = setting_has_accounts(s) ? setting_text(s) : "";
        struct store_batch *b = store_read(worker_store(settings_writer), 0);
        settings_read_accounts(b, worker_node(settings_writer), slice_of(text));
        if (store_stmt_count(b) > 0)
            store_submit(b, worker_loop(settings_writer), 0, missing_read, (void *)text);
        else
            store_drop(&b);
    }
}

slice settings_list_without(slice list, slice jid, struct arena *tmp)
{
    slice one;
    const char *text = "";
    while (slice_word(&list, &one))
        if (!slice_eq(one, jid))
            text = arena_printf(tmp, "%s%s%.*s", text, *text == '\0' ? "" : " ", SLICE_ARG(one));
    return slice_of(text);
}

/* Settings that list accounts lose one that is deleted: a later account of that name is another
 * user. In the database that is part of the deletion. In memory it is done at once, whatever else
 * changes settings; then it is a version of the history, as every change. */
static void settings_account_removing(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &stmt_hold, STORE_ANY_ROWS, SV_T(a->jid)); /* against a change that names it */
    for (const struct setting *s = setting_first(); s != NULL; s = s->next)
        if (setting_has_accounts(s)) {
            STORE_ADD(b, &stmt_without, STORE_ANY_ROWS, SV_T(slice_of(s->name)), SV_T(a->jid));
            STORE_ADD(b, &stmt_forget, STORE_ANY_ROWS, SV_T(slice_of(s->name)), SV_T(a->jid));
            STORE_ADD(b, &stmt_unedit, STORE_ANY_ROWS, SV_T(slice_of(s->name)), SV_T(a->jid));
        }
    settings_candidate_removing(a->jid, b);
}

/* The version: what is stored before it and after it is the same, since going back must not give
 * the next account of that name anything. */

static void left_done(struct settings_turn *t)
{
    settings_turn_over(t);
    arena_destroy(&t->arena);
}

static void left_committed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct settings_turn *t = arg;
    (void)b;
    if (result == STORE_OK)
        settings_history_done(t);
    else
        log_warn(&log_settings, LOG_EV("setting.history"),
                 LOG_C("hint", "the history has no version for the account that a list lost"));
    left_done(t);
}

static void left_begin(struct settings_turn *t)
{
    const struct stored *item = settings_stored_find(t->item->setting);
    struct store_batch *b = settings_batch();
    if (item != NULL)
        t->item->value = slice_dup(t->arena, (slice){ item->value, item->len });
    settings_history_add(t, b);
    settings_history_item(t, b, t->item);
    store_submit(b, worker_loop(settings_writer), STORE_UNTIL_DONE, left_committed, t);
}

static void record_left(struct setting *s)
{
    struct arena *arena = arena_create(0);
    struct settings_turn *t = arena_new(arena, struct settings_turn, 1);
    struct settings_item *item = arena_new(arena, struct settings_item, 1);
    *item = (struct settings_item){ .setting = s };
    *t = (struct settings_turn){
        .arena = arena,
        .begin = left_begin,
        .done = left_done,
        .kind = SETTINGS_DELETED,
        .item = item,
        .count = 1,
        .comment = slice_of(
            arena_printf(arena, "%s: an account was deleted; the audit log names it", s->name)),
    };
    settings_turn_take(t);
}

/* Gives the new value, to those who listen and to the audit log. */
static void tell_left(struct setting *s, slice before, slice jid, struct arena *tmp)
{
    slice now = slice_of(setting_text(s));
    event_tell(
        worker_here(), EVENT_SETTING_CHANGED, slice_of(s->name),
        (const struct event_field[]){ { "setting", slice_of(s->name) }, { "value", now }, { 0 } });
    audit_of_server(
        "set",
        command_changed_parts(
            tmp,
            (const struct command_part[]){
                { "setting", slice_of(s->name) },
                { "value", now },
                { "comment", slice_of(arena_printf(tmp, "%.*s was deleted", SLICE_ARG(jid))) },
                { 0 } }),
        before, now);
}

bool settings_list_names(slice list, slice jid)
{
    slice one;
    while (slice_word(&list, &one))
        if (slice_eq(one, jid))
            return true;
    return false;
}

static void take_out(struct setting *s, slice jid, struct arena *tmp)
{
    struct why why;
    const struct stored *item = settings_stored_find(s);
    slice before = slice_dup(tmp, slice_of(setting_text(s)));
    bool named = settings_list_names(before, jid);
    if (item != NULL && settings_list_names((slice){ item->value, item->len }, jid)) {
        settings_stored_put(s, settings_list_without((slice){ item->value, item->len }, jid, tmp));
        record_left(s);
    }
    if (!named)
        return;
    if (s->locked) {
        log_warn(&log_settings, LOG_EV("setting.account_deleted"), LOG_C("name", s->name),
                 LOG_S("account", jid),
                 LOG_C("hint", "the node file still names this deleted account: take it out there "
                               "and reload, or the next user of this address has what the "
                               "setting gives"));
        return;
    }
    enum err e = setting_set(s, settings_list_without(before, jid, tmp), &why);
    ensure(e == OK); /* a part of a list that is allowed */
    log_info(&log_settings, LOG_EV("setting.account_deleted"), LOG_C("name", s->name),
             LOG_S("account", jid));
    tell_left(s, before, jid, tmp);
}

static void settings_account_deleted(struct worker *w, slice bare)
{
    if (!duty_is_here(w, DUTY_SETTINGS)) /* settings are changed on one worker */
        return;
    struct arena *tmp = arena_create(0);
    settings_change_deleted();
    for (struct setting *s = setting_first(); s != NULL; s = s->next)
        if (setting_has_accounts(s))
            take_out(s, bare, tmp);
    arena_destroy(&tmp);
    settings_candidate_deleted(bare);
}

static void admin_settings_access_changed(struct worker *w)
{
    if (duty_is_here(w, DUTY_SETTINGS) && settings_writer != NULL)
        settings_candidate_sweep();
}

static void admin_settings_worker_start(struct worker *w)
{
    if (!duty_is_here(w, DUTY_SETTINGS))
        return;
    settings_writer = w;
    settings_restart_begin();
    settings_history_start(w);
    warn_missing();
}

static void admin_settings_worker_stop(struct worker *w)
{
    if (!duty_is_here(w, DUTY_SETTINGS))
        return;
    settings_history_stop();
    settings_restart_end();
    settings_writer = NULL;
}

/* Changes from the value of the node file to that of the database, or to the default. The row of a
 * domain has no value of its own while that for all domains is fixed. */
static void admin_settings_unlock(struct setting *s)
{
    struct why why;
    const struct stored *item = settings_stored_find(s);
    s->locked = false;
    if (item == NULL || settings_is_locked(s) ||
        setting_set(s, (slice){ item->value, item->len }, &why) != OK)
        setting_reset(s);
}

void settings_fail_unknown(struct command_call *call, slice name)
{
    struct similar similar;
    slice general, domain;
    const struct setting *s =
        slice_cut(name, '@', &general, &domain) ? setting_find(general) : NULL;
    if (s != NULL) {
        bool scoped = s->scope == SCOPE_DOMAIN;
        command_fail(call, E_NOTFOUND, "%.*s: %s", SLICE_ARG(name),
                     scoped ? "this node does not serve such a domain"
                            : "this setting has one value for all domains");
        return;
    }
    similar_init(&similar, general);
    for (s = setting_first(); s != NULL; s = s->next)
        if (s->general == NULL)
            similar_try(&similar, slice_of(s->name));
    command_fail(call, E_NOTFOUND, "%.*s: no such setting; `config show` lists them%s",
                 SLICE_ARG(name), similar_text(&similar).text);
}

/* The setting that the call names; NULL: the call has failed. */
struct setting *settings_named(struct command_call *call)
{
    slice name = command_arg(call, "setting");
    struct setting *s = setting_find(name);
    call->discreet = s == NULL || setting_is_secret(s); /* of an unknown name: perhaps a secret */
    if (s == NULL)
        settings_fail_unknown(call, name);
    return s;
}

static const struct setting_fixed *fixed_find(const struct setting_fixed *fixed, size_t count,
                                              const struct setting *s)
{
    for (size_t i = 0; i < count; i++) {
        if (fixed[i].setting == (s->general != NULL ? s->general : s) &&
            slice_eq(fixed[i].domain, s->domain))
            return &fixed[i];
    }
    return NULL;
}

void settings_fix(const struct setting_fixed *fixed, size_t count)
{
    struct why why;
    for (struct setting *s = setting_first(); s != NULL; s = s->next) {
        const struct setting_fixed *f = fixed_find(fixed, count, s);
        if (f != NULL) {
            s->locked = true;
            enum err e = setting_set(s, f->value, &why);
            ensure(e == OK); /* has been checked by the loader */
        } else if (s->locked || s->general != NULL) {
            admin_settings_unlock(s);
        }
    }
    warn_disagreement();
    warn_missing();
    if (settings_writer != NULL)
        settings_restart_look();
}

const struct feature settings_feature = {
    .name = "settings",
    .schema = &schema,
    .settings = (struct setting *const[]){ &settings_history_max, &settings_candidates_max, NULL },
    .commands =
        (struct command *const[]){
            &settings_set_command, &settings_get_command, &settings_show_command,
            &settings_reset_command, &settings_edit_command, &settings_drop_command,
            &settings_diff_command, &settings_candidate_command, &settings_apply_command,
            &settings_confirm_command, &settings_rollback_command, &settings_history_command,
            &settings_version_command, &settings_compare_command, NULL },
    .alarms = (struct alarm *const[]){ &settings_restart_alarm, &settings_waiting_alarm, NULL },
    .logs = (struct log_area *const[]){ &log_settings, NULL },
    .worker.start = admin_settings_worker_start,
    .worker.stop = admin_settings_worker_stop,
    .account.disown = settings_account_removing,
    .account.disowned = settings_account_deleted,
    .worker.access_changed = admin_settings_access_changed,
};
