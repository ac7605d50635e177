#include "muc/operate/file_export.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "home/duty.h"
#include "home/here.h"
#include "im/feature.h"
#include "io/work.h"
#include "muc/muc.h"
#include "muc/operate/file_import.h"
#include "muc/room/config.h"
#include "muc/room/config_form.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/room_line.h"
#include "muc/room/rooms.h"
#include "muc/state/reach.h"
#include "store/store.h"
#include "xmpp/muc.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

enum { OUT_BYTES_MAX = 80 << 20, LINES_MAX = 8 };

static atomic_int files;

bool room_file_begin(struct command_call *call, const char **path)
{
    *path = slice_cstr(call->arena, command_arg(call, "file"));
    if (atomic_fetch_add(&files, 1) < ROOM_FILES_MAX)
        return true;
    room_file_end();
    command_fail(call, E_AGAIN, "%d rooms are being changed already; try again later",
                 ROOM_FILES_MAX);
    return false;
}

void room_file_end(void) { atomic_fetch_sub(&files, 1); }

static struct store_stmt page_stmt = {
    .name = "room.export",
    .sql = "SELECT e.id, m.at_us, m.stanza FROM entry e JOIN message m ON m.id = e.msg"
           " WHERE e.owner = $1 AND e.id > $2 AND e.id <= $3 ORDER BY e.id LIMIT $4",
    .params = "iiii",
    .cols = "iit",
};

struct export
{
    struct work work;
    struct command_call *call;
    struct worker *worker; /* home of the room */
    struct room *source;   /* pinned */
    const char *path;
    int fd;                    /* -1: not open */
    int error;                 /* of the file; 0: none */
    struct buf out;            /* what a helper writes next */
    unsigned first[LINES_MAX]; /* where the reads of parts begin */
    bool last;                 /* behind it there is nothing */
    int64_t owner;
    slice room;
    uint64_t id, until; /* of messages: the last that was written, and where it ends */
    uint32_t rows;      /* of a page */
    uint64_t people, messages, skipped;
    uint64_t told_us;
};

/* On a helper thread. */

static void write_out(struct export *x)
{
    size_t at = 0;
    if (x->fd < 0)
        x->fd = open(x->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (x->fd < 0) {
        x->error = errno;
        return;
    }
    while (at < x->out.len && x->error == 0) {
        ssize_t n = write(x->fd, x->out.ptr + at, x->out.len - at);
        if (n >= 0)
            at += (size_t)n;
        else if (errno != EINTR)
            x->error = errno;
    }
    if (x->last && x->error == 0 && fsync(x->fd) != 0)
        x->error = errno;
    if (!x->last && x->error == 0)
        return;
    close(x->fd);
    if (x->error != 0)
        unlink(x->path);
}

static void write_run(struct work *w) { write_out(CONTAINER_OF(w, struct export, work)); }

/* The file that is not complete goes. */
static void discard_run(struct work *w)
{
    struct export *x = CONTAINER_OF(w, struct export, work);
    if (x->fd < 0)
        return;
    close(x->fd);
    unlink(x->path);
}

/* On the home of the room. */

static void export_free(struct export *x)
{
    buf_fini(&x->out);
    room_unpin(x->source);
    room_file_end();
    mem_free(&x);
}

/* What a destroyed room recorded goes while it is read. */
static bool room_export_is_there(const struct export *x)
{
    const struct room *r = x->source;
    return r->stored && room_is(r, x->owner);
}

static void discarded(struct work *w)
{
    struct export *x = CONTAINER_OF(w, struct export, work);
    if (room_export_is_there(x))
        command_fail(x->call, E_DOWN, "the archive of %.*s cannot be read; no file was written",
                     SLICE_ARG(x->room));
    else
        command_fail(x->call, E_NOTFOUND, "%.*s was destroyed meanwhile; no file was written",
                     SLICE_ARG(x->room));
    export_free(x);
}

static void room_export_discard(struct export *x)
{
    x->work.run = discard_run;
    x->work.done = discarded;
    if (work_submit(worker_work(x->worker), worker_loop(x->worker), &x->work) == OK)
        return;
    discard_run(&x->work); /* the helpers are overloaded: rather slow than left there */
    discarded(&x->work);
}

static void room_export_tell(struct export *x)
{
    uint64_t now = loop_now_us(worker_loop(x->worker));
    if (now - x->told_us < (uint64_t)ROOM_FILE_TELL_MS * 1000)
        return;
    x->told_us = now;
    log_info(&log_muc, LOG_EV("room.export"), LOG_S("room", x->room),
             LOG_I("messages", x->messages));
}

static void room_export_read_page(struct export *x);

static void room_export_written(struct work *w)
{
    struct export *x = CONTAINER_OF(w, struct export, work);
    if (x->error != 0) {
        command_fail(x->call, x->error == EEXIST ? E_EXISTS : E_IO, "%s: %s", x->path,
                     strerror(x->error));
        export_free(x);
        return;
    }
    buf_clear(&x->out);
    if (!x->last) {
        room_export_tell(x);
        room_export_read_page(x);
        return;
    }
    if (x->skipped > 0)
        command_done(x->call,
                     "written: affiliations %llu, messages %llu; messages that cannot be "
                     "written: %llu",
                     (unsigned long long)x->people, (unsigned long long)x->messages,
                     (unsigned long long)x->skipped);
    else
        command_done(x->call, "written: affiliations %llu, messages %llu",
                     (unsigned long long)x->people, (unsigned long long)x->messages);
    export_free(x);
}

static void room_export_submit(struct export *x)
{
    x->work.run = write_run;
    x->work.done = room_export_written;
    if (x->out.overflow ||
        work_submit(worker_work(x->worker), worker_loop(x->worker), &x->work) != OK)
        room_export_discard(x);
}

static void add_end(struct export *x)
{
    x->last = true;
    room_line_write(&x->out, &(struct room_line){ .type = LINE_END,
                                                  .affiliations = x->people,
                                                  .messages = x->messages });
}

/* What was taken out of the archive has no text. */
static void add_message(struct export *x, const struct store_batch *b, uint32_t row)
{
    const struct room_line l = { .type = LINE_MESSAGE,
                                 .id = (uint64_t)store_int(b, 0, row, 0),
                                 .at_us = (uint64_t)store_int(b, 0, row, 1),
                                 .stanza = store_text(b, 0, row, 2) };
    x->id = l.id;
    if (l.stanza.len == 0)
        return;
    if (room_line_write(&x->out, &l))
        x->messages++;
    else
        x->skipped++;
}

static void room_export_page_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct export *x = arg;
    ensure(x->rows > 0 && worker_is_here(x->worker));
    if (result == STORE_CONFLICT && x->rows > 1) { /* too many bytes */
        x->rows /= 8;
        x->rows += x->rows == 0;
        room_export_read_page(x);
        return;
    }
    if (result != STORE_OK || !room_export_is_there(x)) {
        room_export_discard(x);
        return;
    }
    for (uint32_t i = 0; i < store_row_count(b, 0); i++)
        add_message(x, b, i);
    if (store_row_count(b, 0) < x->rows)
        add_end(x);
    room_export_submit(x);
}

static void room_export_read_page(struct export *x)
{
    struct store_batch *b = store_read(worker_store(x->worker), (uint64_t)x->owner);
    if (x->id == 0)
        store_read_late(b, x->owner);
    STORE_ADD(b, &page_stmt, STORE_ANY_ROWS, SV_I(x->owner), SV_I(x->id), SV_I(x->until),
              SV_I(x->rows));
    store_submit(b, worker_loop(x->worker), 0, room_export_page_read, x);
}

static void room_export_add_room(struct export *x, const struct room *r)
{
    struct room_line l = {
        .type = LINE_ROOM, .jid = r->jid, .creator = r->creator, .at_us = r->created_us
    };
    struct buf config, subject;
    const struct affiliate *a;

    buf_init(&config, ROOM_STORED_MAX);
    buf_init(&subject, ROOM_LINE_MAX);
    room_config_store(&config, &r->config);
    if (r->subject != NULL)
        stanza_store(&subject, r->subject);
    l.config = buf_fit(&config);
    l.subject = buf_fit(&subject);
    memcpy(l.secret, r->secret, sizeof l.secret);
    room_line_write(&x->out, &l);
    buf_fini(&subject);
    buf_fini(&config);
    for (uint32_t i = 0; (a = map_next(&r->affiliates, &i)) != NULL;)
        x->people += room_line_write(
            &x->out, &(struct room_line){ .type = LINE_AFFILIATION,
                                          .jid = a->jid,
                                          .affiliation = (enum affiliation)a->affiliation,
                                          .nick = a->nick,
                                          .reason = a->reason,
                                          .follows = a->follows });
}

/* The lines of parts, from memory and from what was read (NULL: nothing was). */

static bool room_export_add_line(const struct room_line *l, void *arg)
{
    struct export *x = arg;
    return room_line_write(&x->out, l);
}

static void add_parts(struct export *x, const struct store_batch *b)
{
    unsigned n = 0;
    PARTS_EACH (p, lines)
        p->lines->write(x->source, b, x->first[n++], room_export_add_line, x);
    room_export_submit(x);
}

static void parts_were_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct export *x = arg;
    if (result == STORE_OK && room_export_is_there(x))
        add_parts(x, b);
    else
        room_export_discard(x);
}

static void read_parts(struct export *x)
{
    struct store_batch *b = store_read(worker_store(x->worker), (uint64_t)x->owner);
    unsigned n = 0;
    PARTS_EACH (p, lines) {
        ensure(n < LINES_MAX);
        x->first[n++] = store_stmt_count(b);
        if (p->lines->read != NULL)
            p->lines->read(b, x->source);
    }
    if (store_stmt_count(b) > 0) {
        store_submit(b, worker_loop(x->worker), 0, parts_were_read, x);
    } else {
        store_drop(&b);
        add_parts(x, NULL);
    }
}

static void export_room(struct room *r, void *arg)
{
    struct command_call *call = arg;
    ensure(room_here(r));
    if (!r->stored) {
        command_fail(call, E_UNSUPPORTED, "%.*s is an ad hoc room; only persistent ones are moved",
                     SLICE_ARG(r->jid));
        return;
    }
    const char *path;
    if (!room_file_begin(call, &path))
        return;
    struct export *x = mem_new(struct export);
    x->call = call;
    x->worker = r->worker;
    x->source = r;
    room_pin(r);
    x->path = path;
    x->fd = -1;
    x->owner = r->id;
    x->room = slice_dup(call->arena, r->jid);
    x->until = r->archive.last_id;
    x->rows = ROOM_FILE_STEP_ROWS;
    x->told_us = loop_now_us(room_loop(r));
    buf_init(&x->out, OUT_BYTES_MAX);
    room_export_add_room(x, r);
    read_parts(x);
}

static void run_export(struct command_call *call) { operate_visit(call, export_room, call); }

static const struct command_arg args[] = {
    { .name = "room",
      .kind = ARG_POSITIONAL,
      .type = PARAM_ROOM,
      .doc = "address of a persistent room" },
    { .name = "file",
      .kind = ARG_POSITIONAL,
      .type = PARAM_PATH,
      .check = param_is_absolute,
      .form = PARAM_ABSOLUTE,
      .doc = "file to make on the server's host; it must not exist" },
    { 0 },
};
static struct command export_command = {
    .name = "room export",
    .effect = COMMAND_CHANGES,
    .area = "rooms",
    .access = COMMAND_LOCAL,
    .args = args,
    .home = "room",
    .run = run_export,
    .doc =
        "Writes a persistent room to a file, as lines of JSON: configuration, affiliations, hats, "
        "vCard, subject and archived messages with their ids and times. Only the user of the "
        "server can read the file. It contains the addresses of authors, also of anonymous rooms.",
};

static void room_export_worker_start(struct worker *w)
{
    if (duty_is_here(w, DUTY_ROOMS))
        room_import_start(w);
}

static struct store_stmt *stmts[16] = { &page_stmt };
static const struct store_migration migrations[] = {
    { 1, "CREATE TABLE room_import(owner INTEGER PRIMARY KEY, until INTEGER NOT NULL)",
      "CREATE TABLE room_import(owner BIGINT PRIMARY KEY, until BIGINT NOT NULL)" },
    { 0 },
};
static const struct store_schema schema = { .feature = "muc_file",
                                            .migrations = migrations,
                                            .stmts = stmts };

static void room_export_start(void)
{
    for (unsigned i = 0; room_import_stmts[i] != NULL; i++)
        stmts[i + 1] = room_import_stmts[i];
}

const struct feature muc_file_feature = {
    .name = "muc_file",
    .parts = PART_ROOM,
    .schema = &schema,
    .commands = (struct command *const[]){ &export_command, &room_import_command, NULL },
    .messages = (const struct message_row *const[]){ &room_import_message, NULL },
    .start = room_export_start,
    .worker.start = room_export_worker_start,
};
