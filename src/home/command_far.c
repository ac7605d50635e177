#include "home/command_far.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "home/command_run.h"
#include "home/here.h"
#include "home/node.h"
#include "home/question.h"
#include <endian.h>

/* Texts, each with what it is. */

enum part { PART_NAME, PART_ROW, PART_VALUE }; /* PART_VALUE and more: a kind of field */

static void far_part_add(struct buf *out, unsigned what, slice text)
{
    const uint8_t byte = (uint8_t)what;
    const uint32_t len = htole32((uint32_t)text.len);
    buf_append(out, &byte, sizeof byte);
    buf_append(out, &len, sizeof len);
    buf_add(out, text);
}

static bool far_part_next(slice *rest, unsigned *what, slice *text)
{
    uint32_t len;
    if (rest->len < 1 + sizeof len)
        return false;
    *what = (uint8_t)rest->ptr[0];
    memcpy(&len, rest->ptr + 1, sizeof len);
    len = le32toh(len);
    slice after = slice_from(*rest, 1 + sizeof len);
    if (len > after.len)
        return false;
    *text = (slice){ after.ptr, len };
    *rest = slice_from(after, len);
    return true;
}

/* The messages. */

enum { ARGS_BYTES_MAX = 256 * 1024, ROWS_BYTES_MAX = 32 << 20, ACTOR_MAX = JID_MAX + 64 };

struct command_asked {
    slice name, actor, args;
    bool remote, discreet;
};
static const struct message_field asked_fields[] = {
    F_TEXT(struct command_asked, name, 64),
    F_TEXT(struct command_asked, actor, ACTOR_MAX),
    F_BYTES(struct command_asked, args, ARGS_BYTES_MAX),
    F_BOOL(struct command_asked, remote),
    F_BOOL(struct command_asked, discreet),
    { 0 },
};

struct command_answered {
    uint8_t err; /* enum err */
    slice text, rows;
};
static const struct message_field answered_fields[] = {
    F_U8(struct command_answered, err, ERR_COUNT - 1),
    F_TEXT(struct command_answered, text, ROWS_BYTES_MAX),
    F_BYTES(struct command_answered, rows, ROWS_BYTES_MAX),
    { 0 },
};
const struct message_row command_answered_message = {
    .id = 33,
    .scope = MESSAGE_CLUSTER,
    .name = "command-answered",
    .size = sizeof(struct command_answered),
    .fields = answered_fields,
};

/* Where it was given. */

struct far_asker {
    struct command_call *call;
    enum err err;
    slice text; /* in the arena of the call */
};

static void far_rows(struct command_call *call, slice rows)
{
    unsigned what;
    slice text, key = { 0 };
    bool in_row = false;
    while (far_part_next(&rows, &what, &text)) {
        if (what == PART_ROW)
            command_row(call);
        else if (what == PART_NAME)
            key = text;
        else if (in_row)
            command_field(call, key, what - PART_VALUE, text); /* false: not in our release */
        in_row = in_row || what == PART_ROW;
    }
}

static void far_heard(struct worker *w, void *arg, void *answer, const struct message_from *from)
{
    struct far_asker *f = arg;
    const struct command_answered *a = answer;
    (void)w, (void)from;
    f->err = (enum err)a->err;
    f->text = slice_dup(f->call->arena, a->text);
    far_rows(f->call, a->rows);
}

static void far_over(struct worker *w, void *arg)
{
    const struct far_asker *f = arg;
    f->call->worker = w;
    if (f->err == OK)
        command_done(f->call, "%.*s", SLICE_ARG(f->text));
    else
        command_fail(f->call, f->err, "%.*s", SLICE_ARG(f->text));
}

void command_far(struct command_call *call, uint32_t node, unsigned worker)
{
    const struct command_arg *rows = call->command->args;
    struct far_asker *f = arena_new(call->arena, struct far_asker, 1);
    struct buf args;
    ensure(call->worker == worker_here() && !call->ended);
    *f = (struct far_asker){ call, E_DOWN,
                             SLICE_INIT("the node where it runs ended before it answered") };
    buf_init(&args, ARGS_BYTES_MAX);
    for (size_t i = 0; rows != NULL && rows[i].name != NULL; i++) {
        if (call->args[i].ptr == NULL)
            continue;
        far_part_add(&args, PART_NAME, slice_of(rows[i].name));
        far_part_add(&args, PART_VALUE, call->args[i]);
    }
    struct command_asked asked = { slice_of(call->command->name), call->actor, buf_slice(&args),
                                   call->remote, call->discreet };
    if (args.overflow)
        command_fail(call, E_LIMIT, "its arguments are too long");
    else
        home_ask_at(call->worker, node, worker, &command_asked_message, &asked,
                    &(struct asker){ .gather = far_heard, .done = far_over, .arg = f });
    buf_fini(&args);
}

/* Where it runs. */

struct far_call {
    struct command_call call;
    struct message_from from;
    struct loop_defer ended;
};

static void far_pack_rows(struct buf *out, const struct command_call *call)
{
    for (const struct command_row *r = call->rows; r != NULL; r = r->next) {
        far_part_add(out, PART_ROW, (slice){ 0 });
        for (uint32_t i = 0; i < r->count; i++) {
            far_part_add(out, PART_NAME, slice_of(r->fields[i].key));
            far_part_add(out, PART_VALUE + (unsigned)r->fields[i].kind, r->fields[i].str);
        }
    }
}

static void far_ended(struct loop_defer *d)
{
    struct far_call *f = CONTAINER_OF(d, struct far_call, ended);
    struct command_answered a = { .err = (uint8_t)f->call.err, .text = f->call.text };
    struct worker *w = worker_here();
    struct buf rows;
    ensure(w != NULL && f->call.ended && f->from.part == PART_QUESTION);
    buf_init(&rows, ROWS_BYTES_MAX);
    far_pack_rows(&rows, &f->call);
    a.rows = buf_slice(&rows);
    if (rows.overflow)
        a = (struct command_answered){ E_LIMIT,
                                       SLICE_INIT("the answer is too long; ask for less"),
                                       { 0 } };
    question_answer(w, &f->from, &command_answered_message, &a);
    question_end(w, &f->from);
    buf_fini(&rows);
    arena_destroy(&f->call.arena);
    mem_free(&f);
}

/* On whatever worker it ended, which may still look at the call until it returns. */
static void far_finished(struct command_call *call, void *arg)
{
    struct far_call *f = arg;
    ensure(call == &f->call);
    f->ended.fn = far_ended;
    loop_defer(loop_here(), &f->ended);
}

static enum err far_bind(struct command_call *call, slice args, struct why *why)
{
    slice names[COMMAND_ARGS_MAX], values[COMMAND_ARGS_MAX], text;
    size_t count = 0;
    unsigned what;
    while (far_part_next(&args, &what, &text)) {
        if (what == PART_NAME && count < COMMAND_ARGS_MAX) {
            names[count] = text;
            values[count++] = (slice){ 0 };
        } else if (what == PART_VALUE && count > 0) {
            values[count - 1] = text;
        } else {
            why_set(why, "its arguments were not understood");
            return E_SYNTAX;
        }
    }
    return command_bind(call, names, values, count, why);
}

static void command_asked_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct command_asked *asked = message;
    struct far_call *f = mem_new(struct far_call);
    struct arena *arena = arena_create(0);
    struct why why = { 0 };
    f->from = *from;
    f->call = (struct command_call){ .command = command_find(asked->name),
                                     .arena = arena,
                                     .worker = w,
                                     .actor = slice_dup(arena, asked->actor),
                                     .finished = far_finished,
                                     .arg = f,
                                     .remote = asked->remote,
                                     .discreet = asked->discreet };
    if (f->call.command == NULL)
        command_fail(&f->call, E_UNSUPPORTED, "the node where it runs does not know it");
    else if (far_bind(&f->call, asked->args, &why) != OK)
        command_fail(&f->call, E_SYNTAX, "%s", why.text);
    else
        command_run_here(w, &f->call);
}

const struct message_row command_asked_message = {
    .id = 32,
    .scope = MESSAGE_CLUSTER,
    .name = "command-asked",
    .size = sizeof(struct command_asked),
    .fields = asked_fields,
    .run = command_asked_run,
    .answer = &command_answered_message,
    .later = true,
    .slow = true,
};
