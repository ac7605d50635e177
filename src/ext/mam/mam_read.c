#include "ext/mam/mam_read.h"
#include "archive/archive.h"
#include "archive/query.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "home/here.h"
#include "ops/users.h"
#include "xmpp/archive_id.h"
#include "xmpp/datetime.h"
#include "xmpp/stanza.h"

enum {
    ROWS_DEFAULT = 100,
    ROWS_MAX = 1000,
    PART_ROWS = 16,
    READ_BYTES = 4 << 20,
    SHOWN_BYTES_MAX = 2 << 20 /* of one message: imported ones can be longer than an answer */
};

static struct store_stmt mam_read_account = {
    .name = "mam.read-account",
    .sql = "SELECT id FROM account WHERE jid = $1",
    .params = "t",
    .cols = "i",
};
struct store_stmt *const mam_read_stmts[] = { &mam_read_account, NULL };

/* In the arena of its call. */
struct mam_reading {
    struct command_call *call;
    struct archive_query find;
    struct mam_query ask;
    uint32_t read, part; /* of those found; how many are read at a time */
    size_t bytes;
};

static void mam_read_add(struct mam_reading *r, uint64_t id, uint64_t at_us, slice text)
{
    struct command_call *call = r->call;
    char stamp[CLOCK_STAMP_LEN], number[ARCHIVE_ID_LEN];
    struct stanza *st;
    clock_stamp(stamp, at_us);
    archive_id_write(number, id);
    command_row(call);
    command_text(call, "id", (slice){ number, sizeof number });
    command_text(call, "time", slice_of(stamp));
    bool shown = text.len <= SHOWN_BYTES_MAX;
    if (stanza_load(&st, text, worker_xml(call->worker), call->arena) == OK) {
        command_text(call, "from", stanza_from(st));
        command_text(call, "to", stanza_to(st));
        if (shown && stanza_has(st, KNOWN(BODY)))
            command_text(call, "body", stanza_child_text(st, KNOWN_BODY, call->arena));
        stanza_unref(&st);
    }
    if (shown)
        command_text(call, "stanza", text);
    else
        command_int(call, "bytes", (int64_t)text.len);
}

static void mam_read_end(const struct mam_reading *r)
{
    if (r->read > 0 && (r->read < r->find.found_count || !r->find.complete)) {
        char number[ARCHIVE_ID_LEN];
        archive_id_write(number, r->find.found[r->read - 1]);
        command_done_more(r->call, (slice){ number, sizeof number });
    } else {
        command_done(r->call, "%s", r->read > 0 ? "" : "there are none");
    }
}

static void mam_read_go_on(struct mam_reading *r);
static void mam_read_part(void *arg, enum store_result result, const struct store_batch *b)
{
    struct mam_reading *r = arg;
    if (result == STORE_CONFLICT && r->part > 1) { /* too many bytes */
        r->part = store_fewer(r->part);
        mam_read_go_on(r);
        return;
    }
    if (result != STORE_OK) {
        command_fail_cause(r->call, err_of_store(result), "the archive could not be read");
        return;
    }
    for (unsigned i = 0; i < store_stmt_count(b); i++, r->read++) {
        if (store_row_count(b, i) == 0) /* it was removed meanwhile */
            continue;
        slice text = store_text(b, i, 0, 2);
        size_t shown = text.len <= SHOWN_BYTES_MAX ? text.len : 0;
        if (r->bytes > 0 && r->bytes + shown > READ_BYTES) {
            mam_read_end(r);
            return;
        }
        r->bytes += shown;
        mam_read_add(r, r->find.found[r->read], (uint64_t)store_int(b, i, 0, 1), text);
    }
    mam_read_go_on(r);
}

static void mam_read_go_on(struct mam_reading *r)
{
    const struct archive_query *q = &r->find;
    ensure(r->read <= q->found_count && r->part > 0);
    if (r->read == q->found_count) {
        mam_read_end(r);
        return;
    }
    struct store_batch *b = store_read(worker_store(q->worker), 0);
    store_read_turn(b, q->user);
    for (uint32_t i = r->read; i < q->found_count && i < r->read + r->part; i++)
        STORE_ADD(b, &archive_row, STORE_ANY_ROWS, SV_I(q->owner), SV_I(q->found[i]));
    store_submit(b, worker_loop(q->worker), 0, mam_read_part, r);
}

static void mam_read_found(struct archive_query *q, enum stanza_error e, slice text)
{
    struct mam_reading *r = CONTAINER_OF(q, struct mam_reading, find);
    if (e == SE_ITEM_NOT_FOUND) /* the id behind --after: its message is gone */
        command_fail(r->call, E_NOTFOUND, "no message of this archive has the id of --after");
    else if (e != SE_NONE)
        command_fail(r->call, E_AGAIN, "%.*s", SLICE_ARG(text));
    else
        mam_read_go_on(r);
}

static void mam_read_known(void *arg, enum store_result result, const struct store_batch *b)
{
    struct mam_reading *r = arg;
    if (result != STORE_OK) {
        command_fail_cause(r->call, err_of_store(result), "the account could not be read");
        return;
    }
    if (store_row_count(b, 0) == 0) {
        users_fail_missing(r->call, command_arg(r->call, "jid"));
        return;
    }
    r->find.owner = store_int(b, 0, 0, 0);
    r->find.user = (uint64_t)r->find.owner;
    archive_find(&r->find);
}

static int64_t mam_read_time(const struct command_call *call, const char *arg, int64_t missing)
{
    int64_t us;
    return datetime_parse(command_arg(call, arg), &us) ? us : missing;
}

static void run_archive_read(struct command_call *call)
{
    ensure(worker_is_here(call->worker));
    struct mam_reading *r = arena_new(call->arena, struct mam_reading, 1);
    *r = (struct mam_reading){ .call = call,
                               .part = PART_ROWS,
                               .ask = { .start_us = mam_read_time(call, "start", INT64_MIN),
                                        .end_us = mam_read_time(call, "end", INT64_MAX),
                                        .before = INT64_MAX,
                                        .limit =
                                            (uint32_t)command_number(call, "limit", ROWS_DEFAULT) },
                               .find = { .worker = call->worker,
                                         .ask = &r->ask,
                                         .tmp = call->arena,
                                         .done = mam_read_found } };
    slice with = command_arg(call, "with"), after = command_arg(call, "after");
    if (with.len > 0)
        r->ask.with = jid_split(with);
    if (after.len > 0) {
        if (!archive_id_read(after, &r->ask.after)) {
            mam_read_found(&r->find, SE_ITEM_NOT_FOUND, (slice){ 0 });
            return;
        }
        r->ask.want[r->ask.want_count++] = (struct mam_want){ r->ask.after, MAM_WANT_AFTER };
    }
    struct store_batch *b = store_read(worker_store(call->worker), 0);
    STORE_ADD(b, &mam_read_account, STORE_ANY_ROWS, SV_T(command_arg(call, "jid")));
    store_submit(b, worker_loop(call->worker), 0, mam_read_known, r);
}

#define TIME_ARG(text, about)                                                                      \
    {                                                                                              \
        .name = text, .kind = ARG_OPTION, .check = datetime_is, .max = 64, .form = DATETIME_FORM,  \
        .doc = about                                                                               \
    }
struct command mam_read_command = {
    .name = "archive read",
    .effect = COMMAND_READS,
    .area = "compliance",
    .audited = true,
    .reasoned = true,
    .args =
        (const struct command_arg[]){
            COMMAND_ANY_USER_ARG,
            { .name = "with",
              .kind = ARG_OPTION,
              .type = PARAM_JID,
              .doc = "only messages from or to this address" },
            TIME_ARG("start", "only messages of this time or later"),
            TIME_ARG("end", "only messages of this time or earlier"),
            { .name = "after",
              .kind = ARG_OPTION,
              .max = ARCHIVE_ID_LEN,
              .doc = "begin after this message" },
            COMMAND_LIMIT_ARG(ROWS_MAX, "show at most this number; 100 if not given"),
            COMMAND_REASON_ARG,
            { 0 } },
    .run = run_archive_read,
    .doc =
        "Shows the messages in the archive of a user. The oldest is first. What the user has not "
        "seen yet stays unseen. It needs the permission compliance.read, and whoever is not at "
        "the control socket must state a reason; each use has an entry in the audit log. "
        "Messages of rooms are in the archive of the room: see `room export`.",
    .columns =
        (const struct command_column[]){
            { .name = "id", .doc = "its id in the archive, as clients have it" },
            { .name = "time", .type = PARAM_STAMP, .doc = "when it was stored" },
            { .name = "from", .optional = true, .type = PARAM_JID, .doc = "who sent it" },
            { .name = "to", .optional = true, .type = PARAM_JID, .doc = "to whom" },
            { .name = "body", .optional = true, .doc = "its text" },
            { .name = "stanza",
              .optional = true,
              .wide = true,
              .doc = "all of it, as it is stored" },
            { .name = "bytes",
              .optional = true,
              .type = PARAM_INT,
              .doc = "the length of a message of more than 2 MiB, of which `body` and `stanza` are "
                     "left out: `export xep0227` has them" },
            { 0 } },
};
