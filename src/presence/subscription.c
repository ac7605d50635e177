#include "presence/subscription.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/core.h"
#include "core/stage.h"
#include "home/here.h"
#include "home/node.h"
#include "home/ticket.h"
#include "presence/presence.h"
#include "presence/presence_in.h"
#include "presence/roster.h"
#include "presence/roster_account.h"
#include "presence/roster_out.h"
#include "remote/foreign.h"
#include "remote/remote_unsubscribe.h"
#include "session/session_input.h"
#include "session/session_queue.h"
#include "session/sessions.h"
#include <stdio.h>

struct stanza *subscription_stanza(const struct account *a, slice contact, enum sub_verb verb)
{
    return stanza_make(STANZA_PRESENCE, roster_out_types[verb], a->jid, contact, (slice){ 0 },
                       (slice){ 0 });
}

void subscription_send(struct account *a, struct stanza *st) { route_send(a->worker, st); }

bool subscription_ask_again(const struct account *a, slice contact)
{
    const struct roster_item *item = roster_find(a->roster, contact);
    struct worker *w = a->worker;
    slice domain = jid_split(contact).domain;
    ensure(account_here(a));
    if (item == NULL || !sub_state_ask(item->state) ||
        foreign_separates(w, jid_split(a->jid).domain, domain))
        return false;
    struct stanza *st = subscription_stanza(a, contact, SUB_SUBSCRIBE);
    if (roster_out_confirms(worker_node(w), contact)) { /* which takes it by its row */
        struct store_batch *b = store_write(worker_store(w), account_lane(a));
        roster_out_put(b, w, st);
        store_submit(b, worker_loop(w), 0, NULL, NULL);
    }
    route_send(w, st);
    return true;
}

void subscription_announce(struct store_batch *b, const struct account *a, const struct stanza *st)
{
    roster_out_put(b, a->worker, st);
}

void subscription_dropped(struct worker *w, const struct stanza *st)
{
    slice sender = stanza_from_bare(st);
    if (!roster_out_confirms(worker_node(w), sender))
        return;
    if (roster_out_is_here(worker_node(w), sender)) {
        struct store_batch *b = store_write(worker_store(w), hash_keyed(stanza_to_bare(st)));
        roster_out_done(b, st);
        store_submit(b, worker_loop(w), 0, NULL, NULL);
    } else {
        roster_out_settle(w, st);
    }
}

/* One change of one account's roster because of one stanza. */
struct change {
    struct actor_change base; /* first */
    struct stanza *st;        /* from and to are bare */
    struct stanza *sent;      /* outbound: as the client sent it */
    struct stanza *answer;    /* inbound: on behalf of the account */
    struct origin origin;
    bool *ended; /* of im_subscription_begin(), as long as it runs */
    bool failed; /* inbound: an error was the answer to a request, which is no longer open */
    enum sub_verb verb;
    struct sub_result result;
    bool changes; /* delta is to be applied */
    enum roster_view view;
    struct roster_delta delta;
    const struct setting *limit; /* that refused it */
    struct buf request;
};

static struct change *im_subscription_change_create(struct stanza *st, struct origin origin)
{
    struct change *c = mem_new(struct change);
    c->st = st;
    c->origin = origin;
    c->verb = roster_out_verb(st);
    buf_init(&c->request, XML_STANZA_MAX);
    return c;
}

static struct log_area log_subscription = { .name = "subscription" };
struct log_area *const subscription_logs[] = { &log_subscription, NULL };

/* Logs sender, recipient and the new state of the roster (`musterctl log trace subscription
 * on`). */
static void im_subscription_trace(const char *event, const struct change *c, slice contact,
                                  enum err e)
{
    const char *why = c->limit != NULL ? c->limit->name : e != OK ? err_text(e) : "";
    log_trace(&log_subscription, LOG_C("event", event),
              LOG_S("account", account_of(c->base.actor)->jid), LOG_S("contact", contact),
              LOG_C("type", sub_verb_name(c->verb)),
              LOG_C("subscription", sub_state_subscription(c->result.state)), LOG_C("why", why));
}

/* The ticket is done when the change is (architecture §6: roster: committed), which may be at once.
 */
static enum routed im_subscription_begin(struct account *a, struct change *c)
{
    enum routed routed = c->origin.session != 0 ? ROUTE_PENDING : ROUTED;
    ensure(account_here(a));
    account_change(a, &c->base);
    return routed;
}

static void im_subscription_end(struct worker *w, struct change *c)
{
    if (c->origin.session != 0)
        ticket_done(w, c->origin);
    stanza_unref(&c->st);
    stanza_unref(&c->sent);
    stanza_unref(&c->answer);
    buf_fini(&c->request);
    mem_free(&c);
}

static slice contact_of(const struct change *c, enum sub_dir dir)
{
    return dir == SUB_OUT ? stanza_to(c->st) : stanza_from(c->st);
}

/* Works out the delta for c->result. */
static void set_delta(struct change *c, const struct roster *r, enum sub_dir dir)
{
    struct roster_delta *d = &c->delta;
    uint32_t actions = c->result.actions;
    *d = roster_edit(r, contact_of(c, dir));
    uint8_t state = d->state, flags = d->flags;
    d->state = (uint8_t)c->result.state;
    if ((actions & SUB_CREATE) != 0)
        d->flags |= ROSTER_LISTED;
    if ((actions & SUB_SET_PREAPPROVED) != 0)
        d->flags |= ROSTER_PREAPPROVED;
    if ((actions & SUB_CLEAR_PREAPPROVED) != 0)
        d->flags &= (uint8_t)~ROSTER_PREAPPROVED;
    c->changes = d->state != state || d->flags != flags;
    c->view = (actions & SUB_PUSH) != 0 ? ROSTER_SHOWN : ROSTER_HIDDEN;
}

static void im_subscription_store_change(struct change *c)
{
    struct account *a = account_of(c->base.actor);
    if (c->base.batch == NULL)
        c->base.batch = store_write(worker_store(a->worker), account_lane(a));
    roster_seal(a->roster, &c->delta, c->view);
    roster_delta_store(c->base.batch, a->id, &c->delta);
}

static struct sub_result im_subscription_next(const struct roster *r, const struct change *c,
                                              enum sub_dir dir)
{
    const struct roster_item *item = roster_find(r, contact_of(c, dir));
    enum sub_state state = item == NULL ? SUB_NONE : (enum sub_state)item->state;
    int preapproved = item != NULL && (item->flags & ROSTER_PREAPPROVED) != 0;
    return sub_next(state, preapproved, c->verb, dir);
}

static slice limit_text(struct arena *tmp, const struct setting *limit)
{
    return slice_of(
        arena_printf(tmp, "%s (%lld) is reached", limit->name, (long long)setting_int(limit)));
}

/* Outbound: §3.1.2, §3.1.5, §3.2.2, §3.3.2, §3.4.2. */

static enum err out_prepare(struct actor_change *base)
{
    struct change *c = (struct change *)base;
    struct account *a = account_of(base->actor);
    const struct roster *r = a->roster;
    if (a->state != ACTOR_READY)
        return E_NOTFOUND; /* deleted meanwhile */
    c->result = im_subscription_next(r, c, SUB_OUT);
    set_delta(c, r, SUB_OUT);
    if (roster_delta_is_new(r, &c->delta) && roster_count(a) >= setting_int(&roster_contacts_max))
        c->limit = &roster_contacts_max;
    if ((c->result.actions & SUB_SEND_PRESENCE) != 0 && r != NULL &&
        r->seen >= setting_int(&roster_watchers_max))
        c->limit = &roster_watchers_max;
    if (c->limit != NULL)
        return E_LIMIT;
    /* What changes nothing here may change something there. */
    bool repeated = !c->changes && roster_out_confirms(account_node(a), stanza_to_bare(c->st));
    if (c->changes)
        im_subscription_store_change(c);
    else if (repeated && (c->result.actions & SUB_ROUTE) != 0)
        base->batch = store_write(worker_store(a->worker), account_lane(a));
    if ((c->result.actions & SUB_ROUTE) != 0 && (c->changes || repeated))
        subscription_announce(base->batch, a, c->st);
    return OK;
}

static void out_refused(struct worker *w, const struct change *c, enum err e)
{
    struct arena *tmp = arena_create(0);
    if (c->limit != NULL)
        route_error(w, c->sent, SE_POLICY_VIOLATION, limit_text(tmp, c->limit));
    else
        route_error(w, c->sent, stanza_error_of(e), (slice){ 0 });
    arena_destroy(&tmp);
}

static void out_apply(struct actor_change *base, enum err e)
{
    struct change *c = (struct change *)base;
    struct account *a = account_of(base->actor);
    struct worker *w = a->worker;
    slice contact = stanza_to(c->st);
    uint32_t actions = c->result.actions;
    ensure(base->actor->pins > 0);

    im_subscription_trace("subscription.out", c, contact, e);
    if (e != OK) {
        out_refused(w, c, e);
        im_subscription_end(w, c);
        return;
    }
    presence_look(a, contact);
    if (c->changes)
        roster_commit(a, &c->delta, c->view);
    if ((actions & SUB_ROUTE) != 0)
        subscription_send(a, stanza_ref(c->st));
    /* An account of ours asks for it when it has committed, so that it comes after `subscribed`. */
    if ((actions & SUB_SEND_PRESENCE) != 0 && !roster_out_confirms(worker_node(w), contact))
        presence_show(a, contact);
    if ((actions & SUB_SEND_UNAVAILABLE) != 0)
        presence_hide(a, contact);
    im_subscription_end(w, c);
}

/* A group (account/shared.h) gives the direction that the word is about, and no subscription does:
 * there is nothing to ask for, to grant or to end. It would also outlast the group. */
static bool is_by_group_only(const struct account *a, slice contact, enum sub_verb verb)
{
    const struct roster_item *item = roster_find(a->roster, contact);
    enum sub_state own = item == NULL ? SUB_NONE : (enum sub_state)item->state;
    if (verb == SUB_SUBSCRIBE || verb == SUB_UNSUBSCRIBE)
        return roster_sees(a, contact) && !sub_sees(own) && !sub_state_ask(own);
    return roster_is_seen(a, contact) && !sub_is_seen(own) && !sub_state_pending_in(own);
}

enum routed subscription_out(struct session *s, struct stanza *st, struct origin origin)
{
    struct account *a = s->account;
    if (is_by_group_only(a, stanza_to_bare(st), roster_out_verb(st))) {
        stanza_unref(&st);
        return ROUTED;
    }
    if (slice_eq(stanza_to_bare(st), a->jid)) {
        route_error(a->worker, st, SE_NOT_ALLOWED, SLICE("users cannot subscribe to themselves"));
        stanza_unref(&st);
        return ROUTED;
    }
    /* §3.1.2: both addresses are bare on the way */
    struct change *c =
        im_subscription_change_create(stanza_readdress(st, a->jid, stanza_to_bare(st)), origin);
    c->sent = st;
    c->base.prepare = out_prepare;
    c->base.apply = out_apply;
    return im_subscription_begin(a, c);
}

/* Inbound: §3.1.3, §3.1.6, §3.2.3, §3.3.3, §3.4.2. */

/* The request is kept until it is answered; one with a long text without it. */
static void keep_request(struct change *c)
{
    stanza_store(&c->request, c->st);
    if (c->request.len > ROSTER_REQUEST_BYTES_MAX) {
        struct stanza *bare = stanza_make(STANZA_PRESENCE, TYPE_SUBSCRIBE, stanza_from(c->st),
                                          stanza_to(c->st), (slice){ 0 }, (slice){ 0 });
        buf_clear(&c->request);
        stanza_store(&c->request, bare);
        stanza_unref(&bare);
    }
    c->delta.request = buf_fit(&c->request);
}

/* One more who sees the owner or waits to. */
static bool adds_watcher(const struct change *c, const struct roster *r)
{
    const struct roster_item *item = roster_find(r, stanza_from(c->st));
    bool was = item != NULL && (sub_is_seen(item->state) || sub_state_pending_in(item->state));
    return !was && (sub_is_seen(c->result.state) || sub_state_pending_in(c->result.state));
}

/* Whether a request is refused because the list is full. Pending requests of strangers may take
 * half of the list; the rest is for users in the roster. */
static const struct setting *limit_in(const struct account *a, const struct change *c)
{
    const struct roster *r = a->roster;
    const struct roster_item *item = roster_find(r, stanza_from(c->st));
    if (!adds_watcher(c, r))
        return NULL;
    if (r != NULL && (int64_t)r->seen + r->pending >= setting_int(&roster_watchers_max))
        return &roster_watchers_max;
    bool listed = item != NULL && (item->flags & ROSTER_LISTED) != 0;
    int64_t watchers = setting_int(&roster_watchers_max);
    if (r != NULL && !listed && (int64_t)r->pending >= watchers - watchers / 2)
        return &roster_watchers_max;
    return !listed && roster_count(a) >= setting_int(&roster_contacts_max) ? &roster_contacts_max
                                                                           : NULL;
}

static struct sub_result next_in(const struct account *a, const struct change *c)
{
    struct sub_result result = im_subscription_next(a->roster, c, SUB_IN);
    const struct roster_item *item = roster_find(a->roster, stanza_from(c->st));
    enum sub_state state = item == NULL ? SUB_NONE : (enum sub_state)item->state;
    if (c->failed) { /* the error itself has been delivered */
        result.actions = SUB_PUSH;
        return sub_state_ask(state) ? result : (struct sub_result){ state, 0 };
    }
    if (c->verb != SUB_SUBSCRIBE || sub_is_seen(state) || !stage_permit(a, stanza_from(c->st)))
        return result;
    result = sub_next(state, 1, SUB_SUBSCRIBE, SUB_IN); /* as if it had been approved ahead */
    result.actions |= SUB_CREATE;
    return result;
}

static enum err in_prepare(struct actor_change *base)
{
    struct change *c = (struct change *)base;
    struct account *a = account_of(base->actor);
    const struct roster *r = a->roster;
    if (a->state != ACTOR_READY)
        return E_NOTFOUND; /* deleted or disabled meanwhile */
    c->result = next_in(a, c);
    c->limit = limit_in(a, c);
    if (c->limit != NULL) {
        const struct roster_item *item = roster_find(r, stanza_from(c->st));
        c->result.state = item == NULL ? SUB_NONE : (enum sub_state)item->state;
        c->result.actions = SUB_AUTO_UNSUBSCRIBED;
    }
    set_delta(c, r, SUB_IN);
    if (c->verb == SUB_SUBSCRIBE && c->changes && sub_state_pending_in(c->delta.state))
        keep_request(c);
    if ((c->result.actions & SUB_AUTO_SUBSCRIBED) != 0)
        c->answer = subscription_stanza(a, stanza_from(c->st), SUB_SUBSCRIBED);
    if ((c->result.actions & SUB_AUTO_UNSUBSCRIBED) != 0)
        c->answer = subscription_stanza(a, stanza_from(c->st), SUB_UNSUBSCRIBED);

    if (c->changes)
        im_subscription_store_change(c);
    if (!roster_out_confirms(account_node(a), stanza_from(c->st)))
        return OK;
    bool known = roster_out_knows(account_node(a), stanza_from(c->st));
    if (base->batch == NULL && (known || c->answer != NULL))
        base->batch = store_write(worker_store(a->worker), account_lane(a));
    if (known)
        roster_out_take(base->batch, c->st, a->jid);
    if (c->answer != NULL)
        subscription_announce(base->batch, a, c->answer);
    return OK;
}

static void deliver_one(struct session *s, void *st) { session_deliver(s, st, 0, 0); }

/* §3.1.3: a request goes to who is available; the others to those that know the roster (§3.1.6). */
static void im_subscription_deliver(struct account *a, struct stanza *st)
{
    enum sessions_who who = st->type == TYPE_SUBSCRIBE ? SESSIONS_AVAILABLE : SESSIONS_INTERESTED;
    sessions_each(a, who, deliver_one, st);
}

static void refuse_watcher(struct account *a, const struct change *c)
{
    struct arena *tmp = arena_create(0);
    route_error(a->worker, c->st, SE_POLICY_VIOLATION, limit_text(tmp, c->limit));
    arena_destroy(&tmp);
}

/* The account that a "forget" names; false: it is none. */
static bool forget_read(const struct worker *w, const struct stanza *st, struct arena *tmp,
                        slice *jid)
{
    struct elem payload;
    if (!node_serves(worker_node(w), stanza_from(st)) || !stanza_payload(st, &payload) ||
        !elem_is(&payload, "forget", NS_ROSTER_OUT))
        return false;
    *jid = elem_attr(&payload, "jid", tmp);
    return jid->len > 0;
}

bool subscription_failed(struct worker *w, const struct stanza *st)
{
    slice jid;
    if (st->type < TYPE_SUBSCRIBE || st->type > TYPE_UNSUBSCRIBED)
        return false;
    if (!roster_out_confirms(worker_node(w), stanza_from(st)) &&
        !forget_read(w, st, loop_scratch(worker_loop(w)), &jid))
        return false;
    roster_out_later(w);
    return true;
}

static void in_apply(struct actor_change *base, enum err e)
{
    struct change *c = (struct change *)base;
    struct account *a = account_of(base->actor);
    struct worker *w = a->worker;
    slice contact = stanza_from(c->st);
    uint32_t actions = c->result.actions;
    ensure(base->actor->pins > 0);

    im_subscription_trace("subscription.in", c, contact, e);
    ensure(e != OK || a->state == ACTOR_READY);
    if (e != OK) { /* an account of ours tells it again, if it is still there */
        if (!subscription_failed(w, c->st) && !c->failed)
            route_error(w, c->st, stanza_error_of(e), (slice){ 0 });
        im_subscription_end(w, c);
        return;
    }
    core_of(w)->resend_ms = 0;
    roster_out_settle(w, c->st);
    if ((actions & SUB_DELIVER) != 0) /* §3.1.6: before the push */
        im_subscription_deliver(a, c->st);
    presence_look(a, contact);
    if (c->changes)
        roster_commit(a, &c->delta, c->view);
    if (c->limit != NULL)
        refuse_watcher(a, c);
    if (c->answer != NULL)
        route_send(w, stanza_ref(c->answer));
    if ((actions & (SUB_SEND_PRESENCE | SUB_AUTO_SUBSCRIBED)) != 0 &&
        !roster_out_confirms(worker_node(w), contact))
        presence_show(a, contact);
    if ((actions & SUB_SEND_UNAVAILABLE) != 0)
        presence_hide(a, contact);
    /* Unchanged: the list was imported, and said so before the contact did. */
    if (c->verb == SUB_SUBSCRIBED && (c->changes || sub_sees(c->result.state)) &&
        roster_out_confirms(worker_node(w), contact))
        presence_probe(a, contact);
    im_subscription_end(w, c);
}

struct forget {
    struct actor_change base; /* first */
    struct arena *arena;
    slice jid;
    bool known;
    enum roster_view view;
    struct roster_delta delta;
};

static enum err forget_prepare(struct actor_change *base)
{
    struct forget *f = (struct forget *)base;
    struct account *a = account_of(base->actor);
    if (a->state != ACTOR_READY)
        return E_NOTFOUND; /* deleted or disabled meanwhile: the row stays, and is sent again */
    const struct roster_item *item = roster_find(a->roster, f->jid);
    bool approved = item != NULL && (item->flags & ROSTER_PREAPPROVED) != 0;
    f->known = item != NULL && (item->state != SUB_NONE_PENDING_OUT || approved);
    base->batch = store_write(worker_store(a->worker), account_lane(a));
    roster_out_forgotten(base->batch, f->jid, a->jid);
    if (!f->known)
        return OK;
    f->delta = roster_edit(a->roster, f->jid);
    f->view = (f->delta.flags & ROSTER_LISTED) != 0 ? ROSTER_SHOWN : ROSTER_HIDDEN;
    /* A request that was not answered stays, as one to an address that never had an account; it may
     * also be for the next one. An approval ahead is not for that. */
    bool asks = sub_state_ask(item->state);
    f->delta.state = asks ? SUB_NONE_PENDING_OUT : SUB_NONE;
    f->delta.flags = asks ? f->delta.flags & (uint8_t)~ROSTER_PREAPPROVED : 0;
    roster_seal(a->roster, &f->delta, f->view);
    roster_delta_store(base->batch, a->id, &f->delta);
    return OK;
}

static void forget_apply(struct actor_change *base, enum err e)
{
    struct forget *f = (struct forget *)base;
    if (e == OK && f->known)
        roster_commit(account_of(base->actor), &f->delta, f->view);
    if (e == OK)
        roster_out_settle_forgotten(account_of(base->actor)->worker, f->jid,
                                    account_of(base->actor)->jid);
    else
        roster_out_later(account_of(base->actor)->worker);
    arena_destroy(&f->arena);
    mem_free(&f);
}

static bool im_subscription_forget(struct account *a, const struct stanza *st)
{
    struct arena *arena = arena_create(0);
    slice jid;
    if (!forget_read(a->worker, st, arena, &jid)) {
        arena_destroy(&arena);
        return false;
    }
    struct forget *f = mem_new(struct forget);
    f->base.prepare = forget_prepare;
    f->base.apply = forget_apply;
    f->arena = arena;
    f->jid = slice_dup(arena, jid);
    account_change(a, &f->base);
    return true;
}

enum routed subscription_in(struct account *a, struct stanza *st, struct origin origin)
{
    if (im_subscription_forget(a, st)) {
        stanza_unref(&st);
        return ROUTED;
    }
    if (st->from_len != st->from_bare_len || !stanza_to_is_bare(st)) {
        struct stanza *bare = stanza_readdress(st, stanza_from_bare(st), stanza_to_bare(st));
        stanza_unref(&st);
        st = bare;
    }
    struct change *c = im_subscription_change_create(st, origin);
    c->base.prepare = in_prepare;
    c->base.apply = in_apply;
    return im_subscription_begin(a, c);
}

/* "wait": it may be answered yet (RFC 6120 §8.3.2). */
static bool is_final(const struct worker *w, const struct stanza *st)
{
    struct elem e;
    return !stanza_child(st, KNOWN_ERROR, &e) ||
           !slice_is(elem_attr(&e, "type", loop_scratch(worker_loop(w))), "wait");
}

void subscription_bounced(struct account *a, const struct stanza *st)
{
    slice contact = stanza_from_bare(st);
    const struct roster_item *item = roster_find(a->roster, contact);
    if (item == NULL || !sub_state_ask(item->state) ||
        roster_out_confirms(account_node(a), contact) || !is_final(a->worker, st))
        return;
    struct change *c =
        im_subscription_change_create(stanza_make(STANZA_PRESENCE, TYPE_UNSUBSCRIBED, contact,
                                                  a->jid, (slice){ 0 }, (slice){ 0 }),
                                      ORIGIN_NONE);
    c->failed = true;
    c->base.prepare = in_prepare;
    c->base.apply = in_apply;
    (void)im_subscription_begin(a, c);
}

/* Nobody there: §8.5.1, silence. A request stays open like one to a user who does not answer, until
 * the user who asked takes it back: an answer would tell which addresses have an account. */

struct absence {
    struct worker *worker;
    struct stanza *st;
    struct arena *arena; /* of jid */
    slice jid;           /* that is to be forgotten; ptr NULL: st is something else */
};

static void absence_done(void *arg, enum store_result result, const struct store_batch *b)
{
    struct absence *n = arg;
    (void)b;
    bool waits = result == STORE_CONFLICT && /* for `user enable` */
                 account_is_disabled(n->worker, stanza_to_bare(n->st));
    if (result != STORE_OK && !waits)
        (void)subscription_failed(n->worker, n->st);
    if (result == STORE_OK && n->jid.ptr != NULL)
        roster_out_settle_forgotten(n->worker, n->jid, stanza_to_bare(n->st));
    else if (result == STORE_OK)
        roster_out_settle(n->worker, n->st);
    stanza_unref(&n->st);
    arena_destroy(&n->arena);
    mem_free(&n);
}

void subscription_to_nobody(struct worker *w, struct stanza *st)
{
    slice to = stanza_to_bare(st), jid;
    struct absence *n = mem_new(struct absence);
    struct store_batch *b = store_write(worker_store(w), hash_keyed(to));
    n->worker = w;
    n->st = st;
    n->arena = arena_create(0);
    if (forget_read(w, st, n->arena, &jid)) {
        n->jid = slice_dup(n->arena, jid);
        roster_out_forgotten(b, jid, to);
    } else {
        roster_out_done(b, st);
    }
    if (st->type == TYPE_SUBSCRIBE) /* to a disabled account. One of a user of ours waits until it
                                     * is enabled; other servers ask again at the next login */
        roster_out_add_absent(b, to);
    store_submit(b, worker_loop(w), 0, absence_done, n);
}

/* The list of an account has a subscription with a contact that still has what an earlier account
 * of the address had. */
struct keep {
    struct actor_change base; /* first */
    struct stanza *st;        /* ends the direction that the list has not; NULL: it has both */
    char contact[];
};

/* What one of them has asked for stays open, and its answer settles that direction. */
static bool ends_direction(enum sub_state state, enum sub_verb *verb)
{
    *verb = sub_is_seen(state) ? SUB_UNSUBSCRIBE : SUB_UNSUBSCRIBED;
    return *verb == SUB_UNSUBSCRIBE ? !sub_sees(state) && !sub_state_ask(state)
                                    : !sub_state_pending_in(state);
}

static enum err keep_prepare(struct actor_change *base)
{
    struct keep *k = (struct keep *)base;
    struct account *a = account_of(base->actor);
    slice contact = slice_of(k->contact);
    enum sub_verb verb;
    if (a->state != ACTOR_READY)
        return E_NOTFOUND; /* deleted or disabled meanwhile: the row stays, and is sent again */
    const struct roster_item *item = roster_find(a->roster, contact);
    enum sub_state state = item == NULL ? SUB_NONE : (enum sub_state)item->state;
    if (!sub_sees(state) && !sub_is_seen(state))
        return E_NOTFOUND;
    base->batch = store_write(worker_store(a->worker), account_lane(a));
    roster_out_forgotten(base->batch, a->jid, contact);
    if (roster_out_confirms(account_node(a), contact) && ends_direction(state, &verb)) {
        k->st = subscription_stanza(a, contact, verb);
        subscription_announce(base->batch, a, k->st);
    }
    return OK;
}

static void keep_apply(struct actor_change *base, enum err e)
{
    struct keep *k = (struct keep *)base;
    struct account *a = account_of(base->actor);
    ensure(account_is_pinned(a));
    if (e != OK)
        roster_out_later(a->worker);
    else if (k->st != NULL)
        subscription_send(a, stanza_ref(k->st));
    stanza_unref(&k->st);
    mem_free(&k);
}

static void im_subscription_keep(struct account *a, slice contact)
{
    ensure(account_here(a) && contact.len > 0);
    struct keep *k = mem_zalloc(sizeof *k + contact.len + 1);
    memcpy(k->contact, contact.ptr, contact.len);
    k->base.prepare = keep_prepare;
    k->base.apply = keep_apply;
    account_change(a, &k->base);
}

static const struct roster_out_ways ways = { subscription_send, im_subscription_keep,
                                             remote_unsubscribe, remote_unsubscribe_later };

void subscription_replay(struct worker *w, slice about) { roster_out_replay(w, about, &ways); }

void subscription_unconfirmed(struct timer *t, struct loop *loop)
{
    struct worker *w = CONTAINER_OF(t, struct core, unconfirmed)->worker;
    (void)loop;
    if (!worker_stopping(w))
        roster_out_replay_ends(w, &ways);
}

void subscription_account_changed(struct worker *w, slice bare)
{
    if (node_is_home(w, bare))
        roster_out_replay_of(w, bare, &ways);
}
