#include "ext/federation/federation_user.h"
#include "account/account_life.h"
#include "account/guest.h"
#include "base/arena.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/setting.h"
#include "core/stage.h"
#include "ext/federation/federation_asked.h"
#include "ext/federation/federation_book.h"
#include "home/here.h"
#include "home/node.h"
#include "ops/users.h"
#include "presence/presence.h"
#include "presence/roster.h"
#include "presence/subscription.h"
#include "remote/foreign.h"
#include "session/session.h"
#include "session/session_queue.h"
#include "store/store.h"
#include "talk/offline.h"
#include "xmpp/subscription.h"

static void federation_user_changed(struct worker *w, const struct setting *s);

struct setting federation_users = {
    .name = "federation.users",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_BOOL,
    .def = 1,
    .max = 1,
    .changed = federation_user_changed,
    .doc = "Whether users communicate with other servers at all, where neither their own rule "
           "(`musterctl federation set`) nor that of their department or groups says otherwise.",
};
static struct store_stmt stmt_get = {
    .name = "federation.user",
    .sql = "SELECT coalesce(u.mode, 0), coalesce(u.domains, ''), a.department FROM account a "
           "LEFT JOIN federation_user u ON u.owner = a.id WHERE a.id = $1",
    .params = "i",
    .cols = "itt",
};
static struct store_stmt stmt_put = {
    .name = "federation.user-put",
    .sql = "INSERT INTO federation_user(owner, mode, domains) VALUES($1, $2, $3) "
           "ON CONFLICT(owner) DO UPDATE SET mode = excluded.mode, domains = excluded.domains",
    .params = "iit",
    .cols = "",
};
static struct store_stmt stmt_drop = {
    .name = "federation.user-drop",
    .sql = "DELETE FROM federation_user WHERE owner = $1",
    .params = "i",
    .cols = "",
};
static struct store_stmt stmt_inherit = {
    .name = "federation.user-inherit",
    .sql = "UPDATE federation_user SET owner = (SELECT id FROM account WHERE jid = $1) "
           "WHERE owner = (SELECT id FROM account WHERE jid = ' ' || $1)",
    .params = "t",
    .cols = "",
};
static struct store_stmt stmt_template = {
    .name = "federation.user-template",
    .sql = "INSERT INTO federation_user(owner, mode, domains) "
           "SELECT id, $2, '' FROM account WHERE jid = $1",
    .params = "ti",
    .cols = "",
};
static struct store_stmt stmt_drop_reports = {
    .name = "federation.user-reports-drop",
    .sql = "DELETE FROM federation_report WHERE owner = $1",
    .params = "i",
    .cols = "",
};
struct store_stmt *const federation_user_stmts[] = {
    &stmt_get, &stmt_put, &stmt_drop, &stmt_inherit, &stmt_drop_reports, &stmt_template, NULL
};

/* Of an account with a row in the database. It never changes: another one takes its place. */
struct federation_user {
    struct federation_rule own;
    struct federation_rule now; /* what applies, and what contacts were told by */
    slice department;
};

/* Most users have neither a rule nor a department, and share these. */
static const struct federation_user plain[FEDERATION_MODES] = {
    [FEDERATION_OFF].now.mode = FEDERATION_OFF,
    [FEDERATION_ON].now.mode = FEDERATION_ON,
};

unsigned federation_user_slot;

static const struct federation_user *federation_user(const struct account *a)
{
    return a->state_of[federation_user_slot];
}

/* One block, with the texts behind it. */
static const struct federation_user *user_keep(const struct federation_user *from)
{
    size_t texts = from->own.domains.len + from->now.domains.len + from->department.len;
    ensure(from->now.mode > FEDERATION_DEFAULT && from->now.mode < FEDERATION_MODES);
    if (texts == 0 && from->own.mode == FEDERATION_DEFAULT)
        return &plain[from->now.mode];
    struct federation_user *u = mem_alloc(sizeof *u + texts);
    char *at = (char *)(u + 1);
    *u = *from;
    u->own.domains = slice_lay(&at, from->own.domains);
    u->now.domains = slice_lay(&at, from->now.domains);
    u->department = slice_lay(&at, from->department);
    return u;
}

static void user_drop(const struct federation_user *u)
{
    if (u != NULL && u != &plain[u->now.mode])
        mem_free_((void *)(uintptr_t)u);
}

static void user_hold(struct account *a, const struct federation_user *u)
{
    a->state_of[federation_user_slot] = (void *)(uintptr_t)u;
}

/* to: its texts may be those of what was there before. */
static void user_put(struct account *a, const struct federation_user *to)
{
    const struct federation_user *old = federation_user(a);
    ensure(account_here(a) && old != NULL);
    user_hold(a, user_keep(to));
    user_drop(old);
}

static slice user_domain(const struct account *a) { return jid_split(a->jid).domain; }

/* The first that says something: the account itself, its department, a group of it. said: what it
 * is told by that rule. Texts are borrowed, or of the arena. */
static struct federation_rule user_rule_of(const struct account *a, struct arena *arena,
                                           const char **said)
{
    const struct federation_user *u = federation_user(a);
    struct federation_rule rule = { .mode = FEDERATION_DEFAULT };
    if (u != NULL && !account_is_guest(a)) {
        *said = FOREIGN_NOT_USER;
        rule = u->own;
        if (rule.mode == FEDERATION_DEFAULT) {
            *said = FOREIGN_NOT_DEPARTMENT;
            rule = federation_book_group(u->department, arena);
        }
        if (rule.mode == FEDERATION_DEFAULT) {
            *said = FOREIGN_NOT_GROUP;
            rule = federation_book_shared(a, arena, NULL);
        }
    }
    if (rule.mode == FEDERATION_DEFAULT)
        *said = account_is_guest(a) ? FOREIGN_NOT_USER : FOREIGN_NOT_USERS;
    return rule;
}

/* What applies to the account by all that is known now. */
static struct federation_rule user_rule(const struct account *a, struct arena *arena)
{
    const char *said;
    struct federation_rule rule = user_rule_of(a, arena, &said);
    bool on = account_is_guest(a) ? guest_may_leave(user_domain(a))
                                  : setting_bool_of(&federation_users, user_domain(a));
    if (rule.mode == FEDERATION_DEFAULT)
        rule.mode = on ? FEDERATION_ON : FEDERATION_OFF;
    return rule;
}

static bool user_allows(const struct account *a, const struct federation_rule *rule, slice address)
{
    slice domain = jid_split(address).domain;
    return rule->mode == FEDERATION_ON || !foreign_is(a->worker, domain) ||
           federation_rule_allows(rule, domain);
}

bool federation_may(const struct account *a, slice address)
{
    const struct federation_user *u = federation_user(a);
    ensure(account_here(a));
    if (address.len == 0)
        return true;
    if (u != NULL)
        return user_allows(a, &u->now, address);
    struct federation_rule rule = user_rule(a, loop_scratch(worker_loop(a->worker)));
    return user_allows(a, &rule, address);
}

slice federation_refusal(const struct account *a)
{
    const char *said;
    ensure(account_here(a));
    (void)user_rule_of(a, loop_scratch(worker_loop(a->worker)), &said);
    return slice_of(said);
}

/* Contacts are told of a change. */

static bool user_unwanted(const struct session *s, slice jid)
{
    return !federation_may(s->account, jid);
}

static void user_tell_contact(struct session *s, const struct roster_item *item, bool is)
{
    slice jid = roster_item_jid(item);
    bool told = is ? stage_view(s, jid) : !s->hidden; /* an invisible session tells neither */
    if (sub_is_seen(item->state) && told)
        presence_tell(s, jid, is ? TYPE_AVAILABLE : TYPE_UNAVAILABLE);
    if (!sub_sees(item->state))
        return;
    if (is) {
        presence_tell(s, jid, TYPE_PROBE);
        return;
    }
    struct stanza *st = stanza_make(STANZA_PRESENCE, TYPE_UNAVAILABLE, jid, session_bare(s),
                                    (slice){ 0 }, (slice){ 0 });
    session_deliver(s, st, 0, 0);
    stanza_unref(&st);
}

static void user_tell(struct account *a, const struct federation_rule *was)
{
    const struct roster *r = a->roster;
    const struct federation_rule *is = &federation_user(a)->now;
    ensure(account_here(a) && is->mode != FEDERATION_DEFAULT);
    for (uint32_t i = 0; account_available(a) > 0 && r != NULL && i < r->count; i++)
        if (!user_allows(a, was, roster_item_jid(r->items[i])))
            subscription_ask_again(a, roster_item_jid(r->items[i]));
    SESSIONS_EACH (s, a) {
        presence_directed_drop(s, user_unwanted);
        for (uint32_t i = 0; r != NULL && session_is_available(s) && i < r->count; i++) {
            slice jid = roster_item_jid(r->items[i]);
            bool may = user_allows(a, is, jid);
            if (may != user_allows(a, was, jid))
                user_tell_contact(s, r->items[i], may);
        }
        if (session_is_available(s) && s->priority >= 0)
            offline_again(s); /* messages that were refused until now */
    }
    presence_views_changed(a);
}

static void user_renew(struct account *a)
{
    struct arena *tmp = arena_create(0);
    const struct federation_user *old = federation_user(a);
    struct federation_user u = { old->own, user_rule(a, tmp), old->department };
    if (!federation_rule_is(&u.now, &old->now)) {
        user_hold(a, user_keep(&u));
        user_tell(a, &old->now);
        user_drop(old);
    }
    arena_destroy(&tmp);
}

static void user_refresh(struct account *a, slice unused)
{
    (void)unused;
    if (federation_user(a) != NULL)
        user_renew(a);
    federation_asked_judge(a);
}

static void user_judge(struct account *a, slice unused)
{
    (void)unused;
    federation_asked_judge(a);
}

void federation_users_judge(struct worker *w) { accounts_each(w, user_judge, (slice){ 0 }); }
void federation_users_refresh(struct worker *w) { accounts_each(w, user_refresh, (slice){ 0 }); }

void federation_users_regrouped(struct worker *w)
{
    if (!federation_book_has_shared())
        return;
    federation_users_refresh(w);
}

static void federation_user_changed(struct worker *w, const struct setting *s)
{
    (void)s;
    federation_users_refresh(w);
}

/* Loading. */

void federation_user_load(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &stmt_get, STORE_ANY_ROWS, SV_I(a->id));
}

static struct federation_rule user_row(const struct store_batch *b, unsigned stmt)
{
    int64_t mode = store_int(b, stmt, 0, 0);
    slice domains = store_text(b, stmt, 0, 1);
    bool sound = mode > FEDERATION_DEFAULT && mode < FEDERATION_MODES;
    return (struct federation_rule){ sound ? (enum federation_mode)mode : FEDERATION_DEFAULT,
                                     domains };
}

void federation_user_loaded(struct account *a, const struct store_batch *b, unsigned first)
{
    ensure(account_here(a) && federation_user(a) == NULL);
    if (store_row_count(b, first) == 0)
        return;
    struct arena *tmp = arena_create(0);
    struct federation_user u = { .own = user_row(b, first),
                                 .department = store_text(b, first, 0, 2) };
    user_hold(a, &u); /* user_rule() reads it */
    u.now = user_rule(a, tmp);
    user_hold(a, user_keep(&u));
    arena_destroy(&tmp);
}

void federation_user_unload(struct account *a)
{
    user_drop(federation_user(a));
    user_hold(a, NULL);
}

void federation_user_inherit(struct store_batch *b, slice jid)
{
    STORE_ADD(b, &stmt_inherit, STORE_ANY_ROWS, SV_T(jid));
}

void federation_user_template(struct store_batch *b, slice jid, const struct account_template *t)
{
    if (t->federation.len > 0)
        STORE_ADD(b, &stmt_template, 1, SV_T(jid),
                  SV_I(slice_is(t->federation, "on") ? FEDERATION_ON : FEDERATION_OFF));
}

void federation_user_disown(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &stmt_drop, STORE_ANY_ROWS, SV_I(a->id));
}

void federation_user_remove(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &stmt_drop_reports, STORE_ANY_ROWS, SV_I(a->id));
}

/* The department of a user may be another one. */

static void user_profile_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct account *a = arg;
    const struct federation_user *u = federation_user(a);
    ensure(account_is_pinned(a));
    if (result == STORE_OK && u != NULL && store_row_count(b, 0) > 0) {
        slice department = store_text(b, 0, 0, 2);
        if (!slice_eq(u->department, department)) {
            user_put(a, &(struct federation_user){ u->own, u->now, department });
            user_refresh(a, (slice){ 0 });
        }
    }
    account_unpin(a);
}

void federation_user_profile(struct worker *w, slice bare)
{
    struct account *a = account_find(w, bare);
    if (a == NULL || account_is_guest(a))
        return;
    account_pin(a);
    struct store_batch *b = store_read(worker_store(w), 0);
    STORE_ADD(b, &stmt_get, STORE_ANY_ROWS, SV_I(a->id));
    store_submit(b, worker_loop(w), 0, user_profile_read, a);
}

/* Commands. */

struct user_change {
    struct actor_change base;
    struct command_call *call;
    struct federation_rule rule;
};

static enum err user_change_prepare(struct actor_change *base)
{
    struct user_change *c = (struct user_change *)base;
    struct account *a = account_of(base->actor);
    if (a->state != ACTOR_READY || federation_user(a) == NULL)
        return E_NOTFOUND; /* deleted meanwhile */
    base->batch = store_write(worker_store(a->worker), account_lane(a));
    if (c->rule.mode == FEDERATION_DEFAULT)
        STORE_ADD(base->batch, &stmt_drop, STORE_ANY_ROWS, SV_I(a->id));
    else
        STORE_ADD(base->batch, &stmt_put, 1, SV_I(a->id), SV_I(c->rule.mode),
                  SV_T(c->rule.domains));
    return OK;
}

static void user_change_apply(struct actor_change *base, enum err e)
{
    struct user_change *c = (struct user_change *)base;
    struct account *a = account_of(base->actor);
    ensure(account_is_pinned(a) && c->call != NULL);
    if (e == OK) {
        const struct federation_user *u = federation_user(a);
        command_changed(c->call, federation_rule_text(&u->own, c->call->arena),
                        federation_rule_text(&c->rule, c->call->arena));
        user_put(a, &(struct federation_user){ c->rule, u->now, u->department });
        user_refresh(a, (slice){ 0 });
        command_done(c->call, "federation of %.*s: %s", SLICE_ARG(a->jid),
                     federation_mode_names[c->rule.mode]);
    } else {
        command_fail_cause(c->call, e, NULL);
    }
    mem_free(&c);
}

/* The account is there, and may be used; else the call has failed. */
static bool user_is_ready(struct command_call *call, const struct account *a, enum err e)
{
    if (e == OK && a->state == ACTOR_READY)
        return true;
    if (users_there(call, a, e))
        users_fail_disabled(call, command_arg(call, "jid"));
    return false;
}

static void user_change_rule(struct account *a, enum err e, void *arg)
{
    struct command_call *call = arg;
    if (!user_is_ready(call, a, e))
        return;
    struct user_change *c = mem_new(struct user_change);
    c->call = call;
    c->rule.mode = (enum federation_mode)command_number(call, "mode", FEDERATION_DEFAULT);
    c->rule.domains = federation_domains_prepared(command_arg(call, "domains"), call->arena);
    c->base.prepare = user_change_prepare;
    c->base.apply = user_change_apply;
    account_change(a, &c->base);
}

static void user_run_set(struct command_call *call)
{
    int64_t mode = command_number(call, "mode", FEDERATION_DEFAULT);
    if (!federation_mode_fits(call, mode, command_arg(call, "domains")))
        return;
    if (mode >= FEDERATION_ON)
        command_idle_while_off(call, "s2s.policy", "open");
    account_with(call->worker, command_arg(call, "jid"), user_change_rule, call);
}

static void user_show_row(struct command_call *call, slice what, const struct federation_rule *r)
{
    command_row(call);
    command_text(call, "what", what);
    command_text(call, "mode", slice_of(federation_mode_names[r->mode]));
    command_text(call, "domains", r->domains.ptr == NULL ? SLICE("") : r->domains);
}

static void user_show_rules(struct account *a, enum err e, void *arg)
{
    struct command_call *call = arg;
    if (!user_is_ready(call, a, e))
        return;
    const struct federation_user *u = federation_user(a);
    struct federation_rule rule = user_rule(a, call->arena);
    rule.domains = slice_dup(call->arena, rule.domains);
    if (u != NULL) {
        struct federation_rule own = { u->own.mode, slice_dup(call->arena, u->own.domains) };
        struct federation_rule group = federation_book_group(u->department, call->arena);
        slice name = { 0 };
        struct federation_rule shared = federation_book_shared(a, call->arena, &name);
        user_show_row(call, SLICE("user"), &own);
        user_show_row(call, SLICE("department"), &group);
        if (name.len > 0)
            user_show_row(call, name, &shared);
    }
    user_show_row(call, SLICE("applies"), &rule);
    command_done(call, "%s", "");
}

static void user_run_show(struct command_call *call)
{
    account_with(call->worker, command_arg(call, "jid"), user_show_rules, call);
}

static const struct command_arg show_args[] = { COMMAND_USER_ARG, { 0 } };
static const struct command_arg set_args[] = {
    COMMAND_USER_ARG,
    { .name = "mode",
      .kind = ARG_POSITIONAL,
      .type = PARAM_CHOICE,
      .choices = federation_mode_names,
      .doc = "default: as the department, a group or the domain; " FEDERATION_MODE_DOC },
    { .name = "domains",
      .kind = ARG_OPTION,
      .type = PARAM_TEXT,
      .max = FEDERATION_DOMAINS_BYTES,
      .check = federation_domains_ok,
      .form = FEDERATION_DOMAINS_FORM,
      .doc = "the domains for only or except" },
    { 0 },
};
struct command federation_set = {
    .name = "federation set",
    .rest = "PUT /users/{jid}/federation",
    .effect = COMMAND_CHANGES,
    .area = "federation",
    .args = set_args,
    .home = "jid",
    .run = user_run_set,
    .doc = "Says with which other servers a user may communicate. Contacts that the user may no "
           "longer reach see the user go offline at once; the contact list does not change.",
};
struct command federation_show = {
    .name = "federation show",
    .rest = "GET /users/{jid}/federation",
    .effect = COMMAND_READS,
    .area = "federation",
    .args = show_args,
    .home = "jid",
    .run = user_run_show,
    .doc = "Shows with which other servers a user may communicate: the rule of the user, that of "
           "the department, that of a group if it is in one with a rule, and what applies.",
    .columns =
        (const struct command_column[]){
            { .name = "what", .doc = "user, department, group:NAME, or what applies" },
            { .name = "mode", .doc = "default, off, on, only or except" },
            { .name = "domains", .doc = "the domains for only or except" },
            { 0 } },
};
