#include "ext/import/import_ejabberd.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/map.h"
#include "base/mem.h"
#include "codec/xml_write.h"
#include "ext/import/import_ejabberd_room.h"
#include "ext/import/import_ejabberd_user.h"
#include "ext/import/import_stanza.h"
#include "xmpp/ns.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    READ_BYTES = 1 << 20,
    AHEAD_BYTES_MAX = 2 * EJABBERD_TERM_MAX,
    NUMBER_MAX = 24,
    NAMED = 1 << EJABBERD_PASSWORD | 1 << EJABBERD_ROOM /* who is imported has a row of these */
};
static const char dump_begins[] = "{tables,";

struct owners {
    struct ejabberd_owner *first, **last;
};
struct ejabberd_dump {
    int fd;
    uint64_t rows, given, all; /* all: users and rooms */
    uint64_t others;           /* names that are neither, which nobody was told of */
    struct arena *arena;
    struct map owners;
    struct owners users, rooms;
};
/* The other kind of file is left to its reader. */
struct ejabberd {
    struct ejabberd_dump *dump;
    void *pie;
    bool found; /* something in it */
};

static const char *const table_names[EJABBERD_TABLES] = {
    [EJABBERD_PASSWORD] = "passwd",      [EJABBERD_CONTACT] = "roster",
    [EJABBERD_VCARD] = "vcard",          [EJABBERD_PRIVATE] = "private_storage",
    [EJABBERD_PRIVACY] = "privacy",      [EJABBERD_OFFLINE] = "offline_msg",
    [EJABBERD_NODE] = "pubsub_node",     [EJABBERD_ITEM] = "pubsub_item",
    [EJABBERD_ARCHIVED] = "archive_msg", [EJABBERD_ROOM] = "muc_room",
};

/* Terms. */

slice ejabberd_jid(const struct erlang_term *t, struct arena *tmp)
{
    slice user = erlang_text(erlang_at(t, 0)), host = erlang_text(erlang_at(t, 1));
    slice resource = erlang_text(erlang_at(t, 2));
    return slice_of(arena_printf(tmp, "%.*s%s%.*s%s%.*s", SLICE_ARG(user), user.len > 0 ? "@" : "",
                                 SLICE_ARG(host), resource.len > 0 ? "/" : "",
                                 SLICE_ARG(resource)));
}

static bool number_at(const struct erlang_term *t, unsigned at, int64_t max, int64_t *out)
{
    const struct erlang_term *n = erlang_at(t, at);
    return n != NULL && n->type == ERLANG_NUMBER && slice_int(n->text, out) && *out >= 0 &&
           *out <= max;
}

uint64_t ejabberd_time_us(const struct erlang_term *t)
{
    enum { MILLION = 1000000, MEGASECONDS_MAX = 9999 };
    int64_t mega, seconds, micro;
    if (erlang_count(t) != 3 || !number_at(t, 0, MEGASECONDS_MAX, &mega) ||
        !number_at(t, 1, MILLION - 1, &seconds) || !number_at(t, 2, MILLION - 1, &micro))
        return 0;
    return ((uint64_t)mega * MILLION + (uint64_t)seconds) * MILLION + (uint64_t)micro;
}

static const struct erlang_term *ejabberd_attrs(const struct erlang_term *e)
{
    const struct erlang_term *list = erlang_at(e, 2);
    return list != NULL && list->type == ERLANG_LIST ? list->first : NULL;
}

slice ejabberd_attr(const struct erlang_term *e, const char *name)
{
    for (const struct erlang_term *a = ejabberd_attrs(e); a != NULL; a = a->next)
        if (slice_is(erlang_text(erlang_at(a, 0)), name))
            return erlang_text(erlang_at(a, 1));
    return (slice){ 0 };
}

void ejabberd_element(struct buf *out, const struct erlang_term *e, const char *ns, slice more,
                      ejabberd_skip *skip)
{
    struct xml_write x;
    slice name = erlang_text(erlang_at(e, 1));
    const struct erlang_term *children = erlang_at(e, 3);
    if (!erlang_is(erlang_at(e, 0), "xmlel") || !import_is_name(name))
        return;
    xml_write_to(&x, out);
    xml_open_sized(&x, name, ejabberd_attr(e, "xmlns").len == 0 ? slice_of(ns) : (slice){ 0 });
    for (const struct erlang_term *a = ejabberd_attrs(e); a != NULL; a = a->next)
        if (import_is_name(erlang_text(erlang_at(a, 0))))
            xml_attr_sized(&x, erlang_text(erlang_at(a, 0)), erlang_text(erlang_at(a, 1)));
    for (const struct erlang_term *c = children == NULL ? NULL : children->first; c != NULL;
         c = c->next) {
        if (erlang_is(erlang_at(c, 0), "xmlcdata"))
            xml_text_clean(&x, erlang_text(erlang_at(c, 1)));
        else if (skip == NULL || !skip(c))
            ejabberd_element(xml_content(&x), c, NULL, (slice){ 0 }, NULL);
    }
    xml_raw(&x, more);
    xml_close(&x);
}

bool ejabberd_is_added(const struct erlang_term *child)
{
    return import_is_added(erlang_text(erlang_at(child, 1)), ejabberd_attr(child, "xmlns"));
}

/* Rows. */

static bool row_read(struct ejabberd_reader *r, const struct ejabberd_row *row, struct buf *text,
                     struct arena *tmp, struct erlang_term *out)
{
    struct why why;
    buf_clear(text);
    char *to = buf_reserve(text, row->bytes);
    ensure(to != NULL);
    for (size_t got = 0; got < row->bytes;) {
        ssize_t n = pread(r->dump->fd, to + got, row->bytes - got, (off_t)(row->at + got));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            why_set(&r->why, "the file cannot be read: %s", n < 0 ? strerror(errno) : "it is cut");
            return false;
        }
        got += (size_t)n;
    }
    if (erlang_read(out, (slice){ to, row->bytes }, tmp, &why) == OK)
        return true;
    why_set(&r->why, "a row of %s: %s", table_names[row->table], why.text);
    return false;
}

static int archived_by_time(const void *one, const void *other)
{
    const struct ejabberd_row *a = *(struct ejabberd_row *const *)one;
    const struct ejabberd_row *b = *(struct ejabberd_row *const *)other;
    if (a->when_us != b->when_us)
        return a->when_us < b->when_us ? -1 : 1;
    return a->at < b->at ? -1 : a->at > b->at;
}

void ejabberd_each(struct ejabberd_reader *r, const struct ejabberd_owner *owner,
                   enum ejabberd_table table, ejabberd_fn *fn, void *arg)
{
    size_t count = 0, at = 0;
    struct erlang_term t;
    struct buf text;
    if (owner == NULL || (owner->tables & 1u << table) == 0)
        return;
    for (const struct ejabberd_row *row = owner->first; row != NULL; row = row->next)
        count += row->table == table;
    struct ejabberd_row **rows = mem_alloc(count * sizeof *rows);
    for (struct ejabberd_row *row = owner->first; row != NULL; row = row->next)
        if (row->table == table)
            rows[at++] = row;
    ensure(at == count && count > 0);
    if (table == EJABBERD_ARCHIVED) /* Mnesia keeps no order of them */
        qsort(rows, count, sizeof *rows, archived_by_time);
    struct arena *tmp = arena_create(0);
    buf_init(&text, EJABBERD_TERM_MAX);
    for (at = 0; at < count && row_read(r, rows[at], &text, tmp, &t); at++) {
        fn(arg, &t);
        arena_reset(tmp);
    }
    buf_fini(&text);
    arena_destroy(&tmp);
    mem_free(&rows);
}

const struct ejabberd_owner *ejabberd_owner(const struct ejabberd_reader *r, slice key)
{
    return map_get(&r->dump->owners, key);
}

/* Finding them. */

static void owners_add(struct ejabberd_dump *d, struct owners *list, struct ejabberd_owner *o)
{
    *list->last = o;
    list->last = &o->next;
    d->all++;
}

/* The key of a row: {name, host} or {name, host, more}; of a node, {{name, host, ""}, node}; of an
 * item, {id, number of the node}. false: it is none of an account or a room. */
static bool key_read(const struct erlang_term *row, enum ejabberd_table table, struct arena *tmp,
                     struct ejabberd_owner *out)
{
    const struct erlang_term *key = erlang_at(row, 1), *number = erlang_at(key, 1);
    if (table == EJABBERD_ITEM) {
        bool fine =
            number != NULL && number->type == ERLANG_NUMBER && number->text.len < NUMBER_MAX;
        out->key = fine ? number->text : (slice){ 0 };
        return fine;
    }
    if (table == EJABBERD_NODE)
        key = erlang_at(key, 0);
    out->name = erlang_text(erlang_at(key, 0));
    out->host = erlang_text(erlang_at(key, 1));
    if (out->name.len == 0 || out->host.len == 0)
        return false;
    out->key = slice_of(arena_printf(tmp, "%.*s@%.*s", SLICE_ARG(out->name), SLICE_ARG(out->host)));
    return true;
}

static struct ejabberd_owner *dump_owner(struct ejabberd_dump *d, const struct ejabberd_owner *like)
{
    struct ejabberd_owner *o = map_get(&d->owners, like->key);
    if (o != NULL)
        return o;
    o = arena_new(d->arena, struct ejabberd_owner, 1);
    o->key = slice_dup(d->arena, like->key);
    o->name = slice_dup(d->arena, like->name);
    o->host = slice_dup(d->arena, like->host);
    o->last = &o->first;
    map_put(&d->owners, o);
    return o;
}

/* false: `why` says what is wrong. */
static bool row_found(struct ejabberd_dump *d, slice text, uint64_t at, struct arena *tmp,
                      struct why *why)
{
    struct erlang_term t;
    struct ejabberd_owner like = { 0 };
    slice rest, name = { 0 };
    enum ejabberd_table table = 0;
    ensure(text.len > 0 && text.len <= EJABBERD_TERM_MAX);
    if (slice_cut(text, ',', &name, &rest) && name.len > 0)
        name = slice_from(name, 1);
    while (table < EJABBERD_TABLES && !slice_is(name, table_names[table]))
        table++;
    if (table == EJABBERD_TABLES)
        return true;
    if (erlang_read(&t, text, tmp, why) != OK)
        return false;
    if (!key_read(&t, table, tmp, &like))
        return true;
    if (d->rows++ == EJABBERD_ROWS_MAX) {
        why_set(why, "found more than %d rows", EJABBERD_ROWS_MAX);
        return false;
    }
    struct ejabberd_owner *o = dump_owner(d, &like);
    struct ejabberd_row *row = arena_new(d->arena, struct ejabberd_row, 1);
    *row = (struct ejabberd_row){ .at = at, .bytes = (uint32_t)text.len, .table = table };
    if (table == EJABBERD_ARCHIVED)
        row->when_us = ejabberd_time_us(erlang_at(&t, 3));
    if ((1u << table & NAMED) != 0 && (o->tables & NAMED) == 0)
        owners_add(d, table == EJABBERD_ROOM ? &d->rooms : &d->users, o);
    *o->last = row;
    o->last = &row->next;
    o->tables |= 1u << table;
    return true;
}

/* Reads terms from the front of the file to its end. */
struct scan {
    struct ejabberd_dump *dump;
    const char *path;
    struct arena *tmp; /* of a row */
    struct buf have;
    uint64_t at, line; /* of the front of `have` */
    bool end;
};

static enum err scan_more(struct scan *s, struct why *why)
{
    size_t want = s->have.len > READ_BYTES ? s->have.len : READ_BYTES;
    char *to = buf_reserve(&s->have, want);
    if (to == NULL) {
        why_set(why, "%s: line %llu: found a row of more than %d MiB", s->path,
                (unsigned long long)s->line, EJABBERD_TERM_MAX >> 20);
        return E_LIMIT;
    }
    ssize_t n;
    while ((n = read(s->dump->fd, to, want)) < 0 && errno == EINTR)
        ;
    if (n < 0) {
        why_set(why, "%s: it cannot be read: %s", s->path, strerror(errno));
        return E_IO;
    }
    s->have.len += (size_t)n;
    s->end = n == 0;
    return OK;
}

/* The rows that are whole. */
static enum err scan_rows(struct scan *s, struct why *why)
{
    size_t used = 0, n;
    struct why what;
    slice rest = buf_fit(&s->have);
    while (used < rest.len && (rest.ptr[used] == '\n' || rest.ptr[used] == ' '))
        s->line += rest.ptr[used++] == '\n';
    rest = slice_from(rest, used);
    while (rest.len > 0 && (n = erlang_length(rest, s->end)) > 0) {
        arena_reset(s->tmp);
        slice row = { rest.ptr, n };
        if (n > EJABBERD_TERM_MAX || !row_found(s->dump, row, s->at + used, s->tmp, &what)) {
            why_set(why, "%s: line %llu: %s", s->path, (unsigned long long)s->line,
                    n > EJABBERD_TERM_MAX ? "found a row that is too long" : what.text);
            return E_SYNTAX;
        }
        for (size_t i = 0; i < n; i++)
            s->line += rest.ptr[i] == '\n';
        used += n;
        rest = slice_from(rest, n);
    }
    ensure(used <= s->have.len);
    buf_consume(&s->have, used);
    s->at += used;
    return OK;
}

static enum err dump_scan(struct ejabberd_dump *d, const char *path, struct why *why)
{
    struct scan s = { .dump = d, .path = path, .line = 1, .tmp = arena_create(0) };
    enum err e = OK;
    buf_init(&s.have, AHEAD_BYTES_MAX);
    while (e == OK && !s.end) {
        e = scan_more(&s, why);
        if (e == OK)
            e = scan_rows(&s, why);
    }
    if (e == OK && s.have.len > 0) {
        e = E_SYNTAX;
        why_set(why, "%s: line %llu: it ends in the middle of a row", path,
                (unsigned long long)s.line);
    }
    buf_fini(&s.have);
    arena_destroy(&s.tmp);
    return e;
}

/* The source. */

static void dump_close(struct ejabberd_dump **pd)
{
    struct ejabberd_dump *d = *pd;
    if (d == NULL)
        return;
    close(d->fd);
    map_fini(&d->owners);
    arena_destroy(&d->arena);
    mem_free(pd);
}

static void ejabberd_close(void **source)
{
    struct ejabberd *s = *source;
    if (s == NULL)
        return;
    dump_close(&s->dump);
    if (s->pie != NULL)
        source_pie.close(&s->pie);
    mem_free(source);
}

/* Names with rows that are neither accounts nor rooms here. */
static void dump_count_others(struct ejabberd_dump *d)
{
    const struct ejabberd_owner *o;
    for (uint32_t i = 0; (o = map_next(&d->owners, &i)) != NULL;)
        d->others += o->host.len > 0 && (o->tables & NAMED) == 0;
}

static enum err dump_open(struct ejabberd_dump **out, int fd, const char *path, struct why *why)
{
    struct ejabberd_dump *d = mem_new(struct ejabberd_dump);
    d->fd = fd;
    d->arena = arena_create(0);
    d->users.last = &d->users.first;
    d->rooms.last = &d->rooms.first;
    map_init(&d->owners, map_key_slice);
    *out = d;
    enum err e = dump_scan(d, path, why);
    if (e == OK)
        dump_count_others(d);
    return e;
}

static enum err ejabberd_open(void **source, const char *path, struct why *why)
{
    char begin[sizeof dump_begins - 1];
    struct stat st;
    enum err e;
    struct ejabberd *s = mem_new(struct ejabberd);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool dump = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
                pread(fd, begin, sizeof begin, 0) == (ssize_t)sizeof begin &&
                memcmp(begin, dump_begins, sizeof begin) == 0;
    *source = s;
    if (dump) {
        e = dump_open(&s->dump, fd, path, why);
    } else {
        if (fd >= 0)
            close(fd);
        e = source_pie.open(&s->pie, path, why);
    }
    if (e != OK)
        ejabberd_close(source);
    return e;
}

static enum source_unit dump_next(struct ejabberd_dump *d, struct arena *tmp,
                                  struct source_found *out)
{
    struct ejabberd_reader r = { .dump = d, .tmp = tmp };
    struct owners *from = d->users.first != NULL ? &d->users : &d->rooms;
    const struct ejabberd_owner *o = from->first;
    if (o == NULL && d->others == 0)
        return SOURCE_END;
    if (o == NULL) {
        out->text = slice_of(arena_printf(
            tmp,
            "rows of names that are neither accounts with a password nor rooms: as many "
            "names as %llu",
            (unsigned long long)d->others));
        d->others = 0;
        return SOURCE_LOST;
    }
    from->first = o->next;
    d->given++;
    out->host = slice_dup(tmp, o->host);
    out->name = slice_dup(tmp, o->name);
    if (from == &d->users)
        ejabberd_user(&r, o, out);
    else
        ejabberd_room(&r, o, out);
    return from == &d->users ? SOURCE_USER : SOURCE_ROOM;
}

static enum source_unit ejabberd_next(void *source, struct arena *tmp, struct source_found *out,
                                      struct why *why)
{
    struct ejabberd *s = source;
    struct why what;
    ensure((s->dump == NULL) != (s->pie == NULL));
    if (s->dump != NULL)
        return dump_next(s->dump, tmp, out);
    enum source_unit unit = source_pie.next(s->pie, tmp, out, &what);
    if (unit == SOURCE_ERROR)
        why_set(why, "%s%s", what.text,
                s->found ? "" : " (expected a file of `ejabberdctl dump`, or one of XEP-0227)");
    s->found = true;
    return unit;
}

static void ejabberd_progress(const void *source, uint64_t *done, uint64_t *all)
{
    const struct ejabberd *s = source;
    if (s->dump == NULL) {
        source_pie.progress(s->pie, done, all);
        return;
    }
    *done = s->dump->given;
    *all = s->dump->all;
}

const struct source_kind source_ejabberd = {
    ejabberd_open, ejabberd_next, ejabberd_close, ejabberd_progress,
    "a file of `ejabberdctl dump` with accounts, or one of XEP-0227"
};
