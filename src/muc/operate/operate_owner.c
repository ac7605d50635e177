#include "muc/operate/operate_owner.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "home/here.h"
#include "home/node.h"
#include "home/question.h"
#include "muc/operate/operate.h"
#include "muc/people/affiliation.h"
#include "muc/room/room.h"
#include "muc/state/change.h"
#include "muc/state/reach.h"
#include "xmpp/muc.h"
#include <stdio.h>

enum {
    TRANSFER_ROOMS_MAX = 1000,
    FAILURES_SHOWN = 10,
    WHY_BYTES_MAX = 255,
    OWNERS_BYTES_MAX = COMMAND_CHANGED_MAX,
    OWNERS_NOTE_BYTES = 4 * COMMAND_CHANGED_MAX
};

struct transfer {
    struct command_call *call;
    slice *room;
    uint32_t count, at, failed;
    slice owner;
    bool replace;
    bool changes;               /* all rooms were asked: they are changed */
    const char *failures;       /* text */
    const char *before, *after; /* owners of the rooms that are changed, for the audit log */
};

static void transfer_failed(struct transfer *t, slice why)
{
    if (t->failed++ < FAILURES_SHOWN)
        t->failures = arena_printf(t->call->arena, "%s%s%.*s %.*s", t->failures,
                                   *t->failures == '\0' ? "" : "; ", SLICE_ARG(t->room[t->at]),
                                   SLICE_ARG(why));
}

static const char *and_more(const struct transfer *t)
{
    return t->failed <= FAILURES_SHOWN
               ? ""
               : arena_printf(t->call->arena, "; and %u more", t->failed - FAILURES_SHOWN);
}

/* At the home of a room: whether it can have the new owner, and, when all can, the change. */

struct owner_asked {
    slice room, owner;
    bool replace, changes;
};
static const struct message_field owner_asked_fields[] = {
    F_BARE(struct owner_asked, room),
    F_BARE(struct owner_asked, owner),
    F_BOOL(struct owner_asked, replace),
    F_BOOL(struct owner_asked, changes),
    { 0 },
};

struct owner_told {
    slice why;           /* it is not possible; empty: it is, or was done */
    slice before, after; /* who owned the room, who owns it; empty: it was not changed */
};
static const struct message_field owner_told_fields[] = {
    F_TEXT(struct owner_told, why, WHY_BYTES_MAX),
    F_TEXT(struct owner_told, before, OWNERS_BYTES_MAX),
    F_TEXT(struct owner_told, after, OWNERS_BYTES_MAX),
    { 0 },
};
const struct message_row owner_told_message = {
    .id = 97,
    .scope = MESSAGE_CLUSTER,
    .name = "owner-told",
    .size = sizeof(struct owner_told),
    .fields = owner_told_fields,
};

struct handover {
    struct message_from from;
    struct worker *worker;
    bool replace, changes;
    char *before; /* who owned the room when it was changed; NULL: it was not */
    size_t owner_len;
    char owner[];
};

static slice handover_owner(const struct handover *h) { return (slice){ h->owner, h->owner_len }; }

static void handover_tell(struct handover *h, struct owner_told *told)
{
    question_answer(h->worker, &h->from, &owner_told_message, told);
    question_end(h->worker, &h->from);
    mem_free(&h->before);
    mem_free(&h);
}

static void handover_end(struct handover *h, const char *why)
{
    handover_tell(h, &(struct owner_told){ slice_of(why), SLICE(""), SLICE("") });
}

/* Why it is not possible; NULL: it is. */
static const char *obstacle(const struct room *r, enum err e, const struct handover *h)
{
    const struct affiliate *a;
    if (e == E_NOTFOUND || (e == OK && r->state != ACTOR_READY))
        return "does not exist";
    if (e != OK)
        return "cannot be read now";
    a = room_affiliate(r, handover_owner(h));
    if (!r->stored)
        return "is an ad hoc room";
    if (slice_eq(r->creator, handover_owner(h)))
        return "was created by that user";
    if (a == NULL || a->affiliation < AFF_MEMBER)
        return "does not have that user as a member";
    return a->affiliation == AFF_OWNER && !h->replace ? "is owned by that user already" : NULL;
}

/* As many as fit. */
static slice handover_owners(const struct room *r)
{
    return utf8_head(operate_people(r, AFF_OWNER, room_scratch(r)), OWNERS_BYTES_MAX);
}

static void handover_changed(struct room *r, enum err e, void *arg)
{
    struct handover *h = arg;
    char why[256];
    if (e == OK) {
        handover_tell(h,
                      &(struct owner_told){ SLICE(""), slice_of(h->before), handover_owners(r) });
        return;
    }
    snprintf(why, sizeof why, "%s; %s", err_text(e), command_outcome(e));
    handover_end(h, why);
}

/* Former owners become members. */
static void handover_change(struct room *r, struct handover *h)
{
    struct affiliation_edit *edit =
        arena_new(room_scratch(r), struct affiliation_edit, r->owners + 1);
    uint32_t n = 0;
    edit[n++] = room_edit(r, handover_owner(h), AFF_OWNER);
    const struct affiliate *a;
    for (uint32_t i = 0; h->replace && (a = map_next(&r->affiliates, &i)) != NULL;)
        if (a->affiliation == AFF_OWNER && !slice_eq(a->jid, handover_owner(h)) && n <= r->owners)
            edit[n++] = room_edit(r, a->jid, AFF_MEMBER);
    ensure(n <= r->owners + 1);
    slice owners = handover_owners(r);
    h->before = mem_zalloc(owners.len + 1);
    memcpy(h->before, owners.ptr, owners.len);
    room_commit(r, &(struct room_delta){ .edit = edit, .edit_count = n }, handover_changed, h);
}

static void handover_reached(struct room *r, enum err e, void *arg)
{
    struct handover *h = arg;
    const char *why = obstacle(r, e, h); /* when it changes, it may be another than before */
    if (why != NULL || !h->changes)
        handover_end(h, why == NULL ? "" : why);
    else
        handover_change(r, h);
}

static void owner_asked_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct owner_asked *q = message;
    struct handover *h = mem_alloc(sizeof *h + q->owner.len);
    h->from = *from;
    h->worker = w;
    h->replace = q->replace;
    h->changes = q->changes;
    h->before = NULL;
    h->owner_len = q->owner.len;
    memcpy(h->owner, q->owner.ptr, q->owner.len);
    operate_reach(w, q->room, handover_reached, h);
}

const struct message_row owner_asked_message = {
    .id = 96,
    .scope = MESSAGE_CLUSTER,
    .name = "owner-asked",
    .size = sizeof(struct owner_asked),
    .fields = owner_asked_fields,
    .run = owner_asked_run,
    .answer = &owner_told_message,
    .later = true,
};

/* Where the command runs: room after room is asked, then room after room is changed. */

static const char *transfer_note(const struct transfer *t, const char *note, slice owners)
{
    struct buf out;
    if (strlen(note) >= COMMAND_CHANGED_MAX)
        return note;
    buf_init(&out, OWNERS_NOTE_BYTES);
    buf_add(&out, slice_of(note));
    command_changed_part(&out, NULL, t->room[t->at]);
    command_changed_part(&out, "owners", owners);
    note = slice_cstr(t->call->arena, buf_fit(&out));
    buf_fini(&out);
    return note;
}

static void transfer_finish(const struct transfer *t)
{
    command_changed(t->call, slice_of(t->before), slice_of(t->after));
    if (t->failed > 0 && !t->changes)
        command_fail(t->call, E_CONFLICT, "nothing was changed: %s%s", t->failures, and_more(t));
    else if (t->failed > 0)
        command_fail(t->call, t->failed < t->count ? E_PART : E_CONFLICT,
                     "%u of %u rooms were changed, but not: %s%s", t->count - t->failed, t->count,
                     t->failures, and_more(t));
    else
        command_done(t->call, "%.*s owns %u room%s", SLICE_ARG(t->owner), t->count,
                     t->count == 1 ? "" : "s");
}

static void transfer_heard(struct worker *w, void *arg, void *answer,
                           const struct message_from *from)
{
    struct transfer *t = arg;
    const struct owner_told *told = answer;
    (void)w, (void)from;
    if (told->why.len > 0)
        transfer_failed(t, told->why);
    if (told->before.len + told->after.len > 0) {
        t->before = transfer_note(t, t->before, told->before);
        t->after = transfer_note(t, t->after, told->after);
    }
}

static void transfer_next(struct worker *w, void *arg);

static void transfer_ask(struct worker *w, struct transfer *t)
{
    ensure(worker_is_here(w) && t->at < t->count);
    home_ask(w, t->room[t->at], &owner_asked_message,
             &(struct owner_asked){ t->room[t->at], t->owner, t->replace, t->changes },
             &(struct asker){ .gather = transfer_heard, .done = transfer_next, .arg = t });
}

static void transfer_next(struct worker *w, void *arg)
{
    struct transfer *t = arg;
    ensure(t->at < t->count);
    if (++t->at < t->count) {
        transfer_ask(w, t);
    } else if (!t->changes && t->failed == 0) {
        t->changes = true;
        t->at = 0;
        transfer_ask(w, t);
    } else {
        transfer_finish(t);
    }
}

static void transfer_begin(void *arg)
{
    struct transfer *t = arg;
    transfer_ask(worker_here(), t);
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
    *t = (struct transfer){ .call = call, .failures = "", .before = "", .after = "" };
    t->replace = command_flag(call, "replace");
    t->owner = command_arg(call, "new_owner");
    if (!rooms_ok(t, command_arg(call, "rooms")))
        return;
    if (!node_serves(worker_node(w), jid_split(t->owner).domain)) {
        command_fail(call, E_DENIED,
                     "%.*s is not an account of this server; the new owner must be one",
                     SLICE_ARG(t->owner));
        return;
    }
    operate_with_known(call, t->owner, transfer_begin, t);
}

static const struct command_arg owner_args[] = {
    { .name = "rooms",
      .kind = ARG_POSITIONAL,
      .type = PARAM_ROOM,
      .many = true,
      .doc = "addresses of rooms, separated by spaces" },
    { .name = "new_owner",
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
    .area = "rooms",
    .args = owner_args,
    .run = run_owner,
    .doc = "Gives rooms a new owner: makes one of their members an owner, for one or many "
           "persistent rooms at once. Use it if the only owner has left. All rooms "
           "are checked before the first is changed.",
};
