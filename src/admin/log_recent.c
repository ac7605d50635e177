#include "admin/log_recent.h"
#include "admin/control_json.h"
#include "admin/event_ring.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/hash.h"
#include "base/log_listen.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/node.h"
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

enum { TEXTS_BYTES = 8 * LOG_LINE_BYTES, LINE_BYTES_MAX = 3 * TEXTS_BYTES };

struct event_ring log_recent = EVENT_RING(LOG_RECENT_MAX, LOG_RECENT_BYTES);
/* Lines of areas with a permission of their own. */
static struct event_ring guarded = EVENT_RING(LOG_RECENT_MAX, LOG_RECENT_BYTES);
struct event_ring log_recent_texts = EVENT_RING(LOG_RECENT_MAX, LOG_RECENT_BYTES);

static bool is_plain(slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= ' ' || s.ptr[i] > '~' || s.ptr[i] == '"' || s.ptr[i] == '\\')
            return false;
    return s.len > 0;
}

/* " key=value", as in a line. */
static void log_recent_field(struct buf *text, const struct log_field *f, size_t most)
{
    slice value = { f->str.ptr, f->str.len < most ? f->str.len : most };
    buf_printf(text, "%s%s=", text->len > 0 ? " " : "", f->key);
    if (f->kind == LOG_KIND_INT)
        buf_printf(text, "%" PRId64, f->num);
    else if (is_plain(value))
        buf_add(text, value);
    else
        control_text(text, value);
}

static void log_recent_add(const struct log_area *area, enum log_level level, uint64_t wall_us,
                           const struct log_field *fields)
{
    char stamp[CLOCK_STAMP_LEN];
    struct buf text, line;
    slice event = SLICE("");
    size_t most = area->unwritten ? LOG_RECENT_TEXT_MAX : LOG_RECENT_VALUE_MAX;
    buf_init(&text, area->unwritten ? TEXTS_BYTES : LOG_LINE_BYTES);
    buf_init(&line, LINE_BYTES_MAX);
    for (const struct log_field *f = fields; f->key != NULL; f++) {
        if (f->kind == LOG_KIND_STR && strcmp(f->key, "event") == 0)
            event = f->str;
        else if (text.len + most * 6 < text.max) /* escapes have six bytes */
            log_recent_field(&text, f, most);
    }
    clock_stamp(stamp, wall_us);
    buf_printf(&line, "{\"time\":\"%s\",\"level\":\"%s\",\"area\":\"%s\",\"event\":", stamp,
               log_level_name(level), area->name);
    control_text(&line, event);
    buf_lit(&line, ",\"text\":");
    control_text(&line, buf_fit(&text));
    buf_lit(&line, "}");
    event_ring_add(area->unwritten            ? &log_recent_texts
                   : area->permission != NULL ? &guarded
                                              : &log_recent,
                   buf_fit(&line));
    buf_fini(&text);
    buf_fini(&line);
}

/* `log list`. */

static slice line_text(const json_t *line, const char *name)
{
    return slice_of(json_string_value(json_object_get(line, name)));
}

static bool is_wanted(const struct log_wanted *w, const json_t *line)
{
    enum log_level level = LOG_TRACE;
    slice text = line_text(line, "text");
    if (!log_level_parse(line_text(line, "level"), &level))
        return false;
    return level <= w->level &&
           (w->area.ptr == NULL || slice_eq(w->area, line_text(line, "area"))) &&
           (w->event.ptr == NULL || slice_eq(w->event, line_text(line, "event"))) &&
           (w->word.ptr == NULL || strstr(text.ptr, w->word.ptr) != NULL) &&
           (w->plain.ptr == NULL || slice_starts(text, w->plain) || slice_starts(text, w->quoted));
}

static const char *const line_names[] = { "time", "level", "area", "event", "text", NULL };

static void add_line(struct command_call *call, const json_t *line, uint64_t number)
{
    command_row(call);
    for (const char *const *name = line_names; *name != NULL; name++)
        command_text(call, *name, slice_dup(call->arena, line_text(line, *name)));
    command_text(call, "node", slice_of(worker_node(call->worker)->name));
    command_text(call, "line",
                 slice_of(arena_printf(call->arena, "%016" PRIx64 "-%016" PRIx64,
                                       hash_keyed(SLICE("log")), number)));
}

/* Those of the ring before number `end` that are wanted, behind the first `pass` of them; returns
 * how many are wanted. */
static uint64_t walk_lines(struct event_ring *ring, struct command_call *call,
                           const struct log_wanted *w, uint64_t end, uint64_t pass)
{
    struct buf text;
    uint64_t at = 0, lost = 0, wanted = 0;
    buf_init(&text, LINE_BYTES_MAX);
    while (at < end && event_ring_read(ring, &at, &text, &lost)) {
        json_t *line = json_loadb(text.ptr, text.len, 0, NULL);
        buf_clear(&text);
        if (line != NULL && is_wanted(w, line) && ++wanted > pass)
            add_line(call, line, at - 1);
        json_decref(line);
    }
    buf_fini(&text);
    return wanted;
}

static uint64_t line_limit(const struct command_call *call)
{
    return (uint64_t)command_number(call, "limit", LOG_RECENT_LIST);
}

void log_recent_rows(struct command_call *call, struct event_ring *ring, const struct log_wanted *w)
{
    uint64_t limit = line_limit(call);
    uint64_t end = event_ring_next(ring), wanted = walk_lines(ring, call, w, end, UINT64_MAX);
    if (wanted > 0)
        (void)walk_lines(ring, call, w, end, wanted > limit ? wanted - limit : 0);
}

static int line_order(const void *a, const void *b)
{
    const struct command_row *const *one = a, *const *other = b;
    static const char *const keys[] = { "time", "line", "node" };
    int order = 0;
    for (size_t i = 0; order == 0 && i < sizeof keys / sizeof keys[0]; i++)
        order = slice_compare(command_row_text(*one, keys[i]), command_row_text(*other, keys[i]));
    return order;
}

static void add_part(struct command_call *call, const struct command_row *part)
{
    command_row(call);
    for (const char *const *name = line_names; *name != NULL; name++)
        command_text(call, *name, command_row_text(part, *name));
    command_text(call, "node", command_row_text(part, "node"));
}

void log_recent_gathered(struct command_call *call)
{
    uint64_t count = 0, all = 0, limit = line_limit(call);
    struct command_row *first = command_take_rows(call);
    for (const struct command_row *r = first; r != NULL; r = r->next)
        all++;
    const struct command_row **rows = arena_new(call->arena, const struct command_row *, all + 1);
    for (uint64_t i = 0; first != NULL; first = first->next)
        rows[i++] = first;
    qsort(rows, all, sizeof rows[0], line_order);
    for (uint64_t i = 0; i < all; i++)
        if (count == 0 ||
            !slice_eq(command_row_text(rows[count - 1], "line"), command_row_text(rows[i], "line")))
            rows[count++] = rows[i];
    for (uint64_t i = count > limit ? count - limit : 0; i < count; i++)
        add_part(call, rows[i]);
    command_done(call, "%s", call->rows != NULL ? "" : "there is no such line in memory");
}

/* Why the call does not get the lines of the area that it names; NULL: it does. */
static const char *log_list_refusal(const struct command_call *call, enum err *e)
{
    slice name = command_arg(call, "area");
    const struct log_area *area = name.ptr != NULL ? log_find(name) : NULL;
    *e = name.ptr != NULL && area == NULL ? E_NOTFOUND : E_DENIED;
    if (*e == E_NOTFOUND)
        return arena_printf(call->arena, "%.*s: no such area; `log areas` lists them",
                            SLICE_ARG(name));
    if (area != NULL && area->unwritten)
        return arena_printf(call->arena,
                            "the lines of %s have what users say: they need the permission %s and "
                            "a reason; `trace texts` shows them",
                            area->name, area->permission);
    if (area != NULL && area->permission != NULL && !principal_may(&call->who, area->permission))
        return arena_printf(call->arena, "the lines of %s need the permission %s, too", area->name,
                            area->permission);
    return NULL;
}

/* As `trace texts`: one worker of each node adds them. */
static void run_log_list(struct command_call *call)
{
    enum err e;
    slice name = command_arg(call, "area");
    if (worker_index(call->worker) != 0 || log_list_refusal(call, &e) != NULL)
        return;
    bool is_guarded = name.ptr != NULL && log_find(name)->permission != NULL;
    const struct log_wanted wanted = {
        .level = (enum log_level)command_number(call, "level", LOG_TRACE),
        .area = name,
        .event = command_arg(call, "event"),
        .word = command_arg(call, "word"),
    };
    log_recent_rows(call, is_guarded ? &guarded : &log_recent, &wanted);
}

static void log_list_gathered(struct command_call *call)
{
    enum err e;
    const char *refusal = log_list_refusal(call, &e);
    if (refusal == NULL)
        log_recent_gathered(call);
    else
        command_fail(call, e, "%s", refusal);
}

/* clang-format off */
#define LINE_COLUMNS                                                                               \
    { .name = "time", .type = PARAM_STAMP, .exact = true, .doc = "when" },                         \
    { .name = "level", .doc = "error, warn, info, debug or trace" },                               \
    { .name = "area", .doc = "part of the server" },                                               \
    { .name = "event", .doc = "what happened" },                                                   \
    { .name = "text", .doc = "the other fields of the line" },                                     \
    { .name = "node", .apart = true, .doc = "name of the node" }
/* clang-format on */

const struct command_column log_recent_columns[] = { LINE_COLUMNS, { 0 } };
const struct command_column log_recent_parts[] = {
    LINE_COLUMNS,
    { .name = "line", .doc = "process and number" },
    { 0 },
};

static const char *const level_choices[] = { "error", "warn", "info", "debug", "trace", NULL };

static struct command log_list = {
    .name = "log list",
    .rest = "GET /log",
    .effect = COMMAND_READS,
    .area = "log",
    .runs_at = COMMAND_EACH,
    .args =
        (const struct command_arg[]){
            { .name = "level",
              .kind = ARG_OPTION,
              .type = PARAM_CHOICE,
              .choices = level_choices,
              .doc = "only lines of this level and more important ones" },
            { .name = "area",
              .kind = ARG_OPTION,
              .refers = REFERS_LOG_AREA,
              .doc = "only of this area" },
            { .name = "event", .kind = ARG_OPTION, .doc = "only of this event" },
            { .name = "word", .kind = ARG_OPTION, .doc = "only lines with this in their text" },
            COMMAND_LIMIT_ARG(LOG_RECENT_MAX, "at most so many, the newest; the default is 100"),
            { 0 } },
    .run = run_log_list,
    .gathered = log_list_gathered,
    .parts = log_recent_parts,
    .doc = "Shows the newest lines of the log of all nodes. Each node has at most 4,000 in memory, "
           "or 1 MiB; older ones are where standard error goes, such as in the journal. Values "
           "longer than "
           "512 bytes are cut. Lines of the area trace are shown only with `--area`, to those who "
           "have the permission trace.read, too; `trace texts` shows those of trace-bodies.",
    .columns = log_recent_columns,
};

static void log_recent_start(void) { log_listen(log_recent_add); }

const struct feature log_recent_feature = {
    .name = "log_recent",
    .start = log_recent_start,
    .commands = (struct command *const[]){ &log_list, NULL },
};
