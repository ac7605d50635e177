#include "remote/remote_unsubscribe.h"
#include "account/account.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "core/core.h"
#include "home/ask.h"
#include "home/here.h"
#include "home/node.h"
#include "presence/roster.h"
#include "presence/roster_out.h"
#include "remote/remote_domains.h"
#include "xmpp/ns.h"

enum { ANSWER_MS = 60 * 1000, BACK_MS = 1000 };

/* A row whose words have been said. Its domain is held (remote/remote_domains.h), so that this
 * worker hears when it is back. */
struct unconfirmed {
    struct worker *worker;
    unsigned words;
    slice sender, rcpt; /* in this block */
};

void remote_unsubscribe_later(struct worker *w)
{
    struct core *c = core_of(w);
    if (timer_is_set(&c->unconfirmed) || worker_stopping(w))
        return;
    c->unconfirmed_ms = c->unconfirmed_ms == 0                       ? UNCONFIRMED_MIN_MS
                        : c->unconfirmed_ms < UNCONFIRMED_MAX_MS / 2 ? 2 * c->unconfirmed_ms
                                                                     : UNCONFIRMED_MAX_MS;
    timer_set(worker_loop(w), &c->unconfirmed, c->unconfirmed_ms);
}

void remote_unsubscribe_soon(struct worker *w, slice domain)
{
    struct core *c = core_of(w);
    (void)domain;
    if (timer_is_set(&c->unconfirmed))
        timer_set(worker_loop(w), &c->unconfirmed, BACK_MS);
}

static void unconfirmed_answered(struct worker *w, void *arg, const struct stanza *reply)
{
    struct unconfirmed *u = arg;
    struct core *c = core_of(w);
    ensure(w == u->worker && c->asked > 0);
    c->asked--;
    remote_domain_release(w, jid_split(u->rcpt).domain, jid_split(u->sender).domain);
    if (remote_domain_answered(w, reply)) {
        roster_out_confirmed(w, u->sender, u->rcpt, u->words);
        c->unconfirmed_ms = 0;
    } else {
        remote_unsubscribe_later(w);
    }
    mem_free(&u);
}

static void unconfirmed_drop(void *arg) { mem_free(&arg); }

/* Behind the words, in the same queue: a server gets what is sent in the name of our domain in that
 * order. A component has several connections, one for each pair of addresses. */
static void unconfirmed_ask(struct worker *w, slice sender, slice rcpt, unsigned words)
{
    bool component = remote_known(w, jid_split(rcpt).domain);
    struct unconfirmed *u = mem_zalloc(sizeof *u + sender.len + rcpt.len);
    char *at = (char *)(u + 1);
    *u = (struct unconfirmed){ w, words, slice_lay(&at, sender), slice_lay(&at, rcpt) };
    const struct ask_request ping = { .type = TYPE_GET,
                                      .from = component ? u->sender : jid_split(u->sender).domain,
                                      .to = u->rcpt,
                                      .home = u->sender,
                                      .payload = SLICE("<ping xmlns='" NS_PING "'/>"),
                                      .timeout_ms = ANSWER_MS,
                                      .drop = unconfirmed_drop };
    core_of(w)->asked++;
    remote_domain_hold(w, jid_split(u->rcpt).domain, jid_split(u->sender).domain);
    if (ask_send(w, &ping, unconfirmed_answered, u) == NULL)
        unconfirmed_answered(w, u, NULL);
}

static void unsubscribe_route(struct worker *w, slice from, slice to, enum stanza_type type)
{
    route_send(w, stanza_make(STANZA_PRESENCE, type, from, to, (slice){ 0 }, (slice){ 0 }));
}

/* Words that are still true: a subscription of the next account with the contact is its own. */
static unsigned words_left(const struct account *a, slice contact, unsigned words)
{
    const struct roster_item *item = roster_find(a->roster, contact);
    if (item != NULL && sub_sees(item->state))
        words &= ~(unsigned)REMOTE_UNSUBSCRIBE;
    if (item != NULL && (sub_is_seen(item->state) || sub_state_pending_in(item->state)))
        words &= ~(unsigned)REMOTE_UNSUBSCRIBED;
    return words;
}

void remote_unsubscribe(struct account *a, slice contact, unsigned words, int64_t due)
{
    struct worker *w = a->worker;
    ensure(account_here(a) && contact.len > 0);
    unsigned left = words_left(a, contact, words);
    const struct roster_item *item = roster_find(a->roster, contact);
    slice domain = jid_split(contact).domain, local = jid_split(a->jid).domain;
    int64_t age_us = (int64_t)loop_wall_us(worker_loop(w)) - due;
    bool old = due > 0 && age_us > UNCONFIRMED_DAYS * 86400 * INT64_C(1000000);
    if (old || left == 0 || !remote_domain_is_other(w, domain)) {
        roster_out_confirmed(w, a->jid, contact, words);
        return;
    }
    if (core_of(w)->asked >= UNCONFIRMED_ASKED || !node_serves(worker_node(w), local) ||
        !remote_domain_pair(w, local, domain)) {
        remote_unsubscribe_later(w);
        return;
    }
    if ((left & REMOTE_UNSUBSCRIBE) != 0)
        unsubscribe_route(w, a->jid, contact, TYPE_UNSUBSCRIBE);
    if ((left & REMOTE_UNSUBSCRIBED) !=
        0) { /* its sessions may not have said that they have gone */
        unsubscribe_route(w, a->jid, contact, TYPE_UNAVAILABLE);
        unsubscribe_route(w, a->jid, contact, TYPE_UNSUBSCRIBED);
    }
    if (item != NULL && sub_state_ask(item->state)) /* the request of the next account */
        unsubscribe_route(w, a->jid, contact, TYPE_SUBSCRIBE);
    unconfirmed_ask(w, a->jid, contact, words);
}
