#include "ext/register/register_invite.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "base/mem.h"
#include "base/rand.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "home/here.h"
#include "home/message.h"
#include "home/node.h"
#include "http/server.h"
#include "ops/users.h"
#include "presence/presence.h"
#include "presence/roster.h"
#include "presence/roster_account.h"
#include "remote/foreign.h"
#include "xmpp/ns.h"
#include <ctype.h>
#include <openssl/evp.h>

enum { URI_BYTES_MAX = 16384 };

struct setting invite_enabled = {
    .name = "invite.enabled",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_BOOL,
    .def = 0,
    .doc = "Whether clients with an invitation may create an account (XEP-0445). `user invite` "
           "makes invitations. If register.enabled is off, nobody else can create an account.",
};
struct setting invite_by_users = {
    .name = "invite.by-users",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_BOOL,
    .def = 0,
    .doc = "Whether users may also invite others with their clients (XEP-0401).",
};
#define LIFETIME_MIN 60000 /* ms */
#define LIFETIME_MAX (365LL * 86400000)
struct setting invite_lifetime = {
    .name = "invite.lifetime",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_MS,
    .def = 7LL * 86400000,
    .min = LIFETIME_MIN,
    .max = LIFETIME_MAX,
    .doc = "How long an invitation is valid by default.",
};
struct setting invite_max = {
    .name = "invite.max",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_INT,
    .def = 20,
    .min = 1,
    .max = 1000000,
    .unit = "invitations",
    .doc = "Unused invitations that one user may have. Those of nobody, which operators make, are "
           "not counted.",
};

static struct store_stmt stmt_put = {
    .name = "invite.put",
    .sql = "INSERT INTO invite(token, domain, name, inviter, created_us, expires_us, used_by) "
           "SELECT $1, $2, $3, $4, $5, $6, '' WHERE $4 = '' OR ((SELECT COUNT(*) FROM invite "
           "WHERE inviter = $4 AND used_by = '' AND expires_us > $5) < $7 "
           "AND EXISTS (SELECT 1 FROM account WHERE jid = $4))",
    .params = "ttttiii",
    .cols = "",
};
static struct store_stmt stmt_trim = {
    .name = "invite.trim",
    .sql = "DELETE FROM invite WHERE expires_us < $1 AND welcome = 0",
    .params = "i",
    .cols = "",
};
static struct store_stmt stmt_there = {
    .name = "invite.there",
    .sql = "SELECT (SELECT COUNT(*) FROM account WHERE jid = $1), "
           "(SELECT COUNT(*) FROM account WHERE jid = $2)",
    .params = "tt",
    .cols = "ii",
};
static struct store_stmt stmt_get = {
    .name = "invite.get",
    .sql = "SELECT domain, name, inviter, expires_us, used_by FROM invite WHERE token = $1",
    .params = "t",
    .cols = "tttit",
};
static struct store_stmt stmt_use = {
    .name = "invite.use",
    .sql = "UPDATE invite SET used_by = $2, welcome = CASE WHEN inviter = '' THEN 0 ELSE $3 END "
           "WHERE token = $1 AND used_by = ''",
    .params = "tti",
    .cols = "",
};
static struct store_stmt stmt_reserved = {
    .name = "invite.reserved",
    .sql = "UPDATE invite SET used_by = '' WHERE name = $1 AND name <> '' AND domain = $2 "
           "AND used_by = '' AND expires_us > $3 AND token <> $4",
    .params = "ttit",
    .cols = "",
};

static struct store_stmt stmt_forget = {
    .name = "invite.forget",
    .sql = "DELETE FROM invite WHERE inviter = $1 OR (used_by = $1 AND used_by <> '')",
    .params = "t",
    .cols = "",
};
static struct store_stmt stmt_welcomed = {
    .name = "invite.welcomed",
    .sql = "UPDATE invite SET welcome = welcome & $2 WHERE token = $1 "
           "AND welcome <> welcome & $2",
    .params = "ti",
    .cols = "",
};
static struct store_stmt stmt_unfinished = {
    .name = "invite.unfinished",
    .sql = "SELECT token, inviter, used_by, welcome FROM invite WHERE welcome <> 0 AND token > $1 "
           "ORDER BY token LIMIT 100",
    .params = "t",
    .cols = "ttti",
};

static const struct store_migration migrations[] = {
    { .version = 1,
      .sqlite = "CREATE TABLE invite(token TEXT PRIMARY KEY, domain TEXT NOT NULL, "
                "name TEXT NOT NULL, inviter TEXT NOT NULL, created_us INTEGER NOT NULL, "
                "expires_us INTEGER NOT NULL, used_by TEXT NOT NULL) WITHOUT ROWID;"
                "CREATE INDEX invite_name ON invite(name, domain) WHERE name <> '';",
      .pgsql = "CREATE TABLE invite(token TEXT PRIMARY KEY, domain TEXT NOT NULL, "
               "name TEXT NOT NULL, inviter TEXT NOT NULL, created_us BIGINT NOT NULL, "
               "expires_us BIGINT NOT NULL, used_by TEXT NOT NULL);"
               "CREATE INDEX invite_name ON invite(name, domain) WHERE name <> '';" },
    { .version = 2, /* whose roster still lacks the other one: enum side */
      .sqlite = "ALTER TABLE invite ADD COLUMN welcome INTEGER NOT NULL DEFAULT 0;"
                "CREATE INDEX invite_welcome ON invite(token) WHERE welcome <> 0;",
      .pgsql = "ALTER TABLE invite ADD COLUMN welcome BIGINT NOT NULL DEFAULT 0;"
               "CREATE INDEX invite_welcome ON invite(token) WHERE welcome <> 0;" },
    { .version = 3, /* tokens are hashed since: those that nobody has used are void */
      .sqlite = "DELETE FROM invite WHERE used_by = ''",
      .pgsql = "DELETE FROM invite WHERE used_by = ''" },
    { .version = 4, /* no invitation, registration or deletion walks over all invitations */
      .sqlite = "CREATE INDEX invite_inviter ON invite(inviter, used_by);"
                "CREATE INDEX invite_used_by ON invite(used_by) WHERE used_by <> '';"
                "CREATE INDEX invite_expires ON invite(expires_us);",
      .pgsql = "CREATE INDEX invite_inviter ON invite(inviter, used_by);"
               "CREATE INDEX invite_used_by ON invite(used_by) WHERE used_by <> '';"
               "CREATE INDEX invite_expires ON invite(expires_us);" },
    { 0 },
};
const struct store_schema invite_schema = {
    .feature = "invite",
    .migrations = migrations,
    .addresses = (const struct store_address[]){ { "invite", "domain", .kind = STORE_JID },
                                                 { "invite", "inviter", .kind = STORE_JID },
                                                 { "invite", "used_by", .kind = STORE_JID },
                                                 { 0 } },
    .stmts = (struct store_stmt *const[]){ &stmt_put, &stmt_trim, &stmt_there, &stmt_get, &stmt_use,
                                           &stmt_reserved, &stmt_forget, &stmt_welcomed,
                                           &stmt_unfinished, NULL },
};

/* In the database lies a hash of the token, by which it is found: a copy of the database lets
 * nobody register. A token is 128 random bits, so nobody guesses it from its hash. */
struct row_key {
    char text[INVITE_TOKEN_LEN + 1];
};

static struct row_key register_invite_row_of(slice token)
{
    struct row_key key;
    unsigned char sha[EVP_MAX_MD_SIZE];
    ensure(EVP_Digest(token.ptr, token.len, sha, NULL, EVP_sha256(), NULL) == 1);
    hex_encode(key.text, (slice){ (const char *)sha, INVITE_TOKEN_LEN / 2 });
    return key;
}

/* Finding. */

struct invite_op {
    struct store_op *store;
    invite_fn *done;
    void *arg;
    char token[INVITE_TOKEN_LEN];
};

void invite_cancel(struct invite_op **pop)
{
    struct invite_op *op = *pop;
    *pop = NULL;
    if (op == NULL)
        return;
    store_cancel(&op->store);
    mem_free(&op);
}

static void register_invite_found(void *arg, enum store_result r, const struct store_batch *b)
{
    struct invite_op *op = arg;
    struct invite i = { .token = { op->token, sizeof op->token } };
    enum err e = err_of_store(r);
    ensure(op->done != NULL);
    if (e == OK && store_row_count(b, 0) == 0)
        e = E_NOTFOUND;
    if (e == OK) {
        i.domain = store_text(b, 0, 0, 0);
        i.name = store_text(b, 0, 0, 1);
        i.inviter = store_text(b, 0, 0, 2);
        i.expires_us = (uint64_t)store_int(b, 0, 0, 3);
        i.used = store_text(b, 0, 0, 4).len > 0;
    }
    op->done(op->arg, e, e == OK ? &i : NULL);
    mem_free(&op);
}

struct invite_op *invite_find(struct worker *w, slice token, invite_fn *done, void *arg)
{
    struct invite_op *op = mem_new(struct invite_op);
    struct store_batch *b = store_read(worker_store(w), 0);
    ensure(worker_is_here(w) && done != NULL);
    op->done = done;
    op->arg = arg;
    bool is_token = token.len == sizeof op->token && memchr(token.ptr, '\0', token.len) == NULL;
    if (is_token)
        memcpy(op->token, token.ptr, token.len);
    struct row_key row = register_invite_row_of(token);
    STORE_ADD(b, &stmt_get, STORE_ANY_ROWS,
              SV_T(is_token ? slice_of(row.text) : SLICE(""))); /* of none */
    op->store = store_submit(b, worker_loop(w), 0, register_invite_found, op);
    return op;
}

/* Using. */

/* Two users become contacts of each other: one change of the roster at each home, one after the
 * other. In between, what the other says may take away what the first has: so the first who changed
 * looks again in the end. The row of the invitation says which steps are missing, so that a crash
 * in between loses none. */
enum { STEPS = INVITE_STEP_INVITER | INVITE_STEP_NEW | INVITE_STEP_AGAIN };

void invite_add_use(struct store_batch *b, slice token, slice jid, uint64_t now_us)
{
    struct row_key row = register_invite_row_of(token);
    slice key = token.len > 0 ? slice_of(row.text) : SLICE("");
    struct jid account = jid_split(jid);
    STORE_ADD(b, &stmt_reserved, 0, SV_T(account.local), SV_T(account.domain), SV_I(now_us),
              SV_T(key));
    if (token.len > 0)
        STORE_ADD(b, &stmt_use, 1, SV_T(key), SV_T(jid), SV_I(STEPS));
}

void invite_remove(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &stmt_forget, STORE_ANY_ROWS, SV_T(a->jid));
}

struct welcome {
    struct actor_change base; /* first */
    struct worker *worker;    /* the home */
    struct roster_delta delta;
    bool edits; /* the roster; else the step is only marked as done */
    enum invite_step step;
    char row[INVITE_TOKEN_LEN]; /* struct row_key */
    size_t owner_len, contact_len;
    char text[]; /* owner, contact */
};

static slice welcome_contact(const struct welcome *v)
{
    return (slice){ v->text + v->owner_len, v->contact_len };
}

static void add_welcomed(struct store_batch *b, const struct welcome *v, unsigned steps, int rows)
{
    STORE_ADD(b, &stmt_welcomed, rows, SV_T(((slice){ v->row, sizeof v->row })),
              SV_I(STEPS & ~steps));
}

/* It cannot be, now or later: the account is gone, or its roster full. */
static void welcome_drop(const struct welcome *v)
{
    struct store_batch *b = store_write(worker_store(v->worker), 0);
    add_welcomed(b, v, STEPS, STORE_ANY_ROWS);
    store_submit(b, worker_loop(v->worker), 0, NULL, NULL);
}

static enum err welcome_prepare(struct actor_change *base)
{
    struct welcome *v = (struct welcome *)base;
    struct account *a = account_of(base->actor);
    if (a->state != ACTOR_READY)
        return E_NOTFOUND;
    const struct roster_item *there = roster_find(a->roster, welcome_contact(v));
    if (v->step != INVITE_STEP_AGAIN && there == NULL &&
        roster_count(a) >= setting_int(&roster_contacts_max))
        return E_LIMIT;
    base->batch = store_write(worker_store(a->worker), account_lane(a));
    v->edits = v->step != INVITE_STEP_AGAIN || (there != NULL && there->state != SUB_BOTH);
    if (v->edits) {
        v->delta = roster_edit(a->roster, welcome_contact(v));
        v->delta.state = SUB_BOTH;
        v->delta.flags |= ROSTER_LISTED;
        v->delta.request = (slice){ 0 };
        roster_seal(a->roster, &v->delta, ROSTER_SHOWN);
        roster_delta_store(base->batch, a->id, &v->delta);
    }
    /* none: the other one was deleted meanwhile, or it is done */
    add_welcomed(base->batch, v, v->step, 1);
    return OK;
}

static void welcome_next(const struct welcome *v);

static void welcome_apply(struct actor_change *base, enum err e)
{
    struct welcome *v = (struct welcome *)base;
    struct account *a = account_of(base->actor);
    ensure(base->actor->pins > 0);
    if (e == OK) {
        if (v->edits)
            roster_commit(a, &v->delta, ROSTER_SHOWN); /* XEP-0401 §4.4: pushed to the inviter */
        if (v->edits && v->step != INVITE_STEP_INVITER) { /* the other one knows this one */
            presence_show(a, welcome_contact(v));
            presence_probe(a, welcome_contact(v));
        }
        if (v->step != INVITE_STEP_AGAIN)
            welcome_next(v);
    } else if (e == E_LIMIT || (e == E_NOTFOUND && !a->disabled)) {
        welcome_drop(v);
    }
    mem_free(&v);
}

static void welcome_ready(struct account *a, enum err e, void *arg)
{
    struct welcome *v = arg;
    ensure(account_here(a));
    if (e != OK) {
        mem_free(&v);
        return;
    }
    v->base.prepare = welcome_prepare;
    v->base.apply = welcome_apply;
    account_change(a, &v->base);
}

/* To the home of one of the two: `owner` has the other in its roster from now on. */
struct welcome_sent {
    slice row, owner, contact;
    uint8_t step; /* enum invite_step */
};

static void welcome_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct welcome_sent *s = message;
    struct welcome *v = mem_zalloc(sizeof *v + s->owner.len + s->contact.len);
    (void)from;
    memcpy(v->row, s->row.ptr, s->row.len < sizeof v->row ? s->row.len : sizeof v->row);
    v->worker = w;
    v->step = s->step;
    v->owner_len = s->owner.len;
    v->contact_len = s->contact.len;
    memcpy(v->text, s->owner.ptr, s->owner.len);
    memcpy(v->text + s->owner.len, s->contact.ptr, s->contact.len);
    account_with(w, (slice){ v->text, v->owner_len }, welcome_ready, v);
}

static unsigned welcome_slot(const void *message)
{
    return node_slot(((const struct welcome_sent *)message)->owner);
}

static const struct message_field welcome_fields[] = {
    F_BYTES(struct welcome_sent, row, INVITE_TOKEN_LEN),
    F_BARE(struct welcome_sent, owner),
    F_BARE(struct welcome_sent, contact),
    F_U8(struct welcome_sent, step, STEPS),
    { 0 },
};
const struct message_row invite_welcome_message = {
    .id = 43,
    .scope = MESSAGE_CLUSTER,
    .name = "welcome",
    .size = sizeof(struct welcome_sent),
    .fields = welcome_fields,
    .run = welcome_run,
    .slot = welcome_slot,
};

static struct welcome_sent welcome_make(slice row, enum invite_step step, slice inviter,
                                        slice invited)
{
    bool new = step == INVITE_STEP_NEW;
    return (struct welcome_sent){ row, new ? invited : inviter, new ? inviter : invited,
                                  (uint8_t)step };
}

static void register_invite_welcome(struct worker *w, struct welcome_sent s)
{
    home_send(w, s.owner, &invite_welcome_message, &s);
}

static void welcome_next(const struct welcome *v)
{
    slice owner = { v->text, v->owner_len };
    struct welcome_sent next = { { v->row, sizeof v->row },
                                 welcome_contact(v),
                                 owner,
                                 v->step == INVITE_STEP_INVITER ? INVITE_STEP_NEW
                                                                : INVITE_STEP_AGAIN };
    register_invite_welcome(v->worker, next);
}

struct arrival {
    struct worker *worker;
    size_t len;
    char jid[];
};

static void inviter_found(void *arg, enum err e, const struct invite *i)
{
    struct arrival *n = arg;
    slice jid = { n->jid, n->len };
    ensure(worker_is_here(n->worker));
    if (e == OK && i->inviter.len > 0) {
        struct row_key row = register_invite_row_of(i->token);
        slice key = slice_of(row.text);
        register_invite_welcome(n->worker, welcome_make(key, INVITE_STEP_INVITER, i->inviter, jid));
    }
    mem_free(&n);
}

void invite_welcome(struct worker *w, slice token, slice jid)
{
    struct arrival *n = mem_alloc(sizeof *n + jid.len);
    ensure(worker_is_here(w));
    n->worker = w;
    n->len = jid.len;
    memcpy(n->jid, jid.ptr, jid.len);
    (void)invite_find(w, token, inviter_found, n);
}

/* Completes invitations that a crash interrupted, at start, and those that waited for a disabled
 * account, when it is enabled. Reads pages of rows; each worker handles the accounts whose home it
 * is. */
struct replay {
    struct worker *worker;
    char row[INVITE_TOKEN_LEN]; /* the last one that was read */
};

/* The first step that is missing; the others follow it. */
static void replay_row(struct worker *w, const struct store_batch *b, uint32_t row)
{
    int64_t left = store_int(b, 0, row, 3);
    struct welcome_sent s = welcome_make(store_text(b, 0, row, 0), (enum invite_step)(left & -left),
                                         store_text(b, 0, row, 1), store_text(b, 0, row, 2));
    if ((left & ~(int64_t)STEPS) == 0 && node_is_home(w, s.owner))
        home_send_to(w, 0, worker_index(w), &invite_welcome_message, &s);
}

static void register_invite_replay_next(struct replay *r, slice after);

static void register_invite_replay_page(void *arg, enum store_result result,
                                        const struct store_batch *b)
{
    struct replay *r = arg;
    uint32_t rows = result == STORE_OK ? store_row_count(b, 0) : 0;
    ensure(worker_is_here(r->worker));
    for (uint32_t row = 0; row < rows; row++)
        replay_row(r->worker, b, row);
    slice last = rows > 0 ? store_text(b, 0, rows - 1, 0) : (slice){ 0 };
    if (last.len == sizeof r->row)
        register_invite_replay_next(r, last);
    else
        mem_free(&r);
}

static void register_invite_replay_next(struct replay *r, slice after)
{
    struct store_batch *b = store_read(worker_store(r->worker), 0);
    if (after.len > 0)
        memcpy(r->row, after.ptr, sizeof r->row);
    STORE_ADD(b, &stmt_unfinished, STORE_ANY_ROWS, SV_T(((slice){ r->row, after.len })));
    store_submit(b, worker_loop(r->worker), 0, register_invite_replay_page, r);
}

void invite_replay(struct worker *w)
{
    struct replay *r = mem_new(struct replay);
    r->worker = w;
    register_invite_replay_next(r, SLICE(""));
}

/* Links. */

/* RFC 5122 §2.2: what is neither unreserved nor allowed in a node goes as %XX. */
static void uri_text(struct buf *out, slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < 128 && (isalnum(c) || strchr("-._~@!$*+", c) != NULL))
            buf_append(out, &text.ptr[i], 1);
        else
            buf_printf(out, "%%%02X", c);
    }
}

void invite_uri(struct buf *out, const struct invite *i)
{
    buf_lit(out, "xmpp:");
    if (i->inviter.len > 0) { /* XEP-0401 §4.1 */
        uri_text(out, i->inviter);
        buf_printf(out, "?roster;preauth=%.*s;ibr=y", SLICE_ARG(i->token));
        return;
    }
    uri_text(out, i->name); /* XEP-0445 §2 */
    if (i->name.len > 0)
        buf_lit(out, "@");
    uri_text(out, i->domain);
    buf_printf(out, "?register;preauth=%.*s", SLICE_ARG(i->token));
}

/* Commands. */

struct task {
    struct command_call *call;
    struct invite invite;
    char token[INVITE_TOKEN_LEN + 1];
};

static void register_invite_invited(void *arg, enum store_result r, const struct store_batch *b)
{
    struct task *t = arg;
    struct command_call *call = t->call;
    char stamp[CLOCK_STAMP_LEN];
    struct buf text;
    (void)b;
    if (r != STORE_OK) {
        if (r == STORE_CONFLICT)
            command_fail(call, E_LIMIT,
                         "there are too many unused invitations; wait until some expire, or raise "
                         "%s",
                         setting_of(&invite_max, t->invite.domain)->name);
        else
            command_fail_cause(call, err_of_store(r), "the invitation");
        return;
    }
    buf_init(&text, URI_BYTES_MAX);
    invite_uri(&text, &t->invite);
    command_row(call);
    command_text(call, "uri", buf_fit(&text));
    buf_clear(&text);
    http_public_base(t->invite.domain, &text);
    buf_printf(&text, "/invite/%s", t->token);
    command_text(call, "landing_url", buf_fit(&text));
    buf_fini(&text);
    clock_stamp(stamp, t->invite.expires_us);
    command_text(call, "expire", slice_of(stamp));
    command_done(call, "%s", "");
}

static void invite_store(struct task *t, uint64_t now_us)
{
    const struct invite *i = &t->invite;
    struct worker *w = t->call->worker;
    struct store_batch *b = store_write(worker_store(w), 0);
    /* a day later, since who has shown a token may use it behind its end (XEP-0445 §4) */
    STORE_ADD(b, &stmt_trim, STORE_ANY_ROWS, SV_I(now_us - 86400000000));
    struct row_key row = register_invite_row_of(i->token);
    STORE_ADD(b, &stmt_put, 1, SV_T(slice_of(row.text)), SV_T(i->domain), SV_T(i->name),
              SV_T(i->inviter), SV_I(now_us), SV_I(i->expires_us),
              SV_I(setting_int_of(&invite_max, i->domain)));
    store_submit(b, worker_loop(w), STORE_UNTIL_DONE, register_invite_invited, t);
}

static void register_invite_looked_up(void *arg, enum store_result r, const struct store_batch *b)
{
    struct task *t = arg;
    const struct worker *w = t->call->worker;
    const struct invite *i = &t->invite;
    if (r != STORE_OK)
        command_fail_cause(t->call, err_of_store(r), NULL);
    else if (store_int(b, 0, 0, 0) != 0)
        command_fail(t->call, E_EXISTS, "account %.*s@%.*s exists already", SLICE_ARG(i->name),
                     SLICE_ARG(i->domain));
    else if (i->inviter.len > 0 && store_int(b, 0, 0, 1) == 0)
        command_fail(t->call, E_NOTFOUND, "there is no account %.*s; `user list` shows all",
                     SLICE_ARG(i->inviter));
    else
        invite_store(t, loop_wall_us(worker_loop(w)));
}

/* Refuses what could never be used: a name that is taken, an inviter that is not there. */
static void invite_try(struct task *t)
{
    struct worker *w = t->call->worker;
    slice jid = slice_of(arena_printf(t->call->arena, "%.*s@%.*s", SLICE_ARG(t->invite.name),
                                      SLICE_ARG(t->invite.domain)));
    slice owner = foreign_known_by(jid, t->call->arena);
    if (owner.ptr != NULL) {
        command_fail(t->call, E_EXISTS,
                     "%.*s is the mail address of %.*s (federation.mail-address)", SLICE_ARG(jid),
                     SLICE_ARG(owner));
        return;
    }
    struct store_batch *b = store_read(worker_store(w), 0);
    STORE_ADD(b, &stmt_there, 1, SV_T(jid), SV_T(t->invite.inviter));
    store_submit(b, worker_loop(w), 0, register_invite_looked_up, t);
}

/* inviter: no pointer: nobody; domain: no pointer: that of the inviter, or the first. */
static struct task *register_invite_task_new(struct command_call *call, slice domain, slice inviter)
{
    struct task *t;
    slice home = inviter.ptr != NULL ? jid_split(inviter).domain : (slice){ 0 };
    if (domain.ptr == NULL)
        domain = home.ptr != NULL ? home : worker_node(call->worker)->domains[0];
    if (home.ptr != NULL && !slice_eq(home, domain)) {
        command_fail(call, E_SYNTAX, "%.*s invites to %.*s only: leave --domain out",
                     SLICE_ARG(inviter), SLICE_ARG(home));
        return NULL;
    }
    const struct setting *enabled = setting_of(&invite_enabled, domain);
    if (!setting_bool(enabled)) {
        command_fail(call, E_UNSUPPORTED, "invitations are off: `musterctl set %s on` allows them",
                     enabled->name);
        return NULL;
    }
    ensure(domain.len > 0 && worker_is_here(call->worker));
    t = arena_new(call->arena, struct task, 1);
    t->call = call;
    rand_hex(t->token, INVITE_TOKEN_LEN / 2);
    t->invite.token = slice_of(t->token);
    t->invite.domain = domain;
    t->invite.name = SLICE("");
    t->invite.inviter = inviter.ptr != NULL ? inviter : SLICE("");
    return t;
}

static bool name_ok(struct task *t)
{
    slice name = command_arg(t->call, "username");
    if (name.len == 0 || jid_prep_local(name, t->call->arena, &t->invite.name) == OK)
        return true;
    command_fail(t->call, E_SYNTAX, "found %.*s, allowed: the name of an account, before the @",
                 SLICE_ARG(name));
    return false;
}

static int64_t invite_lifetime_of(const struct task *t)
{
    return setting_int_of(&invite_lifetime, t->invite.domain);
}

static void run_invite(struct command_call *call)
{
    const struct worker *w = call->worker;
    struct task *t =
        register_invite_task_new(call, command_arg(call, "domain"), command_arg(call, "roster"));
    if (t == NULL || !name_ok(t))
        return;
    t->invite.expires_us = loop_wall_us(worker_loop(w)) +
                           (uint64_t)command_number(call, "expires", invite_lifetime_of(t)) * 1000;
    invite_try(t);
}

static void run_invite_contact(struct command_call *call)
{
    const struct worker *w = call->worker;
    uint64_t now_us = loop_wall_us(worker_loop(w));
    struct task *t = register_invite_task_new(call, (slice){ 0 }, command_arg(call, "jid"));
    if (t == NULL)
        return;
    t->invite.expires_us = now_us + (uint64_t)invite_lifetime_of(t) * 1000;
    invite_store(t, now_us);
}

static const struct command_arg invite_args[] = {
    { .name = "domain",
      .kind = ARG_OPTION,
      .type = PARAM_HOME_DOMAIN,
      .doc = "domain of the new account; the default is the first domain" },
    { .name = "username",
      .kind = ARG_OPTION,
      .doc = "name of the new account; by default the invited user chooses it" },
    { .name = "roster",
      .kind = ARG_OPTION,
      .type = PARAM_USER,
      .doc = "account that invites; the two become contacts of each other" },
    { .name = "expires",
      .kind = ARG_OPTION,
      .type = PARAM_MS,
      .min = LIFETIME_MIN,
      .max = LIFETIME_MAX,
      .doc = "how long it is valid, as 7d; the default is invite.lifetime" },
    { 0 },
};
static const struct command_arg contact_args[] = {
    { .name = "jid",
      .kind = ARG_POSITIONAL,
      .type = PARAM_USER,
      .doc = "address of the account that invites: name@domain" },
    { 0 },
};
static const struct command_column invite_columns[] = {
    { .name = "uri", .doc = "link for clients" },
    { .name = "landing_url", .doc = "link to a page for browsers" },
    { .name = "expire", .type = PARAM_STAMP, .doc = "until when it is valid" },
    { 0 },
};
static struct command user_invite = {
    .name = "user invite",
    .rest = "POST /invitations",
    .effect = COMMAND_CHANGES,
    .area = "users",
    .node = "urn:xmpp:invite#create-account",
    .form_type = "urn:xmpp:invite#invitation",
    .args = invite_args,
    .run = run_invite,
    .doc = "Makes an invitation for one new account: a link for clients, and a link to a page for "
           "browsers.",
    .columns = invite_columns,
};
static struct command invite_contact = {
    .name = "user invite-contact",
    .rest = "POST /users/{jid}/invitations",
    .effect = COMMAND_CHANGES,
    .area = "users",
    .node = "urn:xmpp:invite#invite",
    .form_type = "urn:xmpp:invite#invitation",
    .access = COMMAND_OWN,
    .own_if = &invite_by_users,
    .args = contact_args,
    .run = run_invite_contact,
    .doc = "Makes an invitation for a new contact of an account. The invited person makes an "
           "account with it, and the two become contacts of each other.",
    .columns = invite_columns,
};

struct command *const invite_commands[] = { &user_invite, &invite_contact, NULL };
