/* disco: Service Discovery (XEP-0030) of the server and of accounts, contact addresses of the
 * service (XEP-0157) and the server's entity capabilities (XEP-0115). The answers are made from the
 * rows of all features.
 *
 * The server's items are its services (home/host.h), which are answered for here too unless they
 * have rules of their own; an account's items are its available resources. */
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "component/component_rights.h"
#include "component/delegation_disco.h"
#include "core/feature.h"
#include "core/stage.h"
#include "ext/ext.h"
#include "home/host.h"
#include "home/node.h"
#include "home/remote.h"
#include "session/session.h"
#include "talk/access.h"
#include "xmpp/disco_info.h"
#include "xmpp/ns.h"
#include <inttypes.h>

#define CAPS_NODE      "urn:muster:server" /* XEP-0115 §4: names the software; has no '#' */
#define NS_SERVER_INFO "http://jabber.org/network/serverinfo"

enum { CONTACT_BYTES_MAX = 2048 };

/* XEP-0157: one row a role. */
#define CONTACT(role, purpose)                                                                     \
    {                                                                                              \
        .name = "contact." role, .scope = SCOPE_CLUSTER, .type = PARAM_TEXT,                       \
        .max = CONTACT_BYTES_MAX, .def_text = "",                                                  \
        .doc = "Addresses " purpose ", shown by service discovery (XEP-0157): "                    \
               "URIs such as mailto:, xmpp: or https:, separated by spaces.",                      \
    }
static struct setting contact_abuse = CONTACT("abuse", "for reports of abuse");
static struct setting contact_admin = CONTACT("admin", "of the administrators");
static struct setting contact_feedback = CONTACT("feedback", "for feedback");
static struct setting contact_sales = CONTACT("sales", "of the sales department");
static struct setting contact_security = CONTACT("security", "for reports of security issues");
static struct setting contact_status =
    CONTACT("status", "with news about the state of the service");
static struct setting contact_support = CONTACT("support", "of the support team");

static struct setting *const disco_settings[] = {
    &contact_abuse,    &contact_admin,  &contact_feedback, &contact_sales,
    &contact_security, &contact_status, &contact_support,  NULL,
};
static const struct disco_form contact_form = {
    NS_SERVER_INFO,
    (const struct disco_form_field[]){ { "abuse-addresses", &contact_abuse },
                                       { "admin-addresses", &contact_admin },
                                       { "feedback-addresses", &contact_feedback },
                                       { "sales-addresses", &contact_sales },
                                       { "security-addresses", &contact_security },
                                       { "status-addresses", &contact_status },
                                       { "support-addresses", &contact_support },
                                       { 0 } },
};

static void disco_add_words(struct disco_info *d, const char *var, slice words)
{
    struct disco_field *f = NULL;
    slice word;
    while (slice_word(&words, &word)) {
        if (f == NULL) {
            f = disco_add_field(d, slice_of(var));
            f->type = "list-multi"; /* XEP-0157 §3 */
        }
        disco_add_value(f, word);
    }
}

static void disco_add_form(struct disco_info *d, const struct disco_form *form, struct arena *tmp)
{
    if (form == NULL)
        return;
    d->form_type = slice_of(form->type);
    for (const struct disco_form_field *f = form->fields; f->var != NULL; f++) {
        const struct setting *s = f->setting;
        if (setting_is_text(s)) {
            disco_add_words(d, f->var, slice_of(setting_text(s)));
            continue;
        }
        const char *value = s->type == PARAM_BOOL ? setting_bool(s) ? "true" : "false"
                                                  : arena_printf(tmp, "%" PRId64, setting_int(s));
        disco_add_value(disco_add_field(d, slice_of(f->var)), slice_of(value));
    }
}

/* "category type name", the name being the rest. */
static void add_identities(struct disco_info *d, const char *const *rows)
{
    for (; rows != NULL && *rows != NULL; rows++) {
        slice category, type, name, rest;
        if (slice_cut(slice_of(*rows), ' ', &category, &rest)) {
            slice_cut(rest, ' ', &type, &name);
            disco_add_identity(d, category, type, name);
        }
    }
}

static struct disco_info *server_info(struct arena *tmp)
{
    struct disco_info *d = arena_new(tmp, struct disco_info, 1);
    FEATURES_EACH (f, identities)
        add_identities(d, f->identities);
    FEATURES_EACH (f, disco)
        disco_add_features(d, f->disco);
    FEATURES_EACH (f, form)
        disco_add_form(d, f->form, tmp);
    return d;
}

static struct disco_info *account_info(struct arena *tmp)
{
    struct disco_info *d = arena_new(tmp, struct disco_info, 1);
    FEATURES_EACH (f, identities_account)
        add_identities(d, f->identities_account);
    FEATURES_EACH (f, disco_account)
        disco_add_features(d, f->disco_account);
    return d;
}

static struct disco_info *host_info(const struct host *h, struct arena *tmp)
{
    struct disco_info *d = arena_new(tmp, struct disco_info, 1);
    disco_add_identity(d, slice_of(h->category), slice_of(h->type), slice_of(h->name));
    disco_add_features(d, (const char *const[]){ NS_DISCO_INFO, NS_DISCO_ITEMS, NULL });
    disco_add_features(d, h->disco);
    return d;
}

static void disco_answer_info(struct iq *iq, const struct disco_info *d, slice node)
{
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_STANZA_MAX);
    disco_write_info(&x, d, node);
    iq_result_buf(iq, &out);
}

/* XEP-0115 §6.2: the node of our capabilities is answered like the server itself. */
static bool is_caps_node(const struct disco_info *d, slice node, struct arena *tmp)
{
    slice prefix = SLICE(CAPS_NODE "#");
    return slice_starts(node, prefix) &&
           slice_eq(slice_from(node, prefix.len), disco_caps_ver(d, tmp));
}

/* Nodes belong to the features that have them; names that users choose give way to those. */
static bool answered_elsewhere(struct iq *iq, slice node)
{
    FEATURES_EACH (f, disco_get)
        if (f->disco_get(iq, node))
            return true;
    FEATURES_EACH (f, disco_any)
        if (f->disco_any(iq, node))
            return true;
    return false;
}

static void info_get(struct iq *iq)
{
    slice node = elem_attr(&iq->payload, "node", iq->tmp);
    if (answered_elsewhere(iq, node))
        return;
    if (node.len == 0 && iq->target != IQ_TO_HOST &&
        (iq->target == IQ_TO_SERVER || access_presence(iq)) &&
        delegation_nests(iq, iq->target == IQ_TO_SERVER ? server_info : account_info))
        return;
    if (iq->target == IQ_TO_HOST) {
        if (node.len == 0)
            disco_answer_info(iq, host_info(iq->host, iq->tmp), node);
        else
            iq_error(iq, SE_ITEM_NOT_FOUND, (slice){ 0 });
    } else if (iq->target == IQ_TO_SERVER) {
        const struct disco_info *d = server_info(iq->tmp);
        if (node.len == 0 || is_caps_node(d, node, iq->tmp))
            disco_answer_info(iq, d, node);
        else
            iq_error(iq, SE_ITEM_NOT_FOUND, (slice){ 0 }); /* §7 */
    } else if (!access_presence(iq)) {
        iq_error(iq, SE_SERVICE_UNAVAILABLE, (slice){ 0 }); /* §8 */
    } else if (node.len > 0) {
        iq_error(iq, SE_ITEM_NOT_FOUND, (slice){ 0 });
    } else {
        disco_answer_info(iq, account_info(iq->tmp), node);
    }
}

static void disco_add_item(struct xml_write *x, slice jid, slice name)
{
    xml_open_with(x, "item", NULL, "jid", jid);
    xml_attr_some(x, "name", name);
    xml_close(x);
}

/* Those that the asking contact may see. */
static void add_resources(struct xml_write *x, const struct account *a, slice contact)
{
    SESSIONS_EACH (s, a) {
        if (session_is_available(s) && stage_view(s, contact))
            disco_add_item(x, session_jid(s), (slice){ 0 });
    }
}

static void add_host(const struct host *h, slice domain, void *x)
{
    disco_add_item(x, domain, slice_of(h->name));
}

static void add_component(slice domain, unsigned links, void *x)
{
    (void)links;
    disco_add_item(x, domain, (slice){ 0 });
}

static void items_get(struct iq *iq)
{
    slice node = elem_attr(&iq->payload, "node", iq->tmp);
    bool service = iq->target == IQ_TO_SERVER || iq->target == IQ_TO_HOST;
    bool shown = !service && access_presence(iq);
    if (answered_elsewhere(iq, node))
        return;
    if (node.len > 0 && (shown || service)) {
        iq_error(iq, SE_ITEM_NOT_FOUND, (slice){ 0 });
        return;
    }
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_STANZA_MAX);
    xml_open(&x, "query", NS_DISCO_ITEMS);
    xml_attr_some(&x, "node", node); /* as it was asked for (§3.2) */
    if (shown) /* §8: strangers get an empty list, whether the account exists or not */
        add_resources(&x, iq->account, stanza_from_bare(iq->st));
    else if (iq->target == IQ_TO_SERVER) {
        host_each_listed(worker_node(iq->worker), stanza_to_bare(iq->st), add_host, &x);
        remote_each(iq->worker, add_component, &x);
    }
    iq_result_xml(iq, &x);
}

/* XEP-0115 §6.3: so that a client need not ask a server that it knows. Where components answer for
 * the server, it is to ask. */
static void caps_stream_feature(struct buf *out)
{
    if (delegations_any())
        return;
    struct arena *tmp = arena_create(0);
    struct xml_write x;
    xml_write_to(&x, out);
    xml_open_with(&x, "c", NS_CAPS, "hash", SLICE("sha-1"));
    xml_attr(&x, "node", SLICE(CAPS_NODE));
    xml_attr(&x, "ver", disco_caps_ver(server_info(tmp), tmp));
    xml_close(&x);
    arena_destroy(&tmp);
}

enum { ANYBODY = IQ_TO_SERVER | IQ_TO_SELF | IQ_TO_ACCOUNT | IQ_TO_HOST };

static const struct iq_rule disco_rules[] = {
    { TYPE_GET, NS_DISCO_INFO, "query", ANYBODY, info_get },
    { TYPE_GET, NS_DISCO_ITEMS, "query", ANYBODY, items_get },
    { 0 },
};

static const char *const disco_features[] = { NS_DISCO_INFO, NS_DISCO_ITEMS, NS_CAPS, NULL };
static const char *const disco_account_features[] = { NS_DISCO_INFO, NS_DISCO_ITEMS, NULL };

const struct feature disco_feature = {
    .name = "disco",
    .parts = PART_DISCO,
    .xeps =
        (const struct xep[]){
            { "0030", "2.5.0", "Service Discovery", "0.1.0", "services/test_services", NULL },
            { "0115", "1.6.0", "Entity Capabilities", "0.1.0", "services/test_services", NULL },
            { "0128", "1.0.1", "Service Discovery Extensions", "0.1.0", "services/test_services",
              NULL },
            { "0157", "1.1.1", "Contact Addresses for XMPP Services", "0.1.0",
              "services/test_services", NULL },
            { 0 },
        },
    .disco = disco_features,
    .disco_account = disco_account_features,
    .identities = (const char *const[]){ "server im Muster", NULL },
    .identities_account = (const char *const[]){ "account registered", NULL },
    .stream_features = caps_stream_feature,
    .iq = disco_rules,
    .form = &contact_form,
    .settings = disco_settings,
};
