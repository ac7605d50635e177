#include "base/utf8.h"
#include "gate/s2s/peer/s2s_peer_private.h"
#include "gate/s2s/s2s_home.h"
#include <stdio.h>

static bool peer_asks_host(const struct s2s_peer *p) { return p->state == PEER_FINDING; }

static const char *peer_state_name(const struct s2s_peer *p)
{
    static const char *const names[] = {
        [PEER_WAITING] = "waiting", [PEER_FINDING] = "connecting", [PEER_OPENING] = "connecting",
        [PEER_UP] = "up",           [PEER_BROKEN] = "broken",      [PEER_CLOSING] = "closing",
        [PEER_FAILED] = "failed",   [PEER_REFUSED] = "failed",
    };
    if (peer_asks_host(p) && p->find != NULL && s2s_find_waits(p->find))
        return "queued";
    return names[p->state];
}

/* Of both directions. */
static void peer_shows_link(const struct s2s_peer *p, struct s2s_shown *s)
{
    s->link_node = p->out != NULL ? worker_node(p->worker)->id : p->back.from.node;
    s->link = p->out != NULL ? s2s_out_id(p->out) : p->back.on ? p->back.stream : 0;
    if (p->out != NULL && s2s_out_conn(p->out) != NULL) {
        s->peer = conn_info(s2s_out_conn(p->out));
        s->host = s2s_out_host(p->out);
    }
    if (p->out != NULL) {
        s2s_out_describe(p->out, &s->tls, &s->auth);
    } else if (p->back.on) {
        s->tls = p->back.tls;
        s->auth = p->back.certificate ? "certificate" : "dialback";
    }
}

enum { OVERFLOW_WHY_BYTES = 96 };
static void peer_shows_overflow(const struct s2s_peer *p, struct s2s_shown *s,
                                char why[OVERFLOW_WHY_BYTES])
{
    if (p->overflow.by == NULL || s->why.len > 0 || p->queue.len == 0)
        return;
    snprintf(why, OVERFLOW_WHY_BYTES, "too many stanzas wait for this server (%s)",
             p->overflow.by->name);
    s->stage = S2S_AT_LINK;
    s->why = slice_of(why);
}

void s2s_peer_show(const struct s2s_peer *p, s2s_show_fn *show, void *arg)
{
    char why[OVERFLOW_WHY_BYTES];
    bool failed = p->failures > 0 && p->state != PEER_UP;
    if (p->state == PEER_WAITING && !failed && !s2s_peer_sends(p) && p->keys.count == 0)
        return; /* it only writes what was confirmed, or remembers a stream */
    struct s2s_shown s = {
        .remote = s2s_peer_remote(p),
        .local = s2s_peer_local(p),
        .direction = p->asks ? "keys" : "out",
        .state = peer_state_name(p),
        .since_s = (loop_now_us(peer_loop(p)) - p->since_us) / 1000000,
        .queue = s2s_queue_waiting(&p->queue),
        .stored = p->backlog.some,
        .unacked = p->queue.written,
        .overflows = p->overflow.count,
        .conn = p->out != NULL ? s2s_out_conn(p->out) : NULL,
        .tls = "",
        .auth = "",
        .stage = failed ? (enum s2s_stage)p->blame.stage : S2S_AT_NONE,
        .why = failed ? slice_of(p->blame.why) : (slice){ 0 },
    };
    peer_shows_link(p, &s);
    peer_shows_overflow(p, &s, why);
    show(&s, arg);
    if (p->out != NULL && p->state == PEER_UP && p->flow != NULL) { /* XEP-0288 */
        s.direction = "in";
        s.queue = 0;
        s.overflows = 0;
        show(&s, arg);
    }
}

int64_t s2s_peers_next_s(struct worker *w, slice domain)
{
    struct s2s_peer *p;
    uint64_t first = 0;
    for (uint32_t i = 0; (p = map_next(&s2s_worker(s2s_gate_of(w), w)->peers, &i)) != NULL;) {
        uint64_t s = timer_left_ms(worker_loop(w), &p->pause) / 1000 + 1;
        if (p->failures > 0 && timer_is_set(&p->pause) && slice_eq(s2s_peer_remote(p), domain))
            first = first == 0 || s < first ? s : first;
    }
    return (int64_t)first;
}

bool s2s_peer_failure(struct worker *w, slice local, slice remote, struct peer_failed *out)
{
    const struct s2s_peer *p = s2s_peer_find(w, local, remote, false);
    if (p == NULL || p->failures == 0 || !timer_is_set(&p->pause))
        return false;
    out->stage = (enum s2s_stage)p->blame.stage;
    snprintf(out->why, sizeof out->why, "%s", p->blame.why);
    return true;
}

/* Another host is tried: an operator can mend what is wrong with the first. */
static void attempt_had_failed(const struct s2s_peer *p, struct peer_failed *at)
{
    enum s2s_stage failed;
    slice said = s2s_find_said(p->find, &failed);
    size_t len = strlen(at->why);
    if (failed == S2S_AT_NONE)
        return;
    at->stage = failed;
    snprintf(at->why + len, sizeof at->why - len, "; before: %.*s", SLICE_ARG(said));
    at->why[utf8_valid_len(slice_of(at->why))] = '\0'; /* it may have been cut */
}

bool s2s_peer_attempt(struct worker *w, slice local, slice remote, struct peer_failed *out)
{
    const struct s2s_peer *p = s2s_peer_find(w, local, remote, false);
    if (p == NULL || p->find == NULL)
        return false;
    uint64_t since_ms = (loop_now_us(peer_loop(p)) - p->since_us) / 1000;
    out->stage = p->out != NULL ? s2s_out_stage(p->out, true) : s2s_find_stage(p->find);
    snprintf(out->why, sizeof out->why, "the stream to it is not ready after %u.%u s%s",
             (unsigned)(since_ms / 1000), (unsigned)(since_ms % 1000 / 100),
             s2s_find_waits(p->find) ? ": it waits for its turn (s2s.connecting)" : "");
    attempt_had_failed(p, out);
    return true;
}
