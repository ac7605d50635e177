#include "ops/archive_read.h"
#include "archive/archive.h"
#include "archive/query.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "home/here.h"
#include "xmpp/archive_id.h"
#include "xmpp/datetime.h"
#include "xmpp/stanza.h"

enum {
    ROWS_DEFAULT = 100,
    PART_ROWS = 16,
    READ_BYTES = 4 << 20,
    SHOWN_BYTES_MAX = 2 << 20 /* of one message: imported ones can be longer than an answer */
};

/* In the arena of its call. */
struct archive_reading {
    struct command_call *call;
    struct archive_query find;
    struct mam_query ask;
    uint32_t read, part; /* of those found; how many are read at a time */
    size_t bytes;
};

static void archive_read_add(struct archive_reading *r, uint64_t id, uint64_t at_us, slice text)
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
        command_text(call, r->find.room.len > 0 ? "author" : "to", stanza_to(st));
        if (shown && stanza_has(st, KNOWN(BODY)))
            command_text(call, "body", stanza_child_text(st, KNOWN_BODY, call->arena));
        stanza_unref(&st);
    }
    if (shown)
        command_text(call, "stanza", text);
    else
        command_int(call, "bytes", (int64_t)text.len);
}

static void archive_read_end(const struct archive_reading *r)
{
    if (r->read > 0 && (r->read < r->find.found_count || !r->find.complete)) {
        char number[ARCHIVE_ID_LEN];
        archive_id_write(number, r->find.found[r->read - 1]);
        command_done_more(r->call, (slice){ number, sizeof number });
    } else {
        command_done(r->call, "%s", r->read > 0 ? "" : "there are none");
    }
}

static void archive_read_go_on(struct archive_reading *r);
static void archive_read_part(void *arg, enum store_result result, const struct store_batch *b)
{
    struct archive_reading *r = arg;
    if (result == STORE_CONFLICT && r->part > 1) { /* too many bytes */
        r->part = store_fewer(r->part);
        archive_read_go_on(r);
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
            archive_read_end(r);
            return;
        }
        r->bytes += shown;
        archive_read_add(r, r->find.found[r->read], (uint64_t)store_int(b, i, 0, 1), text);
    }
    archive_read_go_on(r);
}

static void archive_read_go_on(struct archive_reading *r)
{
    const struct archive_query *q = &r->find;
    ensure(r->read <= q->found_count && r->part > 0);
    if (r->read == q->found_count) {
        archive_read_end(r);
        return;
    }
    struct store_batch *b = store_read(worker_store(q->worker), 0);
    store_read_turn(b, q->user);
    for (uint32_t i = r->read; i < q->found_count && i < r->read + r->part; i++)
        STORE_ADD(b, &archive_row, STORE_ANY_ROWS, SV_I(q->owner), SV_I(q->found[i]));
    store_submit(b, worker_loop(q->worker), 0, archive_read_part, r);
}

static void archive_read_found(struct archive_query *q, enum stanza_error e, slice text)
{
    struct archive_reading *r = CONTAINER_OF(q, struct archive_reading, find);
    if (e == SE_ITEM_NOT_FOUND) { /* the id behind --after: its message is gone */
        r->call->culprit = "after";
        command_fail(r->call, E_NOTFOUND, "no message of this archive has the id of --after");
    } else if (e != SE_NONE) {
        command_fail(r->call, E_AGAIN, "%.*s", SLICE_ARG(text));
    } else {
        archive_read_go_on(r);
    }
}

static int64_t archive_read_time(const struct command_call *call, const char *arg, int64_t missing)
{
    int64_t us;
    return datetime_parse(command_arg(call, arg), &us) ? us : missing;
}

static struct archive_reading *archive_read_new(struct command_call *call, int64_t owner,
                                                slice room)
{
    struct archive_reading *r = arena_new(call->arena, struct archive_reading, 1);
    r->call = call;
    r->part = PART_ROWS;
    r->ask.start_us = archive_read_time(call, "start", INT64_MIN);
    r->ask.end_us = archive_read_time(call, "end", INT64_MAX);
    r->ask.before = INT64_MAX;
    r->ask.limit = (uint32_t)command_number(call, "limit", ROWS_DEFAULT);
    r->find = (struct archive_query){ .worker = call->worker,
                                      .owner = owner,
                                      .user = (uint64_t)owner,
                                      .room = room,
                                      .ask = &r->ask,
                                      .tmp = call->arena,
                                      .done = archive_read_found };
    return r;
}

void archive_read_run(struct command_call *call, int64_t owner, slice room)
{
    ensure(worker_is_here(call->worker) && owner > 0);
    struct archive_reading *r = archive_read_new(call, owner, room);
    slice with = command_arg(call, "with"), after = command_arg(call, "after");
    if (with.len > 0)
        r->ask.with = jid_split(with);
    if (after.len > 0 && !archive_id_read(after, &r->ask.after)) {
        archive_read_found(&r->find, SE_ITEM_NOT_FOUND, (slice){ 0 });
        return;
    }
    if (after.len > 0)
        r->ask.want[r->ask.want_count++] = (struct mam_want){ r->ask.after, MAM_WANT_AFTER };
    archive_find(&r->find);
}
