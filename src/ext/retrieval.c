/* retrieval: Flexible Offline Message Retrieval (XEP-0013): a client looks at what waits for its
 * account, takes the messages it wants, and removes them, instead of being sent them all with its
 * first presence. What waits is what is open in the mailbox (talk/mailbox.h); removed from there, a
 * message is still in the archive.
 *
 * The node of a message is its archive id: 16 digits, so that nodes sort as the messages do.
 *
 * Limits: ITEMS_MAX nodes in a request, LISTED_MAX messages in a list or a fetch, the oldest. */
#include "account/account.h"
#include "archive/archive.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "home/here.h"
#include "session/copies.h"
#include "session/session_queue.h"
#include "talk/offline.h"
#include "xmpp/form.h"
#include "xmpp/ns.h"

enum { ITEMS_MAX = 256, LISTED_MAX = 5000, NODE_LEN = 16 };

/* The begin of a stanza has its sender. */
static struct store_stmt read_headers = {
    .name = "retrieval.headers",
    .sql = "SELECT e.id, substr(m.stanza, 1, 4096) FROM entry e JOIN message m ON m.id = e.msg"
           " WHERE e.owner = $1 AND e.id > $2 AND e.flags % 2 = 1 ORDER BY e.id LIMIT $3",
    .params = "iii",
    .cols = "it",
};
static const struct store_migration migrations[] = { { 0 } };
static const struct store_schema schema = {
    .feature = "retrieval",
    .migrations = migrations,
    .stmts = (struct store_stmt *const[]){ &read_headers, NULL },
};

static char *node_of(struct arena *tmp, uint64_t id)
{
    return arena_printf(tmp, "%016llu", (unsigned long long)id);
}

static bool read_node(slice node, uint64_t *id)
{
    int64_t n;
    if (node.len != NODE_LEN || !slice_int(node, &n) || n <= 0)
        return false;
    *id = (uint64_t)n;
    return true;
}

/* Of the owner's own requests, the session that asks. From then on it is sent no flood (§2.2). */
static struct session *collector(struct iq *iq)
{
    if (iq->target != IQ_TO_SELF) {
        iq_error(iq, SE_FORBIDDEN, (slice){ 0 });
        return NULL;
    }
    if (iq->session == NULL) {
        iq_error(iq, SE_RECIPIENT_UNAVAILABLE, (slice){ 0 });
        return NULL;
    }
    offline_collect(iq->session);
    return iq->session;
}

/* The number of messages (§2.2). */
static void retrieval_answer_info(struct iq *iq)
{
    struct buf out;
    struct xml_write x;
    int64_t count = 0;
    for (uint64_t id = 0; (id = mailbox_next_open(iq->account, id)) != 0;)
        count++;
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open_with(&x, "query", NS_DISCO_INFO, "node", SLICE(NS_OFFLINE));
    xml_raw(&x, SLICE("<identity category='automation' type='message-list'/>"
                      "<feature var='" NS_OFFLINE "'/>"));
    form_open(&x, FORM_RESULT, NS_OFFLINE);
    form_put_int(&x, "number_of_messages", count);
    form_close(&x);
    iq_result_xml(iq, &x);
}

/* The value of the first attribute, as stanza_store() writes it. */
static slice sender_of(slice stanza, struct arena *tmp)
{
    static const slice begin = SLICE_INIT("<message from='");
    slice from, rest;
    if (!slice_starts(stanza, begin) ||
        !slice_cut(slice_from(stanza, begin.len), '\'', &from, &rest))
        return (slice){ 0 };
    return xml_unescape_attr(from, tmp);
}

/* Headers (§2.3). */
static void headers_read(void *arg, enum store_result r, const struct store_batch *b)
{
    struct iq *iq = arg;
    struct buf out;
    struct xml_write x;
    ensure(iq->held && iq->account != NULL);
    if (r != STORE_OK) {
        iq_error(iq, stanza_error_of(err_of_store(r)), (slice){ 0 });
        return;
    }
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open_with(&x, "query", NS_DISCO_ITEMS, "node", SLICE(NS_OFFLINE));
    for (uint32_t i = 0; i < store_row_count(b, 0); i++) {
        uint64_t id = (uint64_t)store_int(b, 0, i, 0);
        if (mailbox_state(iq->account, id) != ENTRY_OPEN)
            continue;
        xml_open_with(&x, "item", NULL, "jid", iq->account->jid);
        xml_attr(&x, "node", slice_of(node_of(iq->tmp, id)));
        xml_attr(&x, "name", sender_of(store_text(b, 0, i, 1), iq->tmp));
        xml_close(&x);
    }
    iq_result_xml(iq, &x);
}

static void answer_items(struct iq *iq)
{
    struct account *a = iq->account;
    struct iq *held = iq_hold(iq);
    struct store_batch *b = store_read(worker_store(a->worker), account_lane(a));
    store_read_late(b, a->id);
    STORE_ADD(b, &read_headers, STORE_ANY_ROWS, SV_I(a->id), SV_I(mailbox_cursor(a)),
              SV_I(LISTED_MAX));
    store_submit(b, worker_loop(a->worker), 0, headers_read, held);
}

static bool disco_get(struct iq *iq, slice node)
{
    if ((iq->target & (IQ_TO_SELF | IQ_TO_ACCOUNT)) == 0 || !slice_is(node, NS_OFFLINE))
        return false;
    if (collector(iq) == NULL)
        return true;
    if (elem_is(&iq->payload, "query", NS_DISCO_INFO))
        retrieval_answer_info(iq);
    else
        answer_items(iq);
    return true;
}

/* A request of messages by their nodes. */
struct request {
    struct copies copies;
    struct iq *iq; /* held; this is in its arena */
    uint64_t *ids;
    uint32_t count;
};

static struct stanza *retrieval_wrap(struct copies *c, const struct session *s, uint64_t id,
                                     uint64_t at_us, slice text)
{
    static const slice end = SLICE_INIT("</message>");
    struct worker *w = c->account->worker;
    struct arena *tmp = loop_scratch(worker_loop(w));
    struct stanza *st;
    struct buf out;
    struct xml_write x;
    char stamp[CLOCK_STAMP_LEN];
    (void)s;
    ensure(account_is_pinned(c->account));
    if (text.len < end.len)
        return NULL;
    clock_stamp(stamp, at_us);
    xml_begin(&x, &out, XML_STANZA_MAX);
    buf_append(&out, text.ptr, text.len - end.len);
    xml_open(&x, "offline", NS_OFFLINE);
    xml_empty_with(&x, "item", NULL, "node", slice_of(node_of(tmp, id)));
    xml_close(&x);
    xml_open_with(&x, "delay", NS_DELAY, "from", jid_split(c->account->jid).domain);
    xml_attr(&x, "stamp", slice_of(stamp));
    xml_close(&x);
    buf_add(&out, end);
    enum err e = out.overflow ? E_LIMIT : stanza_load(&st, buf_slice(&out), worker_xml(w), tmp);
    buf_fini(&out);
    return e == OK ? st : NULL;
}

static void retrieval_sent(struct copies *c, enum err e)
{
    struct request *r = CONTAINER_OF(c, struct request, copies);
    session_unclaim(c->account->worker, c->session);
    if (e == OK)
        iq_result(r->iq, (slice){ 0 });
    else
        iq_error(r->iq, stanza_error_of(e), (slice){ 0 });
}

static void retrieval_removed(void *arg, enum err e)
{
    struct iq *iq = arg;
    ensure(iq->held);
    if (e == OK)
        iq_result(iq, (slice){ 0 });
    else
        iq_error(iq, stanza_error_of(e), (slice){ 0 });
}

/* Messages stay until they are removed (§2.5). */
static void retrieval_view(struct iq *iq, struct session *s, const uint64_t *ids, uint32_t count)
{
    if (count == 0) {
        iq_result(iq, (slice){ 0 });
        return;
    }
    if (!session_claim(s)) {
        iq_error(iq, SE_RESOURCE_CONSTRAINT, SLICE("read the answers to the requests before"));
        return;
    }
    ensure(session_here(s) && ids != NULL);
    uint64_t session = s->id;
    struct iq *held = iq_hold(iq);
    struct request *r = arena_new(held->tmp, struct request, 1);
    r->iq = held;
    r->ids = arena_new(held->tmp, uint64_t, count);
    memcpy(r->ids, ids, count * sizeof *ids);
    r->copies = (struct copies){ .account = held->account,
                                 .session = session,
                                 .ids = r->ids,
                                 .count = count,
                                 .wrap = retrieval_wrap,
                                 .done = retrieval_sent,
                                 .late = true };
    copies_send(&r->copies);
}

static void retrieval_remove_all(struct iq *iq, const uint64_t *ids, uint32_t count)
{
    struct account *a = iq->account;
    for (uint32_t i = 0; i < count; i++)
        mailbox_settle(a, ids[i]);
    mailbox_write(a, retrieval_removed, iq_hold(iq));
}

static uint64_t *open_ids(const struct account *a, struct arena *tmp, uint32_t *count)
{
    uint64_t *ids = arena_new(tmp, uint64_t, LISTED_MAX);
    *count = 0;
    for (uint64_t id = 0; *count < LISTED_MAX && (id = mailbox_next_open(a, id)) != 0;)
        ids[(*count)++] = id;
    return ids;
}

/* The nodes of the items, each there. SE_NONE: right. */
static enum stanza_error retrieval_read_items(struct iq *iq, const char *action, uint64_t *ids,
                                              uint32_t *count)
{
    struct elem e;
    *count = 0;
    for (bool more = elem_first(&iq->payload, &e); more; more = elem_next(&e, &e)) {
        if (!elem_is(&e, "item", NS_OFFLINE) || *count == ITEMS_MAX ||
            !slice_is(elem_attr(&e, "action", iq->tmp), action))
            return SE_BAD_REQUEST;
        uint64_t *id = &ids[(*count)++];
        if (!read_node(elem_attr(&e, "node", iq->tmp), id) ||
            mailbox_state(iq->account, *id) != ENTRY_OPEN)
            return SE_ITEM_NOT_FOUND;
    }
    return *count == 0 ? SE_BAD_REQUEST : SE_NONE;
}

static void offline_get(struct iq *iq)
{
    struct elem first;
    uint64_t ids[ITEMS_MAX];
    uint32_t count;
    struct session *s = collector(iq);
    if (s == NULL)
        return;
    if (elem_first(&iq->payload, &first) && elem_is(&first, "fetch", NS_OFFLINE)) {
        const uint64_t *all = open_ids(iq->account, iq->tmp, &count);
        retrieval_view(iq, s, all, count);
        return;
    }
    enum stanza_error e = retrieval_read_items(iq, "view", ids, &count);
    if (e != SE_NONE)
        iq_error(iq, e, (slice){ 0 });
    else
        retrieval_view(iq, s, ids, count);
}

static void offline_set(struct iq *iq)
{
    struct elem first;
    uint64_t ids[ITEMS_MAX];
    uint32_t count;
    if (collector(iq) == NULL)
        return;
    if (elem_first(&iq->payload, &first) && elem_is(&first, "purge", NS_OFFLINE)) {
        for (uint64_t id = 0; (id = mailbox_next_open(iq->account, id)) != 0;)
            mailbox_settle(iq->account, id);
        retrieval_remove_all(iq, NULL, 0);
        return;
    }
    enum stanza_error e = retrieval_read_items(iq, "remove", ids, &count);
    if (e != SE_NONE)
        iq_error(iq, e, (slice){ 0 });
    else
        retrieval_remove_all(iq, ids, count);
}

static const struct iq_rule rules[] = {
    { TYPE_GET, NS_OFFLINE, "offline", IQ_TO_SELF | IQ_TO_ACCOUNT, offline_get },
    { TYPE_SET, NS_OFFLINE, "offline", IQ_TO_SELF | IQ_TO_ACCOUNT, offline_set },
    { 0 },
};

const struct feature retrieval_feature = {
    .name = "retrieval",
    .xeps =
        (const struct xep[]){
            { "0013", "1.2", "Flexible Offline Message Retrieval", "0.1.0", "im/test_retrieval",
              "a list has at most 5,000 messages; the others follow when these are removed" },
            { 0 } },
    .disco = (const char *const[]){ NS_OFFLINE, NULL },
    .iq = rules,
    .schema = &schema,
    .disco_get = disco_get,
};
