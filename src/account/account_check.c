#include "account/account_check.h"
#include "account/account.h"
#include "account/guest.h"
#include "base/ensure.h"
#include "session/session_struct.h"

enum { LOOKED_AT_MAX = 64 }; /* of each list: a tick must not become slow */

/* The counts are what the entries say, and ids rise. */
static void mailbox_check(const struct mailbox *m)
{
    uint32_t open = 0, strangers = 0, quiet = 0;
    uint64_t bytes = 0, stranger_bytes = 0, last = m->cursor;
    ensure(m->len <= m->cap);
    ensure((m->cap & (m->cap - 1)) == 0 && m->head < (m->cap == 0 ? 1 : m->cap));
    ensure(m->open <= m->len && m->strangers <= m->open && m->quiet <= m->open);
    ensure(m->stranger_bytes <= m->open_bytes);
    if (m->len > LOOKED_AT_MAX)
        return;
    for (uint32_t i = 0; i < m->len; i++) {
        const struct entry *e = &m->ring[(m->head + i) & (m->cap - 1)];
        ensure(e->id > last && e->state <= ENTRY_SETTLED);
        last = e->id;
        if (e->state == ENTRY_SETTLED)
            continue;
        open++;
        strangers += e->stranger;
        quiet += e->quiet;
        bytes += e->bytes;
        stranger_bytes += e->stranger ? e->bytes : 0;
    }
    ensure(open == m->open && strangers == m->strangers && quiet == m->quiet);
    ensure(bytes == m->open_bytes && stranger_bytes == m->stranger_bytes);
}

static void session_check_queue(const struct session *s)
{
    uint64_t bytes = 0;
    ensure(s->queue_len <= s->queue_cap && s->queue_unsent <= s->queue_len);
    ensure((s->queue_cap & (s->queue_cap - 1)) == 0);
    ensure(s->queue_len > 0 || s->queue_bytes == 0);
    if (s->queue_len > LOOKED_AT_MAX)
        return;
    for (uint32_t i = 0; i < s->queue_len; i++) {
        const struct queued *q = session_queue_at(s, i);
        ensure(q->st != NULL && q->st->bytes > 0);
        bytes += q->st->bytes;
    }
    ensure(bytes == s->queue_bytes);
}

static void account_check_session_check(const struct session *s, const struct account *a)
{
    ensure(s->account == a);
    ensure(slice_eq(session_bare(s), a->jid) && session_resource(s).len > 0);
    ensure(session_find(a->worker, s->id) == s);
    ensure(account_session(a, session_resource(s)) == s); /* resources are unique */
    ensure(s->presence != NULL || !s->available);
    ensure(!s->handling);                                              /* between two callbacks */
    ensure(s->in_count - s->h <= s->ticket_cap || s->tickets == NULL); /* they wrap */
    session_check_queue(s);
}

void account_check(const struct actor *actor)
{
    const struct account *a = CONTAINER_OF(actor, const struct account, actor);
    uint64_t bytes = 0;
    uint32_t n = 0;
    ensure(memchr(a->jid.ptr, '/', a->jid.len) == NULL);
    ensure(a->state != ACTOR_READY || a->id != 0);
    ensure(!a->disabled || a->state != ACTOR_READY);
    ensure(a->storing == 0 || actor->pins > 0);
    ensure(a->state == ACTOR_READY || a->mailbox.len == 0);
    if (a->state == ACTOR_ABSENT && !a->disabled && !actor->unsure) /* what is gone has no past */
        ensure(a->recents.received == NULL && a->recents.sent == NULL && a->given == NULL);
    ensure(!account_is_guest(a) || a->state != ACTOR_ABSENT || list_empty(&a->sessions));
    LIST_EACH (it, &a->sessions) {
        const struct session *s = CONTAINER_OF(it, const struct session, node);
        bytes += s->queue_bytes;
        if (n++ < LOOKED_AT_MAX)
            account_check_session_check(s, a);
    }
    ensure(bytes == a->queue_bytes);
    mailbox_check(&a->mailbox);
}
