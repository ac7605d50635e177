#include "base/arena.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "codec/pie.h"
#include "codec/xml_write.h"
#include "convert/ejabberd_rows.h"
#include "xmpp/ns.h"

struct ejabberd_account {
    struct ejabberd_reader *r;
    const struct ejabberd_owner *owner;
    struct xml_write x;
    struct buf keys;    /* elements of keys, which stand behind attributes */
    struct buf waiting; /* stanzas of who asks for a subscription, behind the contacts */
    slice rules;        /* the name of the list that applies by default */
};

/* Passwords: a text, or the record scram of keys in base64 with, in newer versions, the name of
 * their hash before the number of iterations. */

static slice mechanism_of(const struct erlang_term *scram)
{
    const struct erlang_term *hash = erlang_count(scram) == 6 ? erlang_at(scram, 4) : NULL;
    return erlang_is(hash, "sha256")   ? SLICE("SCRAM-SHA-256")
           : erlang_is(hash, "sha512") ? SLICE("SCRAM-SHA-512")
                                       : SLICE("SCRAM-SHA-1");
}

static void take_password(void *arg, const struct erlang_term *row)
{
    struct ejabberd_account *a = arg;
    struct xml_write x;
    const struct erlang_term *p = erlang_at(row, 2);
    slice plain = erlang_text(p);
    if (plain.len > 0)
        xml_attr(&a->x, "password", plain);
    if (!erlang_is(erlang_at(p, 0), "scram")) {
        if (plain.len == 0)
            ejabberd_lost(a->r, "passwords of an unknown form");
        return;
    }
    const struct erlang_term *count = erlang_at(p, erlang_count(p) - 1);
    xml_write_to(&x, &a->keys);
    xml_open_with(&x, "scram-credentials", NS_PIE_SCRAM, "mechanism", mechanism_of(p));
    xml_element(&x, "iter-count", count->text);
    xml_element(&x, "salt", erlang_text(erlang_at(p, 3)));
    xml_element(&x, "server-key", erlang_text(erlang_at(p, 2)));
    xml_element(&x, "stored-key", erlang_text(erlang_at(p, 1)));
    xml_close(&x);
}

/* Contacts: {roster, KEY, OWNER, JID, NAME, SUBSCRIPTION, ASK, GROUPS, MESSAGE, _}. ASK is `out`
 * for what the user has asked for, `in` for what the contact has, or `both`. */

static void take_waiting(struct ejabberd_account *a, slice from, slice says)
{
    struct xml_write x;
    xml_write_to(&x, &a->waiting);
    xml_open_with(&x, "presence", NS_CLIENT, "from", from);
    xml_attr(&x, "type", SLICE("subscribe"));
    if (says.len > 0) {
        xml_open(&x, "status", NULL);
        xml_text_clean(&x, says);
        xml_close(&x);
    }
    xml_close(&x);
}

static void take_contact(void *arg, const struct erlang_term *row)
{
    struct ejabberd_account *a = arg;
    struct arena *tmp = arena_create(0);
    const struct erlang_term *ask = erlang_at(row, 6), *groups = erlang_at(row, 7);
    slice jid = ejabberd_jid(erlang_at(row, 3), tmp), subscription = erlang_word(erlang_at(row, 5));
    bool in = erlang_is(ask, "in") || erlang_is(ask, "both");
    bool out = erlang_is(ask, "out") || erlang_is(ask, "both") || erlang_is(ask, "subscribe");
    if (in)
        take_waiting(a, jid, erlang_text(erlang_at(row, 8)));
    /* RFC 6121 §2.1.2.4: who only asks is no contact yet */
    if (slice_is(subscription, "remove")) {
        ejabberd_lost(a->r, "contacts that are being removed");
    } else if (!(in && !out && slice_is(subscription, "none"))) {
        xml_open_with(&a->x, "item", NULL, "jid", jid);
        xml_attr_some(&a->x, "name", erlang_text(erlang_at(row, 4)));
        xml_attr_some(&a->x, "subscription", subscription);
        if (out)
            xml_attr(&a->x, "ask", SLICE("subscribe"));
        EJABBERD_TEXTS_EACH(a->r, g, groups, "names of groups of an unknown form")
        xml_element_some(&a->x, "group", erlang_text(g));
        xml_close(&a->x);
    }
    arena_destroy(&tmp);
}

static void take_element(void *arg, const struct erlang_term *row)
{
    struct ejabberd_account *a = arg;
    ejabberd_element(a->r, xml_content(&a->x), erlang_at(row, 2), NULL, (slice){ 0 }, NULL);
}

/* Privacy lists: {privacy, KEY, DEFAULT, [{NAME, [{listitem, TYPE, VALUE, ACTION, ORDER, ALL, IQ,
 * MESSAGE, PRESENCE_IN, PRESENCE_OUT}]}]}. XEP-0016 §2.2.1: without a kind of stanza it is all. */

static void write_listed_rule(struct ejabberd_account *a, const struct erlang_term *rule)
{
    static const char *const kinds[] = { "iq", "message", "presence-in", "presence-out" };
    struct arena *tmp = arena_create(0);
    const struct erlang_term *type = erlang_at(rule, 1), *value = erlang_at(rule, 2);
    const struct erlang_term *order = erlang_at(rule, 4);
    bool all = erlang_is(erlang_at(rule, 5), "true");
    xml_open(&a->x, "item", NULL);
    if (!erlang_is(type, "none")) {
        xml_attr(&a->x, "type", erlang_word(type));
        xml_attr(&a->x, "value",
                 erlang_is(type, "jid") ? ejabberd_jid(value, tmp) : erlang_word(value));
    }
    xml_attr(&a->x, "action", erlang_word(erlang_at(rule, 3)));
    xml_attr(&a->x, "order", order == NULL ? (slice){ 0 } : order->text);
    for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0] && !all; i++)
        if (erlang_is(erlang_at(rule, 6 + i), "true"))
            xml_empty(&a->x, kinds[i], NULL);
    xml_close(&a->x);
    arena_destroy(&tmp);
}

static void take_rules(void *arg, const struct erlang_term *row)
{
    struct ejabberd_account *a = arg;
    const struct erlang_term *standard = erlang_at(row, 2), *lists = erlang_at(row, 3);
    xml_open(&a->x, "query", "jabber:iq:privacy");
    if (erlang_text(standard).len > 0)
        xml_empty_with(&a->x, "default", NULL, "name", erlang_text(standard));
    for (const struct erlang_term *l = erlang_at(lists, 0); l != NULL; l = l->next) {
        const struct erlang_term *rules = erlang_at(l, 1);
        xml_open_with(&a->x, "list", NULL, "name", erlang_text(erlang_at(l, 0)));
        for (const struct erlang_term *i = erlang_at(rules, 0); i != NULL; i = i->next)
            write_listed_rule(a, i);
        xml_close(&a->x);
    }
    xml_close(&a->x);
}

/* PEP: {pubsub_node, {OWNER, NODE}, NUMBER, PARENTS, TYPE, OWNERS, OPTIONS}, and of each node
 * {pubsub_item, {ID, NUMBER}, NUMBER, CREATED, MODIFIED, [PAYLOAD]}. */

static void write_option(struct ejabberd_account *a, const struct erlang_term *option)
{
    const struct erlang_term *value = erlang_at(option, 1);
    slice name = erlang_word(erlang_at(option, 0));
    struct arena *tmp = arena_create(0);
    if (name.len == 0 || value == NULL || value->type > ERLANG_TEXT) {
        bool empty = value != NULL && value->type == ERLANG_LIST && value->first == NULL;
        if (!empty)
            ejabberd_lost(a->r, arena_printf(tmp, "options %.*s of nodes", SLICE_ARG(name)));
        arena_destroy(&tmp);
        return;
    }
    xml_open_with(&a->x, "field", NULL, "var",
                  slice_of(arena_printf(tmp, "pubsub#%.*s", SLICE_ARG(name))));
    xml_open(&a->x, "value", NULL);
    xml_text_clean(&a->x, erlang_is(value, "true")    ? SLICE("1")
                          : erlang_is(value, "false") ? SLICE("0")
                                                      : value->text);
    xml_close(&a->x);
    xml_close(&a->x);
    arena_destroy(&tmp);
}

static void take_node(void *arg, const struct erlang_term *row)
{
    struct ejabberd_account *a = arg;
    const struct erlang_term *options = erlang_at(row, 6);
    xml_open_with(&a->x, "configure", NULL, "node", erlang_text(erlang_at(erlang_at(row, 1), 1)));
    xml_open_with(&a->x, "x", "jabber:x:data", "type", SLICE("submit"));
    xml_open_with(&a->x, "field", NULL, "var", SLICE("FORM_TYPE"));
    xml_element(&a->x, "value", SLICE(NS_PUBSUB "#node_config"));
    xml_close(&a->x);
    for (const struct erlang_term *o = erlang_at(options, 0); o != NULL; o = o->next)
        write_option(a, o);
    xml_close(&a->x);
    xml_close(&a->x);
}

static void take_pep_item(void *arg, const struct erlang_term *row)
{
    struct ejabberd_account *a = arg;
    const struct erlang_term *payload = erlang_at(erlang_at(row, 5), 0);
    if (payload != NULL && payload->next != NULL)
        ejabberd_lost(a->r, "second elements of items");
    xml_open_with(&a->x, "item", NULL, "id", erlang_text(erlang_at(erlang_at(row, 1), 0)));
    if (payload != NULL)
        ejabberd_element(a->r, xml_content(&a->x), payload, NULL, (slice){ 0 }, NULL);
    xml_close(&a->x);
}

static void take_pep_items(void *arg, const struct erlang_term *row)
{
    struct ejabberd_account *a = arg;
    const struct erlang_term *number = erlang_at(row, 2);
    if (number == NULL) {
        ejabberd_lost(a->r, "nodes without a number");
        return;
    }
    xml_open_with(&a->x, "items", NULL, "node", erlang_text(erlang_at(erlang_at(row, 1), 1)));
    ejabberd_each(a->r, ejabberd_owner(a->r, number->text), EJABBERD_ITEM, take_pep_item, a);
    a->r->table = EJABBERD_NODE;
    xml_close(&a->x);
}

/* Messages. */

/* {archive_msg, OWNER, ID, TIME, PEER, BARE_PEER, STANZA, NICK, TYPE}. */
static void take_archived(void *arg, const struct erlang_term *row)
{
    struct ejabberd_account *a = arg;
    xml_open(&a->x, "result", NS_MAM);
    xml_attr_some(&a->x, "id", erlang_text(erlang_at(row, 2)));
    xml_open(&a->x, "forwarded", NS_FORWARD);
    write_delay(&a->x, ejabberd_time_us(erlang_at(row, 3)), (slice){ 0 });
    ejabberd_element(a->r, xml_content(&a->x), erlang_at(row, 6), NS_CLIENT, (slice){ 0 }, NULL);
    xml_close(&a->x);
    xml_close(&a->x);
}

/* {offline_msg, OWNER, TIME, EXPIRES, FROM, TO, STANZA}; EXPIRES: `never`, or a time. */
static void take_offline(void *arg, const struct erlang_term *row)
{
    struct ejabberd_account *a = arg;
    struct buf delay;
    struct xml_write x;
    uint64_t ends_us = ejabberd_time_us(erlang_at(row, 3));
    if (ends_us > 0 && ends_us < clock_wall_us()) {
        ejabberd_lost(a->r, "messages that have expired");
        return;
    }
    xml_begin(&x, &delay, XML_PART_MAX);
    write_delay(&x, ejabberd_time_us(erlang_at(row, 2)), a->owner->host);
    ejabberd_element(a->r, xml_content(&a->x), erlang_at(row, 6), NS_CLIENT, buf_fit(&delay),
                     ejabberd_is_added);
    buf_fini(&delay);
}

/* The account. */

static void account_rows(struct ejabberd_account *a, enum ejabberd_table table, ejabberd_fn *fn)
{
    ejabberd_each(a->r, a->owner, table, fn, a);
}

static void account_group(struct ejabberd_account *a, const char *name, const char *ns,
                          enum ejabberd_table table, ejabberd_fn *fn)
{
    if ((a->owner->tables & 1u << table) == 0)
        return;
    xml_open(&a->x, name, ns);
    account_rows(a, table, fn);
    xml_close(&a->x);
}

static void account_write(struct ejabberd_account *a)
{
    xml_open_with(&a->x, "user", NULL, "name", a->owner->name);
    account_rows(a, EJABBERD_PASSWORD, take_password);
    xml_raw(&a->x, buf_fit(&a->keys));
    account_group(a, "query", NS_ROSTER, EJABBERD_CONTACT, take_contact);
    xml_raw(&a->x, buf_fit(&a->waiting));
    account_rows(a, EJABBERD_VCARD, take_element);
    account_group(a, "query", NS_PRIVATE, EJABBERD_PRIVATE, take_element);
    account_rows(a, EJABBERD_PRIVACY, take_rules);
    account_group(a, "pubsub", NS_PUBSUB_OWNER, EJABBERD_NODE, take_node);
    account_group(a, "pubsub", NS_PUBSUB, EJABBERD_NODE, take_pep_items);
    account_group(a, "archive", NS_PIE "#mam", EJABBERD_ARCHIVED, take_archived);
    account_group(a, "offline-messages", NULL, EJABBERD_OFFLINE, take_offline);
    xml_close(&a->x);
    ensure(a->x.depth == 0);
}

void ejabberd_user(struct ejabberd_reader *r, const struct ejabberd_owner *owner)
{
    struct buf xml;
    struct ejabberd_account a = { .r = r, .owner = owner };
    struct output *o = r->dump->output;
    ensure((owner->tables & 1u << EJABBERD_PASSWORD) != 0);
    buf_init(&a.keys, XML_PART_MAX);
    buf_init(&a.waiting, PIE_ELEMENT_MAX);
    xml_begin(&a.x, &xml, PIE_ELEMENT_MAX);
    account_write(&a);
    if (xml.overflow || a.waiting.overflow || a.keys.overflow)
        why_set(&r->why, "it has more than %d MiB", PIE_ELEMENT_MAX >> 20);
    if (r->why.text[0] != '\0')
        output_refused(o, owner->host, owner->name, r->why.text);
    else
        output_user(o, owner->host, buf_slice(&xml));
    buf_fini(&a.keys);
    buf_fini(&a.waiting);
    buf_fini(&xml);
}
