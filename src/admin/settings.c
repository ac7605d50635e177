#include "admin/settings.h"
#include "auth/seal.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/similar.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "im/account.h"
#include "im/feature.h"
#include "xmpp/jid.h"

static struct log_area log_settings = { .name = "settings" };

static struct alarm restart_alarm = {
    .name = "settings.restart",
    .severity = ALARM_WARNING,
    .text = "A changed setting applies only after a restart.",
    .action = "Restart the part that `musterctl get NAME` names.",
};

static struct store_stmt stmt_all = {
    .name = "setting.all",
    .sql = "SELECT name, value FROM setting ORDER BY name",
    .params = "",
    .cols = "tt",
};
static struct store_stmt stmt_put = {
    .name = "setting.put",
    .sql = "INSERT INTO setting (name, value) VALUES ($1, $2) "
           "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    .params = "tt",
    .cols = "",
};
static struct store_stmt stmt_del = {
    .name = "setting.del",
    .sql = "DELETE FROM setting WHERE name = $1",
    .params = "t",
    .cols = "",
};

/* All names with a prefix: from "muc." up to, but without, "muc/". */
static struct store_stmt stmt_del_prefix = {
    .name = "setting.del-prefix",
    .sql = "DELETE FROM setting WHERE name >= $1 AND name < $2",
    .params = "tt",
    .cols = "",
};

static struct store_stmt stmt_account = {
    .name = "setting.account",
    .sql = "SELECT id FROM account WHERE jid = $1",
    .params = "t",
    .cols = "i",
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

static const char create_setting[] =
    "CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL)";
static const struct store_migration migrations[] = {
    { .version = 1, .sqlite = create_setting, .pgsql = create_setting },
    { .version = 2, /* from this version on, secrets are sealed (auth/seal.h) */
      .sqlite = "DELETE FROM setting WHERE name = 'extdisco.turn-secret'",
      .pgsql = "DELETE FROM setting WHERE name = 'extdisco.turn-secret'" },
    { 0 },
};
static const struct store_schema schema = {
    .feature = "settings",
    .migrations = migrations,
    .addresses =
        (const struct store_address[]){
            { "setting", "name", .kind = STORE_JID, .beside = "", .only = "name LIKE '%@%'",
              .not_alone = true }, /* NAME@DOMAIN */
            { "setting", "value", .kind = STORE_JID_LIST, .separator = ' ',
              .only = "name IN ('admin.accounts', 'guest.domains', 'push.services', "
                      "'service.blacklist', 'service.whitelist')" },
            { "setting", "value", .kind = STORE_WRITTEN, .beside = "name" },
            { 0 } },
    .stmts = (struct store_stmt *const[]){ &stmt_all, &stmt_put, &stmt_del, &stmt_del_prefix,
                                           &stmt_account, &stmt_without, NULL },
};

/* The table in memory. It has the value for a setting that is no longer locked after a reload. */
struct stored {
    struct stored *next;
    struct setting *setting;
    size_t len;
    char value[];
};
static struct stored *stored_first;

static void stored_drop(const struct setting *s)
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

static void stored_put(struct setting *s, slice value)
{
    stored_drop(s);
    struct stored *item = mem_alloc(sizeof *item + value.len);
    *item = (struct stored){ .next = stored_first, .setting = s, .len = value.len };
    if (value.len > 0)
        memcpy(item->value, value.ptr, value.len);
    stored_first = item;
}

static const struct stored *stored_find(const struct setting *s)
{
    const struct stored *item = stored_first;
    while (item != NULL && item->setting != s)
        item = item->next;
    return item;
}

/* The node file fixes it, or the value for all domains. */
static bool admin_settings_is_locked(const struct setting *s)
{
    return s->locked || (s->general != NULL && s->general->locked);
}

static slice admin_settings_context_of(const struct setting *s, struct arena *tmp)
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
    if (setting_is_secret(s) && !unseal(&value, value, admin_settings_context_of(s, tmp), tmp)) {
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
    stored_put(s, value);
    if (!admin_settings_is_locked(s) && setting_set(s, value, &why) != OK)
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
    struct store_batch *b = store_read(store, 0);
    store_add(b, &stmt_all, STORE_ANY_ROWS, NULL, 0);
    struct arena *arena = arena_create(0);
    enum store_result result = store_run(b, admin_settings_loaded, arena);
    arena_destroy(&arena);
    if (result == STORE_OK) {
        warn_disagreement();
        return OK;
    }
    why_set(why, "the settings in the database cannot be read: %s", store_result_name(result));
    return E_DOWN;
}

/* Lists of accounts (`accounts`). */

static struct worker *writer; /* the home of DUTY_SETTINGS, while it runs */

/* The next word of the list that is an address of ours. */
static bool next_account(const struct node *n, slice *list, slice *jid)
{
    while (slice_word(list, jid))
        if (node_serves(n, jid_split(*jid).domain))
            return true;
    return false;
}

/* Adds one read for each address of ours in the list. */
static void read_accounts(struct store_batch *b, const struct node *n, slice list)
{
    slice jid;
    while (next_account(n, &list, &jid))
        STORE_ADD(b, &stmt_account, STORE_ANY_ROWS, SV_T(jid));
}

/* The next address whose read found no account; *stmt is the next statement of the batch. */
static bool next_missing(const struct store_batch *b, unsigned *stmt, const struct node *n,
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
    if (result != STORE_OK || writer == NULL || s == NULL) /* NULL: changed meanwhile */
        return;
    while (next_missing(b, &stmt, worker_node(writer), &list, &jid))
        log_warn(&log_settings, LOG_EV("setting.no_account"), LOG_C("name", s->name),
                 LOG_S("account", jid),
                 LOG_C("hint", "whoever gets this address later has what the setting gives; take "
                               "it out of the setting, or make the account with `user add`"));
}

/* An account in the node file that does not exist is not refused: the node file is there first. */
static void warn_missing(void)
{
    for (struct setting *s = setting_first(); s != NULL && writer != NULL; s = s->next) {
        const char *text = setting_has_accounts(s) ? setting_text(s) : "";
        struct store_batch *b = store_read(worker_store(writer), 0);
        read_accounts(b, worker_node(writer), slice_of(text));
        if (store_stmt_count(b) > 0)
            store_submit(b, worker_loop(writer), 0, missing_read, (void *)text);
        else
            store_drop(&b);
    }
}

static slice without(slice list, slice word, struct arena *tmp)
{
    slice one;
    const char *text = "";
    while (slice_word(&list, &one))
        if (!slice_eq(one, word))
            text = arena_printf(tmp, "%s%s%.*s", text, *text == '\0' ? "" : " ", SLICE_ARG(one));
    return slice_of(text);
}

/* A later account with that name is another user. */
static void admin_settings_removing(struct account *a, struct store_batch *b)
{
    for (const struct setting *s = setting_first(); s != NULL; s = s->next)
        if (setting_has_accounts(s))
            STORE_ADD(b, &stmt_without, STORE_ANY_ROWS, SV_T(slice_of(s->name)), SV_T(a->jid));
}

static bool admin_settings_names(slice list, slice jid)
{
    slice one;
    while (slice_word(&list, &one))
        if (slice_eq(one, jid))
            return true;
    return false;
}

static void admin_settings_take_out(struct setting *s, slice jid, struct arena *tmp)
{
    struct why why;
    const struct stored *item = stored_find(s);
    bool named = admin_settings_names(slice_of(setting_text(s)), jid);
    if (item != NULL)
        stored_put(s, without((slice){ item->value, item->len }, jid, tmp));
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
    enum err e = setting_set(s, without(slice_of(setting_text(s)), jid, tmp), &why);
    ensure(e == OK); /* a part of a list that is allowed */
    log_info(&log_settings, LOG_EV("setting.account_deleted"), LOG_C("name", s->name),
             LOG_S("account", jid));
}

static void admin_settings_account_deleted(struct worker *w, slice bare)
{
    if (!duty_is_here(w, DUTY_SETTINGS)) /* settings are changed on one worker */
        return;
    struct arena *tmp = arena_create(0);
    for (struct setting *s = setting_first(); s != NULL; s = s->next)
        if (setting_has_accounts(s))
            admin_settings_take_out(s, bare, tmp);
    arena_destroy(&tmp);
}

static void admin_settings_worker_start(struct worker *w)
{
    if (!duty_is_here(w, DUTY_SETTINGS))
        return;
    writer = w;
    warn_missing();
}

static void admin_settings_worker_stop(struct worker *w)
{
    if (duty_is_here(w, DUTY_SETTINGS))
        writer = NULL;
}

/* Changes from the value of the node file to that of the database, or to the default. The row of a
 * domain has no value of its own while that for all domains is fixed. */
static void admin_settings_unlock(struct setting *s)
{
    struct why why;
    const struct stored *item = stored_find(s);
    s->locked = false;
    if (item == NULL || admin_settings_is_locked(s) ||
        setting_set(s, (slice){ item->value, item->len }, &why) != OK)
        setting_reset(s);
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
}

/* A `set` that waits for the store. Lives in the arena of its call. */
struct change {
    struct command_call *call;
    struct setting *setting;
    slice value; /* ptr NULL: back to the default */
};

static void admin_settings_apply(const struct change *ch)
{
    struct setting *s = ch->setting;
    struct why why;
    if (ch->value.ptr == NULL) {
        stored_drop(s);
        setting_reset(s);
    } else {
        stored_put(s, ch->value);
        enum err e = setting_set(s, ch->value, &why);
        ensure(e == OK); /* has been checked before it was stored */
    }
}

static void change_stored(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)b;
    const struct change *ch = arg;
    struct setting *s = ch->setting;
    char value[SETTING_BYTES_MAX];
    if (result != STORE_OK) {
        command_fail(ch->call, E_DOWN, "%s was not changed: the database answers %s", s->name,
                     store_result_name(result));
        return;
    }
    if (admin_settings_is_locked(s)) { /* a reload has locked it in the meantime */
        command_fail(ch->call, E_CONFLICT, "%s: now fixed by the node file", s->name);
        return;
    }
    admin_settings_apply(ch);
    setting_format(s, value, sizeof value);
    if (s->restart != NULL) {
        alarm_raise(&restart_alarm, slice_of(s->name));
        command_done(ch->call, "%s is %s after a restart of: %s", s->name, value, s->restart);
    } else {
        command_done(ch->call, "%s is %s", s->name, *value != '\0' ? value : "empty");
    }
}

static void admin_settings_fail_unknown(struct command_call *call, slice name)
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
static struct setting *named_setting(struct command_call *call)
{
    slice name = command_arg(call, "setting");
    struct setting *s = setting_find(name);
    call->discreet = s == NULL || setting_is_secret(s); /* of an unknown name: perhaps a secret */
    if (s == NULL)
        admin_settings_fail_unknown(call, name);
    return s;
}

static void admin_settings_add_put(struct store_batch *b, const struct setting *s, slice value,
                                   struct arena *tmp)
{
    if (setting_is_secret(s))
        value = seal(value, admin_settings_context_of(s, tmp), tmp);
    STORE_ADD(b, &stmt_put, 1, SV_T(slice_of(s->name)), SV_T(value));
}

/* Refuses clients of administrators a setting that names a file of the host: with the password of
 * an administrator, an attacker could read and write files. With a token of one, one could make
 * another, which gives the first a new password. False: the call has failed. */
static bool is_for(struct command_call *call, const struct setting *s)
{
    if (call->remote && setting_is_local(s))
        command_fail(call, E_DENIED, "%s: changed with musterctl at the server only", s->name);
    else if (call->by_token && setting_has_accounts(s))
        command_fail(call, E_DENIED,
                     "%s: this client logged in with a token; log in with the password, or use "
                     "musterctl",
                     s->name);
    return !call->ended;
}

static bool admin_settings_may_change(struct command_call *call, const struct setting *s)
{
    if (!admin_settings_is_locked(s))
        return is_for(call, s);
    command_fail(call, E_DENIED, "%s: fixed by the node file; change it there and reload", s->name);
    return false;
}

static void admin_settings_store_change(const struct change *ch)
{
    struct store_batch *b =
        store_write(worker_store(writer), hash_keyed(slice_of(ch->setting->name)));
    if (ch->value.ptr == NULL)
        STORE_ADD(b, &stmt_del, STORE_ANY_ROWS, SV_T(slice_of(ch->setting->name)));
    else
        admin_settings_add_put(b, ch->setting, ch->value, ch->call->arena);
    store_submit(b, worker_loop(writer), 0, change_stored, (void *)ch);
}

static void accounts_read(void *arg, enum store_result result, const struct store_batch *b)
{
    const struct change *ch = arg;
    slice jid, list = ch->value;
    unsigned stmt = 0;
    if (result != STORE_OK)
        command_fail(ch->call, err_of_store(result), "the accounts cannot be looked up");
    else if (next_missing(b, &stmt, worker_node(writer), &list, &jid))
        command_fail(ch->call, E_NOTFOUND,
                     "%s: found %.*s, which is no account; `user add` makes it first",
                     ch->setting->name, SLICE_ARG(jid));
    else
        admin_settings_store_change(ch);
}

static void admin_settings_run_set(struct command_call *call)
{
    struct worker *w = call->worker;
    struct why why;
    struct setting *s = named_setting(call);
    if (s == NULL)
        return;
    slice value = command_arg(call, "value");
    if ((value.ptr == NULL) != command_flag(call, "default")) {
        command_fail(call, E_SYNTAX, "%s: give either a value or --default", s->name);
        return;
    }
    if (!admin_settings_may_change(call, s))
        return;
    const struct setting_change wanted = { s, value };
    enum err e = value.ptr == NULL ? OK : setting_check(s, value, &why);
    if (e == OK)
        e = setting_agree(&wanted, 1, &why);
    if (e == OK && value.len >= SETTING_BYTES_MAX) {
        why_set(&why, "%s: found %zu bytes, allowed less than %d", s->name, value.len,
                SETTING_BYTES_MAX);
        e = E_LIMIT;
    }
    if (e == OK && setting_is_secret(s) && value.ptr != NULL && !seal_ready()) {
        why_set(&why, "%s: the key in secrets.key cannot be used; `alarm list` says what to do",
                s->name);
        e = E_DOWN;
    }
    if (e != OK) {
        command_fail(call, e, "%s", why.text);
        return;
    }
    struct change *ch = arena_new(call->arena, struct change, 1);
    *ch = (struct change){ call, s, value };
    struct store_batch *b = store_read(worker_store(w), 0);
    if (setting_has_accounts(s))
        read_accounts(b, worker_node(w), value);
    if (store_stmt_count(b) > 0) {
        store_submit(b, worker_loop(w), 0, accounts_read, ch);
    } else {
        store_drop(&b);
        admin_settings_store_change(ch);
    }
}

/* A `config reset` that waits for the store. Lives in the arena of its call. */
struct reset {
    struct command_call *call;
    slice first, end; /* of the names */
};

static bool in_range(const struct reset *r, const struct setting *s)
{
    return slice_starts(slice_of(s->name), r->first);
}

static void reset_stored(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)b;
    const struct reset *r = arg;
    int locked = 0, count = 0;
    if (result != STORE_OK) {
        command_fail(r->call, E_DOWN, "not applied: the database answers %s",
                     store_result_name(result));
        return;
    }
    for (struct setting *s = setting_first(); s != NULL; s = s->next) {
        bool was_set = stored_find(s) != NULL;
        if (!in_range(r, s) || (setting_is_open(s) && !was_set))
            continue;
        stored_drop(s);
        count++;
        locked += admin_settings_is_locked(s);
        if (admin_settings_is_locked(s))
            continue;
        setting_reset(s);
        if (was_set && s->restart != NULL)
            alarm_raise(&restart_alarm, slice_of(s->name));
    }
    command_done(r->call, "settings that have their defaults: %d; fixed by the node file: %d",
                 count - locked, locked);
}

/* Collects the changes, without settings that the node file locks. Returns the number of settings
 * with the prefix. */
static size_t reset_changes(const struct reset *r, struct setting_change **out, size_t *changes)
{
    size_t count = 0;
    *changes = 0;
    for (const struct setting *s = setting_first(); s != NULL; s = s->next)
        count += in_range(r, s);
    *out = arena_new(r->call->arena, struct setting_change, count);
    for (const struct setting *s = setting_first(); s != NULL; s = s->next) {
        if (in_range(r, s) && !admin_settings_is_locked(s))
            (*out)[(*changes)++].setting = s;
    }
    return count;
}

static void admin_settings_run_reset(struct command_call *call)
{
    struct worker *w = call->worker;
    slice prefix = command_arg(call, "prefix");
    struct reset *r = arena_new(call->arena, struct reset, 1);
    struct setting_change *change;
    size_t changes;
    struct why why;
    *r = (struct reset){
        .call = call,
        .first = slice_of(arena_printf(call->arena, "%.*s.", SLICE_ARG(prefix))),
        .end = slice_of(arena_printf(call->arena, "%.*s/", SLICE_ARG(prefix))), /* '.' + 1 */
    };
    if (reset_changes(r, &change, &changes) == 0) {
        command_fail(call, E_NOTFOUND,
                     "%.*s: no setting begins like that; `config show` lists them",
                     SLICE_ARG(prefix));
        return;
    }
    for (size_t i = 0; i < changes; i++)
        if (stored_find(change[i].setting) != NULL && !is_for(call, change[i].setting))
            return;
    if (changes > 0 && setting_agree(change, changes, &why) != OK) {
        command_fail(call, E_CONFLICT, "%s", why.text);
        return;
    }
    struct store_batch *b = store_write(worker_store(w), hash_keyed(prefix));
    STORE_ADD(b, &stmt_del_prefix, STORE_ANY_ROWS, SV_T(r->first), SV_T(r->end));
    store_submit(b, worker_loop(w), 0, reset_stored, r);
}

/* What applies without a value of its own. */
static void default_text(const struct setting *s, char *out, size_t cap)
{
    if (s->general != NULL) {
        setting_format(s->general, out, cap);
        return;
    }
    struct setting row = { .param = s->param, .value = s->def, .text = s->def_text };
    setting_format(&row, out, cap);
}

static const char *source(const struct setting *s)
{
    if (setting_is_open(s))
        s = s->general;
    return s->locked ? "node file" : stored_find(s) != NULL ? "database" : "default";
}

static void admin_settings_add_setting(struct command_call *call, const struct setting *s)
{
    char value[SETTING_BYTES_MAX], def[SETTING_BYTES_MAX];
    setting_format(s, value, sizeof value);
    default_text(s, def, sizeof def);
    command_row(call);
    command_text(call, "name", slice_of(s->name));
    command_text(call, "type", slice_of(param_type_name(s->type)));
    command_text(call, "value", slice_of(value));
    command_text(call, "default", slice_of(def));
    command_text(call, "source", slice_of(source(s)));
    command_bool(call, "locked", admin_settings_is_locked(s));
    command_bool(call, "changed", strcmp(value, def) != 0);
}

static void run_get(struct command_call *call)
{
    char range[SETTING_BYTES_MAX];
    const struct setting *s = named_setting(call);
    if (s == NULL)
        return;
    admin_settings_add_setting(call, s);
    setting_range(s, range, sizeof range);
    command_text(call, "allowed", slice_of(range));
    command_text(call, "scope", slice_of(setting_scope_name(s)));
    command_text(call, "restart", slice_of(s->restart != NULL ? s->restart : "no"));
    command_text(call, "doc", slice_of(s->doc));
    command_done(call, "%s", "");
}

static void admin_settings_run_show(struct command_call *call)
{
    bool only_changed = command_flag(call, "changed"), found = false;
    slice prefix = command_arg(call, "prefix");
    for (const struct setting *s = setting_first(); s != NULL; s = s->next) {
        if (!slice_starts(slice_of(s->name), prefix) || setting_is_open(s))
            continue;
        found = true;
        if (!only_changed || s->locked || stored_find(s) != NULL)
            admin_settings_add_setting(call, s);
    }
    if (!found)
        admin_settings_fail_unknown(call, prefix);
    else
        command_done(call, "%s", call->rows != NULL ? "" : "all of them have their defaults");
}

static struct command set_command = {
    .name = "set",
    .effect = COMMAND_CHANGES,
    .area = "settings",
    .args =
        (const struct command_arg[]){
            { .name = "setting",
              .kind = ARG_POSITIONAL,
              .refers = REFERS_SETTING,
              .doc = "name of the setting; for one domain NAME@DOMAIN" },
            { .name = "value",
              .kind = ARG_OPTIONAL,
              .refers = REFERS_SETTING_VALUE,
              .doc = "its new value" },
            { .name = "default",
              .kind = ARG_FLAG,
              .type = PARAM_BOOL,
              .doc = "set it back to the default, or for one domain to the value of all" },
            { 0 },
        },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_SETTINGS,
    .run = admin_settings_run_set,
    .doc = "Changes a setting and stores it in the database. It applies at once, unless `get` says "
           "that a restart is needed. Settings with the scope domain can have another value for "
           "the users of one domain: `set register.enabled@example.org off`.",
};
static struct command get_command = {
    .name = "get",
    .effect = COMMAND_READS,
    .area = "settings",
    .args =
        (const struct command_arg[]){
            { .name = "setting",
              .kind = ARG_POSITIONAL,
              .refers = REFERS_SETTING,
              .doc = "name of the setting; for one domain NAME@DOMAIN" },
            { 0 },
        },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_SETTINGS,
    .run = run_get,
    .doc = "Shows a setting: its value, description and allowed values.",
    .record = true,
    .columns =
        (const struct command_column[]){
            { .name = "name", .doc = "its name" },
            { .name = "type", .doc = "what its values are" },
            { .name = "value", .doc = "its value" },
            { .name = "default", .doc = "its default" },
            { .name = "source",
              .doc = "where the value comes from: node file, database or default" },
            { .name = "locked", .type = PARAM_BOOL, .doc = "whether the node file fixes it" },
            { .name = "changed", .type = PARAM_BOOL, .doc = "whether it is not the default" },
            { .name = "allowed", .doc = "what is allowed" },
            { .name = "scope", .doc = "how far it reaches: cluster, node or domain" },
            { .name = "restart", .doc = "what must be restarted after a change, or no" },
            { .name = "doc", .doc = "what it does" },
            { 0 } },
};
static struct command show_command = {
    .name = "config show",
    .effect = COMMAND_READS,
    .area = "settings",
    .args =
        (const struct command_arg[]){
            { .name = "prefix",
              .kind = ARG_OPTIONAL,
              .doc = "first part of their names: muc, c2s.tls, ..." },
            { .name = "changed",
              .kind = ARG_FLAG,
              .type = PARAM_BOOL,
              .doc = "only settings in the node file or the database" },
            { 0 },
        },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_SETTINGS,
    .run = admin_settings_run_show,
    .doc = "Lists settings, their values, and where these come from: all, or those that begin with "
           "PREFIX.",
    .columns =
        (const struct command_column[]){
            { .name = "name", .doc = "its name" },
            { .name = "type", .wide = true, .doc = "what its values are" },
            { .name = "value", .doc = "its value" },
            { .name = "default", .doc = "its default" },
            { .name = "source",
              .doc = "where the value comes from: node file, database or default" },
            { .name = "locked",
              .wide = true,
              .type = PARAM_BOOL,
              .doc = "whether the node file fixes it" },
            { .name = "changed",
              .wide = true,
              .type = PARAM_BOOL,
              .doc = "whether it is not the default" },
            { 0 } },
};
static struct command reset_command = {
    .name = "config reset",
    .effect = COMMAND_CHANGES,
    .area = "settings",
    .asks = "These settings lose the values that were set.",
    .args =
        (const struct command_arg[]){
            { .name = "prefix",
              .kind = ARG_POSITIONAL,
              .doc = "first part of their names: muc, c2s, ..." },
            { 0 },
        },
    .runs_at = COMMAND_DUTY,
    .duty = DUTY_SETTINGS,
    .run = admin_settings_run_reset,
    .doc =
        "Sets settings back to their defaults: all that begin with PREFIX, at once, except those "
        "in the node file. After `config reset muc`, existing rooms keep their configuration. If "
        "one of them is not for the client of an administrator, that client resets none.",
};

const struct feature settings_feature = {
    .name = "settings",
    .schema = &schema,
    .commands = (struct command *const[]){ &set_command, &get_command, &show_command,
                                           &reset_command, NULL },
    .alarms = (struct alarm *const[]){ &restart_alarm, NULL },
    .logs = (struct log_area *const[]){ &log_settings, NULL },
    .worker.start = admin_settings_worker_start,
    .worker.stop = admin_settings_worker_stop,
    .account.remove = admin_settings_removing,
    .account.deleted = admin_settings_account_deleted,
};
