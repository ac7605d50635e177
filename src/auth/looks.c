#include "auth/looks.h"
#include "auth/auth.h"
#include "base/arena.h"
#include "base/log.h"
#include "store/store.h"
#include "xmpp/jid.h"
#include "xmpp/nickname.h"

enum { PAGE_ROWS = 500 };

struct store_stmt looks_stmt_missing = {
    .name = "looks.missing",
    .sql = "SELECT id, jid FROM account WHERE look = '' AND id > $1 ORDER BY id LIMIT $2",
    .params = "ii",
    .cols = "it",
};
struct store_stmt looks_stmt_put = {
    .name = "looks.put",
    .sql = "UPDATE account SET look = $2 WHERE id = $1",
    .params = "it",
    .cols = "",
};

slice look_of(slice jid, struct arena *arena)
{
    struct jid j = jid_split(jid);
    slice look = nickname_skeleton(j.local, arena);
    return slice_of(arena_printf(arena, "%.*s@%.*s", SLICE_ARG(look), SLICE_ARG(j.domain)));
}

struct page {
    struct store *store;
    struct arena *arena;
    struct store_batch *batch;
    int64_t last;
    uint32_t rows;
};

static void looks_page_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct page *p = arg;
    p->rows = result == STORE_OK ? store_row_count(b, 0) : 0;
    if (p->rows == 0)
        return;
    p->batch = store_write(p->store, 0);
    for (uint32_t i = 0; i < p->rows; i++) {
        p->last = store_int(b, 0, i, 0);
        STORE_ADD(p->batch, &looks_stmt_put, STORE_ANY_ROWS, SV_I(p->last),
                  SV_T(look_of(store_text(b, 0, i, 1), p->arena)));
    }
}

enum err looks_complete(struct store *store, struct why *why)
{
    struct page p = { .store = store, .arena = arena_create(0) };
    enum store_result result;
    uint64_t count = 0;
    do {
        struct store_batch *b = store_read(store, 0);
        STORE_ADD(b, &looks_stmt_missing, STORE_ANY_ROWS, SV_I(p.last), SV_I(PAGE_ROWS));
        result = store_run(b, looks_page_read, &p);
        if (result == STORE_OK && p.rows > 0)
            result = store_run(p.batch, NULL, NULL);
        count += p.rows;
        arena_reset(p.arena);
    } while (result == STORE_OK && p.rows > 0);
    arena_destroy(&p.arena);
    if (result != STORE_OK) {
        why_set(why, "the looks of accounts cannot be stored: %s", store_result_name(result));
        return E_DOWN;
    }
    if (count > 0)
        log_info(&log_auth, LOG_EV("accounts.looks"), LOG_I("count", count));
    return OK;
}
