#include "muc/operate/file_import.h"
#include "account/account.h"
#include "archive/archive.h"
#include "archive/ids.h"
#include "archive/words.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/xml_read.h"
#include "home/command_run.h"
#include "home/here.h"
#include "io/work.h"
#include "muc/archive/archive.h"
#include "muc/operate/file_export.h"
#include "muc/operate/file_home.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/room_line.h"
#include "muc/room/rooms.h"
#include "muc/room/settings.h"
#include "ops/jobs.h"
#include "store/store.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024 };
#define AHEAD_US 86400000000ull /* of our clock that an archive id may be; of it, its time */

/* The part of the file that is read. Touched by a helper thread while the work is with it. */
struct source {
    int fd;
    char *bytes;
    size_t from, len, cap; /* the part that is not used yet */
    bool end;
    uint64_t line;
};

struct kept_line {
    struct kept_line *next;
    struct room_line line;
};

struct import {
    struct work work;
    struct command_call *call;
    uint64_t job;
    struct worker *worker;
    const char *path;
    struct source in;
    struct xml_work *xml;
    struct arena *arena, *lasting;       /* of a step; as long as this */
    struct map seen;                     /* struct person: who has an affiliation */
    struct room_line room, *step;        /* step: affiliations and messages to store */
    struct kept_line *kept, **kept_tail; /* of parts */
    uint64_t affiliations, affiliations_max, messages, last_id;
    enum room_line_type last_type;
    uint32_t step_count;
    bool ended, storing; /* storing: the second time */
    enum err e;          /* of the step, or of what its home said */
    struct why why;
    int64_t owner;
    uint64_t told_us;
};

/* On a helper thread. */

static enum err room_import_read_more(struct source *in, struct why *why)
{
    if (in->from > 0 && in->len > 0)
        memmove(in->bytes, in->bytes + in->from, in->len);
    in->from = 0;
    if (in->len + READ_BYTES > in->cap) {
        in->cap = 2 * in->cap + READ_BYTES;
        in->bytes = mem_realloc(in->bytes, in->cap);
    }
    for (;;) {
        ssize_t n = read(in->fd, in->bytes + in->len, READ_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            why_set(why, "it cannot be read: %s", strerror(errno));
            return E_IO;
        }
        in->end = n == 0;
        in->len += (size_t)n;
        return OK;
    }
}

/* E_EOF: there is none. Of another failure `line` says which one it is. */
static enum err next_line(struct source *in, slice *out, struct why *why)
{
    for (;;) {
        const char *at = in->len == 0 ? NULL : in->bytes + in->from;
        const char *nl = in->len == 0 ? NULL : memchr(at, '\n', in->len);
        if (nl != NULL || (in->end && in->len > 0)) {
            *out = (slice){ at, nl != NULL ? (size_t)(nl - at) : in->len };
            size_t used = out->len + (nl != NULL);
            in->from += used;
            in->len -= used;
            in->line++;
            return OK;
        }
        if (in->end)
            return E_EOF;
        if (in->len > ROOM_LINE_MAX) {
            in->line++;
            why_set(why, "found a line of more than %d bytes", ROOM_LINE_MAX);
            return E_LIMIT;
        }
        enum err e = room_import_read_more(in, why);
        if (e != OK) {
            in->line++;
            return e;
        }
    }
}

struct person {
    slice jid;
};
static slice person_key(const void *item) { return ((const struct person *)item)->jid; }

static void keep_room(struct import *x, const struct room_line *l)
{
    x->room = *l;
    x->room.jid = slice_dup(x->lasting, l->jid);
    x->room.creator = slice_dup(x->lasting, l->creator);
    x->room.config = slice_dup(x->lasting, l->config);
    x->room.subject = slice_dup(x->lasting, l->subject);
}

static bool take_affiliation(struct import *x, const struct room_line *l)
{
    if (++x->affiliations > x->affiliations_max) {
        why_set(&x->why, "found more affiliations than muc.affiliations-max, which is %llu",
                (unsigned long long)x->affiliations_max);
        return false;
    }
    if (x->storing) { /* was checked */
        x->step[x->step_count++] = *l;
        return true;
    }
    if (map_get(&x->seen, l->jid) != NULL) {
        why_set(&x->why, "found %.*s twice", SLICE_ARG(l->jid));
        return false;
    }
    struct person *p = arena_new(x->lasting, struct person, 1);
    p->jid = slice_dup(x->lasting, l->jid);
    map_put(&x->seen, p);
    return true;
}

/* A line of a part. Those of the first reading are kept until the room is stored. */
static bool take_part(struct import *x, const struct room_line *l)
{
    const struct room_lines *lines = room_lines_of((int)l->type);
    uint32_t same = 0;
    if (x->storing) /* was checked */
        return true;
    for (const struct kept_line *k = x->kept; k != NULL; k = k->next)
        same += k->line.type == l->type;
    if (lines == NULL) {
        why_set(&x->why, "found a line that this server does not know");
        return false;
    }
    if (!lines->fits(l, same, x->arena, &x->why))
        return false;
    struct kept_line *k = *x->kept_tail = arena_new(x->lasting, struct kept_line, 1);
    x->kept_tail = &k->next;
    k->line = *l;
    k->line.jid = slice_dup(x->lasting, l->jid);
    k->line.uri = slice_dup(x->lasting, l->uri);
    k->line.title = slice_dup(x->lasting, l->title);
    k->line.card = slice_dup(x->lasting, l->card);
    return true;
}

static uint64_t message_off_us(const struct room_line *l)
{
    return l->id > l->at_us ? l->id - l->at_us : l->at_us - l->id;
}

static bool message_fits(struct import *x, const struct room_line *l)
{
    if (!slice_eq(l->jid, x->room.jid))
        why_set(&x->why, "\"stanza\": found a message from %.*s, allowed: from the room",
                SLICE_ARG(l->jid));
    else if (l->id <= x->last_id)
        why_set(&x->why, "\"id\": found %llu behind %llu, allowed: rising ones",
                (unsigned long long)l->id, (unsigned long long)x->last_id);
    else if (l->id > clock_wall_us() + AHEAD_US)
        why_set(&x->why, "\"id\": found %llu, which is in the future", (unsigned long long)l->id);
    else if (message_off_us(l) > AHEAD_US)
        why_set(
            &x->why,
            "\"at\": found a time more than a day from \"id\", which is %llu microseconds since "
            "1970",
            (unsigned long long)l->id);
    else
        return true;
    return false;
}

static bool take_message(struct import *x, const struct room_line *l)
{
    if (!message_fits(x, l))
        return false;
    x->last_id = l->id;
    x->messages++;
    if (x->storing)
        x->step[x->step_count++] = *l;
    return true;
}

static bool is_end(struct import *x, const struct room_line *l)
{
    x->ended = l->affiliations == x->affiliations && l->messages == x->messages;
    if (!x->ended)
        why_set(&x->why,
                "found the end of %llu affiliations and %llu messages behind %llu and %llu",
                (unsigned long long)l->affiliations, (unsigned long long)l->messages,
                (unsigned long long)x->affiliations, (unsigned long long)x->messages);
    return x->ended;
}

/* One room, its affiliations, its hats, one card, its messages, the end. */
static bool in_order(const struct import *x, const struct room_line *l)
{
    if (x->in.line == 1 || l->type == LINE_ROOM)
        return x->in.line == 1 && l->type == LINE_ROOM;
    return l->type > x->last_type ||
           (l->type == x->last_type && l->type != LINE_CARD && l->type != LINE_END);
}

static bool room_import_take(struct import *x, const struct room_line *l)
{
    if (!in_order(x, l)) {
        why_set(&x->why, "allowed: one room, its affiliations, hats, card, messages, the end");
        return false;
    }
    x->last_type = l->type;
    switch (l->type) {
    case LINE_ROOM:
        if (!x->storing)
            keep_room(x, l);
        return true;
    case LINE_AFFILIATION:
        return take_affiliation(x, l);
    case LINE_HAT:
    case LINE_CARD:
        return take_part(x, l);
    case LINE_MESSAGE:
        return take_message(x, l);
    case LINE_END:
        return is_end(x, l);
    }
    return false;
}

static enum err room_import_open_file(struct import *x)
{
    if (x->in.fd < 0)
        x->in.fd = open(x->path, O_RDONLY | O_CLOEXEC);
    else if (lseek(x->in.fd, 0, SEEK_SET) < 0) { /* the second time */
        close(x->in.fd);
        x->in.fd = -1;
    }
    if (x->in.fd >= 0)
        return OK;
    why_set(&x->why, "%s", strerror(errno));
    return E_IO;
}

static void step_run(struct work *w)
{
    struct import *x = CONTAINER_OF(w, struct import, work);
    size_t bytes = 0;
    arena_reset(x->arena);
    x->step_count = 0;
    x->e = x->in.line == 0 ? room_import_open_file(x) : OK;
    slice text;
    for (unsigned n = 0; x->e == OK && n < ROOM_FILE_STEP_ROWS && bytes < ROOM_FILE_STEP_BYTES;
         n++) {
        struct room_line l;
        x->e = next_line(&x->in, &text, &x->why);
        if (x->e != OK)
            return;
        bytes += text.len;
        x->e = room_line_read(&l, text, x->xml, x->arena, &x->why);
        if (x->e == OK && !room_import_take(x, &l))
            x->e = E_SYNTAX;
    }
}

static void close_run(struct work *w)
{
    struct import *x = CONTAINER_OF(w, struct import, work);
    if (x->in.fd >= 0)
        close(x->in.fd);
}

/* On x->worker. */

static void closed(struct work *w)
{
    struct import *x = CONTAINER_OF(w, struct import, work);
    mem_free(&x->in.bytes);
    map_fini(&x->seen);
    xml_work_destroy(&x->xml);
    arena_destroy(&x->arena);
    arena_destroy(&x->lasting);
    room_file_end();
    mem_free(&x);
}

/* The call has ended. */
static void import_free(struct import *x)
{
    x->work.run = close_run;
    x->work.done = closed;
    if (work_submit(worker_work(x->worker), worker_loop(x->worker), &x->work) == OK)
        return;
    close_run(&x->work);
    closed(&x->work);
}

static void fail_line(struct import *x)
{
    if (x->e == E_EOF)
        command_fail(x->call, E_SYNTAX, "%s: the end is missing; nothing was changed", x->path);
    else if (x->in.line == 0)
        command_fail(x->call, x->e, "%s: %s", x->path, x->why.text);
    else
        command_fail(x->call, x->e, "%s: line %llu: %s; nothing was changed", x->path,
                     (unsigned long long)x->in.line, x->why.text);
    import_free(x);
}

static void room_import_fail(struct import *x, enum err e, const char *text)
{
    command_fail(x->call, e, "%.*s: %s; nothing was changed", SLICE_ARG(x->room.jid), text);
    import_free(x);
}

/* Deletes all that was stored. The call has ended. */

static struct store_stmt note_stmt = {
    .name = "room.import-note",
    .sql = "INSERT INTO room_import(owner, until) VALUES($1, $2)",
    .params = "ii",
    .cols = "",
};
static struct store_stmt unnote_stmt = {
    .name = "room.import-unnote",
    .sql = "DELETE FROM room_import WHERE owner = $1",
    .params = "i",
    .cols = "",
};
static struct store_stmt doom_stmt = {
    .name = "room.import-doom",
    .sql = "INSERT INTO muc_doomed(owner, until) SELECT owner, until FROM room_import "
           "WHERE owner = $1 ON CONFLICT(owner) DO NOTHING",
    .params = "i",
    .cols = "",
};
static struct store_stmt doom_all_stmt = {
    .name = "room.import-doom-all",
    .sql = "INSERT INTO muc_doomed(owner, until) SELECT owner, until FROM room_import "
           "WHERE owner > 0 ON CONFLICT(owner) DO NOTHING",
    .params = "",
    .cols = "",
};
static struct store_stmt unnote_all_stmt = {
    .name = "room.import-unnote-all",
    .sql = "DELETE FROM room_import",
    .params = "",
    .cols = "",
};

static struct store_stmt forget_stmt = {
    .name = "room.import-forget",
    .sql =
        "DELETE FROM room_affiliation WHERE room IN (SELECT owner FROM room_import WHERE owner = "
        "$1)",
    .params = "i",
    .cols = "",
};
static struct store_stmt forget_all_stmt = {
    .name = "room.import-forget-all",
    .sql = "DELETE FROM room_affiliation WHERE room IN (SELECT owner FROM room_import)",
    .params = "",
    .cols = "",
};

static void undone(void *arg, enum store_result result, const struct store_batch *b)
{
    struct import *x = arg;
    if (result == STORE_OK && store_changed(b, 2) > 0)
        room_archive_remove(x->worker, x->owner); /* else the next start finds the note */
    import_free(x);
}

/* If its home did not answer, there may be the room: then there is no note any more. */
static void undo(struct import *x)
{
    struct store_batch *b = store_write(worker_store(x->worker), (uint64_t)x->owner);
    STORE_ADD(b, &doom_stmt, STORE_ANY_ROWS, SV_I(x->owner));
    STORE_ADD(b, &forget_stmt, STORE_ANY_ROWS, SV_I(x->owner));
    STORE_ADD(b, &unnote_stmt, STORE_ANY_ROWS, SV_I(x->owner));
    store_submit(b, worker_loop(x->worker), 0, undone, x);
}

static void fail_storing(struct import *x, enum err e, const char *text)
{
    command_fail(x->call, e, "%.*s: %s; nothing was changed", SLICE_ARG(x->room.jid), text);
    undo(x);
}

/* Its home (muc/operate/file_home.h). */

static void room_import_heard(struct worker *w, void *arg, void *answer,
                              const struct message_from *from)
{
    struct import *x = arg;
    const struct room_lines_answer *a = answer;
    (void)w, (void)from;
    x->e = (enum err)a->err;
    why_set(&x->why, "%.*s; %s", SLICE_ARG(a->why), command_outcome(x->e));
}

static void room_import_ask(struct import *x, slice lines, gathered_fn *done)
{
    x->e = E_DOWN;
    why_set(&x->why, "its node ended before it answered; `room list` says whether it was imported");
    home_ask(x->worker, x->room.jid, &room_lines_given_message,
             &(struct room_lines_given){ x->room.jid, lines, x->owner },
             &(struct asker){ .gather = room_import_heard, .done = done, .arg = x });
}

/* The end: the room itself. */

static struct store_stmt person_stmt = {
    .name = "room.import-affiliation",
    .sql = "INSERT INTO room_affiliation(room, jid, affiliation, nick, reason, follows)"
           " VALUES($1, $2, $3, $4, $5, $6)",
    .params = "ititti",
    .cols = "",
};

static void room_import_ended(struct worker *w, void *arg)
{
    struct import *x = arg;
    (void)w;
    if (x->e != OK) {
        command_fail(x->call, x->e, "%.*s: %s", SLICE_ARG(x->room.jid), x->why.text);
        undo(x);
        return;
    }
    log_info(&log_muc, LOG_EV("room.imported"), LOG_S("room", x->room.jid),
             LOG_I("messages", x->messages));
    command_done(x->call, "room %.*s imported: affiliations %llu, messages %llu",
                 SLICE_ARG(x->room.jid), (unsigned long long)x->affiliations,
                 (unsigned long long)x->messages);
    import_free(x);
}

static void room_import_end(struct import *x)
{
    struct buf lines;
    buf_init(&lines, ROOM_LINES_BYTES_MAX);
    room_line_write(&lines, &x->room);
    for (const struct kept_line *k = x->kept; k != NULL; k = k->next)
        room_line_write(&lines, &k->line);
    if (lines.overflow)
        fail_storing(x, E_LIMIT, "its configuration, hats and card are too long");
    else
        room_import_ask(x, buf_slice(&lines), room_import_ended);
    buf_fini(&lines);
}

/* Its affiliations and messages. */

static void room_import_next_step(struct import *x);

static void room_import_tell(struct import *x)
{
    uint64_t now = loop_now_us(worker_loop(x->worker));
    job_tell(x->job, "messages %s: %llu", x->storing ? "stored" : "checked",
             (unsigned long long)x->messages);
    if (now - x->told_us < (uint64_t)ROOM_FILE_TELL_MS * 1000)
        return;
    x->told_us = now;
    log_info(&log_muc, LOG_EV("room.import"), LOG_S("room", x->room.jid),
             LOG_C("step", x->storing ? "store" : "check"), LOG_I("messages", x->messages));
}

static void step_stored(void *arg, enum store_result result, const struct store_batch *b)
{
    struct import *x = arg;
    (void)b;
    archive_words_stored(x->worker);
    if (result != STORE_OK)
        fail_storing(x, err_of_store(result), err_text(err_of_store(result)));
    else if (x->e == E_EOF)
        room_import_end(x);
    else
        room_import_next_step(x);
}

static void room_import_add_line(struct store_batch *b, const struct import *x,
                                 const struct room_line *l)
{
    if (l->type == LINE_AFFILIATION)
        STORE_ADD(b, &person_stmt, 1, SV_I(x->owner), SV_T(l->jid), SV_I(l->affiliation),
                  SV_T(l->nick), SV_T(l->reason), SV_I(l->follows));
    else
        archive_add(b, &(struct archive_message){
                           .at_us = l->at_us,
                           .rcpt = x->owner,
                           .rcpt_entry = l->id,
                           .flags = MESSAGE_IMPORTED |
                                    (room_line_is_presence(l->stanza) ? ENTRY_HIDDEN : 0u),
                           .remote = l->sender,
                           .stanza = l->stanza });
}

static void store_step(struct import *x)
{
    struct store_batch *b = store_write(worker_store(x->worker), (uint64_t)x->owner);
    uint64_t off_us = 0;
    for (uint32_t i = 0; i < x->step_count; i++) {
        const struct room_line *l = &x->step[i];
        room_import_add_line(b, x, l);
        if (l->type == LINE_MESSAGE && message_off_us(l) > off_us)
            off_us = message_off_us(l);
    }
    if (off_us > ARCHIVE_SLACK_US)
        archive_slack_allow(x->worker, b, off_us);
    store_submit(b, worker_loop(x->worker), 0, step_stored, x);
}

static void room_import_noted(void *arg, enum store_result result, const struct store_batch *b)
{
    struct import *x = arg;
    (void)b;
    if (result != STORE_OK) {
        room_import_fail(x, err_of_store(result), err_text(err_of_store(result)));
        return;
    }
    x->in = (struct source){ .fd = x->in.fd, .bytes = x->in.bytes, .cap = x->in.cap };
    x->affiliations = x->messages = x->last_id = 0;
    x->last_type = LINE_ROOM;
    x->ended = false;
    x->storing = true;
    room_import_next_step(x);
}

/* The file is right as a whole: may there be such a room? */

static void room_import_may(struct worker *w, void *arg)
{
    struct import *x = arg;
    if (x->e != OK) {
        command_fail(x->call, x->e, "%.*s: %s", SLICE_ARG(x->room.jid), x->why.text);
        import_free(x);
        return;
    }
    if (command_flag(x->call, "dry_run")) {
        command_done(x->call, "room %.*s would be imported: affiliations %llu, messages %llu",
                     SLICE_ARG(x->room.jid), (unsigned long long)x->affiliations,
                     (unsigned long long)x->messages);
        import_free(x);
        return;
    }
    x->owner = room_new_id();
    struct store_batch *b = store_write(worker_store(w), (uint64_t)x->owner);
    STORE_ADD(b, &note_stmt, 1, SV_I(x->owner), SV_I(x->last_id));
    store_submit(b, worker_loop(w), 0, room_import_noted, x);
}

static void room_import_checked(struct import *x)
{
    slice jid;
    if (!setting_bool(&muc_persistent))
        room_import_fail(x, E_DENIED, "muc.persistent is off");
    else if (!command_address_ok(x->call, PARAM_ROOM, x->room.jid, &jid))
        import_free(x); /* the call has failed */
    else
        room_import_ask(x, (slice){ 0 }, room_import_may);
}

static void room_import_step_done(struct work *w)
{
    struct import *x = CONTAINER_OF(w, struct import, work);
    bool over = x->e == E_EOF && x->ended;
    room_import_tell(x);
    if (x->e != OK && !over && x->storing) {
        command_fail(x->call, E_CONFLICT, "%s was changed meanwhile; nothing was imported",
                     x->path);
        undo(x);
    } else if (x->e != OK && !over) {
        fail_line(x);
    } else if (x->storing) {
        store_step(x);
    } else if (over) {
        room_import_checked(x);
    } else {
        room_import_next_step(x);
    }
}

static void room_import_canceled(struct import *x, const char *why)
{
    command_fail(x->call, E_CANCELED, "%s: %s; nothing was changed", x->path, why);
    if (x->storing)
        undo(x);
    else
        import_free(x);
}

static void room_import_next_step(struct import *x)
{
    const char *canceled = job_canceled(x->call->step_of != 0 ? x->call->step_of : x->job);
    if (canceled != NULL) {
        room_import_canceled(x, canceled);
        return;
    }
    x->work.run = step_run;
    x->work.done = room_import_step_done;
    if (work_submit(worker_work(x->worker), worker_loop(x->worker), &x->work) == OK)
        return;
    if (x->storing)
        fail_storing(x, E_AGAIN, "the server is too busy");
    else
        room_import_fail(x, E_AGAIN, "the server is too busy");
}

static void run_import(struct command_call *call)
{
    const char *path;
    if (!room_file_begin(call, &path))
        return;
    struct import *x = mem_new(struct import);
    x->call = call;
    x->job = job_begin(call);
    x->worker = call->worker;
    x->path = path;
    x->in.fd = -1;
    x->xml = xml_work_create();
    x->arena = arena_create(0);
    x->lasting = arena_create(0);
    x->affiliations_max = (uint64_t)setting_int(&muc_affiliations_max);
    x->kept_tail = &x->kept;
    x->step = arena_new(x->lasting, struct room_line, ROOM_FILE_STEP_ROWS);
    x->told_us = loop_now_us(worker_loop(x->worker));
    map_init(&x->seen, person_key);
    room_import_next_step(x);
}

struct store_stmt *const room_import_stmts[] = { &note_stmt,       &unnote_stmt,     &doom_stmt,
                                                 &doom_all_stmt,   &unnote_all_stmt, &forget_stmt,
                                                 &forget_all_stmt, &person_stmt,     NULL };

static void swept(void *arg, enum store_result result, const struct store_batch *b)
{
    if (result == STORE_OK && store_changed(b, 0) > 0)
        room_archive_remove(arg, 0);
}

void room_import_start(struct worker *w)
{
    struct store_batch *b = store_write(worker_store(w), 0);
    store_add(b, &doom_all_stmt, STORE_ANY_ROWS, NULL, 0);
    store_add(b, &forget_all_stmt, STORE_ANY_ROWS, NULL, 0);
    store_add(b, &unnote_all_stmt, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(w), 0, swept, w);
}

static const struct command_arg args[] = {
    { .name = "file",
      .kind = ARG_POSITIONAL,
      .type = PARAM_PATH,
      .check = param_is_absolute,
      .form = PARAM_ABSOLUTE,
      .doc = "file of `room export` on the server's host" },
    { .name = "dry_run",
      .kind = ARG_FLAG,
      .type = PARAM_BOOL,
      .doc = "change nothing; only check the file, and whether there may be such a room" },
    { 0 },
};
struct command room_import_command = {
    .name = "room import",
    .effect = COMMAND_CHANGES,
    .area = "rooms",
    .access = COMMAND_LOCAL,
    .job = true,
    .args = args,
    .run = run_import,
    .doc = "Creates a persistent room from a file of `room export`. Every line is checked before "
           "anything is stored. An existing room is never changed.",
};
