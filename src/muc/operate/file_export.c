#include "muc/operate/file_export.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "io/work.h"
#include "muc/muc.h"
#include "muc/operate/file_download.h"
#include "muc/operate/file_home.h"
#include "muc/operate/file_import.h"
#include "muc/room/room.h"
#include "muc/room/room_line.h"
#include "muc/state/reach.h"
#include "ops/host_folder.h"
#include "ops/jobs.h"
#include "store/store.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

enum { OUT_BYTES_MAX = 80 << 20 };

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

struct store_stmt room_export_page_stmt = {
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
    uint64_t job;
    struct worker *worker;
    const char *path;
    int fd;         /* -1: not open */
    int error;      /* of the file; 0: none */
    struct buf out; /* what a helper writes next */
    bool last;      /* behind it there is nothing */
    slice room;
    enum err e;           /* what its home said */
    const char *canceled; /* as job_canceled() */
    int64_t owner;        /* of its archive */
    uint64_t id, until;   /* of messages: the last that was written, and where it ends */
    uint32_t rows;        /* of a page */
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

/* On the worker where it was asked for. */

static void export_free(struct export *x)
{
    buf_fini(&x->out);
    room_file_end();
    mem_free(&x);
}

static void discarded(struct work *w)
{
    struct export *x = CONTAINER_OF(w, struct export, work);
    if (x->e == E_CANCELED)
        command_fail(x->call, E_CANCELED, "%s; no file was written", x->canceled);
    else if (x->e == E_NOTFOUND)
        command_fail(x->call, E_NOTFOUND, "%.*s was destroyed meanwhile; no file was written",
                     SLICE_ARG(x->room));
    else
        command_fail(x->call, E_DOWN,
                     "the archive of %.*s cannot be read, and no file was written: %s",
                     SLICE_ARG(x->room), err_text(E_DOWN));
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
    job_tell(x->job, "messages written: %llu", (unsigned long long)x->messages);
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

/* A message that was taken out of the archive has no text. */
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
        x->rows = store_fewer(x->rows);
        room_export_read_page(x);
        return;
    }
    if (result == STORE_OK && store_row_count(b, 1) == 0) /* what it recorded goes */
        x->e = E_NOTFOUND;
    else if (result == STORE_OK && (x->canceled = job_canceled(x->job)) != NULL)
        x->e = E_CANCELED;
    if (result != STORE_OK || x->e != OK) {
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
    STORE_ADD(b, &room_export_page_stmt, STORE_ANY_ROWS, SV_I(x->owner), SV_I(x->id),
              SV_I(x->until), SV_I(x->rows));
    STORE_ADD(b, &room_there_stmt, STORE_ANY_ROWS, SV_I(x->owner));
    store_submit(b, worker_loop(x->worker), 0, room_export_page_read, x);
}

/* Answers of its home. */

static void room_export_told(struct worker *w, void *arg, void *answer,
                             const struct message_from *from)
{
    struct export *x = arg;
    const struct room_lines_answer *a = answer;
    (void)w, (void)from;
    x->e = (enum err)a->err;
    x->owner = a->owner;
    x->until = a->until;
    x->people = a->people;
    buf_add(&x->out, a->lines);
}

static void room_export_all_told(struct worker *w, void *arg)
{
    struct export *x = arg;
    slice room = x->room;
    (void)w;
    if (x->e == OK && x->owner != 0) {
        room_export_submit(x);
        return;
    }
    if (x->e == E_NOTFOUND)
        operate_fail_missing(x->call, room);
    else if (x->e == E_UNSUPPORTED)
        command_fail(x->call, x->e, "%.*s is an ad hoc room; only persistent ones are moved",
                     SLICE_ARG(room));
    else if (x->e != OK)
        command_fail(x->call, x->e, "%.*s: %s", SLICE_ARG(room), err_text(x->e));
    else
        command_fail(x->call, E_DOWN, "the node of %.*s ended before it answered", SLICE_ARG(room));
    export_free(x);
}

static void run_export(struct command_call *call)
{
    const char *path;
    if (!room_file_begin(call, &path))
        return;
    struct export *x = mem_new(struct export);
    x->call = call;
    x->job = job_begin(call);
    x->worker = call->worker;
    x->path = path;
    x->fd = -1;
    x->room = command_arg(call, "room");
    x->rows = ROOM_FILE_STEP_ROWS;
    x->told_us = loop_now_us(worker_loop(x->worker));
    buf_init(&x->out, OUT_BYTES_MAX);
    home_ask(x->worker, x->room, &room_lines_asked_message,
             &(struct room_lines_asked){ .room = x->room },
             &(struct asker){ .gather = room_export_told, .done = room_export_all_told, .arg = x });
}

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
    .inside = &host_folder,
    .job = true,
    .args = args,
    .run = run_export,
    .doc =
        "Writes a persistent room to a file, as lines of JSON: configuration, affiliations, hats, "
        "vCard, subject and archived messages with their ids and times. Only the user of the "
        "server can read the file, which from elsewhere must be in backup.folder. It contains the "
        "addresses of authors, also of anonymous rooms.",
};

static void room_export_worker_start(struct worker *w)
{
    if (duty_is_here(w, DUTY_ROOMS))
        room_import_start(w);
}

static struct store_stmt *stmts[20] = { &room_export_page_stmt };
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
    unsigned n = 1;
    for (unsigned i = 0; room_import_stmts[i] != NULL; i++)
        stmts[n++] = room_import_stmts[i];
    for (unsigned i = 0; room_home_stmts[i] != NULL; i++)
        stmts[n++] = room_home_stmts[i];
}

const struct feature muc_file_feature = {
    .name = "muc_file",
    .parts = PART_ROOM,
    .schema = &schema,
    .commands = (struct command *const[]){ &export_command, &room_download_command,
                                           &room_import_command, NULL },
    .messages =
        (const struct message_row *const[]){ &room_lines_asked_message, &room_lines_given_message,
                                             &room_lines_answer_message, NULL },
    .start = room_export_start,
    .worker.start = room_export_worker_start,
};
