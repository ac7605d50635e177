#include "ext/import/import_source.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/pie.h"
#include "ext/import/import_more.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_BYTES = 256 * 1024, FILES_MAX = 4, PATH_BYTES_MAX = 4096 };

struct file {
    int fd;
    bool end;
    char *bytes;
    size_t from, len, cap; /* the part that is not used yet */
    uint64_t line;
    uint64_t bytes_read, size;
    struct pie pie;
    char path[PATH_BYTES_MAX];
};
struct source {
    unsigned depth; /* of files that are open */
    struct file *at[FILES_MAX];
    struct more *more; /* NULL: it is no folder */
};

static void file_close(struct file **pf)
{
    struct file *f = *pf;
    if (f->fd >= 0)
        close(f->fd);
    mem_free(&f->bytes);
    mem_free(pf);
}

void source_close(struct source **ps)
{
    struct source *s = *ps;
    while (s != NULL && s->depth > 0)
        file_close(&s->at[--s->depth]);
    if (s != NULL)
        more_close(&s->more);
    mem_free(ps);
}

static enum err file_open(struct source *s, const char *path, struct why *why)
{
    struct stat st;
    if (s->depth == FILES_MAX) {
        why_set(why, "%s: found more than %d files inside each other", path, FILES_MAX);
        return E_LIMIT;
    }
    struct file *f = mem_new(struct file);
    f->line = 1;
    pie_init(&f->pie, s->depth == 0 ? NULL : &s->at[s->depth - 1]->pie);
    f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool fine = f->fd >= 0 && fstat(f->fd, &st) == 0;
    if (!fine || !S_ISREG(st.st_mode) || strlen(path) >= sizeof f->path) {
        why_set(why, "%s: %s", path, fine ? "found what is no regular file" : strerror(errno));
        file_close(&f);
        return fine ? E_SYNTAX : E_IO;
    }
    memcpy(f->path, path, strlen(path));
    f->size = (uint64_t)st.st_size;
    s->at[s->depth++] = f;
    return OK;
}

static enum err folder_open(struct source *s, const char *path, struct source_groups *groups,
                            struct why *why)
{
    struct arena *tmp = arena_create(0);
    struct why what;
    enum err e = file_open(s, arena_printf(tmp, "%s/accounts.xml", path), &what);
    if (e == OK)
        e = more_open(&s->more, path, groups, &what);
    if (e != OK)
        why_set(why, "%s; expected a folder that muster-convert has written", what.text);
    arena_destroy(&tmp);
    return e;
}

enum err source_open(struct source **out, const char *path, struct source_groups *groups,
                     struct why *why)
{
    struct stat st;
    struct source *s = mem_new(struct source);
    bool folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    enum err e = folder ? folder_open(s, path, groups, why) : file_open(s, path, why);
    *out = s;
    if (e != OK)
        source_close(out);
    return e;
}

bool source_is_folder(const struct source *s) { return s->more != NULL; }

/* Twice as much as there is, so that a long element is looked at few times. */
static bool pie_source_read(struct file *f, struct why *why)
{
    size_t want = f->len > READ_BYTES ? f->len : READ_BYTES;
    if (f->from > 0 && f->len > 0)
        memmove(f->bytes, f->bytes + f->from, f->len);
    f->from = 0;
    if (f->len + want > f->cap) {
        f->cap = f->len + want;
        f->bytes = mem_realloc(f->bytes, f->cap);
    }
    for (size_t got = 0; got < want && !f->end;) {
        ssize_t n = read(f->fd, f->bytes + f->len, want - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            why_set(why, "%s: it cannot be read: %s", f->path, strerror(errno));
            return false;
        }
        f->end = n == 0;
        f->len += (size_t)n;
        f->bytes_read += (uint64_t)n;
        got += (size_t)n;
    }
    return true;
}

static void use_up(struct file *f, size_t bytes)
{
    const char *at = f->len == 0 ? "" : f->bytes + f->from, *end = at + bytes;
    ensure(bytes <= f->len);
    for (; (at = memchr(at, '\n', (size_t)(end - at))) != NULL; at++)
        f->line++;
    f->from += bytes;
    f->len -= bytes;
}

/* RFC 3986 §2.1; not what would make another path. */
static bool escaped(slice digits, char *byte)
{
    unsigned value = 0;
    for (size_t i = 0; i < 2; i++) {
        int c = i < digits.len ? digits.ptr[i] : 0;
        if (c >= '0' && c <= '9')
            value = value * 16 + (unsigned)(c - '0');
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            value = value * 16 + (unsigned)((c | 32) - 'a' + 10);
        else
            return false;
    }
    *byte = (char)value;
    return value != 0 && value != '/' && value != '.';
}

/* A relative URI as a path beside the file that names it. */
static bool beside(const char *path, slice href, char *out, size_t cap)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash == NULL ? 0 : (size_t)(slash - path) + 1;
    slice part, rest = href;
    if (href.len == 0 || href.ptr[0] == '/' || memchr(href.ptr, ':', href.len) != NULL ||
        memchr(href.ptr, '&', href.len) != NULL || memchr(href.ptr, '\0', href.len) != NULL)
        return false;
    for (bool more = true; more;) {
        more = slice_cut(rest, '/', &part, &rest);
        if (slice_is(more ? part : rest, ".."))
            return false;
    }
    if (n + href.len >= cap)
        return false;
    memcpy(out, path, n);
    for (size_t i = 0; i < href.len; i++) {
        char byte = href.ptr[i];
        if (byte == '%' && !escaped(slice_from(href, i + 1), &byte))
            return false;
        i += href.ptr[i] == '%' ? 2 : 0;
        out[n++] = byte;
    }
    out[n] = '\0';
    return true;
}

static enum source_unit include(struct source *s, slice href, struct why *why)
{
    char path[PATH_BYTES_MAX];
    const struct file *f = s->at[s->depth - 1];
    if (!beside(f->path, href, path, sizeof path)) {
        why_set(why,
                "%s: line %llu: found an include of \"%.*s\", allowed: a relative path that "
                "does not lead upwards",
                f->path, (unsigned long long)f->line, SLICE_ARG(href));
        return SOURCE_ERROR;
    }
    return file_open(s, path, why) == OK ? SOURCE_USER : SOURCE_ERROR;
}

static void pie_source_found(const struct file *f, slice unit, struct arena *tmp,
                             struct source_found *out)
{
    *out = (struct source_found){
        .host = slice_dup(tmp, slice_of(f->pie.host)),
        .xml = slice_dup(tmp, unit),
        .ns = slice_dup(tmp, slice_of(f->pie.ns)),
        .name = slice_dup(tmp, pie_attr(unit, SLICE("name"))),
    };
}

enum source_unit source_next(struct source *s, struct arena *tmp, struct source_found *out,
                             struct why *why)
{
    ensure(s->depth <= FILES_MAX);
    while (s->depth > 0) {
        struct file *f = s->at[s->depth - 1];
        slice unit, have = { f->len == 0 ? "" : f->bytes + f->from, f->len };
        size_t used;
        enum pie_unit u = pie_next(&f->pie, have, f->end, &used, &unit);
        enum source_unit found = SOURCE_USER;
        if (u == PIE_USER)
            pie_source_found(f, unit, tmp, out);
        else if (u == PIE_OTHER)
            *out = (struct source_found){
                .count = 1,
                .text = slice_of(
                    arena_printf(tmp, "an element <%.*s/> outside of users", SLICE_ARG(unit)))
            };
        else if (u == PIE_INCLUDE)
            unit = slice_dup(tmp, unit);
        else if (u == PIE_ERROR)
            why_set(why, "%s: line %llu: %s", f->path, (unsigned long long)f->line,
                    f->pie.why.text);
        use_up(f, used);
        if (u == PIE_INCLUDE)
            found = include(s, unit, why);
        if (u == PIE_ERROR || found == SOURCE_ERROR)
            return SOURCE_ERROR;
        if (u == PIE_USER || u == PIE_OTHER)
            return u == PIE_USER ? SOURCE_USER : SOURCE_LOST;
        if (u == PIE_END)
            file_close(&s->at[--s->depth]);
        else if (u == PIE_MORE && !pie_source_read(f, why))
            return SOURCE_ERROR;
    }
    return s->more == NULL ? SOURCE_END : more_next(s->more, tmp, out, why);
}

/* The first file counts: what it includes is one of its elements. */
void source_progress(const struct source *s, uint64_t *done, uint64_t *all)
{
    *done = *all = 1;
    if (s->depth == 0) /* it is over */
        return;
    const struct file *f = s->at[0];
    *done = f->bytes_read - f->len;
    *all = f->size;
}
