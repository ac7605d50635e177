#include "pubsub/pubsub_model.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/setting.h"
#include "home/here.h"
#include <stdlib.h>

static slice node_key(const void *item) { return ((const struct ps_node *)item)->name; }
static slice pubsub_model_maker_key(const void *item)
{
    const struct ps_maker *m = item;
    return (slice){ m->jid, m->len };
}
static slice pubsub_model_affiliate_key(const void *item)
{
    const struct ps_affiliate *a = item;
    return (slice){ a->jid, a->len };
}
static slice subscriber_key(const void *item)
{
    const struct ps_subscriber *s = item;
    return (slice){ s->jid, s->bare_len };
}
static slice pubsub_model_stub_id(const void *item)
{
    const struct ps_stub *s = item;
    return (slice){ s->id, s->id_len };
}

/* Services. */

unsigned ps_services_slot;
struct metric ps_services_loaded = {
    .name = "muster_pubsub_services_loaded",
    .kind = METRIC_GAUGE,
    .help = "Publish-subscribe services in memory: of accounts (PEP) and of pubsub.<domain>.",
};

static const struct actor_kind *services_kind;

void ps_services_are(const struct actor_kind *kind) { services_kind = kind; }

void ps_service_unload(struct actor *a)
{
    struct ps_service *s = ps_service_of(a);
    struct ps_node *n;
    ensure(a->pins == 0 && a->inbox == NULL);
    for (uint32_t i = 0; (n = map_next(&s->nodes, &i)) != NULL;) {
        ps_node_clear(n);
        n->ops = NULL;
        n->busy = false;
        ps_node_release(n);
    }
    map_fini(&s->nodes);
    map_fini(&s->makers);
    mem_free(&s);
}

static struct actors *services_of(struct worker *w)
{
    struct actors *all = *worker_state(w, ps_services_slot);
    if (all == NULL) {
        all = *worker_state(w, ps_services_slot) = mem_new(struct actors);
        ensure(services_kind != NULL);
        actors_init(all, services_kind, w, worker_loop(w));
    }
    return all;
}

struct ps_service *ps_service_create(struct worker *w, const struct ps_service_kind *kind,
                                     struct account *account, slice jid, int64_t owner)
{
    struct ps_service *s = mem_zalloc(sizeof *s + jid.len);
    char *text = (char *)(s + 1);
    ensure(worker_is_here(w));
    memcpy(text, jid.ptr, jid.len);
    actor_init(&s->actor, services_of(w), (slice){ text, jid.len });
    s->kind = kind;
    s->account = account;
    s->owner = owner;
    map_init(&s->nodes, node_key);
    map_init(&s->makers, pubsub_model_maker_key);
    return s;
}

struct ps_service *ps_service_find(const struct worker *w, slice jid)
{
    const struct actors *all = *worker_state(w, ps_services_slot);
    ensure(worker_is_here(w));
    return all == NULL ? NULL : ps_service_of(actors_find(all, jid));
}

void ps_service_pin(struct ps_service *s)
{
    actor_pin(&s->actor);
    if (s->account != NULL)
        account_pin(s->account);
}

void ps_service_unpin(struct ps_service *s)
{
    struct account *a = s->account;
    actor_unpin(&s->actor);
    if (a != NULL)
        account_unpin(a);
}

void ps_services_stop(struct worker *w)
{
    struct actors *all = *worker_state(w, ps_services_slot);
    if (all != NULL)
        actors_stop(all);
    mem_free(&all);
    *worker_state(w, ps_services_slot) = NULL;
}

void ps_services_each(struct worker *w, ps_service_fn *fn, slice bare)
{
    const struct actors *all = *worker_state(w, ps_services_slot);
    struct actor *a;
    for (uint32_t i = 0; all != NULL && (a = actors_next(all, &i)) != NULL;)
        fn(ps_service_of(a), bare);
}

/* Nodes. */

struct ps_node *ps_node_find(const struct ps_service *s, slice name)
{
    struct ps_node *n = map_get(&s->nodes, name);
    return n != NULL && n->nid != 0 ? n : NULL;
}

struct ps_node *ps_node_get(struct ps_service *s, slice name)
{
    struct ps_node *n = map_get(&s->nodes, name);
    if (n != NULL)
        return n;
    n = mem_zalloc(sizeof *n + name.len);
    char *text = (char *)(n + 1);
    memcpy(text, name.ptr, name.len);
    n->service = s;
    n->name = (slice){ text, name.len };
    n->ops_tail = &n->ops;
    map_init(&n->affiliates, pubsub_model_affiliate_key);
    map_init(&n->subscribers, subscriber_key);
    map_init(&n->by_id, pubsub_model_stub_id);
    map_put(&s->nodes, n);
    return n;
}

slice ps_creator(const struct ps_node *n)
{
    return n->maker == NULL ? (slice){ 0 } : pubsub_model_maker_key(n->maker);
}

const struct ps_maker *ps_maker(const struct ps_service *s, slice bare)
{
    return map_get(&s->makers, bare);
}

static bool maker_room(const struct ps_service *s, const struct ps_maker *m, int64_t more)
{
    uint64_t limit = (uint64_t)setting_int(s->kind->user_bytes);
    return more <= 0 || (m == NULL ? 0 : m->bytes) + (uint64_t)more <= limit;
}

bool ps_maker_has_room(const struct ps_node *n, int64_t more)
{
    return maker_room(n->service, n->maker, more);
}

bool ps_maker_of_has_room(const struct ps_service *s, slice bare, int64_t more)
{
    return maker_room(s, ps_maker(s, bare), more);
}

/* Beside the address: its row, its place in a map. */
uint32_t ps_address_bytes(slice jid) { return (uint32_t)jid.len + 64; }

static struct ps_maker *pubsub_model_maker_of(struct ps_service *s, slice bare)
{
    struct ps_maker *m = map_get(&s->makers, bare);
    if (m != NULL)
        return m;
    m = mem_zalloc(sizeof *m + bare.len + 1);
    m->len = (uint16_t)bare.len;
    if (bare.len > 0)
        memcpy(m->jid, bare.ptr, bare.len);
    map_put(&s->makers, m);
    return m;
}

static void leave_maker(struct ps_node *n)
{
    struct ps_maker *m = n->maker;
    n->maker = NULL;
    ensure(m->nodes > 0 && m->bytes >= n->bytes + n->listed);
    m->bytes -= n->bytes + n->listed;
    if (--m->nodes > 0)
        return;
    map_del(&n->service->makers, pubsub_model_maker_key(m));
    mem_free(&m);
}

static void list_grew(struct ps_node *n, int64_t bytes)
{
    n->listed = (uint64_t)((int64_t)n->listed + bytes);
    n->maker->bytes = (uint64_t)((int64_t)n->maker->bytes + bytes);
}

void ps_node_load(struct ps_node *n, int64_t nid, slice creator, const struct ps_config *c)
{
    struct ps_service *s = n->service;
    n->nid = nid;
    n->maker = pubsub_model_maker_of(s, creator.len <= JID_MAX ? creator : (slice){ "", 0 });
    n->maker->nodes++;
    ps_config_keep(&n->config, c);
    list_grew(n, ps_config_bytes(c));
    s->node_count++;
    if (nid > s->last_nid)
        s->last_nid = nid;
}

void ps_node_configure(struct ps_node *n, const struct ps_config *c)
{
    struct ps_config old = n->config;
    list_grew(n, (int64_t)ps_config_bytes(c) - ps_config_bytes(&old));
    ps_config_keep(&n->config, c);
    ps_config_fini(&old);
}

void ps_node_begin(struct ps_node *n, slice creator, const struct ps_config *c)
{
    struct ps_service *s = n->service;
    int64_t now = (int64_t)loop_wall_us(worker_loop(s->worker));
    ensure(n->nid == 0);
    ps_node_load(n, now > s->last_nid ? now : s->last_nid + 1, creator, c);
    n->indexed = n->last_known = true;
}

void ps_stubs_clear(struct ps_node *n)
{
    for (uint32_t i = 0; i < n->stub_count; i++)
        mem_free(&n->stubs[i]);
    mem_free(&n->stubs);
    map_fini(&n->by_id);
    n->stub_count = n->stub_cap = 0;
}

void ps_node_clear(struct ps_node *n)
{
    struct ps_subscriber *s, *next;
    void *item;
    if (n->nid != 0) {
        ensure(n->service->node_count > 0 && n->service->bytes >= n->bytes);
        n->service->node_count--;
        n->service->bytes -= n->bytes;
        leave_maker(n);
    }
    n->nid = 0;
    n->bytes = n->listed = 0;
    ps_config_fini(&n->config);
    for (uint32_t i = 0; (item = map_next(&n->affiliates, &i)) != NULL;)
        mem_free(&item);
    for (uint32_t i = 0; (s = map_next(&n->subscribers, &i)) != NULL;)
        for (; s != NULL; s = next) {
            next = s->next;
            mem_free(&s);
        }
    n->subscriber_count = 0;
    map_fini(&n->affiliates);
    map_fini(&n->subscribers);
    map_init(&n->affiliates, pubsub_model_affiliate_key);
    map_init(&n->subscribers, subscriber_key);
    ps_stubs_clear(n);
    n->indexed = false;
    ps_forget_last(n);
}

void ps_node_release(struct ps_node *n)
{
    if (n->nid != 0 || n->ops != NULL || n->busy)
        return;
    map_del(&n->service->nodes, n->name);
    mem_free(&n);
}

/* Affiliations and subscriptions. */

const struct ps_affiliate *ps_affiliate(const struct ps_node *n, slice jid)
{
    return map_get(&n->affiliates, jid);
}

void ps_affiliate_put(struct ps_node *n, slice jid, enum ps_affiliation affiliation)
{
    struct ps_affiliate *old = map_del(&n->affiliates, jid), *a;
    if (old != NULL)
        list_grew(n, -(int64_t)ps_address_bytes(jid));
    mem_free(&old);
    if (affiliation == PS_NONE)
        return;
    a = mem_alloc(sizeof *a + jid.len);
    a->shares = affiliation == PS_OWNER_SHARING;
    a->affiliation = (uint8_t)(a->shares ? PS_OWNER : affiliation);
    a->len = (uint16_t)jid.len;
    memcpy(a->jid, jid.ptr, jid.len);
    map_put(&n->affiliates, a);
    list_grew(n, ps_address_bytes(jid));
}

static slice subscriber_jid_of(const struct ps_subscriber *s) { return (slice){ s->jid, s->len }; }

struct ps_subscriber *ps_subscribers_of(const struct ps_node *n, slice bare)
{
    return map_get(&n->subscribers, bare);
}

struct ps_subscriber *ps_subscriber(const struct ps_node *n, slice jid)
{
    struct ps_subscriber *s = ps_subscribers_of(n, jid_bare_of(jid));
    while (s != NULL && !slice_eq(subscriber_jid_of(s), jid))
        s = s->next;
    return s;
}

struct ps_subscriber *ps_subscriber_next(const struct ps_node *n, uint32_t *at,
                                         const struct ps_subscriber *s)
{
    return s != NULL && s->next != NULL ? s->next : map_next(&n->subscribers, at);
}

struct ps_subscriber *ps_subscriber_make(slice jid, slice subid, enum ps_state state)
{
    struct ps_subscriber *s = mem_zalloc(sizeof *s + jid.len);
    size_t len = subid.len < sizeof s->subid - 1 ? subid.len : sizeof s->subid - 1;
    s->state = (uint8_t)state;
    s->deliver = true;
    s->len = (uint16_t)jid.len;
    s->bare_len = (uint16_t)jid_bare_of(jid).len;
    if (len > 0)
        memcpy(s->subid, subid.ptr, len);
    memcpy(s->jid, jid.ptr, jid.len);
    return s;
}

void ps_subscriber_put(struct ps_node *n, struct ps_subscriber *s)
{
    ps_subscriber_del(n, subscriber_jid_of(s));
    struct ps_subscriber *first = ps_subscribers_of(n, subscriber_key(s));
    if (first == NULL) {
        map_put(&n->subscribers, s);
    } else {
        s->next = first->next;
        first->next = s;
    }
    n->subscriber_count++;
    list_grew(n, ps_address_bytes(subscriber_jid_of(s)));
}

void ps_subscriber_del(struct ps_node *n, slice jid)
{
    struct ps_subscriber *old = ps_subscriber(n, jid);
    if (old == NULL)
        return;
    struct ps_subscriber *first = map_del(&n->subscribers, subscriber_key(old));
    struct ps_subscriber **at = &first;
    while (*at != old)
        at = &(*at)->next;
    *at = old->next;
    if (first != NULL)
        map_put(&n->subscribers, first);
    n->subscriber_count--;
    list_grew(n, -(int64_t)ps_address_bytes(subscriber_jid_of(old)));
    mem_free(&old);
}

/* Items. */

uint32_t ps_item_bytes(const struct ps_item *item)
{
    return (uint32_t)(item->id.len + item->publisher.len + item->xml.len);
}

enum { FEW_STUBS = 16 }; /* most nodes have one item: they need no map */

const struct ps_stub *ps_stub_find(const struct ps_node *n, slice id)
{
    if (n->by_id.count > 0)
        return map_get(&n->by_id, id);
    for (uint32_t i = 0; i < n->stub_count; i++)
        if (slice_eq(pubsub_model_stub_id(n->stubs[i]), id))
            return n->stubs[i];
    return NULL;
}

void ps_stub_load(struct ps_node *n, const struct ps_item *item, uint32_t bytes)
{
    struct ps_stub *s = mem_alloc(sizeof *s + item->id.len);
    *s = (struct ps_stub){ .at_us = item->at_us,
                           .publisher = hash_keyed(item->publisher),
                           .bytes = bytes,
                           .id_len = (uint16_t)item->id.len };
    memcpy(s->id, item->id.ptr, item->id.len);
    if (n->stub_count == n->stub_cap) {
        n->stub_cap = n->stub_cap == 0 ? 1 : n->stub_cap * 2;
        n->stubs = mem_realloc(n->stubs, n->stub_cap * sizeof *n->stubs);
    }
    n->stubs[n->stub_count++] = s;
    if (n->by_id.count == 0 && n->stub_count <= FEW_STUBS)
        return;
    for (uint32_t i = n->by_id.count; i < n->stub_count; i++) /* all, or this one */
        map_put(&n->by_id, n->stubs[i]);
}

static int by_time(const void *a, const void *b)
{
    uint64_t one = (*(struct ps_stub *const *)a)->at_us;
    uint64_t other = (*(struct ps_stub *const *)b)->at_us;
    return (one > other) - (one < other);
}

void ps_stubs_loaded(struct ps_node *n)
{
    int64_t bytes = 0;
    for (uint32_t i = 0; i < n->stub_count; i++)
        bytes += n->stubs[i]->bytes;
    ps_node_grew(n, bytes - (int64_t)n->bytes); /* damaged rows are not among them */
    if (n->stub_count > 1)                      /* there may be no array */
        qsort(n->stubs, n->stub_count, sizeof *n->stubs, by_time);
}

void ps_node_grew(struct ps_node *n, int64_t change)
{
    n->bytes = (uint64_t)((int64_t)n->bytes + change);
    n->service->bytes = (uint64_t)((int64_t)n->service->bytes + change);
    n->maker->bytes = (uint64_t)((int64_t)n->maker->bytes + change);
}

static void stub_free(struct ps_node *n, struct ps_stub *s)
{
    ps_node_grew(n, -(int64_t)s->bytes);
    map_del(&n->by_id, pubsub_model_stub_id(s));
    mem_free(&s);
}

void ps_stub_del(struct ps_node *n, slice id)
{
    const struct ps_stub *s = ps_stub_find(n, id);
    uint32_t i = 0;
    if (s == NULL)
        return;
    while (n->stubs[i] != s)
        i++;
    stub_free(n, n->stubs[i]);
    n->stub_count--;
    memmove(&n->stubs[i], &n->stubs[i + 1], (n->stub_count - i) * sizeof *n->stubs);
}

void ps_stubs_drop(struct ps_node *n, uint32_t count, slice but)
{
    uint32_t kept = 0;
    ensure(count <= n->stub_count);
    if (count == 0) /* there may be no array */
        return;
    for (uint32_t i = 0; i < count; i++) {
        struct ps_stub *s = n->stubs[i];
        if (slice_eq(pubsub_model_stub_id(s), but))
            n->stubs[kept++] = s;
        else
            stub_free(n, s);
    }
    n->stub_count -= count - kept;
    memmove(&n->stubs[kept], &n->stubs[count], (n->stub_count - kept) * sizeof *n->stubs);
}

void ps_stub_add(struct ps_node *n, const struct ps_item *item)
{
    ensure(n->nid != 0 && item->id.len > 0);
    ps_stub_del(n, item->id);
    ps_stub_load(n, item, ps_item_bytes(item));
    ps_node_grew(n, ps_item_bytes(item));
}

void ps_forget_last(struct ps_node *n)
{
    mem_free(&n->last);
    n->last_known = false;
}

void ps_keep_last(struct ps_node *n, const struct ps_item *item)
{
    ps_forget_last(n);
    size_t len = item == NULL ? 0 : item->id.len + item->publisher.len + item->xml.len;
    n->last_known = len <= PS_KEEP_BYTES || !n->config.persist_items;
    if (item == NULL || !n->last_known)
        return;
    struct ps_kept *k = mem_alloc(sizeof *k + len);
    *k = (struct ps_kept){ item->at_us, (uint32_t)item->id.len, (uint32_t)item->publisher.len,
                           (uint32_t)item->xml.len };
    memcpy(k->text, item->id.ptr, item->id.len);
    memcpy(k->text + item->id.len, item->publisher.ptr, item->publisher.len);
    if (item->xml.len > 0)
        memcpy(k->text + item->id.len + item->publisher.len, item->xml.ptr, item->xml.len);
    n->last = k;
}

struct ps_item ps_last(const struct ps_node *n)
{
    const struct ps_kept *k = n->last;
    return (struct ps_item){ .at_us = k->at_us,
                             .id = { k->text, k->id_len },
                             .publisher = { k->text + k->id_len, k->publisher_len },
                             .xml = { k->text + k->id_len + k->publisher_len, k->xml_len } };
}

uint64_t ps_expired_before(const struct ps_node *n, uint64_t now_us)
{
    uint64_t age = (uint64_t)n->config.item_expire * 1000000;
    return n->config.item_expire == PS_MAX || age > now_us ? 0 : now_us - age;
}

/* Who somebody is to a node. */

bool ps_is_owner_jid(const struct ps_service *s, slice bare)
{
    return s->account != NULL && slice_eq(s->jid, bare);
}
