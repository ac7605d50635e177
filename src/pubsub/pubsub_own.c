#include "pubsub/pubsub_own.h"
#include "account/account.h"
#include "account/guest.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "home/here.h"
#include "pubsub/pubsub.h"
#include "pubsub/pubsub_access.h"
#include "pubsub/pubsub_contacts.h"
#include "pubsub/pubsub_model.h"
#include "pubsub/pubsub_op.h"
#include "pubsub/pubsub_store.h"
#include "store/store.h"

static const struct ps_accounts *accounts; /* NULL: accounts have no nodes */

void ps_accounts_are(const struct ps_accounts *a) { accounts = a; }

const struct ps_service_kind *ps_accounts_kind(void)
{
    return accounts == NULL ? NULL : accounts->kind;
}

void ps_own(struct account *a, slice pubsub_xml, ps_own_fn *done, void *arg)
{
    bool guest = account_is_guest(a);     /* nothing of it is kept */
    bool there = a->state == ACTOR_READY; /* else deleted or disabled while this was under way */
    ensure(account_here(a));
    if (accounts != NULL && there && !guest)
        ps_own_request(accounts->make(a), pubsub_xml, done, arg);
    else if (done != NULL)
        done(arg, guest ? SE_NOT_ALLOWED : SE_SERVICE_UNAVAILABLE);
}

void ps_own_buf(struct account *a, struct buf *pubsub_xml, ps_own_fn *done, void *arg)
{
    if (!pubsub_xml->overflow)
        ps_own(a, buf_slice(pubsub_xml), done, arg);
    else if (done != NULL)
        done(arg, SE_RESOURCE_CONSTRAINT);
    buf_fini(pubsub_xml);
}

struct own_items {
    struct account *account; /* pinned */
    ps_items_fn *done;
    void *arg;
    slice node, reader;
    char text[];
};

static void own_items_end(struct own_items *o, enum stanza_error e, const struct ps_item *items,
                          unsigned count)
{
    struct account *a = o->account;
    o->done(o->arg, e, items, count);
    mem_free(&o);
    account_unpin(a);
}

static void own_items_found(void *arg, enum store_result result, const struct store_batch *b)
{
    struct own_items *o = arg;
    if (result != STORE_OK) {
        own_items_end(o, stanza_error_of(err_of_store(result)), NULL, 0);
        return;
    }
    uint32_t count = store_row_count(b, 0);
    struct ps_item *items =
        arena_new(loop_scratch(worker_loop(o->account->worker)), struct ps_item, count + 1);
    for (uint32_t i = 0; i < count; i++)
        ps_read_item(b, 0, i, &items[i]);
    own_items_end(o, SE_NONE, items, count);
}

static void own_items_ready(struct ps_op *op, enum stanza_error e)
{
    struct own_items *o = op->arg;
    const struct ps_node *n = e == SE_NONE ? ps_node_find(op->service, o->node) : NULL;
    if (n != NULL && o->reader.len > 0) {
        struct ps_actor who = ps_actor_of(n, o->reader);
        if (ps_may_read(&n->config, &who).error != SE_NONE)
            n = NULL;
    }
    if (n == NULL) {
        own_items_end(o, e, NULL, 0);
        return;
    }
    struct store_batch *b = store_read(worker_store(o->account->worker), account_lane(o->account));
    STORE_ADD(b, &ps_stmt_items, STORE_ANY_ROWS, SV_I(o->account->id), SV_I(n->nid));
    store_submit(b, worker_loop(o->account->worker), 0, own_items_found, o);
}

void ps_own_items(struct account *a, slice node, slice reader, ps_items_fn *done, void *arg)
{
    ensure(account_here(a) && done != NULL);
    if (accounts == NULL || !accounts->has(a)) {
        done(arg, SE_NONE, NULL, 0);
        return;
    }
    struct own_items *o = mem_alloc(sizeof *o + node.len + reader.len);
    *o = (struct own_items){ .account = a,
                             .done = done,
                             .arg = arg,
                             .node = { o->text, node.len },
                             .reader = { o->text + node.len, reader.len } };
    memcpy(o->text, node.ptr, node.len);
    if (reader.len > 0)
        memcpy(o->text + node.len, reader.ptr, reader.len);
    account_pin(a);
    ps_when_ready(accounts->make(a), own_items_ready, o);
}
