#include "ext/mam/mam_prefs.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "ext/mam/mam.h"
#include "home/here.h"
#include "presence/roster.h"
#include "presence/roster_view.h"
#include "xmpp/ns.h"

enum { JIDS_MAX = 1000, LIST_BYTES_MAX = 256 << 10 };

const char *const mam_defaults[] = {
    [MAM_ALWAYS] = "always", [MAM_ROSTER] = "roster", [MAM_NEVER] = "never", NULL
};

/* Addresses end with a newline, which none of them can have. */
struct prefs {
    enum mam_default def;
    slice always, never; /* in this block */
    char text[];
};

unsigned mam_prefs_slot;

static struct store_stmt prefs_put = {
    .name = "mam.prefs-put",
    .sql = "INSERT INTO mam_prefs(owner, preference, always, never) VALUES($1, $2, $3, $4)"
           " ON CONFLICT(owner) DO UPDATE SET preference = excluded.preference,"
           " always = excluded.always, never = excluded.never",
    .params = "iitt",
    .cols = "",
};
static struct store_stmt prefs_read = {
    .name = "mam.prefs",
    .sql = "SELECT preference, always, never FROM mam_prefs WHERE owner = $1",
    .params = "i",
    .cols = "itt",
};
static struct store_stmt prefs_delete = {
    .name = "mam.prefs-delete",
    .sql = "DELETE FROM mam_prefs WHERE owner = $1",
    .params = "i",
    .cols = "",
};
#define ADDRESSES(list) "CAST(length(" list ") - length(replace(" list ", '\n', '')) AS BIGINT)"
static struct store_stmt prefs_list = {
    .name = "mam.prefs-list",
    .sql = "SELECT account.jid, preference, " ADDRESSES("always") ", " ADDRESSES(
        "never") " FROM mam_prefs JOIN account ON account.id = mam_prefs.owner"
                 " WHERE account.jid > $1 ORDER BY account.jid LIMIT $2",
    .params = "ti",
    .cols = "tiii",
};
static struct store_stmt prefs_by_jid = {
    .name = "mam.prefs-by-jid",
    .sql = "SELECT preference, trim(replace(always, '\n', ' ')), trim(replace(never, '\n', ' '))"
           " FROM mam_prefs WHERE owner = (SELECT id FROM account WHERE account.jid = $1)",
    .params = "t",
    .cols = "itt",
};
struct store_stmt *const mam_prefs_stmts[] = { &prefs_put,  &prefs_read,   &prefs_delete,
                                               &prefs_list, &prefs_by_jid, NULL };

static struct prefs *prefs_of(const struct account *a) { return a->state_of[mam_prefs_slot]; }

/* The choice of the user, as long as users may have one. */
static const struct prefs *prefs_in_force(const struct account *a)
{
    return setting_bool(&mam_users_choose) ? prefs_of(a) : NULL;
}

static struct prefs *prefs_make(enum mam_default def, slice always, slice never)
{
    struct prefs *p = mem_alloc(sizeof *p + always.len + never.len);
    p->def = def;
    p->always = (slice){ p->text, always.len };
    p->never = (slice){ p->text + always.len, never.len };
    if (always.len > 0)
        memcpy(p->text, always.ptr, always.len);
    if (never.len > 0)
        memcpy(p->text + always.len, never.ptr, never.len);
    return p;
}

static enum mam_default default_of(const struct account *a)
{
    const struct prefs *p = prefs_in_force(a);
    return p != NULL ? p->def : (enum mam_default)setting_int(&mam_default);
}

/* §2.3: a listed address with a resource is compared as it is, one without with the bare one. */
static bool mam_prefs_is_listed(slice list, const struct jid *contact)
{
    slice jid, bare = jid_bare(contact);
    while (slice_cut(list, '\n', &jid, &list))
        if (slice_eq(jid, contact->full) || slice_eq(jid, bare))
            return true;
    return false;
}

bool mam_prefs_archive(struct account *a, const struct stanza *st, slice contact)
{
    const struct prefs *p = prefs_in_force(a);
    struct jid jid = jid_split(contact);
    (void)st;
    if (!setting_bool(&mam_enabled))
        return false;
    if (p != NULL && mam_prefs_is_listed(p->never, &jid))
        return false;
    if (p != NULL && mam_prefs_is_listed(p->always, &jid))
        return true;
    enum mam_default def = default_of(a);
    if (def != MAM_ROSTER)
        return def == MAM_ALWAYS;
    slice bare = jid_bare(&jid);
    return roster_find(a->roster, bare) != NULL || roster_is_shared(a, bare);
}

static void write_list(struct xml_write *x, const char *name, slice list)
{
    slice jid;
    xml_open(x, name, NULL);
    while (slice_cut(list, '\n', &jid, &list))
        xml_element(x, "jid", jid);
    xml_close(x);
}

static void mam_prefs_answer(struct iq *iq, const struct account *a)
{
    const struct prefs *p = prefs_in_force(a);
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open_with(&x, "prefs", NS_MAM, "default", slice_of(mam_defaults[default_of(a)]));
    write_list(&x, "always", p == NULL ? (slice){ 0 } : p->always);
    write_list(&x, "never", p == NULL ? (slice){ 0 } : p->never);
    iq_result_xml(iq, &x);
}

static bool may_choose(struct iq *iq)
{
    if (iq->target != IQ_TO_SELF)
        iq_error(iq, SE_FORBIDDEN, (slice){ 0 });
    else if (!setting_bool(&mam_enabled))
        iq_error(iq, SE_NOT_ALLOWED,
                 SLICE("this server archives nothing (archive.enabled is off)"));
    else if (!setting_bool(&mam_users_choose))
        iq_error(iq, SE_NOT_ALLOWED,
                 SLICE("this server decides what is archived (archive.users-may-choose is off); an "
                       "earlier choice is kept for when users may choose again"));
    else
        return true;
    return false;
}

void mam_prefs_get(struct iq *iq)
{
    if (iq->target != IQ_TO_SELF)
        iq_error(iq, SE_FORBIDDEN, (slice){ 0 });
    else
        mam_prefs_answer(iq, iq->account);
}

/* Adds the addresses of <always/> or <never/>. NULL: right; else what is wrong. */
static const char *mam_prefs_read_list(const struct elem *prefs, const char *name,
                                       struct arena *tmp, struct buf *out, unsigned *count)
{
    struct elem list, e;
    if (!elem_child(prefs, name, NS_MAM, &list))
        return NULL; /* §2.1.2: assumed to be empty */
    for (bool more = elem_first(&list, &e); more; more = elem_next(&e, &e)) {
        struct jid jid;
        if (!elem_is(&e, "jid", NS_MAM) || jid_parse(&jid, elem_text(&e, tmp), tmp) != OK)
            return "the lists are of <jid/> elements, each with one address";
        if (++*count > JIDS_MAX)
            return "too many addresses";
        buf_add(out, jid.full);
        buf_lit(out, "\n");
    }
    return out->overflow ? "the list is too long" : NULL;
}

static bool mam_prefs_read_default(const struct elem *prefs, struct arena *tmp,
                                   enum mam_default *out)
{
    slice def = elem_attr(prefs, "default", tmp);
    for (unsigned i = 0; mam_defaults[i] != NULL; i++) {
        if (slice_is(def, mam_defaults[i])) {
            *out = (enum mam_default)i;
            return true;
        }
    }
    return false;
}

struct change {
    struct actor_change base;
    struct iq *iq;
    struct prefs *prefs;
};

static enum err mam_prefs_change_prepare(struct actor_change *base)
{
    struct change *c = (struct change *)base;
    struct account *a = account_of(base->actor);
    ensure(base->batch == NULL && c->prefs != NULL);
    if (a->state != ACTOR_READY)
        return E_NOTFOUND;
    base->batch = store_write(worker_store(a->worker), account_lane(a));
    STORE_ADD(base->batch, &prefs_put, 1, SV_I(a->id), SV_I(c->prefs->def), SV_T(c->prefs->always),
              SV_T(c->prefs->never));
    return OK;
}

static void mam_prefs_change_apply(struct actor_change *base, enum err e)
{
    struct change *c = (struct change *)base;
    struct account *a = account_of(base->actor);
    ensure(account_here(a) && c->iq->held);
    if (e == OK) {
        struct prefs *old = prefs_of(a);
        mem_free(&old);
        a->state_of[mam_prefs_slot] = c->prefs;
        mam_prefs_answer(c->iq, a);
    } else {
        mem_free(&c->prefs);
        iq_error(c->iq, stanza_error_of(e), (slice){ 0 });
    }
    mem_free(&c);
}

void mam_prefs_set(struct iq *iq)
{
    enum mam_default def;
    struct buf always, never;
    unsigned count = 0;
    if (!may_choose(iq))
        return;
    if (!mam_prefs_read_default(&iq->payload, iq->tmp, &def)) {
        iq_error(iq, SE_BAD_REQUEST, SLICE("the default is 'always', 'never' or 'roster'"));
        return;
    }
    buf_init(&always, LIST_BYTES_MAX);
    buf_init(&never, LIST_BYTES_MAX);
    const char *why = mam_prefs_read_list(&iq->payload, "always", iq->tmp, &always, &count);
    if (why == NULL)
        why = mam_prefs_read_list(&iq->payload, "never", iq->tmp, &never, &count);
    if (why != NULL) {
        iq_error(iq, SE_BAD_REQUEST, slice_of(why));
    } else {
        struct account *a = iq->account;
        struct change *c = mem_new(struct change);
        c->base = (struct actor_change){ .prepare = mam_prefs_change_prepare,
                                         .apply = mam_prefs_change_apply };
        c->prefs = prefs_make(def, buf_fit(&always), buf_fit(&never));
        c->iq = iq_hold(iq);
        account_change(a, &c->base);
    }
    buf_fini(&always);
    buf_fini(&never);
}

void mam_prefs_load(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &prefs_read, STORE_ANY_ROWS, SV_I(a->id));
}

void mam_prefs_loaded(struct account *a, const struct store_batch *b, unsigned first)
{
    if (store_row_count(b, first) == 0)
        return;
    int64_t def = store_int(b, first, 0, 0);
    if (def < MAM_ALWAYS || def > MAM_NEVER)
        def = MAM_ALWAYS;
    a->state_of[mam_prefs_slot] =
        prefs_make((enum mam_default)def, store_text(b, first, 0, 1), store_text(b, first, 0, 2));
}

void mam_prefs_unload(struct account *a)
{
    struct prefs *p = prefs_of(a);
    a->state_of[mam_prefs_slot] = NULL;
    mem_free(&p);
}

void mam_prefs_remove(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &prefs_delete, STORE_ANY_ROWS, SV_I(a->id));
}

/* Operators: `archive choices`, and a part of `user archive`. */

static slice chosen_default(int64_t preference)
{
    bool known = preference >= MAM_ALWAYS && preference <= MAM_NEVER;
    return slice_of(mam_defaults[known ? preference : MAM_ALWAYS]);
}

void mam_prefs_look(struct store_batch *b, slice jid)
{
    ensure(jid.len > 0);
    STORE_ADD(b, &prefs_by_jid, STORE_ANY_ROWS, SV_T(jid));
}

void mam_prefs_say(struct command_call *call, const struct store_batch *b, unsigned stmt)
{
    if (store_row_count(b, stmt) == 0)
        return;
    command_text(call, "default", chosen_default(store_int(b, stmt, 0, 0)));
    command_text(call, "always", store_text(b, stmt, 0, 1));
    command_text(call, "never", store_text(b, stmt, 0, 2));
}

static void choices_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (result != STORE_OK) {
        command_fail_cause(call, err_of_store(result), "the choices could not be read");
        return;
    }
    for (uint32_t i = 0; i < store_row_count(b, 0); i++) {
        command_row(call);
        command_text(call, "jid", store_text(b, 0, i, 0));
        command_text(call, "default", chosen_default(store_int(b, 0, i, 1)));
        command_int(call, "always", store_int(b, 0, i, 2));
        command_int(call, "never", store_int(b, 0, i, 3));
    }
    command_done_listed_with(
        call, "jid",
        setting_bool(&mam_users_choose) ? "" : "not in force: archive.users-may-choose is off");
}

static void run_choices(struct command_call *call)
{
    slice after = command_arg(call, "after");
    ensure(worker_is_here(call->worker));
    struct store_batch *b = store_read(worker_store(call->worker), 0);
    STORE_ADD(b, &prefs_list, STORE_ANY_ROWS, SV_T(after.ptr != NULL ? after : SLICE("")),
              SV_I(command_page_limit(call) + 1));
    store_submit(b, worker_loop(call->worker), 0, choices_read, call);
}

struct command mam_choices_command = {
    .name = "archive choices",
    .effect = COMMAND_READS,
    .area = "archive",
    .args = (const struct command_arg[]){ COMMAND_PAGE_ARGS("address"), { 0 } },
    .run = run_choices,
    .doc = "Lists what users have chosen to be archived (XEP-0441). While "
           "archive.users-may-choose is off, the choices are kept but not in force. `user archive` "
           "shows the addresses that one of them has named.",
    .columns =
        (const struct command_column[]){
            { .name = "jid", .type = PARAM_USER, .doc = "the user" },
            { .name = "default", .doc = "what is archived of others: always, roster or never" },
            { .name = "always", .type = PARAM_INT, .doc = "addresses that are always archived" },
            { .name = "never", .type = PARAM_INT, .doc = "addresses that are never archived" },
            { 0 } },
};
