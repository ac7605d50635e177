#include "session/sessions.h"
#include "account/account.h"
#include "base/ensure.h"
#include "base/setting.h"
#include "core/core.h"
#include "home/here.h"
#include "home/node.h"
#include "session/link.h"

void session_link_down(struct worker *w, const struct link *link, struct down *d)
{
    if (link->local != NULL)
        worker_node(w)->gate->down(link->local, d);
    else
        link_send_down(w, link, d);
}

void session_down(struct session *s, struct down *d)
{
    ensure(session_here(s));
    d->session = s->id;
    session_link_down(s->account->worker, &s->link, d);
}

void session_hold(struct session *s, enum session_hold_bits why)
{
    if (s->holds == 0 && s->state == SESSION_ATTACHED)
        session_down(s, &(struct down){ .kind = DOWN_HOLD });
    s->holds |= (uint8_t)why;
}

void session_release(struct session *s, enum session_hold_bits why)
{
    bool was = s->holds != 0;
    s->holds &= (uint8_t)~why;
    if (was && s->holds == 0 && s->state == SESSION_ATTACHED)
        session_down(s, &(struct down){ .kind = DOWN_RELEASE });
}

struct session *session_active(const struct account *a)
{
    uint64_t now = loop_now_us(worker_loop(a->worker));
    uint64_t time = (uint64_t)setting_int(&session_active_time) * 1000;
    struct session *last = NULL;
    LIST_EACH (it, &a->sessions) {
        struct session *s = CONTAINER_OF(it, struct session, node);
        if (s->state != SESSION_ATTACHED || (s->paused & PAUSE_QUIET) != 0 || s->spoke_us == 0 ||
            now - s->spoke_us >= time)
            continue;
        if (last == NULL || s->spoke_us > last->spoke_us)
            last = s;
    }
    return last;
}

struct session *session_find(const struct worker *w, uint64_t id)
{
    return map_get(&core_of(w)->sessions, (slice){ (const char *)&id, sizeof id });
}

struct session *sessions_next(const struct worker *w, uint32_t *i)
{
    return map_next(&core_of(w)->sessions, i);
}

uint32_t sessions_count(const struct worker *w) { return core_of(w)->sessions.count; }

/* Whoever delivers walks over sessions, and the end of one is told to others: it waits until that
 * is over, so that lists stay as they are and one end does not nest in another. */
void session_end_later(struct session *s, enum session_end why)
{
    struct worker *w = s->account->worker;
    ensure(session_here(s));
    if (list_linked(&s->end_node))
        return;
    s->end_why = (uint8_t)why;
    list_append(&core_of(w)->endings, &s->end_node);
    loop_defer(worker_loop(w), &core_of(w)->end_defer);
}

uint32_t session_queue_longest(const struct session *s)
{
    uint32_t longest = 0;
    for (uint32_t i = 0; i < s->queue_len; i++) {
        uint32_t bytes = session_queue_at(s, i)->st->bytes;
        longest = bytes > longest ? bytes : longest;
    }
    return longest;
}

void sessions_each(struct account *a, enum sessions_who who, sessions_fn *fn, void *arg)
{
    ensure(account_here(a));
    LIST_EACH (node, &a->sessions) {
        struct session *s = CONTAINER_OF(node, struct session, node);
        if (who == SESSIONS_AVAILABLE ? s->available : s->interested)
            fn(s, arg);
    }
}
