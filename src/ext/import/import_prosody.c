#include "ext/import/import_prosody.h"
#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "base/mem.h"
#include "base/whole_file.h"
#include "codec/xml_write.h"
#include "ext/import/import_lua.h"
#include "ext/import/import_pie.h"
#include "ext/import/import_prosody_room.h"
#include "ext/import/import_source.h"
#include "ext/import/import_stanza.h"
#include "ext/import/import_user.h"
#include "xmpp/ns.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { NAMES_MAX = 1000000, KEY_MAX = 64, KEY_TEXT_MAX = 128 };

/* What its mod_storage_sql writes with SQLite. */
#define SQL_FILE "prosody.sqlite"

struct names {
    char **at;
    uint32_t count, cap;
};
struct prosody {
    struct arena *arena; /* of names */
    const char *path;
    struct names hosts, users; /* as the files are called; of the host under way */
    uint32_t host, user;
    uint64_t given, all; /* users and rooms */
    bool rooms;          /* the second time: of each host its rooms, whose members are there then */
    bool sql;            /* other stores of it are in SQL_FILE; said once */
};

/* Names. */

static int name_order(const void *one, const void *other)
{
    return strcmp(*(char *const *)one, *(char *const *)other);
}

/* Entries of a folder that end in `ending`, without it. false: it cannot be read. */
static bool names_read(struct names *out, const char *path, const char *ending, struct arena *keep)
{
    DIR *dir = opendir(path);
    const struct dirent *e;
    size_t n = strlen(ending);
    out->count = 0;
    if (dir == NULL)
        return false;
    while ((e = readdir(dir)) != NULL && out->count < NAMES_MAX) {
        size_t len = strlen(e->d_name);
        if (len <= n || e->d_name[0] == '.' || strcmp(e->d_name + len - n, ending) != 0)
            continue;
        if (out->count == out->cap) {
            out->cap = 2 * out->cap + 64;
            out->at = mem_realloc(out->at, out->cap * sizeof *out->at);
        }
        out->at[out->count++] = slice_cstr(keep, (slice){ e->d_name, len - n });
    }
    closedir(dir);
    if (out->count > 0)
        qsort(out->at, out->count, sizeof *out->at, name_order);
    return true;
}

/* What a name of a file means; a % without digits stays. */
slice prosody_name(const char *name, struct arena *tmp)
{
    size_t len = strlen(name), n = 0;
    char *out = arena_alloc_raw(tmp, len + 1);
    for (size_t i = 0; i < len; i++) {
        if (name[i] == '%' && len - i > 2 && hex_decode(out + n, 1, (slice){ name + i + 1, 2 })) {
            i += 2;
            n++;
        } else {
            out[n++] = name[i];
        }
    }
    return (slice){ out, n };
}

/* A store is called as it is, but for what is neither a letter, a digit nor `_`. */
static const char *store_encode(slice store, struct arena *tmp)
{
    struct buf b;
    buf_init(&b, PIE_TAG_MAX);
    for (size_t i = 0; i < store.len; i++) {
        unsigned char c = (unsigned char)store.ptr[i];
        bool plain = c == '_' || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
        buf_printf(&b, plain ? "%c" : "%%%02x", c);
    }
    const char *text = slice_cstr(tmp, buf_fit(&b));
    buf_fini(&b);
    return text;
}

/* Files. */

/* Of the user. false: it is not there, or u->why says why it is not read. */
static bool prosody_load(struct prosody_user *u, const char *store, const char *ending,
                         struct buf *text)
{
    struct why why;
    const char *path =
        arena_printf(u->tmp, "%s/%s/%s/%s%s", u->path, u->host, store, u->user, ending);
    if (access(path, F_OK) != 0)
        return false;
    if (whole_file_read(text, path, &why) != OK)
        why_set(&u->why, "%s", why.text);
    else if ((u->bytes += buf_slice(text).len) > PROSODY_USER_MAX)
        why_set(&u->why, "%s/%s%s: the files of this user have more than %d MiB", store, u->user,
                ending, PROSODY_USER_MAX >> 20);
    else
        return true;
    return false;
}

/* A file that is not there is nil. */
struct lua_value prosody_read(struct prosody_user *u, const char *store, const char *ending)
{
    struct lua_value v = { .type = LUA_NIL };
    struct buf text;
    struct why why;
    buf_init(&text, PROSODY_FILE_MAX);
    if (prosody_load(u, store, ending, &text) &&
        lua_read(&v, slice_dup(u->tmp, buf_fit(&text)), u->tmp, &why) != OK)
        why_set(&u->why, "%s/%s%s: %s", store, u->user, ending, why.text);
    buf_fini(&text);
    return v;
}

/* Items one after the other, since there may be very many. */
void prosody_each(struct prosody_user *u, const char *store, lua_item_fn *fn)
{
    struct buf text;
    struct why why;
    struct arena *item = arena_create(0);
    buf_init(&text, PROSODY_FILE_MAX);
    if (prosody_load(u, store, ".list", &text) && lua_each(buf_fit(&text), item, fn, u, &why) != OK)
        why_set(&u->why, "%s/%s.list: %s", store, u->user, why.text);
    buf_fini(&text);
    arena_destroy(&item);
}

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
    struct lua_value v = prosody_read(u, "accounts", ".dat");
    slice stored = lua_text(&v, "stored_key");
    xml_open(x, "user", NULL);
    xml_attr(x, "name", prosody_name(u->user, u->tmp));
    xml_attr_some(x, "password", lua_text(&v, "password"));
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
    struct lua_value v = prosody_read(u, "roster", ".dat");
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
    struct lua_value v = prosody_read(u, "private", ".dat");
    xml_open(&u->x, "query", NS_PRIVATE);
    for (const struct lua_field *f = v.first; f != NULL; f = f->next)
        prosody_stanza(xml_content(&u->x), &f->value, NULL, (slice){ 0 });
    xml_close(&u->x);
}

static void write_blocks(struct prosody_user *u)
{
    struct lua_value v = prosody_read(u, "blocklist", ".dat");
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

static void write_items(struct prosody_user *u, const struct lua_value *nodes)
{
    xml_open(&u->x, "pubsub", NS_PUBSUB);
    for (const struct lua_field *f = nodes->first; f != NULL; f = f->next) {
        struct lua_value items = prosody_read(
            u, arena_printf(u->tmp, "pep_%s", store_encode(f->key.text, u->tmp)), ".list");
        xml_open_with(&u->x, "items", NULL, "node", f->key.text);
        for (const struct lua_field *i = items.first; i != NULL; i = i->next) {
            xml_open_with(&u->x, "item", NULL, "id", lua_text(&i->value, "key"));
            prosody_stanza(xml_content(&u->x), &i->value, NS_PUBSUB, (slice){ 0 });
            xml_close(&u->x);
        }
        xml_close(&u->x);
    }
    xml_close(&u->x);
}

static void prosody_write(struct prosody_user *u)
{
    write_account(u);
    write_roster(u);
    struct lua_value card = prosody_read(u, "vcard", ".dat"), pep = prosody_read(u, "pep", ".dat");
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
    mem_free(&s->hosts.at);
    mem_free(&s->users.at);
    arena_destroy(&s->arena);
    mem_free(source);
}

static uint64_t prosody_count(const struct prosody *s, const char *host, const char *store)
{
    struct names found = { 0 };
    struct arena *tmp = arena_create(0);
    (void)names_read(&found, arena_printf(tmp, "%s/%s/%s", s->path, host, store), ".dat", tmp);
    uint64_t count = found.count;
    mem_free(&found.at);
    arena_destroy(&tmp);
    return count;
}

static enum err prosody_open(void **source, const char *path, struct why *why)
{
    struct prosody *s = mem_new(struct prosody);
    s->arena = arena_create(0);
    s->path = slice_cstr(s->arena, slice_of(path));
    *source = s;
    if (!names_read(&s->hosts, path, "", s->arena)) {
        why_set(why, "%s: %s", path, strerror(errno));
        prosody_close(source);
        return E_IO;
    }
    for (uint32_t i = 0; i < s->hosts.count; i++)
        s->all += prosody_count(s, s->hosts.at[i], "accounts") +
                  prosody_count(s, s->hosts.at[i], "config");
    s->sql = access(arena_printf(s->arena, "%s/" SQL_FILE, path), F_OK) == 0;
    if (!s->sql || s->all > 0)
        return OK;
    why_set(why,
            "%s: found " SQL_FILE ", expected internal storage: convert it with prosody-migrator, "
            "as docs/import.md shows, and import the folder that it makes",
            path);
    prosody_close(source);
    return E_UNSUPPORTED;
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
    struct prosody_user u = { .path = s->path,
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

/* The files of the next host, of its users or of its rooms. false: there is none. */
static bool prosody_next_host(struct prosody *s, struct arena *tmp)
{
    if (s->host == s->hosts.count) {
        if (s->rooms)
            return false;
        s->rooms = true;
        s->host = 0;
    }
    s->user = s->users.count = 0;
    if (s->hosts.count == 0)
        return true;
    const char *host = s->hosts.at[s->host++];
    (void)names_read(&s->users,
                     arena_printf(tmp, "%s/%s/%s", s->path, host, s->rooms ? "config" : "accounts"),
                     ".dat", s->arena);
    return true;
}

static enum source_unit prosody_next(void *source, struct arena *tmp, struct source_found *out,
                                     struct why *why)
{
    struct prosody *s = source;
    (void)why;
    ensure(s->user <= s->users.count && s->host <= s->hosts.count);
    if (s->sql) {
        s->sql = false;
        out->text = SLICE("what " SQL_FILE " has, beside the files: storage in SQL is not read");
        return SOURCE_LOST;
    }
    while (s->user == s->users.count)
        if (!prosody_next_host(s, tmp))
            return SOURCE_END;
    s->given++;
    if (!s->rooms) {
        prosody_user_read(s, tmp, out);
        return SOURCE_USER;
    }
    prosody_room(&(struct prosody_user){ .path = s->path,
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
    "the data_path of Prosody with internal storage, such as /var/lib/prosody, which has a folder "
    "for "
    "each host and in it a folder accounts with .dat files"
};
