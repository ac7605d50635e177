#include "muc/operate/operate_owner.h"
#include "base/arena.h"
#include "home/here.h"
#include "home/node.h"
#include "muc/operate/operate.h"
#include "muc/people/affiliation.h"
#include "muc/room/room.h"
#include "muc/state/change.h"
#include "xmpp/muc.h"

enum { TRANSFER_ROOMS_MAX = 1000, FAILURES_SHOWN = 10 };

struct transfer {
    struct command_call *call;
    slice *room;
    uint32_t count, at, failed;
    slice owner;
    bool replace;
    const char *failures; /* text */
};

static void operate_owner_failed(struct transfer *t, const char *why)
{
    if (t->failed++ < FAILURES_SHOWN)
        t->failures =
            arena_printf(t->call->arena, "%s%s%.*s %s", t->failures,
                         *t->failures == '\0' ? "" : "; ", SLICE_ARG(t->room[t->at]), why);
}

static const char *and_more(const struct transfer *t)
{
    return t->failed <= FAILURES_SHOWN
               ? ""
               : arena_printf(t->call->arena, "; and %u more", t->failed - FAILURES_SHOWN);
}

/* Why it is not possible; NULL: it is. */
static const char *obstacle(const struct room *r, enum err e, const struct transfer *t)
{
    const struct affiliate *a;
    if (e == E_NOTFOUND || (e == OK && r->state != ACTOR_READY))
        return "does not exist";
    if (e != OK)
        return e == E_UNSUPPORTED ? "is at home on another node" : "cannot be read now";
    a = room_affiliate(r, t->owner);
    if (!r->stored)
        return "is an ad hoc room";
    if (slice_eq(r->creator, t->owner))
        return "was created by that user";
    if (a == NULL || a->affiliation < AFF_MEMBER)
        return "does not have that user as a member";
    return a->affiliation == AFF_OWNER && !t->replace ? "is owned by that user already" : NULL;
}

static void change_next(struct worker *w, struct transfer *t);

static void operate_owner_changed(struct room *r, enum err e, void *arg)
{
    struct transfer *t = arg;
    if (e != OK)
        operate_owner_failed(t, err_text(e));
    t->at++;
    change_next(r->worker, t);
}

/* Former owners become members. */
static void operate_owner_change(struct room *r, struct transfer *t)
{
    struct arena *tmp = loop_scratch(worker_loop(r->worker));
    struct affiliation_edit *edit = arena_new(tmp, struct affiliation_edit, r->owners + 1);
    const struct affiliate *a;
    uint32_t n = 0;

    edit[n++] = room_edit(r, t->owner, AFF_OWNER);
    for (uint32_t i = 0; t->replace && (a = map_next(&r->affiliates, &i)) != NULL;)
        if (a->affiliation == AFF_OWNER && !slice_eq(a->jid, t->owner) && n <= r->owners)
            edit[n++] = room_edit(r, a->jid, AFF_MEMBER);
    room_commit(r, &(struct room_delta){ .edit = edit, .edit_count = n }, operate_owner_changed, t);
}

static void change_reached(struct room *r, enum err e, void *arg)
{
    struct transfer *t = arg;
    const char *why = obstacle(r, e, t); /* it may be another now */
    if (why == NULL) {
        operate_owner_change(r, t);
        return;
    }
    operate_owner_failed(t, why);
    t->at++;
    change_next(worker_here(), t);
}

static void change_next(struct worker *w, struct transfer *t)
{
    if (t->at < t->count)
        operate_reach(w, t->room[t->at], change_reached, t);
    else if (t->failed > 0)
        command_fail(t->call, E_CONFLICT, "%u of %u rooms were changed, but not: %s%s",
                     t->count - t->failed, t->count, t->failures, and_more(t));
    else
        command_done(t->call, "%.*s owns %u room%s", SLICE_ARG(t->owner), t->count,
                     t->count == 1 ? "" : "s");
}

static void operate_owner_checked(struct room *r, enum err e, void *arg)
{
    struct transfer *t = arg;
    const char *why = obstacle(r, e, t);
    if (why != NULL)
        operate_owner_failed(t, why);
    if (++t->at < t->count) {
        operate_reach(worker_here(), t->room[t->at], operate_owner_checked, t);
        return;
    }
    if (t->failed > 0) {
        command_fail(t->call, E_CONFLICT, "nothing was changed: %s%s", t->failures, and_more(t));
        return;
    }
    t->at = 0;
    change_next(worker_here(), t);
}

static void operate_owner_begin(void *arg)
{
    struct transfer *t = arg;
    operate_reach(worker_here(), t->room[0], operate_owner_checked, t);
}

static bool operate_owner_is_named(const struct transfer *t, slice room)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (slice_eq(t->room[i], room))
            return true;
    return false;
}

static bool rooms_ok(struct transfer *t, slice rooms)
{
    struct command_call *call = t->call;
    slice room;
    t->room = arena_new(call->arena, slice, TRANSFER_ROOMS_MAX);
    while (slice_word(&rooms, &room)) {
        if (t->count == TRANSFER_ROOMS_MAX) {
            command_fail(call, E_LIMIT, "rooms: allowed %d at once", TRANSFER_ROOMS_MAX);
            return false;
        }
        if (!operate_owner_is_named(t, room))
            t->room[t->count++] = room;
    }
    if (t->count == 0)
        command_fail(call, E_SYNTAX, "rooms: found none, allowed: addresses separated by spaces");
    return t->count > 0;
}

static void run_owner(struct command_call *call)
{
    const struct worker *w = call->worker;
    struct transfer *t = arena_new(call->arena, struct transfer, 1);
    *t = (struct transfer){ .call = call, .failures = "" };
    t->replace = command_flag(call, "replace");
    t->owner = command_arg(call, "new-owner");
    if (!rooms_ok(t, command_arg(call, "rooms")))
        return;
    if (!node_serves(worker_node(w), jid_split(t->owner).domain)) {
        command_fail(call, E_DENIED,
                     "%.*s is not an account of this server; the new owner must be one",
                     SLICE_ARG(t->owner));
        return;
    }
    operate_with_known(call, t->owner, operate_owner_begin, t);
}

static const struct command_arg owner_args[] = {
    { .name = "rooms",
      .kind = ARG_POSITIONAL,
      .type = PARAM_ROOM,
      .many = true,
      .doc = "addresses of rooms, separated by spaces" },
    { .name = "new-owner",
      .kind = ARG_POSITIONAL,
      .type = PARAM_BARE,
      .doc =
          "address of an account here, which must be a member of each room and not its creator" },
    { .name = "replace",
      .kind = ARG_FLAG,
      .type = PARAM_BOOL,
      .doc = "the current owners become members" },
    { 0 },
};
struct command room_owner_command = {
    .name = "room owner",
    .effect = COMMAND_CHANGES,
    .args = owner_args,
    .run = run_owner,
    .doc = "Gives rooms a new owner: makes one of their members an owner, for one or many "
           "persistent rooms at once. Use it if the only owner has left. All rooms "
           "are checked before the first is changed.",
};
