/* log: events with typed fields, one logfmt (or JSON) line each on standard error, or where
 * log_write_by() says.
 *
 *     log_info(&log_c2s, LOG_EV("auth.fail"), LOG_S("jid", jid), LOG_I("count", n));
 *
 * An area is a static row; its level is switched at run time (`musterctl log trace c2s on`).
 * Values are escaped, so peer bytes cannot forge lines. Never pass passwords, SASL data or message
 * bodies. A line is written with one write(2); it is cut at LOG_LINE_BYTES, counted and then says
 * `truncated=true`. Of an event that is repeated a sample is written (base/log_sample.h). Beyond
 * LOG_LINES_PER_SECOND an area's lines below LOG_ERROR are dropped and counted:
 * `event=log.suppressed n=...` comes before the area's first line of a later second, or with
 * log_tell(). Lines with a field `peer`, the address of a client, have a smaller share for each
 * address, and values of at most LOG_PEER_VALUE_BYTES: a stranger neither fills the disk nor hides
 * what others do. Any thread. */
#pragma once
#include "base/slice.h"
#include <stdatomic.h>

enum {
    LOG_LINE_BYTES = 8192,
    LOG_LINES_PER_SECOND = 1000,
    LOG_PEER_LINES_PER_SECOND = 100,
    LOG_PEER_VALUE_BYTES = 256,
    LOG_PEERS = 64 /* counts; addresses of the same hash share one */
};

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };
enum log_format { LOG_LOGFMT, LOG_JSON };

struct log_area {
    const char *name;
    _Atomic int level;     /* lines above it are not written; log_register() sets the default */
    struct log_area *next; /* set by log_register(); areas are linked by name */
    /* What reading its lines over the network needs besides the permission for the log
     * ("trace.read"): they tell who talks with whom. NULL: nothing. */
    const char *permission;
    bool whole; /* its lines are records: they are not sampled (base/log_sample.h) */
    bool asked; /* its lines are made only while somebody asks for them: no level hides LOG_INFO */
    /* Its lines have what users say: they are never written, only the listener has them
     * (base/log_listen.h). */
    bool unwritten;

    _Atomic int traced;      /* switched to LOG_TRACE by log_set_level() */
    _Atomic uint64_t second; /* the wall clock's second that `lines` counts */
    _Atomic uint32_t lines, suppressed;
    _Atomic uint32_t peer_lines[LOG_PEERS];
};

enum log_kind { LOG_KIND_END, LOG_KIND_STR, LOG_KIND_INT };
struct log_field {
    const char *key;
    enum log_kind kind;
    slice str;
    int64_t num;
};
/* clang-format off */
#define LOG_EV(name)     { "event", LOG_KIND_STR, SLICE(name), 0 }
#define LOG_S(key, s)    { key, LOG_KIND_STR, (s), 0 }
#define LOG_C(key, cstr) { key, LOG_KIND_STR, slice_of(cstr), 0 }
#define LOG_I(key, n)    { key, LOG_KIND_INT, { 0 }, (int64_t)(n) }
/* clang-format on */

void log_fields(struct log_area *area, enum log_level level, const struct log_field *fields);
/* Says how many lines were held back or dropped since the last call (`event=log.repeated`,
 * `event=log.suppressed`). Each few seconds, and at the stop of the server, so that the last flood
 * is told of, too. */
void log_tell(void);
#define log_at(area, lvl, ...)                                                                     \
    (atomic_load_explicit(&(area)->level, memory_order_relaxed) >= (int)(lvl)                      \
         ? log_fields((area), (lvl), (const struct log_field[]){ __VA_ARGS__, { 0 } })             \
         : (void)0)
#define log_error(area, ...) log_at(area, LOG_ERROR, __VA_ARGS__)
#define log_warn(area, ...)  log_at(area, LOG_WARN, __VA_ARGS__)
#define log_info(area, ...)  log_at(area, LOG_INFO, __VA_ARGS__)
#define log_debug(area, ...) log_at(area, LOG_DEBUG, __VA_ARGS__)
#define log_trace(area, ...) log_at(area, LOG_TRACE, __VA_ARGS__)

void log_register(struct log_area *area); /* at start; once an area */
struct log_area *log_find(slice name);    /* NULL: no such area */
struct log_area *log_first(void);         /* all areas, linked by next */
void log_set_level(struct log_area *area, enum log_level level);
void log_set_default(enum log_level level); /* of all areas that are not traced */
enum log_level log_default(void);           /* LOG_INFO at first; a trace ends here */
void log_set_format(enum log_format format);
/* Makes each line begin with its priority for journald, "<3>" (sd-daemon(3)). At start, before
 * there are threads. */
void log_mark_priorities(void);
/* The priority for a line that is printed without the log: "<3>", or "". */
const char *log_mark(enum log_level level);
bool log_level_parse(slice text, enum log_level *out);
