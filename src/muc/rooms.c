#include "muc/rooms.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/setting.h"
#include "home/worker.h"
#include "im/archive.h"
#include "im/audience.h"
#include "im/host.h"
#include "im/iq.h"
#include "io/timer.h"
#include "muc/affiliation.h"
#include "muc/archive.h"
#include "muc/change.h"
#include "muc/config.h"
#include "muc/follow.h"
#include "muc/guess.h"
#include "muc/hats.h"
#include "muc/history.h"
#include "muc/lock.h"
#include "muc/makers.h"
#include "muc/metrics.h"
#include "muc/occupant.h"
#include "muc/relay.h"
#include "muc/room.h"
#include "muc/service.h"
#include "muc/settings.h"
#include "muc/store.h"
#include "muc/subject.h"
#include "muc/vcard.h"
#include "xmpp/muc.h"

enum {
    SWEEP_MS = 1000,
    ABSENT_MS = 10 * 1000,
    ABSENT_MAX = 1024, /* remembered as not there; then the oldest is forgotten sooner */
    SWEEP_MAX = 1024,
    ROOM_INBOX_LEAVES = 4 * ROOM_INBOX_MAX /* with those who leave */
};

struct room_wait {
    struct room_wait *next;
    struct stanza *st; /* NULL: fn */
    struct origin origin;
    room_fn *fn;
    void *arg;
};

struct muc_worker {
    struct worker *worker;
    struct map rooms;
    struct list idle, absent; /* longest idle first */
    uint32_t absent_count;
    struct timer sweep;
};

static unsigned slot;

void rooms_start(void) { slot = worker_state_slot(); }

static slice room_key(const void *item) { return ((const struct room *)item)->jid; }
static slice affiliate_key(const void *item) { return ((const struct affiliate *)item)->jid; }
static slice reserved_key(const void *item) { return ((const struct affiliate *)item)->key; }
static slice occupant_key(const void *item) { return ((const struct occupant *)item)->key; }
static slice look_key(const void *item) { return ((const struct look *)item)->text; }
static slice seat_key(const void *item) { return ((const struct seat *)item)->jid; }

static struct muc_worker *muc_of(struct worker *w)
{
    struct muc_worker *m = w->state_of[slot];
    if (m == NULL) {
        m = w->state_of[slot] = mem_new(struct muc_worker);
        m->worker = w;
        map_init(&m->rooms, room_key);
        list_init(&m->idle);
        list_init(&m->absent);
    }
    return m;
}

/* Unlikely to be used, and the same again if its row is written again. */
int64_t room_new_id(void)
{
    const uint64_t range = ((uint64_t)1 << 62) - (uint64_t)ROOM_ID_MIN;
    return ROOM_ID_MIN + (int64_t)(rand_u64() % range);
}

static struct room *room_alloc(struct worker *w, const struct host *h, slice jid)
{
    struct room *r = mem_zalloc(sizeof *r + jid.len);
    char *text = (char *)(r + 1);

    metric_add(&rooms_loaded_metric, 1);
    memcpy(text, jid.ptr, jid.len);
    r->worker = w;
    r->host = h;
    r->jid = (slice){ text, jid.len };
    r->inbox_tail = &r->inbox;
    r->change_tail = &r->changes;
    map_init(&r->affiliates, affiliate_key);
    map_init(&r->reserved, reserved_key);
    map_init(&r->reserved_looks, look_key);
    map_init(&r->followers, affiliate_key);
    map_init(&r->nicks, occupant_key);
    map_init(&r->looks, look_key);
    map_init(&r->seats, seat_key);
    list_init(&r->occupants);
    list_init(&r->away);
    list_init(&r->relays);
    audience_init(&r->audience, w, r->jid);
    return r;
}

/* Everything but what it is known by. */
static void room_clear(struct room *r)
{
    occupants_free(r);
    room_relays_free(r);
    affiliates_free(r);
    room_makers_weigh(r);
    room_config_fini(&r->config);
    r->config = (struct room_config){ 0 };
    room_history_fini(&r->history);
    if (r->state == ROOM_READY && !r->stored)
        rooms_release(r->creator);
    stanza_unref(&r->subject);
    room_subject_drop(r);
    mem_free(&r->debts);
    mem_free(&r->voices);
    mem_free(&r->applicants);
    mem_free(&r->guesses);
    timer_cancel(&r->late);
    timer_cancel(&r->lock);
    room_vcard_free(r);
    room_hats_free(r);
    slice_release(&r->creator);
    mem_wipe(r->secret, sizeof r->secret);
    r->stored = r->locked = r->opening = false;
    r->spoken_day = 0;
    r->said_us = 0;
}

static void not_idle(struct room *r)
{
    struct muc_worker *m = muc_of(r->worker);
    if (list_linked(&r->idle) && r->state == ROOM_ABSENT)
        m->absent_count--;
    list_remove(&r->idle);
}

static void room_free(struct room *r)
{
    struct muc_worker *m = muc_of(r->worker);
    metric_add(&rooms_loaded_metric, -1);
    map_del(&m->rooms, r->jid);
    not_idle(r);
    room_clear(r);
    audience_fini(&r->audience);
    map_fini(&r->affiliates);
    map_fini(&r->reserved);
    map_fini(&r->reserved_looks);
    map_fini(&r->followers);
    map_fini(&r->nicks);
    map_fini(&r->looks);
    map_fini(&r->seats);
    mem_free(&r);
}

static bool is_idle(const struct room *r)
{
    return r->pins == 0 && r->inbox == NULL && r->state != ROOM_LOADING && r->changes == NULL &&
           r->seat_count == 0;
}

static struct room *longest(const struct list *idle)
{
    return list_empty(idle) ? NULL : CONTAINER_OF(idle->next, struct room, idle);
}

static void room_touch(struct room *r);

static void sweep_list(const struct list *idle, uint64_t after_ms, uint64_t now_us)
{
    struct room *r;
    for (int i = 0; i < SWEEP_MAX && (r = longest(idle)) != NULL; i++) {
        if (now_us - r->idle_since_us < after_ms * 1000)
            return;
        if (r->state == ROOM_READY && room_was_guessed(r)) { /* else it would forget who tried */
            room_touch(r);
            continue;
        }
        followers_store(r);
        room_free(r);
    }
}

static void sweep(struct timer *t, struct loop *loop)
{
    struct muc_worker *m = CONTAINER_OF(t, struct muc_worker, sweep);
    uint64_t now = loop_now_us(loop);

    sweep_list(&m->idle, (uint64_t)setting_int(&muc_unload_after), now);
    sweep_list(&m->absent, ABSENT_MS, now);
    if (!list_empty(&m->idle) || !list_empty(&m->absent))
        timer_set(loop, &m->sweep, SWEEP_MS);
}

/* After something ended: ends an empty ad hoc room, unloads an idle one later. */
static void room_touch(struct room *r)
{
    struct muc_worker *m = muc_of(r->worker);
    not_idle(r);
    if (!is_idle(r))
        return;
    if (r->state == ROOM_READY && !r->stored) { /* an ad hoc room lives as long as somebody is in */
        room_end(r);
        return;
    }
    r->idle_since_us = loop_now_us(r->worker->loop);
    list_append(r->state == ROOM_ABSENT ? &m->absent : &m->idle, &r->idle);
    if (r->state == ROOM_ABSENT && ++m->absent_count > ABSENT_MAX)
        room_free(longest(&m->absent));
    if (!timer_is_set(&m->sweep)) {
        m->sweep.fn = sweep;
        timer_set(r->worker->loop, &m->sweep, SWEEP_MS);
    }
}

void room_pin(struct room *r)
{
    r->pins++;
    not_idle(r);
}

void room_unpin(struct room *r)
{
    r->pins--;
    room_touch(r);
}

void room_end(struct room *r)
{
    not_idle(r);
    room_clear(r);
    r->state = ROOM_ABSENT;
    room_touch(r);
}

/* What waits is handled in order; a handler may make others wait again. */
static void drain(struct room *r, enum err e)
{
    room_pin(r);
    while (r->inbox != NULL && r->state != ROOM_LOADING) {
        struct room_wait *it = r->inbox;
        r->inbox = it->next;
        if (r->inbox == NULL)
            r->inbox_tail = &r->inbox;
        r->inbox_count -= it->st != NULL;
        r->inbox_bytes -= it->st == NULL ? 0 : it->st->bytes;
        if (it->st == NULL)
            it->fn(r, e, it->arg);
        else if (e != OK)
            room_unreachable(r, it->st, it->origin);
        else
            room_handle_waiting(r, it->st, it->origin);
        mem_free(&it);
    }
    room_unpin(r);
}

/* Functions have no limit: they are of operators, or as many as the sessions that were in it before
 * a planned restart, which no stanza may take the place of. */
static bool inbox_put(struct room *r, const struct room_wait *wait)
{
    /* who leaves must be heard: nobody else says that a session of ours is gone */
    bool leaves =
        wait->st != NULL && wait->st->kind == STANZA_PRESENCE && wait->st->type == TYPE_UNAVAILABLE;
    if (wait->st != NULL && r->inbox_count >= (leaves ? ROOM_INBOX_LEAVES : ROOM_INBOX_MAX))
        return false;
    if (wait->st != NULL && !leaves && r->inbox_bytes > ROOM_INBOX_BYTES)
        return false;
    struct room_wait *it = mem_alloc(sizeof *it);
    *it = *wait;
    it->next = NULL;
    *r->inbox_tail = it;
    r->inbox_tail = &it->next;
    r->inbox_count += wait->st != NULL;
    r->inbox_bytes += wait->st == NULL ? 0 : wait->st->bytes;
    return true;
}

/* The room was read, or cannot be. */
void room_loaded(struct room *r, enum err e)
{
    r->state = e == OK ? ROOM_READY : ROOM_ABSENT;
    r->unread = e != OK && e != E_NOTFOUND;
    drain(r, e == E_NOTFOUND ? OK : e);
}

struct room *room_get(struct worker *w, const struct host *h, slice jid)
{
    struct muc_worker *m = muc_of(w);
    struct room *r = map_get(&m->rooms, jid);
    if (r == NULL) {
        r = room_alloc(w, h, jid);
        map_put(&m->rooms, r);
        room_load(r);
    } else if (r->unread && r->inbox == NULL) { /* there may be one: nobody makes another */
        not_idle(r);
        r->unread = false;
        r->state = ROOM_LOADING;
        room_load(r);
    }
    return r;
}

struct room *room_find(const struct worker *w, slice jid)
{
    struct muc_worker *m = w->state_of[slot];
    struct room *r = m == NULL ? NULL : map_get(&m->rooms, jid);
    return r != NULL && r->state == ROOM_READY ? r : NULL;
}

struct room *room_of_iq(const struct iq *iq)
{
    struct room *r = room_find(iq->worker, stanza_to(iq->st));
    ensure(r != NULL);
    return r;
}

bool room_wait(struct room *r, struct stanza *st, struct origin origin)
{
    return inbox_put(r, &(struct room_wait){ .st = st, .origin = origin });
}

void room_with(struct worker *w, slice jid, room_fn *fn, void *arg)
{
    slice domain = jid_split(jid).domain, parent;
    struct room *r = room_get(w, host_find(w->node, domain, &parent), jid);
    if (r->state != ROOM_LOADING && r->inbox == NULL) {
        room_pin(r);
        fn(r, OK, arg);
        room_unpin(r);
    } else {
        (void)inbox_put(r, &(struct room_wait){ .fn = fn, .arg = arg });
    }
}

static void each(struct worker *w, enum room_state state, room_each_fn *fn, void *arg)
{
    struct muc_worker *m = w->state_of[slot];
    struct room *r;
    for (uint32_t i = 0; m != NULL && (r = map_next(&m->rooms, &i)) != NULL;)
        if (r->state == state)
            fn(r, arg);
}

void rooms_each(struct worker *w, room_each_fn *fn, void *arg) { each(w, ROOM_READY, fn, arg); }

void rooms_each_loading(struct worker *w, room_each_fn *fn, void *arg)
{
    each(w, ROOM_LOADING, fn, arg);
}

enum err room_create(struct room *r, slice creator, struct why *why)
{
    if (!rooms_reserve(creator, why))
        return E_LIMIT;
    not_idle(r);
    r->id = room_new_id();
    r->state = ROOM_READY;
    room_lock(r);
    r->created_us = loop_wall_us(r->worker->loop);
    rand_bytes(r->secret, sizeof r->secret);
    room_config_default(&r->config);
    r->creator = slice_keep(creator);
    affiliate_put(r, &(struct affiliation_edit){ .jid = creator, .affiliation = AFF_OWNER });
    room_makers_weigh(r);
    room_archive_init(&r->archive, r->worker, r->id, r->jid);
    room_history_init(&r->history);
    log_info(&log_muc, LOG_EV("room.created"), LOG_S("room", r->jid), LOG_S("by", creator));
    return OK;
}

void rooms_stop(struct worker *w)
{
    struct muc_worker *m = w->state_of[slot];
    struct room *r;
    if (w->index == 0)
        room_makers_forget();
    if (m == NULL)
        return;
    for (uint32_t i = 0; (r = map_next(&m->rooms, &i)) != NULL;) {
        while (r->inbox != NULL) {
            struct room_wait *it = r->inbox;
            r->inbox = it->next;
            stanza_unref(&it->st);
            mem_free(&it);
        }
        changes_drop(r);
        room_free(r);
    }
    map_fini(&m->rooms);
    timer_cancel(&m->sweep);
    mem_free(&m);
    w->state_of[slot] = NULL;
}
