#include "admin/trace_message.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/node.h"
#include "home/trail.h"
#include "remote/foreign.h"
#include "xmpp/datetime.h"
#include "xmpp/jid.h"
#include <stdlib.h>

enum { WITHIN_MS = 5 * 60 * 1000, LONGEST_MS = 30 * 24 * 3600 };

/* The address that is asked for. */
struct trace_address {
    slice given;
    slice account; /* if other servers know that by the given one; else empty */
};
struct trace_wish {
    struct command_call *call;
    slice id;
    struct trace_address from, to;
    uint64_t begin_us, end_us;
    uint32_t count;
};

static struct trace_address trace_address(struct command_call *call, const char *arg)
{
    struct trace_address a = { .given = command_arg(call, arg) };
    if (a.given.ptr == NULL)
        return a;
    struct jid jid = jid_split(a.given);
    slice account = foreign_known_by(jid_bare_of(a.given), call->arena);
    if (account.len > 0 && jid.resource.len > 0)
        a.account = slice_of(
            arena_printf(call->arena, "%.*s/%.*s", SLICE_ARG(account), SLICE_ARG(jid.resource)));
    else
        a.account = account;
    return a;
}

/* A bare address means each of its resources, too. */
static bool trace_is_within(slice address, slice wanted)
{
    return slice_eq(address, wanted) ||
           (slice_starts(address, wanted) && address.ptr[wanted.len] == '/');
}

static bool trace_is_of(slice address, const struct trace_address *wanted)
{
    return wanted->given.ptr == NULL || trace_is_within(address, wanted->given) ||
           (wanted->account.len > 0 && trace_is_within(address, wanted->account));
}

/* What a room says has no addressee of its own: it is told to the room, and written to `whom`. */
static bool trace_is_to(const struct trail_step *step, const struct trace_address *wanted)
{
    if (step->to.len > 0)
        return trace_is_of(step->to, wanted);
    return trace_is_of(step->from, wanted) || trace_is_of(step->whom, wanted);
}

static void trace_step(const struct trail_step *step, void *arg)
{
    struct trace_wish *wish = arg;
    struct command_call *call = wish->call;
    char stamp[CLOCK_STAMP_LEN];
    if (step->at_us < wish->begin_us || step->at_us > wish->end_us ||
        (wish->id.ptr != NULL && !slice_eq(step->id, wish->id)) ||
        !trace_is_of(step->from, &wish->from) || !trace_is_to(step, &wish->to))
        return;
    clock_stamp(stamp, step->at_us);
    command_row(call);
    command_text(call, "time", slice_dup(call->arena, slice_of(stamp)));
    command_text(call, "event", slice_of(step->event));
    command_text(call, "why", slice_of(step->why));
    command_text(call, "whom", slice_dup(call->arena, step->whom));
    command_text(call, "from", slice_dup(call->arena, step->from));
    command_text(call, "to", slice_dup(call->arena, step->to));
    command_text(call, "id", slice_dup(call->arena, step->id));
    command_text(call, "node", slice_of(worker_node(call->worker)->name));
    if (wish->count++ >= TRACE_ROWS_MAX) /* the oldest goes */
        call->rows = call->rows->next;
}

static void run_trace_message(struct command_call *call)
{
    int64_t around_us;
    struct trace_wish wish = { .call = call,
                               .id = command_arg(call, "id"),
                               .from = trace_address(call, "from"),
                               .to = trace_address(call, "to"),
                               .end_us = UINT64_MAX };
    uint64_t within_us = (uint64_t)command_number(call, "within", WITHIN_MS) * 1000;
    slice around = command_arg(call, "around");
    if (around.ptr != NULL && datetime_parse(around, &around_us)) {
        wish.begin_us = (uint64_t)around_us > within_us ? (uint64_t)around_us - within_us : 0;
        wish.end_us = (uint64_t)around_us + within_us;
    }
    trail_each(trace_step, &wish);
}

struct trace_row {
    struct command_row *row;
    unsigned rank;  /* trail_rank() of its event */
    uint32_t place; /* among those of its worker */
};

static int trace_by_time(const void *a, const void *b)
{
    const struct trace_row *one = a, *other = b;
    int by_time =
        slice_compare(command_row_text(one->row, "time"), command_row_text(other->row, "time"));
    if (by_time != 0)
        return by_time;
    if (one->rank != other->rank)
        return one->rank < other->rank ? -1 : 1;
    return one->place < other->place ? -1 : one->place > other->place;
}

static void trace_gathered(struct command_call *call)
{
    uint32_t count = 0;
    struct command_row *first = command_take_rows(call);
    for (const struct command_row *r = first; r != NULL; r = r->next)
        count++;
    struct trace_row *rows = arena_new(call->arena, struct trace_row, count + 1);
    for (uint32_t i = 0; first != NULL; first = first->next, i++)
        rows[i] = (struct trace_row){ first, trail_rank(command_row_text(first, "event")), i };
    qsort(rows, count, sizeof *rows, trace_by_time);
    for (uint32_t i = count > TRACE_ROWS_MAX ? count - TRACE_ROWS_MAX : 0; i < count; i++)
        command_keep_row(call, rows[i].row);
    command_done(call, "%s",
                 count > 0 ? ""
                           : "nothing is known of such a message: see trace.keep, trace.memory");
}

#define TRACE_ADDRESS "an address of a user or room, with or without resource, or a domain"

static struct command trace_message_command = {
    .name = "trace message",
    .rest = "GET /trace/messages",
    .effect = COMMAND_READS,
    .area = "trace",
    .audited = true,
    .runs_at = COMMAND_EACH,
    .args = (const struct command_arg[]){ { .name = "id",
                                            .kind = ARG_OPTIONAL,
                                            .max = TRAIL_ID_MAX,
                                            .doc = "the attribute id of the message" },
                                          { .name = "from",
                                            .kind = ARG_OPTION,
                                            .type = PARAM_JID,
                                            .doc = "only from this address: " TRACE_ADDRESS },
                                          { .name = "to",
                                            .kind = ARG_OPTION,
                                            .type = PARAM_JID,
                                            .doc = "only to this address, likewise" },
                                          { .name = "around",
                                            .kind = ARG_OPTION,
                                            .check = datetime_is,
                                            .max = 64,
                                            .form = DATETIME_FORM,
                                            .doc = "only near this time" },
                                          { .name = "within",
                                            .kind = ARG_OPTION,
                                            .type = PARAM_MS,
                                            .min = 1000,
                                            .max = INT64_C(1000) * LONGEST_MS,
                                            .doc = "how near; the default is 5 minutes" },
                                          { 0 } },
    .run = run_trace_message,
    .gathered = trace_gathered,
    .doc =
        "Shows the way of messages: accepted, refused and why, archived for whom, sent to another "
        "node, queued for or written to which session, acknowledged, pushed, sent to another "
        "server, returned. The text is not known. At most "
        "500 steps, the newest; without arguments those of any message. Each use has an entry in "
        "the audit log.",
    .columns =
        (const struct command_column[]){
            { .name = "time", .type = PARAM_STAMP, .exact = true, .doc = "when" },
            { .name = "event", .doc = "what happened" },
            { .name = "why", .doc = "the reason" },
            { .name = "whom", .doc = "session, archive, push service or server" },
            { .name = "from", .doc = "sender" },
            { .name = "to", .doc = "addressee" },
            { .name = "id", .doc = "id of the message; it may be empty" },
            { .name = "node", .apart = true, .doc = "name of the node" },
            { 0 } },
};

const struct feature trace_feature = {
    .name = "trace",
    .settings = trail_settings,
    .commands = (struct command *const[]){ &trace_message_command, NULL },
    .worker.start = trail_worker_start,
    .worker.stop = trail_worker_stop,
};
