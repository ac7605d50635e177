#include "ext/mam/mam_read.h"
#include "base/ensure.h"
#include "home/here.h"
#include "ops/archive_read.h"
#include "ops/users.h"

static struct store_stmt mam_read_account = {
    .name = "mam.read-account",
    .sql = "SELECT id FROM account WHERE jid = $1",
    .params = "t",
    .cols = "i",
};
struct store_stmt *const mam_read_stmts[] = { &mam_read_account, NULL };

static void mam_read_known(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    ensure(!call->ended);
    if (result != STORE_OK)
        command_fail_cause(call, err_of_store(result), "the account could not be read");
    else if (store_row_count(b, 0) == 0)
        users_fail_missing(call, command_arg(call, "jid"));
    else
        archive_read_run(call, store_int(b, 0, 0, 0), (slice){ 0 });
}

static void run_archive_read(struct command_call *call)
{
    ensure(worker_is_here(call->worker));
    struct store_batch *b = store_read(worker_store(call->worker), 0);
    STORE_ADD(b, &mam_read_account, STORE_ANY_ROWS, SV_T(command_arg(call, "jid")));
    store_submit(b, worker_loop(call->worker), 0, mam_read_known, call);
}

struct command mam_read_command = {
    .name = "archive read",
    .rest = "GET /users/{jid}/messages",
    .effect = COMMAND_READS,
    .area = "compliance",
    .audited = true,
    .reasoned = true,
    .args =
        (const struct command_arg[]){ COMMAND_ANY_USER_ARG,
                                      ARCHIVE_READ_ARGS("only messages from or to this address"),
                                      { 0 } },
    .run = run_archive_read,
    .doc =
        "Shows the messages in the archive of a user. The oldest is first. What the user has not "
        "seen yet stays unseen. It needs the permission compliance.read, and whoever is not at "
        "the control socket must state a reason; each use has an entry in the audit log. "
        "Messages of rooms are in the archive of the room: see `archive room`.",
    .columns =
        (const struct command_column[]){ ARCHIVE_READ_COLUMNS("to", "to whom", "export xep0227"),
                                         { 0 } },
};
