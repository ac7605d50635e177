#include "gate/s2s/peer/s2s_peer.h"
#include "base/hash.h"
#include "base/rand.h"
#include "base/utf8.h"
#include "gate/s2s/find/s2s_lists.h"
#include "gate/s2s/link/s2s_in_sm.h"
#include "gate/s2s/peer/s2s_keys.h"
#include "gate/s2s/peer/s2s_peer_private.h"
#include "gate/s2s/s2s_domains.h"
#include "remote/foreign.h"
#include "remote/remote_domains.h"
#include "xmpp/jid.h"
#include <stdio.h>

enum {
    BACKOFF_MS = 1000, /* before the second attempt; doubles */
    BACKOFF_MAX_MS = 5 * 60000,
    TURN_MS = 1000,
    RESUME_PAUSE_MS = 50, /* the same where a session can be resumed */
    RESUME_PAUSE_MAX_MS = 5000,
    FAILURES_COUNTED = 16,
    SESSION_ID_MAX = 4000, /* XEP-0198 §5: longer ones are not resumed */
    SESSION_MAX_S = 600,
    UNCERTIFIED_MS = 10 * 60000, /* our certificate is not shown again before */
    PEER_KEY_MAX = 2 * JID_PART_MAX + 2
};

slice s2s_peer_remote(const struct s2s_peer *p) { return (slice){ p->text, p->remote_len }; }
slice s2s_peer_local(const struct s2s_peer *p)
{
    return (slice){ p->text + p->remote_len + 1, p->local_len };
}
struct s2s_gate *s2s_peer_gate(const struct s2s_peer *p) { return p->gate; }
bool s2s_peer_asks(const struct s2s_peer *p) { return p->asks; }

static slice peer_map_key(const void *item)
{
    const struct s2s_peer *p = item;
    return (slice){ p->text, p->remote_len + 1u + p->local_len + p->asks };
}

static uint64_t peer_now_us(const struct s2s_peer *p) { return loop_now_us(peer_loop(p)); }

/* So that not all come back at once. */
static uint64_t peer_spread_ms(uint64_t ms)
{
    uint32_t random;
    rand_bytes(&random, sizeof random);
    return ms - ms / 4 + random % (ms / 2);
}

/* Blame. */

void s2s_peer_blame(struct s2s_peer *p, enum s2s_stage stage, enum stanza_error e, bool hard,
                    const char *fmt, ...)
{
    struct peer_blame *b = &p->blame;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(b->why, sizeof b->why, fmt, ap);
    va_end(ap);
    b->why[utf8_valid_len(slice_of(b->why))] = '\0'; /* a text of the other server may be cut */
    b->stage = (uint8_t)stage;
    b->error = (uint8_t)e;
    b->hard = hard;
    b->set = true;
}

static void peer_blames_nobody(struct s2s_peer *p) { p->blame.set = p->blame.hard = false; }

static void peer_blames_us(struct s2s_peer *p)
{
    if (p->blame.error != SE_SERVICE_UNAVAILABLE) /* else that was logged already */
        log_warn(&log_s2s, LOG_EV("s2s.unserved"), LOG_S("domain", s2s_peer_remote(p)),
                 LOG_S("local", s2s_peer_local(p)),
                 LOG_C("hint", "stored messages wait for another server, and this one does not "
                               "serve the domain of their senders any more; they are given up "
                               "after s2s.keep-for, unless that is in `domains` again by then"));
    s2s_peer_blame(p, S2S_AT_POLICY, SE_SERVICE_UNAVAILABLE, false,
                   "this server does not serve its own domain any more (`domains` in the node "
                   "file; of a component: `component add`); stored messages of that domain are "
                   "given up after s2s.keep-for");
}

void s2s_peer_external_failed(struct s2s_peer *p, enum s2s_external how, const char *said,
                              uint32_t version)
{
    struct peer_external *x = &p->external;
    s2s_peer_blame(p, S2S_AT_AUTHENTICATION, SE_REMOTE_SERVER_TIMEOUT, false, "%s", said);
    x->how = (uint8_t)how;
    snprintf(x->said, sizeof x->said, "%s", said);
    x->until_us = how == EXTERNAL_LATER ? 0 : peer_now_us(p) + (uint64_t)UNCERTIFIED_MS * 1000;
    x->version = version;
}

enum s2s_external s2s_peer_external(const struct s2s_peer *p)
{
    const struct peer_external *x = &p->external;
    return x->until_us > peer_now_us(p) && x->version == s2s_tls_version(p->gate)
               ? (enum s2s_external)x->how
               : EXTERNAL_OFFERED;
}

const char *s2s_peer_external_said(const struct s2s_peer *p) { return p->external.said; }

void s2s_peer_see_other(struct s2s_peer *p, slice host)
{
    if (p->find != NULL)
        s2s_find_see_other(p->find, host);
}

bool s2s_peer_may_be_plain(const struct s2s_peer *p)
{
    const struct s2s_demand demand = s2s_demand_of(s2s_peer_remote(p));
    return !demand.tls || (!demand.firm && p->find != NULL && s2s_find_may_be_plain(p->find));
}

/* The session. */

slice s2s_peer_session(const struct s2s_peer *p) { return p->session.id; }

void s2s_peer_set_session(struct s2s_peer *p, slice id, int64_t max_s)
{
    slice_release(&p->session.id);
    if (id.len == 0 || id.len > SESSION_ID_MAX)
        return;
    p->session.id = slice_keep(id);
    p->session.max_s = (uint32_t)(max_s <= 0 ? 0 : max_s < SESSION_MAX_S ? max_s : SESSION_MAX_S);
}

/* XEP-0198 §5: `max` is how long the other server keeps it. If it does not say so, we assume that
 * this is as long as we do. */
static void peer_session_breaks(struct s2s_peer *p)
{
    int64_t ours_ms = setting_int(&s2s_resume_for);
    uint64_t ms = p->session.max_s > 0      ? 1000ull * p->session.max_s
                  : ours_ms != SETTING_NONE ? (uint64_t)ours_ms
                                            : 0;
    p->session.over_us = peer_now_us(p) + ms * 1000;
}

static bool peer_may_resume(const struct s2s_peer *p)
{
    return p->session.id.ptr != NULL && peer_now_us(p) < p->session.over_us && !peer_stopped(p);
}

/* Also for stanzas of the other server that its session has. */
bool s2s_peer_sends(const struct s2s_peer *p)
{
    return p->queue.len > 0 || p->backlog.some || (p->flow != NULL && peer_may_resume(p));
}

struct in_flow *s2s_peer_flow(const struct s2s_peer *p) { return p->flow; }

bool s2s_peer_begins(struct s2s_peer *p, struct xstream *x, bool both, bool resumes)
{
    bool goes_on = resumes && p->session.id.ptr != NULL && (p->flow != NULL) == both &&
                   (p->flow == NULL || s2s_flow_is_known(p->flow));
    if (!goes_on) {
        if (p->flow != NULL)
            s2s_flow_part(p->flow);
        s2s_flow_drop(&p->flow);
        if (both)
            p->flow = s2s_flow_new(p->gate, p->worker);
    }
    if (p->flow != NULL)
        s2s_flow_join(p->flow, x, s2s_out_flow_rests);
    return goes_on;
}

/* Domains that were never reached are bounded, for each sender and in all: anybody can write to any
 * domain. Senders share S2S_SENDER_SLOTS counts, two may have the same one. */

static bool peer_is_known(slice remote)
{
    struct s2s_domain_counts c;
    return s2s_has_route(remote) || (s2s_domain_counts(remote, &c) && c.up > 0);
}

static _Atomic uint16_t *peer_new_of(struct s2s_gate *g, uint16_t owner)
{
    return &g->unreached[owner];
}

static void peer_counts_for_nobody(struct s2s_peer *p)
{
    if (p->known)
        return;
    p->known = true;
    atomic_fetch_sub(peer_new_of(p->gate, p->owner), 1);
    atomic_fetch_sub(&p->gate->unreached_all, 1);
}

/* The states. */

static void peer_enter(struct s2s_peer *p, enum peer_state state)
{
    p->state = (uint8_t)state;
    p->since_us = peer_now_us(p);
    timer_cancel(&p->pause);
}

static void peer_pause(struct s2s_peer *p, enum peer_state state, uint64_t ms)
{
    peer_enter(p, state);
    if (!peer_stopped(p))
        timer_set(peer_loop(p), &p->pause, ms);
}

static void peer_tells_failure(struct s2s_peer *p)
{
    const struct peer_blame *b = &p->blame;
    bool served = s2s_was_ours(p->worker, s2s_peer_local(p)); /* else that domain is not to blame */
    metric_add(&s2s_failures, 1);
    log_info(&log_s2s, LOG_EV("s2s.failed"), LOG_S("domain", s2s_peer_remote(p)),
             LOG_S("local", s2s_peer_local(p)), LOG_C("why", b->why));
    if (!served || p->asks)
        return;
    if (s2s_peer_sends(p) && b->error != SE_NOT_ALLOWED)
        s2s_domain_failed(s2s_peer_remote(p), s2s_peer_local(p), slice_of(b->why),
                          b->error == SE_REMOTE_SERVER_NOT_FOUND);
    remote_domain_seen(p->worker, s2s_peer_remote(p), DOMAIN_FAILED);
}

/* The attempt has failed, as the blame says: the next one follows after a pause. What waits goes
 * back if that will not help, or has not for s2s.retry-for. */
static void peer_misses(struct s2s_peer *p)
{
    bool ours = p->blame.stage == S2S_AT_POLICY;
    if (p->state == PEER_FINDING || p->state == PEER_OPENING)
        s2s_find_cancel(&p->find);
    peer_tells_failure(p);
    p->failing_us = p->failing_us == 0 ? peer_now_us(p) : p->failing_us;
    p->failures = (uint8_t)(p->failures + (p->failures < FAILURES_COUNTED));
    s2s_keys_fail(p);
    uint64_t ms = (uint64_t)BACKOFF_MS << (p->failures - 1);
    if (peer_may_resume(p) && !ours && !p->blame.hard && !peer_fails_for_long(p)) {
        ms = (uint64_t)RESUME_PAUSE_MS << (p->failures - 1);
        peer_pause(p, PEER_BROKEN,
                   peer_spread_ms(ms < RESUME_PAUSE_MAX_MS ? ms : RESUME_PAUSE_MAX_MS));
        return;
    }
    bool fails = p->blame.hard || peer_fails_for_long(p) || peer_stopped(p);
    peer_pause(p,
               p->blame.hard ? PEER_REFUSED
               : fails       ? PEER_FAILED
                             : PEER_WAITING,
               peer_spread_ms(ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS));
    if (fails)
        peer_give_back(p);
    s2s_backlog_expire(p);
}

static void peer_missed(struct s2s_peer *p)
{
    if (peer_back_is_offered(p) && p->blame.stage != S2S_AT_POLICY) {
        s2s_find_cancel(&p->find);
        peer_back_take(p);
    } else {
        peer_misses(p);
    }
}

/* Whether it may be connected to at all; else the blame says why not. */
static bool peer_is_allowed(struct s2s_peer *p)
{
    const struct foreign_ban *ban = s2s_ban(p->worker, s2s_peer_local(p), s2s_peer_remote(p));
    if (peer_stopped(p))
        s2s_peer_blame(p, S2S_AT_POLICY, SE_REMOTE_SERVER_TIMEOUT, true,
                       "this server is being stopped");
    else if (!s2s_was_ours(p->worker, s2s_peer_local(p)))
        peer_blames_us(p);
    else if (ban != NULL)
        s2s_peer_blame(p, S2S_AT_POLICY, SE_NOT_ALLOWED, true, "%s", ban->why);
    else
        return true;
    return false;
}

static void peer_takes_turns(struct s2s_peer *p)
{
    if (p->offer.stream != 0)
        timer_set(peer_loop(p), &p->pause, peer_spread_ms(TURN_MS));
}

static void peer_found(void *arg, const struct s2s_found *found)
{
    struct s2s_peer *p = arg;
    if (found->conn != NULL) {
        peer_blames_nobody(p);
        peer_enter(p, PEER_OPENING);
        peer_takes_turns(p);
        p->out = s2s_out_start(p, found);
        return;
    }
    p->find = NULL;
    s2s_peer_blame(p, found->stage, found->error, found->hard, "%.*s", SLICE_ARG(found->why));
    s2s_peer_event(p, PEER_MISSED);
}

static void peer_begins(struct s2s_peer *p)
{
    peer_blames_nobody(p);
    peer_enter(p, PEER_FINDING);
    if (!peer_is_allowed(p)) {
        peer_misses(p);
        return;
    }
    if (!peer_may_resume(p) && peer_back_is_offered(p)) {
        peer_back_take(p);
        return;
    }
    peer_takes_turns(p);
    ensure(p->find == NULL);
    p->find = s2s_find_start(
        p->gate, p->worker,
        &(struct s2s_find_for){
            .domain = s2s_peer_remote(p), .asks = p->asks, .known = p->known, .owner = p->owner },
        peer_found, p);
}

static bool peer_is_wanted(const struct s2s_peer *p)
{
    return s2s_peer_sends(p) || p->keys.count > 0;
}

static void peer_wanted(struct s2s_peer *p)
{
    if (!timer_is_set(&p->pause) && peer_is_wanted(p))
        peer_begins(p);
}

static void peer_asks(struct s2s_peer *p)
{
    if (p->out != NULL)
        s2s_out_go_on(p->out);
}

static void peer_forgives(struct s2s_peer *p)
{
    if (p->queue.again == 0) { /* else what is not confirmed would never be given up */
        p->failing_us = 0;
        p->failures = 0;
    }
    p->blame.hard = false;
}

static void peer_due(struct s2s_peer *p)
{
    if (peer_is_wanted(p)) {
        peer_begins(p);
        return;
    }
    peer_forgives(p);
    peer_enter(p, PEER_WAITING);
}

/* The server is there: what is remembered of a failure is old. */
static void peer_there(struct s2s_peer *p)
{
    if (p->failures == 0 || peer_now_us(p) - p->there_us < BACKOFF_MS * 1000ull)
        return;
    p->there_us = peer_now_us(p);
    peer_forgives(p);
    peer_due(p);
}

/* Before another attempt; one that resumes a session, or has a connection, gets a moment more: the
 * other server has perhaps just found that one, and would give up its own. */
static void peer_offered(struct s2s_peer *p)
{
    if (!peer_back_is_offered(p) || !peer_is_allowed(p))
        return;
    peer_forgives(p);
    if (p->state == PEER_OPENING || (p->state == PEER_FINDING && peer_may_resume(p))) {
        peer_takes_turns(p);
    } else if (peer_may_resume(p)) {
        peer_due(p);
    } else {
        s2s_find_cancel(&p->find);
        peer_back_take(p);
    }
}

static void peer_turns(struct s2s_peer *p)
{
    if (!peer_back_is_offered(p))
        return;
    s2s_peer_blame(p, S2S_AT_STREAM, SE_REMOTE_SERVER_TIMEOUT, false,
                   "the other server has connected meanwhile");
    s2s_find_cancel(&p->find);
    if (p->out != NULL)
        s2s_out_close(p->out); /* PEER_LOST follows */
    else
        peer_back_take(p);
}

/* What the operator closes may be made again. The reason of an earlier failure stays. */
static void peer_breaks_off(struct s2s_peer *p)
{
    p->blame.set = true;
    if (p->blame.why[0] == '\0')
        s2s_peer_blame(p, S2S_AT_STREAM, SE_REMOTE_SERVER_TIMEOUT, false,
                       "an operator has ended the attempt");
    if (p->out != NULL)
        s2s_out_close(p->out); /* PEER_LOST follows */
    else
        peer_misses(p);
}

static void peer_closes(struct s2s_peer *p)
{
    peer_enter(p, PEER_CLOSING);
    if (p->out != NULL)
        s2s_out_end(p->out);
    else
        peer_back_end(p);
}

static void peer_forbidden(struct s2s_peer *p)
{
    (void)peer_is_allowed(p);
    if (p->out != NULL)
        s2s_out_close(p->out);
    else
        peer_misses(p);
}

/* Nothing more is written to a stream that is up, and what was has some time to be confirmed. What
 * waits goes back. */
static void peer_shuts(struct s2s_peer *p)
{
    (void)peer_is_allowed(p);
    peer_closes(p);
    while (p->state == PEER_CLOSING && s2s_queue_waiting(&p->queue) > 0) {
        struct s2s_sent s = s2s_queue_cut(&p->queue, p->queue.written);
        atomic_fetch_sub(&p->gate->waiting_bytes, s.st->bytes);
        peer_refuse(p, &s);
    }
}

static void peer_opens(struct s2s_peer *p)
{
    s2s_find_cancel(&p->find);
    s2s_domain_up(s2s_peer_remote(p));
    peer_enter(p, PEER_UP);
    peer_forgives(p);
    peer_counts_for_nobody(p);
    p->external.until_us = 0;
    p->progress = p->full = false;
    p->blame.why[0] = '\0';
    peer_blames_nobody(p);
    timer_cancel(&p->patience);
    peer_pump(p);
}

void s2s_peer_opened(struct s2s_peer *p, bool counted, bool anew)
{
    p->counted = counted;
    s2s_queue_rewind(&p->queue, anew);
    remote_domain_seen(p->worker, s2s_peer_remote(p), anew ? DOMAIN_UP : DOMAIN_RESUMED);
    s2s_peer_event(p, PEER_OPENED);
}

/* The host was of no use: the next one of the domain, or the attempt has failed. */
static void peer_tries_next(struct s2s_peer *p)
{
    if (!p->blame.set)
        s2s_peer_blame(p, S2S_AT_STREAM, SE_REMOTE_SERVER_TIMEOUT, false,
                       "the connection ended before it was used");
    if (p->find == NULL || !peer_is_wanted(p) || p->blame.stage == S2S_AT_POLICY) {
        peer_missed(p);
        return;
    }
    s2s_keys_anew(p);
    peer_enter(p, PEER_FINDING);
    if (s2s_find_go_on(p->find, (enum s2s_stage)p->blame.stage, slice_of(p->blame.why),
                       p->blame.error == SE_REMOTE_SERVER_NOT_FOUND ? S2S_MISSING
                       : p->blame.hard                              ? S2S_HARD
                                                                    : S2S_SOFT))
        return;
    p->blame.hard = s2s_find_is_hard(p->find);
    peer_missed(p);
}

/* The oldest that is not confirmed is what the server ends its streams for. */
static void peer_gives_up_oldest(struct s2s_peer *p)
{
    struct s2s_sent s = s2s_queue_cut(&p->queue, 0);
    atomic_fetch_sub(&p->gate->waiting_bytes, s.st->bytes);
    p->fruitless = 0;
    p->careful -= p->careful > 0;
    s2s_peer_set_session(p, (slice){ 0 }, 0); /* its counts have it */
    log_info(&log_s2s, LOG_EV("s2s.refused"), LOG_S("domain", s2s_peer_remote(p)),
             LOG_S("local", s2s_peer_local(p)), LOG_S("from", stanza_from(s.st)),
             LOG_S("id", stanza_id(s.st)), LOG_C("why", p->blame.why));
    peer_bounce(p, &s,
                stanza_make_error(s.st, SE_NOT_ACCEPTABLE,
                                  SLICE("its server ends the connection when it gets this")));
}

/* A stream that was up. One on which nothing was confirmed is a failed attempt. */
static void peer_broken(struct s2s_peer *p, enum peer_end how)
{
    bool nothing = p->queue.written > 0 && !p->progress && !peer_stopped(p);
    bool fruitless = nothing && how == PEER_END_THEIRS;
    if (how == PEER_END_ORDERLY)
        s2s_peer_set_session(p, (slice){ 0 }, 0);
    peer_session_breaks(p);
    if (p->blame.why[0] != '\0')
        log_info(&log_s2s, LOG_EV("s2s.lost"), LOG_S("domain", s2s_peer_remote(p)),
                 LOG_S("local", s2s_peer_local(p)), LOG_C("why", p->blame.why));
    if (!p->blame.set)
        s2s_peer_blame(p, S2S_AT_STREAM, SE_REMOTE_SERVER_TIMEOUT, false,
                       "the stream of the server has ended");
    p->fruitless = (uint8_t)(p->fruitless + fruitless);
    if (p->fruitless ==
        PEER_FRUITLESS_MAX - 1) /* it gets them one at a time, so that it is the right one */
        p->careful = p->queue.written > p->careful ? p->queue.written : p->careful;
    if (fruitless && p->fruitless >= PEER_FRUITLESS_MAX)
        peer_gives_up_oldest(p);
    if (nothing || peer_stopped(p))
        peer_misses(p);
    else
        peer_enter(p, PEER_WAITING);
    if (p->state == PEER_WAITING && p->offer.stream != 0)
        s2s_peer_event(p, PEER_OFFERED);
}

void s2s_peer_lost(struct s2s_peer *p, enum peer_end how)
{
    bool was_up = p->state == PEER_UP || p->state == PEER_CLOSING;
    p->out = NULL;
    if (p->flow != NULL)
        s2s_flow_part(p->flow);
    peer_write_stop(p);
    p->blame.hard &= !was_up || p->blame.stage == S2S_AT_POLICY;
    if (p->asks && p->keys.count == 0) {
        s2s_find_cancel(&p->find);
        peer_enter(p, PEER_WAITING);
    } else if (was_up)
        peer_broken(p, how);
    else
        peer_tries_next(p);
    peer_wait_on(p);
    peer_work(p);
}

/* What happens in which state; NULL: nothing. PEER_LOST, whose cause matters, is s2s_peer_lost().
 */
typedef void peer_act(struct s2s_peer *p);
static peer_act *const acts[PEER_STATES][PEER_EVENTS] = {
    [PEER_WAITING] = { [PEER_WANTED] = peer_wanted,
                       [PEER_OFFERED] = peer_offered,
                       [PEER_OPENED] = peer_opens,
                       [PEER_DUE] = peer_due,
                       [PEER_THERE] = peer_there,
                       [PEER_FORBIDDEN] = peer_forbidden },
    [PEER_FINDING] = { [PEER_MISSED] = peer_missed,
                       [PEER_OFFERED] = peer_offered,
                       [PEER_OPENED] = peer_opens,
                       [PEER_DUE] = peer_turns,
                       [PEER_CLOSE] = peer_breaks_off,
                       [PEER_FORBIDDEN] = peer_forbidden },
    [PEER_OPENING] = { [PEER_WANTED] = peer_asks,
                       [PEER_OPENED] = peer_opens,
                       [PEER_OFFERED] = peer_offered,
                       [PEER_DUE] = peer_turns,
                       [PEER_CLOSE] = peer_breaks_off,
                       [PEER_FORBIDDEN] = peer_forbidden },
    [PEER_UP] = { [PEER_CLOSE] = peer_closes, [PEER_FORBIDDEN] = peer_shuts },
    [PEER_BROKEN] = { [PEER_OFFERED] = peer_offered,
                      [PEER_OPENED] = peer_opens,
                      [PEER_DUE] = peer_due,
                      [PEER_THERE] = peer_there,
                      [PEER_FORBIDDEN] = peer_forbidden },
    [PEER_CLOSING] = { [PEER_WANTED] = NULL },
    [PEER_FAILED] = { [PEER_OFFERED] = peer_offered,
                      [PEER_OPENED] = peer_opens,
                      [PEER_DUE] = peer_due,
                      [PEER_THERE] = peer_there,
                      [PEER_FORBIDDEN] = peer_forbidden },
    [PEER_REFUSED] = { [PEER_OFFERED] = peer_offered,
                       [PEER_OPENED] = peer_opens,
                       [PEER_DUE] = peer_due,
                       [PEER_THERE] = peer_there },
};

void s2s_peer_event(struct s2s_peer *p, enum peer_event e)
{
    ensure(worker_is_here(p->worker));
    if (acts[p->state][e] != NULL)
        acts[p->state][e](p);
    peer_work(p);
}

static void peer_pause_ends(struct timer *t, struct loop *loop)
{
    (void)loop;
    s2s_peer_event(CONTAINER_OF(t, struct s2s_peer, pause), PEER_DUE);
}

/* Life. */

static bool peer_has_place(struct s2s_gate *g, uint16_t owner)
{
    unsigned most = owner == 0 ? PEER_NEW_ASKED : PEER_NEW_MAX;
    return atomic_load(peer_new_of(g, owner)) < most &&
           atomic_load(&g->unreached_all) < PEER_NEW_NODE;
}

static slice peer_key(char key[PEER_KEY_MAX], slice local, slice remote, bool asks)
{
    ensure(remote.len <= JID_PART_MAX && local.len <= JID_PART_MAX);
    memcpy(key, remote.ptr, remote.len);
    key[remote.len] = '/';
    memcpy(key + remote.len + 1, local.ptr, local.len);
    key[remote.len + 1 + local.len] = '/';
    return (slice){ key, remote.len + 1 + local.len + asks };
}

struct s2s_peer *s2s_peer_find(struct worker *w, slice local, slice remote, bool asks)
{
    char text[PEER_KEY_MAX];
    struct s2s_gate *g = s2s_gate_of(w);
    ensure(worker_is_here(w));
    return g == NULL ? NULL
                     : map_get(&s2s_worker(g, w)->peers, peer_key(text, local, remote, asks));
}

static void peer_work_now(struct loop_defer *d);

struct s2s_peer *s2s_peer_make(struct worker *w, slice local, slice remote, bool asks, slice sender)
{
    struct s2s_gate *g = s2s_gate_of(w);
    struct s2s_peer *p = s2s_peer_find(w, local, remote, asks);
    char text[PEER_KEY_MAX];
    slice key = peer_key(text, local, remote, asks);
    uint16_t owner =
        (uint16_t)(sender.len == 0 ? 0 : 1 + hash_keyed(sender) % (S2S_SENDER_SLOTS - 1));
    bool known = p == NULL && peer_is_known(remote);
    if (p != NULL || (!known && !peer_has_place(g, owner)))
        return p;
    p = mem_zalloc(sizeof *p + key.len);
    p->worker = w;
    p->gate = g;
    p->asks = asks;
    p->known = known;
    p->owner = owner;
    if (!known) {
        atomic_fetch_add(peer_new_of(g, owner), 1);
        atomic_fetch_add(&g->unreached_all, 1);
    }
    p->remote_len = (uint16_t)remote.len;
    p->local_len = (uint16_t)local.len;
    memcpy(p->text, key.ptr, key.len);
    p->pause.fn = peer_pause_ends;
    p->patience.fn = peer_patience_ends;
    p->ping.timer.fn = peer_ping_due;
    p->work.fn = peer_work_now;
    list_init(&p->keys.questions);
    s2s_backlog_init(p);
    peer_enter(p, PEER_WAITING);
    map_put(&s2s_worker(g, w)->peers, p);
    metric_add(&s2s_partners, 1);
    atomic_fetch_add(&g->waiting_bytes, sizeof *p + key.len);
    peer_work(p);
    return p;
}

static void peer_free(struct s2s_peer *p)
{
    size_t bytes = sizeof *p + peer_map_key(p).len;
    peer_counts_for_nobody(p);
    timer_cancel(&p->pause);
    timer_cancel(&p->patience);
    timer_cancel(&p->ping.timer);
    loop_defer_cancel(&p->work);
    s2s_find_cancel(&p->find);
    s2s_keys_drop(p);
    s2s_backlog_fini(p);
    for (uint32_t i = 0; i < p->queue.len; i++)
        atomic_fetch_sub(&p->gate->waiting_bytes, s2s_queue_at(&p->queue, i)->st->bytes);
    s2s_queue_fini(&p->queue);
    if (p->flow != NULL)
        s2s_flow_drop(&p->flow);
    slice_release(&p->session.id);
    metric_add(&s2s_partners, -1);
    atomic_fetch_sub(&p->gate->waiting_bytes, bytes);
    mem_free(&p);
}

static bool peer_is_needed(const struct s2s_peer *p)
{
    return p->state != PEER_WAITING || timer_is_set(&p->pause) || p->offer.stream != 0 ||
           p->pins > 0 || peer_is_linked(p) || peer_is_wanted(p) || !s2s_backlog_is_idle(p);
}

static void peer_check(const struct s2s_peer *p)
{
    bool linked = p->state == PEER_UP || p->state == PEER_CLOSING;
    ensure(!linked || peer_is_linked(p));
    ensure((p->out != NULL) <= (linked || p->state == PEER_OPENING));
    ensure(p->out == NULL || !p->back.on);
    ensure(p->find == NULL || p->state == PEER_FINDING || p->state == PEER_OPENING);
    ensure(p->failures == 0 || p->failing_us > 0);
}

static void peer_work_now(struct loop_defer *d)
{
    struct s2s_peer *p = CONTAINER_OF(d, struct s2s_peer, work);
    if (p->state == PEER_WAITING)
        peer_wanted(p);
    peer_check(p);
    if (peer_is_needed(p))
        return;
    map_del(&s2s_worker(p->gate, p->worker)->peers, peer_map_key(p));
    peer_free(p);
}

void peer_work(struct s2s_peer *p) { loop_defer(peer_loop(p), &p->work); }

void s2s_peer_has_rows(struct worker *w, slice local, slice remote)
{
    struct s2s_peer *p = s2s_peer_make(w, local, remote, false, (slice){ 0 });
    if (p != NULL) /* else they are found again */
        s2s_backlog_found(p);
}

int64_t s2s_peers_each(struct worker *w, slice domain, s2s_peer_fn *fn)
{
    struct map *peers = &s2s_worker(s2s_gate_of(w), w)->peers;
    struct s2s_peer *p, **all = mem_alloc((peers->count + 1) * sizeof(struct s2s_peer *));
    int64_t count = 0;
    uint32_t found = 0;
    for (uint32_t i = 0; (p = map_next(peers, &i)) != NULL;)
        if (domain.ptr == NULL || slice_eq(s2s_peer_remote(p), domain))
            all[found++] = p;
    for (uint32_t i = 0; i < found; i++) /* what is done may make others; none ends at once */
        count += fn(all[i]);
    mem_free(&all);
    return count;
}

bool s2s_peer_close(struct s2s_peer *p)
{
    bool made =
        p->state != PEER_CLOSING && (p->find != NULL || peer_is_linked(p) || p->out != NULL);
    s2s_peer_event(p, PEER_CLOSE);
    return made;
}

bool s2s_peer_try_again(struct s2s_peer *p)
{
    bool failed = p->failures > 0 && p->state != PEER_UP;
    p->external.until_us = p->there_us = 0;
    s2s_peer_event(p, PEER_THERE);
    return failed;
}

bool s2s_peer_judge(struct s2s_peer *p)
{
    const struct foreign_ban *ban = foreign_ban(p->worker, s2s_peer_local(p), s2s_peer_remote(p));
    p->there_us = 0;
    if (ban != NULL)
        s2s_peer_event(p, PEER_FORBIDDEN);
    else if (p->state == PEER_REFUSED && p->blame.error == SE_NOT_ALLOWED)
        s2s_peer_event(p, PEER_THERE);
    return true;
}

bool s2s_peer_stop(struct s2s_peer *p)
{
    s2s_peer_event(p, PEER_FORBIDDEN);
    s2s_backlog_flush(p);
    return true;
}

void s2s_peers_init(struct s2s_worker *sw) { map_init(&sw->peers, peer_map_key); }

void s2s_peers_fini(struct s2s_worker *sw)
{
    struct s2s_peer *p;
    for (uint32_t i = 0; (p = map_next(&sw->peers, &i)) != NULL;) {
        p->ping.ask = NULL; /* the worker frees it */
        map_del(&sw->peers, peer_map_key(p));
        peer_free(p);
    }
    map_fini(&sw->peers);
}
