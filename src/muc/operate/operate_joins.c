#include "muc/operate/operate_joins.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "home/here.h"
#include "muc/room/room.h"
#include "muc/state/reach.h"
#include "ops/users.h"
#include "store/store.h"
#include "xmpp/stanza.h"
#include <inttypes.h>

struct store_stmt operate_joins_stmt = {
    .name = "room.joins",
    .sql = "SELECT e.id, m.at_us, m.stanza FROM entry e JOIN message m ON m.id = e.msg"
           " WHERE e.owner = $1 AND e.id > $2 AND e.flags >= 2 ORDER BY e.id LIMIT $3",
    .params = "iii",
    .cols = "iit",
};

struct task {
    struct command_call *call;
    struct worker *worker; /* the room's home */
    int64_t after;
    uint32_t limit;
};

static void operate_joins_add_row(struct task *t, const struct store_batch *b, uint32_t row)
{
    struct arena *tmp = loop_scratch(worker_loop(t->worker));
    struct stanza *st;
    if (stanza_load(&st, store_text(b, 0, row, 2), worker_xml(t->worker), tmp) != OK)
        return; /* the database is damaged there */
    command_row(t->call);
    users_add_time(t->call, "time", (uint64_t)store_int(b, 0, row, 1));
    command_text(t->call, "event", st->type == TYPE_AVAILABLE ? SLICE("enter") : SLICE("leave"));
    command_text(t->call, "nick", slice_from(stanza_from(st), st->from_bare_len + 1u));
    command_text(t->call, "jid", stanza_to(st));
    stanza_unref(&st);
}

static void joins_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct task *t = arg;
    ensure(t->limit > 0 && worker_is_here(t->worker));
    if (result != STORE_OK) {
        command_fail_cause(t->call, err_of_store(result), "the archive of the room cannot be read");
        return;
    }
    uint32_t rows = store_row_count(b, 0), shown = rows < t->limit ? rows : t->limit;
    for (uint32_t i = 0; i < shown; i++)
        operate_joins_add_row(t, b, i);
    if (shown < rows)
        command_done_more_number(t->call, store_int(b, 0, shown - 1, 0));
    else
        command_done(t->call, "%s", "");
}

static void joins(struct room *r, void *arg)
{
    struct task *t = arg;
    struct store_batch *b = store_read(room_store(r), (uint64_t)r->id);
    t->worker = r->worker;
    store_read_late(b, r->id);
    STORE_ADD(b, &operate_joins_stmt, STORE_ANY_ROWS, SV_I(r->id), SV_I(t->after),
              SV_I(t->limit + 1));
    store_submit(b, room_loop(r), 0, joins_read, t);
}

static void run_joins(struct command_call *call)
{
    struct task *t = arena_new(call->arena, struct task, 1);
    *t = (struct task){ .call = call,
                        .after = command_number(call, "after", 0),
                        .limit = command_page_limit(call) };
    operate_visit(call, joins, t);
}

static const struct command_arg args[] = {
    { .name = "room", .kind = ARG_POSITIONAL, .type = PARAM_ROOM, .doc = "address of the room" },
    COMMAND_LIMIT_ARG(COMMAND_PAGE_MAX, "how many are shown"),
    { .name = "after",
      .kind = ARG_OPTION,
      .type = PARAM_INT,
      .max = PARAM_NONE,
      .doc = "begin after this number" },
    { 0 },
};
struct command room_joins_command = {
    .name = "room joins",
    .rest = "GET /rooms/{room}/joins",
    .effect = COMMAND_READS,
    .area = "rooms",
    .args = args,
    .home = "room",
    .run = run_joins,
    .doc = "Shows who entered and left a room, and when. Users are shown by address. The room must "
           "archive that: the setting muc.archive-joins turns it on for new rooms, `room set ROOM "
           "archivejoins on` for one room.",
    .columns =
        (const struct command_column[]){ { .name = "time", .type = PARAM_STAMP, .doc = "when" },
                                         { .name = "event", .doc = "enter or leave" },
                                         { .name = "nick", .doc = "nickname" },
                                         { .name = "jid", .type = PARAM_JID, .doc = "the user" },
                                         { 0 } },
};
