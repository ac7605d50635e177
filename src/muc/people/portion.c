#include "muc/people/portion.h"
#include "base/ensure.h"
#include "io/timer.h"
#include "muc/people/due.h"
#include "muc/people/occupant.h"
#include "muc/people/show.h"
#include "muc/room/room.h"
#include "xmpp/muc.h"

enum {
    PORTION = 128 * 128, /* presences, at least */
    PORTIONS_MAX = 100,  /* that show each occupant to each: the room is paused for 10 s of ticks */
    PAUSE_MS = 1         /* until the next tick of timers (100 ms): components read meanwhile */
};

static uint64_t portion_size(const struct room *r)
{
    uint64_t size = (uint64_t)r->seat_count * r->seat_count / PORTIONS_MAX;
    return size > PORTION ? size : PORTION;
}

/* The same, without and with a real JID, each to those who see it so. */
static void portion_send(struct room *r, struct stanza *const st[2])
{
    for (unsigned with_jid = 0; with_jid <= 1; with_jid++)
        if (room_seeing(r, with_jid) != 0)
            room_send_all(r, st[with_jid], room_seeing(r, with_jid), NULL);
}

static void due_show(struct room *r, struct due *d)
{
    const struct show how = { .codes = d->codes, .actor_nick = d->actor_nick, .reason = d->reason };
    struct occupant *o = d->occupant;
    list_remove(&d->node);
    d->occupant = NULL;
    if (o != NULL) {
        o->due = NULL;
        room_show(r, o, &how);
    } else if (d->said != NULL) {
        room_send_all(r, d->said, TO_ALL, NULL);
    } else {
        portion_send(r, d->left);
    }
    due_free(d);
}

/* Whether one more is shown in this tick. At least one is. */
static bool portion_takes(struct room *r)
{
    uint64_t now_us = loop_now_us(room_loop(r));
    if (r->portion_us != now_us)
        r->portion_sent = 0;
    if (r->portion_sent > 0 && r->portion_sent + r->seat_count > portion_size(r) &&
        !room_is_stopping(r))
        return false;
    r->portion_us = now_us;
    r->portion_sent += r->seat_count + 1;
    return true;
}

static void portion_next(struct timer *t, struct loop *loop)
{
    struct room *r = CONTAINER_OF(t, struct room, portion);
    ensure(room_here(r) && r->is_showing);
    while (!list_empty(&r->due) && portion_takes(r))
        due_show(r, CONTAINER_OF(r->due.next, struct due, node));
    if (!list_empty(&r->due)) {
        timer_set(loop, t, PAUSE_MS);
        return;
    }
    r->is_showing = false;
    actor_unpause(&r->actor);
    actor_go_on(&r->actor);
}

static struct due *portion_add(struct room *r, const struct show *how)
{
    struct due *d = due_add(r, how->actor_nick, how->reason);
    d->codes = how->codes;
    if (!r->is_showing) {
        r->is_showing = true;
        actor_pause(&r->actor);
        r->portion.fn = portion_next;
        timer_set(room_loop(r), &r->portion, PAUSE_MS);
    }
    return d;
}

static bool is_shown_now(struct room *r) { return list_empty(&r->due) && portion_takes(r); }

void room_show_in_turn(struct room *r, struct occupant *o, const struct show *how)
{
    ensure(how->nick.len == 0 && how->own == NULL && !how->destroyed && how->left == NULL);
    if (is_shown_now(r)) {
        room_show(r, o, how);
        return;
    }
    due_drop(o);
    o->due = portion_add(r, how);
    o->due->occupant = o;
}

void room_send_in_turn(struct room *r, struct stanza *const st[2])
{
    if (list_empty(&r->due)) {
        portion_send(r, st);
        return;
    }
    struct due *d = portion_add(r, &(struct show){ 0 });
    for (unsigned with_jid = 0; with_jid <= 1; with_jid++)
        d->left[with_jid] = stanza_ref(st[with_jid]);
}

void room_leave_in_turn(struct room *r, struct occupant *o, const struct show *how)
{
    ensure(o->role == ROLE_NONE && !how->destroyed && how->left == NULL);
    if (is_shown_now(r)) {
        room_leave(r, o, how);
        return;
    }
    struct show alone = *how;
    alone.all = true;
    if (o->known || occupant_visible(r, o)) {
        struct due *d = portion_add(r, how);
        for (unsigned with_jid = 0; with_jid <= 1; with_jid++)
            d->left[with_jid] = occupant_leaving(r, o, with_jid, how);
    }
    room_leave(r, o, &alone);
}

static void portion_show_all(struct room *r, void *arg)
{
    (void)arg;
    while (!list_empty(&r->due))
        due_show(r, CONTAINER_OF(r->due.next, struct due, node));
}

void portions_end(struct worker *w) { rooms_each(w, portion_show_all, NULL); }

void room_when_shown(struct room *r, room_fn *fn, void *arg)
{
    ensure(room_here(r));
    if (r->is_showing)
        actor_wait_anyhow(&r->actor, &(struct actor_item){ .fn = (actor_any_fn *)fn, .arg = arg });
    else
        fn(r, OK, arg);
}
