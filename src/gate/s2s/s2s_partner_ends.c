#include "gate/s2s/s2s_partner_ends.h"
#include "gate/s2s/s2s_confirm.h"
#include "gate/s2s/s2s_domains.h"
#include "gate/s2s/s2s_in_sm.h"
#include "gate/s2s/s2s_out_ends.h"
#include "gate/s2s/s2s_partner_private.h"
#include "gate/s2s/s2s_share.h"
#include "im/foreign.h"

enum { COUNT_PATIENCE_MS = 3000 /* longer than s2s_out_hears_count() */ };

/* Its stream ends, and what waits is answered with the blame. */
static void partner_cease(struct partner *p)
{
    if (p->diverts) /* it has none, and what it hands on is answered there */
        return;
    actor_pin(&p->actor);
    s2s_find_cancel(&p->find);
    timer_cancel(&p->retry);
    if (p->out != NULL)
        s2s_out_close(p->out);
    else if (p->back.on)
        partner_leaves_back(p);
    else
        share_leave(p);
    if (p->state == ACTOR_ABSENT && p->unacked.len > 0) /* what it keeps is given back, too */
        actor_load(&p->actor);
    if (p->state == ACTOR_LOADING && !p->fresh) /* also one that was up, and would be made again */
        partner_failed(p);
    loop_defer_cancel(&p->connect);
    timer_cancel(&p->retry);
    actor_unpin(&p->actor);
}

/* Something that was written to its stream is to be confirmed, also of others that use it; or the
 * other server is to hear first that something was handled. */
static bool partner_awaits(const struct partner *p)
{
    return p->out != NULL ? share_is_unconfirmed(p->out) || s2s_out_handles(p->out)
                          : p->unacked.written > 0;
}

/* Its stream is not resumed any more, but what has arrived of the session would go back to its
 * senders, or be sent again: the answer that says so is waited for (XEP-0198 §5). false: none is to
 * come. */
static bool partner_hears_count(struct partner *p)
{
    bool needs = p->unacked.len > 0 || p->flow != NULL; /* or the other server needs ours */
    if (p->state != ACTOR_LOADING || p->out == NULL || !needs || !s2s_out_hears_count(p->out))
        return false;
    s2s_find_cancel(&p->find); /* nothing follows */
    timer_cancel(&p->turn);
    timer_set(partner_loop(p), &p->patience, COUNT_PATIENCE_MS); /* behind that */
    return true;
}

static void partner_blames_stop(struct partner *p)
{
    partner_blame(p, S2S_AT_POLICY, SE_REMOTE_SERVER_TIMEOUT, true, "this server is being stopped");
}

bool partner_is_shut(struct partner *p)
{
    const struct foreign_ban *ban = foreign_ban(p->worker, partner_local(p), partner_remote(p));
    if (partner_stopped(p))
        partner_blames_stop(p);
    else if (ban != NULL)
        partner_blame(p, S2S_AT_POLICY, SE_NOT_ALLOWED, true, "%s", ban->why);
    else
        return false;
    partner_cease(p);
    return true;
}

/* Gives the other server time to confirm what is on its way. The edge ends what takes too long. */
void partner_stop(struct partner *p)
{
    actor_pin(&p->actor);
    bool hears = partner_hears_count(p);
    if (!hears)
        partner_blames_stop(p);
    bool writes = p->out != NULL && !s2s_out_hears_nothing(p->out); /* the other server, perhaps */
    if (!hears && p->state == ACTOR_READY && (partner_awaits(p) || writes)) {
        partner_hold(p, HOLD_END);
        if (p->out != NULL) /* else its own stop ends the stream */
            s2s_out_finish(p->out);
    } else if (!hears) {
        partner_cease(p);
    }
    s2s_mail_write(&p->mail);
    actor_unpin(&p->actor);
}

/* Nothing more is written, and what was has some time to be confirmed: it has perhaps arrived, and
 * would go back to its senders, or be sent again. false: nothing waits for that. */
static bool partner_shuts(struct partner *p)
{
    if (p->state != ACTOR_READY || !partner_awaits(p))
        return false;
    partner_hold(p, HOLD_END);
    if (p->out != NULL)
        s2s_out_finish(p->out);
    else if (p->share.guest != NULL) /* else gate/s2s/s2s_in.c ends the stream */
        share_finishes(p);
    return true;
}

/* Farewells alone are written, and nothing is taken, until the stream ends. */
static void partner_says_goodbye(struct partner *p, bool on)
{
    if (on == ((p->holds & HOLD_PARTING) != 0))
        return;
    if (p->out != NULL)
        s2s_out_parts(p->out, on);
    else if (p->share.guest != NULL) /* else gate/s2s/s2s_in.c takes nothing */
        share_parts(p, on);
    if (on)
        partner_hold(p, HOLD_PARTING);
    else
        partner_release(p, HOLD_PARTING);
}

void partner_policy_changed(struct partner *p)
{
    const struct foreign_ban *ban = foreign_ban(p->worker, partner_local(p), partner_remote(p));
    if (p->diverts || ban == NULL) {
        if (p->failures > 0 && p->blame == SE_NOT_ALLOWED)
            partner_forgive(p);
        partner_says_goodbye(p, false);
        if (p->back.on && p->share.guest == NULL && !partner_stopped(p))
            partner_release(p, HOLD_END); /* the stream has perhaps heard of no ban at all */
        return;
    }
    if (p->state == ACTOR_READY && s2s_parts(p->worker)) {
        partner_says_goodbye(p, true);
        return;
    }
    actor_pin(&p->actor);
    if (!partner_hears_count(p)) {
        partner_blame(p, S2S_AT_POLICY, SE_NOT_ALLOWED, true, "%s", ban->why);
        if (!partner_shuts(p))
            partner_cease(p);
    }
    actor_unpin(&p->actor);
}

/* A server that has proved its domain to us is there: what is remembered of its failure is old. */
void partner_came(struct partner *p)
{
    uint64_t now = loop_now_us(partner_loop(p));
    if (p->failures == 0 || p->back.waiting ||
        (p->came_us > 0 && now - p->came_us < BACKOFF_MS * 1000ull))
        return;
    p->came_us = now;
    partner_forgive(p);
}

/* For commands. */

/* One that is being made counts as failed: what waits, waits for the next attempt, or is answered
 * if it has waited too long. That follows at once after the first one: perhaps it was made because
 * the other operator has closed the stream before. */
bool partner_close(struct partner *p)
{
    bool made = p->find != NULL || partner_is_linked(p) || share_is_sought(p);
    struct s2s_domain_counts c;
    bool first = p->failures == 0;
    bool fails = !first || (s2s_domain_counts(partner_remote(p), &c) && c.failing_us > 0);
    if (!made)
        return false;
    actor_pin(&p->actor);
    if (partner_shuts(p)) {
        actor_unpin(&p->actor);
        return true;
    }
    if (p->state == ACTOR_READY && p->out != NULL && p->flow != NULL) {
        partner_ends(p); /* the other server may be writing on it */
    } else if (p->share.guest != NULL && p->back.on) {
        partner_ends_back(p); /* the same */
    } else if (p->back.on) {
        partner_leaves_back(p);
    } else {
        p->blamed = true; /* for what an earlier one has failed for, if any has */
        if (!fails || p->why[0] == '\0')
            partner_blame(p, S2S_AT_STREAM, SE_REMOTE_SERVER_TIMEOUT, false,
                          "an operator has ended the attempt");
        partner_breaks_off(p);
        if (first && timer_is_set(&p->retry) && partner_may_be_quick(p))
            partner_retries_now(p);
    }
    actor_unpin(&p->actor);
    return true;
}

bool partner_try_again(struct partner *p)
{
    if (!timer_is_set(&p->retry))
        return p->failures > 0 && p->state == ACTOR_LOADING;
    p->uncertified_us = 0;
    partner_forgive(p);
    return true;
}
