#include "im/unsubscribe_again.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "home/here.h"
#include "home/router.h"
#include "im/abroad.h"
#include "im/account.h"
#include "im/core.h"
#include "im/presence.h"
#include "im/roster.h"

enum { TOGETHER = 4 }; /* contacts that compete for the same places */

struct unsubscribed {
    uint64_t account, contact; /* hashes of their addresses */
    uint64_t noted_us;         /* 0: unused */
    uint64_t again_us;         /* it may be said again from then on */
    enum stanza_named named;   /* as whom the account says it again */
};
struct unsubscribed_table {
    struct unsubscribed each[UNSUBSCRIBE_AGAIN_MAX];
};

/* Its place; else the one that it would get, which is unused or has the oldest of these contacts.
 * NULL: there is no table yet. */
static struct unsubscribed *unsubscribed_place(const struct account *a, slice with)
{
    struct unsubscribed_table *t = core_of(a->worker)->unsubscribed;
    uint64_t account = hash_keyed(a->jid), contact = hash_keyed(with);
    if (t == NULL)
        return NULL;
    struct unsubscribed *all =
        &t->each[(account ^ contact) % (UNSUBSCRIBE_AGAIN_MAX / TOGETHER) * TOGETHER];
    struct unsubscribed *oldest = all;
    for (unsigned i = 0; i < TOGETHER; i++) {
        if (all[i].account == account && all[i].contact == contact)
            return &all[i];
        if (all[i].noted_us < oldest->noted_us)
            oldest = &all[i];
    }
    return oldest;
}

static bool unsubscribed_is(const struct unsubscribed *u, const struct account *a, slice with)
{
    return u != NULL && u->noted_us != 0 && u->account == hash_keyed(a->jid) &&
           u->contact == hash_keyed(with);
}

static void unsubscribed_note(struct account *a, slice with, uint64_t again_us,
                              enum stanza_named named)
{
    struct core *core = core_of(a->worker);
    ensure(account_here(a));
    if (core->unsubscribed == NULL)
        core->unsubscribed = mem_new(struct unsubscribed_table);
    *unsubscribed_place(a, with) =
        (struct unsubscribed){ hash_keyed(a->jid), hash_keyed(with),
                               loop_now_us(worker_loop(a->worker)), again_us, named };
}

void unsubscribe_again_said(struct account *a, slice contact)
{
    if (abroad_is_other(a->worker, jid_split(contact).domain))
        unsubscribed_note(a, contact, 0, NAMED_USUAL);
}

static bool is_subscribed(const struct roster_item *item)
{
    return item != NULL && (sub_sees(item->state) || sub_state_ask(item->state));
}

/* A room and who got presence of their own may answer with theirs. A change that waits may be the
 * one that asks for a subscription. Who only waits for an approval is a stranger yet. */
static bool is_unwanted(const struct account *a, const struct stanza *st)
{
    slice contact = stanza_from_bare(st);
    const struct roster_item *item = roster_find(a->roster, contact);
    if (st->kind != STANZA_PRESENCE || st->type != TYPE_AVAILABLE || !stanza_to_is_bare(st) ||
        !abroad_is_other(a->worker, jid_split(contact).domain) || stanza_has(st, KNOWN(MUC_USER)) ||
        a->actor.change_count > 0 || presence_is_directed(a, contact))
        return false;
    if (is_subscribed(item))
        return false;
    return (item != NULL && (sub_is_seen(item->state) || (item->flags & ROSTER_LISTED) != 0)) ||
           unsubscribed_is(unsubscribed_place(a, contact), a, contact);
}

bool unsubscribe_again_holds(const struct account *a, slice contact)
{
    const struct unsubscribed *u = unsubscribed_place(a, contact);
    return unsubscribed_is(u, a, contact) && loop_now_us(worker_loop(a->worker)) < u->again_us &&
           !is_subscribed(roster_find(a->roster, contact)) && a->actor.change_count == 0;
}

static void say(struct account *a, slice contact, enum stanza_named named)
{
    struct stanza *st =
        stanza_make(STANZA_PRESENCE, TYPE_UNSUBSCRIBE, a->jid, contact, (slice){ 0 }, (slice){ 0 });
    st->named = (uint8_t)named;
    route_send(a->worker, st);
}

void unsubscribe_again_say(struct account *a, slice contact)
{
    if (unsubscribe_again_holds(a, contact))
        say(a, contact, unsubscribed_place(a, contact)->named);
}

void unsubscribe_again_presence(struct account *a, const struct stanza *st)
{
    uint64_t now = loop_now_us(worker_loop(a->worker));
    if (!is_unwanted(a, st))
        return;
    slice contact = stanza_from_bare(st);
    if (unsubscribe_again_holds(a, contact))
        return;
    unsubscribed_note(a, contact, now + UNSUBSCRIBE_AGAIN_US, (enum stanza_named)st->named);
    say(a, contact, (enum stanza_named)st->named);
}

void unsubscribe_again_deleted(struct worker *w, slice account)
{
    struct unsubscribed_table *t = core_of(w)->unsubscribed;
    uint64_t hash = hash_keyed(account);
    for (unsigned i = 0; t != NULL && i < UNSUBSCRIBE_AGAIN_MAX; i++)
        if (t->each[i].account == hash)
            t->each[i] = (struct unsubscribed){ 0 };
}

void unsubscribe_again_free(struct core *c) { mem_free(&c->unsubscribed); }
