#include "convert/prosody.h"
#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "base/mem.h"
#include "codec/pie.h"
#include "codec/xml_write.h"
#include "convert/convert.h"
#include "xmpp/ns.h"

enum { KEY_MAX = 64, KEY_TEXT_MAX = 128 };

/* Stanzas: a table with name, attr, and children as its list. */

/* The server adds these to a stanza that it stores. */
static bool is_stored_attr(slice name)
{
    return slice_is(name, "stamp") || slice_is(name, "stamp_legacy");
}

static bool is_list(const struct lua_field *f, enum lua_type type)
{
    return f->key.type == LUA_NUMBER && f->value.type == type;
}

/* An entry of an archive also has its key, its time and with whom it is. */
static bool is_stanza_field(slice name)
{
    static const char *const names[] = { "name", "attr", "key", "when", "with", "last_add" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (slice_is(name, names[i]))
            return true;
    return false;
}

static void stanza_attrs(const struct prosody_user *u, struct xml_write *x,
                         const struct lua_value *attr, bool stored)
{
    for (const struct lua_field *f = attr == NULL ? NULL : attr->first; f != NULL; f = f->next) {
        bool fine =
            f->key.type == LUA_STRING && f->value.type == LUA_STRING && is_xml_name(f->key.text);
        if (fine && !(stored && is_stored_attr(f->key.text)))
            xml_attr_sized(x, f->key.text, f->value.text);
        else if (!fine)
            prosody_lost(u, "attributes of an unknown form", (slice){ 0 });
    }
}

/* Each has a writer of its own: they may be deep. */
void prosody_stanza(const struct prosody_user *u, struct buf *out, const struct lua_value *v,
                    const char *ns, slice more)
{
    struct xml_write x;
    slice name = lua_text(v, "name");
    const struct lua_value *attr = lua_get(v, "attr");
    if (v->type == LUA_NIL)
        return;
    if (!is_xml_name(name)) {
        prosody_lost(u, "elements of an unknown form", (slice){ 0 });
        return;
    }
    xml_write_to(&x, out);
    xml_open_sized(&x, name, lua_get(attr, "xmlns") == NULL ? slice_of(ns) : (slice){ 0 });
    stanza_attrs(u, &x, attr, ns != NULL);
    for (const struct lua_field *f = v->first; f != NULL; f = f->next) {
        if (is_list(f, LUA_TABLE))
            prosody_stanza(u, xml_content(&x), &f->value, NULL, (slice){ 0 });
        else if (is_list(f, LUA_STRING))
            xml_text_clean(&x, f->value.text);
        else if (f->key.type == LUA_NUMBER)
            prosody_lost(u, "children of an unknown form", (slice){ 0 });
        else if (!is_stanza_field(f->key.text))
            prosody_lost(u, "fields of elements:", f->key.text);
    }
    xml_raw(&x, more);
    xml_close(&x);
}

/* Microseconds since 1970 of a number of seconds, "1588327200" or "1588327200.25"; 0: it is none.
 */
uint64_t prosody_time_us(slice when)
{
    int64_t seconds;
    slice whole, rest = { 0 };
    if (!slice_cut(when, '.', &whole, &rest))
        whole = when;
    if (!slice_int(whole, &seconds) || seconds <= 0 || seconds > INT32_MAX)
        return 0;
    uint64_t us = (uint64_t)seconds * 1000000;
    unsigned unit = 100000;
    for (size_t i = 0; i < rest.len && rest.ptr[i] >= '0' && rest.ptr[i] <= '9'; i++, unit /= 10)
        us += unit * (unsigned)(rest.ptr[i] - '0');
    return us;
}

/* Stores. */

static void write_base64(struct xml_write *x, const char *name, slice bytes)
{
    struct buf text;
    buf_init(&text, KEY_TEXT_MAX);
    base64_encode(&text, bytes);
    xml_element(x, name, buf_fit(&text));
    buf_fini(&text);
}

static void write_key(struct xml_write *x, const char *name, slice hex)
{
    char bytes[KEY_MAX];
    size_t len = hex.len / 2;
    bool fine = hex.len % 2 == 0 && len <= sizeof bytes && hex_decode(bytes, len, hex);
    write_base64(x, name, (slice){ bytes, fine ? len : 0 });
}

static void write_account(struct prosody_user *u)
{
    struct xml_write *x = &u->x;
    struct lua_value v = prosody_read(u, "accounts");
    slice stored = lua_text(&v, "stored_key");
    const struct lua_value *disabled = lua_get(&v, "disabled");
    static const char *const read[] = { "password",        "disabled", "stored_key", "server_key",
                                        "iteration_count", "salt",     NULL };
    prosody_lost_fields(u, &v, "accounts", read);
    xml_open(x, "user", NULL);
    xml_attr(x, "name", prosody_name(u->user, u->tmp));
    xml_attr_some(x, "password", lua_text(&v, "password"));
    if (disabled != NULL && disabled->truth) /* Prosody 13; or it waits for its deletion */
        xml_empty(x, "disabled", NS_PIE_MORE);
    if (stored.len == 0)
        return;
    xml_open_with(x, "scram-credentials", NS_PIE_SCRAM, "mechanism",
                  stored.len == 64    ? SLICE("SCRAM-SHA-256")
                  : stored.len == 128 ? SLICE("SCRAM-SHA-512")
                                      : SLICE("SCRAM-SHA-1"));
    xml_element(x, "iter-count", lua_text(&v, "iteration_count"));
    write_base64(x, "salt", lua_text(&v, "salt"));
    write_key(x, "server-key", lua_text(&v, "server_key"));
    write_key(x, "stored-key", stored);
    xml_close(x);
}

static void write_contact(struct prosody_user *u, slice jid, const struct lua_value *item)
{
    static const char *const read[] = { "name", "subscription", "ask", "groups", "approved", NULL };
    struct xml_write *x = &u->x;
    const struct lua_value *groups = lua_get(item, "groups"), *approved = lua_get(item, "approved");
    prosody_lost_fields(u, item, "contacts", read);
    xml_open_with(x, "item", NULL, "jid", jid);
    xml_attr_some(x, "name", lua_text(item, "name"));
    xml_attr_some(x, "subscription", lua_text(item, "subscription"));
    xml_attr_some(x, "ask", lua_text(item, "ask"));
    if (approved != NULL && (approved->truth || slice_is(approved->text, "true")))
        xml_attr(x, "approved", SLICE("true"));
    for (const struct lua_field *f = groups == NULL ? NULL : groups->first; f != NULL; f = f->next)
        xml_element_some(x, "group", f->key.text);
    xml_close(x);
}

/* Requests for a subscription: the stanza, or only that there was one. */
static void write_requests(struct prosody_user *u, const struct lua_value *pending)
{
    for (const struct lua_field *f = pending == NULL ? NULL : pending->first; f != NULL;
         f = f->next) {
        if (f->value.type == LUA_TABLE && lua_text(lua_get(&f->value, "attr"), "from").len > 0) {
            prosody_stanza(u, xml_content(&u->x), &f->value, NS_CLIENT, (slice){ 0 });
            continue;
        }
        xml_open_with(&u->x, "presence", NS_CLIENT, "from", f->key.text);
        xml_attr(&u->x, "type", SLICE("subscribe"));
        xml_close(&u->x);
    }
}

/* The key `false` has what is about the roster as a whole. */
static void write_roster(struct prosody_user *u)
{
    static const char *const read[] = { "pending", "version", NULL };
    struct lua_value v = prosody_read(u, "roster");
    const struct lua_value *whole = NULL;
    xml_open(&u->x, "query", NS_ROSTER);
    for (const struct lua_field *f = v.first; f != NULL; f = f->next) {
        if (f->key.type == LUA_BOOLEAN)
            whole = &f->value;
        else if (f->key.type == LUA_STRING && f->value.type == LUA_TABLE)
            write_contact(u, f->key.text, &f->value);
        else
            prosody_lost(u, "contacts of an unknown form", (slice){ 0 });
    }
    xml_close(&u->x);
    prosody_lost_fields(u, whole, "the roster", read);
    write_requests(u, lua_get(whole, "pending"));
}

static void write_private(struct prosody_user *u)
{
    struct lua_value v = prosody_read(u, "private");
    xml_open(&u->x, "query", NS_PRIVATE);
    for (const struct lua_field *f = v.first; f != NULL; f = f->next)
        prosody_stanza(u, xml_content(&u->x), &f->value, NULL, (slice){ 0 });
    xml_close(&u->x);
}

/* mod_privacy. XEP-0016 §2.2.1: without a kind of stanza it is all. */

static void write_privacy_rule(struct prosody_user *u, const struct lua_value *rule)
{
    static const char *const read[] = { "type",    "value",       "action",       "order", "iq",
                                        "message", "presence-in", "presence-out", NULL };
    const char *const *kinds = read + 4;
    prosody_lost_fields(u, rule, "rules", read);
    xml_open(&u->x, "item", NULL);
    for (unsigned i = 0; i < 4; i++)
        xml_attr_some(&u->x, read[i], lua_text(rule, read[i]));
    for (; *kinds != NULL; kinds++) {
        const struct lua_value *holds = lua_get(rule, *kinds);
        if (holds != NULL && holds->truth)
            xml_empty(&u->x, *kinds, NULL);
    }
    xml_close(&u->x);
}

static void write_rules(struct prosody_user *u)
{
    static const char *const read[] = { "default", "lists", NULL };
    static const char *const of_list[] = { "name", "items", NULL };
    struct lua_value v = prosody_read(u, "privacy");
    const struct lua_value *lists = lua_get(&v, "lists");
    if (v.type == LUA_NIL)
        return;
    prosody_lost_fields(u, &v, "privacy lists", read);
    xml_open(&u->x, "query", "jabber:iq:privacy");
    if (lua_text(&v, "default").len > 0)
        xml_empty_with(&u->x, "default", NULL, "name", lua_text(&v, "default"));
    for (const struct lua_field *l = lists == NULL ? NULL : lists->first; l != NULL; l = l->next) {
        const struct lua_value *items = lua_get(&l->value, "items");
        prosody_lost_fields(u, &l->value, "a privacy list", of_list);
        xml_open_with(&u->x, "list", NULL, "name",
                      l->key.type == LUA_STRING ? l->key.text : lua_text(&l->value, "name"));
        for (const struct lua_field *i = items == NULL ? NULL : items->first; i != NULL;
             i = i->next)
            write_privacy_rule(u, &i->value);
        xml_close(&u->x);
    }
    xml_close(&u->x);
}

static void write_blocks(struct prosody_user *u)
{
    struct lua_value v = prosody_read(u, "blocklist");
    xml_open(&u->x, "blocklist", "urn:xmpp:blocking");
    for (const struct lua_field *f = v.first; f != NULL; f = f->next)
        if (f->key.type == LUA_STRING)
            xml_empty_with(&u->x, "item", NULL, "jid", f->key.text);
        else if (f->key.type != LUA_BOOLEAN) /* its version */
            prosody_lost(u, "blocks of an unknown form", (slice){ 0 });
    xml_close(&u->x);
}

static void write_archived(void *arg, const struct lua_value *item)
{
    struct prosody_user *u = arg;
    xml_open(&u->x, "result", NS_MAM);
    xml_attr_some(&u->x, "id", lua_text(item, "key"));
    xml_open(&u->x, "forwarded", NS_FORWARD);
    write_delay(&u->x, prosody_time_us(lua_text(item, "when")), (slice){ 0 });
    prosody_stanza(u, xml_content(&u->x), item, NS_CLIENT, (slice){ 0 });
    xml_close(&u->x);
    xml_close(&u->x);
}

static void write_offline(void *arg, const struct lua_value *item)
{
    struct prosody_user *u = arg;
    struct buf delay;
    struct xml_write x;
    xml_begin(&x, &delay, XML_PART_MAX);
    write_delay(&x, prosody_time_us(lua_text(item, "when")), prosody_name(u->host, u->tmp));
    prosody_stanza(u, xml_content(&u->x), item, NS_CLIENT, buf_fit(&delay));
    buf_fini(&delay);
}

static void write_messages(struct prosody_user *u)
{
    xml_open(&u->x, "archive", NS_PIE "#mam");
    prosody_each(u, "archive", write_archived);
    xml_close(&u->x);
    xml_open(&u->x, "offline-messages", NULL);
    prosody_each(u, "offline", write_offline);
    xml_close(&u->x);
}

/* PEP: `pep` has the nodes, pep_NODE the items of each. */

static void write_field(struct xml_write *x, const char *var, const struct lua_value *value)
{
    xml_open_with(x, "field", NULL, "var", slice_of(var));
    xml_open(x, "value", NULL);
    if (value->type == LUA_BOOLEAN)
        xml_text(x, value->truth ? SLICE("1") : SLICE("0"));
    else
        xml_text_clean(x, value->text);
    xml_close(x);
    xml_close(x);
}

static void write_config(struct prosody_user *u, const struct lua_value *config)
{
    const struct lua_value type = { .type = LUA_STRING, .text = SLICE(NS_PUBSUB "#node_config") };
    xml_open_with(&u->x, "x", "jabber:x:data", "type", SLICE("submit"));
    write_field(&u->x, "FORM_TYPE", &type);
    for (const struct lua_field *f = config == NULL ? NULL : config->first; f != NULL; f = f->next)
        if (f->key.type != LUA_STRING || f->value.type == LUA_TABLE)
            prosody_lost(u, "options of nodes:", f->key.text);
        else
            write_field(&u->x, arena_printf(u->tmp, "pubsub#%.*s", SLICE_ARG(f->key.text)),
                        &f->value);
    xml_close(&u->x);
}

static void write_nodes(struct prosody_user *u, const struct lua_value *nodes)
{
    xml_open(&u->x, "pubsub", NS_PUBSUB_OWNER);
    for (const struct lua_field *f = nodes->first; f != NULL; f = f->next) {
        static const char *const read[] = { "name", "config", "affiliations", NULL };
        const struct lua_value *people = lua_get(&f->value, "affiliations");
        prosody_lost_fields(u, &f->value, "nodes", read);
        xml_open_with(&u->x, "configure", NULL, "node", f->key.text);
        write_config(u, lua_get(&f->value, "config"));
        xml_close(&u->x);
        xml_open_with(&u->x, "affiliations", NULL, "node", f->key.text);
        for (const struct lua_field *p = people == NULL ? NULL : people->first; p != NULL;
             p = p->next) {
            xml_open_with(&u->x, "affiliation", NULL, "jid", p->key.text);
            xml_attr(&u->x, "affiliation", p->value.text);
            xml_close(&u->x);
        }
        xml_close(&u->x);
    }
    xml_close(&u->x);
}

static void write_pep_item(void *arg, const struct lua_value *item)
{
    struct prosody_user *u = arg;
    xml_open_with(&u->x, "item", NULL, "id", lua_text(item, "key"));
    prosody_stanza(u, xml_content(&u->x), item, NS_PUBSUB, (slice){ 0 });
    xml_close(&u->x);
}

static void write_items(struct prosody_user *u, const struct lua_value *nodes)
{
    xml_open(&u->x, "pubsub", NS_PUBSUB);
    for (const struct lua_field *f = nodes->first; f != NULL; f = f->next) {
        xml_open_with(&u->x, "items", NULL, "node", f->key.text);
        prosody_each(u, arena_printf(u->tmp, "pep_%.*s", SLICE_ARG(f->key.text)), write_pep_item);
        xml_close(&u->x);
    }
    xml_close(&u->x);
}

static void prosody_write(struct prosody_user *u)
{
    write_account(u);
    write_roster(u);
    struct lua_value card = prosody_read(u, "vcard");
    prosody_stanza(u, xml_content(&u->x), &card, NULL, (slice){ 0 });
    write_private(u);
    write_blocks(u);
    write_rules(u);
    struct lua_value pep = prosody_read(u, "pep");
    write_nodes(u, &pep);
    write_items(u, &pep);
    write_messages(u);
    xml_close(&u->x);
    ensure(u->x.depth == 0);
}

/* The source. */

struct prosody {
    struct prosody_data *data;
    struct output *output;
    struct arena *names;
    struct prosody_names hosts;
    uint64_t given, all; /* users and rooms */
};

static void prosody_account(struct prosody_user *u)
{
    struct buf xml;
    xml_begin(&u->x, &xml, PIE_ELEMENT_MAX);
    prosody_write(u);
    if (xml.overflow)
        why_set(&u->why, "it has more than %d MiB", PIE_ELEMENT_MAX >> 20);
    slice host = prosody_name(u->host, u->tmp);
    if (u->why.text[0] != '\0')
        output_refused(u->output, host, prosody_name(u->user, u->tmp), u->why.text);
    else
        output_user(u->output, host, buf_slice(&xml));
    buf_fini(&xml);
}

typedef void prosody_fn(struct prosody_user *u);

/* Each who has this store; fn NULL: they are only counted. */
static enum err prosody_each_with(struct prosody *s, const char *store, prosody_fn *fn,
                                  struct why *why)
{
    struct prosody_names found = { 0 };
    struct arena *names = arena_create(0), *tmp = arena_create(0);
    enum err e = OK;
    for (uint32_t i = 0; e == OK && i < s->hosts.count; i++) {
        e = prosody_users(s->data, s->hosts.at[i], store, &found, names, why);
        s->all += fn == NULL ? found.count : 0;
        for (uint32_t j = 0; fn != NULL && e == OK && j < found.count; j++) {
            struct prosody_user u = { .data = s->data,
                                      .output = s->output,
                                      .host = s->hosts.at[i],
                                      .user = found.at[j],
                                      .tmp = tmp };
            slice host = prosody_name(u.host, tmp), user = prosody_name(u.user, tmp);
            u.label = slice_of(arena_printf(tmp, "%.*s@%.*s", SLICE_ARG(user), SLICE_ARG(host)));
            fn(&u);
            output_progress(s->output, ++s->given, s->all);
            arena_reset(tmp);
        }
        arena_reset(names);
    }
    mem_free(&found.at);
    arena_destroy(&names);
    arena_destroy(&tmp);
    return e;
}

/* A file of groups is read first: if it is damaged, there is no need for the rest. Rooms come
 * behind all users: their members are there then. */
enum err prosody_convert(struct output *o, const char *path, const char *option, struct why *why)
{
    struct prosody s = { .output = o, .names = arena_create(0) };
    enum err e = option != NULL ? prosody_groups_file(o, option, why) : OK;
    if (e == OK)
        e = prosody_data_open(&s.data, path, why);
    if (e == OK)
        e = prosody_hosts(s.data, &s.hosts, s.names, why);
    if (e == OK)
        e = prosody_each_with(&s, "accounts", NULL, why);
    if (e == OK)
        e = prosody_each_with(&s, "config", NULL, why);
    if (e == OK)
        e = prosody_each_with(&s, "accounts", prosody_account, why);
    if (e == OK)
        e = prosody_each_with(&s, "config", prosody_room, why);
    if (e == OK)
        e = prosody_data_rest(s.data, o, why);
    prosody_data_close(&s.data);
    mem_free(&s.hosts.at);
    arena_destroy(&s.names);
    return e;
}
