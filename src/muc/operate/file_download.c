#include "muc/operate/file_download.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "home/here.h"
#include "muc/operate/file_export.h"
#include "muc/operate/file_home.h"
#include "muc/room/room.h"
#include "muc/room/room_line.h"
#include "muc/state/reach.h"
#include "store/store.h"
#include <inttypes.h>
#include <stdio.h>

enum { HEAD_BYTES_MAX = 80 << 20, PLACE_BYTES_MAX = 200 };

#define HEAD_GIVEN INT64_MAX /* as `line`: all lines before the messages were given */

/* Where a page begins. */
struct place {
    int64_t line; /* of those before the messages */
    int64_t head; /* a hash of all of these: they are the same on each page */
    int64_t owner;
    int64_t id, until; /* of messages: the last that was given, and where they end */
    int64_t people, messages, skipped;
};

struct download {
    struct command_call *call;
    struct worker *worker;
    slice room;
    struct buf head; /* the lines before those of messages */
    enum err e;      /* what its home said */
    int64_t owner;   /* of its archive; 0: it said nothing */
    struct place at;
    size_t bytes; /* of this page */
    uint32_t given, most, rows;
};

/* Numbers with dots between them. */
static bool place_read(struct place *p, slice text)
{
    int64_t *const to[] = { &p->line,  &p->head,   &p->owner,    &p->id,
                            &p->until, &p->people, &p->messages, &p->skipped };
    enum { COUNT = sizeof to / sizeof to[0] };
    slice part;
    for (size_t i = 0; i < COUNT; i++) {
        bool last = !slice_cut(text, '.', &part, &text);
        if (last != (i + 1 == COUNT) || !slice_int(part, to[i]) || *to[i] < 0)
            return false;
    }
    return true;
}

static bool place_is(slice text)
{
    struct place p;
    return place_read(&p, text);
}

static void download_free(struct download *d) { buf_fini(&d->head); }

static void download_more(struct download *d)
{
    char place[PLACE_BYTES_MAX];
    const struct place *p = &d->at;
    int len =
        snprintf(place, sizeof place,
                 "%" PRId64 ".%" PRId64 ".%" PRId64 ".%" PRId64 ".%" PRId64 ".%" PRId64 ".%" PRId64
                 ".%" PRId64,
                 p->line, p->head, p->owner, p->id, p->until, p->people, p->messages, p->skipped);
    ensure(len > 0 && (size_t)len < sizeof place);
    command_done_more(d->call, (slice){ place, (size_t)len });
    download_free(d);
}

/* Whether the page has room for a line of so many bytes. Each page has one at least. */
static bool download_has_room(const struct download *d, size_t len)
{
    return d->given == 0 || (d->given < d->most && d->bytes + len <= DOWNLOAD_PAGE_BYTES);
}

static void download_give(struct download *d, slice line)
{
    command_row(d->call);
    command_text(d->call, "line", line);
    d->given++;
    d->bytes += line.len;
}

/* A line as it is in a file, without its newline; empty: it cannot be written. */
static slice download_line(struct download *d, const struct room_line *l)
{
    struct buf out;
    slice line = { 0 };
    buf_init(&out, ROOM_LINE_MAX);
    if (room_line_write(&out, l) && !out.overflow && out.len > 0)
        line = slice_dup(d->call->arena, (slice){ out.ptr, out.len - 1 });
    buf_fini(&out);
    return line;
}

static void download_end(struct download *d)
{
    const struct place *p = &d->at;
    slice line = download_line(d, &(struct room_line){ .type = LINE_END,
                                                       .affiliations = (uint64_t)p->people,
                                                       .messages = (uint64_t)p->messages });
    if (!download_has_room(d, line.len)) {
        download_more(d);
        return;
    }
    download_give(d, line);
    if (p->skipped > 0)
        command_done(d->call,
                     "affiliations %" PRId64 ", messages %" PRId64
                     "; messages that cannot be written: %" PRId64,
                     p->people, p->messages, p->skipped);
    else
        command_done(d->call, "affiliations %" PRId64 ", messages %" PRId64, p->people,
                     p->messages);
    download_free(d);
}

static void download_read(struct download *d);

/* false: the page is full, and the message goes to the next one. A message that was taken out of
 * the archive has no text. */
static bool download_message(struct download *d, const struct store_batch *b, uint32_t row)
{
    const struct room_line l = { .type = LINE_MESSAGE,
                                 .id = (uint64_t)store_int(b, 0, row, 0),
                                 .at_us = (uint64_t)store_int(b, 0, row, 1),
                                 .stanza = store_text(b, 0, row, 2) };
    slice line = l.stanza.len > 0 ? download_line(d, &l) : l.stanza;
    if (line.len > 0 && !download_has_room(d, line.len))
        return false;
    d->at.id = (int64_t)l.id;
    if (line.len > 0) {
        download_give(d, line);
        d->at.messages++;
    } else if (l.stanza.len > 0) {
        d->at.skipped++;
    }
    return true;
}

static void download_was_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct download *d = arg;
    ensure(d->rows > 0 && worker_is_here(d->worker));
    if (result == STORE_CONFLICT && d->rows > 1) { /* too many bytes */
        d->rows = store_fewer(d->rows);
        download_read(d);
        return;
    }
    if (result != STORE_OK) {
        command_fail_cause(d->call, err_of_store(result), "the archive could not be read");
        download_free(d);
        return;
    }
    if (store_row_count(b, 1) == 0) {
        operate_fail_missing(d->call, d->room);
        download_free(d);
        return;
    }
    for (uint32_t i = 0; i < store_row_count(b, 0); i++)
        if (!download_message(d, b, i)) {
            download_more(d);
            return;
        }
    if (store_row_count(b, 0) < d->rows)
        download_end(d);
    else
        download_read(d);
}

static void download_read(struct download *d)
{
    struct store_batch *b = store_read(worker_store(d->worker), (uint64_t)d->owner);
    ensure(d->at.line == HEAD_GIVEN && d->owner > 0);
    if (d->at.id == 0)
        store_read_late(b, d->owner);
    STORE_ADD(b, &room_export_page_stmt, STORE_ANY_ROWS, SV_I(d->owner), SV_I(d->at.id),
              SV_I(d->at.until), SV_I(d->rows));
    STORE_ADD(b, &room_there_stmt, STORE_ANY_ROWS, SV_I(d->owner));
    store_submit(b, worker_loop(d->worker), 0, download_was_read, d);
}

/* false: the page is full. */
static bool download_head(struct download *d)
{
    int64_t n = 0;
    slice line, rest = buf_slice(&d->head);
    ensure(d->at.owner == d->owner && d->at.line != HEAD_GIVEN);
    for (; slice_cut(rest, '\n', &line, &rest); n++) {
        if (n < d->at.line)
            continue;
        if (!download_has_room(d, line.len)) {
            d->at.line = n;
            return false;
        }
        download_give(d, line);
    }
    d->at.line = HEAD_GIVEN;
    return true;
}

/* Answers of its home. */

static void download_told(struct worker *w, void *arg, void *answer,
                          const struct message_from *from)
{
    struct download *d = arg;
    const struct room_lines_answer *a = answer;
    (void)w, (void)from;
    d->e = (enum err)a->err;
    d->owner = a->owner;
    if (d->at.line != HEAD_GIVEN) {
        d->at.until = (int64_t)a->until;
        d->at.people = (int64_t)a->people;
    }
    buf_add(&d->head, a->lines);
}

static void download_refuse(struct download *d)
{
    if (d->e == E_NOTFOUND)
        operate_fail_missing(d->call, d->room);
    else if (d->e == E_UNSUPPORTED)
        command_fail(d->call, d->e, "%.*s is an ad hoc room; only persistent ones are moved",
                     SLICE_ARG(d->room));
    else if (d->e != OK || d->head.overflow)
        command_fail(d->call, d->e != OK ? d->e : E_LIMIT, "%.*s: %s", SLICE_ARG(d->room),
                     err_text(d->e != OK ? d->e : E_LIMIT));
    else if (d->owner == 0)
        command_fail(d->call, E_DOWN, "the node of %.*s ended before it answered",
                     SLICE_ARG(d->room));
    else if (d->at.owner == d->owner)
        command_fail(d->call, E_CONFLICT,
                     "%.*s got another configuration or affiliation meanwhile; begin again",
                     SLICE_ARG(d->room));
    else
        command_fail(d->call, E_CONFLICT, "%.*s was destroyed and made again meanwhile",
                     SLICE_ARG(d->room));
    download_free(d);
}

/* All nodes agree on it: the next page may be of another one. Not negative, as `place` is. */
static int64_t head_hash(slice head)
{
    static const struct hash_key key = { 0 };
    return (int64_t)(hash_with(&key, head) >> 1);
}

static void download_all_told(struct worker *w, void *arg)
{
    struct download *d = arg;
    (void)w;
    bool begins = d->at.owner == 0, again = !begins && d->at.owner != d->owner;
    int64_t head = d->at.line == HEAD_GIVEN ? d->at.head : head_hash(buf_slice(&d->head));
    bool changed = !begins && head != d->at.head;
    if (d->e != OK || d->owner == 0 || d->head.overflow || again || changed) {
        download_refuse(d);
        return;
    }
    d->at.owner = d->owner;
    d->at.head = head;
    if (d->at.line == HEAD_GIVEN || download_head(d))
        download_read(d);
    else
        download_more(d);
}

static void run_download(struct command_call *call)
{
    struct download *d = arena_new(call->arena, struct download, 1);
    *d = (struct download){ .call = call,
                            .worker = call->worker,
                            .room = command_arg(call, "room"),
                            .most = command_page_limit(call),
                            .rows = ROOM_FILE_STEP_ROWS };
    slice after = command_arg(call, "after"); /* its form was checked */
    if (after.ptr != NULL && !place_read(&d->at, after)) {
        command_fail(call, E_SYNTAX, "after: found no place in a room");
        return;
    }
    buf_init(&d->head, HEAD_BYTES_MAX);
    home_ask(d->worker, d->room, &room_lines_asked_message,
             &(struct room_lines_asked){ .room = d->room, .numbers = d->at.line == HEAD_GIVEN },
             &(struct asker){ .gather = download_told, .done = download_all_told, .arg = d });
}

struct command room_download_command = {
    .name = "room download",
    .effect = COMMAND_READS,
    .area = "compliance",
    .audited = true,
    .reasoned = true,
    .also_permission = "rooms.write", /* the file has the password of the room */
    .file = "jsonl",
    .args = (const struct command_arg[]){ { .name = "room",
                                            .kind = ARG_POSITIONAL,
                                            .type = PARAM_ROOM,
                                            .doc = "address of a persistent room" },
                                          { .name = "after",
                                            .kind = ARG_OPTION,
                                            .max = PLACE_BYTES_MAX,
                                            .check = place_is,
                                            .form = "the place that the page before it names",
                                            .doc = "begin after this place" },
                                          COMMAND_LIMIT_ARG(COMMAND_PAGE_MAX,
                                                            "show at most this number"),
                                          COMMAND_REASON_ARG,
                                          { 0 } },
    .run = run_download,
    .rest = "GET /rooms/{room}/export",
    .doc =
        "Shows the lines of the file of a persistent room: those that `room export` writes, for a "
        "program that saves them. A page has at most 4 MiB. It needs the permissions "
        "compliance.read and rooms.write, since the lines have the password of the room and "
        "the addresses of authors, also of anonymous rooms. A caller who is not at the control "
        "socket must state a reason; each page has an entry in the audit log.",
    .columns =
        (const struct command_column[]){
            { .name = "line", .doc = "a line of the file: JSON, which `room import` reads" },
            { 0 } },
};
