/* missed: presence that could not be sent to an occupant of another server is sent again later.
 * Otherwise the occupant would see users who have left, and would not see new ones.
 *
 * An occupant keeps its seat while its server cannot be reached (remote/remote_domains.h). Presence
 * that cannot be sent in that time comes back to the room as an error (`unsent` in
 * muc/room/part.h). This part notes the nickname, once for each seat. Later it sends the present
 * state: the presence of the occupant with this nickname, as a user who enters would get it, or
 * else unavailable presence. If that is refused too, the nickname is noted again.
 *
 * A client that has not heard that its own nickname has changed believes that the old one is still
 * its own. Unavailable presence of that would tell it that it was removed. So OWN_MAX former
 * nicknames of each seat are known, and what is sent of these is the change (status 303). Beyond
 * that, the oldest one whose change has not come back is forgotten. If all have, it is the second
 * oldest: the client believes that the oldest one is its own.
 *
 * What is sent of a nickname that nobody has is the absent member with this nickname, if the room
 * shows absent members (parts/absent.c). Else it is an occupant who has left, with the affiliation
 * of that time. The last LEFT_MAX of these are known; of others the affiliation is `none`.
 *
 * What is sent of the nickname of the seat itself may be of its entry. So the status codes of the
 * room and its subject go with it. The question whether the occupant still exists (parts/remote.c)
 * waits here, too, if there was no room for it.
 *
 * A seat waits FIRST_MS after a refusal. SOON_MS after the next ones it is known how many stanzas
 * were refused. If some got through, the queue is only short, and more are sent at once. If none
 * did, the seat waits again, twice as long each time, up to LONGEST_MS. When the domain is back,
 * the seat does not wait any longer. The pause is needed because no such word comes when a queue
 * was only full. It also limits clients that make up errors: such a client gets one presence stanza
 * for one error, and no other client gets any.
 *
 * Limits: NICKS_MAX nicknames for all seats of a room. Beyond that, a seat leaves with status 333,
 * as if its server was lost: of the domain with the most of them, the seat with the most. When it
 * enters again, it is told of all occupants. If it does not get the status either, that is sent
 * again (parts/removed.c). A worker sends AT_ONCE stanzas at a time, with a pause after them.
 * Nicknames are kept in memory only: after a planned restart they are forgotten. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/audience.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/router.h"
#include "io/timer.h"
#include "muc/muc.h"
#include "muc/parts.h"
#include "muc/people/find.h"
#include "muc/people/occupant.h"
#include "muc/people/show.h"
#include "muc/room/config.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/state/subject.h"
#include "muc/talk/bounce.h"
#include "xmpp/jid.h"
#include "xmpp/muc.h"
#include "xmpp/ns.h"

enum {
    NICKS_MAX = 1000,
    OWN_MAX = 32,   /* former nicknames of a seat */
    LEFT_MAX = 128, /* former nicknames in a room */
    AT_ONCE = 64,   /* presence stanzas */
    PAUSE_MS = 100, /* before the next */
    SOON_MS = 250,
    FIRST_MS = 2000,
    LONGEST_MS = 30 * 1000,
    QUIET_US = 120 * 1000 * 1000 /* after this time the pause is FIRST_MS again */
};

struct missed_nick {
    struct list node;
    bool unheard; /* its unavailable presence has come back */
    /* Empty: the question whether the occupant still exists (talk/bounce.h). */
    uint16_t len;
    char nick[];
};

/* The seats of a domain in a room. */
struct missed_domain {
    uint32_t seats, count; /* of these; of their nicknames */
    slice name;            /* in this block */
};

/* A seat, from its first refusal until it leaves, or until nothing was refused for QUIET_US; if it
 * has had another nickname, until it leaves. */
struct missed {
    struct list node; /* in missed_worker.seats */
    struct room *room;
    struct missed_domain *domain;
    struct list nicks;      /* struct missed_nick */
    uint32_t count;         /* of these */
    struct list own;        /* struct missed_nick: former nicknames, the oldest first */
    uint32_t own_count;     /* of these */
    uint32_t pause_ms;      /* the next, if nothing gets through */
    uint64_t due_us;        /* when they are sent */
    uint64_t sent_us;       /* when some were last; 0: never, or before its domain was back */
    bool tried;             /* some were sent since due_us was set */
    bool waits;             /* until due_us; else it is decided then */
    uint32_t sent, refused; /* stanzas, since it was last due */
    slice jid;              /* in this block */
};

/* A nickname that somebody had in the room until leaving or changing it. */
struct missed_left {
    struct list node;
    uint8_t affiliation; /* enum affiliation */
    uint16_t len;
    char nick[];
};

/* In the slot of a room. */
struct missed_room {
    struct map seats;   /* struct missed by JID */
    struct map domains; /* struct missed_domain by name */
    uint32_t count;     /* of nicknames */
    struct list left;   /* struct missed_left, the oldest first */
    uint32_t left_count;
};

struct missed_worker {
    struct list seats;
    struct timer timer;
};

static unsigned room_slot_missed, worker_slot;

static slice missed_jid(const void *item) { return ((const struct missed *)item)->jid; }
static slice missed_domain_name(const void *item)
{
    return ((const struct missed_domain *)item)->name;
}
static slice missed_nick_text(const struct missed_nick *n) { return (slice){ n->nick, n->len }; }
static struct missed_room *missed_room_of(const struct room *r)
{
    return *room_slot(r, room_slot_missed);
}

static void missed_nick_free(struct missed *m, struct missed_nick *n)
{
    struct missed_room *all = missed_room_of(m->room);
    ensure(m->count > 0 && m->domain->count >= m->count && all->count >= m->domain->count);
    m->count--;
    m->domain->count--;
    all->count--;
    list_remove(&n->node);
    mem_free(&n);
}

static void missed_drop(struct missed *m)
{
    while (!list_empty(&m->nicks))
        missed_nick_free(m, CONTAINER_OF(m->nicks.next, struct missed_nick, node));
}

static void missed_own_free(struct missed *m, struct missed_nick *n)
{
    ensure(m->own_count > 0);
    list_remove(&n->node);
    m->own_count--;
    mem_free(&n);
}

static void missed_free(struct missed *m)
{
    struct missed_room *all = missed_room_of(m->room);
    missed_drop(m);
    while (m->own_count > 0)
        missed_own_free(m, CONTAINER_OF(m->own.next, struct missed_nick, node));
    if (--m->domain->seats == 0) {
        map_del(&all->domains, m->domain->name);
        mem_free(&m->domain);
    }
    map_del(&all->seats, m->jid);
    list_remove(&m->node);
    mem_free(&m);
}

/* A refusal. */

static void missed_wake(struct missed_worker *all, struct loop *loop, uint64_t ms)
{
    if (!timer_is_set(&all->timer) || timer_left_ms(loop, &all->timer) > ms)
        timer_set(loop, &all->timer, ms);
}

static struct missed_domain *missed_domain_get(struct missed_room *all, slice name)
{
    struct missed_domain *d = map_get(&all->domains, name);
    if (d != NULL)
        return d;
    d = mem_zalloc(sizeof *d + name.len);
    d->name = (slice){ memcpy(d + 1, name.ptr, name.len), name.len };
    map_put(&all->domains, d);
    return d;
}

static struct missed_room *missed_room_get(struct room *r)
{
    struct missed_room *all = missed_room_of(r);
    if (all != NULL)
        return all;
    all = *room_slot(r, room_slot_missed) = mem_new(struct missed_room);
    map_init(&all->seats, missed_jid);
    map_init(&all->domains, missed_domain_name);
    list_init(&all->left);
    return all;
}

static struct missed *missed_get(struct room *r, const struct seat *s)
{
    struct missed_worker *worker = *worker_state(r->worker, worker_slot);
    struct missed_room *all = missed_room_get(r);
    struct missed *m = map_get(&all->seats, s->jid);
    if (m != NULL)
        return m;
    m = mem_zalloc(sizeof *m + s->jid.len);
    m->room = r;
    list_init(&m->nicks);
    list_init(&m->own);
    m->domain = missed_domain_get(all, jid_split(s->jid).domain);
    m->domain->seats++;
    m->jid = (slice){ memcpy(m + 1, s->jid.ptr, s->jid.len), s->jid.len };
    map_put(&all->seats, m);
    list_append(&worker->seats, &m->node);
    return m;
}

static struct missed_nick *missed_find(const struct list *nicks, slice nick)
{
    LIST_EACH (it, nicks) {
        struct missed_nick *n = CONTAINER_OF(it, struct missed_nick, node);
        if (slice_eq(missed_nick_text(n), nick))
            return n;
    }
    return NULL;
}

/* One failure refuses many stanzas. Only the first of them sets the time. */
static void missed_delay(struct missed *m, uint64_t now_us)
{
    const struct worker *w = m->room->worker;
    m->refused++;
    if (m->count > 0 && !m->tried)
        return;
    m->waits = m->sent_us == 0 || now_us - m->sent_us >= QUIET_US;
    if (m->waits) {
        m->pause_ms = 2 * FIRST_MS;
        LIST_EACH (it, &m->own) /* what was sent before has arrived */
            CONTAINER_OF(it, struct missed_nick, node)->unheard = false;
    }
    uint64_t ms = m->waits ? FIRST_MS : SOON_MS;
    m->due_us = now_us + ms * 1000;
    m->tried = false;
    missed_wake(*worker_state(w, worker_slot), worker_loop(w), ms);
}

/* It is due. false: nothing has got through the last time, so it waits longer. */
static bool missed_begins(struct missed *m, uint64_t now_us)
{
    bool none = m->refused >= m->sent;
    if (!m->waits && none) {
        m->waits = true;
        m->due_us = now_us + (uint64_t)m->pause_ms * 1000;
        m->pause_ms = 2 * m->pause_ms < LONGEST_MS ? 2 * m->pause_ms : LONGEST_MS;
        return false;
    }
    if (!m->waits)
        m->pause_ms = FIRST_MS;
    m->sent = m->refused = 0;
    m->tried = true;
    return true;
}

/* Not the seat whose nickname comes last: clients that make up errors must not put out others, and
 * one domain may have many of them. */
static void missed_give_up(struct room *r)
{
    struct missed_room *all = missed_room_of(r);
    struct missed_domain *worst = NULL, *d;
    struct missed *most = NULL, *m;
    for (uint32_t i = 0; (d = map_next(&all->domains, &i)) != NULL;)
        if (worst == NULL || d->count > worst->count)
            worst = d;
    for (uint32_t i = 0; (m = map_next(&all->seats, &i)) != NULL;)
        if (m->domain == worst && (most == NULL || m->count > most->count))
            most = m;
    ensure(most != NULL && most->count > 0);
    missed_drop(most);
    room_seat_gone(r, room_seat(r, most->jid));
}

static struct missed_nick *missed_nick_make(slice nick, bool unheard)
{
    struct missed_nick *n = mem_alloc(sizeof *n + nick.len);
    *n = (struct missed_nick){ .unheard = unheard, .len = (uint16_t)nick.len };
    if (nick.len > 0)
        memcpy(n->nick, nick.ptr, nick.len);
    return n;
}

static void missed_unsent(struct room *r, struct seat *s, slice nick, bool gone)
{
    ensure(room_here(r) && list_linked(&s->away) && nick.len <= JID_PART_MAX);
    if (room_is_stopping(r) || s->ghost)
        return;
    struct missed *m = missed_get(r, s);
    missed_delay(m, loop_now_us(room_loop(r)));
    struct missed_nick *own = missed_find(&m->own, nick), *known = missed_find(&m->nicks, nick);
    if (gone && own != NULL)
        own->unheard = true;
    if (known != NULL) {
        known->unheard = known->unheard || gone;
        return;
    }
    if (missed_room_of(r)->count >= NICKS_MAX)
        missed_give_up(r);
    if (s->ghost) /* this seat had the most */
        return;
    list_append(&m->nicks, &missed_nick_make(nick, gone)->node);
    m->count++;
    m->domain->count++;
    missed_room_of(r)->count++;
}

/* Former nicknames. */

static slice missed_left_nick(const struct missed_left *l) { return (slice){ l->nick, l->len }; }

static struct missed_left *missed_left_of(const struct missed_room *all, slice nick)
{
    LIST_EACH (it, &all->left) {
        struct missed_left *l = CONTAINER_OF(it, struct missed_left, node);
        if (slice_eq(missed_left_nick(l), nick))
            return l;
    }
    return NULL;
}

static void missed_left_free(struct missed_room *all, struct missed_left *l)
{
    ensure(all->left_count > 0);
    all->left_count--;
    list_remove(&l->node);
    mem_free(&l);
}

/* Adds somebody whom all could see: others must not learn of an affiliation from it. */
static void missed_left_add(struct room *r, const struct occupant *o, slice nick)
{
    if (list_empty(&r->away) || o->hidden || !room_shows(&r->config, ROLE_VISITOR) ||
        !room_shows(&r->config, ROLE_PARTICIPANT) || !room_shows(&r->config, ROLE_MODERATOR))
        return;
    struct missed_room *all = missed_room_get(r);
    struct missed_left *was = missed_left_of(all, nick);
    if (was == NULL && all->left_count == LEFT_MAX)
        was = CONTAINER_OF(all->left.next, struct missed_left, node);
    if (was != NULL)
        missed_left_free(all, was);
    struct missed_left *l = mem_alloc(sizeof *l + nick.len);
    *l = (struct missed_left){ .affiliation = o->affiliation, .len = (uint16_t)nick.len };
    memcpy(l->nick, nick.ptr, nick.len);
    list_append(&all->left, &l->node);
    all->left_count++;
}

static void missed_own_forget(struct missed *m)
{
    LIST_EACH (it, &m->own) {
        struct missed_nick *n = CONTAINER_OF(it, struct missed_nick, node);
        if (!n->unheard) {
            missed_own_free(m, n);
            return;
        }
    }
    missed_own_free(m, CONTAINER_OF(m->own.next->next, struct missed_nick, node));
}

static void missed_renamed(struct room *r, const struct occupant *o, slice was)
{
    missed_left_add(r, o, was);
    LIST_EACH (it, &o->seats) {
        const struct seat *s = CONTAINER_OF(it, const struct seat, node);
        if (!list_linked(&s->away) || s->ghost)
            continue;
        struct missed *m = missed_get(r, s);
        if (m->own_count == OWN_MAX)
            missed_own_forget(m);
        const struct missed_nick *back = missed_find(&m->nicks, was); /* perhaps at once */
        bool unheard = back != NULL && back->unheard;
        list_append(&m->own, &missed_nick_make(was, unheard)->node);
        m->own_count++;
    }
}

/* Sends it again. */

/* Presence of a nickname that no visible occupant has. */
static struct stanza *missed_gone(const struct missed *m, slice nick)
{
    struct room *r = m->room;
    const struct missed_left *left = missed_left_of(missed_room_of(r), nick);
    struct buf xml;
    struct xml_write x;
    xml_begin(&x, &xml, XML_PART_MAX);
    xml_open(&x, "x", NS_MUC_USER);
    xml_open_with(&x, "item", NULL, "affiliation",
                  affiliation_name(left != NULL ? (enum affiliation)left->affiliation : AFF_NONE));
    xml_attr(&x, "role", SLICE("none"));
    xml_close_all(&x);
    return stanza_make_buf(STANZA_PRESENCE, TYPE_UNAVAILABLE,
                           room_address(r, nick, room_scratch(r)), m->jid, (slice){ 0 }, &xml);
}

static void missed_tell_gone(const struct missed *m, const struct seat *s, slice nick)
{
    struct room *r = m->room;
    PARTS_EACH (p, unseen) {
        struct stanza *shown = p->unseen(r, s, nick);
        if (shown == NULL)
            continue;
        audience_tell(&r->audience, s->jid, shown);
        stanza_unref(&shown);
        return;
    }
    route_send(r->worker, missed_gone(m, nick));
}

/* Two nicknames that differ only in case are two occupants for a client. */
static void missed_tell(const struct missed *m, const struct seat *s, slice nick)
{
    struct room *r = m->room;
    struct occupant *o = room_occupant(r, nick, room_scratch(r));
    if (o != NULL && !slice_eq(o->nick, nick))
        o = NULL;
    if (o != NULL && o == s->occupant) {                       /* perhaps of its entry */
        bool fresh = r->locked && o->affiliation == AFF_OWNER; /* §10.1.1 */
        room_show_self(r, o, s,
                       arena_printf(room_scratch(r), "%s%s", room_codes(r), fresh ? " 201" : ""));
        room_send_subject(r, s);
    } else if (o != NULL && o->known) {
        audience_tell(&r->audience, s->jid, occupant_shown(r, o, room_shows_jids(r, s->occupant)));
    } else if (missed_find(&m->own, nick) != NULL) {
        room_show_renamed(r, s->occupant, s, nick);
    } else {
        missed_tell_gone(m, s, nick);
    }
}

/* Sends to one seat. Returns the number of stanzas, at most `most`. It stops if a stanza is refused
 * at once. */
static unsigned missed_send(struct missed *m, unsigned most, uint64_t now_us)
{
    const struct seat *s = room_seat(m->room, m->jid);
    unsigned n = 0;
    ensure(s != NULL); /* missed_leaves() */
    for (; n < most && m->count > 0 && m->due_us <= now_us && !s->ghost; n++) {
        if (!m->tried && !missed_begins(m, now_us))
            break;
        struct missed_nick *next = CONTAINER_OF(m->nicks.next, struct missed_nick, node);
        slice nick = slice_dup(room_scratch(m->room), missed_nick_text(next));
        missed_nick_free(m, next);
        m->sent_us = now_us;
        m->sent++;
        if (nick.len > 0)
            missed_tell(m, s, nick);
        else
            room_ask_remote(m->room, s);
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
        if (m->count == 0 && m->own_count > 0)
            continue;
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
        m->waits = true;
        missed_wake(all, worker_loop(w), 0);
    }
}

/* The seat goes, or all do. */

static void missed_leaves(struct room *r, const struct seat *s, bool ends)
{
    if (!ends)
        missed_left_add(r, s->occupant, s->occupant->nick);
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
    while (all->left_count > 0)
        missed_left_free(all, CONTAINER_OF(all->left.next, struct missed_left, node));
    map_fini(&all->seats);
    map_fini(&all->domains);
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
    .renamed = missed_renamed,
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
