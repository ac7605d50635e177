#include "muc/archive/bury.h"
#include "account/account.h"
#include "archive/archive.h"
#include "base/arena.h"
#include "base/buf.h"
#include "codec/xml_elem.h"
#include "home/here.h"
#include "io/timer.h"
#include "muc/archive/archive.h"
#include "muc/archive/queue.h"
#include "muc/archive/recorder.h"
#include "store/store.h"
#include "xmpp/ns.h"
#include "xmpp/stanza.h"

enum { ATTEMPTS = 3, RETRY_MS = 1000 };

static struct store_stmt find_line = {
    .name = "muc.archive-line",
    .sql = "SELECT " ARCHIVE_LINE_COLUMNS " FROM entry e JOIN message m ON m.id = e.msg"
           " WHERE e.owner = $1 AND e.id = $2",
    .params = "ii",
    .cols = "iiiiiit",
};
struct store_stmt *const room_bury_stmts[] = { &find_line, NULL };

struct burial {
    struct arena *arena; /* holds this, too */
    struct worker *worker;
    int64_t owner;
    struct room_burial what;
    unsigned attempts;
    room_buried_fn *done;
    void *arg;
    struct list node; /* in recorder.burials, while it waits */
    struct timer timer;
};

static void archive_bury_look(struct burial *f);

struct archive_event room_burial_event(const struct room_burial *what, const struct worker *w)
{
    return (struct archive_event){
        .kind = what->moderator.len > 0 ? EVENT_MODERATED : EVENT_RETRACTED,
        .at_us = loop_wall_us(worker_loop(w)),
        .by = what->moderator,
    };
}

static void archive_bury_look_again(struct timer *t, struct loop *loop)
{
    struct burial *f = CONTAINER_OF(t, struct burial, timer);
    (void)loop;
    list_remove(&f->node);
    archive_bury_look(f);
}

void burials_end(struct recorder *r)
{
    struct list *it;
    while ((it = list_pop(&r->burials)) != NULL) {
        struct burial *f = CONTAINER_OF(it, struct burial, node);
        struct arena *arena = f->arena;
        timer_cancel(&f->timer);
        arena_destroy(&arena);
    }
}

static void archive_bury_end(struct burial *f, enum err e)
{
    struct arena *arena = f->arena;
    if (f->what.patient && e != OK && e != E_NOTFOUND && e != E_DENIED &&
        !worker_stopping(f->worker)) {
        list_append(&recorder_of(f->worker)->burials, &f->node);
        f->timer.fn = archive_bury_look_again;
        f->attempts = 0;
        timer_set(worker_loop(f->worker), &f->timer, RETRY_MS);
        return;
    }
    if (f->done != NULL)
        f->done(f->arg, e);
    arena_destroy(&arena);
}

static void archive_bury_buried(void *arg, enum store_result result, const struct store_batch *b)
{
    struct burial *f = arg;
    (void)b;
    if (result == STORE_CONFLICT && ++f->attempts < ATTEMPTS) /* it was changed meanwhile */
        archive_bury_look(f);
    else
        archive_bury_end(f, err_of_store(result));
}

static void archive_bury_rows(struct burial *f, const struct archive_line *m,
                              const struct stanza *st)
{
    struct store_batch *b = store_write(worker_store(f->worker), (uint64_t)f->owner);
    struct stanza *tombstone = room_tombstone(st, f->what.tombstone);
    struct buf text;
    buf_init(&text, STORE_BATCH_BYTES_MAX);
    stanza_store(&text, tombstone);
    const struct archive_event event = room_burial_event(&f->what, f->worker);
    archive_retract(b, m, buf_fit(&text), &event, f->arena);
    archive_edit(b);
    buf_fini(&text);
    stanza_unref(&tombstone);
    store_submit(b, worker_loop(f->worker), 0, archive_bury_buried, f);
}

static void line_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct burial *f = arg;
    struct stanza *st;
    struct elem e;
    if (result != STORE_OK) {
        archive_bury_end(f, err_of_store(result));
        return;
    }
    struct archive_line m = { 0 };
    if (store_row_count(b, 0) > 0)
        m = archive_line_of(b, 0, 0);
    if (m.id == 0 || stanza_load(&st, m.stanza, worker_xml(f->worker), f->arena) != OK) {
        archive_bury_end(f, E_NOTFOUND);
        return;
    }
    if (f->what.author.len > 0 && !slice_eq(stanza_to_bare(st), f->what.author))
        archive_bury_end(f, E_DENIED);
    else if (stanza_find(st, "retracted", NS_RETRACT, &e))
        archive_bury_end(f, OK);
    else
        archive_bury_rows(f, &m, st);
    stanza_unref(&st);
}

static void archive_bury_look(struct burial *f)
{
    struct store_batch *b = store_read(worker_store(f->worker), (uint64_t)f->owner);
    store_read_late(b, f->owner);
    STORE_ADD(b, &find_line, STORE_ANY_ROWS, SV_I(f->owner), SV_I(f->what.id));
    store_submit(b, worker_loop(f->worker), 0, line_read, f);
}

void room_archive_bury(const struct room_archive *a, const struct room_burial *what,
                       room_buried_fn *done, void *arg)
{
    enum err e;
    if (recorder_bury(recorder_of(a->worker), a->owner, what, &e)) {
        if (done != NULL)
            done(arg, e);
        return;
    }
    struct arena *arena = arena_create(1024);
    struct burial *f = arena_new(arena, struct burial, 1);
    *f = (struct burial){ .arena = arena,
                          .worker = a->worker,
                          .owner = a->owner,
                          .what = { .id = what->id,
                                    .patient = what->patient,
                                    .author = slice_dup(arena, what->author),
                                    .moderator = slice_dup(arena, what->moderator),
                                    .tombstone = slice_dup(arena, what->tombstone) },
                          .done = done,
                          .arg = arg };
    archive_bury_look(f);
}
