#include "presence/caps.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/metric.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "home/ask.h"
#include "home/here.h"
#include "home/node.h"
#include "presence/roster.h"
#include "presence/roster_view.h"
#include "xmpp/caps_info.h"
#include "xmpp/ns.h"

enum { ASK_MS = 60 * 1000, ASK_NEXT_MS = 5000, KEY_BYTES_MAX = 1024, NODE_BYTES_MAX = 32 << 10 };

static struct metric caps_asked = {
    .name = "muster_caps_asked",
    .kind = METRIC_COUNTER,
    .help = "Clients that were asked for their capabilities.",
};

/* A set of nodes, shared by all sessions whose clients announce the same hash. */
struct caps {
    slice key;      /* "2 sha-256 …=", in this block; empty: of one session alone */
    uint32_t users; /* sessions */
    bool known;
    uint32_t asks;       /* under way; more than one when clients do not answer */
    struct timer timer;  /* while it is set, nobody else is asked beside them */
    struct list waiting; /* struct caps_use, while it is not known */
    struct list unused;  /* in caps_worker.unused while it is known and nobody's */
    slice *nodes;        /* sorted; in one block with their texts */
    struct caps_client client;
    unsigned node_count;
};

/* What a session has, in its slot, or a contact's resource elsewhere. */
struct caps_use {
    struct account *account; /* of the session, or the contact's contact */
    struct session *session; /* NULL: elsewhere */
    slice jid;               /* full */
    struct caps *caps;
    struct caps *told; /* its news were told; a user of it */
    struct list wait;  /* in caps.waiting */
    struct ask *ask;
    struct caps_key asked; /* texts in `question` */
    char *question;
    bool available, asking;
};

/* A resource of a contact whose home is elsewhere, by its presence; in the account's slot. */
struct caps_remote {
    struct caps_use use;
    struct list node;
    char text[]; /* its full JID */
};
struct caps_remotes {
    struct list list; /* struct caps_remote, the oldest first */
    unsigned count;
};

struct caps_worker {
    struct map sets;
    struct list unused; /* longest first */
    unsigned unused_count;
};

static unsigned session_slot, worker_slot, account_slot;

static slice caps_key_text(const void *item) { return ((const struct caps *)item)->key; }

static struct caps_worker *of_worker(struct worker *w)
{
    struct caps_worker *cw = *worker_state(w, worker_slot);
    if (cw == NULL) {
        cw = *worker_state(w, worker_slot) = mem_new(struct caps_worker);
        map_init(&cw->sets, caps_key_text);
        list_init(&cw->unused);
    }
    return cw;
}

/* Sets. */

static void asked_long(struct timer *t, struct loop *loop);

static struct caps *caps_create(slice key)
{
    struct caps *c = mem_zalloc(sizeof *c + key.len);
    char *text = (char *)(c + 1);
    if (key.len > 0)
        memcpy(text, key.ptr, key.len);
    c->key = (slice){ text, key.len };
    list_init(&c->waiting);
    c->timer.fn = asked_long;
    return c;
}

static void caps_free(struct caps_worker *cw, struct caps *c)
{
    if (c->key.len > 0)
        map_del(&cw->sets, c->key);
    if (list_linked(&c->unused)) {
        list_remove(&c->unused);
        cw->unused_count--;
    }
    timer_cancel(&c->timer);
    mem_free(&c->nodes);
    mem_free(&c);
}

static void caps_use(struct caps_worker *cw, struct caps *c)
{
    c->users++;
    if (list_linked(&c->unused)) {
        list_remove(&c->unused);
        cw->unused_count--;
    }
}

static void caps_drop(struct caps_worker *cw, struct caps *c)
{
    if (c == NULL || --c->users > 0)
        return;
    if (c->key.len == 0 || !c->known) {
        caps_free(cw, c);
        return;
    }
    list_append(&cw->unused, &c->unused);
    if (++cw->unused_count > CAPS_UNUSED_MAX)
        caps_free(cw, CONTAINER_OF(cw->unused.next, struct caps, unused));
}

static void caps_learn(struct caps *c, const slice *nodes, unsigned count)
{
    size_t bytes = 0;
    unsigned n = 0;
    while (n < count && n < CAPS_NODES_MAX && bytes + nodes[n].len <= NODE_BYTES_MAX)
        bytes += nodes[n++].len;
    c->known = true;
    c->node_count = n;
    if (n == 0)
        return;
    c->nodes = mem_alloc(n * sizeof *c->nodes + bytes);
    char *at = (char *)(c->nodes + n);
    for (unsigned i = 0; i < n; i++) {
        memcpy(at, nodes[i].ptr, nodes[i].len);
        c->nodes[i] = (slice){ at, nodes[i].len };
        at += nodes[i].len;
    }
}

static void caps_copy_text(char *out, size_t cap, slice text)
{
    size_t n = text.len < cap - 1 ? text.len : cap - 1;
    while (n > 0 && n < text.len && ((unsigned char)text.ptr[n] & 0xc0) == 0x80)
        n--; /* not within a character */
    if (n > 0)
        memcpy(out, text.ptr, n);
    out[n] = '\0';
}

/* The first identity of a client (XEP-0030 §3.1). */
static void caps_describe(struct caps *c, const struct elem *query, struct arena *tmp)
{
    struct elem e;
    for (bool more = elem_first(query, &e); more; more = elem_next(&e, &e)) {
        if (!elem_is(&e, "identity", NS_DISCO_INFO) ||
            !slice_is(elem_attr(&e, "category", tmp), "client"))
            continue;
        caps_copy_text(c->client.device, sizeof c->client.device, elem_attr(&e, "type", tmp));
        caps_copy_text(c->client.software, sizeof c->client.software, elem_attr(&e, "name", tmp));
        return;
    }
}

static bool caps_has(const struct caps *c, slice node)
{
    unsigned low = 0, high = c == NULL ? 0 : c->node_count;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        slice have = c->nodes[mid];
        size_t len = have.len < node.len ? have.len : node.len;
        int order = memcmp(have.ptr, node.ptr, len);
        if (order == 0)
            order = (have.len > node.len) - (have.len < node.len);
        if (order == 0)
            return true;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return false;
}

/* Sessions. */

static struct worker *caps_worker_of(const struct caps_use *u) { return u->account->worker; }

/* Tells what is new since the last time. */
static void caps_tell(struct caps_use *u)
{
    struct caps_worker *cw = of_worker(caps_worker_of(u));
    struct caps *c = u->caps, *before = u->told;
    slice fresh[CAPS_NODES_MAX];
    unsigned n = 0;
    if (!u->available || c == NULL || !c->known || c == before)
        return;
    if (u->session != NULL && u->session->priority < 0)
        return; /* it gets no events; caps_receives() comes here again */
    for (unsigned i = 0; i < c->node_count; i++)
        if (!caps_has(before, c->nodes[i]))
            fresh[n++] = c->nodes[i];
    caps_use(cw, c);
    u->told = c;
    caps_drop(cw, before);
    if (n == 0)
        return;
    if (u->session != NULL)
        EMIT_ONE(personal, wants, u->session, fresh, n);
    else
        EMIT_ONE(personal, contact_wants, u->account, u->jid, fresh, n);
}

static void ask_next(struct worker *w, struct caps *c);

static void caps_leave(struct caps_use *u)
{
    struct worker *w = caps_worker_of(u);
    struct caps *c = u->caps;
    bool asked = u->asking;
    ask_cancel(&u->ask);
    u->asking = false;
    list_remove(&u->wait);
    u->caps = NULL;
    if (c != NULL && asked) {
        c->asks--;
        ask_next(w, c);
    }
    caps_drop(of_worker(w), c);
}

/* All who waited for it. What is told may end none of them: sessions end later. */
static void became_known(struct caps *c)
{
    struct list *it;
    timer_cancel(&c->timer);
    c->asks = 0;
    while ((it = list_pop(&c->waiting)) != NULL) {
        struct caps_use *u = CONTAINER_OF(it, struct caps_use, wait);
        ask_cancel(&u->ask); /* another one was faster */
        u->asking = false;
        mem_free(&u->question);
        caps_tell(u);
    }
}

/* The client's own word counts for itself, whatever its hash is. */
static void alone(struct caps_use *u, const slice *nodes, unsigned count)
{
    struct caps_worker *cw = of_worker(caps_worker_of(u));
    struct caps *c = u->caps, *own = caps_create((slice){ 0 });
    caps_learn(own, nodes, count);
    list_remove(&u->wait);
    caps_use(cw, own);
    u->caps = own;
    caps_tell(u);
    ask_next(caps_worker_of(u), c);
    caps_drop(cw, c);
}

static void caps_answered(struct worker *w, void *arg, const struct stanza *reply)
{
    struct caps_use *u = arg;
    struct arena *tmp = loop_scratch(worker_loop(w));
    struct caps *c = u->caps;
    struct elem query;
    const slice *nodes = NULL;
    unsigned count = 0;
    ensure(u->asking && c != NULL && c->asks > 0);
    u->ask = NULL;
    u->asking = false;
    c->asks--;
    bool fine = reply != NULL && reply->type == TYPE_RESULT &&
                stanza_find(reply, "query", NS_DISCO_INFO, &query);
    if (fine)
        count = caps_wanted(&query, tmp, &nodes);
    if (fine && u->asked.algo.len > 0 && caps_verify(&u->asked, &query, tmp)) {
        caps_learn(c, nodes, count);
        caps_describe(c, &query, tmp);
        became_known(c);
    } else {
        alone(u, nodes, count);
        if (fine)
            caps_describe(u->caps, &query, tmp);
        else
            mem_free(&u->question); /* it was away, or too busy: its next presence asks again */
    }
}

/* In whose name is asked: a client's own domain, or the account that its contact sees. */
static slice caps_asker(const struct caps_use *u)
{
    struct jid jid = jid_split(u->account->jid);
    return u->session != NULL ? jid.domain : u->account->jid;
}

static void caps_ask(struct worker *w, struct caps_use *u)
{
    struct buf xml;
    struct xml_write x;
    struct ask *a;
    xml_begin(&x, &xml, XML_STANZA_MAX);
    xml_open(&x, "query", NS_DISCO_INFO);
    xml_attr(&x, "node", u->asked.node);
    xml_close(&x);
    metric_add(&caps_asked, 1);
    u->asking = true;
    u->caps->asks++;
    a = ask_send(w,
                 &(struct ask_request){ .type = TYPE_GET,
                                        .from = caps_asker(u),
                                        .to = u->jid,
                                        .payload = buf_fit(&xml),
                                        .timeout_ms = ASK_MS },
                 caps_answered, u);
    if (u->asking && a != NULL) { /* an error may have come at once */
        u->ask = a;
    } else if (u->asking) { /* too many wait: the timer tries again */
        u->asking = false;
        u->caps->asks--;
    }
    buf_fini(&xml);
}

/* One of those who announce it is asked at a time, and the next one when that takes long: clients
 * that never answer must not hold up the others. */
static void ask_next(struct worker *w, struct caps *c)
{
    if (c == NULL || c->known || worker_stopping(w) || (c->asks > 0 && timer_is_set(&c->timer)))
        return;
    LIST_EACH (it, &c->waiting) {
        struct caps_use *u = CONTAINER_OF(it, struct caps_use, wait);
        if (u->asking)
            continue;
        timer_set(worker_loop(w), &c->timer, ASK_NEXT_MS);
        caps_ask(w, u);
        return;
    }
}

static void asked_long(struct timer *t, struct loop *loop)
{
    struct caps *c = CONTAINER_OF(t, struct caps, timer);
    (void)loop;
    if (!list_empty(&c->waiting))
        ask_next(caps_worker_of(CONTAINER_OF(c->waiting.next, struct caps_use, wait)), c);
}

/* Presence. */

static bool caps_key_of(struct caps_key *out, const struct stanza *st, struct arena *tmp)
{
    struct elem c;
    if (stanza_find(st, "c", "urn:xmpp:caps", &c) && caps_key_2(out, &c, tmp))
        return true;
    return stanza_find(st, "c", NS_CAPS, &c) && caps_key_1(out, &c, tmp);
}

/* The key by which a set is shared; empty: it cannot be. */
static slice shared_key(const struct caps_key *k, struct arena *tmp)
{
    if (k->algo.len == 0 || k->algo.len + k->value.len > KEY_BYTES_MAX)
        return (slice){ 0 };
    return slice_of(arena_printf(tmp, "%d %.*s %.*s", k->version == CAPS_1 ? 1 : 2,
                                 SLICE_ARG(k->algo), SLICE_ARG(k->value)));
}

static struct caps_use *use_of(struct session *s)
{
    struct caps_use *u = s->state_of[session_slot];
    ensure(session_here(s));
    if (u == NULL) {
        u = s->state_of[session_slot] = mem_new(struct caps_use);
        u->account = s->account;
        u->session = s;
        u->jid = session_jid(s);
        u->available = s->available;
    }
    return u;
}

/* What is asked for must outlive the presence it came with. */
static void keep_question(struct caps_use *u, const struct caps_key *k)
{
    size_t len = k->algo.len + k->value.len + k->node.len;
    char *text = mem_alloc(len + 1);
    mem_free(&u->question);
    u->question = text;
    u->asked = *k;
    const slice *from[] = { &k->algo, &k->value, &k->node };
    slice *to[] = { &u->asked.algo, &u->asked.value, &u->asked.node };
    for (unsigned i = 0; i < 3; i++) {
        if (from[i]->len > 0)
            memcpy(text, from[i]->ptr, from[i]->len);
        *to[i] = (slice){ text, from[i]->len };
        text += from[i]->len;
    }
}

static bool asks_same(const struct caps_use *u, const struct caps_key *k)
{
    return slice_eq(u->asked.node, k->node) && slice_eq(u->asked.algo, k->algo);
}

static void caps_take_key(struct caps_use *u, const struct caps_key *k, struct arena *tmp)
{
    struct worker *w = caps_worker_of(u);
    struct caps_worker *cw = of_worker(w);
    slice key = shared_key(k, tmp);
    struct caps *c = key.len > 0 ? map_get(&cw->sets, key) : NULL;
    if (u->caps != NULL && (c == u->caps || (u->question != NULL && asks_same(u, k))))
        return;
    if (c == NULL) {
        c = caps_create(key);
        if (key.len > 0)
            map_put(&cw->sets, c);
    }
    caps_use(cw, c);
    if (u->caps != NULL)
        caps_leave(u);
    u->caps = c;
    if (c->known) {
        mem_free(&u->question);
        caps_tell(u);
    } else {
        keep_question(u, k);
        list_append(&c->waiting, &u->wait);
        ask_next(w, c);
    }
}

static void caps_announce(struct session *s, const struct stanza *st)
{
    struct arena *tmp = loop_scratch(worker_loop(s->account->worker));
    struct caps_use *u = s->state_of[session_slot];
    struct caps_key k;
    ensure(session_here(s));
    if (caps_key_of(&k, st, tmp) && k.node.len <= KEY_BYTES_MAX * 2)
        caps_take_key(use_of(s), &k, tmp);
    else if (u != NULL && u->caps != NULL)
        caps_leave(u);
}

static void use_fini(struct caps_use *u)
{
    if (u->caps != NULL)
        caps_leave(u);
    caps_drop(of_worker(caps_worker_of(u)), u->told);
    mem_free(&u->question);
}

/* The set of a session; NULL: none, or not known yet. */
static const struct caps *set_of(struct session *s)
{
    struct caps_use *u = s->state_of[session_slot];
    if (u == NULL && s->presence != NULL) { /* saved over a restart: its presence was not seen */
        caps_announce(s, s->presence);
        u = s->state_of[session_slot];
    }
    return u == NULL ? NULL : u->caps;
}

bool caps_wants(struct session *s, slice node) { return caps_has(set_of(s), node); }

unsigned caps_nodes(struct session *s, const slice **out)
{
    const struct caps *c = set_of(s);
    *out = c == NULL ? NULL : c->nodes;
    return c == NULL ? 0 : c->node_count;
}

const struct caps_client *caps_client(struct session *s)
{
    const struct caps *c = set_of(s);
    return c == NULL || c->client.device[0] == '\0' ? NULL : &c->client;
}

static enum verdict caps_check(struct session *s, struct stanza **st, struct refusal *why)
{
    (void)why;
    if ((*st)->kind == STANZA_PRESENCE && (*st)->type == TYPE_AVAILABLE && (*st)->to_len == 0)
        caps_announce(s, *st);
    return PASS;
}

static void session_available(struct session *s)
{
    struct caps_use *u = s->state_of[session_slot];
    if (u == NULL)
        return;
    u->available = true;
    caps_tell(u);
}

static void untell(struct caps_use *u)
{
    caps_drop(of_worker(caps_worker_of(u)), u->told);
    u->told = NULL;
}

static void session_unavailable(struct session *s, const struct stanza *st)
{
    struct caps_use *u = s->state_of[session_slot];
    (void)st;
    if (u == NULL)
        return;
    u->available = false;
    untell(u);
}

void caps_receives(struct session *s)
{
    struct caps_use *u = s->state_of[session_slot];
    if (u != NULL && s->priority >= 0)
        caps_tell(u);
    else if (u != NULL)
        untell(u); /* what it misses meanwhile it is told when it receives again */
}

static void caps_session_freed(struct session *s)
{
    struct caps_use *u = s->state_of[session_slot];
    if (u == NULL)
        return;
    use_fini(u);
    mem_free(&u);
    s->state_of[session_slot] = NULL;
}

/* Contacts elsewhere. */

static void remote_free(struct caps_remotes *rs, struct caps_remote *r)
{
    list_remove(&r->node);
    rs->count--;
    use_fini(&r->use);
    mem_free(&r);
}

static struct caps_remote *remote_find(const struct caps_remotes *rs, slice jid)
{
    LIST_EACH (it, &rs->list) {
        struct caps_remote *r = CONTAINER_OF(it, struct caps_remote, node);
        if (slice_eq(r->use.jid, jid))
            return r;
    }
    return NULL;
}

static struct caps_remote *remote_make(struct account *a, slice jid)
{
    struct caps_remotes *rs = a->state_of[account_slot];
    if (rs == NULL) {
        rs = a->state_of[account_slot] = mem_new(struct caps_remotes);
        list_init(&rs->list);
    }
    struct caps_remote *r = remote_find(rs, jid);
    if (r != NULL)
        return r;
    ensure(rs->count <= CAPS_REMOTES_MAX);
    if (rs->count == CAPS_REMOTES_MAX)
        remote_free(rs, CONTAINER_OF(rs->list.next, struct caps_remote, node));
    r = mem_zalloc(sizeof *r + jid.len);
    memcpy(r->text, jid.ptr, jid.len);
    r->use.account = a;
    r->use.jid = (slice){ r->text, jid.len };
    list_append(&rs->list, &r->node);
    rs->count++;
    return r;
}

/* Those who see the account's presence hear of its nodes. Other contacts are remembered, too: they
 * may be allowed to see it later, and then send no new presence. The presence of a contact who has
 * just agreed comes before the roster says so. */
static void remote_presence(struct account *a, const struct stanza *st)
{
    struct arena *tmp = loop_scratch(worker_loop(a->worker));
    struct caps_remotes *rs = a->state_of[account_slot];
    struct caps_remote *r = rs == NULL ? NULL : remote_find(rs, stanza_from(st));
    slice contact = stanza_from_bare(st);
    bool seen = roster_is_seen(a, contact);
    bool kept = st->type == TYPE_AVAILABLE &&
                (seen || roster_sees(a, contact) || roster_is_contact(a, contact));
    struct caps_key k;
    ensure(account_here(a));
    if (kept && caps_key_of(&k, st, tmp) && k.node.len <= KEY_BYTES_MAX * 2) {
        r = remote_make(a, stanza_from(st));
        r->use.available = seen;
        caps_take_key(&r->use, &k, tmp);
    } else if (r != NULL) {
        remote_free(rs, r);
    }
}

/* If it is not at home here, its resources are told what they want from now on. */
void caps_contact_shown(struct account *a, slice contact, bool shown)
{
    struct caps_remotes *rs = a->state_of[account_slot];
    ensure(account_here(a));
    if (rs == NULL)
        return;
    LIST_EACH (it, &rs->list) {
        struct caps_use *u = &CONTAINER_OF(it, struct caps_remote, node)->use;
        if (!slice_eq(jid_bare_of(u->jid), contact))
            continue;
        u->available = shown;
        if (shown)
            caps_tell(u);
        else
            untell(u);
    }
}

/* Presence of other accounts of ours is known at their homes. */
static enum verdict caps_block(struct account *a, const struct stanza *st, struct refusal *why)
{
    (void)why;
    if (st->kind != STANZA_PRESENCE || st->type > TYPE_UNAVAILABLE ||
        st->from_len == st->from_bare_len)
        return PASS;
    struct jid from = jid_split(stanza_from(st));
    if (!node_serves(account_node(a), from.domain))
        remote_presence(a, st);
    return PASS;
}

void caps_remotes_each(const struct account *a, slice node, caps_remote_fn *fn, void *arg)
{
    const struct caps_remotes *rs = a->state_of[account_slot];
    if (rs == NULL)
        return;
    LIST_EACH (it, &rs->list) {
        const struct caps_remote *r = CONTAINER_OF(it, struct caps_remote, node);
        if (r->use.available && caps_has(r->use.caps, node))
            fn(r->use.jid, arg);
    }
}

static void caps_unload(struct account *a)
{
    struct caps_remotes *rs = a->state_of[account_slot];
    if (rs == NULL)
        return;
    while (!list_empty(&rs->list))
        remote_free(rs, CONTAINER_OF(rs->list.next, struct caps_remote, node));
    mem_free(&rs);
    a->state_of[account_slot] = NULL;
}

static void caps_worker_ended(struct worker *w)
{
    struct caps_worker *cw = *worker_state(w, worker_slot);
    if (cw == NULL)
        return;
    while (!list_empty(&cw->unused))
        caps_free(cw, CONTAINER_OF(cw->unused.next, struct caps, unused));
    map_fini(&cw->sets);
    mem_free(&cw);
    *worker_state(w, worker_slot) = NULL;
}

const struct feature caps_feature = {
    .name = "caps",
    .xeps = (const struct xep[]){ { "0390", "0.3.2", "Entity Capabilities 2.0", "0.1.0",
                                    "services/test_pep",
                                    "read from clients; the server announces XEP-0115" },
                                  { 0 } },
    .metrics = (struct metric *const[]){ &caps_asked, NULL },
    .account.slot = &account_slot,
    .session.slot = &session_slot,
    .worker.slot = &worker_slot,
    .account.unload = caps_unload,
    .stage.check = caps_check,
    .stage.block = caps_block,
    .session.available = session_available,
    .session.unavailable = session_unavailable,
    .session.freed = caps_session_freed,
    .worker.ended = caps_worker_ended,
};
