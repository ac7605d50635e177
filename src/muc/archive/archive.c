/* The rows of archives of rooms, and what a worker has of them; see archive.h. */
#include "muc/archive/archive.h"
#include "archive/archive.h"
#include "archive/ids.h"
#include "archive/recent.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/feature.h"
#include "home/duty.h"
#include "home/here.h"
#include "io/timer.h"
#include "muc/archive/bury.h"
#include "muc/archive/delete.h"
#include "muc/archive/queue.h"
#include "muc/archive/recorder.h"
#include "muc/muc.h"
#include "store/store.h"
#include "xmpp/stanza.h"

struct log_area muc_archive_log = { .name = "muc.archive" };

enum { LOAD_MAX = 100 }; /* messages of the history that are read when a room is loaded */

static struct store_stmt read_last_id = {
    .name = "muc.archive-last-id",
    .sql = "SELECT coalesce(max(id), 0) FROM entry WHERE owner = $1",
    .params = "i",
    .cols = "i",
};
/* Of any size, they could be more than one read may return. To know the length of a text, it is
 * read as a whole, so only so many are looked at; and only so many entries, since who enters and
 * leaves has some, too. */
static struct store_stmt read_last = {
    .name = "muc.archive-last",
    .sql = "SELECT e.id, m.at_us, m.stanza FROM (SELECT id, msg FROM (SELECT id, msg, flags"
           " FROM entry WHERE owner = $1 ORDER BY id DESC LIMIT 20000) AS last"
           " WHERE flags < 2 ORDER BY id DESC LIMIT 200) e JOIN message m ON m.id = e.msg"
           " WHERE length(m.stanza) <= 65536 ORDER BY e.id DESC LIMIT $2",
    .params = "ii",
    .cols = "iit",
};

static void muc_archive_worker_start(struct worker *w)
{
    if (duty_is_here(w, DUTY_ROOMS))
        doomed_start(recorder_of(w));
}

static void muc_archive_worker_ended(struct worker *w)
{
    struct recorder *r = recorder_here(w);
    if (r == NULL)
        return;
    burials_end(r);
    recorder_end(r);
    timer_cancel(&r->doomed);
    recorder_free(w);
}

/* The statements of all files. */
static struct store_stmt *stmts[16];
static const struct store_migration migrations[] = {
    { 1, "CREATE TABLE muc_doomed(owner INTEGER PRIMARY KEY, until INTEGER NOT NULL)",
      "CREATE TABLE muc_doomed(owner BIGINT PRIMARY KEY, until BIGINT NOT NULL)" },
    { 0 }
};
static struct store_schema schema = { .feature = "muc-archive",
                                      .migrations = migrations,
                                      .stmts = stmts };

static void muc_archive_gather(struct store_stmt *const *list, unsigned *n)
{
    for (; *list != NULL; list++)
        stmts[(*n)++] = *list;
}

static void muc_archive_start(void)
{
    static struct store_stmt *const own[] = { &read_last_id, &read_last, NULL };
    unsigned n = 0;
    muc_archive_gather(own, &n);
    muc_archive_gather(room_delete_stmts, &n);
    muc_archive_gather(room_bury_stmts, &n);
}

void room_archive_init(struct room_archive *a, struct worker *w, int64_t owner, slice jid)
{
    *a = (struct room_archive){ .worker = w, .owner = owner, .jid = jid };
}

struct load {
    struct room_history *history;
    struct room_archive *archive;
    struct recents *recents;
    uint32_t most;
    room_history_done_fn *done;
    void *arg;
};

static void muc_archive_add_row(const struct load *l, const struct store_batch *b, uint32_t row)
{
    struct worker *w = l->archive->worker;
    struct stanza *st;
    if (stanza_load(&st, store_text(b, 1, row, 2), worker_xml(w), loop_scratch(worker_loop(w))) !=
        OK)
        return; /* it was taken out of the archive */
    struct room_post p = { .sender = stanza_to(st),
                           .id = (uint64_t)store_int(b, 1, row, 0),
                           .at_us = (uint64_t)store_int(b, 1, row, 1) };
    p.st = stanza_readdress(st, (slice){ 0 }, SLICE(""));
    room_history_add(l->history, &p, l->most, l->archive->jid);
    stanza_unref(&p.st);
    stanza_unref(&st);
}

static void muc_archive_loaded(void *arg, enum store_result result, const struct store_batch *b)
{
    struct load *l = arg;
    if (result == STORE_OK) {
        l->archive->last_id = (uint64_t)store_int(b, 0, 0, 0);
        recent_loaded(l->recents, b, 2);
    }
    for (uint32_t i = result == STORE_OK ? store_row_count(b, 1) : 0; i-- > 0;)
        muc_archive_add_row(l, b, i);
    l->done(l->archive, err_of_store(result), l->arg);
    mem_free(&l);
}

void room_history_load(struct room_history *h, struct room_archive *a, struct recents *recents,
                       uint32_t most, room_history_done_fn *done, void *arg)
{
    struct load *l = mem_new(struct load);
    struct store_batch *b = store_read(worker_store(a->worker), (uint64_t)a->owner);
    *l = (struct load){ h, a, recents, most, done, arg };
    store_read_late(b, a->owner);
    STORE_ADD(b, &read_last_id, STORE_ANY_ROWS, SV_I(a->owner));
    STORE_ADD(b, &read_last, STORE_ANY_ROWS, SV_I(a->owner),
              SV_I(most < LOAD_MAX ? most : LOAD_MAX));
    recent_load(b, a->owner, loop_wall_us(worker_loop(a->worker)));
    store_submit(b, worker_loop(a->worker), 0, muc_archive_loaded, l);
}

void room_archive_end(const struct room_archive *a)
{
    recorder_drop(recorder_of(a->worker), a->owner);
    archive_doom(a);
}

void room_archive_begin(const struct room_archive *a)
{
    recorder_begin(recorder_of(a->worker), a->owner);
}

void room_archive_remove(struct worker *w, int64_t owner)
{
    recorder_drop(recorder_of(w), owner);
    doomed_tell(w);
}

uint64_t room_archive_mint(struct room_archive *a) { return archive_mint(a->worker, &a->last_id); }

const struct feature room_archive_feature = {
    .name = "muc_recording",
    .schema = &schema,
    .settings = (struct setting *const[]){ &muc_recording_queue, NULL },
    .metrics = muc_recording_metrics,
    .alarms = (struct alarm *const[]){ &muc_recording_alarm, NULL },
    .logs = (struct log_area *const[]){ &muc_archive_log, NULL },
    .start = muc_archive_start,
    .worker.slot = &recorder_slot,
    .worker.start = muc_archive_worker_start,
    .worker.ended = muc_archive_worker_ended,
    .messages = (const struct message_row *const[]){ &archive_doomed_message, NULL },
};
