#include "gate/s2s/link/s2s_in_back.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/setting.h"
#include "gate/s2s/link/s2s_asked.h"
#include "gate/s2s/link/s2s_in_pairs.h"
#include "gate/s2s/link/s2s_in_private.h"
#include "gate/s2s/link/s2s_in_sm.h"
#include "gate/s2s/link/s2s_proof.h"
#include "gate/s2s/peer/s2s_peer_back.h"
#include "gate/s2s/s2s_domains.h"
#include "gate/s2s/s2s_rows.h"
#include "remote/foreign.h"
#include "xmpp/ns.h"

enum { RING_FIRST = 16 };

/* Stanzas that were written and are not confirmed, numbered from 1 on, over all pairs. Before
 * XEP-0198 has begun, nothing is kept of them but their number. */
struct in_back {
    struct s2s_in *stream;
    struct pair **ring; /* `cap` slots, a power of two: of which pair each is */
    uint32_t cap, head, len;
    uint32_t base; /* so many were confirmed, or were not counted */
    uint32_t zero; /* h of XEP-0198 counts from this number */
    bool counted;  /* XEP-0198 has begun */
    struct s2s_asked asked;
    bool many; /* it was offered to more than one pair */
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

/* Peers. */

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
    return setting_bool(&s2s_bidi) && s->x.secure && s->remote_len > 0 &&
           back_home(s, in_remote(s), &worker);
}

static void back_tell(struct s2s_in *s, struct pair *p, struct s2s_way_back *m)
{
    m->local = pair_local(p);
    m->remote = pair_remote(p);
    m->stream = s->x.id;
    home_send_to(s->x.worker, 0, p->home, &s2s_way_back_message, m);
}

static bool back_may_offer(struct s2s_in *s, struct pair *p)
{
    struct why why;
    unsigned worker;
    if (p->back || !p->proved || !back_home(s, pair_remote(p), &worker) ||
        s2s_server_flaw(s->x.conn, pair_remote(p), in_scratch(s), &why) != S2S_AT_NONE)
        return false;
    p->home = (uint16_t)worker;
    return true;
}

/* The first one that it was offered to; NULL: none. */
static const struct pair *back_user(const struct s2s_in *s)
{
    LIST_EACH (it, &s->pairs)
        if (CONTAINER_OF(it, struct pair, node)->back)
            return CONTAINER_OF(it, struct pair, node);
    return NULL;
}

static void back_offer(struct s2s_in *s, uint64_t resumes)
{
    struct in_back *b = back_of(s);
    uint32_t written = b->base + b->len;
    slice tls = slice_of(conn_tls_version(s->x.conn));
    LIST_EACH (it, &s->pairs) {
        struct pair *p = CONTAINER_OF(it, struct pair, node);
        if (s->x.state != STREAM_BOUND || s->x.end_sent || s->ending || s->draining)
            return;
        if (!back_may_offer(s, p))
            continue;
        b->many = b->many || back_user(s) != NULL;
        p->back = true;
        back_tell(s, p,
                  &(struct s2s_way_back){ .event = BACK_OFFERED,
                                          .count = written,
                                          .resumes = resumes,
                                          .counted = b->counted,
                                          .max_bytes = s->max_bytes,
                                          .certificate = s->external,
                                          .tls = tls });
    }
}

void s2s_back_offer(struct s2s_in *s)
{
    if (s->both)
        back_offer(s, 0);
}

void s2s_back_counts(struct s2s_in *s)
{
    if (!s->both)
        return;
    struct in_back *b = back_of(s);
    b->counted = true;
    b->zero = b->base + b->len;
    back_offer(s, 0);
}

void s2s_back_goes_on(struct s2s_in *s, const struct s2s_back_resumed *r)
{
    if (!s->both)
        return;
    struct in_back *b = back_of(s);
    if (back_user(s) == NULL && !b->many) { /* nothing was written to this stream before */
        b->zero = r->zero;
        b->base = r->zero + r->h;
    } else {
        b->zero = b->base + b->len - r->h;
    }
    b->counted = true;
    back_offer(s, r->old);
}

/* Writing. */

static void back_push(struct in_back *b, struct pair *p)
{
    if (b->len == b->cap) {
        uint32_t cap = b->cap == 0 ? RING_FIRST : 2 * b->cap;
        struct pair **ring = mem_alloc(cap * sizeof(struct pair *));
        for (uint32_t i = 0; i < b->len; i++)
            ring[i] = b->ring[(b->head + i) & (b->cap - 1)];
        mem_free(&b->ring);
        b->ring = ring;
        b->cap = cap;
        b->head = 0;
    }
    b->ring[(b->head + b->len++) & (b->cap - 1)] = p;
}

static void back_write_question(struct in_back *b)
{
    if (b->asked.open == 0)
        timer_set(back_loop(b), &b->wait, (uint64_t)setting_int(&s2s_ack_timeout));
    s2s_asked_one(&b->asked, b->base + b->len - b->zero);
    xstream_write(&b->stream->x, SLICE("<r xmlns='" NS_SM "'/>"));
}

void s2s_back_ask(struct s2s_in *s)
{
    struct in_back *b = s->back;
    bool can = b != NULL && b->counted && !s->x.end_sent;
    if (can && b->len > 0 && !s2s_asked_for_all(&b->asked))
        back_write_question(b);
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

static void back_ask_between(struct in_back *b)
{
    if (b->counted && ++b->asked.behind >= S2S_ASK_EACH)
        back_write_question(b);
}

static void back_wait_over(struct timer *t, struct loop *loop)
{
    struct in_back *b = CONTAINER_OF(t, struct in_back, wait);
    (void)loop;
    log_info(&log_s2s, LOG_EV("s2s.unanswered"), LOG_S("domain", in_remote(b->stream)),
             LOG_S("local", in_local(b->stream)));
    b->stream->end = PEER_END_BROKEN;
    xstream_end(&b->stream->x, XSTREAM_LOST);
}

void s2s_back_write(struct s2s_in *s, struct pair *p, const struct s2s_to_back *m)
{
    struct in_back *b = s->back;
    struct stanza *other = foreign_outward(s->x.worker, m->st);
    xstream_tcp.stanza(&s->x, other != NULL ? other : m->st,
                       &(struct stanza_note){ .delay_us = m->delay_us, .by = pair_local(p) });
    stanza_unref(&other);
    metric_add_to(&s2s_stanzas, S2S_SENT, 1);
    s2s_domain_stanza(pair_remote(p), true);
    b->wrote_us = loop_now_us(back_loop(b));
    if (b->counted) {
        p->open++;
        back_push(b, p);
    } else {
        b->base++;
    }
    back_ask_between(b);
    back_ask_later(b);
    if (conn_is_high(s->x.conn))
        s2s_back_slow(s, true);
}

/* What became of it. */

bool s2s_back_acked(struct s2s_in *s, uint32_t h)
{
    struct in_back *b = s->back;
    if (b == NULL)
        return h == 0;
    uint32_t count = b->zero + h - b->base; /* unsigned: right across the wrap */
    if (!b->counted || count > b->len)
        return false;
    if (b->asked.open > 0 && s2s_asked_answered(&b->asked, h))
        timer_cancel(&b->wait);
    else if (b->asked.open > 0)
        timer_set(back_loop(b), &b->wait, (uint64_t)setting_int(&s2s_ack_timeout));
    for (; count > 0; count--) {
        struct pair *p = b->ring[b->head];
        b->head = (b->head + 1) & (b->cap - 1);
        b->len--;
        b->base++;
        p->open--;
        p->confirmed++;
    }
    LIST_EACH (it, &s->pairs) {
        struct pair *p = CONTAINER_OF(it, struct pair, node);
        uint32_t confirmed = p->confirmed;
        p->confirmed = 0;
        if (confirmed > 0)
            back_tell(s, p, &(struct s2s_way_back){ .event = BACK_CONFIRMED, .count = confirmed });
    }
    if (s->x.state == STREAM_BOUND && b->len > 0)
        back_ask_later(b);
    return true;
}

uint32_t s2s_back_count(const struct s2s_in *s)
{
    const struct in_back *b = s->back;
    return b == NULL ? 0 : b->base + b->len - b->zero;
}

bool s2s_back_waits(const struct s2s_in *s)
{
    return s->back != NULL && s->back->counted && s->back->len > 0;
}

uint64_t s2s_back_last_us(const struct s2s_in *s)
{
    return s->back == NULL ? 0 : s->back->wrote_us;
}

void s2s_back_slow(struct s2s_in *s, bool on)
{
    LIST_EACH (it, &s->pairs) {
        struct pair *p = CONTAINER_OF(it, struct pair, node);
        if (p->back)
            back_tell(s, p, &(struct s2s_way_back){ .event = on ? BACK_FULL : BACK_ROOM });
    }
}

/* Numbers are of all pairs together, and a partner knows its own alone. */
uint64_t s2s_back_kept(const struct s2s_in *s, uint32_t *zero)
{
    const struct in_back *b = s->back;
    *zero = b == NULL ? 0 : b->zero;
    return b == NULL || b->many ? 0 : s->x.id;
}

void s2s_back_gone(struct s2s_in *s, bool resumable)
{
    struct in_back *b = s->back;
    if (b == NULL)
        return;
    timer_cancel(&b->wait);
    loop_defer_cancel(&b->ask);
    LIST_EACH (it, &s->pairs) {
        struct pair *p = CONTAINER_OF(it, struct pair, node);
        if (!p->back)
            continue;
        p->back = false;
        back_tell(s, p,
                  &(struct s2s_way_back){
                      .event = BACK_GONE,
                      .read = s->read,
                      /* of several pairs, nobody knows whose stanza it was */
                      .end = b->many && s->end == PEER_END_THEIRS ? PEER_END_BROKEN : s->end,
                      .resumable = resumable && !b->many });
    }
}

void s2s_back_fini(struct s2s_in *s)
{
    if (s->back == NULL)
        return;
    timer_cancel(&s->back->wait);
    loop_defer_cancel(&s->back->ask);
    mem_free(&s->back->ring);
    mem_free(&s->back);
}
