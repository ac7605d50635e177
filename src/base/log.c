#include "base/log.h"
#include "base/clock.h"
#include "base/cut.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/log_listen.h"
#include "base/log_record.h"
#include "base/log_sample.h"
#include "base/utf8.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *const level_names[] = { "error", "warn", "info", "debug", "trace" };

static pthread_mutex_t areas_lock = PTHREAD_MUTEX_INITIALIZER; /* for changes of the list */
static struct log_area *areas;
static _Atomic int default_level = LOG_INFO;
static _Atomic int line_format = LOG_LOGFMT;
static bool marked; /* lines begin with their priority */
static log_listen_fn *listener;
static log_write_fn *writer;

/* A line that is being written. Fields end at ROOM. The last TAIL_BYTES are for the quote that
 * closes a cut value and for `truncated=true`, so these always fit. */
enum { TAIL_BYTES = 64, ROOM = LOG_LINE_BYTES - TAIL_BYTES, ESCAPE_BYTES_MAX = 8 };

struct line {
    size_t len;
    enum log_format format;
    bool truncated;
    char text[LOG_LINE_BYTES];
};

static bool has_room(struct line *l, size_t bytes)
{
    if (l->len + bytes > ROOM)
        l->truncated = true;
    return !l->truncated;
}

static void log_put_slice(struct line *l, slice s)
{
    memcpy(l->text + l->len, s.ptr, s.len);
    l->len += s.len;
}

/* C0 and C1 controls and DEL could control the terminal on which the log is read. */
static bool is_control(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7f && cp <= 0x9f) || utf8_misleads(cp);
}

static const char *short_escape(uint32_t cp)
{
    switch (cp) {
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    default:
        return NULL;
    }
}

/* The text that stands for the character at the head of `s`, of which `*used` bytes are consumed.
 */
static slice escape(slice s, enum log_format format, char out[ESCAPE_BYTES_MAX], size_t *used)
{
    uint32_t cp = 0;
    int len = utf8_decode(s, &cp);
    bool valid = len > 0;
    *used = valid ? (size_t)len : 1;
    const char *name = valid ? short_escape(cp) : NULL;
    if (name != NULL)
        return slice_of(name);
    if (valid && !is_control(cp))
        return (slice){ s.ptr, *used };
    if (format == LOG_JSON) {
        snprintf(out, ESCAPE_BYTES_MAX, "\\u%04x", valid ? (unsigned)cp : 0xfffdU);
    } else {
        *used = 1; /* one byte: the rest of a C1 control is then malformed and escaped as well */
        snprintf(out, ESCAPE_BYTES_MAX, "\\x%02x", (unsigned)(unsigned char)s.ptr[0]);
    }
    return slice_of(out);
}

static void log_put_quoted(struct line *l, slice s)
{
    log_put_slice(l, SLICE("\""));
    while (s.len > 0) {
        char out[ESCAPE_BYTES_MAX];
        size_t used;
        slice text = escape(s, l->format, out, &used);
        if (!has_room(l, text.len))
            break;
        log_put_slice(l, text);
        s = slice_from(s, used);
    }
    log_put_slice(l, SLICE("\""));
}

static bool log_is_bare(slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c <= ' ' || c > '~' || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return s.len > 0;
}

static void log_put_value(struct line *l, slice s)
{
    bool fits = l->len + s.len <= ROOM;
    if (l->format == LOG_LOGFMT && log_is_bare(s) && fits)
        log_put_slice(l, s);
    else
        log_put_quoted(l, s); /* as much as fits */
}

/* Writes separator and key; false: these and a short value do not fit. */
static bool begin_field(struct line *l, const char *key)
{
    enum { SEPARATORS_AND_NUMBER = 32 };
    slice name = slice_of(key);
    if (l->truncated || !has_room(l, name.len + SEPARATORS_AND_NUMBER))
        return false;
    bool first = l->len == 0;
    if (l->format == LOG_JSON) {
        log_put_slice(l, first ? SLICE("{\"") : SLICE(",\""));
        log_put_slice(l, name);
        log_put_slice(l, SLICE("\":"));
    } else {
        log_put_slice(l, first ? SLICE("") : SLICE(" "));
        log_put_slice(l, name);
        log_put_slice(l, SLICE("="));
    }
    return true;
}

static void put_str(struct line *l, const char *key, slice value)
{
    if (begin_field(l, key))
        log_put_value(l, value);
}

static void put_int(struct line *l, const char *key, int64_t value)
{
    if (!begin_field(l, key))
        return;
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRId64, value);
    log_put_slice(l, slice_of(digits));
}

void log_mark_priorities(void) { marked = true; }

void log_listen(log_listen_fn *fn) { listener = fn; }

void log_write_by(log_write_fn *fn) { writer = fn; }

const char *log_level_name(enum log_level level) { return level_names[level]; }

const char *log_mark(enum log_level level)
{
    static const char *const marks[] = { "<3>", "<4>", "<6>", "<7>", "<7>" };
    return marked ? marks[level] : "";
}

static slice line_end(struct line *l)
{
    bool json = l->format == LOG_JSON;
    if (l->truncated)
        log_put_slice(l, json ? SLICE(",\"truncated\":true") : SLICE(" truncated=true"));
    log_put_slice(l, json ? SLICE("}\n") : SLICE("\n"));
    return (slice){ l->text, l->len - 1 };
}

static void write_line(const struct line *l, enum log_level level)
{
    /* One call, so that lines of several threads do not mix. If it fails, the line is lost: there
     * is no other place to report that. */
    const char *mark = log_mark(level);
    struct iovec parts[] = { { (void *)(uintptr_t)mark, strlen(mark) },
                             { (void *)(uintptr_t)l->text, l->len } };
    ssize_t written;
    do {
        written = writev(STDERR_FILENO, parts, 2);
    } while (written < 0 && errno == EINTR);
}

/* The address of the client that caused the line; empty: it names none. */
static slice log_peer_of(const struct log_field *fields)
{
    for (const struct log_field *f = fields; f->key != NULL; f++)
        if (f->kind == LOG_KIND_STR && strcmp(f->key, "peer") == 0)
            return f->str;
    return (slice){ 0 };
}

static void log_print(const struct log_area *area, enum log_level level, uint64_t wall_us,
                      const struct log_field *fields)
{
    static _Thread_local struct line line;
    struct line *l = &line;
    l->len = 0;
    l->truncated = false;
    l->format = (enum log_format)atomic_load_explicit(&line_format, memory_order_relaxed);

    char stamp[CLOCK_STAMP_LEN];
    clock_stamp(stamp, wall_us);
    put_str(l, "time", slice_of(stamp));
    put_str(l, "level", slice_of(level_names[level]));
    put_str(l, "area", slice_of(area->name));
    size_t most = log_peer_of(fields).len > 0 ? LOG_PEER_VALUE_BYTES : SIZE_MAX;
    bool cut = false;
    for (const struct log_field *f = fields; f->key != NULL; f++) {
        if (f->kind == LOG_KIND_INT)
            put_int(l, f->key, f->num);
        else
            put_str(l, f->key, f->str.len <= most ? f->str : (slice){ f->str.ptr, most });
        cut = cut || (f->kind == LOG_KIND_STR && f->str.len > most);
    }
    l->truncated = l->truncated || cut;
    if (l->truncated)
        cut_count(CUT_LOG);
    slice whole = line_end(l);
    if (writer == NULL || !writer(area, level, wall_us, fields, whole))
        write_line(l, level);
}

static void write_fields(const struct log_area *area, enum log_level level, uint64_t wall_us,
                         const struct log_field *fields)
{
    if (!area->unwritten)
        log_print(area, level, wall_us, fields);
    if (listener != NULL)
        listener(area, level, wall_us, fields);
}

static void tell_suppressed(struct log_area *area, uint64_t wall_us)
{
    uint32_t suppressed = atomic_exchange(&area->suppressed, 0);
    const struct log_field said[] = { LOG_EV("log.suppressed"), LOG_I("n", suppressed), { 0 } };
    if (suppressed > 0)
        write_fields(area, LOG_WARN, wall_us, said);
}

/* The rate limit that log.h describes. When threads log at the turn of a second, a few lines more
 * may pass. Every dropped line is counted. */
static bool is_admitted(struct log_area *area, enum log_level level, uint64_t wall_us, slice peer)
{
    uint64_t second = wall_us / 1000000, counted = atomic_load(&area->second);
    if (second != counted && atomic_compare_exchange_strong(&area->second, &counted, second)) {
        atomic_store(&area->lines, 0);
        for (unsigned i = 0; i < LOG_PEERS; i++)
            atomic_store(&area->peer_lines[i], 0);
        tell_suppressed(area, wall_us);
    }
    if (level == LOG_ERROR)
        return true;
    bool room = peer.len == 0 || atomic_fetch_add(&area->peer_lines[hash_keyed(peer) % LOG_PEERS],
                                                  1) < LOG_PEER_LINES_PER_SECOND;
    if (room && atomic_fetch_add(&area->lines, 1) < LOG_LINES_PER_SECOND)
        return true;
    atomic_fetch_add(&area->suppressed, 1);
    metric_add(&log_lines_suppressed, 1);
    return false;
}

/* Which event the fields are of: the first says it. NULL: none. */
static const char *log_event_of(const struct log_field *fields)
{
    bool says =
        fields->key != NULL && fields->kind == LOG_KIND_STR && strcmp(fields->key, "event") == 0;
    return says ? fields->str.ptr : NULL; /* of a literal (LOG_EV) */
}

void log_fields(struct log_area *area, enum log_level level, const struct log_field *fields)
{
    uint64_t wall_us = clock_wall_us();
    if (log_sample(area, level, log_event_of(fields), wall_us / 1000000) &&
        is_admitted(area, level, wall_us, log_peer_of(fields)))
        write_fields(area, level, wall_us, fields);
}

void log_record_fields(struct log_area *area, enum log_level level, const struct log_field *fields)
{
    write_fields(area, level, clock_wall_us(), fields);
}

void log_tell(void)
{
    uint64_t wall_us = clock_wall_us();
    struct log_held held;
    for (unsigned i = 0; i < LOG_SAMPLES && log_sample_held(&held); i++)
        write_fields(
            held.area, held.level, wall_us,
            (const struct log_field[]){
                LOG_EV("log.repeated"), LOG_C("of", held.event), LOG_I("n", held.lines), { 0 } });
    for (struct log_area *area = areas; area != NULL; area = area->next)
        tell_suppressed(area, wall_us);
}

static void log_put_level(struct log_area *area, int level)
{
    atomic_store(&area->level, area->asked && level < LOG_INFO ? LOG_INFO : level);
}

void log_register(struct log_area *area)
{
    pthread_mutex_lock(&areas_lock);
    struct log_area **at = &areas;
    while (*at != NULL && strcmp((*at)->name, area->name) < 0)
        at = &(*at)->next;
    ensure(*at == NULL || strcmp((*at)->name, area->name) != 0);
    area->next = *at;
    *at = area;
    log_put_level(area, atomic_load(&default_level));
    pthread_mutex_unlock(&areas_lock);
}

struct log_area *log_first(void) { return areas; }

struct log_area *log_find(slice name)
{
    struct log_area *area = areas;
    while (area != NULL && !slice_is(name, area->name))
        area = area->next;
    return area;
}

void log_set_level(struct log_area *area, enum log_level level)
{
    atomic_store(&area->traced, level == LOG_TRACE);
    log_put_level(area, (int)level);
}

void log_set_default(enum log_level level)
{
    pthread_mutex_lock(&areas_lock);
    atomic_store(&default_level, (int)level);
    for (struct log_area *area = areas; area != NULL; area = area->next) {
        if (!atomic_load(&area->traced))
            log_put_level(area, (int)level);
    }
    pthread_mutex_unlock(&areas_lock);
}

enum log_level log_default(void) { return (enum log_level)atomic_load(&default_level); }

void log_set_format(enum log_format format) { atomic_store(&line_format, (int)format); }

bool log_level_parse(slice text, enum log_level *out)
{
    for (int i = 0; i < (int)(sizeof level_names / sizeof level_names[0]); i++) {
        if (slice_is(text, level_names[i])) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}
