#include "base/arena.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "convert/convert.h"
#include "convert/ejabberd_rows.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    READ_BYTES = 1 << 20,
    AHEAD_BYTES_MAX = 2 * EJABBERD_TERM_MAX,
    NUMBER_MAX = 24,
    NAMED = 1 << EJABBERD_PASSWORD | 1 << EJABBERD_ROOM, /* who is imported has a row of these */
    GROUPED = 1 << EJABBERD_GROUP | 1 << EJABBERD_MEMBER,
};
static const char dump_begins[] = "{tables,";

/* Finding them. */

static void owners_add(struct ejabberd_dump *d, struct ejabberd_owners *list,
                       struct ejabberd_owner *o)
{
    *list->last = o;
    list->last = &o->next;
    d->all++;
}

/* The key of a row: {name, host} or {name, host, more}; of a node, {{name, host, ""}, node}; of an
 * item, {id, number of the node}; of a member, {name, host} of the group behind its own. false: it
 * is none of an account, a room or a group. */
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
    else if (table == EJABBERD_MEMBER)
        key = erlang_at(row, 2);
    out->name = erlang_text(erlang_at(key, 0));
    out->host = erlang_text(erlang_at(key, 1));
    if (out->name.len == 0 || out->host.len == 0)
        return false;
    out->key = slice_of(arena_printf(tmp, "%s%.*s@%.*s", (1u << table & GROUPED) != 0 ? "\n" : "",
                                     SLICE_ARG(out->name), SLICE_ARG(out->host)));
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
    else
        name = (slice){ 0 };
    while (table < EJABBERD_TABLES && !slice_is(name, ejabberd_table_names[table]))
        table++;
    if (table == EJABBERD_TABLES) {
        if (at > 0 && name.len > 0) /* the first says which tables there are */
            output_lost(d->output, (slice){ 0 }, 1, "rows of the table %.*s", SLICE_ARG(name));
        else if (at > 0)
            output_lost(d->output, (slice){ 0 }, 1, "rows of no table");
        return true;
    }
    if (erlang_read(&t, text, tmp, why) != OK)
        return false;
    if (!key_read(&t, table, tmp, &like)) {
        output_lost(d->output, (slice){ 0 }, 1,
                    "rows of the table %.*s with a key of an unknown form", SLICE_ARG(name));
        return true;
    }
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
    if (table == EJABBERD_GROUP && (o->tables & 1u << table) == 0)
        owners_add(d, &d->groups, o);
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

/* For the report: groups have a key with a mark. */
static slice owner_label(const struct ejabberd_owner *o)
{
    return o->host.len == 0 ? (slice){ 0 } : slice_from(o->key, o->key.ptr[0] == '\n' ? 1 : 0);
}

/* Nobody has read them: their names are neither accounts with a password nor rooms. */
static void dump_count_others(const struct ejabberd_dump *d)
{
    const struct ejabberd_owner *o;
    for (uint32_t i = 0; (o = map_next(&d->owners, &i)) != NULL;)
        for (const struct ejabberd_row *row = o->first; row != NULL; row = row->next)
            output_lost(
                d->output, owner_label(o), !row->read,
                "rows of the table %s that are of no account with a password, no room and no group",
                ejabberd_table_names[row->table]);
}

typedef void ejabberd_owner_fn(struct ejabberd_reader *r, const struct ejabberd_owner *owner);

static void dump_convert_each(struct ejabberd_dump *d, const struct ejabberd_owners *list,
                              ejabberd_owner_fn *fn)
{
    struct arena *tmp = arena_create(0);
    for (const struct ejabberd_owner *o = list->first; o != NULL; o = o->next) {
        struct ejabberd_reader r = { .dump = d, .tmp = tmp, .who = owner_label(o) };
        fn(&r, o);
        output_progress(d->output, ++d->given, d->all);
        arena_reset(tmp);
    }
    arena_destroy(&tmp);
}

static enum err dump_convert(struct output *o, int fd, const char *path, struct why *why)
{
    struct ejabberd_dump d = { .fd = fd, .output = o, .arena = arena_create(0) };
    d.users.last = &d.users.first;
    d.rooms.last = &d.rooms.first;
    d.groups.last = &d.groups.first;
    map_init(&d.owners, map_key_slice);
    enum err e = dump_scan(&d, path, why);
    if (e == OK) {
        dump_convert_each(&d, &d.users, ejabberd_user);
        dump_convert_each(&d, &d.rooms, ejabberd_room);
        dump_convert_each(&d, &d.groups, ejabberd_group);
        dump_count_others(&d);
    }
    map_fini(&d.owners);
    arena_destroy(&d.arena);
    return e;
}

enum err ejabberd_convert(struct output *o, const char *path, const char *option, struct why *why)
{
    char begin[sizeof dump_begins] = "";
    struct stat st;
    enum err e = E_IO;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    (void)option;
    bool fine = fd >= 0 && fstat(fd, &st) == 0 &&
                (!S_ISREG(st.st_mode) || pread(fd, begin, sizeof begin - 1, 0) >= 0);
    if (!fine) {
        why_set(why, "%s: %s", path, strerror(errno));
    } else if (memcmp(begin, dump_begins, sizeof begin) == 0) {
        e = dump_convert(o, fd, path, why);
    } else {
        bool xml = begin[0] == '<' || begin[0] == '\xef'; /* a byte order mark */
        why_set(why, "%s: found %s, expected a file of `ejabberdctl dump`, or one of XEP-0227",
                path, xml ? "XML" : "another kind of file");
        e = xml ? E_UNSUPPORTED : E_SYNTAX;
    }
    if (fd >= 0)
        close(fd);
    return e;
}
