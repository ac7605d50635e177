#include "ops/access_turn.h"
#include "base/arena.h"
#include "base/command.h"
#include "base/ensure.h"
#include "home/duty.h"
#include "home/here.h"

struct turn {
    struct turn *next;
    struct command_call *call;
    void (*fn)(void *arg);
    void (*run)(struct command_call *call); /* or this one */
    void *arg;
};

/* At the home of the duty, the only thread that looks. Each is in the arena of its call. */
static struct {
    struct turn *first, *last;
    bool taken; /* one of them is under way */
    bool kept;  /* its batch was submitted */
    bool (*is_good)(struct command_call *call);
} turns;

/* The call may be gone when its function returns, and have begun another one. */
static void turns_go_on(void)
{
    while (turns.first != NULL && !turns.taken) {
        struct turn t = *turns.first;
        turns.first = t.next;
        turns.taken = true;
        turns.kept = false;
        if (turns.is_good(t.call)) {
            if (t.run != NULL)
                t.run(t.call);
            else
                t.fn(t.arg);
        }
        turns.taken = turns.kept;
    }
}

static void turn_add(const struct turn *given)
{
    struct turn *t = arena_new(given->call->arena, struct turn, 1);
    ensure(duty_is_here(given->call->worker, DUTY_ACCESS) && worker_is_here(given->call->worker));
    *t = *given;
    if (turns.first == NULL)
        turns.first = t;
    else
        turns.last->next = t;
    turns.last = t;
    turns_go_on();
}

void access_in_turn_with(struct command_call *call, void (*fn)(void *arg), void *arg)
{
    turn_add(&(struct turn){ .call = call, .fn = fn, .arg = arg });
}

void access_in_turn(struct command_call *call, void (*run)(struct command_call *call))
{
    turn_add(&(struct turn){ .call = call, .run = run });
}

void access_turn_keep(void)
{
    ensure(turns.taken && !turns.kept);
    turns.kept = true;
}

void access_turn_over(void)
{
    ensure(turns.taken && turns.kept);
    turns.taken = false;
    turns_go_on();
}

void access_turns_begin(bool (*is_good)(struct command_call *call)) { turns.is_good = is_good; }

void access_turns_end(struct worker *w)
{
    if (!duty_is_here(w, DUTY_ACCESS))
        return;
    turns.first = NULL;
    turns.taken = false;
}
