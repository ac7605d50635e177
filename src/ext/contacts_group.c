/* contacts: a group of users who are contacts of each other, with both subscriptions. `contact add`
 * is run for each of the users, at its home, four times: first to see whether all accounts are
 * there and have room, and whether the others can be approved; nothing is changed unless all of it
 * would do. Then each user gets the others into the list and approves them ahead (RFC 6121 §3.4).
 * Then each asks for the subscriptions, which the homes of the others answer by themselves. So no
 * client is asked anything, and everything between two users (blocking, limits, deletion, avatars)
 * is as if they had added each other. It can be run again, for more users or after a failure.
 *
 * Limit: USERS_MAX users a command, since the changes grow with the square of that. */
#include "base/arena.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/log.h"
#include "ext/contacts.h"
#include "home/command_far.h"
#include "home/here.h"
#include "home/node.h"
#include <stdlib.h>

static struct log_area log_contacts = { .name = "contacts" };
struct log_area *const contacts_logs[] = { &log_contacts, NULL };

enum { USERS_MAX = 100, FAULTS_SHOWN = 10 };

enum group_step { STEP_LISTS, STEP_CHECK, STEP_APPROVE, STEP_ASK, STEP_COUNT };

struct group {
    struct command_call *call;
    slice user[USERS_MAX];
    uint32_t count, at;
    enum group_step step;
    uint32_t faults;
    const char *fault;   /* the first of them, as text */
    char *others;        /* room for all addresses */
    struct arena *arena; /* of one turn */
    struct loop_defer next;
};

static void group_fault(struct group *g, slice what)
{
    if (g->faults++ < FAULTS_SHOWN)
        g->fault =
            arena_printf(g->call->arena, "%s%s%.*s: %.*s", g->fault, *g->fault == '\0' ? "" : "; ",
                         SLICE_ARG(g->user[g->at]), SLICE_ARG(what));
}

/* The rows of one turn. true: each of the others is done. */
static bool group_look(struct group *g, const struct command_call *turn)
{
    const struct command_row *first = NULL;
    uint32_t missing = 0;
    if (turn->err != OK) {
        group_fault(g, turn->text);
        return false;
    }
    for (const struct command_row *r = turn->rows; r != NULL; r = r->next) {
        if (slice_is(command_row_text(r, "done"), "true"))
            continue;
        first = first == NULL ? r : first;
        missing++;
    }
    if (first == NULL)
        return true;
    slice jid = command_row_text(first, "jid"), result = command_row_text(first, "result");
    const char *more =
        missing == 1 ? "" : arena_printf(g->call->arena, ", and %u more", missing - 1);
    group_fault(g, slice_of(arena_printf(g->call->arena, "%.*s (%.*s)%s", SLICE_ARG(jid),
                                         SLICE_ARG(result), more)));
    return false;
}

/* The other users, with spaces between, which no address has. */
static slice group_others(const struct group *g)
{
    char *end = g->others;
    for (uint32_t i = 0; i < g->count; i++) {
        if (i == g->at)
            continue;
        if (end > g->others)
            *end++ = ' ';
        memcpy(end, g->user[i].ptr, g->user[i].len);
        end += g->user[i].len;
    }
    return (slice){ g->others, (size_t)(end - g->others) };
}

static void group_next(struct loop_defer *d);

static void group_turned(struct command_call *turn, void *arg)
{
    struct group *g = arg;
    ensure(turn->ended && worker_here() == g->call->worker);
    if (group_look(g, turn) && g->step == STEP_APPROVE) /* the line of the command may be cut */
        log_info(&log_contacts, LOG_EV("contacts.grouped"), LOG_S("actor", g->call->who.actor),
                 LOG_S("group", command_arg(g->call, "group")), LOG_S("user", g->user[g->at]));
    g->next.fn = group_next;
    loop_defer(loop_here(), &g->next);
}

/* One step for one user, at the home of that account. */
static void group_turn(struct group *g)
{
    static const char *const flags[STEP_COUNT][2] = {
        [STEP_LISTS] = { "dry_run" },
        [STEP_CHECK] = { "approve", "dry_run" },
        [STEP_APPROVE] = { "approve" },
        [STEP_ASK] = { "subscribe" },
    };
    g->arena = arena_create(0);
    struct command_call *call = g->call, *turn = arena_new(g->arena, struct command_call, 1);
    slice names[5] = { SLICE("jid"), SLICE("contacts"), SLICE("group") };
    slice values[5] = { g->user[g->at], group_others(g), command_arg(call, "group") };
    size_t count = 3;
    uint32_t node;
    struct why why;
    for (unsigned i = 0; i < 2 && flags[g->step][i] != NULL; i++)
        names[count++] = slice_of(flags[g->step][i]);
    *turn = (struct command_call){ .command = &contact_add,
                                   .arena = g->arena,
                                   .worker = call->worker,
                                   .who = call->who,
                                   .finished = group_turned,
                                   .arg = g };
    if (command_bind(turn, names, values, count, &why) != OK) {
        command_fail(turn, E_SYNTAX, "%s", why.text);
        return;
    }
    unsigned home = node_home(worker_node(call->worker), g->user[g->at], &node);
    command_far(turn, node, home);
}

static void group_end(struct group *g)
{
    struct command_call *call = g->call;
    const char *more = g->faults <= FAULTS_SHOWN
                           ? ""
                           : arena_printf(call->arena, "; and %u more", g->faults - FAULTS_SHOWN);
    if (g->faults == 0)
        command_done(call, "users who are contacts of each other: %u", g->count);
    else if (g->step <= STEP_CHECK)
        command_fail(call, E_CONFLICT, "nothing was changed: %s%s", g->fault, more);
    else
        command_fail(call, E_CONFLICT,
                     "only part of it was done: %s%s; remove the cause and run the command again",
                     g->fault, more);
}

static void group_next(struct loop_defer *d)
{
    struct group *g = CONTAINER_OF(d, struct group, next);
    arena_destroy(&g->arena);
    if (++g->at == g->count) {
        /* A user who has not approved the others is not asked: the client would be. */
        if (g->step + 1 == STEP_COUNT || g->faults > 0) {
            group_end(g);
            return;
        }
        g->at = 0;
        g->step++;
    }
    if (worker_stopping(g->call->worker))
        command_fail(
            g->call, E_CANCELED, "the server stops, and %s was done; run the command again",
            g->step < STEP_APPROVE || (g->step == STEP_APPROVE && g->at == 0) ? "nothing"
                                                                              : "only part of it");
    else
        group_turn(g);
}

static bool group_is_named(const struct group *g, slice user)
{
    for (uint32_t i = 0; i < g->count; i++)
        if (slice_eq(g->user[i], user))
            return true;
    return false;
}

static int group_compare(const void *a, const void *b)
{
    return slice_compare(*(const slice *)a, *(const slice *)b);
}

/* A user who is named twice counts once. false: the call has failed. */
static bool group_parse(struct group *g, slice users)
{
    slice user;
    g->others = arena_alloc_raw(g->call->arena, users.len + 1);
    while (slice_word(&users, &user)) {
        if (group_is_named(g, user))
            continue;
        if (g->count == USERS_MAX) {
            command_fail(g->call, E_LIMIT, "found too many users, allowed: %d at once", USERS_MAX);
            return false;
        }
        g->user[g->count++] = user;
    }
    if (g->count < 2) {
        command_fail(g->call, E_SYNTAX, "users: found %u, allowed: 2 to %d", g->count, USERS_MAX);
        return false;
    }
    /* Each change locks accounts in this order, so that two seldom wait for each other. */
    qsort(g->user, g->count, sizeof g->user[0], group_compare);
    return true;
}

static void run_group(struct command_call *call)
{
    struct group *g = arena_new(call->arena, struct group, 1);
    *g = (struct group){ .call = call, .fault = "" };
    if (command_arg(call, "group").len == 0)
        command_fail(call, E_SYNTAX, "group: found no name, allowed: a name such as Sales");
    else if (group_parse(g, command_arg(call, "users")))
        group_turn(g);
}

static const struct command_arg group_args[] = {
    { .name = "group",
      .kind = ARG_POSITIONAL,
      .doc = "the group of the contact lists, such as a department" },
    { .name = "users",
      .kind = ARG_POSITIONAL,
      .type = PARAM_USER,
      .many = true,
      .example = "alice@example.org bob@example.org",
      .doc = "addresses of accounts, separated by spaces; up to 100" },
    { 0 },
};
struct command contact_group = {
    .name = "contact group",
    .effect = COMMAND_CHANGES,
    .area = "contacts",
    .args = group_args,
    .run = run_group,
    .doc =
        "Makes users contacts of each other: each user has the others in the contact list, in "
        "that group, and sees when they are online. The users need not agree. Nothing changes if "
        "one of the accounts is missing or disabled, or if roster.contacts-max, "
        "roster.watchers-max or roster.groups-max does not allow it. When somebody joins the "
        "group, run it again with all users. A user who is blocked stays blocked.",
};
