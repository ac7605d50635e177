#include "gate/s2s/link/s2s_in_back.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/setting.h"
#include "gate/s2s/link/s2s_asked.h"
#include "gate/s2s/link/s2s_in_private.h"
#include "gate/s2s/link/s2s_in_sm.h"
#include "gate/s2s/link/s2s_proof.h"
#include "gate/s2s/peer/s2s_peer_back.h"
#include "gate/s2s/s2s_domains.h"
#include "gate/s2s/s2s_rows.h"
#include "remote/foreign.h"
#include "xmpp/ns.h"

/* Stanzas that were written are numbered from 1 on. Before XEP-0198 has begun, nothing is kept of
 * them but their number. */
struct in_back {
    struct s2s_in *stream;
    const struct pair *pair; /* whose stanzas go back; NULL: it is not offered yet */
    uint16_t home;           /* the worker of its peer */
    bool counted;            /* XEP-0198 has begun */
    bool dropped;            /* one was not written */
    uint32_t written, confirmed;
    uint32_t zero; /* h of XEP-0198 counts from this number */
    struct s2s_asked asked;
    uint64_t wrote_us;
    struct loop_defer ask;
    struct timer wait; /* for the answer */
};

static struct loop *back_loop(const struct in_back *b) { return worker_loop(b->stream->x.worker); }

static void back_wait_over(struct timer *t, struct loop *loop);

static struct in_back *back_of(struct s2s_in *s)
{
    if (s->back != NULL)
        return s->back;
    struct in_back *b = s->back = mem_new(struct in_back);
    b->stream = s;
    b->wait.fn = back_wait_over;
    b->wrote_us = loop_now_us(back_loop(b));
    return b;
}

/* The peer. */

static bool back_home(const struct s2s_in *s, slice remote, unsigned *worker)
{
    const struct node *n = worker_node(s->x.worker);
    uint32_t node;
    *worker = node_home(n, remote, &node);
    return node == n->id;
}

bool s2s_back_is_offered(const struct s2s_in *s)
{
    unsigned worker;
    return setting_bool(&s2s_bidi) && s->x.secure && s->remote.len > 0 &&
           back_home(s, s->remote, &worker);
}

static void back_tell(const struct in_back *b, struct s2s_way_back *m)
{
    m->local = b->pair->local;
    m->remote = b->pair->remote;
    m->stream = b->stream->x.id;
    home_send_to(b->stream->x.worker, 0, b->home, &s2s_way_back_message, m);
}

static bool back_may_offer(const struct s2s_in *s, const struct pair *p, unsigned *worker)
{
    struct why why;
    return p->proved && back_home(s, p->remote, worker) &&
           s2s_server_flaw(s->x.conn, p->remote, in_scratch(s), &why) == S2S_AT_NONE;
}

/* To the first pair that it may be offered to. */
void s2s_back_offer(struct s2s_in *s)
{
    struct in_back *b = s->both ? back_of(s) : NULL;
    unsigned worker;
    if (b == NULL || b->pair != NULL || s->x.state != STREAM_BOUND || s->x.end_sent || s->ending ||
        s->draining)
        return;
    LIST_EACH (it, &s->pairs) {
        struct pair *p = CONTAINER_OF(it, struct pair, node);
        if (!back_may_offer(s, p, &worker))
            continue;
        b->pair = p;
        b->home = (uint16_t)worker;
        back_tell(b, &(struct s2s_way_back){ .event = BACK_OFFERED,
                                             .counted = b->counted,
                                             .max_bytes = s->max_bytes,
                                             .certificate = s->external,
                                             .tls = slice_of(conn_tls_version(s->x.conn)) });
        return;
    }
}

void s2s_back_counts(struct s2s_in *s, uint32_t h)
{
    if (!s->both)
        return;
    struct in_back *b = back_of(s);
    b->counted = true;
    b->zero = b->written - h;
    s2s_back_offer(s);
}

/* Writing. */

static void back_write_question(struct in_back *b)
{
    if (b->asked.open == 0)
        timer_set(back_loop(b), &b->wait, (uint64_t)setting_int(&s2s_ack_timeout));
    s2s_asked_one(&b->asked, b->written - b->zero);
    xstream_write(&b->stream->x, SLICE("<r xmlns='" NS_SM "'/>"));
}

void s2s_back_ask(struct s2s_in *s)
{
    if (s2s_back_waits(s) && !s->x.end_sent && !s2s_asked_for_all(&s->back->asked))
        back_write_question(s->back);
}

static void back_ask_now(struct loop_defer *d)
{
    struct in_back *b = CONTAINER_OF(d, struct in_back, ask);
    if (b->asked.open == 0)
        s2s_back_ask(b->stream);
}

static void back_ask_later(struct in_back *b)
{
    b->ask.fn = back_ask_now;
    if (b->counted && b->asked.open == 0)
        loop_at_flush(back_loop(b), &b->ask);
}

static void back_wait_over(struct timer *t, struct loop *loop)
{
    struct in_back *b = CONTAINER_OF(t, struct in_back, wait);
    (void)loop;
    log_info(&log_s2s, LOG_EV("s2s.unanswered"), LOG_S("domain", b->stream->remote),
             LOG_S("local", b->stream->local));
    b->stream->end = PEER_END_BROKEN;
    xstream_end(&b->stream->x, XSTREAM_LOST);
}

static void back_write(struct in_back *b, const struct s2s_to_back *m)
{
    struct s2s_in *s = b->stream;
    struct stanza *other = foreign_outward(s->x.worker, m->st);
    xstream_tcp.stanza(&s->x, other != NULL ? other : m->st,
                       &(struct stanza_note){ .delay_us = m->delay_us, .by = m->local });
    stanza_unref(&other);
    metric_add_to(&s2s_stanzas, S2S_SENT, 1);
    s2s_domain_stanza(m->remote, true);
    b->wrote_us = loop_now_us(back_loop(b));
    b->written++;
    b->confirmed += !b->counted;
    if (b->counted && ++b->asked.behind >= S2S_ASK_EACH)
        back_write_question(b);
    back_ask_later(b);
    if (conn_is_high(s->x.conn))
        s2s_back_slow(s, true);
}

static void to_back_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct s2s_to_back *m = message;
    struct s2s_gate *g = s2s_gate_of(w);
    struct s2s_in *s = NULL;
    (void)from;
    if (g != NULL)
        s = map_get(&s2s_worker(g, w)->in_by_id,
                    (slice){ (const char *)&m->stream, sizeof m->stream });
    if (s == NULL || s->x.state != STREAM_BOUND || s->back == NULL || s->back->pair == NULL)
        return; /* it has ended: its peer knows, or hears of it */
    if (m->st == NULL)
        in_end(s);
    else if (!s->back->dropped && !s->x.end_sent && !s->ending && !s->draining)
        back_write(s->back, m);
    else
        s->back->dropped = true; /* it goes on the next stream, and all that is behind it */
}

static const struct message_field to_back_fields[] = {
    F_BARE(struct s2s_to_back, local),        F_BARE(struct s2s_to_back, remote),
    F_U64(struct s2s_to_back, stream),        F_U64(struct s2s_to_back, delay_us),
    F_STANZA_OR_NONE(struct s2s_to_back, st), { 0 },
};
const struct message_row s2s_to_back_message = {
    .id = 104,
    .scope = MESSAGE_PROCESS,
    .name = "s2s-to-back",
    .size = sizeof(struct s2s_to_back),
    .fields = to_back_fields,
    .run = to_back_run,
};

/* What became of it. */

bool s2s_back_acked(struct s2s_in *s, uint32_t h)
{
    struct in_back *b = s->back;
    if (b == NULL)
        return h == 0;
    uint32_t count = b->zero + h - b->confirmed; /* unsigned: right across the wrap */
    if (!b->counted || count > b->written - b->confirmed)
        return false;
    if (b->asked.open > 0 && s2s_asked_answered(&b->asked, h))
        timer_cancel(&b->wait);
    else if (b->asked.open > 0)
        timer_set(back_loop(b), &b->wait, (uint64_t)setting_int(&s2s_ack_timeout));
    b->confirmed += count;
    if (count > 0)
        back_tell(b, &(struct s2s_way_back){ .event = BACK_CONFIRMED, .count = count });
    if (s->x.state == STREAM_BOUND && s2s_back_waits(s))
        back_ask_later(b);
    return true;
}

uint32_t s2s_back_count(const struct s2s_in *s)
{
    return s->back == NULL ? 0 : s->back->written - s->back->zero;
}

bool s2s_back_waits(const struct s2s_in *s)
{
    return s->back != NULL && s->back->counted && s->back->written != s->back->confirmed;
}

uint64_t s2s_back_last_us(const struct s2s_in *s)
{
    return s->back == NULL ? 0 : s->back->wrote_us;
}

void s2s_back_slow(struct s2s_in *s, bool on)
{
    if (s->back != NULL && s->back->pair != NULL)
        back_tell(s->back, &(struct s2s_way_back){ .event = on ? BACK_FULL : BACK_ROOM });
}

void s2s_back_gone(struct s2s_in *s)
{
    struct in_back *b = s->back;
    if (b == NULL)
        return;
    timer_cancel(&b->wait);
    loop_defer_cancel(&b->ask);
    if (b->pair != NULL)
        back_tell(b, &(struct s2s_way_back){ .event = BACK_GONE, .read = s->read, .end = s->end });
    b->pair = NULL;
}

void s2s_back_fini(struct s2s_in *s)
{
    if (s->back == NULL)
        return;
    timer_cancel(&s->back->wait);
    loop_defer_cancel(&s->back->ask);
    mem_free(&s->back);
}
