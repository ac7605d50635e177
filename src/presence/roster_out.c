#include "presence/roster_out.h"
#include "account/account.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/core.h"
#include "home/here.h"
#include "home/message.h"
#include "home/node.h"
#include "home/question.h"
#include "home/router.h"
#include "presence/presence_in.h"
#include "presence/roster.h"
#include "remote/foreign.h"

enum { EMPTIED_US = 10 * 60 * 1000000 };

enum roster_axis roster_out_axis(enum sub_verb verb)
{
    return verb == SUB_SUBSCRIBE || verb == SUB_UNSUBSCRIBE ? AXIS_WISH : AXIS_GRANT;
}

const enum stanza_type roster_out_types[SUB_VERB_COUNT] = {
    [SUB_SUBSCRIBE] = TYPE_SUBSCRIBE,
    [SUB_SUBSCRIBED] = TYPE_SUBSCRIBED,
    [SUB_UNSUBSCRIBE] = TYPE_UNSUBSCRIBE,
    [SUB_UNSUBSCRIBED] = TYPE_UNSUBSCRIBED,
};

enum sub_verb roster_out_verb(const struct stanza *st)
{
    unsigned v = 0;
    while (v < SUB_VERB_COUNT && roster_out_types[v] != (enum stanza_type)st->type)
        v++;
    ensure(v < SUB_VERB_COUNT); /* the caller has looked at the type */
    return (enum sub_verb)v;
}

/* Rows. */

/* clang-format off */
static struct store_stmt stmt_out_put = {
    .name = "roster.out-put", .params = "ttiit", .cols = "",
    .sql = "INSERT INTO roster_out (sender, rcpt, axis, verb, stanza) VALUES ($1, $2, $3, $4, $5) "
           "ON CONFLICT (sender, rcpt, axis) DO UPDATE SET verb = excluded.verb, "
           "stanza = excluded.stanza",
};
static struct store_stmt stmt_out_done = { /* not if another word has replaced it */
    .name = "roster.out-done", .params = "ttii", .cols = "",
    .sql = "DELETE FROM roster_out WHERE sender = $1 AND rcpt = $2 AND axis = $3 AND verb = $4",
};
static struct store_stmt stmt_out_page = {
    .name = "roster.out-page", .params = "tti", .cols = "ttiiti",
    .sql = "SELECT sender, rcpt, axis, verb, stanza, due FROM roster_out "
           "WHERE (sender, rcpt, axis) > ($1, $2, $3) ORDER BY sender, rcpt, axis LIMIT 100",
};
static struct store_stmt stmt_out_delete = {
    .name = "roster.out-delete", .params = "t", .cols = "",
    .sql = "DELETE FROM roster_out WHERE sender = $1 OR rcpt = $1",
};
static struct store_stmt stmt_out_forget = {
    .name = "roster.out-forget", .params = "tii", .cols = "",
    .sql = "INSERT INTO roster_out (sender, rcpt, axis, verb, stanza, due) "
           "SELECT $1, account.jid, $2, 0, '', $3 FROM roster "
           "JOIN account ON account.id = roster.owner WHERE roster.jid = $1 "
           "ON CONFLICT (sender, rcpt, axis) DO NOTHING",
};
/* Contacts on other servers, by the state: REMOTE_UNSUBSCRIBE and REMOTE_UNSUBSCRIBED. Who was only
 * asked for approval learns nothing. Most contacts of ours have an account; others are left out
 * when it is their turn. */
#define OUT_REMOTE_ROWS                                                                            \
    "roster.jid, 0, (CASE WHEN roster.state IN (1, 3, 4, 5, 7, 8) THEN 1 ELSE 0 END) + "           \
    "(CASE WHEN roster.state IN (6, 7, 8) THEN 2 ELSE 0 END), ''"
#define OUT_REMOTE_OF                                                                              \
    "roster.state NOT IN (0, 2) AND NOT EXISTS (SELECT 1 FROM account o WHERE o.jid = "            \
    "roster.jid) ON CONFLICT (sender, rcpt, axis) DO UPDATE SET "                                  \
    "verb = roster_out.verb | excluded.verb, due = excluded.due"
static struct store_stmt stmt_out_remote = {
    .name = "roster.out-remote", .params = "tii", .cols = "",
    .sql = "INSERT INTO roster_out (sender, rcpt, axis, verb, stanza, due) SELECT $1, "
           OUT_REMOTE_ROWS ", $3 FROM roster WHERE roster.owner = $2 AND " OUT_REMOTE_OF,
};
/* These change nothing, but meet a row: that of an account, which may be disabled, or a word. */
static struct store_stmt stmt_there = {
    .name = "roster.there", .params = "t", .cols = "",
    .sql = "UPDATE account SET disabled = disabled WHERE jid = $1",
};
static struct store_stmt stmt_settled = {
    .name = "roster.settled", .params = "tti", .cols = "",
    .sql = "UPDATE account SET disabled = disabled WHERE jid = $1 AND NOT EXISTS (SELECT 1 "
           "FROM roster_out WHERE sender = $1 AND rcpt = $2 AND axis = $3)",
};
static struct store_stmt stmt_look = {
    .name = "roster.look", .params = "tti", .cols = "ii",
    .sql = "SELECT (SELECT count(*) FROM account WHERE jid = $1), (SELECT count(*) "
           "FROM roster_out WHERE sender = $1 AND rcpt = $2 AND axis = $3)",
};
static struct store_stmt stmt_forgotten = {
    .name = "roster.forgotten", .params = "tti", .cols = "",
    .sql = "UPDATE roster_out SET verb = verb WHERE sender = $1 AND rcpt = $2 AND axis = $3",
};
/* States are those of enum sub_state: what sees becomes what asks. */
static struct store_stmt stmt_out_doubt = {
    .name = "roster.out-doubt", .params = "it", .cols = "",
    .sql = "UPDATE roster SET state = CASE state WHEN 4 THEN 1 WHEN 5 THEN 3 ELSE 7 END "
           "WHERE owner = $1 AND state IN (4, 5, 8) AND EXISTS (SELECT 1 FROM account o "
           "WHERE o.jid = roster.jid AND o.disabled = 0 AND NOT EXISTS (SELECT 1 FROM roster r "
           "WHERE r.owner = o.id AND r.jid = $2 AND r.state IN (6, 7, 8)))",
};
static struct store_stmt stmt_out_anew = {
    .name = "roster.out-anew", .params = "itii", .cols = "",
    .sql = "INSERT INTO roster_out (sender, rcpt, axis, verb, stanza) "
           "SELECT $2, m.jid, $3, $4, '<presence from=''' || $2 || ''' to=''' || m.jid || "
           "''' type=''subscribe''/>' "
           "FROM roster m JOIN account o ON o.jid = m.jid "
           "WHERE m.owner = $1 AND m.state IN (1, 3, 7) AND o.disabled = 0 AND NOT EXISTS "
           "(SELECT 1 FROM roster r WHERE r.owner = o.id AND r.jid = $2 AND "
           "r.state IN (2, 3, 5, 6, 7, 8)) ON CONFLICT (sender, rcpt, axis) DO NOTHING",
};
/* It was emptied, and those contacts got their lists from the same import before that. */
static struct store_stmt stmt_out_unforget = {
    .name = "roster.out-unforget", .params = "tii", .cols = "",
    .sql = "DELETE FROM roster_out WHERE sender = $1 AND axis = $2 AND rcpt IN "
           "(SELECT jid FROM account WHERE id >= $3)",
};
/* Requests and subscriptions of accounts of ours that came before this one. A request to who had
 * the address before is perhaps granted now: it is said again, and answered at once. */
static struct store_stmt stmt_out_meet = {
    .name = "roster.out-meet", .params = "itiii", .cols = "",
    .sql = "INSERT INTO roster_out (sender, rcpt, axis, verb, stanza) "
           "SELECT o.jid, $2, $3, $4, '<presence from=''' || o.jid || ''' to=''' || $2 || "
           "''' type=''subscribe''/>' "
           "FROM roster m JOIN account o ON o.id = m.owner "
           "WHERE m.jid = $2 AND m.state IN (1, 3, 4, 5, 7, 8) AND o.disabled = 0 AND EXISTS "
           "(SELECT 1 FROM account a WHERE a.id = $1 AND a.disabled = 0) AND "
           "(m.state IN (1, 3, 7) AND EXISTS (SELECT 1 FROM roster r WHERE r.owner = $1 AND "
           "r.jid = o.jid AND r.state IN (6, 7, 8)) OR NOT EXISTS "
           "(SELECT 1 FROM roster r WHERE r.owner = $1 AND r.jid = o.jid AND "
           "r.state IN (2, 3, 5, 6, 7, 8)) AND NOT EXISTS (SELECT 1 FROM roster_out f "
           "WHERE f.sender = $2 AND f.rcpt = o.jid AND f.axis = $5)) "
           "ON CONFLICT (sender, rcpt, axis) DO NOTHING",
};
static struct store_stmt *const stmts[] = { &stmt_out_doubt, &stmt_out_anew,
                                            &stmt_out_unforget, &stmt_out_meet,
                                            &stmt_out_put,
                                            &stmt_out_done, &stmt_out_page, &stmt_out_delete,
                                            &stmt_out_forget, &stmt_out_remote, &stmt_there,
                                            &stmt_settled, &stmt_look, &stmt_forgotten, NULL };

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE roster_out (sender TEXT NOT NULL, rcpt TEXT NOT NULL, axis INTEGER NOT NULL, "
      "verb INTEGER NOT NULL, stanza TEXT NOT NULL, PRIMARY KEY (sender, rcpt, axis)) "
      "WITHOUT ROWID;",
      "CREATE TABLE roster_out (sender TEXT NOT NULL, rcpt TEXT NOT NULL, axis BIGINT NOT NULL, "
      "verb BIGINT NOT NULL, stanza TEXT NOT NULL, PRIMARY KEY (sender, rcpt, axis));" },
    { 2, "ALTER TABLE roster_out ADD COLUMN word INTEGER NOT NULL DEFAULT 0",
      "ALTER TABLE roster_out ADD COLUMN word BIGINT NOT NULL DEFAULT 0" },
    { 3, "CREATE INDEX roster_out_rcpt ON roster_out(rcpt)",
      "CREATE INDEX roster_out_rcpt ON roster_out(rcpt)" },
    { 4, "ALTER TABLE roster_out ADD COLUMN due INTEGER NOT NULL DEFAULT 0",
      "ALTER TABLE roster_out ADD COLUMN due BIGINT NOT NULL DEFAULT 0" },
    { 5, "ALTER TABLE roster_out DROP COLUMN word", "ALTER TABLE roster_out DROP COLUMN word" },
    { 0 }
};
/* Contacts on other servers know an account that gets another address by the old one: $1. */
#define OUT_RENAMED                                                                                \
    "INSERT INTO roster_out (sender, rcpt, axis, verb, stanza, due) SELECT $1, " OUT_REMOTE_ROWS   \
    ", 0 FROM roster JOIN account ON account.id = roster.owner WHERE account.jid IN ($1, $2) AND " \
    OUT_REMOTE_OF
static const struct store_address addresses[] = {
    { "roster_out", "sender", .kind = STORE_JID, .beside = "rcpt axis" },
    { "roster_out", "rcpt", .kind = STORE_JID, .beside = "sender axis",
      .after = "DELETE FROM roster_out WHERE sender = rcpt" },
    { "roster_out", "stanza", .kind = STORE_START_TAG, .after = OUT_RENAMED },
    { 0 },
};
const struct store_schema roster_out_schema = {
    .feature = "subscription", .migrations = migrations, .stmts = stmts, .addresses = addresses,
};
/* clang-format on */

static slice roster_out_domain_of(slice bare)
{
    slice local, domain;
    return slice_cut(bare, '@', &local, &domain) ? domain : bare;
}

bool roster_out_confirms(const struct node *n, slice bare)
{
    slice domain = roster_out_domain_of(bare);
    return domain.len != bare.len && node_serves(n, domain);
}

void roster_out_put(struct store_batch *b, const struct worker *w, const struct stanza *st)
{
    enum sub_verb verb = roster_out_verb(st);
    struct buf text;
    if (!roster_out_confirms(worker_node(w), stanza_to_bare(st)))
        return;
    buf_init(&text, XML_STANZA_MAX);
    stanza_store(&text, st);
    STORE_ADD(b, &stmt_out_put, 1, SV_T(stanza_from_bare(st)), SV_T(stanza_to_bare(st)),
              SV_I(roster_out_axis(verb)), SV_I(verb), SV_T(buf_fit(&text)));
    buf_fini(&text);
}

/* A bare JID has no character that XML writes in another way (RFC 7622 §3.3.1). */
void roster_out_ask_anew(struct store_batch *b, slice jid, int64_t id, int64_t first_id)
{
    STORE_ADD(b, &stmt_out_doubt, STORE_ANY_ROWS, SV_I(id), SV_T(jid));
    STORE_ADD(b, &stmt_out_anew, STORE_ANY_ROWS, SV_I(id), SV_T(jid), SV_I(AXIS_WISH),
              SV_I(SUB_SUBSCRIBE));
    STORE_ADD(b, &stmt_out_unforget, STORE_ANY_ROWS, SV_T(jid), SV_I(AXIS_FORGET), SV_I(first_id));
    STORE_ADD(b, &stmt_out_meet, STORE_ANY_ROWS, SV_I(id), SV_T(jid), SV_I(AXIS_WISH),
              SV_I(SUB_SUBSCRIBE), SV_I(AXIS_FORGET));
}

static void add_done(struct store_batch *b, const struct stanza *st, int rows)
{
    enum sub_verb verb = roster_out_verb(st);
    STORE_ADD(b, &stmt_out_done, rows, SV_T(stanza_from_bare(st)), SV_T(stanza_to_bare(st)),
              SV_I(roster_out_axis(verb)), SV_I(verb));
}

void roster_out_done(struct store_batch *b, const struct stanza *st)
{
    add_done(b, st, STORE_ANY_ROWS);
}

void roster_out_take(struct store_batch *b, const struct stanza *st, slice rcpt)
{
    add_done(b, st, 1);
    STORE_ADD(b, &stmt_forgotten, 0, SV_T(stanza_from_bare(st)), SV_T(rcpt), SV_I(AXIS_FORGET));
}

void roster_out_forgotten(struct store_batch *b, slice jid, slice rcpt)
{
    STORE_ADD(b, &stmt_out_done, STORE_ANY_ROWS, SV_T(jid), SV_T(rcpt), SV_I(AXIS_FORGET), SV_I(0));
}

void roster_out_add_absent(struct store_batch *b, slice bare)
{
    STORE_ADD(b, &stmt_there, 0, SV_T(bare));
}

void roster_out_add_settled(struct store_batch *b, slice bare, slice rcpt)
{
    STORE_ADD(b, &stmt_settled, 1, SV_T(bare), SV_T(rcpt), SV_I(AXIS_FORGET));
}

void roster_out_look(struct store_batch *b, slice bare, slice rcpt)
{
    STORE_ADD(b, &stmt_look, 1, SV_T(bare), SV_T(rcpt), SV_I(AXIS_FORGET));
}

const char *roster_out_settled_text(const struct store_batch *b, unsigned stmt)
{
    return store_int(b, stmt, 0, 0) == 0   ? "has no account"
           : store_int(b, stmt, 0, 1) != 0 ? "has a new account; run the command again"
                                           : NULL;
}

bool roster_out_knows(const struct node *n, slice sender)
{
    uint32_t node;
    (void)node_home(n, sender, &node);
    return node_shares(n, node);
}

bool roster_out_is_here(const struct node *n, slice sender)
{
    uint32_t node;
    (void)node_home(n, sender, &node);
    return node == n->id;
}

/* A subscription stanza of an account of another node is committed here (architecture §3). */
struct settled {
    slice sender, rcpt;
    int64_t axis, verb;
};

void roster_out_settle(struct worker *w, const struct stanza *st)
{
    enum sub_verb verb = roster_out_verb(st);
    slice sender = stanza_from_bare(st);
    if (roster_out_confirms(worker_node(w), sender) && !roster_out_is_here(worker_node(w), sender))
        home_send(w, sender, &settled_message,
                  &(struct settled){ sender, stanza_to_bare(st), roster_out_axis(verb), verb });
}

void roster_out_settle_forgotten(struct worker *w, slice sender, slice rcpt)
{
    if (!roster_out_is_here(worker_node(w), sender))
        home_send(w, sender, &settled_message, &(struct settled){ sender, rcpt, AXIS_FORGET, 0 });
}

static void row_delete(struct worker *w, const struct settled *s)
{
    ensure(s->sender.len > 0 && s->rcpt.len > 0);
    struct store_batch *b = store_write(worker_store(w), hash_keyed(s->sender));
    STORE_ADD(b, &stmt_out_done, STORE_ANY_ROWS, SV_T(s->sender), SV_T(s->rcpt), SV_I(s->axis),
              SV_I(s->verb));
    store_submit(b, worker_loop(w), 0, NULL, NULL);
}

static void settled_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)from;
    row_delete(w, message);
}

void roster_out_confirmed(struct worker *w, slice sender, slice rcpt, unsigned words)
{
    row_delete(w, &(struct settled){ sender, rcpt, AXIS_FORGET, words });
}

static const struct message_field settled_fields[] = { F_BARE(struct settled, sender),
                                                       F_BARE(struct settled, rcpt),
                                                       F_I64(struct settled, axis),
                                                       F_I64(struct settled, verb),
                                                       { 0 } };
const struct message_row settled_message = { .id = 12,
                                             .scope = MESSAGE_CLUSTER,
                                             .name = "settled",
                                             .size = sizeof(struct settled),
                                             .fields = settled_fields,
                                             .run = settled_run };

/* The row stays. It is sent again when the store is well, the first time after RESEND_MS, then
 * after twice as long each time. */
enum { RESEND_MS = 1000, RESEND_MS_MAX = 60000 };

static void roster_out_resend(struct timer *t, struct loop *loop)
{
    struct worker *w = CONTAINER_OF(t, struct core, resend)->worker;
    if (worker_stopping(w))
        return;
    if (atomic_load(&store_full_alarm.active) != 0 || atomic_load(&store_down_alarm.active) != 0)
        timer_set(loop, t, RESEND_MS);
    else
        each_home(w, &replay_message, &(struct message_nothing){ 0 },
                  &(struct asker){ 0 }); /* the sender's home has the row */
}

void roster_out_later(struct worker *w)
{
    if (timer_is_set(&core_of(w)->resend) || worker_stopping(w))
        return;
    core_of(w)->resend_ms = core_of(w)->resend_ms == 0                  ? RESEND_MS
                            : core_of(w)->resend_ms < RESEND_MS_MAX / 2 ? core_of(w)->resend_ms * 2
                                                                        : RESEND_MS_MAX;
    core_of(w)->resend.fn = roster_out_resend;
    timer_set(worker_loop(w), &core_of(w)->resend, core_of(w)->resend_ms);
}

/* Again: pages of roster_out at start, those that an account is in which was enabled, or those of
 * one sender that was deleted. */

struct replay {
    struct worker *worker;
    const struct roster_out_ways *ways;
    store_done_fn *page;
    struct arena *arena; /* of the slices */
    slice only;          /* ptr NULL: every sender whose home is this worker */
    slice about;         /* ptr NULL: whoever the sender and the recipient are */
    bool ends;           /* AXIS_FORGET alone */
    slice sender, rcpt;  /* the last row that was read */
    int64_t axis;
};

struct pending {
    struct worker *worker;
    const struct roster_out_ways *ways;
    struct arena *arena; /* this is in it */
    slice rcpt, text;
    enum roster_axis axis;
    enum sub_verb verb;
    int64_t due; /* of AXIS_FORGET: wall clock, in us; not before that */
};

static void send_forget(struct worker *w, slice jid, slice rcpt)
{
    struct buf xml;
    struct xml_write x;
    xml_begin(&x, &xml, XML_PART_MAX);
    xml_open(&x, "forget", NS_ROSTER_OUT);
    xml_attr(&x, "jid", jid);
    xml_close(&x);
    /* From a domain of ours: that of the account may be none any more. */
    route_send(w, stanza_make_buf(STANZA_PRESENCE, TYPE_UNSUBSCRIBED, roster_out_domain_of(rcpt),
                                  rcpt, (slice){ 0 }, &xml));
}

/* Of one that was emptied the contacts are told later. Later times are those of a clock that was
 * wrong; and one that is enabled or deleted is filled no more. */
static bool waits_to_forget(const struct account *a, const struct pending *p)
{
    int64_t early_us = p->due - (int64_t)loop_wall_us(worker_loop(p->worker));
    return p->axis == AXIS_FORGET && a->disabled && early_us > 0 && early_us <= EMPTIED_US;
}

/* Whether the roster still says what the row says: a later change sends its own stanza. */
static bool still_says(const struct account *a, const struct pending *p)
{
    const struct roster_item *item = roster_find(a->roster, p->rcpt);
    enum sub_state state = item == NULL ? SUB_NONE : (enum sub_state)item->state;
    bool absent = a->state != ACTOR_READY;
    switch (p->axis) {
    case AXIS_WISH:
        return !absent && (sub_state_ask(state) || sub_sees(state)) == (p->verb == SUB_SUBSCRIBE);
    case AXIS_GRANT:
        return p->verb == SUB_UNSUBSCRIBED ? !sub_is_seen(state) : !absent && sub_is_seen(state);
    case AXIS_FORGET: /* what the next one has only asked for does not keep what the last one had */
        return absent || !(sub_sees(state) || sub_is_seen(state));
    }
    return false;
}

static void send_again(struct account *a, enum err e, void *arg)
{
    struct pending *p = arg;
    struct arena *arena = p->arena;
    struct worker *w = p->worker;
    bool ends = p->axis == AXIS_FORGET, ours = roster_out_confirms(worker_node(w), p->rcpt);
    struct stanza *st;
    /* A disabled account says nothing until it is enabled, which replays all. That another one was
     * deleted, which had the address before it, is no word of its own. */
    if (e != OK)
        roster_out_later(w); /* it is not known whether it still says so */
    else if (waits_to_forget(a, p))
        p->ways->later(w);
    else if (ends && !ours)
        p->ways->ends(a, p->rcpt, (unsigned)p->verb, p->due);
    else if (a->disabled && !ends)
        ;
    else if (ends && !still_says(a, p))
        p->ways->keep(a, p->rcpt);
    else if (!still_says(a, p))
        row_delete(w, &(struct settled){ a->jid, p->rcpt, p->axis, p->verb });
    else if (ends)
        send_forget(w, a->jid, p->rcpt);
    else if (stanza_load(&st, p->text, worker_xml(w), arena) == OK)
        p->ways->send(a, st);
    arena_destroy(&arena);
}

static bool roster_out_is_wanted(const struct replay *r, slice sender, slice rcpt)
{
    if (r->only.ptr != NULL)
        return slice_eq(sender, r->only);
    return (r->about.ptr == NULL || slice_eq(sender, r->about) || slice_eq(rcpt, r->about)) &&
           node_is_home(r->worker, sender);
}

static void roster_out_replay_row(struct replay *r, const struct store_batch *b, uint32_t row)
{
    int64_t axis = store_int(b, 0, row, 2), verb = store_int(b, 0, row, 3);
    slice sender = store_text(b, 0, row, 0);
    if (!roster_out_is_wanted(r, sender, store_text(b, 0, row, 1)) || axis < 0 ||
        axis > AXIS_GRANT || (r->ends && axis != AXIS_FORGET) || verb < 0 || verb >= SUB_VERB_COUNT)
        return;
    struct arena *arena = arena_create(0);
    struct pending *p = arena_new(arena, struct pending, 1);
    *p = (struct pending){
        .worker = r->worker,
        .ways = r->ways,
        .arena = arena,
        .rcpt = slice_dup(arena, store_text(b, 0, row, 1)),
        .text = slice_dup(arena, store_text(b, 0, row, 4)),
        .axis = (enum roster_axis)axis,
        .verb = (enum sub_verb)verb,
        .due = store_int(b, 0, row, 5),
    };
    account_with(r->worker, sender, send_again, p);
}

static void roster_out_replay_next(struct replay *r, slice sender, slice rcpt, int64_t axis)
{
    struct arena *arena = arena_create(0);
    r->only = slice_dup(arena, r->only);
    r->about = slice_dup(arena, r->about);
    r->sender = slice_dup(arena, sender);
    r->rcpt = slice_dup(arena, rcpt);
    r->axis = axis;
    arena_destroy(&r->arena);
    r->arena = arena;
    struct store_batch *b = store_read(worker_store(r->worker), 0);
    STORE_ADD(b, &stmt_out_page, STORE_ANY_ROWS, SV_T(r->sender), SV_T(r->rcpt), SV_I(r->axis));
    store_submit(b, worker_loop(r->worker), 0, r->page, r);
}

static void roster_out_replay_page(void *arg, enum store_result result, const struct store_batch *b)
{
    struct replay *r = arg;
    uint32_t rows = result == STORE_OK ? store_row_count(b, 0) : 0;
    if (result != STORE_OK)
        roster_out_later(r->worker);
    for (uint32_t row = 0; row < rows; row++)
        roster_out_replay_row(r, b, row);
    if (rows > 0) {
        slice sender = store_text(b, 0, rows - 1, 0);
        if (r->only.ptr == NULL || slice_eq(sender, r->only)) {
            roster_out_replay_next(r, sender, store_text(b, 0, rows - 1, 1),
                                   store_int(b, 0, rows - 1, 2));
            return;
        }
    }
    arena_destroy(&r->arena);
    mem_free(&r);
}

static struct replay *roster_out_replay_create(struct worker *w, const struct roster_out_ways *ways)
{
    struct replay *r = mem_new(struct replay);
    r->worker = w;
    r->ways = ways;
    r->page = roster_out_replay_page;
    return r;
}

void roster_out_replay(struct worker *w, slice about, const struct roster_out_ways *ways)
{
    struct replay *r = roster_out_replay_create(w, ways);
    r->about = about;
    roster_out_replay_next(r, SLICE(""), SLICE(""), -1);
}

void roster_out_replay_of(struct worker *w, slice sender, const struct roster_out_ways *ways)
{
    struct replay *r = roster_out_replay_create(w, ways);
    r->only = sender;
    roster_out_replay_next(r, sender, SLICE(""), -1);
}

void roster_out_replay_ends(struct worker *w, const struct roster_out_ways *ways)
{
    struct replay *r = roster_out_replay_create(w, ways);
    r->ends = true;
    roster_out_replay_next(r, SLICE(""), SLICE(""), -1);
}

/* Other servers may know it by another address: remote/foreign.h. */
static void roster_out_remove_remote(struct account *a, struct store_batch *b, int64_t due)
{
    struct stanza *st =
        stanza_make(STANZA_PRESENCE, TYPE_UNAVAILABLE, a->jid, a->jid, (slice){ 0 }, (slice){ 0 });
    struct stanza *outward = foreign_outward(a->worker, st);
    slice sender = outward == NULL ? a->jid : stanza_from_bare(outward);
    STORE_ADD(b, &stmt_out_remote, STORE_ANY_ROWS, SV_T(sender), SV_I(a->id), SV_I(due));
    if (outward != NULL)
        roster_out_later(a->worker); /* perhaps the home of that address is another */
    stanza_unref(&outward);
    stanza_unref(&st);
}

void roster_out_remove(struct account *a, struct store_batch *b)
{
    int64_t due = (int64_t)loop_wall_us(worker_loop(a->worker)) +
                  (a->removing == REMOVING_EMPTIES ? EMPTIED_US : 0);
    STORE_ADD(b, &stmt_out_delete, STORE_ANY_ROWS, SV_T(a->jid));
    if (!account_is_served(a))
        return;
    STORE_ADD(b, &stmt_out_forget, STORE_ANY_ROWS, SV_T(a->jid), SV_I(AXIS_FORGET), SV_I(due));
    roster_out_remove_remote(a, b, due);
}
