#include "component/component_rights.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "component/component_watch.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "home/remote.h"
#include "home/router.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"
#include "xmpp/stanza.h"

#define NS_BLOCKING  "urn:xmpp:blocking"
#define NS_PRIVACY   "jabber:iq:privacy"
#define NS_DISCO     "http://jabber.org/protocol/disco"
#define NS_INVISIBLE "urn:xmpp:invisible:0"
#define NS_SIFT_1    "urn:xmpp:sift:1"
#define NS_SIFT_2    "urn:xmpp:sift:2"
#define NS_CSI       "urn:xmpp:csi:0"
#define NS_IQ_AUTH   "jabber:iq:auth"

enum { RIGHTS_BYTES_MAX = 16 << 10 };

/* What the server does itself in any case: the stream, its sessions and what they are sent,
 * contacts and who may reach the account, what says which namespaces are delegated, and discovery,
 * which has parts of both. */
static const char *const undelegated[] = {
    NS_CLIENT,     NS_SERVER,      NS_COMPONENT,    NS_STREAM,
    NS_FRAMING,    NS_HTTPBIND,    NS_STREAM_ERROR, NS_STANZA_ERROR,
    NS_TLS,        NS_SASL,        NS_SASL2,        NS_BIND,
    NS_BIND2,      NS_SESSION,     NS_SM,           NS_FAST,
    NS_ROSTER,     NS_BLOCKING,    NS_PRIVACY,      NS_CARBONS,
    NS_DISCO_INFO, NS_DISCO_ITEMS, NS_DISCO,        NS_PRIVILEGE,
    NS_DELEGATION, NS_INVISIBLE,   NS_SIFT_1,       NS_SIFT_2,
    NS_OFFLINE,    NS_CSI,         NS_IQ_AUTH,      NULL,
};

static bool is_component(slice word)
{
    struct arena *tmp = arena_create(0);
    struct jid jid;
    bool right = jid_parse(&jid, word, tmp) == OK && slice_eq(jid.full, word) &&
                 jid_is_domain(&jid) && jid_is_bare(&jid);
    arena_destroy(&tmp);
    return right;
}

/* At the last '=': namespaces may have some. */
static bool split_word(slice word, slice *name, slice *value)
{
    size_t at = word.len;
    while (at > 0 && word.ptr[at - 1] != '=')
        at--;
    if (at <= 1 || at == word.len)
        return false;
    *name = (slice){ word.ptr, at - 1 };
    *value = slice_from(word, at);
    return true;
}

/* Privileges: a domain, then what it may. */

static bool is_domain_word(slice word) { return memchr(word.ptr, '=', word.len) == NULL; }

/* The part of the text that is about the next component. */
static bool next_component(slice *text, slice *component, slice *words)
{
    slice rest, word;
    if (!slice_word(text, component))
        return false;
    *words = rest = *text;
    while (slice_word(&rest, &word) && is_domain_word(word) == false)
        *text = rest;
    words->len = (size_t)(text->ptr - words->ptr);
    return true;
}

static bool access_bits(slice value, unsigned *bits)
{
    *bits = slice_is(value, "get")    ? RIGHT_GET
            : slice_is(value, "set")  ? RIGHT_SET
            : slice_is(value, "both") ? RIGHT_GET | RIGHT_SET
                                      : 0u;
    return *bits != 0;
}

/* "iq-get=NS": the name says what, the rest which. */
static bool iq_bits(slice word, slice *ns, unsigned *bits)
{
    slice name;
    return slice_cut(word, '=', &name, ns) && slice_starts(name, SLICE("iq-")) &&
           access_bits(slice_from(name, 3), bits);
}

static bool is_privilege(slice word)
{
    slice name, value;
    unsigned bits;
    if (!slice_cut(word, '=', &name, &value) || value.len == 0)
        return false;
    if (slice_is(name, "roster"))
        return access_bits(value, &bits);
    if (slice_is(name, "message"))
        return slice_is(value, "outgoing");
    if (slice_is(name, "push"))
        return slice_is(value, "roster");
    if (slice_is(name, "presence"))
        return slice_is(value, "managed_entity") || slice_is(value, "roster");
    return iq_bits(word, &value, &bits) && !slice_is(value, NS_PRIVILEGE) &&
           !slice_is(value, NS_DELEGATION) && xml_is_text(value);
}

/* The same right, for whatever it is given. */
static bool is_same_privilege(slice word, slice other)
{
    slice ns, other_ns, name, other_name;
    unsigned bits;
    bool asks = iq_bits(word, &ns, &bits), other_asks = iq_bits(other, &other_ns, &bits);
    if (asks || other_asks)
        return asks && other_asks && slice_eq(ns, other_ns);
    slice_cut(word, '=', &name, &ns);
    slice_cut(other, '=', &other_name, &ns);
    return slice_eq(name, other_name);
}

static void read_rights(slice words, struct component_rights *out)
{
    slice word, key, value;
    *out = (struct component_rights){ .words = words };
    while (slice_word(&words, &word)) {
        slice_cut(word, '=', &key, &value);
        if (slice_is(key, "roster"))
            access_bits(value, &out->roster);
        else if (slice_is(key, "push"))
            out->push = true;
        else if (slice_is(key, "message"))
            out->message = true;
        else if (slice_is(key, "presence")) {
            out->presence = true; /* §6.2: the other one implies it */
            out->contacts = slice_is(value, "roster");
        }
    }
}

/* XEP-0356 §4.2, §6: a component that may not read contact lists is not told of their changes, nor
 * of the presence of contacts. */
static bool are_sound_privileges(slice words)
{
    struct component_rights r;
    read_rights(words, &r);
    return !(r.push || r.contacts) || (r.roster & RIGHT_GET) != 0;
}

static bool are_different_privileges(slice words)
{
    slice word, other;
    while (slice_word(&words, &word)) {
        slice rest = words;
        if (!is_privilege(word))
            return false;
        while (slice_word(&rest, &other))
            if (is_privilege(other) && is_same_privilege(word, other))
                return false;
    }
    return true;
}

static bool are_privileges(slice text)
{
    slice component, words, all = text;
    while (next_component(&text, &component, &words)) {
        slice later = text, other;
        if (!is_component(component) || !are_different_privileges(words) ||
            !are_sound_privileges(words))
            return false;
        while (slice_word(&later, &other))
            if (slice_eq(other, component))
                return false;
    }
    return xml_is_text(all);
}

static void component_rights_changed(struct worker *w, const struct setting *s);

struct setting component_privileges = {
    .name = "component.privileges",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_TEXT,
    .def_text = "",
    .max = RIGHTS_BYTES_MAX,
    .check = are_privileges,
    .form = "a component's domain, once, followed by any of roster=get|set|both, push=roster "
            "(needs roster=get or both), message=outgoing, presence=managed_entity, "
            "presence=roster (instead of it; needs roster=get or both) and "
            "iq-get|iq-set|iq-both=NAMESPACE",
    .changed = component_rights_changed,
    .doc = "What external components may do in the name of the users of a domain (XEP-0356): read "
           "or change their contact lists, be told of changes, send messages, see presence of "
           "the users or also of their contacts, send requests in a namespace. Give this only to "
           "components that you trust like the server "
           "itself.",
};

bool component_rights(slice host, slice component, struct component_rights *out)
{
    slice name, list = component_rights_list(host);
    while (component_rights_next(&list, &name, out))
        if (slice_eq(name, component))
            return true;
    *out = (struct component_rights){ 0 };
    return false;
}

slice component_rights_list(slice host) { return setting_text_of(&component_privileges, host); }

bool component_rights_next(slice *list, slice *component, struct component_rights *out)
{
    slice words;
    if (!next_component(list, component, &words))
        return false;
    read_rights(words, out);
    return true;
}

bool component_may_ask(const struct component_rights *r, slice ns, enum stanza_type type)
{
    slice words = r->words, word, value;
    const unsigned needed = type == TYPE_GET ? RIGHT_GET : RIGHT_SET;
    unsigned bits;
    ensure(type == TYPE_GET || type == TYPE_SET);
    while (slice_word(&words, &word))
        if (iq_bits(word, &value, &bits) && (bits & needed) != 0 && slice_eq(value, ns))
            return true;
    return false;
}

/* Delegations. */

/* "NAMESPACE[attribute,attribute]=component" */
static bool parse_delegation(slice word, struct delegation *d)
{
    size_t at;
    *d = (struct delegation){ 0 };
    if (!split_word(word, &d->ns, &d->component))
        return false;
    if (d->ns.ptr[d->ns.len - 1] != ']')
        return true;
    for (at = d->ns.len - 1; at > 0 && d->ns.ptr[at] != '['; at--)
        ;
    d->filters = (slice){ d->ns.ptr + at + 1, d->ns.len - at - 2 };
    d->ns.len = at;
    return at > 0 && d->filters.len > 0;
}

/* A bracket that was opened or closed alone. */
static bool has_bracket(slice s)
{
    return memchr(s.ptr, '[', s.len) != NULL || memchr(s.ptr, ']', s.len) != NULL;
}

bool delegation_next(slice *list, struct delegation *out)
{
    slice word;
    return slice_word(list, &word) && parse_delegation(word, out);
}

static bool is_undelegated(slice ns)
{
    for (const char *const *n = undelegated; *n != NULL; n++)
        if (slice_is(ns, *n))
            return true;
    return false;
}

static bool next_filter(slice *filters, slice *name)
{
    if (filters->ptr == NULL)
        return false;
    if (!slice_cut(*filters, ',', name, filters))
        *filters = (slice){ 0 };
    return true;
}

static bool are_filters(slice filters)
{
    slice name, other;
    while (next_filter(&filters, &name)) {
        slice rest = filters;
        if (name.len == 0 || has_bracket(name))
            return false;
        while (next_filter(&rest, &other))
            if (slice_eq(name, other))
                return false;
    }
    return true;
}

static bool are_delegations(slice text)
{
    slice word, rest;
    struct delegation d, other;
    if (!xml_is_text(text))
        return false;
    while (slice_word(&text, &word)) {
        if (!parse_delegation(word, &d) || has_bracket(d.ns) || is_undelegated(d.ns) ||
            !is_component(d.component) || !are_filters(d.filters))
            return false;
        rest = text;
        while (delegation_next(&rest, &other))
            if (slice_eq(d.ns, other.ns))
                return false;
    }
    return true;
}

struct setting component_delegations = {
    .name = "component.delegations",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_TEXT,
    .def_text = "",
    .max = RIGHTS_BYTES_MAX,
    .check = are_delegations,
    .form = "NAMESPACE=COMPONENT or NAMESPACE[ATTRIBUTE,…]=COMPONENT, each namespace once, and "
            "none of the stream, of contacts (jabber:iq:roster), blocking, carbons or discovery",
    .changed = component_rights_changed,
    .doc = "Namespaces of requests that external components answer for the users of a domain, in "
           "the place of the server (XEP-0355). With attributes in brackets, only requests whose "
           "element has all of them. While the component is not connected, its requests are "
           "answered with service-unavailable.",
};

static _Atomic bool any_delegation, any_watcher, any_of_contacts;

bool component_watchers_any(void)
{
    return atomic_load_explicit(&any_watcher, memory_order_relaxed);
}

bool component_watchers_of_contacts(void)
{
    return atomic_load_explicit(&any_of_contacts, memory_order_relaxed);
}

bool delegations_any(void) { return atomic_load_explicit(&any_delegation, memory_order_relaxed); }

slice delegations(slice host) { return setting_text_of(&component_delegations, host); }

static bool has_filters(const struct elem *payload, slice filters)
{
    slice name;
    char text[256];
    while (slice_cut(filters, ',', &name, &filters) || name.len > 0) {
        if (name.len == 0 || name.len >= sizeof text)
            return false;
        memcpy(text, name.ptr, name.len);
        text[name.len] = '\0';
        if (elem_attr_raw(payload, text).ptr == NULL)
            return false;
    }
    return true;
}

bool delegation_find(slice host, const struct elem *payload, slice *component)
{
    slice list = delegations(host);
    struct delegation d;
    while (delegation_next(&list, &d)) {
        if (!slice_eq(d.ns, payload->ns_uri))
            continue;
        *component = d.component;
        return has_filters(payload, d.filters);
    }
    return false;
}

/* What a component is told. */

static void write_perm(struct xml_write *x, const char *access, const char *type)
{
    xml_open_with(x, "perm", NULL, "access", slice_of(access));
    xml_attr(x, "type", slice_of(type));
}

static const char *bits_name(unsigned bits)
{
    return bits == RIGHT_GET ? "get" : bits == RIGHT_SET ? "set" : "both";
}

static void write_iq_perms(struct xml_write *x, slice words)
{
    slice word, ns;
    unsigned bits;
    bool open = false;
    while (slice_word(&words, &word)) {
        if (!iq_bits(word, &ns, &bits))
            continue;
        if (!open)
            xml_open_with(x, "perm", NULL, "access", SLICE("iq"));
        open = true;
        xml_open_with(x, "namespace", NULL, "ns", ns);
        xml_attr(x, "type", slice_of(bits_name(bits)));
        xml_close(x);
    }
    if (open)
        xml_close(x);
}

static void write_privilege(struct xml_write *x, const struct component_rights *r)
{
    xml_open(x, "privilege", NS_PRIVILEGE);
    if (r->roster != 0) {
        write_perm(x, "roster", bits_name(r->roster));
        xml_attr(x, "push", r->push ? SLICE("true") : SLICE("false"));
        xml_close(x);
    }
    if (r->message) {
        write_perm(x, "message", "outgoing");
        xml_close(x);
    }
    if (r->presence) {
        write_perm(x, "presence", r->contacts ? "roster" : "managed_entity");
        xml_close(x);
    }
    write_iq_perms(x, r->words);
    xml_close(x);
}

/* false: nothing is delegated to it. */
static bool write_delegation(struct xml_write *x, slice host, slice component)
{
    slice list = delegations(host), name;
    struct delegation d;
    bool any = false;
    xml_open(x, "delegation", NS_DELEGATION);
    while (delegation_next(&list, &d)) {
        if (!slice_eq(d.component, component))
            continue;
        any = true;
        xml_open_with(x, "delegated", NULL, "namespace", d.ns);
        while (slice_cut(d.filters, ',', &name, &d.filters) || name.len > 0)
            xml_empty_with(x, "attribute", NULL, "name", name);
        xml_close(x);
    }
    xml_close(x);
    return any;
}

static struct stanza *told(slice host, slice component, struct buf *content)
{
    return stanza_make_buf(STANZA_MESSAGE, TYPE_NORMAL, host, component, (slice){ 0 }, content);
}

/* The settings of each domain as components were told them: each worker has them, because any may
 * be the one that tells. Texts of settings are never freed. */
struct rights_told {
    slice privileges[NODE_DOMAINS_MAX], delegations[NODE_DOMAINS_MAX];
};
static unsigned rights_slot;

static bool had_privileges(slice list, slice component)
{
    slice name, words;
    while (next_component(&list, &name, &words))
        if (slice_eq(name, component))
            return true;
    return false;
}

static bool had_delegations(slice list, slice component)
{
    struct delegation d;
    while (delegation_next(&list, &d))
        if (slice_eq(d.component, component))
            return true;
    return false;
}

/* Who to tell: one that has rights, or had some until now. before: NULL: nobody was told. */
struct rights_telling {
    struct worker *worker;
    const struct rights_told *before;
    component_told_fn *fn;
    void *arg;
};

static void rights_tell(const struct rights_telling *t, slice component)
{
    const struct node *n = worker_node(t->worker);
    for (unsigned i = 0; i < n->domain_count; i++) {
        struct component_rights rights;
        struct buf out;
        struct xml_write x;
        if (component_rights(n->domains[i], component, &rights) ||
            (t->before != NULL && had_privileges(t->before->privileges[i], component))) {
            xml_begin(&x, &out, XML_STANZA_MAX);
            write_privilege(&x, &rights);
            t->fn(t->worker, told(n->domains[i], component, &out), t->arg);
        }
        xml_begin(&x, &out, XML_STANZA_MAX);
        if (write_delegation(&x, n->domains[i], component) ||
            (t->before != NULL && had_delegations(t->before->delegations[i], component)))
            t->fn(t->worker, told(n->domains[i], component, &out), t->arg);
        else
            buf_fini(&out);
    }
}

void component_rights_tell(struct worker *w, slice component, component_told_fn *fn, void *arg)
{
    const struct rights_telling telling = { w, NULL, fn, arg };
    rights_tell(&telling, component);
}

static void tell_by_route(struct worker *w, struct stanza *st, void *arg)
{
    (void)arg;
    route_send(w, st);
}

static void tell_connected(slice component, unsigned links, void *arg)
{
    const struct rights_telling *t = arg;
    (void)links;
    rights_tell(t, component);
    component_watch_begins(t->worker, component);
}

static void look_for_watchers(slice host, bool *any, bool *of_contacts)
{
    slice name, list = component_rights_list(host);
    struct component_rights r;
    while (component_rights_next(&list, &name, &r)) {
        *any = *any || r.presence || r.push;
        *of_contacts = *of_contacts || r.contacts;
    }
}

static void component_rights_look(struct worker *w)
{
    const struct node *n = worker_node(w);
    bool any = false, watched = false, of_contacts = false;
    for (unsigned i = 0; i < n->domain_count; i++) {
        any = any || delegations(n->domains[i]).len > 0;
        look_for_watchers(n->domains[i], &watched, &of_contacts);
    }
    atomic_store(&any_delegation, any);
    atomic_store(&any_watcher, watched);
    atomic_store(&any_of_contacts, of_contacts);
}

static void component_rights_keep(struct worker *w)
{
    const struct node *n = worker_node(w);
    struct rights_told *told = *worker_state(w, rights_slot);
    for (unsigned i = 0; i < n->domain_count; i++) {
        told->privileges[i] = component_rights_list(n->domains[i]);
        told->delegations[i] = delegations(n->domains[i]);
    }
}

/* XEP-0355 §7: who is connected hears of the change; one worker says it. */
static void component_rights_changed(struct worker *w, const struct setting *s)
{
    struct rights_telling t = { w, *worker_state(w, rights_slot), tell_by_route, NULL };
    (void)s;
    component_rights_look(w);
    if (duty_is_here(w, DUTY_LINKS))
        remote_each(w, tell_connected, &t);
    component_rights_keep(w);
}

static void component_rights_start(struct worker *w)
{
    *worker_state(w, rights_slot) = mem_new(struct rights_told);
    component_rights_look(w);
    component_rights_keep(w);
}

static void component_rights_ended(struct worker *w)
{
    struct rights_told *told = *worker_state(w, rights_slot);
    mem_free(&told);
    *worker_state(w, rights_slot) = NULL;
}

const struct feature component_rights_feature = {
    .name = "component-rights",
    .settings = (struct setting *const[]){ &component_privileges, &component_delegations, NULL },
    .worker.slot = &rights_slot,
    .worker.start = component_rights_start,
    .worker.ended = component_rights_ended,
};
