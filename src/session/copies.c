#include "session/copies.h"
#include "account/account.h"
#include "archive/archive.h"
#include "base/ensure.h"
#include "home/here.h"
#include "session/session_queue.h"
#include "session/sessions.h"

enum { PART_ROWS = 16, PART_BYTES = 64 << 10 };

static void copies_deliver(struct copies *c, struct session *s, const struct store_batch *b,
                           unsigned row)
{
    struct account *a = c->account;
    uint64_t id = (uint64_t)store_int(b, row, 0, 0);
    struct stanza *st =
        c->wrap(c, s, id, (uint64_t)store_int(b, row, 0, 1), store_text(b, row, 0, 2));
    if (st == NULL)
        return;
    bool waits = c->settles && mailbox_state(a, id) != ENTRY_SETTLED;
    if (waits) /* the session has it now, for its owner */
        mailbox_set(a, id, ENTRY_TAKEN);
    session_deliver_copy(s, st, waits ? id : 0);
    stanza_unref(&st);
}

static void copies_part_read(void *arg, enum store_result r, const struct store_batch *b)
{
    struct copies *c = arg;
    struct session *s = session_find(c->account->worker, c->session);
    size_t bytes = 0;
    ensure(account_is_pinned(c->account));
    if (r == STORE_CONFLICT && c->rows > 1) { /* too many bytes */
        c->rows = store_fewer(c->rows);
        copies_send(c);
        return;
    }
    if (r != STORE_OK) {
        c->done(c, err_of_store(r));
        return;
    }
    if (s != NULL && !session_took(s)) { /* others were faster */
        copies_send(c);
        return;
    }
    for (unsigned i = 0; i < store_stmt_count(b) && bytes < PART_BYTES && s != NULL; i++) {
        if (store_row_count(b, i) > 0) { /* else it was removed meanwhile */
            copies_deliver(c, s, b, i);
            bytes += store_text(b, i, 0, 2).len;
        }
        c->sent++;
    }
    if (s == NULL || c->sent == c->count)
        c->done(c, OK);
    else
        copies_send(c);
}

/* The client has taken this part. If the session has ended, the rest is not sent. */
static void copies_go_on(struct producer *p, struct session *s)
{
    struct copies *c = CONTAINER_OF(p, struct copies, producer);
    if (s != NULL)
        copies_send(c);
    else
        c->done(c, OK);
}

void copies_send(struct copies *c)
{
    struct account *a = c->account;
    struct session *s = session_find(a->worker, c->session);
    if (s != NULL && !session_took(s)) {
        c->producer.go = copies_go_on;
        session_wait(s, &c->producer);
        return;
    }
    struct store_batch *b = store_read(worker_store(a->worker), 0);
    store_read_turn(b, (uint64_t)a->id);
    if (c->late)
        store_read_late(b, a->id);
    c->late = false;
    if (c->rows == 0)
        c->rows = PART_ROWS;
    for (uint32_t i = c->sent; i < c->count && i < c->sent + c->rows; i++)
        STORE_ADD(b, &archive_row, STORE_ANY_ROWS, SV_I(a->id), SV_I(c->ids[i]));
    store_submit(b, worker_loop(a->worker), 0, copies_part_read, c);
}
