/* private: Private XML Storage (XEP-0049): elements that an account keeps for itself, one each
 * namespace and name. They live in the database only.
 *
 * Limits: settings private.bytes-max and private.elements-max an account; ELEMENTS_MAX a request.
 */
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "core/portable.h"
#include "ext/ext.h"
#include "ext/xml_private.h"
#include "home/here.h"
#include "xmpp/ns.h"

enum { ELEMENTS_MAX = 32 };

static struct store_stmt private_above = {
    .name = "private.above",
    .sql = "SELECT count(*) FROM (SELECT owner FROM private_xml GROUP BY owner HAVING count(*) > "
           "$1) v",
    .params = "i",
    .cols = "i",
};
static const struct setting_impact private_above_impact = { .stmt = &private_above,
                                                            .what = "users with more elements" };
static struct store_stmt private_larger = {
    .name = "private.larger",
    .sql = "SELECT count(*) FROM (SELECT owner FROM private_xml GROUP BY owner HAVING sum(bytes) > "
           "$1) v",
    .params = "i",
    .cols = "i",
};
static const struct setting_impact private_larger_impact = { .stmt = &private_larger,
                                                             .what = "users with more" };
static struct setting private_bytes_max = {
    .name = "private.bytes-max",
    .impact = &private_larger_impact,
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 1 << 20,
    .min = 4 << 10,
    .max = XML_STORED_MAX / 2,
    .doc =
        "How much private XML (XEP-0049: bookmarks, notes and preferences of clients) an account "
        "may store in all.",
};
static struct setting private_elements_max = {
    .name = "private.elements-max",
    .impact = &private_above_impact,
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 100,
    .min = 1,
    .max = 10000,
    .unit = "elements",
    .doc = "How many elements of private XML (XEP-0049) an account may store.",
};

static const struct store_migration private_migrations[] = {
    { 1,
      "CREATE TABLE private_xml(owner INTEGER NOT NULL, ns TEXT NOT NULL, name TEXT NOT NULL, "
      "bytes INTEGER NOT NULL, xml TEXT NOT NULL, PRIMARY KEY(owner, ns, name)) WITHOUT ROWID",
      "CREATE TABLE private_xml(owner BIGINT NOT NULL, ns TEXT NOT NULL, name TEXT NOT NULL, "
      "bytes BIGINT NOT NULL, xml TEXT NOT NULL, PRIMARY KEY(owner, ns, name))" },
    { 0 },
};
static struct store_stmt private_put_stmt = {
    .name = "private.put",
    .sql = "INSERT INTO private_xml(owner, ns, name, bytes, xml) VALUES($1, $2, $3, $4, $5) "
           "ON CONFLICT(owner, ns, name) DO UPDATE SET bytes = excluded.bytes, xml = excluded.xml",
    .params = "ittit",
    .cols = "",
};
/* Changes nothing but must meet the row just put: it does so only within the limits, else the whole
 * batch is undone. */
static struct store_stmt private_check = {
    .name = "private.check",
    .sql = "UPDATE private_xml SET bytes = bytes WHERE owner = $1 AND ns = $2 AND name = $3 "
           "AND (SELECT count(*) FROM private_xml WHERE owner = $1) <= $4 "
           "AND (SELECT sum(bytes) FROM private_xml WHERE owner = $1) <= $5",
    .params = "ittii",
    .cols = "",
};
static struct store_stmt private_load = {
    .name = "private.get",
    .sql = "SELECT xml FROM private_xml WHERE owner = $1 AND ns = $2 AND name = $3",
    .params = "itt",
    .cols = "t",
};
static struct store_stmt private_all = {
    .name = "private.all",
    .sql = "SELECT ns, name, xml FROM private_xml WHERE owner = $1 ORDER BY ns, name",
    .params = "i",
    .cols = "ttt",
};
static struct store_stmt private_delete = {
    .name = "private.delete",
    .sql = "DELETE FROM private_xml WHERE owner = $1",
    .params = "i",
    .cols = "",
};
static const struct store_schema private_schema = {
    .feature = "private",
    .migrations = private_migrations,
    .stmts = (struct store_stmt *const[]){ &private_larger, &private_above, &private_put_stmt,
                                           &private_check, &private_load, &private_all,
                                           &private_delete, NULL },
};

/* XEP-0049 §2.3: namespaces of the protocol itself are not for private data. */
static bool private_is_reserved(slice ns)
{
    return slice_starts(ns, SLICE("jabber:")) || slice_starts(ns, SLICE("http://jabber.org/")) ||
           slice_is(ns, NS_VCARD);
}

/* Checks the elements of a request; the answer is sent if something is wrong. */
static bool elements_ok(struct iq *iq)
{
    struct elem e;
    unsigned count = 0;
    for (bool more = elem_first(&iq->payload, &e); more; more = elem_next(&e, &e)) {
        if (++count > ELEMENTS_MAX) {
            iq_error(iq, SE_NOT_ACCEPTABLE, SLICE("too many elements in one request"));
            return false;
        }
        if (e.ns_uri.len == 0 || private_is_reserved(e.ns_uri)) {
            iq_error(iq, SE_NOT_ACCEPTABLE,
                     SLICE("an element needs a namespace of its own, and no reserved one"));
            return false;
        }
    }
    if (count == 0) /* §2.3: "otherwise the server MUST respond with" */
        iq_error(iq, SE_NOT_ACCEPTABLE, SLICE("there is no element in the query"));
    return count > 0;
}

static bool private_owner_asks(struct iq *iq)
{
    if (iq->target != IQ_TO_SELF)
        iq_error(iq, SE_FORBIDDEN, SLICE("private data is for its owner only"));
    return iq->target == IQ_TO_SELF;
}

/* A request that is served, with what another extension knows better of one name; in the arena of
 * the request. */
struct serving {
    struct iq *iq; /* held */
    slice ns, name, xml;
};

static bool private_is_known(const struct serving *v, const struct elem *e)
{
    return v->ns.len > 0 && slice_eq(e->ns_uri, v->ns) && slice_eq(e->name, v->name);
}

static void private_found(void *arg, enum store_result result, const struct store_batch *b)
{
    const struct serving *v = arg;
    struct iq *iq = v->iq;
    ensure(iq->held && iq->account != NULL);
    if (result != STORE_OK) {
        iq_error(iq, stanza_error_of(err_of_store(result)), (slice){ 0 });
        return;
    }
    struct buf out;
    struct xml_write x;
    struct elem e;
    unsigned i = 0;
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open(&x, "query", NS_PRIVATE);
    for (bool more = elem_first(&iq->payload, &e); more; more = elem_next(&e, &e), i++) {
        if (private_is_known(v, &e))
            xml_raw(&x, v->xml);
        else if (store_row_count(b, i) > 0)
            xml_raw(&x, store_text(b, i, 0, 0));
        else
            elem_extract(&e, xml_content(&x)); /* nothing stored: as it was asked for */
    }
    iq_result_xml(iq, &x);
}

static void private_read(struct serving *v)
{
    struct elem e;
    struct iq *held = v->iq;
    struct store_batch *b = store_read(worker_store(held->worker), account_lane(held->account));
    for (bool more = elem_first(&held->payload, &e); more; more = elem_next(&e, &e))
        STORE_ADD(b, &private_load, STORE_ANY_ROWS, SV_I(held->account->id), SV_T(e.ns_uri),
                  SV_T(e.name));
    store_submit(b, worker_loop(held->worker), 0, private_found, v);
}

struct find {
    private_found_fn *done;
    void *arg;
};

static void find_done(void *arg, enum store_result result, const struct store_batch *b)
{
    struct find f = *(struct find *)arg;
    ensure(f.done != NULL);
    mem_free(&arg);
    if (result != STORE_OK)
        f.done(f.arg, stanza_error_of(err_of_store(result)), (slice){ 0 });
    else
        f.done(f.arg, SE_NONE, store_row_count(b, 0) > 0 ? store_text(b, 0, 0, 0) : SLICE(""));
}

static void private_find_element(struct account *a, slice ns, slice name, private_found_fn *done,
                                 void *arg)
{
    struct find *f = mem_alloc(sizeof *f);
    struct store_batch *b = store_read(worker_store(a->worker), account_lane(a));
    ensure(account_here(a) && done != NULL);
    *f = (struct find){ done, arg };
    STORE_ADD(b, &private_load, STORE_ANY_ROWS, SV_I(a->id), SV_T(ns), SV_T(name));
    store_submit(b, worker_loop(a->worker), 0, find_done, f);
}

static void private_stored(void *arg, enum store_result result, const struct store_batch *b)
{
    struct iq *iq = arg;
    (void)b;
    ensure(iq->held);
    if (result == STORE_OK)
        iq_result(iq, (slice){ 0 });
    else if (result == STORE_CONFLICT)
        iq_error(iq, SE_POLICY_VIOLATION, SLICE("the account's limit of private data is reached"));
    else
        iq_error(iq, stanza_error_of(err_of_store(result)), (slice){ 0 });
}

static void add_element(struct store_batch *b, const struct serving *v, const struct elem *e)
{
    struct buf xml;
    buf_init(&xml, XML_STORED_MAX);
    if (private_is_known(v, e))
        buf_add(&xml, v->xml);
    else
        elem_extract(e, &xml);
    STORE_ADD(b, &private_put_stmt, 1, SV_I(v->iq->account->id), SV_T(e->ns_uri), SV_T(e->name),
              SV_I(xml.overflow ? XML_STORED_MAX : xml.len), SV_T(buf_fit(&xml)));
    buf_fini(&xml);
}

static void private_write(const struct serving *v)
{
    struct elem e, last = { 0 };
    struct iq *held = v->iq;
    if (!account_stays(held->account)) { /* since others took their part of it */
        iq_error(held, SE_SERVICE_UNAVAILABLE, ACCOUNT_LEAVES);
        return;
    }
    struct store_batch *b = store_write(worker_store(held->worker), account_lane(held->account));
    for (bool more = elem_first(&held->payload, &e); more; more = elem_next(&e, &e)) {
        add_element(b, v, &e);
        last = e;
    }
    STORE_ADD(b, &private_check, 1, SV_I(held->account->id), SV_T(last.ns_uri), SV_T(last.name),
              SV_I(setting_int(&private_elements_max)), SV_I(setting_int(&private_bytes_max)));
    store_submit(b, worker_loop(held->worker), 0, private_stored, held);
}

static void request_with(struct iq *held, slice ns, slice name, slice xml)
{
    struct serving *v = arena_new(held->tmp, struct serving, 1);
    ensure(held->held && held->account != NULL);
    *v = (struct serving){ held, ns, name, slice_dup(held->tmp, xml) };
    if (held->st->type == TYPE_GET)
        private_read(v);
    else
        private_write(v);
}

/* Whether an element of the request has a taker. */
static bool is_taken(const struct iq *iq, const struct private_taker *taker)
{
    struct elem e;
    for (bool more = elem_first(&iq->payload, &e); more; more = elem_next(&e, &e))
        if (elem_is(&e, taker->name, taker->ns))
            return true;
    return false;
}

static void private_request(struct iq *iq)
{
    const struct private_taker *taker = private_taken();
    if (!private_owner_asks(iq) || !elements_ok(iq))
        return;
    if (taker != NULL && is_taken(iq, taker))
        taker->run(iq);
    else
        request_with(iq_hold(iq), (slice){ 0 }, (slice){ 0 }, (slice){ 0 });
}

static const struct private_ops ops = { request_with, private_find_element };

static void private_start(void) { private_is(&ops); }

static void private_remove(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &private_delete, STORE_ANY_ROWS, SV_I(a->id));
}

/* Accounts that come and go (core/portable.h). */

/* The part of an element that no taker stores. false: it is longer than any element that can be
 * stored. */
static bool private_rest(const struct elem *e, slice *rest, struct arena *tmp)
{
    const struct private_taker *taker = private_taken();
    struct buf xml;
    buf_init(&xml, XML_STORED_MAX);
    elem_extract(e, &xml);
    bool fits = !xml.overflow;
    *rest = fits ? slice_dup(tmp, buf_slice(&xml)) : (slice){ 0 };
    buf_fini(&xml);
    if (fits && taker != NULL && taker->rest != NULL && elem_is(e, taker->name, taker->ns))
        *rest = taker->rest(*rest, tmp);
    return fits;
}

struct private_port {
    struct portable *to;
    int64_t elements, bytes;
};

static void private_port_element(struct private_port *t, const struct elem *e)
{
    struct portable *p = t->to;
    slice name =
        slice_of(arena_printf(p->tmp, "{%.*s}%.*s", SLICE_ARG(e->ns_uri), SLICE_ARG(e->name)));
    if (slice_is(e->ns_uri, NS_EJABBERD_BANNED)) /* the import has read it: no data of the user */
        return;
    if (e->ns_uri.len == 0 || private_is_reserved(e->ns_uri)) {
        p->lost(p, "private data in a namespace of the protocol or in none:", name);
        return;
    }
    slice xml;
    bool fits = private_rest(e, &xml, p->tmp);
    if (fits && xml.len == 0)
        return;
    if (!fits || t->elements + 1 > setting_int(&private_elements_max) ||
        t->bytes + (int64_t)xml.len > setting_int(&private_bytes_max)) {
        p->lost(p, "private data beyond private.elements-max or private.bytes-max:", name);
        return;
    }
    t->elements++;
    t->bytes += (int64_t)xml.len;
    if (p->batch != NULL)
        STORE_ADD(p->batch, &private_put_stmt, 1, SV_I(p->id), SV_T(e->ns_uri), SV_T(e->name),
                  SV_I(xml.len), SV_T(xml));
}

static void private_port_take(struct portable *p)
{
    struct private_port t = { .to = p };
    struct elem e, child;
    for (bool more = elem_first(p->user, &e); more; more = elem_next(&e, &e))
        if (elem_is(&e, "query", NS_PRIVATE))
            for (bool has = elem_first(&e, &child); has; has = elem_next(&child, &child))
                private_port_element(&t, &child);
}

static void private_port_read(const struct portable_out *o, struct store_batch *b)
{
    STORE_ADD(b, &private_all, STORE_ANY_ROWS, SV_I(o->id));
}

static bool private_port_give(struct portable_out *o, const struct store_batch *b, unsigned first)
{
    uint32_t count = store_row_count(b, first);
    if (count == 0)
        return false;
    xml_open(o->x, "query", NS_PRIVATE);
    for (uint32_t i = 0; i < count; i++)
        xml_raw(o->x, store_text(b, first, i, 2));
    xml_close(o->x);
    return false;
}

static const struct portable_part private_portable = {
    .takes = (const struct portable_name[]){ { "query", NS_PRIVATE }, { 0 } },
    .take = private_port_take,
    .read = private_port_read,
    .give = private_port_give,
};

static const struct iq_rule private_rules[] = {
    { TYPE_GET, NS_PRIVATE, "query", IQ_TO_SELF | IQ_TO_ACCOUNT | IQ_TO_SERVER, private_request },
    { TYPE_SET, NS_PRIVATE, "query", IQ_TO_SELF | IQ_TO_ACCOUNT | IQ_TO_SERVER, private_request },
    { 0 },
};

static const char *const private_disco[] = { NS_PRIVATE, NULL };
static struct setting *const private_settings[] = { &private_bytes_max, &private_elements_max,
                                                    NULL };

const struct feature private_feature = {
    .name = "private",
    .xeps =
        (const struct xep[]){
            { "0049", "1.2", "Private XML Storage", "0.1.0", "services/test_services", NULL },
            { 0 },
        },
    .disco = private_disco,
    .disco_account = private_disco,
    .iq = private_rules,
    .schema = &private_schema,
    .settings = private_settings,
    .portable = &private_portable,
    .start = private_start,
    .account.remove = private_remove,
};
