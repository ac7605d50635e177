/* removed: a session of another server that was removed from a room while its server could not be
 * reached is told so later. Otherwise its client would go on to show the room.
 *
 * The presence that tells it has an id (muc/people/removal.h). If it cannot be sent, it comes back
 * to the room as an error of this server. By then the session has no seat any more, and perhaps
 * there is no such room (`unseated` in muc/room/part.h). Removals that came back wait here, and are
 * told again with the same status codes: after FIRST_MS, and then twice as long each time, up to
 * LONGEST_MS. When the domain is back, they do not wait any longer. While a rule keeps it apart
 * from the room, nothing is sent. A removal that has been sent is not kept here: if it comes back,
 * its id says how often it was sent, and since when.
 *
 * A removal that waits is forgotten when the session has a seat in the room again. If that has
 * another nickname, the one before is shown to leave (parts/missed.c). The removal is forgotten,
 * too, when the room gets a home on another worker. GIVE_UP_S after it came back first, it is not
 * told any more.
 *
 * A session that leaves by itself knows that it is out. A session that has not heard of the change
 * of its nickname is told by the new one, with status 110.
 *
 * Limits: REMOVED_MAX of a worker wait, and half as many of a domain. Beyond that, the oldest is
 * forgotten. A worker sends AT_ONCE stanzas at a time, with a pause after them. All is kept in
 * memory only. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/node.h"
#include "home/router.h"
#include "io/timer.h"
#include "muc/muc.h"
#include "muc/parts.h"
#include "muc/people/removal.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "remote/foreign.h"
#include "remote/remote_domains.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"

enum {
    REMOVED_MAX = 1000,
    AT_ONCE = 64,   /* presence stanzas */
    PAUSE_MS = 100, /* before the next */
    FIRST_MS = 2000,
    LONGEST_MS = 30 * 1000,
    GIVE_UP_S = 45 * 60
};

/* In one block with its texts. */
struct removed {
    struct list node; /* in removed_worker.waiting */
    slice key;        /* room and session, as removed_key() says */
    slice room, jid;  /* bare; the session */
    slice occupant;   /* room@service/nick */
    struct removal removal;
    uint64_t due_us;
};

struct removed_worker {
    struct worker *worker;
    struct map by_key;   /* struct removed */
    struct list waiting; /* the same */
    struct timer timer;
};

static unsigned worker_slot;

static slice removed_key_of(const void *item) { return ((const struct removed *)item)->key; }

static slice removed_key(slice room, slice jid, struct arena *tmp)
{
    return slice_of(arena_printf(tmp, "%.*s\n%.*s", SLICE_ARG(room), SLICE_ARG(jid)));
}

static slice removed_domain(const struct removed *m) { return jid_split(m->jid).domain; }

static void removed_take(struct removed_worker *all, struct removed *m)
{
    remote_domain_release(all->worker, removed_domain(m), jid_split(m->room).domain);
    map_del(&all->by_key, m->key);
    list_remove(&m->node);
}

static void removed_free(struct worker *w, struct removed *m)
{
    removed_take(*worker_state(w, worker_slot), m);
    mem_free(&m);
}

static void removed_forget(struct worker *w, slice key)
{
    const struct removed_worker *all = *worker_state(w, worker_slot);
    struct removed *m = map_get(&all->by_key, key);
    if (m != NULL)
        removed_free(w, m);
}

/* It comes back. */

static void removed_make_room(struct worker *w, slice domain)
{
    const struct removed_worker *all = *worker_state(w, worker_slot);
    struct removed *oldest = NULL, *own = NULL;
    unsigned count = 0;
    LIST_EACH (it, &all->waiting) {
        struct removed *m = CONTAINER_OF(it, struct removed, node);
        if (oldest == NULL || m->removal.since_s < oldest->removal.since_s)
            oldest = m;
        if (!slice_eq(removed_domain(m), domain))
            continue;
        count++;
        if (own == NULL || m->removal.since_s < own->removal.since_s)
            own = m;
    }
    if (count >= REMOVED_MAX / 2)
        removed_free(w, own);
    else if (all->by_key.count >= REMOVED_MAX)
        removed_free(w, oldest);
}

static struct removed *removed_make(slice key, const struct stanza *error,
                                    const struct removal *why)
{
    slice to = stanza_to(error), codes = why->codes;
    struct removed *m = mem_zalloc(sizeof *m + key.len + to.len + codes.len);
    char *at = (char *)(m + 1);
    m->removal = *why;
    m->key = slice_lay(&at, key);
    m->occupant = slice_lay(&at, to);
    m->removal.codes = slice_lay(&at, codes);
    m->room = (slice){ m->key.ptr, error->to_bare_len };
    m->jid = slice_from(m->key, error->to_bare_len + 1u);
    return m;
}

static uint64_t removed_pause_ms(int64_t tries)
{
    uint64_t ms = FIRST_MS;
    for (; tries > 0 && ms < LONGEST_MS; tries--)
        ms *= 2;
    return ms < LONGEST_MS ? ms : LONGEST_MS;
}

static void removed_wake(struct removed_worker *all, struct loop *loop, uint64_t ms)
{
    if (!timer_is_set(&all->timer) || timer_left_ms(loop, &all->timer) > ms)
        timer_set(loop, &all->timer, ms);
}

static bool removed_is_late(const struct removal *m, const struct loop *loop)
{
    return (int64_t)(loop_wall_us(loop) / 1000000) - m->since_s > GIVE_UP_S;
}

static void removed_unseated(struct room *r, const struct stanza *error)
{
    struct worker *w = r->worker;
    struct removed_worker *all = *worker_state(w, worker_slot);
    struct removal why;
    ensure(room_here(r));
    if (room_is_stopping(r) || error->refused_kind != REFUSED_UNAVAILABLE ||
        stanza_to_is_bare(error) ||
        !(remote_domain_is_unsent(w, error) || remote_domain_is_barred(w, error)) ||
        !removal_read(stanza_id(error), stanza_from(error), &why))
        return;
    int64_t now_s = (int64_t)(loop_wall_us(room_loop(r)) / 1000000);
    if (why.since_s == 0 || why.since_s > now_s) /* a client can send such an id once more */
        why.since_s = now_s;
    if (removed_is_late(&why, room_loop(r)))
        return;
    slice key = removed_key(stanza_to_bare(error), stanza_from(error), room_scratch(r));
    slice domain = jid_split(stanza_from(error)).domain;
    remote_domain_hold(w, domain, jid_split(r->jid).domain);
    removed_forget(w, key);
    removed_make_room(w, domain);
    struct removed *m = removed_make(key, error, &why);
    uint64_t ms = removed_pause_ms(why.tries);
    m->due_us = loop_now_us(room_loop(r)) + ms * 1000;
    map_put(&all->by_key, m);
    list_append(&all->waiting, &m->node);
    removed_wake(all, room_loop(r), ms);
}

static void removed_set_timer(struct removed_worker *all, struct loop *loop)
{
    uint64_t now_us = loop_now_us(loop), next_us = UINT64_MAX;
    LIST_EACH (it, &all->waiting) {
        const struct removed *m = CONTAINER_OF(it, const struct removed, node);
        next_us = m->due_us < next_us ? m->due_us : next_us;
    }
    if (next_us == UINT64_MAX)
        return;
    uint64_t ms = next_us > now_us ? (next_us - now_us) / 1000 : 0;
    removed_wake(all, loop, ms > PAUSE_MS ? ms : PAUSE_MS);
}

/* It is told again. */

static void removed_tell(struct worker *w, const struct removed *m)
{
    struct removal next = m->removal;
    char id[REMOVAL_ID_MAX];
    struct buf xml;
    struct xml_write x;
    slice rest = m->removal.codes, code;
    next.tries++;
    xml_begin(&x, &xml, XML_PART_MAX);
    xml_open(&x, "x", NS_MUC_USER);
    xml_open_with(&x, "item", NULL, "affiliation", affiliation_name(m->removal.affiliation));
    xml_attr(&x, "role", SLICE("none"));
    xml_close(&x);
    if (m->removal.destroyed)
        xml_empty(&x, "destroy", NULL);
    xml_empty_with(&x, "status", NULL, "code", SLICE("110"));
    while (slice_word(&rest, &code))
        xml_empty_with(&x, "status", NULL, "code", code);
    xml_close_all(&x);
    route_send(w, stanza_make_buf(STANZA_PRESENCE, TYPE_UNAVAILABLE, m->occupant, m->jid,
                                  removal_id(id, &next, m->jid), &xml));
}

/* true: a rule keeps it apart from the room. It is due later, or forgotten. */
static bool removed_waits_for_rule(struct worker *w, struct removed *m)
{
    if (!foreign_separates(w, jid_split(m->room).domain, removed_domain(m)))
        return false;
    m->due_us = loop_now_us(worker_loop(w)) + (uint64_t)LONGEST_MS * 1000;
    if (removed_is_late(&m->removal, worker_loop(w)))
        removed_free(w, m);
    return true;
}

/* A removal that is refused at once is back in the list before route_send() returns. So those that
 * are due are taken out of it first. */
static void removed_run(struct timer *t, struct loop *loop)
{
    struct removed_worker *all = CONTAINER_OF(t, struct removed_worker, timer);
    uint64_t now_us = loop_now_us(loop);
    unsigned left = AT_ONCE;
    struct list due, *it;
    list_init(&due);
    LIST_EACH (at, &all->waiting) {
        struct removed *m = CONTAINER_OF(at, struct removed, node);
        if (m->due_us > now_us || left == 0)
            continue;
        if (removed_waits_for_rule(all->worker, m))
            continue;
        left--;
        removed_take(all, m);
        list_append(&due, &m->node);
    }
    while ((it = list_pop(&due)) != NULL) {
        struct removed *m = CONTAINER_OF(it, struct removed, node);
        if (node_is_home(all->worker, m->room))
            removed_tell(all->worker, m);
        mem_free(&m);
    }
    removed_set_timer(all, loop);
}

static void removed_domain_back(struct worker *w, slice domain)
{
    struct removed_worker *all = *worker_state(w, worker_slot);
    LIST_EACH (it, &all->waiting) {
        struct removed *m = CONTAINER_OF(it, struct removed, node);
        if (!slice_eq(removed_domain(m), domain))
            continue;
        m->due_us = 0;
        m->removal.tries = 0;
        removed_wake(all, worker_loop(w), 0);
    }
}

/* By another nickname it may still show the one before, as that of somebody else. */
static void removed_seated(struct room *r, struct seat *s, bool back)
{
    const struct removed_worker *all = *worker_state(r->worker, worker_slot);
    (void)back;
    if (!list_linked(&s->away))
        return;
    struct removed *m = map_get(&all->by_key, removed_key(r->jid, s->jid, room_scratch(r)));
    if (m == NULL)
        return;
    slice nick = slice_dup(room_scratch(r), slice_from(m->occupant, m->room.len + 1));
    removed_free(r->worker, m);
    if (!slice_eq(nick, s->occupant->nick))
        ROOM_EMIT(unsent, r, s, nick, true);
}

static void removed_start(struct worker *w)
{
    struct removed_worker *all = *worker_state(w, worker_slot) = mem_new(struct removed_worker);
    all->worker = w;
    all->timer.fn = removed_run;
    map_init(&all->by_key, removed_key_of);
    list_init(&all->waiting);
}

static void removed_stop(struct worker *w)
{
    struct removed_worker *all = *worker_state(w, worker_slot);
    timer_cancel(&all->timer);
}

/* The domains that it holds are freed by themselves. */
static void removed_ended(struct worker *w)
{
    struct removed_worker *all = *worker_state(w, worker_slot);
    struct list *it;
    if (all == NULL)
        return;
    while ((it = list_pop(&all->waiting)) != NULL) {
        struct removed *m = CONTAINER_OF(it, struct removed, node);
        mem_free(&m);
    }
    map_fini(&all->by_key);
    mem_free(worker_state(w, worker_slot));
}

const struct room_part removed_part = {
    .name = "removed",
    .unseated = removed_unseated,
    .seated = removed_seated,
};

const struct feature muc_removed_feature = {
    .name = "muc_removed",
    .parts = PART_ROOM,
    .worker.slot = &worker_slot,
    .worker.start = removed_start,
    .worker.stop = removed_stop,
    .worker.ended = removed_ended,
    .worker.domain_back = removed_domain_back,
};
