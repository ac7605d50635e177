#include "im/subscription.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "home/here.h"
#include "home/node.h"
#include "home/question.h"
#include "home/ticket.h"
#include "im/account.h"
#include "im/core.h"
#include "im/crossing.h"
#include "im/presence.h"
#include "im/presence_in.h"
#include "im/roster.h"
#include "im/roster_account.h"
#include "im/session_input.h"
#include "im/session_queue.h"
#include "im/sessions.h"
#include "im/stage.h"
#include <stdio.h>

/* What one account tells another about its roster. The server's own "forget" is a stanza from the
 * bare domain, which no client can send: the account that it names was deleted. */
#define NS_FORGET "urn:muster:roster"

/* Directions of the announcements, in the database: the later word in one replaces the earlier. */
enum axis {
    AXIS_WISH,   /* subscribe, unsubscribe */
    AXIS_GRANT,  /* subscribed, unsubscribed */
    AXIS_FORGET, /* the sender was deleted */
};
static enum axis axis_of(enum sub_verb verb)
{
    return verb == SUB_SUBSCRIBE || verb == SUB_UNSUBSCRIBE ? AXIS_WISH : AXIS_GRANT;
}

static const enum stanza_type types[SUB_VERB_COUNT] = {
    [SUB_SUBSCRIBE] = TYPE_SUBSCRIBE,
    [SUB_SUBSCRIBED] = TYPE_SUBSCRIBED,
    [SUB_UNSUBSCRIBE] = TYPE_UNSUBSCRIBE,
    [SUB_UNSUBSCRIBED] = TYPE_UNSUBSCRIBED,
};
static enum sub_verb im_subscription_verb_of(const struct stanza *st)
{
    unsigned v = 0;
    while (v < SUB_VERB_COUNT && types[v] != (enum stanza_type)st->type)
        v++;
    ensure(v < SUB_VERB_COUNT); /* the caller has looked at the type */
    return (enum sub_verb)v;
}

/* Rows. */

/* clang-format off */
static struct store_stmt stmt_out_put = {
    .name = "roster.out-put", .params = "ttiiti", .cols = "",
    .sql = "INSERT INTO roster_out (sender, rcpt, axis, verb, stanza, word) "
           "VALUES ($1, $2, $3, $4, $5, $6) "
           "ON CONFLICT (sender, rcpt, axis) DO UPDATE SET verb = excluded.verb, "
           "stanza = excluded.stanza, word = excluded.word",
};
static struct store_stmt stmt_out_done = { /* not if a later word has replaced it */
    .name = "roster.out-done", .params = "ttiii", .cols = "",
    .sql = "DELETE FROM roster_out WHERE sender = $1 AND rcpt = $2 AND axis = $3 AND verb = $4 "
           "AND word <= $5",
};
static struct store_stmt stmt_out_page = {
    .name = "roster.out-page", .params = "tti", .cols = "ttiiti",
    .sql = "SELECT sender, rcpt, axis, verb, stanza, word FROM roster_out "
           "WHERE (sender, rcpt, axis) > ($1, $2, $3) ORDER BY sender, rcpt, axis LIMIT 100",
};
static struct store_stmt stmt_out_delete = {
    .name = "roster.out-delete", .params = "t", .cols = "",
    .sql = "DELETE FROM roster_out WHERE sender = $1",
};
static struct store_stmt stmt_out_forget = {
    .name = "roster.out-forget", .params = "ti", .cols = "",
    .sql = "INSERT INTO roster_out (sender, rcpt, axis, verb, stanza) "
           "SELECT $1, account.jid, $2, 0, '' FROM roster "
           "JOIN account ON account.id = roster.owner WHERE roster.jid = $1 "
           "ON CONFLICT (sender, rcpt, axis) DO NOTHING",
};
/* Changes nothing, but meets the row of an account, which may be disabled. */
static struct store_stmt stmt_there = {
    .name = "roster.there", .params = "t", .cols = "",
    .sql = "UPDATE account SET disabled = disabled WHERE jid = $1",
};
static struct store_stmt *const stmts[] = { &stmt_out_put, &stmt_out_done, &stmt_out_page,
                                            &stmt_out_delete, &stmt_out_forget, &stmt_there,
                                            NULL };

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE roster_out (sender TEXT NOT NULL, rcpt TEXT NOT NULL, axis INTEGER NOT NULL, "
      "verb INTEGER NOT NULL, stanza TEXT NOT NULL, PRIMARY KEY (sender, rcpt, axis)) "
      "WITHOUT ROWID;",
      "CREATE TABLE roster_out (sender TEXT NOT NULL, rcpt TEXT NOT NULL, axis BIGINT NOT NULL, "
      "verb BIGINT NOT NULL, stanza TEXT NOT NULL, PRIMARY KEY (sender, rcpt, axis));" },
    { 2, "ALTER TABLE roster_out ADD COLUMN word INTEGER NOT NULL DEFAULT 0",
      "ALTER TABLE roster_out ADD COLUMN word BIGINT NOT NULL DEFAULT 0" },
    { 0 }
};
static const struct store_address addresses[] = {
    { "roster_out", "sender", .kind = STORE_JID, .beside = "rcpt axis" },
    { "roster_out", "rcpt", .kind = STORE_JID, .beside = "sender axis" },
    { "roster_out", "stanza", .kind = STORE_START_TAG },
    { 0 },
};
const struct store_schema subscription_schema = {
    .feature = "subscription", .migrations = migrations, .stmts = stmts, .addresses = addresses,
};
/* clang-format on */

static slice im_subscription_domain_of(slice bare)
{
    slice local, domain;
    return slice_cut(bare, '@', &local, &domain) ? domain : bare;
}

/* An account of ours confirms by deleting the row; nobody else would. */
static bool confirms(const struct node *n, slice bare)
{
    slice domain = im_subscription_domain_of(bare);
    return domain.len != bare.len && node_serves(n, domain);
}

/* The number of a word (im/crossing.h), which only homes see. */

static bool im_subscription_is_word(enum known_child known, const struct elem *e, void *arg)
{
    (void)known, (void)arg;
    return elem_is(e, "word", NS_FORGET);
}

static struct stanza *without_word(struct stanza *st)
{
    return stanza_without(st, KNOWN(PAYLOAD), im_subscription_is_word, NULL);
}

static uint64_t word_of(const struct worker *w, const struct stanza *st)
{
    struct elem e;
    int64_t number;
    if (!stanza_find(st, "word", NS_FORGET, &e) ||
        !slice_int(elem_attr(&e, "n", loop_scratch(worker_loop(w))), &number) || number < 0)
        return 0;
    return (uint64_t)number;
}

static struct stanza *with_number(struct stanza *st, uint64_t number)
{
    char xml[80];
    int len = snprintf(xml, sizeof xml, "<word xmlns='" NS_FORGET "' n='%llu'/>",
                       (unsigned long long)number);
    struct stanza *numbered = stanza_append(st, (slice){ xml, (size_t)len });
    stanza_unref(&st);
    return numbered;
}

/* A word of the account to a contact of ours: a wish has a new number, a grant that of the last
 * wish which the account has heard. Takes over. */
static struct stanza *with_word(const struct account *a, struct stanza *st)
{
    st = without_word(st);
    if (!confirms(account_node(a), stanza_to_bare(st)))
        return st;
    return with_number(st, axis_of(im_subscription_verb_of(st)) == AXIS_WISH
                               ? crossing_number(a)
                               : crossing_last_heard(a, stanza_to_bare(st)));
}

/* It is committed, and goes out. */
static void asks(struct account *a, const struct stanza *st)
{
    uint64_t number = word_of(a->worker, st);
    if (st->type == TYPE_SUBSCRIBE && number != 0)
        crossing_asked(a, stanza_to_bare(st), number);
}

struct stanza *subscription_stanza(const struct account *a, slice contact, enum sub_verb verb)
{
    return with_word(
        a, stanza_make(STANZA_PRESENCE, types[verb], a->jid, contact, (slice){ 0 }, (slice){ 0 }));
}

void subscription_send(struct account *a, struct stanza *st)
{
    asks(a, st);
    route_send(a->worker, st);
}

static void store_out(struct store_batch *b, const struct worker *w, const struct stanza *st)
{
    enum sub_verb verb = im_subscription_verb_of(st);
    struct buf text;
    if (!confirms(worker_node(w), stanza_to_bare(st)))
        return;
    buf_init(&text, XML_STANZA_MAX);
    stanza_store(&text, st);
    STORE_ADD(b, &stmt_out_put, 1, SV_T(stanza_from_bare(st)), SV_T(stanza_to_bare(st)),
              SV_I(axis_of(verb)), SV_I(verb), SV_T(buf_fit(&text)), SV_I(word_of(w, st)));
    buf_fini(&text);
}

void subscription_announce(struct store_batch *b, const struct account *a, const struct stanza *st)
{
    store_out(b, a->worker, st);
}

/* `word`: its number; a later one of the same verb stays. */
static void store_done(struct store_batch *b, const struct stanza *st, uint64_t word)
{
    enum sub_verb verb = im_subscription_verb_of(st);
    STORE_ADD(b, &stmt_out_done, STORE_ANY_ROWS, SV_T(stanza_from_bare(st)),
              SV_T(stanza_to_bare(st)), SV_I(axis_of(verb)), SV_I(verb), SV_I(word));
}

/* Whether the row that `sender` wrote is in the database of this node. */
static bool is_here(const struct node *n, slice sender)
{
    uint32_t node;
    (void)node_home(n, sender, &node);
    return node == n->id;
}

/* A subscription stanza of an account of another node is committed here (architecture §3). */
struct settled {
    slice sender, rcpt;
    int64_t axis, verb;
};

/* It is committed here; where the row is on another node, that one is told. */
static void settle_there(struct worker *w, const struct stanza *st)
{
    enum sub_verb verb = im_subscription_verb_of(st);
    slice sender = stanza_from_bare(st);
    if (confirms(worker_node(w), sender) && !is_here(worker_node(w), sender))
        home_send(w, sender, &settled_message,
                  &(struct settled){ sender, stanza_to_bare(st), axis_of(verb), verb });
}

static void forget_there(struct worker *w, slice sender, slice rcpt)
{
    if (!is_here(worker_node(w), sender))
        home_send(w, sender, &settled_message, &(struct settled){ sender, rcpt, AXIS_FORGET, 0 });
}

static void settled_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct settled *s = message;
    struct store_batch *b = store_write(worker_store(w), hash_keyed(s->sender));
    (void)from;
    STORE_ADD(b, &stmt_out_done, STORE_ANY_ROWS, SV_T(s->sender), SV_T(s->rcpt), SV_I(s->axis),
              SV_I(s->verb), SV_I(INT64_MAX));
    store_submit(b, worker_loop(w), 0, NULL, NULL);
}

static const struct message_field settled_fields[] = { F_BARE(struct settled, sender),
                                                       F_BARE(struct settled, rcpt),
                                                       F_I64(struct settled, axis),
                                                       F_I64(struct settled, verb),
                                                       { 0 } };
const struct message_row settled_message = { .id = 12,
                                             .scope = MESSAGE_CLUSTER,
                                             .name = "settled",
                                             .size = sizeof(struct settled),
                                             .fields = settled_fields,
                                             .run = settled_run };

void subscription_dropped(struct worker *w, const struct stanza *st)
{
    slice sender = stanza_from_bare(st);
    if (!confirms(worker_node(w), sender))
        return;
    if (is_here(worker_node(w), sender)) {
        struct store_batch *b = store_write(worker_store(w), hash_keyed(stanza_to_bare(st)));
        store_done(b, st, word_of(w, st));
        store_submit(b, worker_loop(w), 0, NULL, NULL);
    } else {
        settle_there(w, st);
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
    uint64_t word; /* inbound: its number; 0: none */
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
    c->verb = im_subscription_verb_of(st);
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
    c->st = with_word(a, c->st);
    c->result = im_subscription_next(r, c, SUB_OUT);
    set_delta(c, r, SUB_OUT);
    if (roster_delta_is_new(r, &c->delta) && roster_count(a) >= setting_int(&roster_contacts_max))
        c->limit = &roster_contacts_max;
    if ((c->result.actions & SUB_SEND_PRESENCE) != 0 && r != NULL &&
        r->seen >= setting_int(&roster_watchers_max))
        c->limit = &roster_watchers_max;
    if (c->limit != NULL)
        return E_LIMIT;
    /* A request that is repeated changes nothing here, but its answer is awaited. */
    bool repeated =
        !c->changes && c->verb == SUB_SUBSCRIBE && confirms(account_node(a), stanza_to_bare(c->st));
    if (c->changes)
        im_subscription_store_change(c);
    else if (repeated)
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
    if ((actions & SUB_SEND_PRESENCE) != 0 && !confirms(worker_node(w), contact))
        presence_show(a, contact);
    if ((actions & SUB_SEND_UNAVAILABLE) != 0)
        presence_hide(a, contact);
    im_subscription_end(w, c);
}

enum routed subscription_out(struct session *s, struct stanza *st, struct origin origin)
{
    struct account *a = s->account;
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
    c->delta.request = buf_slice(&c->request);
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
    if (confirms(account_node(a), stanza_from(c->st)) && axis_of(c->verb) == AXIS_GRANT &&
        crossing_is_stale(a, stanza_from(c->st), c->word))
        return sub_crossed(state, c->verb);
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
    if (axis_of(c->verb) == AXIS_WISH && c->word != 0)
        crossing_heard(a, stanza_from(c->st), c->word);
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
    if (!confirms(account_node(a), stanza_from(c->st)))
        return OK;
    bool here = is_here(account_node(a), stanza_from(c->st));
    if (base->batch == NULL && (here || c->answer != NULL))
        base->batch = store_write(worker_store(a->worker), account_lane(a));
    if (here)
        store_done(base->batch, c->st, c->word);
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

/* One side has committed and the other could not: the row in roster_out stays. It is sent again
 * when the store is well, the first time after RESEND_MS, then after twice as long each time. */
enum { RESEND_MS = 1000, RESEND_MS_MAX = 60000 };

static void resend(struct timer *t, struct loop *loop)
{
    struct worker *w = CONTAINER_OF(t, struct core, resend)->worker;
    if (worker_stopping(w))
        return;
    if (atomic_load(&store_full_alarm.active) != 0 || atomic_load(&store_down_alarm.active) != 0)
        timer_set(loop, t, RESEND_MS);
    else
        each_home(w, &replay_message, &(struct message_nothing){ 0 },
                  &(struct asker){ 0 }); /* the sender's home has the row */
}

static void resend_later(struct worker *w)
{
    if (timer_is_set(&core_of(w)->resend) || worker_stopping(w))
        return;
    core_of(w)->resend_ms = core_of(w)->resend_ms == 0                  ? RESEND_MS
                            : core_of(w)->resend_ms < RESEND_MS_MAX / 2 ? core_of(w)->resend_ms * 2
                                                                        : RESEND_MS_MAX;
    core_of(w)->resend.fn = resend;
    timer_set(worker_loop(w), &core_of(w)->resend, core_of(w)->resend_ms);
}

void subscription_failed(struct worker *w, const struct stanza *st)
{
    if (confirms(worker_node(w), stanza_from(st)))
        resend_later(w);
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
    if (e != OK) { /* an account of ours tells it again */
        subscription_failed(w, c->st);
        if (!confirms(worker_node(w), contact) && !c->failed)
            route_error(w, c->st, stanza_error_of(e), (slice){ 0 });
        im_subscription_end(w, c);
        return;
    }
    core_of(w)->resend_ms = 0;
    settle_there(w, c->st);
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
        !confirms(worker_node(w), contact))
        presence_show(a, contact);
    if ((actions & SUB_SEND_UNAVAILABLE) != 0)
        presence_hide(a, contact);
    if (c->verb == SUB_SUBSCRIBED && c->changes && confirms(worker_node(w), contact))
        presence_probe(a, contact);
    im_subscription_end(w, c);
}

/* The account that a "forget" names; false: it is none. */
static bool forget_read(const struct worker *w, const struct stanza *st, struct arena *tmp,
                        slice *jid)
{
    struct elem payload;
    if (!node_serves(worker_node(w), stanza_from(st)) || !stanza_payload(st, &payload) ||
        !elem_is(&payload, "forget", NS_FORGET))
        return false;
    *jid = elem_attr(&payload, "jid", tmp);
    return true;
}

static void store_forgotten(struct store_batch *b, slice jid, slice rcpt)
{
    STORE_ADD(b, &stmt_out_done, STORE_ANY_ROWS, SV_T(jid), SV_T(rcpt), SV_I(AXIS_FORGET), SV_I(0),
              SV_I(INT64_MAX));
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
    /* A request that was never answered stays, as one to an address that never had an account: who
     * asked learns nothing from it. */
    f->known = item != NULL && item->state != SUB_NONE_PENDING_OUT;
    base->batch = store_write(worker_store(a->worker), account_lane(a));
    store_forgotten(base->batch, f->jid, a->jid);
    if (!f->known)
        return OK;
    f->delta = roster_edit(a->roster, f->jid);
    f->view = (f->delta.flags & ROSTER_LISTED) != 0 ? ROSTER_SHOWN : ROSTER_HIDDEN;
    f->delta.state = SUB_NONE;
    f->delta.flags = 0;
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
        forget_there(account_of(base->actor)->worker, f->jid, account_of(base->actor)->jid);
    else
        resend_later(account_of(base->actor)->worker);
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
    uint64_t word = confirms(account_node(a), stanza_from(st)) ? word_of(a->worker, st) : 0;
    struct change *c = im_subscription_change_create(without_word(st), origin);
    c->word = word;
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
    if (item == NULL || !sub_state_ask(item->state) || confirms(account_node(a), contact) ||
        !is_final(a->worker, st))
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
        subscription_failed(n->worker, n->st);
    if (result == STORE_OK && n->jid.ptr != NULL)
        forget_there(n->worker, n->jid, stanza_to_bare(n->st));
    else if (result == STORE_OK)
        settle_there(n->worker, n->st);
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
        store_forgotten(b, jid, to);
    } else {
        store_done(b, st, word_of(w, st));
    }
    if (st->type == TYPE_SUBSCRIBE) /* to a disabled account: it waits until that is enabled */
        STORE_ADD(b, &stmt_there, 0, SV_T(to));
    store_submit(b, worker_loop(w), 0, absence_done, n);
}

/* Again: pages of roster_out at start, or those of one sender that was deleted. */

struct replay {
    struct worker *worker;
    store_done_fn *page;
    struct arena *arena; /* of the slices */
    slice only;          /* ptr NULL: every sender whose home is this worker */
    slice sender, rcpt;  /* the last row that was read */
    int64_t axis;
};

struct pending {
    struct worker *worker;
    struct arena *arena; /* this is in it */
    slice rcpt, text;
    enum axis axis;
    enum sub_verb verb;
    int64_t word; /* its number */
};

static void send_forget(struct worker *w, slice jid, slice rcpt)
{
    struct buf xml;
    struct xml_write x;
    xml_begin(&x, &xml, XML_PART_MAX);
    xml_open(&x, "forget", NS_FORGET);
    xml_attr(&x, "jid", jid);
    xml_close(&x);
    route_send(w, stanza_make_buf(STANZA_PRESENCE, TYPE_UNSUBSCRIBED,
                                  im_subscription_domain_of(jid), rcpt, (slice){ 0 }, &xml));
}

/* Whether the roster still says what the row says: a later change sends its own stanza. */
static bool still_says(const struct account *a, const struct pending *p)
{
    const struct roster_item *item = roster_find(a->roster, p->rcpt);
    enum sub_state state = item == NULL ? SUB_NONE : (enum sub_state)item->state;
    bool absent = a->state != ACTOR_READY;
    switch (p->axis) {
    case AXIS_WISH:
        return !absent && (sub_state_ask(state) || sub_sees(state)) == (p->verb == SUB_SUBSCRIBE);
    case AXIS_GRANT:
        return p->verb == SUB_UNSUBSCRIBED ? !sub_is_seen(state) : !absent && sub_is_seen(state);
    case AXIS_FORGET:
        return absent || item == NULL;
    }
    return false;
}

static void drop_row(struct account *a, const struct pending *p)
{
    struct store_batch *b = store_write(worker_store(p->worker), hash_keyed(a->jid));
    STORE_ADD(b, &stmt_out_done, STORE_ANY_ROWS, SV_T(a->jid), SV_T(p->rcpt), SV_I(p->axis),
              SV_I(p->verb), SV_I(p->word));
    store_submit(b, worker_loop(p->worker), 0, NULL, NULL);
}

static void send_again(struct account *a, enum err e, void *arg)
{
    struct pending *p = arg;
    struct arena *arena = p->arena;
    struct worker *w = p->worker;
    struct stanza *st;
    if (a->disabled) /* it says nothing until it is enabled, which replays all */
        ;
    else if (e == OK && !still_says(a, p))
        drop_row(a, p);
    else if (e == OK && p->axis == AXIS_FORGET)
        send_forget(w, a->jid, p->rcpt);
    else if (e == OK && stanza_load(&st, p->text, worker_xml(w), arena) == OK)
        subscription_send(a, st);
    arena_destroy(&arena);
}

static bool im_subscription_is_ours(const struct replay *r, slice sender)
{
    return r->only.ptr != NULL ? slice_eq(sender, r->only) : node_is_home(r->worker, sender);
}

static void replay_row(struct replay *r, const struct store_batch *b, uint32_t row)
{
    int64_t axis = store_int(b, 0, row, 2), verb = store_int(b, 0, row, 3);
    slice sender = store_text(b, 0, row, 0);
    if (!im_subscription_is_ours(r, sender) || axis < 0 || axis > AXIS_FORGET || verb < 0 ||
        verb >= SUB_VERB_COUNT)
        return;
    struct arena *arena = arena_create(0);
    struct pending *p = arena_new(arena, struct pending, 1);
    *p = (struct pending){
        .worker = r->worker,
        .arena = arena,
        .rcpt = slice_dup(arena, store_text(b, 0, row, 1)),
        .text = slice_dup(arena, store_text(b, 0, row, 4)),
        .axis = (enum axis)axis,
        .verb = (enum sub_verb)verb,
        .word = store_int(b, 0, row, 5),
    };
    account_with(r->worker, sender, send_again, p);
}

static void im_subscription_replay_next(struct replay *r, slice sender, slice rcpt, int64_t axis)
{
    struct arena *arena = arena_create(0);
    r->only = slice_dup(arena, r->only);
    r->sender = slice_dup(arena, sender);
    r->rcpt = slice_dup(arena, rcpt);
    r->axis = axis;
    arena_destroy(&r->arena);
    r->arena = arena;
    struct store_batch *b = store_read(worker_store(r->worker), 0);
    STORE_ADD(b, &stmt_out_page, STORE_ANY_ROWS, SV_T(r->sender), SV_T(r->rcpt), SV_I(r->axis));
    store_submit(b, worker_loop(r->worker), 0, r->page, r);
}

static void im_subscription_replay_page(void *arg, enum store_result result,
                                        const struct store_batch *b)
{
    struct replay *r = arg;
    uint32_t rows = result == STORE_OK ? store_row_count(b, 0) : 0;
    if (result != STORE_OK)
        resend_later(r->worker);
    for (uint32_t row = 0; row < rows; row++)
        replay_row(r, b, row);
    if (rows > 0) {
        slice sender = store_text(b, 0, rows - 1, 0);
        if (r->only.ptr == NULL || slice_eq(sender, r->only)) {
            im_subscription_replay_next(r, sender, store_text(b, 0, rows - 1, 1),
                                        store_int(b, 0, rows - 1, 2));
            return;
        }
    }
    arena_destroy(&r->arena);
    mem_free(&r);
}

static void replay_start(struct worker *w, slice only)
{
    struct replay *r = mem_new(struct replay);
    r->worker = w;
    r->page = im_subscription_replay_page;
    r->only = only;
    im_subscription_replay_next(r, only.ptr == NULL ? SLICE("") : only, SLICE(""), -1);
}

void subscription_replay(struct worker *w) { replay_start(w, (slice){ 0 }); }

void subscription_remove(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &stmt_out_delete, STORE_ANY_ROWS, SV_T(a->jid));
    STORE_ADD(b, &stmt_out_forget, STORE_ANY_ROWS, SV_T(a->jid), SV_I(AXIS_FORGET));
}

void subscription_account_deleted(struct worker *w, slice bare)
{
    if (node_is_home(w, bare))
        replay_start(w, bare);
}
