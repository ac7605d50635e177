#include "session/session_wait.h"
#include "account/account.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "core/core.h"
#include "session/sessions.h"

/* Of a session that has something that waits; else there is none. */
struct session_wait {
    struct session *session;
    struct stage_pause pause;
    struct session_waiting *first, **tail;
    uint32_t bytes;
};

static slice session_wait_key(const void *item)
{
    const struct session_wait *sw = item;
    return (slice){ (const char *)&sw->session->id, sizeof sw->session->id };
}

void session_waits_init(struct worker *w) { map_init(&core_of(w)->waiting, session_wait_key); }

void session_waits_fini(struct worker *w)
{
    ensure(core_of(w)->waiting.count == 0);
    map_fini(&core_of(w)->waiting);
}

static struct session_wait *session_wait_find(const struct session *s)
{
    return !s->waits ? NULL
                     : map_get(&core_of(s->account->worker)->waiting,
                               (slice){ (const char *)&s->id, sizeof s->id });
}

static struct session_wait *session_wait_make(struct session *s)
{
    struct session_wait *sw = session_wait_find(s);
    if (sw != NULL)
        return sw;
    sw = mem_new(struct session_wait);
    sw->session = s;
    sw->tail = &sw->first;
    s->waits = true;
    map_put(&core_of(s->account->worker)->waiting, sw);
    return sw;
}

static void session_wait_end(struct session_wait *sw)
{
    struct session *s = sw->session;
    ensure(sw->first == NULL && sw->pause.number == 0 && sw->bytes == 0);
    map_del(&core_of(s->account->worker)->waiting, session_wait_key(sw));
    s->waits = false;
    mem_free(&sw);
}

static void session_wait_append(struct session_wait *sw, struct session_waiting *it)
{
    *sw->tail = it;
    sw->tail = &it->next;
    sw->bytes += it->st == NULL ? 0 : it->st->bytes;
}

void session_wait_put(struct session *s, const struct session_waiting *one)
{
    struct session_wait *sw = session_wait_make(s);
    struct session_waiting *it = mem_new(struct session_waiting);
    *it = *one;
    it->next = NULL;
    session_wait_append(sw, it);
}

void session_wait_ask(struct session *s, const struct session_waiting *one)
{
    ensure(!s->waits && one->st != NULL);
    session_wait_put(s, one);
    struct worker *w = s->account->worker;
    stage_pause_begin(&session_wait_find(s)->pause, w, core_of(w)->waits.session_goes_on);
}

struct session *session_wait_of(struct stage_pause *p)
{
    return CONTAINER_OF(p, struct session_wait, pause)->session;
}

bool session_wait_is_asked(const struct session *s)
{
    const struct session_wait *sw = session_wait_find(s);
    return sw != NULL && sw->pause.number != 0;
}

struct session_waiting *session_wait_take(struct session *s)
{
    struct session_wait *sw = session_wait_find(s);
    if (sw == NULL)
        return NULL;
    struct session_waiting *it = sw->first;
    ensure(it != NULL && sw->pause.number == 0);
    sw->first = it->next;
    sw->bytes -= it->st == NULL ? 0 : it->st->bytes;
    it->next = NULL;
    if (sw->first == NULL)
        session_wait_end(sw);
    return it;
}

struct session_waiting *session_wait_take_all(struct session *s)
{
    struct session_wait *sw = session_wait_find(s);
    if (sw == NULL)
        return NULL;
    struct session_waiting *all = sw->first;
    ensure(sw->pause.number == 0);
    sw->first = NULL;
    sw->bytes = 0;
    session_wait_end(sw);
    return all;
}

void session_wait_put_all(struct session *s, struct session_waiting *all)
{
    struct session_waiting *next;
    struct session_wait *sw = all == NULL ? NULL : session_wait_make(s);
    for (; all != NULL; all = next) {
        next = all->next;
        all->next = NULL;
        session_wait_append(sw, all);
    }
}

void session_wait_free(struct session_waiting **all)
{
    struct session_waiting *it = *all, *next;
    *all = NULL;
    for (; it != NULL; it = next) {
        next = it->next;
        stanza_unref(&it->st);
        mem_free(&it);
    }
}

uint32_t session_wait_bytes(const struct session *s)
{
    const struct session_wait *sw = session_wait_find(s);
    return sw == NULL ? 0 : sw->bytes;
}

void session_wait_weigh(struct session *s)
{
    uint32_t bytes = session_wait_bytes(s);
    if (bytes > SESSION_WAIT_BYTES)
        session_hold(s, HOLD_WAITING);
    else if (bytes <= SESSION_WAIT_BYTES / 2 && (s->holds & HOLD_WAITING) != 0)
        session_release(s, HOLD_WAITING);
}

void session_wait_drop(struct session *s)
{
    struct session_wait *sw = session_wait_find(s);
    if (sw == NULL)
        return;
    stage_pause_end(&sw->pause);
    struct session_waiting *all = session_wait_take_all(s);
    session_wait_free(&all);
}
