#include "muc/operate/operate_list.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "home/here.h"
#include "home/host.h"
#include "home/node.h"
#include "muc/operate/operate.h"
#include "muc/room/config.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "ops/users.h"
#include "store/store.h"
#include "xmpp/muc.h"
#include "xmpp/precis.h"
#include <stdlib.h>

enum { PAGE_ROWS = 256, PART_ROOMS = 16, PEOPLE_MAX = 1000, PEOPLE_BYTES_MAX = 4 << 20 };
enum kind { KIND_PERSISTENT, KIND_ADHOC, KIND_ANY }; /* the index of `kinds` */

struct item {
    struct item *next;
    slice jid, name, creator;
    int64_t id;
    bool stored;
    uint64_t created_us, last_us;
    uint32_t occupants;
    int64_t messages;      /* of the report */
    slice owners, members; /* bare JIDs */
};

struct roll {
    struct command_call *call;
    struct worker *worker;
    slice domain, filter, after; /* filter: as it is compared */
    enum kind kind;
    bool report;
    uint32_t limit;
    struct item *first;
    uint32_t count, stored; /* items; those that came from the database */
    struct map loaded;      /* items by address, while pages are read */
    struct item **sorted;
    uint32_t shown, at;
};

static slice operate_list_item_key(const void *item) { return ((const struct item *)item)->jid; }

static bool contains(slice text, slice part)
{
    slice folded;
    if (precis_fold(text, loop_scratch(worker_loop(worker_here())), &folded) == OK)
        text = folded;
    for (size_t i = 0; i + part.len <= text.len; i++)
        if (memcmp(text.ptr + i, part.ptr, part.len) == 0)
            return true;
    return false;
}

static bool wanted(const struct roll *r, const struct item *i)
{
    return (r->kind == KIND_ANY || (r->kind == KIND_PERSISTENT) == i->stored) &&
           (r->domain.len == 0 || slice_eq(jid_split(i->jid).domain, r->domain)) &&
           (r->filter.len == 0 || contains(i->jid, r->filter) || contains(i->name, r->filter)) &&
           (r->after.len == 0 || slice_compare(i->jid, r->after) > 0);
}

static struct item *operate_list_keep(struct roll *r, const struct item *in)
{
    struct arena *arena = r->call->arena;
    struct item *i = arena_new(arena, struct item, 1);
    *i = *in;
    i->jid = slice_dup(arena, in->jid);
    i->name = slice_dup(arena, in->name);
    i->creator = slice_dup(arena, in->creator);
    i->next = r->first;
    r->first = i;
    r->count++;
    return i;
}

/* Names of one statement. */
static slice operate_list_named(struct roll *r, const struct store_batch *b, unsigned stmt)
{
    struct buf out;
    buf_init(&out, PEOPLE_BYTES_MAX);
    for (uint32_t row = 0; row < store_row_count(b, stmt) && row < PEOPLE_MAX; row++) {
        slice jid = store_text(b, stmt, row, 0);
        buf_printf(&out, "%s%.*s", row == 0 ? "" : " ", SLICE_ARG(jid));
    }
    if (store_row_count(b, stmt) > PEOPLE_MAX)
        buf_lit(&out, " and more");
    slice text = slice_dup(r->call->arena, buf_fit(&out));
    buf_fini(&out);
    return text.ptr == NULL ? SLICE("") : text;
}

/* On its worker: a part of the answer (struct command.parts). */
static void operate_list_part(struct room *room, void *arg)
{
    const struct roll *r = arg;
    struct command_call *call = r->call;
    ensure(call->part && room->worker == call->worker);
    const struct item in = { .jid = room->jid,
                             .name = room->config.text[ROOM_NAME],
                             .stored = room->stored };
    if (!wanted(r, &in))
        return;
    command_row(call);
    command_text(call, "jid", room->jid);
    command_text(call, "name", in.name);
    command_bool(call, "stored", room->stored);
    command_int(call, "occupants", room->occupant_count);
    if (!r->report)
        return;
    command_int(call, "id", room->id);
    command_text(call, "creator", room->creator);
    command_int(call, "created_us", (int64_t)room->created_us);
    command_int(call, "last_us", (int64_t)room->said_us);
    if (room->stored)
        return;
    command_text(call, "owners", operate_people(room, AFF_OWNER, call->arena));
    command_text(call, "members", operate_people(room, AFF_MEMBER, call->arena));
}

static void operate_list_add_part(struct roll *r, const struct command_row *row)
{
    const struct item in = { .jid = command_row_text(row, "jid"),
                             .name = command_row_text(row, "name"),
                             .creator = command_row_text(row, "creator"),
                             .id = command_row_int(row, "id"),
                             .stored = slice_is(command_row_text(row, "stored"), "true"),
                             .created_us = (uint64_t)command_row_int(row, "created_us"),
                             .last_us = (uint64_t)command_row_int(row, "last_us"),
                             .occupants = (uint32_t)command_row_int(row, "occupants"),
                             .owners = command_row_text(row, "owners"),
                             .members = command_row_text(row, "members") };
    if (map_get(&r->loaded, in.jid) == NULL)
        map_put(&r->loaded, operate_list_keep(r, &in));
}

/* The answer. */

/* Its domain is neither one of ours, nor an alias, nor only switched off. */
static bool operate_list_unserved(const struct node *n, slice jid)
{
    slice label, parent;
    bool ours = slice_cut(jid_split(jid).domain, '.', &label, &parent) &&
                slice_is(label, MUC_LABEL) && node_serves(n, parent);
    return !ours && !rooms_serve(n, jid) && hosts_switched_off(MUC_LABEL) == NULL;
}

static void operate_list_add_row(struct command_call *call, const struct roll *r,
                                 const struct item *i)
{
    command_row(call);
    command_text(call, "jid", i->jid);
    command_text(call, "name", i->name);
    command_text(call, "kind", i->stored ? SLICE("persistent") : SLICE("adhoc"));
    command_int(call, "occupants", i->occupants);
    if (operate_list_unserved(worker_node(r->worker), i->jid))
        command_bool(call, "unserved", true);
    if (!r->report)
        return;
    command_text(call, "owners", i->owners);
    command_text(call, "members", i->members);
    users_add_time(call, "created", i->created_us);
    command_text(call, "creator", i->creator);
    if (i->last_us > 0)
        users_add_time(call, "last_message", i->last_us);
    else
        command_text(call, "last_message", SLICE(""));
    command_int(call, "messages", i->messages);
}

static void operate_list_answer(struct roll *r)
{
    for (uint32_t i = 0; i < r->shown; i++)
        operate_list_add_row(r->call, r, r->sorted[i]);
    if (r->shown < r->count)
        command_done_more(r->call, r->sorted[r->shown - 1]->jid);
    else
        command_done(r->call, "%s", "");
}

static void operate_list_read_part(struct roll *r);

static void operate_list_part_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct roll *r = arg;
    unsigned stmt = 0;
    if (result != STORE_OK) {
        command_fail_cause(r->call, err_of_store(result), "the rooms cannot be read");
        return;
    }
    for (uint32_t n = 0; n < PART_ROOMS && r->at < r->shown; n++, r->at++) {
        struct item *i = r->sorted[r->at];
        i->messages = store_int(b, stmt, 0, 0);
        if ((uint64_t)store_int(b, stmt, 0, 1) > i->last_us)
            i->last_us = (uint64_t)store_int(b, stmt, 0, 1);
        stmt++;
        if (!i->stored)
            continue;
        i->owners = operate_list_named(r, b, stmt++);
        i->members = operate_list_named(r, b, stmt++);
    }
    if (r->at < r->shown)
        operate_list_read_part(r);
    else
        operate_list_answer(r);
}

static void operate_list_read_part(struct roll *r)
{
    struct store_batch *b = store_read(worker_store(r->worker), 0);
    if (r->at == 0)
        store_read_late(b, STORE_ALL_OWNERS);
    for (uint32_t i = r->at; i < r->at + PART_ROOMS && i < r->shown; i++) {
        const struct item *it = r->sorted[i];
        STORE_ADD(b, &operate_archive_stmt, STORE_ANY_ROWS, SV_I(it->id));
        if (it->stored) {
            STORE_ADD(b, &operate_people_stmt, STORE_ANY_ROWS, SV_I(it->id), SV_I(AFF_OWNER),
                      SV_I(PEOPLE_MAX + 1));
            STORE_ADD(b, &operate_people_stmt, STORE_ANY_ROWS, SV_I(it->id), SV_I(AFF_MEMBER),
                      SV_I(PEOPLE_MAX + 1));
        }
    }
    store_submit(b, worker_loop(r->worker), 0, operate_list_part_read, r);
}

static int by_jid(const void *a, const void *b)
{
    return slice_compare((*(struct item *const *)a)->jid, (*(struct item *const *)b)->jid);
}

static void all_known(struct roll *r)
{
    uint32_t n = 0;
    map_fini(&r->loaded);
    r->sorted = arena_new(r->call->arena, struct item *, r->count + 1);
    for (struct item *i = r->first; i != NULL; i = i->next)
        r->sorted[n++] = i;
    qsort(r->sorted, n, sizeof *r->sorted, by_jid);
    r->shown = n < r->limit ? n : r->limit;
    if (r->report && r->shown > 0)
        operate_list_read_part(r);
    else
        operate_list_answer(r);
}

static void operate_list_read_page(struct roll *r, slice after);

static void operate_list_page_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct roll *r = arg;
    uint32_t rows = store_row_count(b, 0);
    if (result != STORE_OK) {
        map_fini(&r->loaded);
        command_fail_cause(r->call, err_of_store(result), "the rooms cannot be read");
        return;
    }
    for (uint32_t i = 0; i < rows; i++) {
        const struct item in = { .id = store_int(b, 0, i, 0),
                                 .jid = store_text(b, 0, i, 1),
                                 .name = store_text(b, 0, i, 2),
                                 .creator = store_text(b, 0, i, 3),
                                 .created_us = (uint64_t)store_int(b, 0, i, 4),
                                 .stored = true };
        if (!wanted(r, &in))
            continue;
        r->stored++;
        if (map_get(&r->loaded, in.jid) == NULL)
            operate_list_keep(r, &in);
    }
    if (rows < PAGE_ROWS || r->stored > r->limit)
        all_known(r);
    else
        operate_list_read_page(r, store_text(b, 0, rows - 1, 1));
}

static void operate_list_read_page(struct roll *r, slice after)
{
    struct store_batch *b = store_read(worker_store(r->worker), 0);
    STORE_ADD(b, &operate_page_stmt, STORE_ANY_ROWS, SV_T(after), SV_I(PAGE_ROWS));
    store_submit(b, worker_loop(r->worker), 0, operate_list_page_read, r);
}

/* A `check` of the filter. */
static bool can_fold(slice text)
{
    struct arena *tmp = arena_create(0);
    bool can = precis_fold(text, tmp, &text) == OK;
    arena_destroy(&tmp);
    return can;
}

static struct roll *roll_new(struct command_call *call)
{
    struct roll *r = arena_new(call->arena, struct roll, 1);
    slice filter = command_arg(call, "filter");
    *r = (struct roll){ .call = call,
                        .domain = command_arg(call, "domain"),
                        .after = command_arg(call, "after"),
                        .kind = (enum kind)command_number(call, "kind", KIND_ANY),
                        .report = call->command == &room_report_command,
                        .limit = command_page_limit(call) };
    if (filter.len > 0 && precis_fold(filter, call->arena, &r->filter) != OK)
        r->filter = filter;
    return r;
}

static void operate_list_run(struct command_call *call)
{
    rooms_each(call->worker, operate_list_part, roll_new(call));
}

static void rooms_gathered(struct command_call *call)
{
    struct roll *r = roll_new(call);
    ensure(call->worker == worker_here());
    r->worker = call->worker;
    map_init(&r->loaded, operate_list_item_key);
    for (const struct command_row *row = command_take_rows(call); row != NULL; row = row->next)
        operate_list_add_part(r, row);
    if (r->kind == KIND_ADHOC)
        all_known(r);
    else
        operate_list_read_page(r, r->after.len > 0 ? r->after : SLICE(""));
}

/* Rows. */

struct store_stmt operate_page_stmt = {
    .name = "room.page",
    .sql = "SELECT id, jid, name, creator, created_us FROM room WHERE jid > $1 ORDER BY jid "
           "LIMIT $2",
    .params = "ti",
    .cols = "ittti",
};
struct store_stmt operate_people_stmt = {
    .name = "room.people",
    .sql = "SELECT jid FROM room_affiliation WHERE room = $1 AND affiliation = $2 ORDER BY jid "
           "LIMIT $3",
    .params = "iii",
    .cols = "t",
};

static const char *const kinds[] = { "persistent", "adhoc", NULL };
static const struct command_arg list_args[] = {
    { .name = "domain",
      .kind = ARG_OPTION,
      .type = PARAM_DOMAIN,
      .doc = "only rooms of this group chat domain" },
    { .name = "filter",
      .kind = ARG_OPTION,
      .check = can_fold,
      .form = "text",
      .doc = "only rooms with this text in their address or name" },
    { .name = "kind",
      .kind = ARG_OPTION,
      .type = PARAM_CHOICE,
      .choices = kinds,
      .doc = "persistent or adhoc" },
    COMMAND_LIMIT_ARG(COMMAND_PAGE_MAX, "show at most this number of rooms"),
    { .name = "after", .kind = ARG_OPTION, .doc = "begin after the room with this address" },
    { 0 },
};
static const struct command_column room_parts[] = {
    { .name = "jid", .type = PARAM_ROOM, .doc = "address of the room" },
    { .name = "name", .doc = "its name" },
    { .name = "stored", .type = PARAM_BOOL, .doc = "whether it is persistent" },
    { .name = "occupants", .type = PARAM_INT, .doc = "how many are in it" },
    { .name = "id", .type = PARAM_INT, .doc = "owner of its archive" },
    { .name = "creator", .doc = "who made it" },
    { .name = "created_us", .type = PARAM_INT, .doc = "when it was made" },
    { .name = "last_us", .type = PARAM_INT, .doc = "when its last message came" },
    { .name = "owners", .doc = "of an ad hoc room" },
    { .name = "members", .doc = "of an ad hoc room" },
    { 0 },
};
struct command room_list_command = {
    .name = "room list",
    .rest = "GET /rooms",
    .effect = COMMAND_READS,
    .area = "rooms",
    .args = list_args,
    .runs_at = COMMAND_EACH,
    .run = operate_list_run,
    .gathered = rooms_gathered,
    .parts = room_parts,
    .doc = "Lists the rooms by address: persistent ones, and ad hoc ones, which exist while "
           "somebody is in them.",
    .columns =
        (const struct command_column[]){
            { .name = "jid", .type = PARAM_ROOM, .doc = "address of the room" },
            { .name = "name", .doc = "its name" },
            { .name = "kind", .doc = "persistent or adhoc" },
            { .name = "occupants", .type = PARAM_INT, .doc = "how many are in it" },
            USERS_UNSERVED_COLUMN,
            { 0 } },
};
struct command room_report_command = {
    .name = "room report",
    .rest = "GET /rooms/report",
    .effect = COMMAND_READS,
    .area = "rooms",
    .args = list_args,
    .runs_at = COMMAND_EACH,
    .run = operate_list_run,
    .gathered = rooms_gathered,
    .parts = room_parts,
    .doc = "Lists rooms with their owners and members by address (the first 1,000 of each; `room "
           "affiliations` shows all), creator and time of creation, time of the last message, and "
           "number of archived messages. With `musterctl --csv` it is a table for "
           "spreadsheets.",
    .columns =
        (const struct command_column[]){
            { .name = "jid", .type = PARAM_ROOM, .doc = "address of the room" },
            { .name = "name", .doc = "its name" },
            { .name = "kind", .doc = "persistent or adhoc" },
            { .name = "owners", .doc = "their addresses" },
            { .name = "members", .doc = "their addresses" },
            { .name = "occupants", .type = PARAM_INT, .doc = "how many are in it" },
            { .name = "created", .type = PARAM_STAMP, .doc = "when it was made" },
            { .name = "creator", .doc = "who made it" },
            { .name = "last_message", .type = PARAM_STAMP, .doc = "its last message; empty: none" },
            { .name = "messages", .type = PARAM_INT, .doc = "archived messages" },
            USERS_UNSERVED_COLUMN,
            { 0 } },
};
