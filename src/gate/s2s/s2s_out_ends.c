#include "gate/s2s/s2s_out_ends.h"
#include "base/ensure.h"
#include "gate/s2s/s2s_in_sm.h"
#include "gate/s2s/s2s_out_private.h"
#include "gate/s2s/s2s_out_sm.h"
#include "gate/s2s/s2s_partner_ends.h"
#include "gate/s2s/s2s_share.h"
#include "gate/s2s/s2s_take.h"
#include "xmpp/ns.h"

enum { FINISH_MS = 2000, STOPPING_MS = 1000 /* when the edge stops: see s2s.c */ };

/* An orderly end ends the session of XEP-0198, too. If the connection breaks before all is
 * confirmed, the next stream asks for the session, to hear what has arrived (XEP-0198 §5). */
static void out_ends_session(struct s2s_out *o)
{
    if (!share_is_unconfirmed(o))
        partner_set_session(o->partner, (slice){ 0 });
}

/* Our half ends. */
static void out_sends_end(struct s2s_out *o)
{
    if (o->sm >= OUT_ENABLING && !s2s_asked_for_all(&o->asked))
        xstream_write(&o->x, SLICE("<r xmlns='" NS_SM "'/>"));
    out_ends_session(o);
    s2s_flow_last_ack(s2s_out_flow(&o->x));
    xstream_send_end(&o->x);
    timer_set(worker_loop(o->x.worker), &o->wait, FINISH_MS);
    if (o->draining)
        xstream_go(&o->x);
    o->draining = false;
}

/* It perhaps has not read all that was written. */
static bool out_needs_proof(const struct s2s_out *o)
{
    return o->sm == OUT_NO_SM && share_is_unconfirmed(o);
}

/* A server that ends its half first may have read nothing, and its end may cross ours. If it has
 * answered pings, the answers to others say what it has read, before our half ends. They come on
 * its own streams, of which none is taken from a domain that may not speak any more. */
static bool out_asks_first(const struct s2s_out *o)
{
    return out_needs_proof(o) && !o->x.among->stopped &&
           share_some(o, o->peer_ended ? partner_answers : partner_hears);
}

static void out_proves(struct s2s_out *o)
{
    if (!out_asks_first(o)) {
        out_sends_end(o);
        return;
    }
    if (o->draining)
        xstream_go(&o->x);
    o->draining = false;
    o->proving = o->asked_first = true;
    timer_set(worker_loop(o->x.worker), &o->wait, FINISH_MS);
    share_each(o, partner_asks_now);
}

bool s2s_out_proves(const struct s2s_out *o) { return o->proving; }

void s2s_out_is_proved(struct s2s_out *o)
{
    if (o->proving && !out_asks_first(o)) {
        o->proving = false;
        out_sends_end(o);
    }
}

/* All that came is handled, or that takes too long. */
void s2s_out_has_drained(struct s2s_out *o)
{
    ensure(o->draining && o->up);
    if (o->peer_ended && !out_needs_proof(o))
        xstream_end(&o->x, XSTREAM_ENDED);
    else
        out_proves(o);
}

/* No more is read until all that was is handled. */
static void out_drain(struct s2s_out *o)
{
    bool stops = o->x.among->stopped;
    ensure(o->up && !o->x.end_sent);
    if (o->draining && !stops)
        return;
    if (!o->draining)
        xstream_wait(&o->x);
    o->draining = true;
    timer_set(worker_loop(o->x.worker), &o->wait, stops ? STOPPING_MS : FINISH_MS);
}

/* What came is not handled in time, as while a disk stands still. An end would end the session,
 * too, and what was not acknowledged would come again. After a break, the next stream says in
 * <resume/> what has come (XEP-0198 §5). false: there is none to resume. */
static bool out_breaks(struct s2s_out *o)
{
    if (!s2s_out_handles(o) || o->peer_ended || o->x.among->stopped || o->sm != OUT_COUNTS ||
        partner_session(o->partner).len == 0 ||
        s2s_ban(o->x.worker, out_local(o), out_remote(o)) != NULL)
        return false;
    partner_rejoins(o->partner);
    xstream_abort(&o->x);
    return true;
}

static void out_waits_in_vain(struct timer *t, struct loop *loop)
{
    struct s2s_out *o = CONTAINER_OF(t, struct s2s_out, wait);
    (void)loop;
    if (!o->up) { /* for the count; it is resumed if it may be again */
        (void)partner_is_shut(o->partner);
        return;
    }
    if (o->draining) {
        if (!out_breaks(o))
            s2s_out_has_drained(o);
        return;
    }
    if (o->proving) {
        o->proving = false;
        out_sends_end(o);
        return;
    }
    if (!o->x.end_sent && (o->both || o->up))
        partner_rejoins(o->partner);
    if (!o->x.end_sent)
        partner_blame(o->partner, S2S_AT_NO_ANSWER, SE_REMOTE_SERVER_TIMEOUT, false,
                      "it does not confirm what it is sent (s2s.ack-timeout)");
    xstream_abort(&o->x);
}

void s2s_out_close(struct s2s_out *o)
{
    if (o->up)
        out_ends_session(o);
    s2s_flow_last_ack(s2s_out_flow(&o->x));
    xstream_close(&o->x, (slice){ 0 });
}

void s2s_out_parts(struct s2s_out *o, bool on)
{
    ensure(o->up);
    if (o->parts == on || o->draining || o->proving || o->x.end_sent || (on && o->ends_us != 0))
        return;
    o->parts = on;
    if (on)
        xstream_wait(&o->x);
    else
        xstream_go(&o->x);
}

bool s2s_out_hears_count(struct s2s_out *o)
{
    bool stops = o->x.among->stopped;
    if (o->sm != OUT_RESUMING)
        return false;
    if (!timer_is_set(&o->wait) || stops)
        timer_set(worker_loop(o->x.worker), &o->wait, stops ? STOPPING_MS : FINISH_MS);
    return true;
}

/* In how many ms the server is silent: see s2s_quiet_in_ms(). What our end crosses is not
 * acknowledged, and not every server sends it again: others give it back to its senders. */
static uint64_t out_quiet_in_ms(const struct s2s_out *o)
{
    uint64_t most_ms = o->x.among->stopped ? S2S_LISTEN_STOPPING_MS : S2S_LISTEN_MS,
             now = loop_now_us(worker_loop(o->x.worker)),
             since_us = o->ends_us == 0 ? now : o->ends_us, until_us = since_us + most_ms * 1000;
    bool takes = o->both && o->sm >= OUT_ENABLING && !o->x.end_sent && !o->peer_ended &&
                 !o->draining && !o->skipped &&
                 s2s_ban(o->x.worker, out_local(o), out_remote(o)) == NULL;
    return takes && now < until_us ? s2s_quiet_in_ms(&o->x, (until_us - now + 999) / 1000) : 0;
}

bool s2s_out_hears_nothing(const struct s2s_out *o) { return out_quiet_in_ms(o) == 0; }

/* It is read on until the server is silent. */
static bool out_listens(struct s2s_out *o)
{
    uint64_t ms = out_quiet_in_ms(o);
    if (ms > 0)
        timer_set(worker_loop(o->x.worker), &o->quiet, ms);
    else
        timer_cancel(&o->quiet);
    return ms > 0;
}

static void out_finishes(struct s2s_out *o)
{
    if (s2s_out_handles(o))
        out_drain(o);
    else
        out_proves(o);
}

void s2s_out_finish(struct s2s_out *o)
{
    ensure(o->up);
    s2s_out_parts(o, false);
    if (o->x.end_sent || (o->proving && out_asks_first(o))) /* it is awaited already */
        return;
    o->proving = o->asked_first = false;
    share_each(o, share_holds);
    if (o->ends_us == 0)
        o->ends_us = loop_now_us(worker_loop(o->x.worker));
    if (!out_listens(o))
        out_finishes(o);
}

/* It is read no more. When the edge stops, the end of the server is awaited only for what that may
 * still confirm. */
static void out_is_quiet(struct timer *t, struct loop *loop)
{
    struct s2s_out *o = CONTAINER_OF(t, struct s2s_out, quiet);
    (void)loop;
    ensure(o->up && o->ends_us > 0);
    if (o->x.end_sent || o->draining || o->proving || out_listens(o))
        return;
    if (o->x.among->stopped && !share_is_unconfirmed(o) && !s2s_out_handles(o))
        s2s_out_close(o);
    else
        out_finishes(o);
}

bool s2s_out_handles(const struct s2s_out *o) { return s2s_flow_is_due(s2s_out_flow(&o->x)); }

/* The server has ended its half: it hears first what became of its last stanzas. One that counts
 * nothing then answers a ping, or closes the connection when it has read our end. */
bool s2s_out_drains(struct xstream *x)
{
    struct s2s_out *o = s2s_out_of(x);
    if (o->partner == NULL || x->end_sent || !(s2s_out_handles(o) || out_needs_proof(o)))
        return false;
    o->peer_ended = true;
    s2s_out_finish(o);
    return true;
}

bool s2s_out_has_arrived(const struct s2s_out *o) { return conn_has_arrived(o->x.conn); }

void s2s_out_ends_init(struct s2s_out *o)
{
    o->wait.fn = out_waits_in_vain;
    o->quiet.fn = out_is_quiet;
}
