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
#include "home/texts.h"

/* The messages. */

enum {
    ARGS_BYTES_MAX = 256 * 1024,
    ANSWER_BYTES_MAX = 32 << 20, /* text and rows together: a message holds them */
    ACTOR_MAX = JID_MAX + 64,
    CULPRIT_MAX = 64
};

struct command_asked {
    slice name, actor;
    slice args; /* name, value, name, value … */
    bool remote, discreet, by_token;
    uint8_t kind; /* enum principal_kind */
    bool scoped;  /* has a scope, perhaps an empty one */
    slice from, role, grants, scope, own;
    int64_t generation;
    bool itself;
};
static const struct message_field asked_fields[] = {
    F_TEXT(struct command_asked, name, 64),
    F_TEXT(struct command_asked, actor, ACTOR_MAX),
    F_TEXTS(struct command_asked, args, ARGS_BYTES_MAX),
    F_BOOL(struct command_asked, remote),
    F_BOOL(struct command_asked, discreet),
    F_BOOL(struct command_asked, by_token),
    F_U8(struct command_asked, kind, PRINCIPAL_KINDS - 1),
    F_BOOL(struct command_asked, scoped),
    F_TEXT(struct command_asked, from, ACTOR_MAX),
    F_TEXT(struct command_asked, role, ACTOR_MAX),
    F_TEXT(struct command_asked, grants, GRANTS_BYTES_MAX),
    F_TEXT(struct command_asked, scope, GRANTS_BYTES_MAX),
    F_TEXT(struct command_asked, own, ACTOR_MAX),
    F_I64(struct command_asked, generation),
    F_BOOL(struct command_asked, itself),
    { 0 },
};

struct command_answered {
    uint8_t err; /* enum err */
    slice text;
    slice rows; /* of each row: an empty text, then key, value, key, value … */
    uint64_t left_out;
    bool discreet; /* its arguments are not logged where it was given either */
    slice culprit; /* of struct command_call, as `next`; empty: none */
    slice next;
    slice before, after; /* command_changed() */
};
static const struct message_field answered_fields[] = {
    F_ERR(struct command_answered, err),
    F_TEXT(struct command_answered, text, ANSWER_BYTES_MAX),
    F_TEXTS(struct command_answered, rows, ANSWER_BYTES_MAX),
    F_U64(struct command_answered, left_out),
    F_BOOL(struct command_answered, discreet),
    F_TEXT(struct command_answered, culprit, CULPRIT_MAX),
    F_TEXT(struct command_answered, next, ARGS_BYTES_MAX),
    F_TEXT(struct command_answered, before, COMMAND_CHANGED_MAX),
    F_TEXT(struct command_answered, after, COMMAND_CHANGED_MAX),
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
    slice key, value;
    bool in_row = false;
    while (texts_next(&rows, &key)) {
        if (key.len == 0)
            command_row(call);
        else if (texts_next(&rows, &value) && in_row)
            command_field(call, key, value); /* false: not in our release */
        in_row = in_row || key.len == 0;
    }
}

static void far_heard(struct worker *w, void *arg, void *answer, const struct message_from *from)
{
    struct far_asker *f = arg;
    const struct command_answered *a = answer;
    (void)w, (void)from;
    ensure(!f->call->ended);              /* far_over() ends it, behind the last answer */
    if (!f->call->part || f->err == OK) { /* of many the first failure */
        f->err = (enum err)a->err;
        f->text = slice_dup(f->call->arena, a->text);
        f->call->culprit = a->culprit.len > 0 ? slice_cstr(f->call->arena, a->culprit) : NULL;
    }
    if (!f->call->part && a->next.len > 0)
        f->call->next = slice_dup(f->call->arena, a->next);
    f->call->left_out += a->left_out;
    f->call->discreet = a->discreet;
    if (a->before.len > 0 || a->after.len > 0)
        command_changed(f->call, a->before, a->after);
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

/* Borrows the buffer for its arguments. false: the call has failed. */
static bool far_ask(struct command_call *call, struct buf *args, struct command_asked *out)
{
    const struct command_arg *rows = call->command->args;
    ensure(call->worker == worker_here() && !call->ended);
    for (size_t i = 0; rows != NULL && rows[i].name != NULL; i++) {
        if (call->args[i].ptr == NULL)
            continue;
        texts_add(args, slice_of(rows[i].name));
        texts_add(args, call->args[i]);
    }
    if (args->overflow) {
        command_fail(call, E_LIMIT, "its arguments are too long");
        return false;
    }
    const struct principal *who = &call->who;
    *out = (struct command_asked){ .name = slice_of(call->command->name),
                                   .actor = who->actor,
                                   .args = buf_slice(args),
                                   .remote = principal_is_remote(who),
                                   .discreet = call->discreet,
                                   .by_token = who->weak,
                                   .kind = (uint8_t)who->kind,
                                   .scoped = who->scope.ptr != NULL,
                                   .from = who->from,
                                   .role = who->role,
                                   .grants = who->grants,
                                   .scope = who->scope,
                                   .own = who->own,
                                   .generation = who->generation,
                                   .itself = who->itself };
    return true;
}

void command_far(struct command_call *call, uint32_t node, unsigned worker)
{
    struct far_asker *f = arena_new(call->arena, struct far_asker, 1);
    struct command_asked asked;
    struct buf args;
    *f = (struct far_asker){ call, E_DOWN,
                             SLICE_INIT("the node where it runs ended before it answered") };
    buf_init(&args, ARGS_BYTES_MAX);
    if (far_ask(call, &args, &asked)) {
        call->discreet = true; /* the answer says whether it is */
        home_ask_at(call->worker, node, worker, &command_asked_message, &asked,
                    &(struct asker){ .gather = far_heard, .done = far_over, .arg = f });
    }
    buf_fini(&args);
}

static void far_lost(struct worker *w, void *arg)
{
    (void)w;
    ((struct far_asker *)arg)->call->incomplete = true;
}

static void far_gathered(struct worker *w, void *arg)
{
    struct far_asker *f = arg;
    struct command_call *call = f->call;
    call->part = false;
    call->worker = w;
    if (f->err == OK) {
        call->command->gathered(call);
        return;
    }
    command_take_rows(call);
    far_over(w, f);
}

void command_everywhere(struct command_call *call)
{
    struct far_asker *f = arena_new(call->arena, struct far_asker, 1);
    struct command_asked asked;
    struct buf args;
    *f = (struct far_asker){ .call = call };
    buf_init(&args, ARGS_BYTES_MAX);
    if (far_ask(call, &args, &asked)) {
        call->part = true; /* the rows that come are those of a part */
        each_home(call->worker, &command_each_message, &asked,
                  &(struct asker){
                      .gather = far_heard, .done = far_gathered, .arg = f, .lost = far_lost });
    }
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
        texts_add(out, (slice){ 0 });
        for (uint32_t i = 0; i < r->count; i++) {
            texts_add(out, slice_of(r->fields[i].key));
            texts_add(out, r->fields[i].str);
        }
    }
}

/* Nothing, if the message has no room for it. */
static slice far_short(slice text, size_t max) { return text.len <= max ? text : (slice){ 0 }; }

static void far_answer(struct worker *w, const struct command_call *call,
                       const struct message_from *from)
{
    struct command_answered a = { .err = (uint8_t)call->err,
                                  .text = call->text,
                                  .left_out = call->left_out,
                                  .discreet = call->discreet,
                                  .culprit = far_short(slice_of(call->culprit), CULPRIT_MAX),
                                  .next = far_short(call->next, ARGS_BYTES_MAX),
                                  .before = call->before,
                                  .after = call->after };
    struct buf rows;
    buf_init(&rows, ANSWER_BYTES_MAX);
    far_pack_rows(&rows, call);
    a.rows = buf_slice(&rows);
    if (rows.overflow || rows.len + a.text.len > ANSWER_BYTES_MAX)
        a = (struct command_answered){ .err = E_LIMIT,
                                       .text = SLICE_INIT("the answer is too long; ask for less"),
                                       .discreet = call->discreet,
                                       .before = call->before,
                                       .after = call->after };
    question_answer(w, from, &command_answered_message, &a);
    buf_fini(&rows);
}

static void far_ended(struct loop_defer *d)
{
    struct far_call *f = CONTAINER_OF(d, struct far_call, ended);
    struct worker *w = worker_here();
    ensure(w != NULL && f->call.ended && f->from.part == PART_QUESTION);
    far_answer(w, &f->call, &f->from);
    question_end(w, &f->from);
    arena_destroy(&f->call.arena);
    mem_free(&f);
}

/* On whatever worker it ended, which may still look at the call until it returns. */
static void far_finished(struct command_call *call, void *arg)
{
    struct far_call *f = arg;
    ensure(call == &f->call && loop_here() != NULL);
    f->ended.fn = far_ended;
    loop_defer(loop_here(), &f->ended);
}

static enum err far_bind(struct command_call *call, slice args, struct why *why)
{
    slice names[COMMAND_ARGS_MAX], values[COMMAND_ARGS_MAX];
    size_t count = 0;
    while (count < COMMAND_ARGS_MAX && texts_next(&args, &names[count]) &&
           texts_next(&args, &values[count]))
        count++;
    if (args.len == 0)
        return command_bind(call, names, values, count, why);
    why_set(why, "its arguments were not understood");
    return E_SYNTAX;
}

/* false: it has failed. */
static bool far_begin(struct command_call *call, struct worker *w,
                      const struct command_asked *asked)
{
    struct why why = { 0 };
    call->command = command_find(asked->name);
    call->worker = w;
    call->who =
        principal_dup(&(struct principal){ .kind = (enum principal_kind)asked->kind,
                                           .weak = asked->by_token,
                                           .actor = asked->actor,
                                           .from = asked->from,
                                           .role = asked->role,
                                           .grants = asked->grants,
                                           .scope = !asked->scoped             ? (slice){ 0 }
                                                    : asked->scope.ptr == NULL ? SLICE("")
                                                                               : asked->scope,
                                           .own = asked->own,
                                           .generation = asked->generation,
                                           .itself = asked->itself },
                      call->arena);
    call->discreet = asked->discreet;
    if (call->command == NULL)
        command_fail(call, E_UNSUPPORTED, "the node where it runs does not know it");
    else if (far_bind(call, asked->args, &why) != OK)
        command_fail(call, E_SYNTAX, "%s", why.text);
    return !call->ended;
}

static void command_asked_run(struct worker *w, void *message, const struct message_from *from)
{
    struct far_call *f = mem_new(struct far_call);
    f->from = *from;
    f->call = (struct command_call){ .arena = arena_create(0), .finished = far_finished, .arg = f };
    if (far_begin(&f->call, w, message))
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

static void far_part_failed(struct command_call *call, void *arg) { (void)call, (void)arg; }

/* It is not for one home: it ends within run(). */
static bool runs_on_each(const struct command_call *call)
{
    const struct command *c = call->command;
    return c->runs_at == COMMAND_EACH &&
           (c->home == NULL || command_arg(call, c->home).ptr == NULL);
}

/* Its addresses were checked where it began. */
static void command_each_run(struct worker *w, void *message, const struct message_from *from)
{
    struct command_call call = { .arena = arena_create(0),
                                 .finished = far_part_failed,
                                 .part = true };
    if (far_begin(&call, w, message)) {
        if (runs_on_each(&call))
            call.command->run(&call);
        else
            command_fail(&call, E_UNSUPPORTED, "it does not run everywhere");
    }
    far_answer(w, &call, from);
    arena_destroy(&call.arena);
}

const struct message_row command_each_message = {
    .id = 28,
    .scope = MESSAGE_CLUSTER,
    .name = "command-each",
    .size = sizeof(struct command_asked),
    .fields = asked_fields,
    .run = command_each_run,
    .answer = &command_answered_message,
};
