#include "archive/page.h"
#include "archive/archive.h"
#include "base/arena.h"
#include "base/buf.h"
#include "codec/xml_write.h"
#include "home/here.h"
#include "home/router.h"

enum { PART_ROWS = 16 };

static void archive_page_read_part(struct archive_page *p);

/* The place of the i-th that is read: what is left out for its size has to be at the end where the
 * next page goes on. */
static uint32_t archive_page_place(const struct archive_page *p, uint32_t i)
{
    const struct archive_query *q = p->query;
    return q->ask->backwards ? q->found_count - 1 - i : i;
}

static void archive_page_send_one(struct archive_page *p)
{
    p->count = p->read;
    p->first = p->query->ask->backwards ? p->query->found_count - p->read : 0;
    for (uint32_t k = 0; k < p->count; k++) {
        uint32_t at = p->first + (p->query->ask->flip ? p->count - 1 - k : k);
        if (p->st[at] != NULL) /* else it was removed meanwhile */
            route_send(p->query->worker, p->st[at]);
        p->st[at] = NULL;
    }
    p->done(p, OK);
}

static void archive_page_fail(struct archive_page *p, enum err e)
{
    for (uint32_t i = 0; i < p->query->found_count; i++)
        stanza_unref(&p->st[i]);
    p->done(p, e);
}

static struct stanza *make(const struct archive_page *p, const struct store_batch *b, unsigned row)
{
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_STANZA_MAX);
    mam_result_open(&x, p->query->ask, (uint64_t)store_int(b, row, 0, 0),
                    (uint64_t)store_int(b, row, 0, 1));
    p->write(p, &x, store_text(b, row, 0, 2));
    mam_result_close(&x);
    return stanza_make_buf(STANZA_MESSAGE, TYPE_NORMAL, p->from, p->to, (slice){ 0 }, &out);
}

static bool archive_page_is_full(const struct archive_page *p, size_t more)
{
    return p->read >= ARCHIVE_PAGE_MAX || (p->read > 0 && p->bytes + more > ARCHIVE_PAGE_BYTES);
}

static void archive_page_part_read(void *arg, enum store_result r, const struct store_batch *b)
{
    struct archive_page *p = arg;
    bool full = false;
    if (r == STORE_CONFLICT && p->rows > 1) { /* too many bytes */
        p->rows = store_fewer(p->rows);
        archive_page_read_part(p);
        return;
    }
    if (r != STORE_OK) {
        archive_page_fail(p, err_of_store(r));
        return;
    }
    for (unsigned i = 0; i < store_stmt_count(b) && !full; i++) {
        size_t bytes = store_row_count(b, i) > 0 ? store_text(b, i, 0, 2).len : 0;
        full = archive_page_is_full(p, bytes);
        if (full)
            break;
        if (store_row_count(b, i) > 0)
            p->st[archive_page_place(p, p->read)] = make(p, b, i);
        p->bytes += bytes;
        p->read++;
    }
    if (full || p->read == p->query->found_count)
        archive_page_send_one(p);
    else
        archive_page_read_part(p);
}

static void archive_page_read_part(struct archive_page *p)
{
    const struct archive_query *q = p->query;
    struct store_batch *b = store_read(worker_store(q->worker), 0);
    store_read_turn(b, q->user);
    for (uint32_t i = p->read; i < q->found_count && i < p->read + p->rows; i++)
        STORE_ADD(b, &archive_row, STORE_ANY_ROWS, SV_I(q->owner),
                  SV_I(q->found[archive_page_place(p, i)]));
    store_submit(b, worker_loop(q->worker), 0, archive_page_part_read, p);
}

void archive_page_send(struct archive_page *p)
{
    p->read = 0;
    p->rows = PART_ROWS;
    p->bytes = 0;
    p->st = arena_new(p->query->tmp, struct stanza *, p->query->found_count);
    archive_page_read_part(p);
}
