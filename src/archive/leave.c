#include "archive/leave.h"
#include "archive/archive.h"
#include "archive/size.h"
#include "archive/words.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "home/here.h"

enum { STEP_ROWS = 256, STEP_BYTES = 1 << 20, STEP_MS = 60000, CONFLICTS_MAX = 100 };

struct leave {
    struct worker *worker;
    int64_t owner, until;
    uint32_t rows, conflicts;
    bool clears;       /* archive_clear() */
    uint32_t removing; /* messages that only the owner had, of the step under way */
    uint32_t *removed; /* of all steps; NULL: they are not counted */
    void (*done)(void *arg, enum err e);
    void *arg;
};

static void archive_leave_step(struct leave *l);

static void archive_leave_end(struct leave *l, enum err e)
{
    l->done(l->arg, e);
    mem_free(&l);
}

static void archive_leave_cleared(void *arg, enum store_result r, const struct store_batch *b)
{
    (void)b;
    archive_leave_end(arg, err_of_store(r));
}

/* No message is left that its steps find. */
static void archive_leave_last(struct leave *l)
{
    if (!l->clears) {
        archive_leave_end(l, OK);
        return;
    }
    struct store_batch *b = store_write(worker_store(l->worker), (uint64_t)l->owner);
    archive_remove(b, l->owner);
    store_submit(b, worker_loop(l->worker), STEP_MS, archive_leave_cleared, l);
}

static void archive_leave_stepped(void *arg, enum store_result r, const struct store_batch *b)
{
    struct leave *l = arg;
    (void)b;
    l->conflicts = r == STORE_CONFLICT ? l->conflicts + 1 : 0;
    ensure(l->removing <= STEP_ROWS);
    if (r == STORE_OK && l->removed != NULL)
        *l->removed += l->removing;
    if (r == STORE_OK || (r == STORE_CONFLICT && l->conflicts < CONFLICTS_MAX))
        archive_leave_step(l); /* a conflict: one was changed meanwhile, or they are too long */
    else
        archive_leave_end(l, err_of_store(r));
}

void archive_take(struct store_batch *b, const struct archive_line *was,
                  const struct archive_line *m, int64_t owner, int64_t entry)
{
    ensure(was->id == m->id && entry != 0);
    struct arena *tmp = arena_create(0);
    archive_words_forget(b, was, tmp);
    STORE_ADD(b, &archive_sides, 1, SV_I(m->id), SV_I(m->flags), SV_I(m->sender),
              SV_I(m->sender_entry), SV_I(m->rcpt), SV_I(m->rcpt_entry), SV_I(was->sender_entry),
              SV_I(was->rcpt_entry));
    archive_size_drop(b, was, owner, entry);
    STORE_ADD(b, &archive_drop_entry, STORE_ANY_ROWS, SV_I(owner), SV_I(entry));
    if (m->sender_entry == 0 && m->rcpt_entry == 0)
        STORE_ADD(b, &archive_drop_none, STORE_ANY_ROWS, SV_I(m->id));
    else
        archive_words_again(b, m, tmp);
    if (m->sender_entry == 0 && (m->rcpt_entry == 0 || (m->flags & ENTRY_HIDDEN) != 0))
        archive_event_remove(b, m);
    arena_destroy(&tmp);
}

static void archive_leave_add_line(struct store_batch *b, struct leave *l, struct archive_line m,
                                   int64_t entry)
{
    const struct archive_line was = m;
    if (m.sender == l->owner)
        m.sender = m.sender_entry = 0;
    if (m.rcpt == l->owner)
        m.rcpt = m.rcpt_entry = 0;
    l->removing += m.sender_entry == 0 && m.rcpt_entry == 0;
    archive_take(b, &was, &m, l->owner, entry);
}

static void owned_read(void *arg, enum store_result r, const struct store_batch *rows)
{
    struct leave *l = arg;
    size_t bytes = 0;
    if (r == STORE_CONFLICT && l->rows > 1) { /* too many bytes */
        l->rows = store_fewer(l->rows);
        archive_leave_step(l);
        return;
    }
    uint32_t count = r == STORE_OK ? store_row_count(rows, 0) : 0;
    if (r != STORE_OK || worker_stopping(l->worker)) {
        archive_leave_end(l, r == STORE_OK ? E_DOWN : err_of_store(r));
        return;
    }
    if (count == 0) {
        archive_leave_last(l);
        return;
    }
    struct store_batch *b = store_write(worker_store(l->worker), (uint64_t)l->owner);
    size_t most = l->conflicts == 0 ? STEP_BYTES : 1;
    l->removing = 0;
    for (uint32_t i = 0; i < count && bytes < most; i++) {
        struct archive_line m = archive_line_of(rows, 0, i);
        bytes += m.stanza.len;
        archive_leave_add_line(b, l, m, store_int(rows, 0, i, 7));
    }
    archive_edit(b);
    store_submit(b, worker_loop(l->worker), STEP_MS, archive_leave_stepped, l);
}

static void archive_leave_step(struct leave *l)
{
    struct store_batch *b = store_read(worker_store(l->worker), (uint64_t)l->owner);
    store_read_late(b, l->owner);
    STORE_ADD(b, &archive_owned, STORE_ANY_ROWS, SV_I(l->owner), SV_I(l->until), SV_I(l->rows));
    store_submit(b, worker_loop(l->worker), STEP_MS, owned_read, l);
}

void archive_leave(struct worker *w, int64_t owner, int64_t until,
                   void (*done)(void *arg, enum err e), void *arg)
{
    ensure(owner != 0 && done != NULL);
    struct leave *l = mem_new(struct leave);
    *l = (struct leave){
        .worker = w, .owner = owner, .until = until, .rows = STEP_ROWS, .done = done, .arg = arg
    };
    archive_leave_step(l);
}

void archive_clear(struct worker *w, int64_t owner, uint32_t *removed,
                   void (*done)(void *arg, enum err e), void *arg)
{
    ensure(owner != 0 && done != NULL);
    struct leave *l = mem_new(struct leave);
    *l = (struct leave){ .worker = w,
                         .owner = owner,
                         .until = INT64_MAX,
                         .rows = STEP_ROWS,
                         .clears = true,
                         .removed = removed,
                         .done = done,
                         .arg = arg };
    archive_leave_step(l);
}
