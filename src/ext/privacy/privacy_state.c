#include "ext/privacy/privacy_state.h"
#include "account/account_life.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "ext/privacy/privacy_blocking.h"
#include "ext/privacy/privacy_lists.h"
#include "ext/privacy/privacy_policy.h"
#include "ext/privacy/privacy_portable.h"
#include "ext/privacy/privacy_stages.h"
#include "ext/privacy/privacy_viewer.h"
#include "home/here.h"
#include "session/session.h"
#include "store/store.h"
#include <assert.h>

/* The model: pure. */

struct rules *privacy_list(const struct privacy *p, slice name)
{
    if (p == NULL || name.len == 0)
        return p == NULL ? NULL : p->policy;
    struct rules *r = p->lists;
    while (r != NULL && !slice_eq(rules_name(r), name))
        r = r->next;
    return r;
}

uint32_t privacy_rules(const struct privacy *p)
{
    uint32_t n = p == NULL ? 0 : rules_count(p->policy);
    for (const struct rules *r = p == NULL ? NULL : p->lists; r != NULL; r = r->next)
        n += rules_count(r);
    return n;
}

uint32_t privacy_lists(const struct privacy *p)
{
    uint32_t n = 0;
    for (const struct rules *r = p == NULL ? NULL : p->lists; r != NULL; r = r->next)
        n++;
    return n;
}

static struct rules *list_make(struct privacy *p, slice name)
{
    struct rules *r = rules_create(name);
    if (name.len == 0) {
        p->policy = r;
    } else {
        r->next = p->lists;
        p->lists = r;
    }
    return r;
}

/* Takes a list out that has no rules. */
static struct rules *list_take(struct privacy *p, struct rules *r)
{
    struct rules **at = &p->lists;
    if (r == NULL || rules_count(r) > 0)
        return NULL;
    if (r == p->policy) {
        p->policy = NULL;
        return r;
    }
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    if (p->standard == r)
        p->standard = NULL;
    return r;
}

struct rules *privacy_apply(struct privacy *p, const struct privacy_delta *d)
{
    struct rules *r = privacy_list(p, d->list);
    if (d->op == PRIVACY_DEFAULT) {
        p->standard = d->list.len == 0 ? NULL : r;
        return NULL;
    }
    if (d->op == PRIVACY_POLICY) {
        p->share = d->share;
        p->others = d->others;
        return NULL;
    }
    if (r == NULL && d->op != PRIVACY_DROP && d->count > 0)
        r = list_make(p, d->list);
    if (r != NULL && d->op == PRIVACY_REPLACE)
        rules_clear(r);
    for (uint32_t i = 0; r != NULL && i < d->count; i++)
        if (d->op == PRIVACY_DROP)
            (void)rules_drop(r, d->rules[i].order);
        else
            rules_put(r, &d->rules[i]);
    return list_take(p, r);
}

void privacy_fini(struct privacy *p)
{
    while (p->lists != NULL) {
        struct rules *r = p->lists;
        p->lists = r->next;
        rules_destroy(&r);
    }
    rules_destroy(&p->policy);
    p->standard = NULL;
}

static bool privacy_state_is_empty(const struct privacy *p)
{
    return p->lists == NULL && p->policy == NULL && p->share == SHARE_DEFAULT &&
           p->others == OTHERS_DEFAULT;
}

/* Rows. */

static struct store_stmt stmt_lists_above = {
    .name = "privacy.lists-above",
    .params = "i",
    .cols = "i",
    .sql = "SELECT count(*) FROM (SELECT owner FROM privacy_rule WHERE list <> '' GROUP BY owner "
           "HAVING count(DISTINCT list) > $1) v",
};
static const struct setting_impact lists_above = { .stmt = &stmt_lists_above,
                                                   .what = "users with more lists" };
static struct store_stmt stmt_rules_above = {
    .name = "privacy.rules-above",
    .params = "i",
    .cols = "i",
    .sql = "SELECT count(*) FROM (SELECT owner FROM privacy_rule GROUP BY owner HAVING count(*) > "
           "$1) v",
};
static const struct setting_impact rules_above = { .stmt = &stmt_rules_above,
                                                   .what = "users with more rules" };
/* clang-format off */
struct setting privacy_lists_max = {
    .name = "privacy.lists-max", .scope = SCOPE_CLUSTER, .impact = &lists_above,
    .type = PARAM_INT, .def = 20, .min = 1, .max = 1000,
    .unit = "lists",
    .doc = "How many privacy lists (XEP-0016) a user may have. More are refused with "
           "resource-constraint.",
};
struct setting privacy_rules_max = {
    .name = "privacy.rules-max", .scope = SCOPE_CLUSTER, .impact = &rules_above,
    .type = PARAM_INT, .def = 2000, .min = 1, .max = 100000,
    .unit = "rules",
    .doc = "How many rules a user may have in all: blocked addresses (XEP-0191), items of privacy "
           "lists (XEP-0016), and allowed or blocked watchers. More are refused with "
           "resource-constraint.",
};

static struct store_stmt stmt_account = {
    .name = "privacy.account", .params = "i", .cols = "tii",
    .sql = "SELECT standard, share, others FROM privacy WHERE owner = $1",
};
static struct store_stmt stmt_rules = {
    .name = "privacy.rules", .params = "i", .cols = "tiitii",
    .sql = "SELECT list, ord, type, value, action, kinds FROM privacy_rule WHERE owner = $1",
};
static struct store_stmt stmt_put_account = {
    .name = "privacy.put-account", .params = "itii", .cols = "",
    .sql = "INSERT INTO privacy(owner, standard, share, others) VALUES($1, $2, $3, $4) "
           "ON CONFLICT(owner) DO UPDATE SET standard = excluded.standard, "
           "share = excluded.share, others = excluded.others",
};
static struct store_stmt stmt_put_standard = {
    .name = "privacy.put-standard", .params = "it", .cols = "",
    .sql = "INSERT INTO privacy(owner, standard, share, others) VALUES($1, $2, 0, 0) "
           "ON CONFLICT(owner) DO UPDATE SET standard = excluded.standard",
};
static struct store_stmt stmt_put = {
    .name = "privacy.put", .params = "itiitii", .cols = "",
    .sql = "INSERT INTO privacy_rule(owner, list, ord, type, value, action, kinds) "
           "VALUES($1, $2, $3, $4, $5, $6, $7) ON CONFLICT(owner, list, ord) DO UPDATE SET "
           "type = excluded.type, value = excluded.value, action = excluded.action, "
           "kinds = excluded.kinds",
};
static struct store_stmt stmt_drop = {
    .name = "privacy.drop", .params = "iti", .cols = "",
    .sql = "DELETE FROM privacy_rule WHERE owner = $1 AND list = $2 AND ord = $3",
};
static struct store_stmt stmt_drop_list = {
    .name = "privacy.drop-list", .params = "it", .cols = "",
    .sql = "DELETE FROM privacy_rule WHERE owner = $1 AND list = $2",
};
static struct store_stmt stmt_drop_all = {
    .name = "privacy.drop-all", .params = "i", .cols = "",
    .sql = "DELETE FROM privacy_rule WHERE owner = $1",
};
static struct store_stmt stmt_drop_lists = {
    .name = "privacy.drop-lists", .params = "i", .cols = "",
    .sql = "DELETE FROM privacy_rule WHERE owner = $1 AND list <> ''",
};
static struct store_stmt stmt_drop_standard = {
    .name = "privacy.drop-standard", .params = "i", .cols = "",
    .sql = "UPDATE privacy SET standard = '' WHERE owner = $1",
};
/* The policy, of which a file of accounts says nothing. */
static struct store_stmt stmt_inherit_policy = {
    .name = "privacy.inherit-policy", .params = "t", .cols = "",
    .sql = "UPDATE privacy SET owner = (SELECT id FROM account WHERE jid = $1) "
           "WHERE owner = (SELECT id FROM account WHERE jid = ' ' || $1)",
};
static struct store_stmt stmt_inherit_rules = {
    .name = "privacy.inherit-rules", .params = "t", .cols = "",
    .sql = "UPDATE privacy_rule SET owner = (SELECT id FROM account WHERE jid = $1) "
           "WHERE owner = (SELECT id FROM account WHERE jid = ' ' || $1)",
};
static struct store_stmt stmt_template = {
    .name = "privacy.template", .params = "tii", .cols = "",
    .sql = "INSERT INTO privacy(owner, standard, share, others) "
           "SELECT id, '', $2, $3 FROM account WHERE jid = $1 ON CONFLICT(owner) DO UPDATE SET "
           "share = excluded.share, others = excluded.others",
};
static struct store_stmt stmt_drop_account = {
    .name = "privacy.drop-account", .params = "i", .cols = "",
    .sql = "DELETE FROM privacy WHERE owner = $1",
};

/* The policies of others, which may allow the address what nobody else may. Their lists stay: these
 * grant nothing, and a block is for whoever has the address. */
static struct store_stmt stmt_forget = {
    .name = "privacy.forget", .params = "t", .cols = "",
    .sql = "DELETE FROM privacy_rule WHERE list = '' AND value = $1",
};

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE privacy(owner INTEGER PRIMARY KEY, standard TEXT NOT NULL, "
      "share INTEGER NOT NULL, others INTEGER NOT NULL);"
      "CREATE TABLE privacy_rule(owner INTEGER NOT NULL, list TEXT NOT NULL, "
      "ord INTEGER NOT NULL, type INTEGER NOT NULL, value TEXT NOT NULL, "
      "action INTEGER NOT NULL, kinds INTEGER NOT NULL, PRIMARY KEY(owner, list, ord)) "
      "WITHOUT ROWID;"
      "CREATE TABLE report(id INTEGER PRIMARY KEY, owner INTEGER NOT NULL, "
      "at_us INTEGER NOT NULL, reporter TEXT NOT NULL, jid TEXT NOT NULL, reason TEXT NOT NULL, "
      "text TEXT NOT NULL, ids TEXT NOT NULL);"
      "CREATE INDEX report_owner ON report(owner);",
      "CREATE TABLE privacy(owner BIGINT PRIMARY KEY, standard TEXT NOT NULL, "
      "share BIGINT NOT NULL, others BIGINT NOT NULL);"
      "CREATE TABLE privacy_rule(owner BIGINT NOT NULL, list TEXT NOT NULL, "
      "ord BIGINT NOT NULL, type BIGINT NOT NULL, value TEXT NOT NULL, "
      "action BIGINT NOT NULL, kinds BIGINT NOT NULL, PRIMARY KEY(owner, list, ord));"
      "CREATE TABLE report(id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
      "owner BIGINT NOT NULL, at_us BIGINT NOT NULL, reporter TEXT NOT NULL, jid TEXT NOT NULL, "
      "reason TEXT NOT NULL, text TEXT NOT NULL, ids TEXT NOT NULL);"
      "CREATE INDEX report_owner ON report(owner);" },
    { 2, "CREATE INDEX privacy_rule_policy ON privacy_rule(value) WHERE list = ''",
      "CREATE INDEX privacy_rule_policy ON privacy_rule(value) WHERE list = ''" },
    { 0 }
};
static struct store_stmt *const stmts[] = {
    &stmt_account, &stmt_rules, &stmt_put_account, &stmt_put_standard, &stmt_put, &stmt_drop,
    &stmt_drop_list, &stmt_drop_all, &stmt_drop_lists, &stmt_drop_standard, &stmt_drop_account,
    &stmt_inherit_policy, &stmt_inherit_rules, &stmt_forget, &report_stmts[0], &report_stmts[1],
    &report_stmts[2], &report_stmts[3], &report_stmts[4], &stmt_lists_above, &stmt_rules_above,
    &stmt_template, NULL,
};
/* type: RULE_JID */
static const struct store_address addresses[] = {
    { "privacy_rule", "value", .kind = STORE_JID, .beside = "owner list type", .own = "owner",
      .only = "type = 1" },
    { "report", "reporter", .kind = STORE_JID },
    { "report", "jid", .kind = STORE_JID },
    { 0 },
};
static const struct store_schema privacy_schema = {
    .feature = "privacy", .migrations = migrations, .stmts = stmts, .addresses = addresses,
};
static_assert((int)RULE_JID == 1, "in the condition above");
/* clang-format on */

void privacy_delta_store(struct store_batch *b, int64_t owner, const struct privacy *p,
                         const struct privacy_delta *d)
{
    static const struct privacy empty = { 0 };
    const struct privacy *old = p == NULL ? &empty : p;
    slice list = d->list.len == 0 ? SLICE("") : d->list;
    if (d->op == PRIVACY_DEFAULT) {
        STORE_ADD(b, &stmt_put_standard, 1, SV_I(owner), SV_T(list));
        return;
    }
    if (d->op == PRIVACY_POLICY) {
        slice standard = old->standard == NULL ? SLICE("") : rules_name(old->standard);
        STORE_ADD(b, &stmt_put_account, 1, SV_I(owner), SV_T(standard), SV_I(d->share),
                  SV_I(d->others));
        return;
    }
    if (d->op == PRIVACY_REPLACE)
        STORE_ADD(b, &stmt_drop_list, STORE_ANY_ROWS, SV_I(owner), SV_T(list));
    for (uint32_t i = 0; i < d->count; i++) {
        const struct rule *r = &d->rules[i];
        if (d->op == PRIVACY_DROP)
            STORE_ADD(b, &stmt_drop, STORE_ANY_ROWS, SV_I(owner), SV_T(list), SV_I(r->order));
        else
            STORE_ADD(b, &stmt_put, 1, SV_I(owner), SV_T(list), SV_I(r->order), SV_I(r->type),
                      SV_T(r->value.len == 0 ? SLICE("") : r->value), SV_I(r->action),
                      SV_I(r->kinds));
    }
}

/* Of an account. */

static unsigned account_slot, session_slot;

struct privacy *privacy_of(const struct account *a) { return a->state_of[account_slot]; }

struct privacy_session *privacy_session(const struct session *s)
{
    return s->state_of[session_slot];
}

struct privacy_session *privacy_session_new(struct session *s)
{
    ensure(session_here(s));
    if (s->state_of[session_slot] == NULL)
        s->state_of[session_slot] = mem_new(struct privacy_session);
    return s->state_of[session_slot];
}

static void privacy_load(struct account *a, struct store_batch *b) { privacy_rows_read(b, a->id); }

/* A row whose numbers are out of range is damage: it is left out, not trusted. */
static bool row_rule(const struct store_batch *b, unsigned stmt, uint32_t row, struct rule *r)
{
    int64_t type = store_int(b, stmt, row, 2), action = store_int(b, stmt, row, 4),
            kinds = store_int(b, stmt, row, 5);
    *r = (struct rule){ .value = store_text(b, stmt, row, 3),
                        .order = store_int(b, stmt, row, 1),
                        .type = (uint8_t)type,
                        .action = (uint8_t)action,
                        .kinds = (uint8_t)kinds };
    return type >= 0 && type <= RULE_SUBSCRIPTION && action >= 0 && action <= RULE_ASK &&
           kinds > 0 && kinds <= RULE_ALL && r->value.len <= UINT16_MAX &&
           store_text(b, stmt, row, 0).len <= UINT16_MAX;
}

void privacy_rows_read(struct store_batch *b, int64_t owner)
{
    STORE_ADD(b, &stmt_account, STORE_ANY_ROWS, SV_I(owner));
    STORE_ADD(b, &stmt_rules, STORE_ANY_ROWS, SV_I(owner));
}

struct privacy privacy_rows(const struct store_batch *b, unsigned first)
{
    struct privacy p = { 0 };
    struct rule rule;
    for (uint32_t row = 0; row < store_row_count(b, first + 1); row++)
        if (row_rule(b, first + 1, row, &rule))
            (void)privacy_apply(&p,
                                &(struct privacy_delta){ .op = PRIVACY_ADD,
                                                         .list = store_text(b, first + 1, row, 0),
                                                         .rules = &rule,
                                                         .count = 1 });
    if (store_row_count(b, first) > 0) {
        int64_t share = store_int(b, first, 0, 1), others = store_int(b, first, 0, 2);
        slice standard = store_text(b, first, 0, 0);
        p.standard = standard.len == 0 ? NULL : privacy_list(&p, standard);
        p.share = share >= 0 && share < SHARE_COUNT ? (uint8_t)share : SHARE_DEFAULT;
        p.others = others >= 0 && others < OTHERS_COUNT ? (uint8_t)others : OTHERS_DEFAULT;
    }
    return p;
}

static void privacy_loaded(struct account *a, const struct store_batch *b, unsigned first)
{
    ensure(account_here(a) && a->state_of[account_slot] == NULL);
    struct privacy p = privacy_rows(b, first);
    if (privacy_state_is_empty(&p))
        return;
    struct privacy *state = mem_new(struct privacy);
    *state = p;
    a->state_of[account_slot] = state;
}

static void privacy_unload(struct account *a)
{
    struct privacy *p = privacy_of(a);
    if (p == NULL)
        return;
    privacy_fini(p);
    mem_free(&a->state_of[account_slot]);
}

/* The policy is of the address, which an emptied account keeps. */
static void privacy_remove(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &stmt_drop_lists, STORE_ANY_ROWS, SV_I(a->id));
    STORE_ADD(b, &stmt_drop_standard, STORE_ANY_ROWS, SV_I(a->id));
}

static void privacy_inherit(struct store_batch *b, slice jid)
{
    STORE_ADD(b, &stmt_inherit_policy, STORE_ANY_ROWS, SV_T(jid));
    STORE_ADD(b, &stmt_inherit_rules, STORE_ANY_ROWS, SV_T(jid));
}

/* The first of the names is the default. */
static int64_t privacy_named(const char *const *names, slice text)
{
    int64_t at = 0;
    for (int64_t i = 1; names[i] != NULL; i++)
        if (slice_is(text, names[i]))
            at = i;
    return at;
}

static void privacy_template(struct store_batch *b, slice jid, const struct account_template *t)
{
    if (t->share.len > 0 || t->others.len > 0)
        STORE_ADD(b, &stmt_template, 1, SV_T(jid),
                  SV_I(privacy_named(privacy_share_names, t->share)),
                  SV_I(privacy_named(privacy_others_names, t->others)));
}

static void privacy_disown(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &stmt_drop_all, STORE_ANY_ROWS, SV_I(a->id));
    STORE_ADD(b, &stmt_drop_account, STORE_ANY_ROWS, SV_I(a->id));
    if (account_is_served(a))
        STORE_ADD(b, &stmt_forget, STORE_ANY_ROWS, SV_T(a->jid));
}

static void privacy_account_disowned(struct worker *w, slice bare)
{
    if (node_serves(worker_node(w), jid_split(bare).domain))
        accounts_each(w, policy_forget, bare);
}

static void privacy_freed(struct session *s)
{
    struct privacy_session *ps = privacy_session(s);
    struct privacy *p = privacy_of(s->account);
    if (ps != NULL && ps->active != NULL && p != NULL) {
        ensure(p->actives > 0);
        p->actives--;
    }
    mem_free(&s->state_of[session_slot]);
}

static void use_list(struct session *s, struct rules *list)
{
    struct privacy *p = privacy_of(s->account);
    struct privacy_session *ps = list == NULL ? privacy_session(s) : privacy_session_new(s);
    if (ps == NULL || p == NULL)
        return;
    ensure(ps->active == NULL || p->actives > 0);
    p->actives += (uint32_t)(list != NULL) - (uint32_t)(ps->active != NULL);
    ps->active = list;
}

void privacy_activate(struct session *s, struct rules *list)
{
    struct privacy_sight *before = privacy_look(s->account);
    ensure(session_here(s));
    use_list(s, list);
    privacy_told(s->account, before);
}

/* What a planned restart keeps: whether it asked for the block list, and its active list. */

static void privacy_save(const struct session *s, struct buf *out)
{
    const struct privacy_session *ps = privacy_session(s);
    if (ps == NULL)
        return;
    buf_add(out, ps->asked ? SLICE("+") : SLICE("-"));
    if (ps->active != NULL)
        buf_add(out, rules_name(ps->active));
}

static void privacy_restore(struct session *s, slice saved)
{
    if (saved.len == 0)
        return;
    slice name = slice_from(saved, 1);
    privacy_session_new(s)->asked = saved.ptr[0] == '+';
    if (name.len > 0)
        use_list(s, privacy_list(privacy_of(s->account), name));
}

/* Changes. */

static void forget_list(struct account *a, struct rules *gone)
{
    ensure(account_here(a) && gone != NULL);
    SESSIONS_EACH (s, a) {
        const struct privacy_session *ps = privacy_session(s);
        if (ps != NULL && ps->active == gone)
            use_list(s, NULL);
    }
    rules_destroy(&gone);
}

static void privacy_state_commit(struct account *a, const struct privacy_change *c)
{
    ensure(account_here(a));
    if (c->count == 0)
        return;
    if (privacy_of(a) == NULL)
        a->state_of[account_slot] = mem_new(struct privacy);
    struct privacy *p = privacy_of(a);
    struct privacy_sight *before = privacy_look(a);
    for (unsigned i = 0; i < c->count; i++) {
        struct rules *gone = privacy_apply(p, &c->delta[i]);
        if (gone != NULL)
            forget_list(a, gone);
    }
    privacy_told(a, before);
    if (privacy_state_is_empty(p))
        privacy_unload(a);
}

static enum err privacy_state_change_prepare(struct actor_change *base)
{
    struct privacy_change *c = (struct privacy_change *)base;
    struct account *a = account_of(base->actor);
    ensure(base->batch == NULL && c->plan != NULL);
    if (a->state != ACTOR_READY)
        return E_NOTFOUND; /* deleted meanwhile */
    c->plan(c, privacy_of(a));
    if (c->why.error != SE_NONE)
        return E_DENIED;
    if (c->count > 0 || c->store != NULL)
        base->batch = store_write(worker_store(a->worker), account_lane(a));
    for (unsigned i = 0; i < c->count; i++)
        privacy_delta_store(base->batch, a->id, privacy_of(a), &c->delta[i]);
    if (c->store != NULL)
        c->store(c, base->batch);
    return OK;
}

static void privacy_state_change_apply(struct actor_change *base, enum err e)
{
    struct privacy_change *c = (struct privacy_change *)base;
    ensure(base->actor->pins > 0 && c->done != NULL);
    if (e == OK)
        privacy_state_commit(account_of(base->actor), c);
    c->done(c, e);
}

struct privacy_change *privacy_change_new(struct iq *iq)
{
    struct privacy_change *c = mem_new(struct privacy_change);
    c->base.prepare = privacy_state_change_prepare;
    c->base.apply = privacy_state_change_apply;
    c->done = privacy_change_answer;
    c->arena = arena_create(0);
    c->iq = iq == NULL ? NULL : iq_hold(iq);
    return c;
}

void privacy_change_run(struct account *a, struct privacy_change *c)
{
    account_change(a, &c->base);
}

void privacy_change_end(struct privacy_change *c)
{
    arena_destroy(&c->arena);
    mem_free(&c);
}

void privacy_change_answer(struct privacy_change *c, enum err e)
{
    ensure(c->iq != NULL && c->iq->held);
    if (c->why.error != SE_NONE)
        iq_error_with(c->iq, c->why.error, c->why.text, c->why.app_xml);
    else if (e != OK)
        iq_error(c->iq, stanza_error_of(e), (slice){ 0 });
    else
        iq_result(c->iq, (slice){ 0 });
    privacy_change_end(c);
}

bool privacy_has_room(struct privacy_change *c, const struct privacy *p, uint32_t more,
                      uint32_t fewer)
{
    int64_t most = setting_int(&privacy_rules_max),
            count = (int64_t)privacy_rules(p) - fewer + more;
    if (count <= most || more <= fewer)
        return true;
    c->why.error = SE_RESOURCE_CONSTRAINT;
    c->why.text =
        slice_of(arena_printf(c->arena, "privacy.rules-max (%lld) is reached", (long long)most));
    return false;
}

static const char *const disco[] = { "urn:xmpp:blocking", NS_REPORTING, "jabber:iq:privacy",
                                     "urn:muster:policy:0", NULL };
#define AS_NOBODY                                                                                  \
    "a blocked sender gets the answers of an address without an account; for some requests that "  \
    "is another error than service-unavailable, or an empty list"
static const struct xep xeps[] = {
    { "0016", "1.6", "Privacy Lists", "0.1.0", "im/test_privacy", AS_NOBODY },
    { "0126", "1.1", "Invisibility", "0.1.0", "im/test_privacy", "by privacy lists" },
    { "0191", "1.1", "Blocking Command", "0.1.0", "im/test_blocking", AS_NOBODY },
    { "0377", "0.4.1", "Blocking Command Reports", "0.1.0", "im/test_blocking",
      "reports are kept for the operator and forwarded to nobody" },
    { 0 },
};

const struct feature privacy_feature = {
    .name = "privacy",
    .disco = disco,
    .disco_account = disco,
    .iq = privacy_iq,
    .xeps = xeps,
    .schema = &privacy_schema,
    .portable = &privacy_portable,
    .settings =
        (struct setting *const[]){ &privacy_lists_max, &privacy_rules_max, &presence_sharing,
                                   &presence_approval, &reports_max, NULL },
    .commands = (struct command *const[]){ &presence_view, &policy_show, &policy_set, &user_blocked,
                                           &report_list, &report_drop, NULL },
    .account.slot = &account_slot,
    .session.slot = &session_slot,
    .worker.slot = &policy_refresh_slot,
    .account.load = privacy_load,
    .account.loaded = privacy_loaded,
    .account.unload = privacy_unload,
    .account.remove = privacy_remove,
    .account.inherit = privacy_inherit,
    .account.template = privacy_template,
    .account.disown = privacy_disown,
    .account.disowned = privacy_account_disowned,
    .session.freed = privacy_freed,
    .worker.ended = policy_worker_ended,
    .session.save = privacy_save,
    .session.restore = privacy_restore,
    .stage.check = privacy_check,
    .stage.block = privacy_block,
    .stage.sends = privacy_sends,
    .stage.takes = privacy_takes,
    .stage.view = privacy_view,
    .stage.show = privacy_show,
    .stage.permit = policy_permit,
};
