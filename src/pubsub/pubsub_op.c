#include "pubsub/pubsub_op.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "home/here.h"
#include "pubsub/pubsub.h"
#include "pubsub/pubsub_access.h"
#include "pubsub/pubsub_config.h"
#include "pubsub/pubsub_contacts.h"
#include "pubsub/pubsub_items.h"
#include "pubsub/pubsub_model.h"
#include "pubsub/pubsub_nodes.h"
#include "pubsub/pubsub_request.h"
#include "pubsub/pubsub_store.h"
#include "pubsub/pubsub_subs.h"
#include "session/session_input.h"
#include "store/store.h"
#include "talk/iq.h"
#include "xmpp/ns.h"

static const struct ps_verb_row *pubsub_op_row_of(enum ps_verb verb)
{
    static const struct ps_verb_row *const tables[] = { ps_item_verbs, ps_node_verbs,
                                                        ps_subscription_verbs };
    for (unsigned t = 0; t < sizeof tables / sizeof tables[0]; t++)
        for (const struct ps_verb_row *r = tables[t]; r->run != NULL; r++)
            if (r->verb == verb)
                return r;
    return NULL;
}

struct ps_limits ps_limits_of(const struct ps_service *s)
{
    return (struct ps_limits){ setting_int(s->kind->items_max), setting_int(s->kind->item_bytes) };
}

void ps_charge_look(const struct ps_service *s, slice client)
{
    session_charge(s->worker, client, (uint64_t)s->nodes.count * PS_LOOK_BYTES);
}

slice ps_from_bare(const struct ps_op *op) { return jid_bare_of(op->from); }

/* Answers. */

static void error_xml(struct buf *out, const struct ps_error *e)
{
    struct xml_write x;
    xml_begin(&x, out, XML_PART_MAX);
    if (e->condition == NULL)
        return;
    xml_open(&x, e->condition, NS_PUBSUB_ERRORS);
    xml_attr_some(&x, "feature", slice_of(e->feature));
    xml_close(&x);
}

enum ps_step ps_fail_with(struct ps_op *op, const struct ps_error *e)
{
    if (op->iq != NULL) {
        struct buf xml;
        error_xml(&xml, e);
        iq_error_with(op->iq, e->error, e->text, buf_fit(&xml));
        buf_fini(&xml);
    } else if (op->call != NULL) {
        op->call(op, e->error);
    } else if (op->done != NULL) {
        op->done(op->arg, e->error);
    }
    op->iq = NULL;
    op->done = NULL;
    return PS_ANSWERED;
}

enum ps_step ps_fail(struct ps_op *op, enum stanza_error e, const char *condition, slice text)
{
    return ps_fail_with(op, &(struct ps_error){ .error = e, .condition = condition, .text = text });
}

enum ps_step ps_no_room(struct ps_op *op)
{
    return ps_fail(op, SE_POLICY_VIOLATION, NULL,
                   SLICE("the limit of what one user may store is reached"));
}

enum ps_step ps_answer(struct ps_op *op, slice payload)
{
    if (op->iq != NULL)
        iq_result(op->iq, payload);
    else if (op->done != NULL)
        op->done(op->arg, SE_NONE);
    op->iq = NULL;
    op->done = NULL;
    return PS_ANSWERED;
}

enum ps_step ps_answer_buf(struct ps_op *op, struct buf *out)
{
    enum ps_step step;
    if (out->overflow)
        step = ps_fail(op, SE_RESOURCE_CONSTRAINT, NULL, SLICE("the answer would be too long"));
    else
        step = ps_answer(op, buf_slice(out));
    buf_fini(out);
    return step;
}

/* Life of an operation. One of the server itself pins the account as a held IQ does. */

static struct ps_op *op_create(struct ps_service *s, struct iq *held)
{
    struct ps_op *op = mem_new(struct ps_op);
    ensure(worker_is_here(s->worker) && (held == NULL || held->held));
    op->service = s;
    op->iq = held;
    op->tmp = arena_create(1024);
    op->from = s->jid;
    if (held != NULL) { /* what was parsed borrows it, also behind the answer */
        op->st = stanza_ref(held->st);
        op->from = stanza_from(op->st);
    }
    ps_service_pin(s);
    return op;
}

/* It may take service and node away. NULL: fine. */
static void pubsub_op_free(struct ps_op *op)
{
    if (op == NULL)
        return;
    struct ps_service *s = op->service;
    store_drop(&op->batch);
    ps_contacts_free(&op->contacts);
    stanza_unref(&op->st);
    arena_destroy(&op->tmp);
    mem_free(&op);
    ps_service_unpin(s);
}

static void pubsub_op_fail(struct ps_op *op, enum err e)
{
    ps_fail(op, stanza_error_of(e), NULL, (slice){ 0 });
}

/* A read has left its queue: the node may be gone by now, the service not. */
static void pubsub_op_read_done(void *arg, enum store_result result, const struct store_batch *b)
{
    struct ps_op *op = arg;
    ensure(worker_is_here(op->service->worker));
    if (result != STORE_OK)
        pubsub_op_fail(op, err_of_store(result));
    else
        pubsub_op_row_of(op->req.verb)->found(op, b);
    pubsub_op_free(op);
}

static void pubsub_op_submit_read(struct ps_op *op)
{
    struct store_batch *b = op->batch;
    ensure(op->batch != NULL);
    op->batch = NULL;
    op->node = NULL;
    store_submit(b, worker_loop(op->service->worker), 0, pubsub_op_read_done, op);
}

static struct ps_op *pubsub_op_pop(struct ps_node *n)
{
    struct ps_op *op = n->ops;
    ensure(op != NULL);
    n->ops = op->next;
    if (n->ops == NULL)
        n->ops_tail = &n->ops;
    return op;
}

static void node_run(struct ps_node *n);

enum { INDEX_PAGE = 4000 }; /* rows of a batch: see STORE_RESULT_BYTES_MAX */

static void load_index(struct ps_node *n, slice after);

static void keep_index(struct ps_node *n, const struct store_batch *b)
{
    for (uint32_t i = 0; i < store_row_count(b, 0); i++) {
        struct ps_item item = { .id = store_text(b, 0, i, 0),
                                .at_us = (uint64_t)store_int(b, 0, i, 1),
                                .publisher = store_text(b, 0, i, 2) };
        int64_t bytes = store_int(b, 0, i, 3);
        if (item.id.len > 0 && item.id.len <= PS_ID_MAX && bytes >= 0 && bytes <= UINT32_MAX)
            ps_stub_load(n, &item, (uint32_t)bytes);
    }
}

static void index_loaded(void *arg, enum store_result result, const struct store_batch *b)
{
    struct ps_node *n = arg;
    struct ps_op *failed = NULL;
    uint32_t rows = store_row_count(b, 0);
    n->busy = false;
    if (result == STORE_OK && n->nid != 0) {
        keep_index(n, b);
        if (rows == INDEX_PAGE) {
            load_index(n, store_text(b, 0, rows - 1, 0));
            return;
        }
        ps_stubs_loaded(n);
        n->indexed = true;
    } else {
        ps_stubs_clear(n); /* of earlier pages */
        failed = n->ops == NULL ? NULL : pubsub_op_pop(n);
        if (failed != NULL)
            pubsub_op_fail(failed, err_of_store(result));
    }
    node_run(n);
    pubsub_op_free(failed);
}

/* The items whose ids come after this one, in the order of the database. */
static void load_index(struct ps_node *n, slice after)
{
    struct ps_service *s = n->service;
    struct store_batch *b = store_read(worker_store(s->worker), (uint64_t)s->owner);
    ensure(!n->busy && n->nid != 0);
    n->busy = true;
    STORE_ADD(b, &ps_stmt_index_page, STORE_ANY_ROWS, SV_I(s->owner), SV_I(n->nid), SV_T(after),
              SV_I(INDEX_PAGE));
    store_submit(b, worker_loop(s->worker), 0, index_loaded, n);
}

static void pubsub_op_apply(struct ps_node *n, struct ps_op *op, const struct ps_verb_row *row)
{
    n->changes++;
    n->contacts = op->contacts;
    row->apply(op);
    n->contacts = NULL;
}

static void pubsub_op_ended(struct ps_node *n, enum store_result result)
{
    struct ps_op *op = pubsub_op_pop(n);
    ensure(n->busy);
    if (result != STORE_OK && op->create)
        ps_node_clear(n);
    if (result != STORE_OK)
        pubsub_op_fail(op, err_of_store(result));
    else if (n->service->actor.ended)
        ps_fail(op, SE_ITEM_NOT_FOUND, NULL, (slice){ 0 });
    else
        pubsub_op_apply(n, op, pubsub_op_row_of(op->req.verb));
    n->busy = false; /* not earlier: consequences of a change must come after it */
    node_run(n);
    pubsub_op_free(op);
}

/* Contacts of the owners: whether the one who asks is one, before the request runs; which
 * subscribers are, before they are notified. If an owner's home does not answer, the request is
 * refused, and subscribers are taken for strangers. */

static void asker_known(void *arg, enum stanza_error e)
{
    struct ps_node *n = arg;
    struct ps_op *failed = NULL;
    ensure(n->busy && n->ops != NULL);
    n->busy = false;
    if (e != SE_NONE) {
        failed = pubsub_op_pop(n);
        ps_fail(failed, e, NULL, SLICE("an owner's contact list cannot be read now"));
    }
    node_run(n);
    pubsub_op_free(failed);
}

/* true: the homes are asked, and asker_known() comes. */
static bool ask_about_asker(struct ps_node *n, struct ps_op *op)
{
    enum ps_verb verb = op->req.verb;
    bool depends = verb == PS_SUBSCRIBE || verb == PS_ITEMS ||
                   (verb == PS_PUBLISH && n->config.publish == PS_SUBSCRIBERS);
    if (op->contacts != NULL || !depends || n->nid == 0 || !ps_contacts_needed(n, &n->config) ||
        ps_affiliate(n, ps_from_bare(op)) != NULL)
        return false;
    op->contacts = ps_contacts_create(1);
    ps_contacts_add(op->contacts, op->from);
    n->busy = true;
    ps_contacts_ask(op->contacts, n, &n->config, asker_known, n);
    return true;
}

static void subscribers_known(void *arg, enum stanza_error e)
{
    (void)e;
    pubsub_op_ended(arg, STORE_OK);
}

/* true: subscribers_known() comes. */
static bool ask_about_subscribers(struct ps_node *n, struct ps_op *op)
{
    enum ps_verb verb = op->req.verb;
    const struct ps_config *c = verb == PS_CONFIGURE_SET ? &op->config : &n->config;
    const struct ps_subscriber *s = NULL;
    bool notifies = verb == PS_PUBLISH || verb == PS_RETRACT || verb == PS_PURGE ||
                    verb == PS_DELETE || verb == PS_CONFIGURE_SET || verb == PS_FORGET;
    if (!notifies || n->subscriber_count == 0 || !ps_contacts_needed(n, c))
        return false;
    if (verb == PS_CONFIGURE_SET)
        ps_sharing_apply(n, c, ps_from_bare(op)); /* who is told depends on it */
    ps_contacts_free(&op->contacts);
    if (verb == PS_FORGET) { /* the owner to ask is gone, and with it perhaps the node */
        op->contacts = ps_contacts_all();
        return false;
    }
    op->contacts = ps_contacts_create(n->subscriber_count);
    for (uint32_t i = 0; (s = ps_subscriber_next(n, &i, s)) != NULL;)
        ps_contacts_add(op->contacts, (slice){ s->jid, s->len });
    n->busy = true;
    ps_contacts_ask(op->contacts, n, c, subscribers_known, n);
    return true;
}

static void pubsub_op_committed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct ps_node *n = arg;
    (void)b;
    ensure(n->busy);
    if (result != STORE_OK || n->service->actor.ended || !ask_about_subscribers(n, n->ops))
        pubsub_op_ended(n, result);
}

static enum ps_step pubsub_op_run(struct ps_node *n, struct ps_op *op,
                                  const struct ps_verb_row *row)
{
    n->contacts = op->contacts;
    enum ps_step step = row->run(op);
    n->contacts = NULL;
    return step;
}

/* Runs the first request of the queue. false: it waits for the store, or for homes. */
static bool pubsub_op_step(struct ps_node *n, struct ps_op *op, const struct ps_verb_row *row)
{
    const struct account *a = n->service->account;
    bool leaving = n->service->actor.ended || (a != NULL && a->removing);
    if (leaving || (row->exists && n->nid == 0)) {
        ps_fail(op, SE_ITEM_NOT_FOUND, NULL, (slice){ 0 });
    } else if (row->index && n->nid != 0 && !n->indexed) {
        load_index(n, SLICE(""));
        return false;
    } else if (ask_about_asker(n, op)) {
        return false;
    } else {
        switch (pubsub_op_run(n, op, row)) {
        case PS_COMMIT:
            if (op->batch != NULL) {
                struct store_batch *b = op->batch;
                op->batch = NULL;
                n->busy = true;
                store_submit(b, worker_loop(n->service->worker), STORE_UNTIL_DONE,
                             pubsub_op_committed, n);
                return false;
            }
            if (ask_about_subscribers(n, op))
                return false;
            pubsub_op_apply(n, op, row); /* nothing to store */
            break;
        case PS_READ:
            pubsub_op_pop(n);
            pubsub_op_submit_read(op);
            return true;
        case PS_ANSWERED:
            break;
        }
    }
    pubsub_op_pop(n);
    pubsub_op_free(op);
    return true;
}

static void node_run(struct ps_node *n)
{
    struct ps_service *s = n->service;
    ps_service_pin(s); /* the last request must not take it away */
    while (!n->busy && n->ops != NULL &&
           pubsub_op_step(n, n->ops, pubsub_op_row_of(n->ops->req.verb)))
        ;
    ps_node_release(n);
    ps_service_unpin(s);
}

static void enqueue(struct ps_op *op, struct ps_node *n)
{
    op->node = n;
    op->next = NULL;
    *n->ops_tail = op;
    n->ops_tail = &op->next;
    if (!n->busy && n->ops == op)
        node_run(n);
}

static void pubsub_op_start(struct ps_op *op)
{
    const struct ps_verb_row *row;
    if (op->call != NULL) {
        op->call(op, SE_NONE);
        pubsub_op_free(op);
        return;
    }
    row = pubsub_op_row_of(op->req.verb);
    if (row->node) {
        enqueue(op, ps_node_get(op->service, op->req.node));
        return;
    }
    row->run(op); /* what is about the whole service is answered from memory */
    pubsub_op_free(op);
}

/* Waiting for the service. */

void ps_request_call(struct actor *a, actor_any_fn *fn, enum err e, void *op)
{
    (void)a, (void)fn;
    if (e == OK) {
        pubsub_op_start(op);
        return;
    }
    pubsub_op_fail(op, e);
    pubsub_op_free(op);
}

static void pubsub_op_enter(struct ps_op *op)
{
    struct actor *a = &op->service->actor;
    actor_renew(a);
    if (!actor_waits(a)) {
        pubsub_op_start(op);
    } else if (!actor_wait(
                   a, &(struct actor_item){ .fn = (actor_any_fn *)pubsub_op_start, .arg = op })) {
        ps_fail(op, SE_RESOURCE_CONSTRAINT, NULL, SLICE("too many requests wait"));
        pubsub_op_free(op);
    }
}

/* An instant node (§8.1.2) gets its name before it has a place in a queue. */
static void name_node(struct ps_op *op)
{
    char name[33];
    if (op->req.verb != PS_CREATE || op->req.node.len > 0)
        return;
    rand_hex(name, 16);
    op->req.node = slice_dup(op->tmp, slice_of(name));
}

void ps_request(struct iq *iq, struct ps_service *s)
{
    struct ps_error e;
    ensure(worker_is_here(s->worker));
    if (s->actor.pins >= PS_OPS_MAX) {
        iq_error(iq, SE_RESOURCE_CONSTRAINT, SLICE("too many requests wait"));
        return;
    }
    struct ps_op *op = op_create(s, iq_hold(iq));
    if (ps_request_parse(&op->req, &op->iq->payload, (enum stanza_type)iq->st->type, op->tmp, &e)) {
        name_node(op);
        pubsub_op_enter(op);
    } else {
        ps_fail_with(op, &e);
        pubsub_op_free(op);
    }
}

void ps_when_ready(struct ps_service *s, ps_call_fn *fn, void *arg)
{
    struct ps_op *op = op_create(s, NULL);
    op->call = fn;
    op->arg = arg;
    pubsub_op_enter(op);
}

static void request_text(struct ps_op *op, slice pubsub_xml)
{
    struct ps_error e = { .error = SE_BAD_REQUEST };
    struct elem root;
    slice text = slice_dup(op->tmp, pubsub_xml);
    if (elem_parse(&root, text, SLICE(NS_CLIENT)) &&
        ps_request_parse(&op->req, &root, TYPE_SET, op->tmp, &e)) {
        pubsub_op_enter(op);
    } else {
        ps_fail_with(op, &e);
        pubsub_op_free(op);
    }
}

void ps_own_request(struct ps_service *s, slice pubsub_xml, ps_own_fn *done, void *arg)
{
    struct ps_op *op = op_create(s, NULL);
    op->done = done;
    op->arg = arg;
    request_text(op, pubsub_xml);
}

void ps_request_from(struct ps_service *s, slice from, slice pubsub_xml)
{
    struct ps_op *op = op_create(s, NULL);
    op->from = slice_dup(op->tmp, from);
    request_text(op, pubsub_xml);
}

void ps_node_request(struct ps_service *s, enum ps_verb verb, slice node, slice from)
{
    struct ps_op *op = op_create(s, NULL);
    op->from = slice_dup(op->tmp, from);
    op->req.verb = verb;
    op->req.node = slice_dup(op->tmp, node);
    pubsub_op_enter(op);
}
