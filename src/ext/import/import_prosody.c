#include "ext/import/import_prosody.h"
#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "base/mem.h"
#include "codec/xml_write.h"
#include "ext/import/import_lua.h"
#include "ext/import/import_pie.h"
#include "ext/import/import_prosody_room.h"
#include "ext/import/import_source.h"
#include "ext/import/import_stanza.h"
#include "ext/import/import_user.h"
#include "xmpp/ns.h"

enum { KEY_MAX = 64, KEY_TEXT_MAX = 128 };

struct prosody {
    struct prosody_data *data;
    struct arena *arena;               /* of names */
    struct prosody_names hosts, users; /* of the host under way */
    uint32_t host, user;
    uint64_t given, all; /* users and rooms */
    bool rooms;          /* the second time: of each host its rooms, whose members are there then */
};

/* Stanzas: a table with name, attr, and children as its list. */

/* What the server adds to a stored stanza stands among its attributes. */
static bool is_stored_attr(slice name)
{
    return slice_is(name, "stamp") || slice_is(name, "stamp_legacy");
}

/* Into `out`, with `more` behind its children. ns: where it says none; NULL: that of the element
 * around it. Each has a writer of its own: they may be deep. */
void prosody_stanza(struct buf *out, const struct lua_value *v, const char *ns, slice more)
{
    struct xml_write x;
    slice name = lua_text(v, "name");
    const struct lua_value *attr = lua_get(v, "attr");
    if (!import_is_name(name))
        return;
    xml_write_to(&x, out);
    xml_open_sized(&x, name, lua_get(attr, "xmlns") == NULL ? slice_of(ns) : (slice){ 0 });
    for (const struct lua_field *f = attr == NULL ? NULL : attr->first; f != NULL; f = f->next)
        if (f->key.type == LUA_STRING && f->value.type == LUA_STRING &&
            import_is_name(f->key.text) && (ns == NULL || !is_stored_attr(f->key.text)))
            xml_attr_sized(&x, f->key.text, f->value.text);
    for (const struct lua_field *f = v->first; f != NULL; f = f->next) {
        if (f->key.type == LUA_NUMBER && f->value.type == LUA_TABLE)
            prosody_stanza(xml_content(&x), &f->value, NULL, (slice){ 0 });
        else if (f->key.type == LUA_NUMBER && f->value.type == LUA_STRING)
            xml_text_clean(&x, f->value.text);
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

static void write_contact(struct xml_write *x, slice jid, const struct lua_value *item)
{
    const struct lua_value *groups = lua_get(item, "groups");
    xml_open_with(x, "item", NULL, "jid", jid);
    xml_attr_some(x, "name", lua_text(item, "name"));
    xml_attr_some(x, "subscription", lua_text(item, "subscription"));
    xml_attr_some(x, "ask", lua_text(item, "ask"));
    for (const struct lua_field *f = groups == NULL ? NULL : groups->first; f != NULL; f = f->next)
        xml_element_some(x, "group", f->key.text);
    xml_close(x);
}

/* The key `false` has what is about the roster as a whole. */
static void write_roster(struct prosody_user *u)
{
    struct lua_value v = prosody_read(u, "roster");
    const struct lua_value *whole = NULL;
    xml_open(&u->x, "query", NS_ROSTER);
    for (const struct lua_field *f = v.first; f != NULL; f = f->next) {
        if (f->key.type == LUA_STRING && f->value.type == LUA_TABLE)
            write_contact(&u->x, f->key.text, &f->value);
        else if (f->key.type == LUA_BOOLEAN)
            whole = &f->value;
    }
    xml_close(&u->x);
    const struct lua_value *pending = lua_get(whole, "pending");
    for (const struct lua_field *f = pending == NULL ? NULL : pending->first; f != NULL;
         f = f->next) {
        xml_open_with(&u->x, "presence", NS_CLIENT, "from", f->key.text);
        xml_attr(&u->x, "type", SLICE("subscribe"));
        xml_close(&u->x);
    }
}

static void write_private(struct prosody_user *u)
{
    struct lua_value v = prosody_read(u, "private");
    xml_open(&u->x, "query", NS_PRIVATE);
    for (const struct lua_field *f = v.first; f != NULL; f = f->next)
        prosody_stanza(xml_content(&u->x), &f->value, NULL, (slice){ 0 });
    xml_close(&u->x);
}

static void write_blocks(struct prosody_user *u)
{
    struct lua_value v = prosody_read(u, "blocklist");
    xml_open(&u->x, "blocklist", "urn:xmpp:blocking");
    for (const struct lua_field *f = v.first; f != NULL; f = f->next)
        if (f->key.type == LUA_STRING)
            xml_empty_with(&u->x, "item", NULL, "jid", f->key.text);
    xml_close(&u->x);
}

static void write_archived(void *arg, const struct lua_value *item)
{
    struct prosody_user *u = arg;
    xml_open(&u->x, "result", NS_MAM);
    xml_attr_some(&u->x, "id", lua_text(item, "key"));
    xml_open(&u->x, "forwarded", NS_FORWARD);
    import_delay(&u->x, prosody_time_us(lua_text(item, "when")), (slice){ 0 });
    prosody_stanza(xml_content(&u->x), item, NS_CLIENT, (slice){ 0 });
    xml_close(&u->x);
    xml_close(&u->x);
}

static void write_offline(void *arg, const struct lua_value *item)
{
    struct prosody_user *u = arg;
    struct buf delay;
    struct xml_write x;
    xml_begin(&x, &delay, XML_PART_MAX);
    import_delay(&x, prosody_time_us(lua_text(item, "when")), prosody_name(u->host, u->tmp));
    prosody_stanza(xml_content(&u->x), item, NS_CLIENT, buf_fit(&delay));
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
        if (f->key.type == LUA_STRING && f->value.type != LUA_TABLE)
            write_field(&u->x, arena_printf(u->tmp, "pubsub#%.*s", SLICE_ARG(f->key.text)),
                        &f->value);
    xml_close(&u->x);
}

static void write_nodes(struct prosody_user *u, const struct lua_value *nodes)
{
    xml_open(&u->x, "pubsub", NS_PUBSUB_OWNER);
    for (const struct lua_field *f = nodes->first; f != NULL; f = f->next) {
        const struct lua_value *people = lua_get(&f->value, "affiliations");
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
    prosody_stanza(xml_content(&u->x), item, NS_PUBSUB, (slice){ 0 });
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
    struct lua_value card = prosody_read(u, "vcard"), pep = prosody_read(u, "pep");
    prosody_stanza(xml_content(&u->x), &card, NULL, (slice){ 0 });
    write_private(u);
    write_blocks(u);
    write_nodes(u, &pep);
    write_items(u, &pep);
    write_messages(u);
    xml_close(&u->x);
    ensure(u->x.depth == 0);
}

/* The source. */

static void prosody_close(void **source)
{
    struct prosody *s = *source;
    if (s == NULL)
        return;
    prosody_data_close(&s->data);
    mem_free(&s->hosts.at);
    mem_free(&s->users.at);
    arena_destroy(&s->arena);
    mem_free(source);
}

/* Adds to s->all. */
static enum err prosody_count(struct prosody *s, const char *host, const char *store,
                              struct why *why)
{
    struct prosody_names found = { 0 };
    struct arena *tmp = arena_create(0);
    enum err e = prosody_users(s->data, host, store, &found, tmp, why);
    s->all += found.count;
    mem_free(&found.at);
    arena_destroy(&tmp);
    return e;
}

static enum err prosody_open(void **source, const char *path, struct why *why)
{
    struct prosody *s = mem_zalloc(sizeof *s);
    s->arena = arena_create(0);
    *source = s;
    enum err e = prosody_data_open(&s->data, path, why);
    if (e == OK)
        e = prosody_hosts(s->data, &s->hosts, s->arena, why);
    for (uint32_t i = 0; e == OK && i < s->hosts.count; i++) {
        e = prosody_count(s, s->hosts.at[i], "accounts", why);
        if (e == OK)
            e = prosody_count(s, s->hosts.at[i], "config", why);
    }
    if (e != OK)
        prosody_close(source);
    return e;
}

static void prosody_progress(const void *source, uint64_t *done, uint64_t *all)
{
    const struct prosody *s = source;
    *done = s->given;
    *all = s->all;
}

static void prosody_user_read(struct prosody *s, struct arena *tmp, struct source_found *out)
{
    struct buf xml;
    struct prosody_user u = { .data = s->data,
                              .host = s->hosts.at[s->host - 1],
                              .user = s->users.at[s->user++],
                              .tmp = tmp };
    ensure(s->host > 0 && s->user <= s->users.count);
    xml_begin(&u.x, &xml, PIE_ELEMENT_MAX);
    prosody_write(&u);
    if (xml.overflow)
        why_set(&u.why, "it has more than %d MiB", PIE_ELEMENT_MAX >> 20);
    *out = (struct source_found){ .host = prosody_name(u.host, tmp),
                                  .name = prosody_name(u.user, tmp),
                                  .ns = SLICE(NS_PIE),
                                  .xml = slice_dup(tmp, buf_fit(&xml)) };
    if (u.why.text[0] != '\0')
        out->text = slice_of(arena_printf(tmp, "%s", u.why.text));
    buf_fini(&xml);
}

/* The next host, of its users or of its rooms. E_EOF: there is none. */
static enum err prosody_next_host(struct prosody *s, struct why *why)
{
    if (s->host == s->hosts.count) {
        if (s->rooms)
            return E_EOF;
        s->rooms = true;
        s->host = 0;
    }
    s->user = s->users.count = 0;
    if (s->hosts.count == 0)
        return OK;
    return prosody_users(s->data, s->hosts.at[s->host++], s->rooms ? "config" : "accounts",
                         &s->users, s->arena, why);
}

static enum source_unit prosody_next(void *source, struct arena *tmp, struct source_found *out,
                                     struct why *why)
{
    struct prosody *s = source;
    ensure(s->user <= s->users.count && s->host <= s->hosts.count);
    while (s->user == s->users.count) {
        enum err e = prosody_next_host(s, why);
        if (e != OK)
            return e == E_EOF ? SOURCE_END : SOURCE_ERROR;
    }
    s->given++;
    if (!s->rooms) {
        prosody_user_read(s, tmp, out);
        return SOURCE_USER;
    }
    prosody_room(&(struct prosody_user){ .data = s->data,
                                         .host = s->hosts.at[s->host - 1],
                                         .user = s->users.at[s->user++],
                                         .tmp = tmp },
                 out);
    return SOURCE_ROOM;
}

const struct source_kind source_prosody = {
    prosody_open,
    prosody_next,
    prosody_close,
    prosody_progress,
    NULL,
    "the data_path of Prosody, such as /var/lib/prosody, which has a folder for each host and in "
    "it "
    "a folder accounts with .dat files, or a file prosody.sqlite"
};
