#include "gate/s2s/s2s_partner_fails.h"
#include "base/rand.h"
#include "base/utf8.h"
#include "gate/s2s/s2s_pairs_up.h"
#include "gate/s2s/s2s_partner_private.h"
#include <stdio.h>

enum {
    BACKOFF_MAX_MS = 5 * 60000, /* a domain that fails is remembered no longer, either */
    PATIENCE_MIN_MS = 15000,
    BRIEF_MS = 2000,
    RESUME_PAUSE_MS = 50, /* doubles; all of them together are no longer than BACK_WAIT_MS */
    RESUME_SOON_MAX = 4,
    RETURNS_COUNTED = 6,
    SESSION_MAX_S = 600,
    UNCERTIFIED_MS = 10 * 60000 /* our certificate is not shown again before */
};
_Static_assert((RESUME_PAUSE_MS << RESUME_SOON_MAX) - RESUME_PAUSE_MS < BACK_WAIT_MS,
               "the last attempt begins while the other server waits");

/* So that not all come back at once. */
static uint64_t partner_spread_ms(uint64_t ms)
{
    uint32_t random;
    rand_bytes(&random, sizeof random);
    return ms - ms / 4 + random % (ms / 2);
}

bool partner_is_one_of_many(const struct partner *p)
{
    return p->gate->connections > 1 && !partner_asks_only(p);
}

bool partner_is_alone(const struct partner *p)
{
    unsigned other;
    return !partner_is_one_of_many(p) ||
           !s2s_pair_other_up(p->gate, partner_pair(p), p->number, &other);
}

void partner_session_max(struct partner *p, int64_t max_s)
{
    p->session_max_s = (uint32_t)(max_s <= 0 ? 0 : max_s < SESSION_MAX_S ? max_s : SESSION_MAX_S);
}

/* XEP-0198 §5: `max` is how long the other server keeps it. If it does not say so, we assume that
 * this is as long as we do. */
void partner_session_breaks(struct partner *p)
{
    int64_t ours_ms = setting_int(&s2s_resume_for);
    uint64_t ms = p->session_max_s > 0      ? 1000ull * p->session_max_s
                  : ours_ms != SETTING_NONE ? (uint64_t)ours_ms
                                            : 0;
    p->session_over_us = loop_now_us(partner_loop(p)) + ms * 1000;
    p->returns_us = p->rejoins && p->flow != NULL ? p->session_over_us : 0;
    p->returns = 0;
}

uint64_t partner_session_left_ms(const struct partner *p)
{
    if (p->state == ACTOR_READY || p->session == NULL || p->unacked.len == 0)
        return 0;
    uint64_t now = loop_now_us(partner_loop(p));
    bool ends = p->blame == SE_NOT_ALLOWED || partner_stopped(p) || !partner_is_served(p);
    if (ends || now >= p->session_over_us)
        return 0;
    return (p->session_over_us - now) / 1000 + 1;
}

bool partner_waits_for_session(const struct partner *p)
{
    return partner_session_left_ms(p) > 0 && !partner_is_alone(p);
}

bool partner_keeps_sent(const struct partner *p)
{
    return p->hard && !p->diverts && !s2s_stage_is_ours((enum s2s_stage)p->stage) &&
           partner_session_left_ms(p) > 0;
}

bool partner_returns(const struct partner *p)
{
    bool ends = partner_stopped(p) || partner_rules_fail(p) || !partner_is_served(p);
    return !ends && !p->diverts && loop_now_us(partner_loop(p)) < p->returns_us;
}

uint64_t partner_return_pause_ms(struct partner *p)
{
    ensure(partner_returns(p) && p->returns <= RETURNS_COUNTED);
    uint64_t ms = partner_spread_ms((uint64_t)BACKOFF_MS << p->returns),
             left = (p->returns_us - loop_now_us(partner_loop(p))) / 1000 + 1;
    if (p->returns < RETURNS_COUNTED)
        p->returns++;
    return ms > left / 2 + BACKOFF_MS ? left / 2 + BACKOFF_MS : ms;
}

uint64_t partner_pause_ms(const struct partner *p)
{
    ensure(p->failures > 0);
    uint64_t ms = (uint64_t)BACKOFF_MS << (p->failures - 1), left = partner_session_left_ms(p);
    ms = partner_spread_ms(ms > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : ms);
    return left > 0 && ms > left / 2 + BACKOFF_MS ? left / 2 + BACKOFF_MS : ms;
}

bool partner_rules_fail(const struct partner *p) { return p->hard && p->stage == S2S_AT_POLICY; }

bool partner_resumes_soon(struct partner *p)
{
    bool ends = partner_stopped(p) || partner_rules_fail(p);
    if (p->session == NULL || p->resumptions == RESUME_SOON_MAX || ends ||
        partner_fails_for_long(p))
        return false;
    p->resumptions++;
    return true;
}

uint64_t partner_resume_pause_ms(const struct partner *p)
{
    ensure(p->resumptions > 0 && p->resumptions <= RESUME_SOON_MAX);
    return partner_spread_ms((uint64_t)RESUME_PAUSE_MS << (p->resumptions - 1));
}

bool partner_may_be_quick(struct partner *p)
{
    uint64_t now = loop_now_us(partner_loop(p));
    if (p->suspect.quick_us == 0 || now - p->suspect.quick_us >= PARTNER_QUICK_MS * 1000ull) {
        p->suspect.quick_us = now;
        p->suspect.quick = 0;
    }
    if (p->suspect.quick == PARTNER_QUICK_MAX)
        return false;
    p->suspect.quick++;
    return true;
}

bool partner_fails_for_long(const struct partner *p)
{
    uint64_t failing_ms = (loop_now_us(partner_loop(p)) - p->failing_us) / 1000;
    return p->failing_us > 0 && failing_ms >= (uint64_t)setting_int(&s2s_retry_for);
}

bool partner_gives_up(const struct partner *p)
{
    return partner_stopped(p) ||
           ((p->hard || partner_fails_for_long(p)) && !partner_waits_for_session(p));
}

bool partner_is_down(const struct partner *p)
{
    return p->state == ACTOR_ABSENT && timer_is_set(&p->retry) && p->failures > 0;
}

bool partner_refuses_now(const struct partner *p)
{
    return p->overdue || (partner_is_down(p) && (p->diverts || partner_gives_up(p)));
}

void partner_waits(struct partner *p)
{
    uint64_t ms = (uint64_t)setting_int(&s2s_retry_for), attempt_ms = ms;
    if (p->actor.inbox == NULL && p->unacked.len == 0 && partner_fails_for_long(p))
        ms = attempt_ms = BRIEF_MS;
    else if (ms < PATIENCE_MIN_MS)
        attempt_ms = PATIENCE_MIN_MS;
    p->overdue = false;
    p->waits_us = loop_now_us(partner_loop(p));
    p->attempt_until_us = p->waits_us + attempt_ms * 1000;
    timer_set(partner_loop(p), &p->patience, ms);
}

bool partner_is_impatient(struct partner *p, bool waited_for)
{
    uint64_t now = loop_now_us(partner_loop(p)), until = p->attempt_until_us;
    if (partner_waits_for_session(p)) {
        timer_set(partner_loop(p), &p->patience, partner_session_left_ms(p));
        return false;
    }
    if (!timer_is_set(&p->retry) && (now < until || !waited_for)) {
        timer_set(partner_loop(p), &p->patience,
                  now < until ? (until - now) / 1000 + 1 : (uint64_t)BRIEF_MS);
        return false;
    }
    if (p->failing_us == 0 || p->failing_us > p->waits_us)
        p->failing_us = p->waits_us;
    p->failures = p->failures == 0 ? 1 : p->failures;
    return true;
}

void partner_recovers(struct partner *p)
{
    if (!p->vain) { /* else what it does not confirm would never be given up */
        p->failing_us = 0;
        p->failures = 0;
        p->hard = false;
    }
    if (p->overdue)
        partner_waits(p);
}

/* Why. */

void partner_blame(struct partner *p, enum s2s_stage stage, enum stanza_error e, bool hard,
                   const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(p->why, sizeof p->why, fmt, ap);
    va_end(ap);
    p->why[utf8_valid_len(slice_of(p->why))] = '\0'; /* a text of the peer may have been cut */
    p->stage = (uint8_t)stage;
    p->blame = (uint8_t)e;
    p->hard = hard;
    p->hopeful = false;
    p->blamed = true;
}

void partner_hopes(struct partner *p) { p->hopeful = true; }

void partner_external_failed(struct partner *p, enum s2s_external how, const char *said,
                             uint32_t version)
{
    partner_blame(p, S2S_AT_AUTHENTICATION, SE_REMOTE_SERVER_TIMEOUT, false, "%s", said);
    p->external = (uint8_t)how;
    snprintf(p->external_said, sizeof p->external_said, "%s", said);
    p->uncertified_us =
        how == EXTERNAL_LATER ? 0 : loop_now_us(partner_loop(p)) + (uint64_t)UNCERTIFIED_MS * 1000;
    p->uncertified_version = version;
}

enum s2s_external partner_external(const struct partner *p)
{
    return p->uncertified_us > loop_now_us(partner_loop(p)) &&
                   p->uncertified_version == s2s_tls_version(p->gate)
               ? (enum s2s_external)p->external
               : EXTERNAL_OFFERED;
}

const char *partner_external_said(const struct partner *p) { return p->external_said; }

void partner_see_other(struct partner *p, slice host)
{
    if (p->find != NULL)
        s2s_find_see_other(p->find, host);
}
