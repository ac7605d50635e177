#include "ext/import/import_room.h"
#include "base/arena.h"
#include "base/command.h"
#include "base/ensure.h"
#include "ext/import/import_report.h"
#include "ext/import/import_run.h"
#include "home/here.h"

/* A room, by the command that makes one of a file: it leaves one that is there alone. */

static void import_room_told(struct import *x, enum err e, slice why)
{
    slice label = slice_of(
        arena_printf(x->arena, "%.*s@%.*s", SLICE_ARG(x->room.name), SLICE_ARG(x->room.host)));
    for (const struct source_text *l = x->room.lost; l != NULL && e == OK; l = l->next) {
        x->left++;
        import_report(x, label, slice_cstr(x->arena, l->text), (slice){ 0 });
    }
    x->rooms += e == OK;
    x->rooms_there += e == E_EXISTS;
    x->rooms_refused += e != OK && e != E_EXISTS && e != E_CANCELED;
    if (e == E_EXISTS)
        import_report(x, label, "is there already; a room is never replaced", (slice){ 0 });
    else if (e != OK && e != E_CANCELED)
        import_report(x, label, "refused:", why);
    import_room_end(x);
}

static void import_room_back(struct command_return *r)
{
    struct import *x = CONTAINER_OF(r, struct import, back);
    slice why = slice_dup(x->arena, x->del.text), before, rest;
    if (slice_starts(why, x->room.file) && slice_cut(why, ' ', &before, &rest))
        why = rest; /* the name of the file means nothing to anybody */
    enum err e = x->del.err;
    arena_destroy(&x->del.arena);
    import_room_told(x, e, why);
}

static void import_room_made(struct command_call *call, void *arg)
{
    struct import *x = arg;
    (void)call;
    command_return(&x->back, x->worker, import_room_back);
}

void import_room(struct import *x)
{
    static const slice names[] = { SLICE_INIT("file"), SLICE_INIT("dry_run") };
    const struct command *make = command_find(SLICE("room import"));
    struct why why;
    ensure(x->e == OK && x->pending == 0);
    if (x->room.text.len > 0 || make == NULL) {
        import_room_told(x, E_UNSUPPORTED,
                         make == NULL ? SLICE("this server has no `room import`") : x->room.text);
        return;
    }
    x->del = (struct command_call){ .command = make,
                                    .arena = arena_create(0),
                                    .worker = x->worker,
                                    .who = x->call->who,
                                    .step_of = x->job,
                                    .finished = import_room_made,
                                    .arg = x };
    const slice values[] = { x->room.file, SLICE("true") };
    if (command_bind(&x->del, names, values, x->dry ? 2 : 1, &why) == OK) {
        command_run(&x->del);
        return;
    }
    arena_destroy(&x->del.arena);
    import_room_told(x, E_SYNTAX, slice_dup(x->arena, slice_of(why.text)));
}
