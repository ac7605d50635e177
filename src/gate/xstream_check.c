#include "gate/xstream_check.h"
#include "base/ensure.h"
#include "home/here.h"

#ifdef MUSTER_DEBUG
enum { HOLDS_ALL = 2 * CONN_HOLD_UNFINISHED - 1 };

static void xstream_check(const struct xstream *x)
{
    ensure(x->worker != NULL && list_linked(&x->node));
    ensure(x->role < STREAM_ROLE_COUNT && x->state <= STREAM_CLOSED);
    ensure((x->holds & ~(unsigned)HOLDS_ALL) == 0);
    ensure(x->conn != NULL || x->way->peer != NULL); /* its input comes from somewhere */
    ensure(x->state != STREAM_BOUND || x->header_sent);
    ensure(!x->in_debt || (x->holds & CONN_HOLD_RATE) != 0);
    if (x->ops->check != NULL)
        x->ops->check(x);
}

static void xstreams_check(struct loop_defer *d)
{
    struct xstreams *all = CONTAINER_OF(d, struct xstreams, check);
    struct list *it;
    while ((it = list_pop(&all->marked)) != NULL)
        xstream_check(CONTAINER_OF(it, struct xstream, marked));
}

void xstream_mark(struct xstream *x)
{
    if (x->among == NULL || list_linked(&x->marked))
        return;
    list_append(&x->among->marked, &x->marked);
    x->among->check.fn = xstreams_check;
    loop_at_flush(worker_loop(x->worker), &x->among->check);
}

void xstream_unmark(struct xstream *x) { list_remove(&x->marked); }
#endif
