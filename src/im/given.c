#include "im/given.h"
#include "base/buf.h"
#include "base/mem.h"
#include "im/account.h"
#include <endian.h>

struct given {
    uint32_t len, cap;
    struct {
        uint64_t archive_id, session;
    } each[];
};

enum { GIVEN_MIN = 8 };

static void forget_settled(struct account *a)
{
    struct given *g = a->given;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < g->len; i++)
        if (mailbox_state(a, g->each[i].archive_id) != ENTRY_SETTLED)
            g->each[kept++] = g->each[i];
    g->len = kept;
}

/* Half of it is free afterwards, so that forgetting is rare. */
static void given_make_room(struct account *a)
{
    if (a->given != NULL)
        forget_settled(a);
    uint32_t len = a->given == NULL ? 0 : a->given->len;
    uint32_t cap = len < GIVEN_MIN ? 2 * GIVEN_MIN : 2 * len;
    a->given = mem_realloc(a->given, sizeof *a->given + cap * sizeof a->given->each[0]);
    a->given->len = len;
    a->given->cap = cap;
}

void given_put(struct account *a, uint64_t archive_id, uint64_t session)
{
    if (a->given == NULL || a->given->len == a->given->cap)
        given_make_room(a);
    struct given *g = a->given;
    g->each[g->len].archive_id = archive_id;
    g->each[g->len++].session = session;
}

bool given_to(const struct account *a, uint64_t archive_id, uint64_t session)
{
    const struct given *g = a->given;
    for (uint32_t i = 0; g != NULL && i < g->len; i++)
        if (g->each[i].archive_id == archive_id && g->each[i].session == session)
            return true;
    return false;
}

void given_save(const struct account *a, uint64_t session, struct buf *out)
{
    const struct given *g = a->given;
    for (uint32_t i = 0; g != NULL && i < g->len; i++) {
        uint64_t bytes = htole64(g->each[i].archive_id);
        if (g->each[i].session == session &&
            mailbox_state(a, g->each[i].archive_id) != ENTRY_SETTLED)
            buf_append(out, &bytes, GIVEN_BYTES);
    }
}

void given_restore(struct account *a, uint64_t session, slice saved)
{
    for (; saved.len >= GIVEN_BYTES; saved = slice_from(saved, GIVEN_BYTES)) {
        uint64_t bytes;
        memcpy(&bytes, saved.ptr, sizeof bytes);
        if (mailbox_state(a, le64toh(bytes)) != ENTRY_SETTLED)
            given_put(a, le64toh(bytes), session);
    }
}

void given_free(struct account *a) { mem_free(&a->given); }
