#include "pubsub/pubsub_items.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/budget.h"
#include "core/feature.h"
#include "home/here.h"
#include "pubsub/pubsub.h"
#include "pubsub/pubsub_access.h"
#include "pubsub/pubsub_config.h"
#include "pubsub/pubsub_contacts.h"
#include "pubsub/pubsub_event.h"
#include "pubsub/pubsub_model.h"
#include "pubsub/pubsub_op.h"
#include "pubsub/pubsub_request.h"
#include "pubsub/pubsub_store.h"
#include "store/store.h"
#include "xmpp/ns.h"

/* Items: publishing, retrieving, removing them (XEP-0060 §6.5, §7, §8.5). */

enum {
    PS_READ_BYTES_MAX = 8 << 20, /* of items that a request names */
    PS_PAGE_BYTES = 2 << 20,
    PS_FAR_BYTES = 256 << 10 /* of both, for another server: it reads stanzas of 512 KiB or so */
};

static struct store_batch *pubsub_items_write_batch(const struct ps_op *op)
{
    return store_write(worker_store(op->service->worker), (uint64_t)op->service->owner);
}
static struct store_batch *read_batch(const struct ps_op *op)
{
    return store_read(worker_store(op->service->worker), (uint64_t)op->service->owner);
}

static slice pubsub_items_stub_id(const struct ps_stub *s) { return (slice){ s->id, s->id_len }; }

/* Publishing (§7.1). */

static enum ps_step precondition(struct ps_op *op)
{
    if (op->req.form.error != SE_NONE)
        return ps_fail(op, op->req.form.error, NULL, op->req.form.text);
    return ps_fail(op, SE_CONFLICT, "precondition-not-met", (slice){ 0 });
}

/* §7.1.4: a node that its owner publishes to is made, as the publish-options want it. */
static enum ps_step auto_create(struct ps_op *op)
{
    struct ps_service *s = op->service;
    struct ps_limits limits = ps_limits_of(s);
    ensure(op->node->nid == 0 && op->batch == NULL);
    if (!ps_is_owner_jid(s, ps_from_bare(op)))
        return ps_fail(op, SE_ITEM_NOT_FOUND, NULL, (slice){ 0 });
    if (s->node_count >= setting_int(s->kind->nodes_max))
        return ps_fail(op, SE_CONFLICT, "max-nodes-exceeded", (slice){ 0 });
    ps_config_default(&op->config, s->kind->kind);
    if (op->req.has_form) {
        if (!ps_config_submit(&op->config, &op->req.form, &limits) ||
            !ps_config_meets(&op->config, &op->req.form, &limits))
            return precondition(op);
    }
    if (!ps_maker_of_has_room(s, ps_from_bare(op), ps_config_bytes(&op->config)))
        return ps_no_room(op);
    op->create = true;
    return PS_COMMIT;
}

static const char *broken_rule(const struct ps_op *op)
{
    const char *what = NULL;
    ensure(op->node != NULL);
    if (op->service->account == NULL || !op->req.has_item)
        return NULL;
    FEATURES_EACH (f, watches)
        for (const struct ps_watch *row = f->watches; row->node != NULL && what == NULL; row++)
            if (row->item_rule != NULL && slice_is(op->node->name, row->node))
                what = row->item_rule(op->req.item_id, op->tmp);
    return what;
}

/* §7.1.3.6: what the item must be, by the configuration of the node. */
static enum ps_step check_item(struct ps_op *op, const struct ps_config *c)
{
    const struct ps_request *r = &op->req;
    int64_t max = setting_int(op->service->kind->item_bytes);
    if (c->max_payload < max)
        max = c->max_payload;
    if (r->has_item && !c->persist_items && !c->deliver_payloads)
        return ps_fail(op, SE_BAD_REQUEST, "item-forbidden", (slice){ 0 });
    if (!r->has_item && (c->persist_items || c->deliver_payloads))
        return ps_fail(op, SE_BAD_REQUEST, "item-required", (slice){ 0 });
    if (r->has_item && r->payload.len == 0 && c->deliver_payloads)
        return ps_fail(op, SE_BAD_REQUEST, "payload-required", (slice){ 0 });
    if (r->payload.len > (uint64_t)max)
        return ps_fail(op, SE_NOT_ACCEPTABLE, "payload-too-big", (slice){ 0 });
    const char *broken = broken_rule(op);
    if (broken != NULL)
        return ps_fail(op, SE_BAD_REQUEST, NULL, slice_of(broken));
    return PS_COMMIT;
}

static uint32_t items_max(const struct ps_op *op, const struct ps_config *c)
{
    int64_t limit = setting_int(op->service->kind->items_max);
    ensure(limit > 0);
    if (c->max_items < limit)
        limit = c->max_items > 0 ? c->max_items : 1;
    return (uint32_t)limit;
}

/* How many of the oldest items go when there are to be at most `keep` beside `id`. */
static unsigned surplus(const struct ps_node *n, slice id, uint32_t keep, uint64_t now_us)
{
    uint64_t before = ps_expired_before(n, now_us);
    const struct ps_stub *old = id.len > 0 ? ps_stub_find(n, id) : NULL;
    uint32_t others = n->stub_count - (old != NULL);
    unsigned drop = 0;
    for (uint32_t i = 0; i < n->stub_count && drop < PS_CHANGES_MAX; i++) {
        const struct ps_stub *s = n->stubs[i];
        if (s != old && (others > keep || s->at_us < before)) {
            others--;
            drop = i + 1;
        } else if (s != old) {
            break;
        }
    }
    return drop;
}

/* The first `drop` items but the one of that id. */
static void drop_items(struct ps_op *op, slice id)
{
    ensure(op->batch != NULL && op->drop <= op->node->stub_count);
    for (unsigned i = 0; i < op->drop; i++)
        if (!slice_eq(pubsub_items_stub_id(op->node->stubs[i]), id))
            ps_store_delete_item(op->batch, op->node, pubsub_items_stub_id(op->node->stubs[i]));
}

static void set_item(struct ps_op *op)
{
    struct ps_node *n = op->node;
    char id[33];
    uint64_t now = loop_wall_us(worker_loop(op->service->worker));
    if (n->stub_count > 0 && n->stubs[n->stub_count - 1]->at_us >= now)
        now = n->stubs[n->stub_count - 1]->at_us + 1; /* the order is that of publishing */
    op->item = (struct ps_item){
        .at_us = now, .id = op->req.item_id, .publisher = ps_from_bare(op), .xml = op->req.payload
    };
    if (op->item.id.len > 0)
        return;
    rand_hex(id, 16);
    op->item.id = slice_dup(op->tmp, slice_of(id));
}

/* Only its publisher or an owner can replace an item. */
static bool may_replace(const struct ps_op *op, const struct ps_actor *who,
                        const struct ps_stub *old)
{
    return old == NULL || who->affiliation == PS_OWNER || who->may_configure ||
           old->publisher == hash_keyed(op->item.publisher);
}

static enum ps_step put_item(struct ps_op *op, const struct ps_actor *who,
                             const struct ps_config *c)
{
    struct ps_node *n = op->node;
    struct ps_service *s = op->service;
    set_item(op);
    const struct ps_stub *old = ps_stub_find(n, op->item.id);
    if (!may_replace(op, who, old))
        return ps_fail(op, SE_FORBIDDEN, NULL, SLICE("the item is somebody else's"));
    if (!c->persist_items)
        return PS_COMMIT;
    op->drop = surplus(n, op->item.id, items_max(op, c) - 1, op->item.at_us);
    int64_t more = (int64_t)ps_item_bytes(&op->item) - (old == NULL ? 0 : old->bytes);
    for (unsigned i = 0; i < op->drop; i++)
        more -= n->stubs[i] == old ? 0 : n->stubs[i]->bytes;
    if (!ps_maker_has_room(n, more))
        return ps_no_room(op);
    if ((int64_t)s->bytes + more > setting_int(s->kind->bytes_max))
        return ps_fail(op, SE_POLICY_VIOLATION, NULL, SLICE("the limit of stored data is reached"));
    if (op->batch == NULL)
        op->batch = pubsub_items_write_batch(op);
    ps_store_item(op->batch, n, &op->item);
    drop_items(op, op->item.id);
    return PS_COMMIT;
}

/* All subscribers may be connected and read slowly: then there is a copy for each. */
static bool copies_fit(const struct ps_op *op)
{
    const struct ps_node *n = op->node;
    uint64_t bytes = (uint64_t)n->subscriber_count * op->req.payload.len;
    return !n->config.deliver_payloads || bytes < 1 << 20 || budget_allows(bytes);
}

static enum ps_step run_publish(struct ps_op *op)
{
    struct ps_node *n = op->node;
    struct ps_limits limits = ps_limits_of(op->service);
    struct ps_actor who = ps_actor_of(n, op->from);
    const struct ps_config *c = &n->config;
    enum ps_step step;
    if (n->nid == 0) {
        step = auto_create(op);
        c = &op->config;
    } else {
        struct ps_error e = ps_may_publish(c, &who);
        step = e.error != SE_NONE ? ps_fail_with(op, &e) : PS_COMMIT;
        if (step == PS_COMMIT && !copies_fit(op))
            step = ps_fail(op, SE_RESOURCE_CONSTRAINT, NULL,
                           SLICE("the server is short of memory for all copies of it"));
        if (step == PS_COMMIT && op->req.has_form && !ps_config_meets(c, &op->req.form, &limits))
            step = precondition(op);
    }
    if (step == PS_COMMIT)
        step = check_item(op, c);
    if (step != PS_COMMIT)
        return step;
    if (op->create) {
        op->batch = pubsub_items_write_batch(op);
        ps_node_begin(n, ps_from_bare(op), &op->config);
        ps_store_made(op->batch, n, &op->config);
    }
    step = op->req.has_item ? put_item(op, &who, c) : PS_COMMIT;
    if (step == PS_ANSWERED && op->create)
        ps_node_clear(n);
    return step;
}

static void answer_publish(struct ps_op *op)
{
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open(&x, "pubsub", NS_PUBSUB);
    xml_open_with(&x, "publish", NULL, "node", op->node->name);
    if (op->req.has_item) {
        xml_open_with(&x, "item", NULL, "id", op->item.id);
    }
    ps_answer_xml(op, &x);
}

static void apply_publish(struct ps_op *op)
{
    struct ps_node *n = op->node;
    bool keep = op->req.has_item && n->config.persist_items;
    ensure(n->nid != 0);
    if (keep) {
        ps_stubs_drop(n, op->drop, op->item.id);
        ps_stub_add(n, &op->item);
    }
    if (op->req.has_item)
        ps_keep_last(n, &op->item);
    /* First what the copies cost: who waits for the answer cannot send more before that is told. */
    ps_notify(op, PS_EVENT_ITEM, op->req.has_item ? &op->item : NULL, (slice){ 0 });
    answer_publish(op);
    if (op->req.has_item)
        ps_watches_run(op, &op->item);
}

/* Retracting (§7.2). */

static enum ps_step run_retract(struct ps_op *op)
{
    struct ps_node *n = op->node;
    struct ps_actor who = ps_actor_of(n, op->from);
    const struct ps_stub *stub = ps_stub_find(n, op->req.item_id);
    bool own = stub != NULL && stub->publisher == hash_keyed(ps_from_bare(op));
    struct ps_error e = ps_may_retract(&n->config, &who, own || stub == NULL);
    ensure(op->batch == NULL);
    if (e.error != SE_NONE)
        return ps_fail_with(op, &e);
    if (!n->config.persist_items)
        return ps_fail_with(op, &(struct ps_error){ .error = SE_FEATURE_NOT_IMPLEMENTED,
                                                    .condition = "unsupported",
                                                    .feature = "persistent-items" });
    if (stub == NULL)
        return ps_fail(op, SE_ITEM_NOT_FOUND, NULL, (slice){ 0 });
    op->batch = pubsub_items_write_batch(op);
    ps_store_delete_item(op->batch, n, op->req.item_id);
    return PS_COMMIT;
}

static void apply_retract(struct ps_op *op)
{
    struct ps_node *n = op->node;
    struct ps_item item = { .id = op->req.item_id };
    ps_stub_del(n, item.id);
    if (n->last != NULL && slice_eq(ps_last(n).id, item.id))
        ps_forget_last(n);
    ps_answer(op, (slice){ 0 });
    if (n->config.notify_retract || op->req.notify)
        ps_notify(op, PS_EVENT_RETRACT, &item, (slice){ 0 });
    ps_watches_run(op, NULL);
}

/* Purging (§8.5). */

static enum ps_step run_purge(struct ps_op *op)
{
    struct ps_node *n = op->node;
    struct ps_actor who = ps_actor_of(n, op->from);
    struct ps_error e = ps_may_own(&who);
    ensure(op->batch == NULL);
    if (e.error != SE_NONE)
        return ps_fail_with(op, &e);
    if (!n->config.persist_items)
        return ps_fail_with(op, &(struct ps_error){ .error = SE_FEATURE_NOT_IMPLEMENTED,
                                                    .condition = "unsupported",
                                                    .feature = "persistent-items" });
    op->batch = pubsub_items_write_batch(op);
    ps_store_purge(op->batch, n);
    return PS_COMMIT;
}

static void apply_purge(struct ps_op *op)
{
    struct ps_node *n = op->node;
    ps_stubs_drop(n, n->stub_count, (slice){ 0 });
    ps_keep_last(n, NULL);
    ps_answer(op, (slice){ 0 });
    if (n->config.notify_retract)
        ps_notify(op, PS_EVENT_PURGE, NULL, (slice){ 0 });
    ps_watches_run(op, NULL);
}

/* Retrieving (§6.5): by id, or a page, the newest first. */

struct page {
    const struct ps_stub **stub; /* newest first */
    size_t count;
    size_t from, len;
};

static size_t pubsub_items_place_of(const struct page *p, slice id)
{
    for (size_t i = 0; i < p->count; i++)
        if (slice_eq(pubsub_items_stub_id(p->stub[i]), id))
            return i;
    return p->count;
}

static size_t answer_bytes(const struct ps_op *op, size_t near)
{
    bool is_near = node_serves(worker_node(op->service->worker), jid_split(op->from).domain);
    return is_near ? near : PS_FAR_BYTES;
}

/* As much of it as an answer may have; at least one item. */
static void bound_page(struct page *p, size_t most)
{
    size_t bytes = 0, n = 0;
    while (n < p->len && (n == 0 || bytes + p->stub[p->from + n]->bytes <= most))
        bytes += p->stub[p->from + n++]->bytes;
    p->len = n;
}

static void pubsub_items_gather(struct ps_op *op, struct page *p)
{
    struct ps_node *n = op->node;
    uint64_t before = ps_expired_before(n, loop_wall_us(worker_loop(op->service->worker)));
    p->stub = arena_alloc(op->tmp, n->stub_count + 1, sizeof *p->stub);
    for (uint32_t i = n->stub_count; i > 0; i--)
        if (n->stubs[i - 1]->at_us >= before)
            p->stub[p->count++] = n->stubs[i - 1];
}

static bool choose_page(struct ps_op *op, struct page *p)
{
    struct ps_request *r = &op->req;
    size_t max = PS_CHANGES_MAX;
    pubsub_items_gather(op, p);
    if (r->has_page) {
        if (r->max_items < p->count)
            p->count = r->max_items; /* §6.5.7: of the newest so many */
        if (!rsm_window(&r->page, p->count, pubsub_items_place_of(p, r->page.id), max, &p->from,
                        &p->len))
            return false;
    } else {
        p->len = p->count < max ? p->count : max;
        if (p->len > r->max_items)
            p->len = r->max_items;
    }
    bound_page(p, answer_bytes(op, PS_PAGE_BYTES));
    op->total = (uint32_t)p->count;
    op->first = (uint32_t)p->from;
    op->paged = r->has_page || p->len < (p->count < r->max_items ? p->count : r->max_items);
    return true;
}

static void add_read(struct ps_op *op, slice id)
{
    ensure(op->batch != NULL && op->node->nid != 0);
    STORE_ADD(op->batch, &ps_stmt_item, STORE_ANY_ROWS, SV_I(op->service->owner),
              SV_I(op->node->nid), SV_T(id));
}

/* The publisher is not named at an account's own service. It would disclose the address to users
 * who ask from a room that hides addresses (XEP-0045 §7.2.4). */
static void pubsub_items_write_item(struct xml_write *x, const struct ps_service *s,
                                    const struct ps_item *item)
{
    xml_open_with(x, "item", NULL, "id", item->id);
    if (!(s->account != NULL && slice_eq(item->publisher, s->jid)))
        xml_attr_some(x, "publisher", item->publisher);
    xml_raw(x, item->xml);
    xml_close(x);
}

static void open_items(struct xml_write *x, struct buf *out, slice node)
{
    xml_begin(x, out, XML_STANZA_MAX);
    xml_open(x, "pubsub", NS_PUBSUB);
    xml_open_with(x, "items", NULL, "node", node);
}

static enum ps_step pubsub_items_answer_none(struct ps_op *op)
{
    struct buf out;
    struct xml_write x;
    open_items(&x, &out, op->req.node);
    xml_close(&x);
    if (op->paged)
        rsm_write(&x, &(struct rsm_page){ .index = -1, .count = op->total });
    return ps_answer_xml(op, &x);
}

/* A node that keeps nothing still has its last item, while the server runs. */
static enum ps_step answer_passing(struct ps_op *op)
{
    struct buf out;
    struct xml_write x;
    open_items(&x, &out, op->req.node);
    if (op->node->last != NULL) {
        struct ps_item item = ps_last(op->node);
        pubsub_items_write_item(&x, op->service, &item);
    }
    return ps_answer_xml(op, &x);
}

static enum ps_step by_ids(struct ps_op *op)
{
    size_t bytes = 0, most = answer_bytes(op, PS_READ_BYTES_MAX);
    bool one = op->req.id_count == 1;
    uint64_t before = ps_expired_before(op->node, loop_wall_us(worker_loop(op->service->worker)));
    ensure(op->batch != NULL);
    for (unsigned i = 0; i < op->req.id_count; i++) {
        const struct ps_stub *stub = ps_stub_find(op->node, op->req.ids[i]);
        if (stub != NULL && stub->at_us < before)
            stub = NULL;
        bytes += stub == NULL ? 0 : stub->bytes;
        if (stub != NULL && (one || bytes <= most))
            add_read(op, op->req.ids[i]);
    }
    if (!one && bytes > most)
        return ps_fail(op, SE_POLICY_VIOLATION, NULL, SLICE("ask for fewer items at once"));
    if (store_stmt_count(op->batch) == 0)
        return ps_fail(op, SE_ITEM_NOT_FOUND, NULL, (slice){ 0 });
    return PS_READ;
}

static enum ps_step run_items(struct ps_op *op)
{
    struct ps_node *n = op->node;
    struct ps_actor who = ps_actor_of(n, op->from);
    struct ps_error e = ps_may_read(&n->config, &who);
    struct page p = { 0 };
    if (e.error != SE_NONE)
        return ps_fail_with(op, &e);
    if (op->req.subid.len > 0) {
        const struct ps_subscriber *sub = ps_subscriber(n, ps_from_bare(op));
        if (sub == NULL || !slice_is(op->req.subid, sub->subid))
            return ps_fail(op, SE_NOT_ACCEPTABLE, "invalid-subid", (slice){ 0 });
    }
    if (!n->config.persist_items)
        return answer_passing(op);
    op->batch = read_batch(op);
    if (op->req.id_count > 0)
        return by_ids(op);
    if (!choose_page(op, &p))
        return ps_fail(op, SE_ITEM_NOT_FOUND, NULL, (slice){ 0 });
    for (size_t i = 0; i < p.len; i++)
        add_read(op, pubsub_items_stub_id(p.stub[p.from + i]));
    return p.len > 0 ? PS_READ : pubsub_items_answer_none(op);
}

static void found_items(struct ps_op *op, const struct store_batch *b)
{
    struct buf out;
    struct xml_write x;
    struct rsm_page page = { .index = op->first, .count = op->total };
    open_items(&x, &out, op->req.node);
    for (unsigned i = 0; i < store_stmt_count(b); i++) {
        struct ps_item item;
        if (store_row_count(b, i) == 0)
            continue; /* removed by a crash of another kind: never seen */
        ps_read_item(b, i, 0, &item);
        pubsub_items_write_item(&x, op->service, &item);
        if (page.first.len == 0)
            page.first = item.id;
        page.last = item.id;
    }
    xml_close(&x);
    if (op->paged)
        rsm_write(&x, &page);
    ps_answer_xml(op, &x);
}

const struct ps_verb_row ps_item_verbs[] = {
    { PS_PUBLISH, true, false, true, run_publish, apply_publish, NULL },
    { PS_RETRACT, true, true, true, run_retract, apply_retract, NULL },
    { PS_PURGE, true, true, true, run_purge, apply_purge, NULL },
    { PS_ITEMS, true, true, true, run_items, NULL, found_items },
    { 0 },
};

/* The last item again (§6.1.7, XEP-0163 §4.3.4). */

struct give {
    struct ps_service *service;
    int64_t nid;
    uint32_t changes, tries;
    slice to, node;
    char text[];
};

static void give_item(struct ps_node *n, const struct ps_item *item, slice to)
{
    if (item->at_us >= ps_expired_before(n, loop_wall_us(worker_loop(n->service->worker))))
        ps_send_last(n, item, to);
}

static void read_last(struct ps_node *n, slice to, uint32_t tries);

enum { READS_MAX = 3 };

/* What was read may have been retracted, or followed by another, before it arrived here. */
static void give_found(struct ps_node *n, const struct give *g, const struct store_batch *b)
{
    struct ps_item item;
    bool any = store_row_count(b, 0) > 0;
    ensure(n->nid == g->nid);
    if (n->last_known) {
        ps_give_last(n, g->to);
    } else if (n->changes != g->changes) {
        if (g->tries < READS_MAX) /* else it changes all the time, and is told so */
            read_last(n, g->to, g->tries);
    } else {
        if (any)
            ps_read_item(b, 0, 0, &item);
        if (!n->busy)
            ps_keep_last(n, any ? &item : NULL);
        if (any)
            give_item(n, &item, g->to);
    }
}

static void pubsub_items_last_found(void *arg, enum store_result result,
                                    const struct store_batch *b)
{
    struct give *g = arg;
    struct ps_service *s = g->service;
    struct ps_node *n = s->actor.ended ? NULL : ps_node_find(s, g->node);
    ensure(worker_is_here(s->worker));
    if (result == STORE_OK && n != NULL && n->nid == g->nid)
        give_found(n, g, b);
    mem_free(&g);
    ps_service_unpin(s);
}

static void read_last(struct ps_node *n, slice to, uint32_t tries)
{
    struct ps_service *s = n->service;
    struct give *g = mem_alloc(sizeof *g + to.len + n->name.len);
    struct store_batch *b = store_read(worker_store(s->worker), (uint64_t)s->owner);
    *g = (struct give){ .service = s,
                        .nid = n->nid,
                        .changes = n->changes,
                        .tries = tries + 1,
                        .to = { g->text, to.len },
                        .node = { g->text + to.len, n->name.len } };
    memcpy(g->text, to.ptr, to.len);
    memcpy(g->text + to.len, n->name.ptr, n->name.len);
    ps_service_pin(s);
    STORE_ADD(b, &ps_stmt_last, STORE_ANY_ROWS, SV_I(s->owner), SV_I(n->nid));
    store_submit(b, worker_loop(s->worker), 0, pubsub_items_last_found, g);
}

void ps_give_last(struct ps_node *n, slice to)
{
    if (!n->config.deliver_notifications)
        return;
    if (!n->last_known && n->config.persist_items) {
        read_last(n, to, 0);
    } else if (n->last != NULL) {
        struct ps_item item = ps_last(n);
        give_item(n, &item, to);
    }
}
