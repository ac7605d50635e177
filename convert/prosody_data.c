#include "convert/prosody_data.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/whole_file.h"
#include "convert/prosody_sql.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_BYTES_MAX = 4096 };

/* The file that its mod_storage_sql writes with SQLite, unless its settings say another name. */
#define SQL_FILE "prosody.sqlite"

struct prosody_data {
    struct arena *arena;
    struct map read;         /* HOST/STORE/USER.dat or .list, as files are called: that was read */
    const char *path;        /* of the folder; NULL: there is none */
    struct prosody_sql *sql; /* NULL: there is none */
    const char *sql_path;
};

/* Names. */

static int prosody_name_order(const void *one, const void *other)
{
    return strcmp(*(char *const *)one, *(char *const *)other);
}

static void prosody_names_add(struct prosody_names *out, slice name, struct arena *keep)
{
    ensure(out->count <= out->cap);
    if (out->count == out->cap) {
        out->cap = 2 * out->cap + 64;
        out->at = mem_realloc(out->at, out->cap * sizeof *out->at);
    }
    out->at[out->count++] = slice_cstr(keep, name);
}

/* In order, each once. */
static void prosody_names_end(struct prosody_names *out)
{
    uint32_t kept = 0;
    if (out->count > 0)
        qsort(out->at, out->count, sizeof *out->at, prosody_name_order);
    for (uint32_t i = 0; i < out->count; i++)
        if (kept == 0 || strcmp(out->at[kept - 1], out->at[i]) != 0)
            out->at[kept++] = out->at[i];
    out->count = kept;
}

/* Entries of a folder that end in `ending`, without it. false: it cannot be read. */
static bool prosody_files(struct prosody_names *out, const char *path, const char *ending,
                          struct arena *keep)
{
    DIR *dir = opendir(path);
    const struct dirent *e;
    size_t n = strlen(ending);
    if (dir == NULL)
        return false;
    while ((e = readdir(dir)) != NULL) {
        size_t len = strlen(e->d_name);
        if (len > n && e->d_name[0] != '.' && strcmp(e->d_name + len - n, ending) == 0)
            prosody_names_add(out, (slice){ e->d_name, len - n }, keep);
    }
    closedir(dir);
    return true;
}

/* The meaning of a name of a file; a % without digits stays. */
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

/* How the file of a host, user or store is called. A store keeps its `_`. */
static const char *name_encode(slice name, bool store, struct arena *tmp)
{
    struct buf b;
    buf_init(&b, NAME_BYTES_MAX);
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        bool plain =
            (c == '_' && store) || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
        buf_printf(&b, plain ? "%c" : "%%%02x", c);
    }
    const char *text = slice_cstr(tmp, buf_fit(&b));
    buf_fini(&b);
    return text;
}

struct names_found {
    struct prosody_names *out;
    struct arena *keep;
};

static bool name_found(void *arg, const slice *column)
{
    struct names_found *f = arg;
    if (column[0].len > 0)
        prosody_names_add(f->out, slice_of(name_encode(column[0], false, f->keep)), f->keep);
    return true;
}

/* Names, if there is storage in SQL. */
static enum err names_ask(const struct prosody_data *data, enum prosody_question question,
                          slice host, slice store, struct names_found *f, struct why *why)
{
    const slice param[] = { host, store };
    return data->sql == NULL ? OK : prosody_sql_ask(data->sql, question, param, name_found, f, why);
}

enum err prosody_hosts(const struct prosody_data *data, struct prosody_names *out,
                       struct arena *keep, struct why *why)
{
    out->count = 0;
    if (data->path != NULL && !prosody_files(out, data->path, "", keep)) {
        why_set(why, "%s: %s", data->path, strerror(errno));
        return E_IO;
    }
    enum err e = names_ask(data, PROSODY_HOSTS, (slice){ 0 }, (slice){ 0 },
                           &(struct names_found){ out, keep }, why);
    prosody_names_end(out);
    return e;
}

enum err prosody_users(const struct prosody_data *data, const char *host, const char *store,
                       struct prosody_names *out, struct arena *keep, struct why *why)
{
    struct arena *tmp = arena_create(0);
    out->count = 0;
    if (data->path != NULL)
        (void)prosody_files(out, arena_printf(tmp, "%s/%s/%s", data->path, host, store), ".dat",
                            keep);
    enum err e = names_ask(data, PROSODY_USERS, prosody_name(host, tmp), slice_of(store),
                           &(struct names_found){ out, keep }, why);
    arena_destroy(&tmp);
    prosody_names_end(out);
    return e;
}

/* The source. A store that was converted is still in the old storage, too, and may be outdated
 * there. Only the settings of Prosody say which of the two counts. */

static bool is_read(slice store)
{
    static const char *const stores[] = { "accounts",  "roster",  "vcard",   "private",
                                          "blocklist", "archive", "offline", "pep",
                                          "config",    "muc_log", "privacy" };
    for (size_t i = 0; i < sizeof stores / sizeof stores[0]; i++)
        if (slice_is(store, stores[i]))
            return true;
    return slice_starts(store, SLICE("pep_"));
}

struct twice {
    const struct prosody_data *data;
    const char *host;
    const char *store; /* that is in both; NULL: none is */
    struct arena *tmp;
};

static bool store_found(void *arg, const slice *column)
{
    struct twice *t = arg;
    struct prosody_names found = { 0 };
    slice store = column[0];
    if (!is_read(store))
        return true;
    const char *folder =
        arena_printf(t->tmp, "%s/%s/%s", t->data->path, t->host, name_encode(store, true, t->tmp));
    (void)(prosody_files(&found, folder, ".dat", t->tmp) &&
           prosody_files(&found, folder, ".list", t->tmp));
    if (found.count > 0)
        t->store = slice_cstr(t->tmp, store);
    mem_free(&found.at);
    return t->store == NULL;
}

static enum err twice_check(const struct prosody_data *data, struct why *why)
{
    struct arena *tmp = arena_create(0);
    struct prosody_names hosts = { 0 };
    struct twice t = { .data = data, .tmp = tmp };
    enum err e = prosody_hosts(data, &hosts, tmp, why);
    for (uint32_t i = 0; e == OK && t.store == NULL && i < hosts.count; i++) {
        t.host = hosts.at[i];
        const slice param[2] = { prosody_name(t.host, tmp) };
        e = prosody_sql_ask(data->sql, PROSODY_STORES, param, store_found, &t, why);
    }
    if (e == OK && t.store != NULL) {
        why_set(why,
                "%s: found the store %s of %s in files and in %s, expected it in one of them: move "
                "away what Prosody does not use any more",
                data->path, t.store, slice_cstr(tmp, prosody_name(t.host, tmp)), data->sql_path);
        e = E_EXISTS;
    }
    mem_free(&hosts.at);
    arena_destroy(&tmp);
    return e;
}

enum err prosody_data_open(struct prosody_data **out, const char *path, struct why *why)
{
    struct prosody_data *data = mem_zalloc(sizeof *data);
    struct stat st;
    data->arena = arena_create(0);
    map_init(&data->read, map_key_slice);
    *out = data;
    enum err e = stat(path, &st) == 0 ? OK : E_IO;
    if (e != OK)
        why_set(why, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        data->path = slice_cstr(data->arena, slice_of(path));
    data->sql_path = arena_printf(data->arena, data->path != NULL ? "%s/" SQL_FILE : "%s", path);
    if (e == OK && access(data->sql_path, F_OK) == 0)
        e = prosody_sql_open(&data->sql, data->sql_path, why);
    if (e == OK && data->sql != NULL && data->path != NULL)
        e = twice_check(data, why);
    if (e != OK)
        prosody_data_close(out);
    return e;
}

void prosody_data_close(struct prosody_data **data)
{
    if (*data == NULL)
        return;
    prosody_sql_close(&(*data)->sql);
    map_fini(&(*data)->read);
    arena_destroy(&(*data)->arena);
    mem_free(data);
}

/* Stores. */

static slice store_key(const char *host, const char *store, const char *user, const char *ending,
                       struct arena *tmp)
{
    return slice_of(arena_printf(tmp, "%s/%s/%s%s", host, store, user, ending));
}

static void note_read(struct prosody_user *u, const char *store, const char *ending)
{
    slice *key = arena_new(u->data->arena, slice, 1);
    *key = store_key(u->host, name_encode(slice_of(store), true, u->tmp), u->user, ending,
                     u->data->arena);
    if (map_get(&u->data->read, *key) == NULL)
        map_put(&u->data->read, key);
}

/* A file of the user. false: it is not there, or u->why says why it is not read. */
static bool prosody_load(struct prosody_user *u, const char *store, const char *ending,
                         struct buf *text, bool *there)
{
    struct why why;
    if (u->data->path == NULL)
        return false;
    const char *path = arena_printf(u->tmp, "%s/%s/%s/%s%s", u->data->path, u->host,
                                    name_encode(slice_of(store), true, u->tmp), u->user, ending);
    *there = access(path, F_OK) == 0;
    if (!*there)
        return false;
    if (whole_file_read(text, path, &why) != OK) {
        why_set(&u->why, "%s", why.text);
        return false;
    }
    u->bytes += buf_slice(text).len;
    note_read(u, store, ending);
    return true;
}

static void prosody_check(struct prosody_user *u, const char *store, const char *ending, enum err e,
                          const struct why *why)
{
    if (e != OK)
        why_set(&u->why, "%s/%s%s: %s", store, u->user, ending, why->text);
    else if (u->bytes > PROSODY_USER_MAX)
        why_set(&u->why, "%s/%s%s: with it, more than %d MiB are stored of this user", store,
                u->user, ending, PROSODY_USER_MAX >> 20);
}

static struct prosody_sql_store in_sql(struct prosody_user *u, const char *store, struct arena *tmp)
{
    return (struct prosody_sql_store){ .host = prosody_name(u->host, u->tmp),
                                       .user = prosody_name(u->user, u->tmp),
                                       .store = slice_of(store),
                                       .tmp = tmp,
                                       .bytes = &u->bytes,
                                       .max = PROSODY_FILE_MAX };
}

struct lua_value prosody_read(struct prosody_user *u, const char *store)
{
    struct lua_value v = { .type = LUA_NIL };
    struct buf text;
    struct why why;
    bool there = false;
    u->store = store;
    buf_init(&text, PROSODY_FILE_MAX);
    if (prosody_load(u, store, ".dat", &text, &there)) {
        enum err e = lua_read(&v, slice_dup(u->tmp, buf_fit(&text)), u->tmp, &why);
        prosody_check(u, store, ".dat", e, &why);
    } else if (!there && u->data->sql != NULL) {
        struct prosody_sql_store from = in_sql(u, store, u->tmp);
        enum err e = prosody_sql_read(u->data->sql, &from, &v, &why);
        if (e != OK || v.type != LUA_NIL)
            note_read(u, store, ".dat");
        prosody_check(u, store, " in SQL", e, &why);
    }
    buf_fini(&text);
    return v;
}

void prosody_each(struct prosody_user *u, const char *store, lua_item_fn *fn)
{
    struct buf text;
    struct why why;
    bool there = false;
    struct arena *item = arena_create(0);
    u->store = store;
    buf_init(&text, PROSODY_FILE_MAX);
    if (prosody_load(u, store, ".list", &text, &there)) {
        enum err e = lua_each(buf_fit(&text), item, fn, u, &why);
        prosody_check(u, store, ".list", e, &why);
    } else if (!there && u->data->sql != NULL) {
        struct prosody_sql_store from = in_sql(u, store, item);
        enum err e = prosody_sql_each(u->data->sql, &from, fn, u, &why);
        note_read(u, store, ".list");
        prosody_check(u, store, " in SQL", e, &why);
    }
    buf_fini(&text);
    arena_destroy(&item);
}

/* Losses. */

void prosody_lost(const struct prosody_user *u, const char *what, slice name)
{
    bool item = strncmp(u->store, "pep_", 4) == 0; /* behind it is the name of a node */
    output_lost(u->output, u->label, 1, "%s%s%.*s in the store %s", what, name.len > 0 ? " " : "",
                SLICE_ARG(name), item ? "pep_*" : u->store);
}

void prosody_lost_fields(const struct prosody_user *u, const struct lua_value *table,
                         const char *of, const char *const *known)
{
    struct arena *tmp = arena_create(0);
    for (const struct lua_field *f = table == NULL ? NULL : table->first; f != NULL; f = f->next) {
        const char *const *name = known;
        while (*name != NULL && (f->key.type != LUA_STRING || !slice_is(f->key.text, *name)))
            name++;
        bool empty = f->value.type == LUA_TABLE && f->value.first == NULL;
        if (*name == NULL && !empty)
            prosody_lost(u, arena_printf(tmp, "fields of %s:", of),
                         f->key.type == LUA_BOOLEAN ? SLICE("a truth") : f->key.text);
    }
    arena_destroy(&tmp);
}

struct rest {
    struct prosody_data *data;
    struct output *output;
    const char *host;
    struct arena *tmp;
};

/* Prosody keeps in `persistent` which rooms there are: the store `config` says the same. */
static void rest_found(struct rest *r, slice store, const char *file, uint64_t count)
{
    slice key = store_key(r->host, name_encode(store, true, r->tmp), file, "", r->tmp);
    if (map_get(&r->data->read, key) != NULL || slice_is(store, "persistent"))
        return;
    const char *dot = strrchr(file, '.'), *label;
    slice name = prosody_name(
        slice_cstr(r->tmp, (slice){ file, dot == NULL ? strlen(file) : (size_t)(dot - file) }),
        r->tmp);
    slice host = prosody_name(r->host, r->tmp);
    label = arena_printf(r->tmp, "%.*s%s%.*s", SLICE_ARG(name), name.len > 0 ? "@" : "",
                         SLICE_ARG(host));
    bool item = slice_starts(store, SLICE("pep_"));
    output_lost(r->output, slice_of(label), count, "entries of the store %.*s",
                SLICE_ARG(item ? SLICE("pep_*") : store));
}

/* The files of a host. */
static void rest_files(struct rest *r)
{
    struct prosody_names stores = { 0 };
    const char *folder = arena_printf(r->tmp, "%s/%s", r->data->path, r->host);
    if (!prosody_files(&stores, folder, "", r->tmp)) {
        bool own = strncmp(r->host, SQL_FILE, strlen(SQL_FILE)) == 0; /* and its journals */
        output_lost(r->output, slice_of(r->host), access(folder, F_OK) == 0 && !own,
                    "files that are no folders of a host");
    }
    for (uint32_t i = 0; i < stores.count; i++) {
        struct prosody_names files = { 0 };
        slice store = prosody_name(stores.at[i], r->tmp);
        if (!prosody_files(&files, arena_printf(r->tmp, "%s/%s", folder, stores.at[i]), "", r->tmp))
            rest_found(r, store, "", 1);
        for (uint32_t j = 0; j < files.count; j++)
            rest_found(r, store, files.at[j], 1);
        mem_free(&files.at);
    }
    mem_free(&stores.at);
}

static bool rest_in_sql(void *arg, const slice *column)
{
    struct rest *r = arg;
    int64_t count;
    bool list = slice_is(column[2], "1"), fine = slice_int(column[3], &count);
    const char *user = name_encode(column[1], false, r->tmp);
    rest_found(r, column[0], arena_printf(r->tmp, "%s%s", user, list ? ".list" : ".dat"),
               fine ? (uint64_t)count : 0);
    return true;
}

static bool rest_table(void *arg, const slice *column)
{
    struct rest *r = arg;
    struct why why;
    uint64_t count = 0;
    (void)!prosody_sql_number(r->data->sql, column[1], &count, &why); /* a virtual one: 0 */
    output_lost(r->output, (slice){ 0 }, count, "rows of the table %.*s", SLICE_ARG(column[0]));
    return true;
}

enum err prosody_data_rest(struct prosody_data *data, struct output *o, struct why *why)
{
    struct prosody_names hosts = { 0 };
    struct rest r = { .data = data, .output = o, .tmp = arena_create(0) };
    struct arena *keep = arena_create(0);
    enum err e = prosody_hosts(data, &hosts, keep, why);
    for (uint32_t i = 0; e == OK && i < hosts.count; i++) {
        r.host = hosts.at[i];
        if (data->path != NULL)
            rest_files(&r);
        const slice param[2] = { prosody_name(r.host, r.tmp) };
        if (data->sql != NULL)
            e = prosody_sql_ask(data->sql, PROSODY_COUNTS, param, rest_in_sql, &r, why);
        arena_reset(r.tmp);
    }
    if (e == OK && data->sql != NULL)
        e = prosody_sql_ask(data->sql, PROSODY_TABLES, (slice[2]){ { 0 } }, rest_table, &r, why);
    mem_free(&hosts.at);
    arena_destroy(&keep);
    arena_destroy(&r.tmp);
    return e;
}
