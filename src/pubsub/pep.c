/* pep: every account a publish-subscribe service (Personal Eventing, XEP-0163) on the engine of
 * pubsub.h: contacts are subscribed by their presence subscription and filter by the capabilities
 * of their clients.
 *
 * An event leaves the owner's home once for each contact as a fan tagged "+node"; the contact's own
 * home gives it to the sessions that want that node. When a session comes to want nodes it tells
 * its contacts by a fan tagged "?node\n…" from its full JID; each contact's home answers with the
 * last items (§4.3.4), whether that contact is online or not: one that is not loaded is loaded only
 * if it has such a node. Explicit subscriptions have a tag of their own
 * (pubsub/pubsub_arrive.c). */
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/setting.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/node.h"
#include "presence/caps.h"
#include "presence/presence.h"
#include "presence/roster_view.h"
#include "pubsub/pubsub_access.h"
#include "pubsub/pubsub_config.h"
#include "pubsub/pubsub_contacts.h"
#include "pubsub/pubsub_disco.h"
#include "pubsub/pubsub_items.h"
#include "pubsub/pubsub_model.h"
#include "pubsub/pubsub_op.h"
#include "pubsub/pubsub_own.h"
#include "pubsub/pubsub_portable.h"
#include "pubsub/pubsub_store.h"
#include "pubsub/pubsub_subs.h"
#include "session/session.h"
#include "session/session_queue.h"
#include "session/sessions.h"
#include "store/store.h"
#include "xmpp/form.h"
#include "xmpp/ns.h"

static struct store_stmt nodes_above = {
    .name = "pep.above",
    .sql = "SELECT count(*) FROM (SELECT owner FROM pubsub_node WHERE owner > 0 GROUP BY owner "
           "HAVING count(*) > $1) v",
    .params = "i",
    .cols = "i",
};
static const struct setting_impact nodes_above_impact = { .stmt = &nodes_above,
                                                          .what = "users with more nodes" };
static struct setting nodes_max = {
    .name = "pep.nodes-max",
    .impact = &nodes_above_impact,
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 500,
    .min = 1,
    .max = 10000,
    .unit = "nodes",
    .doc = "How many nodes (XEP-0163: avatar, bookmarks, keys, moods …) an account may have.",
};
static struct store_stmt items_beyond = {
    .name = "pep.items-beyond",
    .sql = PUBSUB_ITEMS_BEYOND("owner > 0"),
    .params = "i",
    .cols = "i",
};
static const struct setting_impact items_beyond_impact = { .stmt = &items_beyond,
                                                           .what = "items beyond it",
                                                           .deletes = true };
static struct setting items_max = {
    .name = "pep.items-max",
    .impact = &items_beyond_impact,
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 10000,
    .min = 1,
    .max = 100000,
    .unit = "items",
    .doc = "How many items a node of an account may keep; what clients mean by `max`. "
           "The next item that is published to a node deletes the oldest beyond it.",
};
static struct setting item_bytes = {
    .name = "pep.item-bytes",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 256 << 10,
    .min = 1 << 10,
    .max = 4 << 20,
    .doc = "The largest payload of an item that is published to an account's node. Stanzas have a "
           "limit of their own: c2s.stanza-bytes.",
};
static struct store_stmt bytes_above = {
    .name = "pep.larger",
    .sql = "SELECT count(*) FROM (SELECT owner FROM pubsub_item WHERE owner > 0 GROUP BY owner "
           "HAVING sum(bytes) > $1) v",
    .params = "i",
    .cols = "i",
};
static const struct setting_impact bytes_above_impact = { .stmt = &bytes_above,
                                                          .what = "users whose items are larger" };
static struct setting bytes_max = {
    .name = "pep.bytes-max",
    .impact = &bytes_above_impact,
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 16 << 20,
    .min = 64 << 10,
    .max = 1 << 30,
    .doc = "How much all items of an account's nodes may take together, the texts of their "
           "configurations, and the addresses that are subscribed to them or have an affiliation.",
};
static struct setting subscriptions_max = {
    .name = "pep.subscriptions-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 1000,
    .min = 1,
    .max = 100000,
    .unit = "addresses",
    .doc = "How many explicit subscriptions, and how many affiliations, a node of an account may "
           "have. Contacts need none.",
};
static struct metric deliveries = {
    .name = "muster_pep_deliveries",
    .kind = METRIC_COUNTER,
    .help = "PEP notifications given to interested sessions.",
};

static const struct ps_service_kind kind = {
    .kind = PS_PEP,
    .nodes_max = &nodes_max,
    .items_max = &items_max,
    .item_bytes = &item_bytes,
    .bytes_max = &bytes_max,
    .user_bytes = &bytes_max,
    .subscriptions_max = &subscriptions_max,
};

static unsigned account_slot, worker_slot;

/* The service of an account: NULL while it has no nodes and nothing is asked of it, `stored` while
 * it has nodes and nothing is asked of it. */
static struct ps_service stored;

static struct ps_service *pep_service_of(const struct account *a)
{
    return a->state_of[account_slot];
}

static struct ps_service *service_make(struct account *a)
{
    struct ps_service *s = pep_service_of(a);
    bool load = s == &stored;
    ensure(account_here(a));
    if (s != NULL && !load)
        return s;
    s = a->state_of[account_slot] = ps_service_create(a->worker, &kind, a, a->jid, a->id);
    if (load)
        actor_load(&s->actor);
    else
        actor_become(&s->actor, ACTOR_READY);
    return s;
}

static struct store_stmt stmt_has = {
    .name = "pep.has",
    .sql = "SELECT 1 FROM pubsub_node WHERE owner = $1 LIMIT 1",
    .params = "i",
    .cols = "i",
};
static struct store_stmt pep_stmt_count = {
    .name = "pep.count",
    .sql = "SELECT count(*) FROM account a JOIN pubsub_node n ON n.owner = a.id WHERE a.jid = $1",
    .params = "t",
    .cols = "i",
};
static const struct store_schema pep_schema = {
    .feature = "pep",
    .migrations = (const struct store_migration[]){ { 0 } },
    .stmts = (struct store_stmt *const[]){ &stmt_has, &pep_stmt_count, &nodes_above, &bytes_above,
                                           &items_beyond, NULL },
};

static void pep_load(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &stmt_has, STORE_ANY_ROWS, SV_I(a->id));
}

static void pep_loaded(struct account *a, const struct store_batch *b, unsigned first)
{
    if (store_row_count(b, first) > 0)
        a->state_of[account_slot] = &stored;
}

/* An account that is disabled or deleted may have requests under way. At the end of the process the
 * engine frees services for which nothing comes back from the store any more. */
static void pep_unload(struct account *a)
{
    struct ps_service *s = pep_service_of(a);
    ensure(account_here(a));
    a->state_of[account_slot] = NULL;
    if (s == NULL || s == &stored)
        return;
    bool idle = s->actor.pins == 0 && s->state != ACTOR_LOADING;
    if (idle || !worker_stopping(a->worker))
        actor_end(&s->actor);
}

static void remove_nodes(struct account *a, struct store_batch *b) { ps_store_remove(b, a->id); }

static bool pep_has_nodes(const struct account *a) { return pep_service_of(a) != NULL; }

static const struct ps_accounts accounts = { pep_has_nodes, service_make, &kind };

/* Requests. */

/* Whoever is no contact learns nothing from an account without nodes. */
static void pep_request(struct iq *iq)
{
    struct account *a = iq->account;
    if (a == NULL || (!pep_has_nodes(a) && iq->target != IQ_TO_SELF))
        iq_error(iq, SE_ITEM_NOT_FOUND, (slice){ 0 });
    else if (a->removing)
        iq_error(iq, SE_SERVICE_UNAVAILABLE, (slice){ 0 });
    else
        ps_request(iq, service_make(a));
}

static bool pep_disco_any(struct iq *iq, slice node)
{
    struct account *a = iq->account;
    if (a == NULL || !pep_has_nodes(a) || iq->target == IQ_TO_SERVER || iq->target == IQ_TO_HOST ||
        !ps_disco_asks(iq, node))
        return false;
    ps_disco(iq, service_make(a));
    return true;
}

/* Events at the home of a receiver. */

static void pep_give(struct account *a, struct stanza *st, slice node)
{
    ensure(account_here(a));
    SESSIONS_EACH (s, a) {
        if (!session_gets_messages(s) || !caps_wants(s, node) || !stage_takes(s, st))
            continue;
        metric_add(&deliveries, 1);
        session_deliver_to(s, st, session_jid(s));
    }
}

/* An account that is not in memory has nobody who could hear: its clients get the last items when
 * they come. */
static void event_fan(struct worker *w, slice bare, uint32_t number, struct stanza *st, slice tag)
{
    struct account *a = account_find(w, bare);
    (void)number;
    if (a != NULL && stage_block(a, st, &(struct refusal){ 0 }) == PASS)
        pep_give(a, st, slice_from(tag, 1));
}

/* Last items, at the home of their owner. */

/* Who wants what; shared by all that are asked on this worker. */
struct wanted {
    unsigned refs;
    slice to, nodes; /* full JID; each node ends with a newline */
    char text[];
};

static struct wanted *wanted_make(slice to, slice nodes)
{
    struct wanted *m = mem_alloc(sizeof *m + to.len + nodes.len);
    *m = (struct wanted){ 1, { m->text, to.len }, { m->text + to.len, nodes.len } };
    memcpy(m->text, to.ptr, to.len);
    if (nodes.len > 0)
        memcpy(m->text + to.len, nodes.ptr, nodes.len);
    return m;
}

static void wanted_unref(struct wanted *m)
{
    ensure(m->refs > 0);
    if (--m->refs == 0)
        mem_free(&m);
}

static void give_wanted(struct ps_node *n, slice to)
{
    struct ps_actor who = ps_actor_of(n, to);
    bool told = who.presence || who.may_configure || who.state == PS_SUBSCRIBED;
    if (n->config.send_last == PS_ON_SUB_AND_PRESENCE && told &&
        ps_may_read(&n->config, &who).error == SE_NONE)
        ps_give_last(n, to);
}

static void wanted_ready(struct ps_op *op, enum stanza_error e)
{
    struct wanted *m = op->arg;
    slice node, rest = m->nodes;
    while (e == SE_NONE && slice_cut(rest, '\n', &node, &rest)) {
        struct ps_node *n = ps_node_find(op->service, node);
        if (n != NULL)
            give_wanted(n, m->to);
    }
    wanted_unref(m);
}

static void wanted_of(struct account *a, struct wanted *m)
{
    if (!pep_has_nodes(a) || a->removing)
        return;
    m->refs++;
    ps_when_ready(service_make(a), wanted_ready, m);
}

static void wanted_loaded(struct account *a, enum err e, void *arg)
{
    struct wanted *m = arg;
    ensure(account_here(a));
    if (e == OK && a->state == ACTOR_READY)
        wanted_of(a, m);
    wanted_unref(m);
}

/* Those that are not loaded are looked up together, at the end of the tick. */
struct lookup {
    struct lookup *next;
    struct wanted *wanted;
    uint16_t len;
    char bare[];
};
struct lookups {
    struct worker *worker;
    struct loop_defer defer;
    struct lookup *first, **tail;
    struct store_batch *batch;
    unsigned count;
};
struct lookup_list {
    struct worker *worker;
    struct lookup *first;
};
enum { LOOKUPS_MAX = 1000 };

static bool has_one(const struct store_batch *b, unsigned stmt, slice nodes)
{
    for (uint32_t i = 0; i < store_row_count(b, stmt); i++) {
        slice node, rest = nodes;
        while (slice_cut(rest, '\n', &node, &rest))
            if (slice_eq(node, store_text(b, stmt, i, 0)))
                return true;
    }
    return false;
}

static void pep_looked_up(void *arg, enum store_result result, const struct store_batch *b)
{
    struct lookup_list *list = arg;
    struct lookup *l = list->first, *next;
    for (unsigned i = 0; l != NULL; l = next, i++) {
        next = l->next;
        if (result == STORE_OK && has_one(b, i, l->wanted->nodes)) {
            l->wanted->refs++;
            account_with(list->worker, (slice){ l->bare, l->len }, wanted_loaded, l->wanted);
        }
        wanted_unref(l->wanted);
        mem_free(&l);
    }
    mem_free(&list);
}

static void pep_look_up(struct loop_defer *d)
{
    struct lookups *ls = CONTAINER_OF(d, struct lookups, defer);
    struct lookup_list *list = mem_alloc(sizeof *list);
    struct store_batch *b = ls->batch;
    *list = (struct lookup_list){ ls->worker, ls->first };
    ls->first = NULL;
    ls->tail = &ls->first;
    ls->batch = NULL;
    ls->count = 0;
    store_submit(b, worker_loop(ls->worker), 0, pep_looked_up, list);
}

static struct lookups *lookups_of(struct worker *w)
{
    struct lookups *ls = *worker_state(w, worker_slot);
    if (ls == NULL) {
        ls = *worker_state(w, worker_slot) = mem_new(struct lookups);
        ls->worker = w;
        ls->tail = &ls->first;
    }
    return ls;
}

static void look_up_later(struct worker *w, slice bare, struct wanted *m)
{
    struct lookups *ls = lookups_of(w);
    if (ls->count >= LOOKUPS_MAX || worker_stopping(w))
        return; /* so many log in at once: their avatars come with the next presence */
    struct lookup *l = mem_alloc(sizeof *l + bare.len);
    *l = (struct lookup){ NULL, m, (uint16_t)bare.len };
    memcpy(l->bare, bare.ptr, bare.len);
    m->refs++;
    *ls->tail = l;
    ls->tail = &l->next;
    if (ls->batch == NULL) {
        ls->batch = store_read(worker_store(w), 0);
        ls->defer.fn = pep_look_up;
        loop_defer(worker_loop(w), &ls->defer);
    }
    ls->count++;
    STORE_ADD(ls->batch, &ps_stmt_any, STORE_ANY_ROWS, SV_T(bare));
}

static void wanted_fan(struct worker *w, slice bare, uint32_t number, struct stanza *st, slice tag)
{
    struct account *a = account_find(w, bare);
    (void)number;
    if (a != NULL && !pep_has_nodes(a))
        return;
    struct wanted *m = wanted_make(stanza_from(st), slice_from(tag, 1));
    if (a == NULL)
        look_up_later(w, bare, m);
    else if (stage_block(a, st, &(struct refusal){ 0 }) == PASS)
        wanted_of(a, m);
    wanted_unref(m);
}

/* What a session wants, as a tag. */
static void wants_open(struct buf *tag, const slice *nodes, unsigned count)
{
    buf_init(tag, FAN_TAG_MAX);
    buf_add(tag, FAN_TAG(FAN_PEP_WANTED));
    for (unsigned i = 0; i < count; i++) {
        if (memchr(nodes[i].ptr, '\n', nodes[i].len) != NULL || tag->len + nodes[i].len >= tag->max)
            continue;
        buf_add(tag, nodes[i]);
        buf_lit(tag, "\n");
    }
}

static struct stanza *wants_stanza(const struct session *s)
{
    return stanza_make(STANZA_PRESENCE, TYPE_PROBE, session_jid(s), (slice){ 0 }, (slice){ 0 },
                       (slice){ 0 });
}

/* A session has come to want nodes: contacts whose presence it sees are asked, and the own account.
 */
static void session_wants(struct session *s, const slice *nodes, unsigned count)
{
    struct account *a = s->account;
    slice contact;
    struct buf tag;
    struct fan f;
    struct stanza *st = wants_stanza(s);
    ensure(session_here(s));
    wants_open(&tag, nodes, count);
    fan_begin(&f, a->worker, st, buf_slice(&tag));
    fan_add(&f, a->jid);
    for (struct roster_at at = { 0 }; roster_next(a, ROSTER_SEES, &at, &contact);)
        fan_add(&f, contact);
    fan_end(&f);
    stanza_unref(&st);
    buf_fini(&tag);
}

/* The same for a contact on another server, whose presence requests the items. */
static void remote_wants(struct account *a, slice jid, const slice *nodes, unsigned count)
{
    struct buf tag;
    if (!pep_has_nodes(a))
        return;
    wants_open(&tag, nodes, count);
    struct wanted *m = wanted_make(jid, slice_from(buf_slice(&tag), 1));
    wanted_of(a, m);
    wanted_unref(m);
    buf_fini(&tag);
}

static void wants_of_one(struct session *s, void *contact)
{
    const slice *nodes;
    struct buf tag;
    unsigned count = s->priority < 0 ? 0 : caps_nodes(s, &nodes);
    if (count == 0)
        return;
    struct stanza *st = wants_stanza(s);
    wants_open(&tag, nodes, count);
    fan_one(s->account->worker, st, buf_slice(&tag), *(const slice *)contact);
    stanza_unref(&st);
    buf_fini(&tag);
}

/* A contact has approved: its nodes are subscribed to, too (XEP-0163 §4.1). */
static void presence_probed(struct account *a, slice contact)
{
    sessions_each(a, SESSIONS_AVAILABLE, wants_of_one, &contact);
}

/* An owner's word about a subscription comes as a message to the own account (XEP-0060 §8.6). */
static enum verdict pep_check(struct session *s, struct stanza **st, struct refusal *why)
{
    struct form f;
    (void)why;
    if ((*st)->kind != STANZA_MESSAGE || !pep_has_nodes(s->account) ||
        !stanza_has(*st, KNOWN(DATA_FORM)) || !slice_eq(stanza_to(*st), s->account->jid) ||
        !ps_authorization_read(&f, *st, loop_scratch(worker_loop(s->account->worker))))
        return PASS;
    ps_authorize(service_make(s->account), stanza_from(*st), &f);
    return DROP;
}

static void pep_worker_ended(struct worker *w)
{
    struct lookups *ls = *worker_state(w, worker_slot);
    if (ls == NULL)
        return;
    store_drop(&ls->batch);
    while (ls->first != NULL) {
        struct lookup *l = ls->first;
        ls->first = l->next;
        wanted_unref(l->wanted);
        mem_free(&l);
    }
    mem_free(&ls);
    *worker_state(w, worker_slot) = NULL;
}

static void pep_start(void) { ps_accounts_are(&accounts); }

static const struct iq_rule rules[] = {
    { TYPE_GET, NS_PUBSUB, "pubsub", IQ_TO_SELF | IQ_TO_ACCOUNT, pep_request },
    { TYPE_SET, NS_PUBSUB, "pubsub", IQ_TO_SELF | IQ_TO_ACCOUNT, pep_request },
    { TYPE_GET, NS_PUBSUB_OWNER, "pubsub", IQ_TO_SELF | IQ_TO_ACCOUNT, pep_request },
    { TYPE_SET, NS_PUBSUB_OWNER, "pubsub", IQ_TO_SELF | IQ_TO_ACCOUNT, pep_request },
    { 0 },
};

/* What is in such a node is a matter of clients. */
#define NODE_NOTE "a node of the account"

static const struct personal_events personal_events = {
    .probed = presence_probed,
    .wants = session_wants,
    .contact_wants = remote_wants,
};

const struct feature pep_feature = {
    .name = "pep",
    .xeps =
        (const struct xep[]){
            { "0080", "1.3", "User Location", "0.1.0", "services/test_pep", NODE_NOTE },
            { "0107", "1.0", "User Mood", "0.1.0", "services/test_pep", NODE_NOTE },
            { "0108", "1.0", "User Activity", "0.1.0", "services/test_pep", NODE_NOTE },
            { "0118", "1.0", "User Tune", "0.1.0", "services/test_pep", NODE_NOTE },
            { "0172", "1.0", "User Nickname", "0.1.0", "services/test_pep", NODE_NOTE },
            { "0163", "1.2.2", "Personal Eventing Protocol", "0.1.0", "services/test_pep", NULL },
            { "0222", "1.0.1", "Persistent Storage of Public Data via PubSub", "0.1.0",
              "services/test_bookmarks", NULL },
            { "0223", "1.1.1", "Persistent Storage of Private Data via PubSub", "0.1.0",
              "services/test_bookmarks", NULL },
            { "0384", "0.4.0", "OMEMO Encryption", "0.1.0", "services/test_bookmarks",
              "nodes of the account; also the earlier namespace and urn:xmpp:omemo:2" },
            { 0 },
        },
    .identities_account = (const char *const[]){ "pubsub pep", NULL },
    .disco = (const char *const[]){ NS_PUBSUB, NULL }, /* clients look here for PEP as well */
    .disco_account = ps_features_pep,
    .iq = rules,
    .schema = &pep_schema,
    .facts = (const struct account_fact[]){ { "PEP nodes", &pep_stmt_count, 0 }, { 0 } },
    .settings = (struct setting *const[]){ &nodes_max, &items_max, &item_bytes, &bytes_max,
                                           &subscriptions_max, NULL },
    .metrics = (struct metric *const[]){ &deliveries, NULL },
    .portable = &ps_portable,
    .start = pep_start,
    .account.slot = &account_slot,
    .worker.slot = &worker_slot,
    .account.load = pep_load,
    .account.loaded = pep_loaded,
    .account.unload = pep_unload,
    .account.remove = remove_nodes,
    .worker.ended = pep_worker_ended,
    .disco_any = pep_disco_any,
    .fans = (const struct fan_tag[]){ { FAN_PEP_WANTED, wanted_fan },
                                      { FAN_PEP_EVENT, event_fan },
                                      { 0 } },
    .stage.check = pep_check,
    .one.personal = &personal_events,
};
