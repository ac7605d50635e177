#include "muc/people/pace.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "codec/xml_write.h"
#include "io/timer.h"
#include "muc/people/show.h"
#include "muc/room/occupant_id.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "muc/room/settings.h"

enum {
    COST_MESSAGE = 1000,
    COST_REQUEST = 100, /* to one client; many are asked at once by who enters */
    LATE_MS = 1000,
    DEBTS_MAX = 64
};

static uint64_t rate_of(void) { return (uint64_t)setting_int(&muc_message_rate); }
static uint64_t burst_of(void) { return (uint64_t)setting_int(&muc_message_burst) * COST_MESSAGE; }

static uint64_t left_of(const struct pace *p, uint64_t now)
{
    uint64_t burst = burst_of();
    uint64_t gained = p->at_us == 0 ? burst : (now - p->at_us) * rate_of() / 1000;
    return p->left + gained > burst ? burst : p->left + gained;
}

static bool too_fast(const struct room *r, struct pace *p, uint32_t cost)
{
    uint64_t now = loop_now_us(room_loop(r));
    if (rate_of() == SETTING_NONE)
        return false;
    uint64_t left = left_of(p, now);
    if (left < cost)
        return true;
    p->left = (uint32_t)(left - cost);
    p->at_us = now;
    return false;
}

bool room_too_fast(struct room *r, struct occupant *o)
{
    return too_fast(r, &o->pace, COST_MESSAGE);
}

bool room_asks_too_fast(struct room *r, struct occupant *o)
{
    return too_fast(r, &o->pace, COST_REQUEST);
}

bool room_outsiders_too_fast(struct room *r) { return too_fast(r, &r->outsiders, COST_MESSAGE); }

/* The remaining allowance of users who left recently, so that entering again does not reset it, and
 * how often they entered and left, which costs a broadcast each time. The oldest is forgotten
 * first. */
struct room_debts {
    uint32_t len, cap, next;
    struct debt {
        uint64_t who;
        struct pace pace, moves;
    } row[];
};

static struct debt *debt_of(const struct room *r, slice occupant_id)
{
    uint64_t who = hash_keyed(occupant_id);
    for (uint32_t i = 0; r->debts != NULL && i < r->debts->len; i++)
        if (r->debts->row[i].who == who)
            return &r->debts->row[i];
    return NULL;
}

static struct debt *debt_new(struct room *r)
{
    struct room_debts *d = r->debts;
    uint32_t cap = d == NULL ? 4 : d->cap * 2;
    if (d == NULL || (d->len == d->cap && cap <= DEBTS_MAX)) {
        d = mem_realloc(d, sizeof *d + cap * sizeof *d->row);
        if (r->debts == NULL)
            *d = (struct room_debts){ 0 };
        d->cap = cap;
        r->debts = d;
    }
    ensure(d->len <= d->cap && d->cap <= DEBTS_MAX);
    if (d->len < d->cap)
        return &d->row[d->len++];
    return &d->row[d->next++ % d->len];
}

void room_debt_keep(struct room *r, struct occupant *o)
{
    if (rate_of() == SETTING_NONE)
        return;
    (void)too_fast(r, &o->moves, COST_MESSAGE);
    struct debt *d = debt_of(r, o->id);
    if (d == NULL)
        d = debt_new(r);
    *d = (struct debt){ hash_keyed(o->id), o->pace, o->moves };
}

void room_debt_take(struct room *r, struct occupant *o)
{
    const struct debt *d = debt_of(r, o->id);
    if (d == NULL)
        return;
    o->pace = d->pace;
    o->moves = d->moves;
}

bool room_returns_too_fast(const struct room *r, slice bare)
{
    char id[OCCUPANT_ID_LEN + 1];
    if (r->debts == NULL)
        return false;
    const struct debt *d = debt_of(r, occupant_id(id, r->secret, bare));
    return d != NULL && rate_of() != SETTING_NONE &&
           left_of(&d->moves, loop_now_us(room_loop(r))) < COST_MESSAGE;
}

/* Presence that waits to be shown. */

static void show_late(struct timer *t, struct loop *loop)
{
    struct room *r = CONTAINER_OF(t, struct room, late);
    bool more = false;
    ensure(room_here(r));
    room_pin(r);
    LIST_EACH (it, &r->occupants) {
        struct occupant *o = CONTAINER_OF(it, struct occupant, node);
        if (o->late && o->due == NULL && !room_too_fast(r, o))
            room_show(r, o, &(struct show){ 0 });
        more = more || o->late;
    }
    if (more)
        timer_set(loop, &r->late, LATE_MS);
    room_unpin(r);
}

void room_show_presence(struct room *r, struct occupant *o)
{
    if (!o->late && !room_too_fast(r, o)) {
        room_show(r, o, &(struct show){ 0 });
        return;
    }
    o->late = true;
    if (timer_is_set(&r->late))
        return;
    r->late.fn = show_late;
    timer_set(room_loop(r), &r->late, LATE_MS);
}
