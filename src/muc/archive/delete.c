#include "muc/archive/delete.h"
#include "archive/archive.h"
#include "archive/leave.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/message.h"
#include "io/timer.h"
#include "muc/archive/archive.h"
#include "muc/archive/recorder.h"
#include "store/store.h"

enum { AGAIN_MS = 10000 };

static struct store_stmt doom = {
    .name = "muc.archive-doom",
    .sql = "INSERT INTO muc_doomed(owner, until) VALUES($1, $2) ON CONFLICT(owner)"
           " DO UPDATE SET until = excluded.until",
    .params = "ii",
    .cols = "",
};
static struct store_stmt next_doomed = {
    .name = "muc.archive-doomed",
    .sql = "SELECT owner, until FROM muc_doomed ORDER BY owner LIMIT 1",
    .params = "",
    .cols = "ii",
};
static struct store_stmt undoom = {
    .name = "muc.archive-undoom",
    .sql = "DELETE FROM muc_doomed WHERE owner = $1 AND until = $2",
    .params = "ii",
    .cols = "",
};
struct store_stmt *const room_delete_stmts[] = { &doom, &next_doomed, &undoom, NULL };

static void archive_delete_look(struct recorder *r);

static void archive_delete_due(struct timer *t, struct loop *loop)
{
    (void)loop;
    archive_delete_look(CONTAINER_OF(t, struct recorder, doomed));
}

static void again_later(struct recorder *r)
{
    r->deleting = false;
    r->doomed.fn = archive_delete_due;
    if (!worker_stopping(r->worker))
        timer_set(worker_loop(r->worker), &r->doomed, AGAIN_MS);
}

static void undoomed(void *arg, enum store_result result, const struct store_batch *b)
{
    struct recorder *r = arg;
    (void)b;
    r->deleting = false;
    if (result == STORE_OK)
        archive_delete_look(r);
    else
        again_later(r);
}

static void left(void *arg, enum err e)
{
    struct recorder *r = arg;
    if (e != OK) {
        again_later(r);
        return;
    }
    struct store_batch *b = store_write(worker_store(r->worker), (uint64_t)r->delete_owner);
    STORE_ADD(b, &undoom, STORE_ANY_ROWS, SV_I(r->delete_owner), SV_I(r->delete_until));
    store_submit(b, worker_loop(r->worker), 0, undoomed, r);
}

static void doomed_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct recorder *r = arg;
    bool more = r->delete_more;
    if (result != STORE_OK) {
        again_later(r);
    } else if (store_row_count(b, 0) > 0) {
        r->delete_owner = store_int(b, 0, 0, 0);
        r->delete_until = store_int(b, 0, 0, 1);
        archive_leave(r->worker, r->delete_owner, r->delete_until, left, r);
    } else {
        r->deleting = false;
        if (more) /* since this was read */
            archive_delete_look(r);
    }
}

static void archive_delete_look(struct recorder *r)
{
    r->delete_more = r->deleting;
    if (r->deleting)
        return;
    r->deleting = true;
    struct store_batch *b = store_read(worker_store(r->worker), 0);
    store_add(b, &next_doomed, STORE_ANY_ROWS, NULL, 0);
    store_submit(b, worker_loop(r->worker), 0, doomed_read, r);
}

void doomed_start(struct recorder *r) { archive_delete_look(r); }

void room_archive_doom(struct store_batch *b, const struct room_archive *a)
{
    uint64_t now = loop_wall_us(worker_loop(a->worker)); /* the last id may not have been read */
    STORE_ADD(b, &doom, STORE_ANY_ROWS, SV_I(a->owner), SV_I(a->last_id > now ? a->last_id : now));
}

static void archive_doomed_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)message, (void)from;
    archive_delete_look(recorder_of(w));
}

const struct message_row archive_doomed_message = {
    .id = 84,
    .scope = MESSAGE_CLUSTER,
    .name = "archive-doomed",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = archive_doomed_run,
};

/* The home of DUTY_ROOMS deletes for all. */
void doomed_tell(struct worker *w)
{
    duty_send(w, DUTY_ROOMS, &archive_doomed_message, &(struct message_nothing){ 0 });
}

static void archive_delete_noted(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)result; /* the first note is there */
    (void)b;
    doomed_tell(arg);
}

void recorder_doom(struct recorder *r, int64_t owner)
{
    struct worker *w = r->worker;
    struct store_batch *b = store_write(worker_store(w), (uint64_t)owner);
    STORE_ADD(b, &doom, STORE_ANY_ROWS, SV_I(owner), SV_I(loop_wall_us(worker_loop(w))));
    store_submit(b, worker_loop(w), 0, archive_delete_noted, w);
}

void archive_doom(const struct room_archive *a)
{
    struct store_batch *b = store_write(worker_store(a->worker), (uint64_t)a->owner);
    room_archive_doom(b, a);
    store_submit(b, worker_loop(a->worker), 0, archive_delete_noted, a->worker);
}
