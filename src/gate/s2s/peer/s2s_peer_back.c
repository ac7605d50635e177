#include "gate/s2s/peer/s2s_peer_back.h"
#include "gate/s2s/find/s2s_lists.h"
#include "gate/s2s/link/s2s_in_back.h"
#include "gate/s2s/peer/s2s_peer_private.h"
#include <stdio.h>

/* Whether routes let us send to that domain: it is not so that all of them are out of service, and
 * nothing else counts. */
static bool back_is_served(slice remote)
{
    struct s2s_levels at = s2s_levels_of(remote);
    const struct s2s_listed *l;
    while ((l = s2s_levels_next(&at)) != NULL) {
        if (l->blocked || l->serves)
            return !l->blocked;
        if (l->ends)
            return false;
    }
    return true;
}

bool peer_back_is_offered(const struct s2s_peer *p)
{
    return p->offer.stream != 0 && setting_bool(&s2s_bidi) && back_is_served(s2s_peer_remote(p));
}

void peer_back_take(struct s2s_peer *p)
{
    ensure(p->offer.stream != 0 && !peer_is_linked(p));
    p->back = p->offer;
    p->offer = (struct peer_back){ 0 };
    p->back.on = true;
    s2s_peer_set_session(p, (slice){ 0 }, 0);
    s2s_peer_opened(p, p->back.counted, true);
}

static void back_send(struct s2s_peer *p, struct s2s_to_back *m)
{
    m->stream = p->back.stream;
    m->local = s2s_peer_local(p);
    m->remote = s2s_peer_remote(p);
    home_send_to(p->worker, 0, p->back.from.worker, &s2s_to_back_message, m);
}

void peer_back_write(struct s2s_peer *p, struct stanza *st, uint64_t delay_us)
{
    back_send(p, &(struct s2s_to_back){ .st = stanza_ref(st), .delay_us = delay_us });
}

void peer_back_end(struct s2s_peer *p) { back_send(p, &(struct s2s_to_back){ .st = NULL }); }

static void back_gone(struct s2s_peer *p, const struct s2s_way_back *m)
{
    if (m->read && !p->counted)
        s2s_peer_confirm_all(p);
    if (p->state == PEER_UP)
        s2s_peer_blame(p, S2S_AT_STREAM, SE_REMOTE_SERVER_TIMEOUT, false,
                       "the stream of the server has ended");
    p->back.on = false;
    s2s_peer_lost(p, (enum peer_end)m->end);
}

static void back_offered(struct s2s_peer *p, const struct s2s_way_back *m,
                         const struct message_from *from)
{
    p->offer = (struct peer_back){ .stream = m->stream,
                                   .from = *from,
                                   .counted = m->counted,
                                   .max_bytes = m->max_bytes,
                                   .certificate = m->certificate };
    snprintf(p->offer.tls, sizeof p->offer.tls, "%.*s", SLICE_ARG(m->tls));
    s2s_peer_event(p, PEER_OFFERED);
}

static void way_back_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct s2s_way_back *m = message;
    struct s2s_gate *g = s2s_gate_of(w);
    bool makes = m->event == BACK_OFFERED && g != NULL && !s2s_worker(g, w)->out.stopped;
    struct s2s_peer *p = g == NULL ? NULL
                         : makes   ? s2s_peer_make(w, m->local, m->remote, false, (slice){ 0 })
                                   : s2s_peer_find(w, m->local, m->remote, false);
    if (p == NULL)
        return;
    bool mine = p->back.on && p->back.stream == m->stream;
    if (m->event == BACK_OFFERED)
        back_offered(p, m, from);
    else if (m->event == BACK_GONE && p->offer.stream == m->stream)
        p->offer = (struct peer_back){ 0 };
    else if (mine && m->event == BACK_CONFIRMED)
        (void)s2s_peer_confirmed(p, p->queue.base + m->count);
    else if (mine && m->event == BACK_GONE)
        back_gone(p, m);
    else if (mine)
        s2s_peer_full(p, m->event == BACK_FULL);
    peer_work(p);
}

static const struct message_field way_back_fields[] = {
    F_BARE(struct s2s_way_back, local),
    F_BARE(struct s2s_way_back, remote),
    F_TEXT(struct s2s_way_back, tls, BACK_TLS_MAX),
    F_U64(struct s2s_way_back, stream),
    F_U32(struct s2s_way_back, count, UINT32_MAX),
    F_U32(struct s2s_way_back, max_bytes, UINT32_MAX),
    F_U8(struct s2s_way_back, event, BACK_GONE),
    F_U8(struct s2s_way_back, end, PEER_END_BROKEN),
    F_BOOL(struct s2s_way_back, counted),
    F_BOOL(struct s2s_way_back, certificate),
    F_BOOL(struct s2s_way_back, read),
    { 0 },
};
const struct message_row s2s_way_back_message = {
    .id = 103,
    .scope = MESSAGE_PROCESS,
    .name = "s2s-way-back",
    .size = sizeof(struct s2s_way_back),
    .fields = way_back_fields,
    .run = way_back_run,
};
