#include "im/roster.h"
#include "auth/credentials.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "home/here.h"
#include "im/account.h"
#include "im/feature.h"
#include "im/presence.h"
#include "im/roster_iq.h"
#include "im/session_queue.h"
#include "im/subscription.h"
#include "xmpp/ns.h"
#include <stdio.h>

/* The model: pure. */

static slice roster_item_key(const void *item) { return roster_item_jid(item); }

void roster_init(struct roster *r)
{
    *r = (struct roster){ 0 };
    map_init(&r->by_jid, roster_item_key);
}

void roster_fini(struct roster *r)
{
    for (uint32_t i = 0; i < r->count; i++)
        mem_free(&r->items[i]);
    mem_free(&r->items);
    map_fini(&r->by_jid);
}

static struct roster_item *roster_find_item(const struct roster *r, slice jid)
{
    return r == NULL ? NULL : map_get(&r->by_jid, jid);
}

const struct roster_item *roster_find(const struct roster *r, slice jid)
{
    return roster_find_item(r, jid);
}

static struct roster_item *item_create(const struct roster_delta *d)
{
    const slice parts[] = { d->jid, d->name, d->groups, d->request };
    enum { PARTS = sizeof parts / sizeof *parts };
    size_t len = 0;
    for (size_t i = 0; i < PARTS; i++)
        len += parts[i].len;
    struct roster_item *item = mem_alloc(sizeof *item + len);
    *item = (struct roster_item){
        .version = d->item_version,
        .jid_len = (uint16_t)d->jid.len,
        .name_len = (uint16_t)d->name.len,
        .groups_len = (uint32_t)d->groups.len,
        .request_len = (uint16_t)d->request.len,
        .state = d->state,
        .flags = d->flags,
    };
    char *at = item->text;
    for (size_t i = 0; i < PARTS; i++) {
        if (parts[i].len > 0)
            memcpy(at, parts[i].ptr, parts[i].len);
        at += parts[i].len;
    }
    return item;
}

static void roster_place(struct roster *r, struct roster_item *item, uint32_t at)
{
    r->items[at] = item;
    item->at = at;
}

/* An item that sees the owner goes to the end of the first part of the array, any other behind it.
 */
static void insert(struct roster *r, struct roster_item *item)
{
    if (r->count == r->cap) {
        r->cap = r->cap == 0 ? 4 : r->cap * 2;
        r->items = mem_realloc(r->items, r->cap * sizeof(struct roster_item *));
    }
    if (sub_is_seen(item->state)) {
        if (r->seen < r->count)
            roster_place(r, r->items[r->seen], r->count);
        roster_place(r, item, r->seen++);
    } else {
        roster_place(r, item, r->count);
    }
    r->count++;
    r->pending += sub_state_pending_in(item->state) ? 1 : 0;
    r->listed += (item->flags & ROSTER_LISTED) != 0 ? 1 : 0;
    map_put(&r->by_jid, item);
}

/* The hole is filled from the end of its part, and what that leaves from the end of the array. */
static void roster_take_out(struct roster *r, struct roster_item *item)
{
    uint32_t hole = item->at;
    map_del(&r->by_jid, roster_item_jid(item));
    if (sub_is_seen(item->state)) {
        roster_place(r, r->items[--r->seen], hole);
        hole = r->seen;
    }
    r->count--;
    if (hole < r->count)
        roster_place(r, r->items[r->count], hole);
    r->pending -= sub_state_pending_in(item->state) ? 1 : 0;
    r->listed -= (item->flags & ROSTER_LISTED) != 0 ? 1 : 0;
}

void roster_apply(struct roster *r, const struct roster_delta *d)
{
    struct roster_item *old = d->op == ROSTER_MARK ? NULL : roster_find_item(r, d->jid);
    struct roster_item *new =
        d->op == ROSTER_PUT ? item_create(d) : NULL; /* d may borrow from old */
    if (old != NULL)
        roster_take_out(r, old);
    mem_free(&old);
    if (new != NULL)
        insert(r, new);
    r->version = d->version;
    r->removed = d->removed;
    ensure_debug(r->seen <= r->count && r->listed <= r->count);
}

struct roster_delta roster_edit(const struct roster *r, slice jid)
{
    const struct roster_item *item = roster_find_item(r, jid);
    struct roster_delta d = { .op = ROSTER_PUT, .jid = jid, .state = SUB_NONE };
    if (item == NULL)
        return d;
    d.state = item->state;
    d.flags = item->flags;
    d.name = roster_item_name(item);
    d.groups = roster_item_groups(item);
    d.request = roster_item_request(item);
    d.item_version = item->version;
    return d;
}

void roster_seal(const struct roster *r, struct roster_delta *d, enum roster_view view)
{
    if (d->state == SUB_NONE && d->flags == 0)
        d->op = ROSTER_DELETE;
    if (!sub_state_pending_in(d->state))
        d->request = (slice){ 0 };
    d->version = r == NULL ? 0 : r->version;
    d->removed = r == NULL ? 0 : r->removed;
    if (view == ROSTER_HIDDEN)
        return;
    d->item_version = ++d->version;
    if ((d->flags & ROSTER_LISTED) == 0)
        d->removed = d->version;
}

bool roster_delta_is_new(const struct roster *r, const struct roster_delta *d)
{
    const struct roster_item *item = roster_find_item(r, d->jid);
    return (d->flags & ROSTER_LISTED) != 0 && (item == NULL || (item->flags & ROSTER_LISTED) == 0);
}

static void write_attr(struct buf *out, const char *name, slice value)
{
    buf_printf(out, " %s='", name);
    xml_escape(out, value);
    buf_lit(out, "'");
}

void roster_item_write(struct buf *out, const struct roster_item *i)
{
    slice groups = roster_item_groups(i), group;

    buf_lit(out, "<item");
    write_attr(out, "jid", roster_item_jid(i));
    if (i->name_len > 0)
        write_attr(out, "name", roster_item_name(i));
    write_attr(out, "subscription", slice_of(sub_state_subscription(i->state)));
    if (sub_state_ask(i->state))
        buf_lit(out, " ask='subscribe'"); /* §2.1.2.2 */
    if ((i->flags & ROSTER_PREAPPROVED) != 0)
        buf_lit(out, " approved='true'"); /* §2.1.2.1 */
    if (groups.len == 0) {
        buf_lit(out, "/>");
        return;
    }
    buf_lit(out, ">");
    while (slice_cut(groups, '\0', &group, &groups)) {
        buf_lit(out, "<group>");
        xml_escape(out, group);
        buf_lit(out, "</group>");
    }
    buf_lit(out, "</item>");
}

/* Of an account. */

bool roster_sees(const struct account *a, slice contact)
{
    const struct roster_item *i = roster_find_item(a->roster, contact);
    return i != NULL && sub_sees(i->state);
}

bool roster_is_seen(const struct account *a, slice contact)
{
    const struct roster_item *i = roster_find_item(a->roster, contact);
    return i != NULL && sub_is_seen(i->state);
}

unsigned roster_count(const struct account *a) { return a->roster == NULL ? 0 : a->roster->listed; }

static struct roster *roster_of(struct account *a)
{
    if (a->roster == NULL) {
        a->roster = mem_new(struct roster);
        roster_init(a->roster);
    }
    return a->roster;
}

enum { PUSH_BYTES_MAX = 16 << 20 };

static void roster_push_one(struct session *s, void *st)
{
    session_deliver_to(s, st, session_jid(s));
}

/* §2.1.6. The version makes the id unique among the pushes of an account. */
static void roster_push(struct account *a, const struct roster_delta *d)
{
    struct buf xml;
    buf_init(&xml, PUSH_BYTES_MAX);
    buf_printf(&xml, "<query xmlns='" NS_ROSTER "' ver='%lld.%llu'>", (long long)a->id,
               (unsigned long long)d->version);
    if ((d->flags & ROSTER_LISTED) != 0) {
        roster_item_write(&xml, roster_find_item(a->roster, d->jid));
    } else {
        buf_lit(&xml, "<item");
        write_attr(&xml, "jid", d->jid);
        buf_lit(&xml, " subscription='remove'/>");
    }
    buf_lit(&xml, "</query>");

    char id[32];
    int len = snprintf(id, sizeof id, "roster-%llu", (unsigned long long)d->version);
    struct stanza *st = stanza_make(STANZA_IQ, TYPE_SET, (slice){ 0 }, (slice){ 0 },
                                    (slice){ id, (size_t)len }, buf_slice(&xml));
    buf_fini(&xml);
    presence_each(a, PRESENCE_INTERESTED, roster_push_one, st);
    stanza_unref(&st);
}

void roster_commit(struct account *a, const struct roster_delta *d, enum roster_view view)
{
    roster_apply(roster_of(a), d);
    if (view == ROSTER_SHOWN)
        roster_push(a, d);
}

/* Rows. */

/* clang-format off */
struct setting roster_contacts_max = {
    .name = "roster.contacts-max", .type = PARAM_INT, .def = 200, .min = 1, .max = 100000,
    .allow_none = true, .unit = "contacts",
    .doc = "How many contacts a user may have. More are refused with policy-violation; those that "
           "are there already stay.",
};
struct setting roster_watchers_max = {
    .name = "roster.watchers-max", .type = PARAM_INT, .def = 200, .min = 1, .max = 100000,
    .allow_none = true, .unit = "watchers",
    .doc = "How many others may see a user's presence or have asked to. Further requests are "
           "refused with policy-violation. Requests of users who are not in the roster may take "
           "half of it.",
};
struct setting roster_name_bytes = {
    .name = "roster.name-bytes", .type = PARAM_BYTES, .def = 1023, .min = 64, .max = 8192,
    .doc = "Longest name of a contact or of a group.",
};
struct setting roster_groups_max = {
    .name = "roster.groups-max", .type = PARAM_INT, .def = 50, .min = 1, .max = 1000,
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
    &stmt_items, &stmt_items_by_jid, &stmt_marks, &stmt_put, &stmt_delete, &stmt_mark,
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
static const struct store_schema roster_schema = {
    .feature = "roster", .migrations = roster_migrations, .stmts = roster_stmts,
};
/* clang-format on */

void roster_delta_store(struct store_batch *b, int64_t owner, const struct roster_delta *d)
{
    if (d->op == ROSTER_PUT)
        STORE_ADD(b, &stmt_put, 1, SV_I(owner), SV_T(d->jid), SV_I(d->state), SV_I(d->flags),
                  SV_I(d->item_version), SV_T(d->name), SV_B(d->groups), SV_T(d->request));
    if (d->op == ROSTER_DELETE)
        STORE_ADD(b, &stmt_delete, STORE_ANY_ROWS, SV_I(owner), SV_T(d->jid));
    STORE_ADD(b, &stmt_mark, 1, SV_I(owner), SV_I(d->version), SV_I(d->removed));
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
    .account.load = roster_load,
    .account.loaded = roster_loaded,
    .account.unload = roster_unload,
    .account.remove = roster_remove,
};
