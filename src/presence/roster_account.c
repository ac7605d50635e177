#include "presence/roster_account.h"
#include "account/account.h"
#include "account/shared_change.h"
#include "auth/credentials.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "component/component_watch.h"
#include "core/feature.h"
#include "home/here.h"
#include "presence/presence.h"
#include "presence/roster_iq.h"
#include "presence/roster_portable.h"
#include "presence/roster_view.h"
#include "presence/subscription.h"
#include "session/session_queue.h"
#include "session/sessions.h"
#include "xmpp/ns.h"
#include <stdio.h>

static struct roster *roster_of(struct account *a)
{
    if (a->roster == NULL) {
        a->roster = mem_new(struct roster);
        roster_init(a->roster);
    }
    return a->roster;
}

static void roster_push_one(struct session *s, void *st)
{
    session_deliver_to(s, st, session_jid(s));
}

/* §2.1.6 */
static void roster_push(struct account *a, uint64_t version, slice contact, slice id)
{
    struct buf xml;
    struct xml_write x;
    xml_begin(&x, &xml, XML_STANZA_MAX);
    roster_query_open(&x, a, version);
    if (!roster_write_contact(&x, a, contact)) {
        xml_open(&x, "item", NULL);
        xml_attr(&x, "jid", contact);
        xml_attr(&x, "subscription", SLICE("remove"));
        xml_close(&x);
    }
    xml_close(&x);
    struct stanza *st =
        stanza_make(STANZA_IQ, TYPE_SET, (slice){ 0 }, (slice){ 0 }, id, buf_fit(&xml));
    buf_fini(&xml);
    sessions_each(a, SESSIONS_INTERESTED, roster_push_one, st);
    component_watch_roster(a, st);
    stanza_unref(&st);
}

void roster_push_shared(struct account *a, slice contact)
{
    static _Atomic uint64_t pushes;
    char id[32];
    int len = snprintf(id, sizeof id, "group-%llu", (unsigned long long)++pushes);
    ensure(account_here(a));
    roster_push(a, a->roster == NULL ? 0 : a->roster->version, contact, (slice){ id, (size_t)len });
}

void roster_commit(struct account *a, const struct roster_delta *d, enum roster_view view)
{
    ensure(account_here(a));
    ensure(a->state == ACTOR_READY);
    bool seen = roster_is_seen(a, d->jid);
    if (seen)
        presence_look(a, d->jid);
    roster_apply(roster_of(a), d);
    if (seen && roster_is_seen(a, d->jid))
        presence_review(a, d->jid);
    if (view == ROSTER_HIDDEN)
        return;
    char id[32]; /* the version makes it unique among those of an account */
    int len = snprintf(id, sizeof id, "roster-%llu", (unsigned long long)d->version);
    roster_push(a, d->version, d->jid, (slice){ id, (size_t)len });
}

/* Rows. */

static struct store_stmt roster_above = {
    .name = "roster.above",
    .sql = "SELECT count(*) FROM (SELECT owner FROM roster GROUP BY owner HAVING count(*) > $1) v",
    .params = "i",
    .cols = "i",
};
static const struct setting_impact roster_above_impact = {
    .stmt = &roster_above, .what = "users with more contacts and requests"
};
/* clang-format off */
struct setting roster_contacts_max = {
    .name = "roster.contacts-max", .impact = &roster_above_impact, .scope = SCOPE_CLUSTER,
    .type = PARAM_INT, .def = 200, .min = 1, .max = 100000,
    .allow_none = true, .unit = "contacts",
    .doc = "How many contacts a user may have. More are refused with policy-violation; those that "
           "are there already stay.",
};
struct setting roster_watchers_max = {
    .name = "roster.watchers-max", .scope = SCOPE_CLUSTER,
    .type = PARAM_INT, .def = 200, .min = 1, .max = 100000,
    .allow_none = true, .unit = "watchers",
    .doc = "How many others may see a user's presence or have asked to. Further requests are "
           "refused with policy-violation. Requests of users who are not in the roster may take "
           "half of it.",
};
struct setting roster_name_bytes = {
    .name = "roster.name-bytes", .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES, .def = 1023, .min = 64, .max = 8192,
    .doc = "Longest name of a contact or of a group.",
};
struct setting roster_groups_max = {
    .name = "roster.groups-max", .scope = SCOPE_CLUSTER,
    .type = PARAM_INT, .def = 50, .min = 1, .max = 1000,
    .unit = "groups", .doc = "How many groups a contact may be in.",
};

static struct store_stmt stmt_items = {
    .name = "roster.items", .params = "i", .cols = "tiiiTBT",
    .sql = "SELECT jid, state, flags, version, name, in_groups, request FROM roster "
           "WHERE owner = $1",
};
static struct store_stmt stmt_items_by_jid = {
    .name = "roster.items-by-jid", .params = "t", .cols = "tiiiTBT",
    .sql = "SELECT jid, state, flags, version, name, in_groups, request FROM roster "
           "WHERE owner = (SELECT id FROM account WHERE account.jid = $1)",
};
static struct store_stmt stmt_marks = {
    .name = "roster.marks", .params = "i", .cols = "ii",
    .sql = "SELECT version, removed FROM roster_mark WHERE owner = $1",
};
static struct store_stmt stmt_put = {
    .name = "roster.put", .params = "itiiiTBT", .cols = "",
    .sql = "INSERT INTO roster (owner, jid, state, flags, version, name, in_groups, request) "
           "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (owner, jid) DO UPDATE SET "
           "state = excluded.state, flags = excluded.flags, version = excluded.version, "
           "name = excluded.name, in_groups = excluded.in_groups, request = excluded.request",
};
static struct store_stmt stmt_delete = {
    .name = "roster.delete", .params = "it", .cols = "",
    .sql = "DELETE FROM roster WHERE owner = $1 AND jid = $2",
};
static struct store_stmt stmt_mark = {
    .name = "roster.mark", .params = "iii", .cols = "",
    .sql = "INSERT INTO roster_mark (owner, version, removed) VALUES ($1, $2, $3) "
           "ON CONFLICT (owner) DO UPDATE SET version = excluded.version, "
           "removed = excluded.removed",
};
static struct store_stmt stmt_delete_all = {
    .name = "roster.delete-all", .params = "i", .cols = "",
    .sql = "DELETE FROM roster WHERE owner = $1",
};
static struct store_stmt stmt_delete_mark = {
    .name = "roster.delete-mark", .params = "i", .cols = "",
    .sql = "DELETE FROM roster_mark WHERE owner = $1",
};
static struct store_stmt *const roster_stmts[] = {
    &roster_above, &stmt_items, &stmt_items_by_jid, &stmt_marks, &stmt_put, &stmt_delete,
    &stmt_mark,
    &stmt_delete_all, &stmt_delete_mark, NULL
};

/* The index by jid finds the rosters that an account which is deleted is in. */
static const struct store_migration roster_migrations[] = {
    { 1,
      "CREATE TABLE roster (owner INTEGER NOT NULL, jid TEXT NOT NULL, state INTEGER NOT NULL, "
      "flags INTEGER NOT NULL, version INTEGER NOT NULL, name TEXT, in_groups BLOB, request TEXT, "
      "PRIMARY KEY (owner, jid)) WITHOUT ROWID;"
      "CREATE INDEX roster_jid ON roster (jid);"
      "CREATE TABLE roster_mark (owner INTEGER PRIMARY KEY, version INTEGER NOT NULL, "
      "removed INTEGER NOT NULL);",
      "CREATE TABLE roster (owner BIGINT NOT NULL, jid TEXT NOT NULL, state BIGINT NOT NULL, "
      "flags BIGINT NOT NULL, version BIGINT NOT NULL, name TEXT, in_groups BYTEA, request TEXT, "
      "PRIMARY KEY (owner, jid));"
      "CREATE INDEX roster_jid ON roster (jid);"
      "CREATE TABLE roster_mark (owner BIGINT PRIMARY KEY, version BIGINT NOT NULL, "
      "removed BIGINT NOT NULL);" },
    { 0 }
};
/* Clients that know an earlier version (RFC 6121 §2.6) get all contacts. */
#define ROSTER_RENAMED                                                                             \
    "UPDATE roster_mark SET version = version + 1, removed = version + 1 WHERE owner IN "          \
    "(SELECT owner FROM roster WHERE jid = $2 OR jid LIKE '%@' || $2 UNION SELECT id FROM "        \
    "account WHERE jid IN ($1, $2) OR jid LIKE '%@' || $1 OR jid LIKE '%@' || $2)"
/* Contacts on other servers know the old addresses. They are told that this one has no subscription
 * any more (remote/remote_unsubscribe.h), by rows that are made before; contacts of a domain that
 * is not served cannot be told. So the new one has none, either. A contact that clients do not see
 * has nothing left then. */
#define ROSTER_REMOTE                                                                              \
    "owner IN (SELECT id FROM account WHERE jid IN ($1, $2) OR jid LIKE '%@' || $1 OR "            \
    "jid LIKE '%@' || $2) AND NOT EXISTS (SELECT 1 FROM account o WHERE o.jid = roster.jid)"
#define ROSTER_PARTED                                                                              \
    "UPDATE roster SET state = 0, request = NULL WHERE " ROSTER_REMOTE
#define ROSTER_EMPTIED "DELETE FROM roster WHERE state = 0 AND (flags & 3) = 0 AND " ROSTER_REMOTE
static const struct store_schema roster_schema = {
    .feature = "roster", .migrations = roster_migrations, .stmts = roster_stmts,
    .addresses = (const struct store_address[]){
        { "roster", "jid", .kind = STORE_JID, .beside = "owner", .own = "owner",
          .after = ROSTER_RENAMED },
        { "roster", "request", .kind = STORE_START_TAG, .after = ROSTER_PARTED,
          .last = ROSTER_EMPTIED }, { 0 } },
};
/* clang-format on */

void roster_item_store(struct store_batch *b, int64_t owner, const struct roster_delta *d)
{
    if (d->op == ROSTER_PUT)
        STORE_ADD(b, &stmt_put, 1, SV_I(owner), SV_T(d->jid), SV_I(d->state), SV_I(d->flags),
                  SV_I(d->item_version), SV_T(d->name), SV_B(d->groups), SV_T(d->request));
    if (d->op == ROSTER_DELETE)
        STORE_ADD(b, &stmt_delete, STORE_ANY_ROWS, SV_I(owner), SV_T(d->jid));
}

void roster_versions_store(struct store_batch *b, int64_t owner, const struct roster_delta *d)
{
    STORE_ADD(b, &stmt_mark, 1, SV_I(owner), SV_I(d->version), SV_I(d->removed));
}

void roster_delta_store(struct store_batch *b, int64_t owner, const struct roster_delta *d)
{
    roster_item_store(b, owner, d);
    roster_versions_store(b, owner, d);
}

static void roster_load(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &stmt_marks, STORE_ANY_ROWS, SV_I(a->id));
    STORE_ADD(b, &stmt_items, STORE_ANY_ROWS, SV_I(a->id));
}

/* A row whose numbers are out of range is damage: the item is left out, not trusted. */
static bool row_delta(const struct store_batch *b, unsigned stmt, uint32_t row,
                      struct roster_delta *d)
{
    int64_t state = store_int(b, stmt, row, 1), flags = store_int(b, stmt, row, 2);
    d->op = ROSTER_PUT;
    d->jid = store_text(b, stmt, row, 0);
    d->state = (uint8_t)state;
    d->flags = (uint8_t)flags;
    d->item_version = (uint64_t)store_int(b, stmt, row, 3);
    d->name = store_text(b, stmt, row, 4);
    d->groups = store_text(b, stmt, row, 5);
    d->request = store_text(b, stmt, row, 6);
    return state >= 0 && state < SUB_STATE_COUNT && flags >= 0 && flags <= UINT8_MAX &&
           d->jid.len <= UINT16_MAX && d->name.len <= UINT16_MAX && d->groups.len <= UINT32_MAX &&
           d->request.len <= ROSTER_REQUEST_BYTES_MAX;
}

static void roster_loaded(struct account *a, const struct store_batch *b, unsigned first)
{
    struct roster_delta d = { .op = ROSTER_MARK };
    if (store_row_count(b, first) == 0)
        return;
    d.version = (uint64_t)store_int(b, first, 0, 0);
    d.removed = (uint64_t)store_int(b, first, 0, 1);
    roster_apply(roster_of(a), &d);
    for (uint32_t row = 0; row < store_row_count(b, first + 1); row++)
        if (row_delta(b, first + 1, row, &d))
            roster_apply(a->roster, &d);
}

struct reading {
    roster_fn *fn;
    void *arg;
};

void roster_rows_read(struct store_batch *b, int64_t owner)
{
    STORE_ADD(b, &stmt_items, STORE_ANY_ROWS, SV_I(owner));
}

bool roster_row(const struct store_batch *b, unsigned stmt, uint32_t row, struct roster_delta *d)
{
    return row_delta(b, stmt, row, d);
}

static void roster_rows(void *arg, enum store_result result, const struct store_batch *b)
{
    struct reading *reading = arg;
    struct roster r;
    struct roster_delta d = { 0 };
    roster_init(&r);
    for (uint32_t row = 0; result == STORE_OK && row < store_row_count(b, 0); row++)
        if (row_delta(b, 0, row, &d))
            roster_apply(&r, &d);
    reading->fn(reading->arg, err_of_store(result), &r);
    roster_fini(&r);
    mem_free(&reading);
}

void roster_read(struct worker *w, slice bare, roster_fn *fn, void *arg)
{
    struct reading *reading = mem_new(struct reading);
    struct store_batch *b = store_read(worker_store(w), credentials_lane(bare));
    *reading = (struct reading){ fn, arg };
    STORE_ADD(b, &stmt_items_by_jid, STORE_ANY_ROWS, SV_T(bare));
    store_submit(b, worker_loop(w), 0, roster_rows, reading);
}

static void roster_unload(struct account *a)
{
    if (a->roster != NULL)
        roster_fini(a->roster);
    mem_free(&a->roster);
}

static void roster_remove(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &stmt_delete_all, STORE_ANY_ROWS, SV_I(a->id));
    STORE_ADD(b, &stmt_delete_mark, STORE_ANY_ROWS, SV_I(a->id));
}

static struct setting *const roster_settings[] = { &roster_contacts_max, &roster_watchers_max,
                                                   &roster_name_bytes, &roster_groups_max, NULL };

const struct feature roster_feature = {
    .name = "roster",
    .parts = PART_PRESENCE,
    .stream_feature = "<ver xmlns='" NS_ROSTERVER "'/>", /* §2.6.1 */
    .iq = roster_iq_rules,
    .schema = &roster_schema,
    .settings = roster_settings,
    .portable = &roster_portable,
    .messages = (const struct message_row *const[]){ &shared_message, NULL },
    .account.load = roster_load,
    .account.loaded = roster_loaded,
    .account.unload = roster_unload,
    .account.remove = roster_remove,
};
