#include "muc/operate/operate_archive.h"
#include "base/ensure.h"
#include "home/here.h"
#include "muc/room/room.h"
#include "muc/state/reach.h"
#include "ops/archive_read.h"

struct store_stmt archive_room_stmt = {
    .name = "room.archive-of",
    .sql = "SELECT id FROM room WHERE jid = $1",
    .params = "t",
    .cols = "i",
};

/* It has no row, so it is ad hoc, if it is there. */
static void archive_room_reached(struct room *r, enum err e, void *arg)
{
    struct command_call *call = arg;
    slice room = command_arg(call, "room");
    if (e == OK && r->state == ACTOR_READY)
        command_fail(call, E_CONFLICT,
                     "%.*s is an ad hoc room, which has no archive; its owner can make it "
                     "persistent in a client",
                     SLICE_ARG(room));
    else
        operate_fail_missing(call, room);
}

static void archive_room_known(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    slice room = command_arg(call, "room");
    ensure(!call->ended);
    if (result != STORE_OK)
        command_fail_cause(call, err_of_store(result), "the room could not be read");
    else if (store_row_count(b, 0) == 0)
        operate_reach(call->worker, room, archive_room_reached, call);
    else
        archive_read_run(call, store_int(b, 0, 0, 0), room);
}

static void run_archive_room(struct command_call *call)
{
    ensure(worker_is_here(call->worker));
    struct store_batch *b = store_read(worker_store(call->worker), 0);
    STORE_ADD(b, &archive_room_stmt, STORE_ANY_ROWS, SV_T(command_arg(call, "room")));
    store_submit(b, worker_loop(call->worker), 0, archive_room_known, call);
}

struct command archive_room_command = {
    .name = "archive room",
    .rest = "GET /rooms/{room}/messages",
    .effect = COMMAND_READS,
    .area = "compliance",
    .audited = true,
    .reasoned = true,
    .args =
        (const struct command_arg[]){
            { .name = "room",
              .kind = ARG_POSITIONAL,
              .type = PARAM_ROOM,
              .doc = "address of the room" },
            ARCHIVE_READ_ARGS("only messages from this address in the room, as room@service/nick"),
            { 0 } },
    .home = "room",
    .run = run_archive_room,
    .doc = "Shows the messages in the archive of a room. The oldest is first. Their authors are "
           "named, also those of an anonymous room. It needs the permission compliance.read, and "
           "whoever is not at the control socket must state a reason; each use has an entry in the "
           "audit log.",
    .columns =
        (const struct command_column[]){
            ARCHIVE_READ_COLUMNS("author", "address of the author", "room export"), { 0 } },
};
