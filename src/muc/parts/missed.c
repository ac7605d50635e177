/* missed: presence that could not be sent to an occupant of another server is sent again later.
 * Otherwise the occupant would see users who have left, and would not see new ones.
 *
 * An occupant keeps its seat while its server cannot be reached (im/abroad.h). Presence that cannot
 * be sent in that time comes back to the room as an error (`unsent` in muc/room/part.h). This part
 * notes the nickname, once for each seat. Later it sends the present state: the presence of the
 * occupant with this nickname, as a user who enters would get it, or else unavailable presence. If
 * that is refused too, the nickname is noted again.
 *
 * Nicknames are sent in the order in which they were noted, but the seat's own nickname is sent
 * first. A client must learn its new nickname before the old one becomes unavailable. Otherwise it
 * would believe that it was removed.
 *
 * A seat waits FIRST_MS after a refusal. If all that is sent then is refused again, the pause
 * doubles, up to LONGEST_MS. If a part gets through, the queue is only short, and the pause halves,
 * down to SHORTEST_MS. When the domain is back, the seat does not wait any longer. The pause is
 * needed because no such word comes when a queue was only full. It also limits clients that make up
 * errors: such a client gets one presence stanza for one error, and no other client gets any.
 *
 * Limits: NICKS_MAX nicknames for all seats of a room. Beyond that, the seat with the most of them
 * leaves with status 333, as if its server was lost. When it enters again, it is told of all
 * occupants. If it does not get the status either, its client notices when it checks whether it is
 * still in the room (XEP-0410). A worker sends AT_ONCE stanzas at a time, with a pause after them.
 * Nicknames are kept in memory only: after a planned restart they are forgotten. */
#include "base/ensure.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "home/here.h"
#include "home/router.h"
#include "im/audience.h"
#include "im/feature.h"
#include "io/timer.h"
#include "muc/muc.h"
#include "muc/parts.h"
#include "muc/people/find.h"
#include "muc/people/occupant.h"
#include "muc/people/show.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"

#define GONE "<x xmlns='" NS_MUC_USER "'><item affiliation='none' role='none'/></x>"

enum {
    NICKS_MAX = 1000,
    AT_ONCE = 64,   /* presence stanzas */
    PAUSE_MS = 100, /* before the next */
    SHORTEST_MS = 250,
    FIRST_MS = 2000,
    LONGEST_MS = 30 * 1000,
    QUIET_US = 120 * 1000 * 1000 /* after this time the pause is FIRST_MS again */
};

struct missed_nick {
    struct list node;
    uint16_t len;
    char nick[];
};

/* A seat, from its first refusal until it leaves, or until nothing was refused for QUIET_US. */
struct missed {
    struct list node; /* in missed_worker.seats */
    struct room *room;
    struct list nicks; /* struct missed_nick */
    uint32_t count;    /* of these */
    uint32_t pause_ms;
    uint64_t due_us;  /* when they are sent */
    uint64_t sent_us; /* when some were last sent; 0: never, or before its domain was back */
    bool tried;       /* some were sent since due_us was set */
    uint32_t sent;    /* stanzas, the last time that it was due */
    uint32_t refused; /* since then */
    slice jid;        /* in this block */
};

/* In the slot of a room. */
struct missed_room {
    struct map seats; /* struct missed by JID */
    uint32_t count;   /* of nicknames */
};

struct missed_worker {
    struct list seats;
    struct timer timer;
};

static unsigned room_slot_missed, worker_slot;

static slice missed_jid(const void *item) { return ((const struct missed *)item)->jid; }
static slice missed_nick_text(const struct missed_nick *n) { return (slice){ n->nick, n->len }; }
static struct missed_room *missed_room_of(const struct room *r)
{
    return *room_slot(r, room_slot_missed);
}

static void missed_nick_free(struct missed *m, struct missed_nick *n)
{
    struct missed_room *all = missed_room_of(m->room);
    ensure(m->count > 0 && all->count >= m->count);
    m->count--;
    all->count--;
    list_remove(&n->node);
    mem_free(&n);
}

static void missed_drop(struct missed *m)
{
    while (!list_empty(&m->nicks))
        missed_nick_free(m, CONTAINER_OF(m->nicks.next, struct missed_nick, node));
}

static void missed_free(struct missed *m)
{
    missed_drop(m);
    map_del(&missed_room_of(m->room)->seats, m->jid);
    list_remove(&m->node);
    mem_free(&m);
}

/* A refusal. */

static void missed_wake(struct missed_worker *all, struct loop *loop, uint64_t ms)
{
    if (!timer_is_set(&all->timer) || timer_left_ms(loop, &all->timer) > ms)
        timer_set(loop, &all->timer, ms);
}

static struct missed *missed_get(struct room *r, const struct seat *s)
{
    struct missed_worker *worker = *worker_state(r->worker, worker_slot);
    struct missed_room *all = missed_room_of(r);
    if (all == NULL) {
        all = *room_slot(r, room_slot_missed) = mem_new(struct missed_room);
        map_init(&all->seats, missed_jid);
    }
    struct missed *m = map_get(&all->seats, s->jid);
    if (m != NULL)
        return m;
    m = mem_zalloc(sizeof *m + s->jid.len);
    m->room = r;
    list_init(&m->nicks);
    m->jid = (slice){ memcpy(m + 1, s->jid.ptr, s->jid.len), s->jid.len };
    map_put(&all->seats, m);
    list_append(&worker->seats, &m->node);
    return m;
}

/* One failure refuses many stanzas. Only the first of them sets the time. */
static void missed_delay(struct missed *m, uint64_t now_us)
{
    const struct worker *w = m->room->worker;
    m->refused++;
    if (m->count > 0 && !m->tried)
        return;
    if (m->sent_us == 0 || now_us - m->sent_us >= QUIET_US) {
        m->pause_ms = FIRST_MS;
        m->sent = 0;
    }
    m->due_us = now_us + (uint64_t)m->pause_ms * 1000;
    m->tried = false;
    missed_wake(*worker_state(w, worker_slot), worker_loop(w), m->pause_ms);
}

/* It is due. The next pause is longer or shorter than the last one. */
static void missed_begin(struct missed *m)
{
    if (m->sent > 0 && m->refused < m->sent)
        m->pause_ms = m->pause_ms / 2 > SHORTEST_MS ? m->pause_ms / 2 : SHORTEST_MS;
    else if (m->sent > 0)
        m->pause_ms = 2 * m->pause_ms < LONGEST_MS ? 2 * m->pause_ms : LONGEST_MS;
    m->sent = m->refused = 0;
    m->tried = true;
}

static bool missed_has(const struct missed *m, slice nick)
{
    LIST_EACH (it, &m->nicks)
        if (slice_eq(missed_nick_text(CONTAINER_OF(it, struct missed_nick, node)), nick))
            return true;
    return false;
}

/* The seat with the most nicknames leaves, not the one whose nickname comes last: a client that
 * makes up errors must not put out others. */
static void missed_give_up(struct room *r)
{
    struct missed *most = NULL, *m;
    for (uint32_t i = 0; (m = map_next(&missed_room_of(r)->seats, &i)) != NULL;)
        if (most == NULL || m->count > most->count)
            most = m;
    ensure(most != NULL && most->count > 0);
    missed_drop(most);
    room_seat_gone(r, room_seat(r, most->jid));
}

static void missed_unsent(struct room *r, struct seat *s, slice nick)
{
    ensure(room_here(r) && list_linked(&s->away) && nick.len <= JID_PART_MAX);
    if (room_is_stopping(r) || s->ghost)
        return;
    struct missed *m = missed_get(r, s);
    missed_delay(m, loop_now_us(room_loop(r)));
    if (missed_has(m, nick))
        return;
    if (missed_room_of(r)->count >= NICKS_MAX)
        missed_give_up(r);
    if (s->ghost) /* this seat had the most */
        return;
    struct missed_nick *n = mem_alloc(sizeof *n + nick.len);
    *n = (struct missed_nick){ .len = (uint16_t)nick.len };
    memcpy(n->nick, nick.ptr, nick.len);
    if (slice_eq(nick, s->occupant->nick))
        list_prepend(&m->nicks, &n->node);
    else
        list_append(&m->nicks, &n->node);
    m->count++;
    missed_room_of(r)->count++;
}

/* Sends it again. */

/* Two nicknames that differ only in case are two occupants for a client. */
static void missed_tell(struct room *r, const struct seat *s, slice nick)
{
    struct occupant *o = room_occupant(r, nick, room_scratch(r));
    if (o != NULL && !slice_eq(o->nick, nick))
        o = NULL;
    if (o != NULL && o == s->occupant)
        room_show_self(r, o, s, NULL);
    else if (o != NULL && o->known)
        audience_tell(&r->audience, s->jid, occupant_shown(r, o, room_shows_jids(r, s->occupant)));
    else
        route_send(r->worker, stanza_make(STANZA_PRESENCE, TYPE_UNAVAILABLE,
                                          room_address(r, nick, room_scratch(r)), s->jid,
                                          (slice){ 0 }, SLICE(GONE)));
}

/* Sends to one seat. Returns the number of stanzas, at most `most`. It stops if a stanza is refused
 * at once. */
static unsigned missed_send(struct missed *m, unsigned most, uint64_t now_us)
{
    const struct seat *s = room_seat(m->room, m->jid);
    unsigned n = 0;
    ensure(s != NULL); /* missed_leaves() */
    for (; n < most && m->count > 0 && m->due_us <= now_us && !s->ghost; n++) {
        struct missed_nick *next = CONTAINER_OF(m->nicks.next, struct missed_nick, node);
        slice nick = slice_dup(room_scratch(m->room), missed_nick_text(next));
        missed_nick_free(m, next);
        if (!m->tried)
            missed_begin(m);
        m->sent_us = now_us;
        m->sent++;
        missed_tell(m->room, s, nick);
    }
    return n;
}

static void missed_run(struct timer *t, struct loop *loop)
{
    struct missed_worker *all = CONTAINER_OF(t, struct missed_worker, timer);
    struct list *last = NULL; /* the seat that used up the rest: others are before it next time */
    unsigned left = AT_ONCE;
    uint64_t now_us = loop_now_us(loop), next_us = UINT64_MAX;
    LIST_EACH (it, &all->seats) {
        struct missed *m = CONTAINER_OF(it, struct missed, node);
        unsigned n = missed_send(m, left, now_us);
        left -= n;
        if (n > 0 && left == 0)
            last = it;
        uint64_t at_us = m->count > 0 ? m->due_us : m->sent_us + QUIET_US;
        if (m->count == 0 && at_us <= now_us)
            missed_free(m);
        else if (at_us < next_us)
            next_us = at_us;
    }
    if (last != NULL && list_linked(last)) {
        list_remove(last);
        list_append(&all->seats, last);
    }
    if (next_us == UINT64_MAX)
        return;
    uint64_t ms = next_us > now_us ? (next_us - now_us) / 1000 : 0;
    missed_wake(all, loop, ms > PAUSE_MS ? ms : PAUSE_MS);
}

static void missed_domain_back(struct worker *w, slice domain)
{
    struct missed_worker *all = *worker_state(w, worker_slot);
    LIST_EACH (it, &all->seats) {
        struct missed *m = CONTAINER_OF(it, struct missed, node);
        if (!slice_eq(jid_split(m->jid).domain, domain))
            continue;
        m->due_us = m->sent_us = 0;
        m->tried = false;
        m->sent = 0;
        missed_wake(all, worker_loop(w), 0);
    }
}

/* The seat goes, or all do. */

static void missed_leaves(struct room *r, const struct seat *s, bool ends)
{
    (void)ends;
    const struct missed_room *all = missed_room_of(r);
    struct missed *m = all == NULL ? NULL : map_get(&all->seats, s->jid);
    if (m != NULL)
        missed_free(m);
}

static void missed_clear(struct room *r)
{
    struct missed_room *all = missed_room_of(r);
    struct missed *m;
    if (all == NULL)
        return;
    for (uint32_t i = 0; (m = map_next(&all->seats, &i)) != NULL;)
        missed_free(m);
    map_fini(&all->seats);
    mem_free(room_slot(r, room_slot_missed));
}

static void missed_start(struct worker *w)
{
    struct missed_worker *all = *worker_state(w, worker_slot) = mem_new(struct missed_worker);
    all->timer.fn = missed_run;
    list_init(&all->seats);
}

static void missed_stop(struct worker *w)
{
    struct missed_worker *all = *worker_state(w, worker_slot);
    timer_cancel(&all->timer);
}

/* Rooms that still exist free their seats later. */
static void missed_ended(struct worker *w)
{
    struct missed_worker *all = *worker_state(w, worker_slot);
    if (all == NULL)
        return;
    while (list_pop(&all->seats) != NULL)
        ;
    mem_free(worker_state(w, worker_slot));
}

const struct room_part missed_part = {
    .name = "missed",
    .slot = &room_slot_missed,
    .unsent = missed_unsent,
    .leaves = missed_leaves,
    .clear = missed_clear,
};

const struct feature muc_missed_feature = {
    .name = "muc_missed",
    .parts = PART_ROOM,
    .worker.slot = &worker_slot,
    .worker.start = missed_start,
    .worker.stop = missed_stop,
    .worker.ended = missed_ended,
    .worker.domain_back = missed_domain_back,
};
