#include "gate/s2s/s2s_partner.h"
#include "gate/s2s/s2s_confirm.h"
#include "gate/s2s/s2s_connections.h"
#include "gate/s2s/s2s_demand.h"
#include "gate/s2s/s2s_divert.h"
#include "gate/s2s/s2s_domains.h"
#include "gate/s2s/s2s_drop.h"
#include "gate/s2s/s2s_in_sm.h"
#include "gate/s2s/s2s_judge.h"
#include "gate/s2s/s2s_out_ends.h"
#include "gate/s2s/s2s_pairs_up.h"
#include "gate/s2s/s2s_partner_care.h"
#include "gate/s2s/s2s_partner_keys.h"
#include "gate/s2s/s2s_partner_list.h"
#include "gate/s2s/s2s_partner_private.h"
#include "gate/s2s/s2s_partner_room.h"
#include "gate/s2s/s2s_share.h"
#include "gate/s2s/s2s_verify.h"
#include "home/router.h"
#include "home/trail.h"
#include "im/abroad.h"
#include "im/foreign.h"

static const slice partner_overflow_words = SLICE_INIT("too many stanzas wait for this server");

enum {
    FAILURES_COUNTED = 16,
    DIVERT_FAILURES = 3 /* then another connection of the pair takes its stanzas */
};

slice partner_remote(const struct partner *p) { return (slice){ p->text, p->remote_len }; }
slice partner_local(const struct partner *p)
{
    return (slice){ p->text + p->remote_len + 1, p->local_len };
}
struct outgoing_share partner_share(const struct partner *p)
{
    return (struct outgoing_share){ p->gate->connections, p->shares };
}
struct s2s_gate *partner_gate(const struct partner *p) { return p->gate; }
struct worker *partner_worker(const struct partner *p) { return p->worker; }
void partner_pin(struct partner *p) { actor_pin(&p->actor); }
void partner_unpin(struct partner *p) { actor_unpin(&p->actor); }

bool partner_has_stanzas(const struct partner *p)
{
    return p->actor.inbox_stanzas > 0 || p->unacked.len > 0 || p->replies > 0 || p->rejoins ||
           p->overdue || s2s_mail_waits(&p->mail);
}

/* A new attempt begins. Stage and reason stay those of the last failure until it fails, too. */
static void partner_blames_nobody(struct partner *p) { p->blamed = p->hard = p->hopeful = false; }

/* The connection has ended, and nobody has said why. */
static void partner_blames_the_end(struct partner *p)
{
    if (!p->blamed || p->why[0] == '\0')
        partner_blame(p, S2S_AT_STREAM, SE_REMOTE_SERVER_TIMEOUT, false, "%s",
                      p->state == ACTOR_READY ? "the stream of the server has ended"
                                              : "the connection ended before it was used");
}

bool partner_may_be_plain(const struct partner *p)
{
    const struct s2s_demand demand = s2s_demand_of(partner_remote(p));
    return !demand.tls || (!demand.firm && p->find != NULL && s2s_find_may_be_plain(p->find));
}

/* Making the stream. */

/* Stanzas, or somebody who asks. */
static bool partner_is_wanted(const struct partner *p)
{
    return partner_has_stanzas(p) || p->actor.inbox != NULL || !list_empty(&p->questions);
}

/* Anybody can make us ask any domain, so those that are made for it are bounded. */
void partner_asked_only(struct partner *p, bool on)
{
    if (p->asked_only == on)
        return;
    p->asked_only = on;
    if (on)
        atomic_fetch_add(&p->gate->asked_only, 1);
    else
        atomic_fetch_sub(&p->gate->asked_only, 1);
}

static void partner_gives_back(struct partner *p);

static void partner_divert(struct partner *p)
{
    bool fails = p->missed >= DIVERT_FAILURES || p->hard || p->overdue || partner_fails_for_long(p);
    if (partner_waits_for_session(p))
        return; /* what is not confirmed has perhaps arrived, and would again */
    if (p->suspect.streams > 0 && p->unacked.len > 0)
        return; /* a stanza is at fault, not the connection */
    if (s2s_mail_gives_up(&p->mail))
        return; /* the other one would send that */
    if (!fails || p->blame == SE_NOT_ALLOWED || partner_stopped(p) || !divert_begins(p))
        return;
    if (s2s_mail_hands_over(&p->mail))
        divert_mail(p);
}

/* It becomes ABSENT: what waits is answered with the blame, or left to the database. So is what was
 * not confirmed, unless partner_keeps_sent(). */
static void partner_refuses_all(struct partner *p)
{
    actor_pin(&p->actor);
    p->overdue = false;
    timer_cancel(&p->patience);
    if (!partner_keeps_sent(p) && !(partner_returns(p) && p->unacked.len == 0))
        partner_gives_back(p);
    partner_drop_replies(p);
    s2s_mail_keeps_none(&p->mail);
    actor_loaded(&p->actor, E_DOWN); /* refuses what waits */
    s2s_mail_expire(&p->mail);
    actor_unpin(&p->actor);
}

/* Before senders are told, so that whoever asks then knows it. */
static void partner_tells_stage(const struct partner *p)
{
    s2s_domain_stage(worker_node(p->worker)->id, partner_remote(p), partner_local(p),
                     (enum s2s_stage)p->stage, slice_of(p->why));
}

/* The domain counts as failing until the next attempt: partner_refuses_now(). */
static void partner_remembers(struct partner *p)
{
    p->failing_us = p->failing_us == 0 ? loop_now_us(partner_loop(p)) : p->failing_us;
    if (p->failures < FAILURES_COUNTED)
        p->failures++;
    if (!partner_stopped(p))
        timer_set(partner_loop(p), &p->retry, partner_pause_ms(p));
}

/* Nothing waits for it here: what comes next waits for an attempt of its own. */
static void partner_returns_later(struct partner *p)
{
    p->failing_us = 0;
    p->failures = 0;
    if (partner_returns(p))
        timer_set(partner_loop(p), &p->retry, partner_return_pause_ms(p));
}

/* What waits is refused, if it cannot soon go on a way back. */
static bool partner_refuses_waiting(const struct partner *p)
{
    return partner_gives_up(p) &&
           (partner_stopped(p) || partner_fails_for_long(p) || !partner_may_soon_take_back(p));
}

void partner_failed(struct partner *p)
{
    uint64_t now = loop_now_us(partner_loop(p));
    bool rejoins = p->rejoins, soon = partner_resumes_soon(p);
    partner_asked_only(p, false);
    actor_mark(&p->actor);
    metric_add(&s2s_failures, 1);
    p->rejoins = false;
    share_ends(p);
    bool alone = partner_is_alone(p);
    bool sends = partner_has_stanzas(p) || p->unacked.len > 0;
    bool served = partner_is_served(p); /* else that domain is not to blame */
    if (alone && sends && served) {     /* strangers can make us ask any */
        if (p->blame != SE_NOT_ALLOWED)
            s2s_domain_failed(partner_remote(p), partner_local(p), slice_of(p->why),
                              p->blame == SE_REMOTE_SERVER_NOT_FOUND);
        partner_tells_stage(p);
    }
    log_info(&log_s2s, LOG_EV("s2s.failed"), LOG_S("domain", partner_remote(p)),
             LOG_S("local", partner_local(p)), LOG_C("why", p->why));
    p->since_us = now;
    p->rejoins = rejoins && soon;
    if (soon)
        timer_set(partner_loop(p), &p->retry, partner_resume_pause_ms(p));
    else if (!rejoins || !list_empty(&p->questions) || sends)
        partner_remembers(p);
    else
        partner_returns_later(p);
    partner_keys_fail(p);
    if (alone && served)
        abroad_seen(p->worker, partner_remote(p), ABROAD_FAILED);
    if (!alone && !soon) {
        if (p->missed < DIVERT_FAILURES)
            p->missed++;
        partner_divert(p);
    }
    bool waits = p->actor.inbox != NULL || p->unacked.len > 0 || p->rejoins;
    if (p->diverts || !waits || (!soon && partner_refuses_waiting(p)))
        partner_refuses_all(p);
}

static void partner_found(void *arg, const struct s2s_found *found)
{
    struct partner *p = arg;
    actor_mark(&p->actor);
    if (found->conn != NULL) {
        partner_blames_nobody(p);
        p->out = s2s_out_start(p, found);
        return;
    }
    p->find = NULL;
    partner_blame(p, found->stage, found->error, found->hard, "%.*s", SLICE_ARG(found->why));
    if (!partner_turns_back(p))
        partner_failed(p);
}

/* Whether it may be connected to at all. */
static bool partner_is_allowed(struct partner *p)
{
    const struct foreign_ban *ban = s2s_ban(p->worker, partner_local(p), partner_remote(p));
    if (s2s_worker(p->gate, p->worker)->out.stopped)
        partner_blame(p, S2S_AT_POLICY, SE_REMOTE_SERVER_TIMEOUT, true,
                      "this server is being stopped");
    else if (!partner_is_served(p))
        partner_blames_us(p);
    else if (ban != NULL)
        partner_blame(p, S2S_AT_POLICY, SE_NOT_ALLOWED, true, "%s", ban->why);
    else
        return true;
    return false;
}

static bool partner_find_is_for_stanzas(const void *arg)
{
    const struct partner *p = arg;
    return partner_has_stanzas(p) || p->actor.inbox != NULL;
}

static void partner_connect(struct partner *p)
{
    ensure(p->find == NULL && p->out == NULL && p->state == ACTOR_LOADING);
    p->since_us = loop_now_us(partner_loop(p));
    partner_blames_nobody(p);
    if (!partner_is_allowed(p)) {
        partner_failed(p);
        return;
    }
    if (partner_takes_back(p)) {
        share_ends(p);
        return;
    }
    if (share_takes(p))
        return;
    p->find = s2s_find_start(p->gate, p->worker, partner_remote(p), partner_found,
                             partner_find_is_for_stanzas, p);
}

/* ABSENT: something waits for the next attempt. */
static bool partner_has_more(const struct partner *p)
{
    return s2s_mail_waits(&p->mail) || p->unacked.len > 0 || partner_returns(p);
}

/* The next attempt, or the end of what is remembered of a failure. */
static void partner_retry(struct timer *t, struct loop *loop)
{
    struct partner *p = CONTAINER_OF(t, struct partner, retry);
    if (p->diverts && !divert_may_end(p)) {
        timer_set(loop, t, DIVERT_LOOK_MS);
        return;
    }
    p->diverts = false;
    if (p->state == ACTOR_LOADING)
        partner_connect(p);
    else if (partner_has_more(p))
        actor_load(&p->actor);
    else
        actor_touch(&p->actor);
}

/* The stream. */

void partner_up(struct partner *p, bool counted, bool anew)
{
    ensure(partner_is_linked(p) && p->state == ACTOR_LOADING);
    actor_pin(&p->actor);
    s2s_find_cancel(&p->find);
    timer_cancel(&p->patience);
    timer_cancel(&p->turn);
    p->overdue = false;
    partner_asked_only(p, false);
    s2s_domain_up(partner_remote(p));
    bool first = partner_is_alone(p);
    if (partner_is_one_of_many(p))
        s2s_pair_is_up(p->gate, partner_pair(p), p->number);
    /* Also if the database has again what was not confirmed: else attempts would not slow down. */
    p->vain = p->vain || p->unacked.len > 0;
    if (!p->vain) {
        p->failing_us = 0;
        p->failures = p->resumptions = 0;
        if (first)
            divert_tells_others(p);
    }
    p->uncertified_us = 0;
    p->missed = 0;
    p->counted = counted;
    p->why[0] = '\0';
    partner_blames_nobody(p);
    p->since_us = loop_now_us(partner_loop(p));
    abroad_seen(p->worker, partner_remote(p), anew ? ABROAD_UP : ABROAD_RESUMED);
    if (p->back.on) /* what it counts is of another stream from here on */
        partner_set_session(p, (slice){ 0 });
    else
        p->back.kept = false;
    s2s_unacked_rewind(&p->unacked, anew);
    bool doubts = doubt_unacked(p);
    while (!p->careful && !doubts && p->unacked.written < p->unacked.len)
        partner_write_next(p);
    p->offended = p->broke = p->orderly = p->rejoins = false;
    p->returns_us = 0;
    p->state = ACTOR_READY; /* what is held is not handled */
    partner_write_replies(p);
    partner_weigh(p);
    doubt_go_on(p);
    if (p->out != NULL)
        s2s_out_is_full(p->out);
    if (p->mail.kept)
        partner_hold(p, HOLD_MAIL);
    p->state = ACTOR_LOADING;
    actor_loaded(&p->actor, OK);
    s2s_mail_go(&p->mail);
    partner_mail_begin(p);
    actor_unpin(&p->actor);
}

void partner_room(struct partner *p) { partner_release(p, HOLD_OUTPUT); }
void partner_full(struct partner *p) { partner_hold(p, HOLD_OUTPUT); }

/* Nothing is written to it any more. */
static void partner_is_down_now(struct partner *p)
{
    ask_cancel(&p->ping);
    timer_cancel(&p->ping_timer);
    doubt_stop(p);
    s2s_mail_stop(&p->mail);
    if (partner_is_one_of_many(p))
        s2s_pair_is_down(p->gate, partner_pair(p), p->number);
}

/* The other server has another stream that stanzas may go back on. */
static bool partner_has_a_way(const struct partner *p)
{
    return p->state == ACTOR_READY && !p->actor.ended && !p->vain && !partner_stopped(p) &&
           partner_may_take_back(p) &&
           foreign_ban(p->worker, partner_local(p), partner_remote(p)) == NULL;
}

/* One that was up is made again if something waits; one that has served for nothing, later, unless
 * that was for a stanza which it gets alone. */
static void partner_again(struct partner *p)
{
    bool held = p->holds != 0, quick = p->quick;
    p->holds = 0;
    p->quick = false;
    actor_pin(&p->actor);
    if (held)
        actor_unpause(&p->actor);
    if (p->unacked.len == 0 && !p->rejoins) /* the session has ended in order */
        partner_set_session(p, (slice){ 0 });
    partner_keys_again(p);
    if (partner_is_wanted(p)) {
        actor_load(&p->actor);
        if ((p->vain && !quick) || partner_stopped(p)) {
            loop_defer_cancel(&p->connect);
            partner_failed(p);
        }
    }
    if (held)
        actor_go_on(&p->actor);
    if (p->state == ACTOR_READY && (p->mail.settled_len > 0 || partner_has_a_way(p)))
        actor_become(&p->actor, ACTOR_ABSENT); /* until that is written; or stanzas come for it */
    else if (p->state == ACTOR_READY)
        actor_end(&p->actor);
    actor_unpin(&p->actor);
}

/* Nobody needs it. */
void partner_forget(struct partner *p)
{
    actor_pin(&p->actor);
    partner_drop_replies(p);
    actor_loaded(&p->actor, E_DOWN);
    actor_end(&p->actor);
    actor_unpin(&p->actor);
}

/* The host that was tried was of no use: the way back, or the next one of the domain. false: there
 * is none. */
static bool partner_tries_next(struct partner *p)
{
    if (p->find == NULL || !partner_is_wanted(p))
        return false;
    partner_keys_anew(p);
    if (partner_turns_back(p))
        return true;
    if (p->blame == SE_REMOTE_SERVER_NOT_FOUND)
        s2s_find_is_strange(p->find);
    if (s2s_find_go_on(p->find, (enum s2s_stage)p->stage, slice_of(p->why), p->hard))
        return true;
    p->hard = s2s_find_is_hard(p->find);
    return partner_turns_back(p);
}

void partner_lost(struct partner *p, bool at_once)
{
    ensure(!p->back.on && worker_is_here(p->worker));
    p->out = NULL;
    actor_mark(&p->actor);
    partner_is_down_now(p);
    actor_pin(&p->actor);
    if (p->state == ACTOR_READY) {
        partner_suspects(p);
        partner_session_breaks(p);
    }
    if (p->state == ACTOR_READY && p->why[0] != '\0')
        log_info(&log_s2s, LOG_EV("s2s.lost"), LOG_S("domain", partner_remote(p)),
                 LOG_S("local", partner_local(p)), LOG_C("why", p->why));
    partner_blames_the_end(p);
    if (!at_once && partner_tries_next(p)) {
        actor_unpin(&p->actor);
        return;
    }
    s2s_find_cancel(&p->find);
    if (at_once) {
        partner_again(p);
    } else if (partner_is_wanted(p)) {
        partner_failed(p);
    } else { /* it was asked for a key only, and nobody needs it now */
        partner_forget(p);
    }
    actor_unpin(&p->actor);
}

/* The attempt that is under way ends with the blame. */
void partner_breaks_off(struct partner *p)
{
    s2s_find_cancel(&p->find);
    share_leave(p);
    if (p->out != NULL)
        s2s_out_close(p->out);
    else
        partner_failed(p);
}

/* The stage of the attempt that is under way. */
static enum s2s_stage partner_hangs_at(const struct partner *p)
{
    if (p->out != NULL)
        return s2s_out_stage(p->out, true);
    return p->find != NULL ? s2s_find_stage(p->find) : S2S_AT_NO_ANSWER;
}

/* What waits has its errors, and the attempt goes on; unless there is a way back. One that is to
 * resume a session cannot: what was not confirmed in that is given back. One that waits for the
 * stream of another does not, either. */
static void partner_is_overdue(struct partner *p)
{
    bool waits = p->find != NULL && s2s_find_waits(p->find);
    partner_blame(p, partner_hangs_at(p), SE_REMOTE_SERVER_TIMEOUT, false, "%s",
                  waits ? "too many other connections are being made (s2s.connecting)"
                        : "it does not answer");
    if (p->out != NULL && partner_may_take_back(p)) {
        s2s_out_close(p->out);
        return;
    }
    if (p->out == NULL && partner_turns_back(p))
        return;
    if (p->session != NULL || share_is_sought(p)) {
        partner_breaks_off(p);
        return;
    }
    partner_tells_stage(p);
    partner_refuses_all(p);
    actor_load(&p->actor);
    timer_cancel(&p->patience);
    p->overdue = true;
}

static void partner_patience_ends(struct timer *t, struct loop *loop)
{
    struct partner *p = CONTAINER_OF(t, struct partner, patience);
    (void)loop;
    if (p->state != ACTOR_LOADING || !partner_is_impatient(p, partner_find_is_for_stanzas(p)))
        return;
    actor_mark(&p->actor);
    actor_pin(&p->actor);
    if (!timer_is_set(&p->retry)) {
        partner_is_overdue(p);
    } else {
        if (!partner_is_alone(p))
            partner_divert(p);
        partner_refuses_all(p);
    }
    actor_unpin(&p->actor);
}

/* The actor. */

static void partner_refuse_with(struct partner *p, struct stanza *st, enum stanza_error e,
                                slice text)
{
    s2s_dropped(st, e == SE_NOT_ALLOWED           ? S2S_DROP_POLICY
                    : e == SE_RESOURCE_CONSTRAINT ? S2S_DROP_QUEUE
                                                  : S2S_DROP_UNREACHABLE);
    route_error(p->worker, st, e, text);
    stanza_unref(&st);
}

/* One that cannot be kept in memory any more: the database has it, or its sender is told. */
static void partner_refuse_sent(struct partner *p, struct s2s_sent *s, bool is_new)
{
    if (p->diverts)
        divert_sends(p, s);
    else if (s->id.entry == 0)
        partner_refuse_with(p, s->st, (enum stanza_error)p->blame, partner_words(p));
    else if (partner_stopped(p)) /* it is sent after the next start */
        stanza_unref(&s->st);
    else
        s2s_mail_leave(&p->mail, s, is_new);
}

/* One that waited. What rules may have changed for since it was judged is not handed on; the
 * database judges what it has. */
static void partner_refuse_waited(struct partner *p, struct s2s_sent *s, bool doubtful)
{
    if (s->gone && s->id.entry != 0 && !partner_stopped(p))
        s2s_mail_confirmed(&p->mail, &s->id);
    if (s->gone)
        stanza_unref(&s->st);
    else if (p->diverts && doubtful && s->id.entry == 0)
        partner_refuse_with(p, s->st, (enum stanza_error)p->blame, partner_words(p));
    else
        partner_refuse_sent(p, s, false);
}

static void partner_kept_wait(struct partner *p)
{
    p->doubt.inbox_version = p->behind.version;
    p->doubt.inbox = 0;
    while (p->behind.count > 0) {
        const struct s2s_sent s = s2s_behind_take(&p->behind);
        const struct actor_item item = partner_item_of(&s);
        actor_wait_anyhow(&p->actor, &item);
    }
    s2s_mail_keeps(&p->mail);
    if (!p->mail.kept)
        return;
    partner_hold(p, HOLD_MAIL);
    s2s_mail_go(&p->mail);
}

static void partner_kept_refuse(struct partner *p)
{
    while (p->behind.count > 0) {
        struct s2s_sent s = s2s_behind_take(&p->behind);
        atomic_fetch_sub(&p->gate->waiting_bytes, s.st->bytes);
        partner_refuse_waited(p, &s, p->behind.version != foreign_version());
    }
}

void partner_inbox_shrank(struct partner *p)
{
    bool waits = p->state == ACTOR_LOADING || (p->state == ACTOR_READY && partner_is_linked(p));
    if (p->actor.inbox != NULL)
        return;
    s2s_behind_ends(&p->behind);
    if (p->behind.count > 0 && waits) {
        partner_kept_wait(p);
        return;
    }
    partner_kept_refuse(p);
    s2s_behind_clear(&p->behind);
}

/* Of its pair, messages of the database are behind the inbox. */
static bool partner_is_behind(const struct partner *p, const struct stanza *st)
{
    return s2s_behind_has(&p->behind, st, p->gate->connections);
}

static void partner_refuse(struct actor *a, const struct actor_item *item, enum err e)
{
    struct partner *p = partner_of(a);
    struct s2s_sent s = partner_item(item);
    (void)e;
    atomic_fetch_sub(&p->gate->waiting_bytes, item->st->bytes);
    partner_refuse_waited(p, &s, p->doubt.inbox > 0 || p->doubt.inbox_version != foreign_version());
    partner_inbox_shrank(p);
}

/* All that was written to streams that have broken. */
static void partner_gives_back(struct partner *p)
{
    bool doubtful = p->doubt.sent > 0 || p->doubt.sent_version != foreign_version();
    while (p->unacked.len > 0) {
        struct s2s_sent s = s2s_unacked_take(&p->unacked, false);
        atomic_fetch_sub(&p->gate->waiting_bytes, s.st->bytes);
        partner_refuse_waited(p, &s, doubtful);
    }
    p->doubt.sent = 0;
    s2s_unacked_rewind(&p->unacked, true);
    partner_set_session(p, (slice){ 0 });
    p->back.kept = false;
}

static void partner_handle(struct actor *a, const struct actor_item *item)
{
    struct partner *p = partner_of(a);
    if (a->state != ACTOR_READY || !partner_is_linked(p)) { /* the stream has ended meanwhile */
        partner_refuse(a, item, E_DOWN);
        return;
    }
    struct s2s_sent s = partner_item(item);
    atomic_fetch_sub(&p->gate->waiting_bytes, item->st->bytes);
    bool judged = doubt_takes(p, &s);
    if (!judged)
        partner_write(p, &s);
    partner_inbox_shrank(p);
    if (!judged)
        partner_mail_begin(p);
}

static void partner_call(struct actor *a, actor_any_fn *fn, enum err e, void *arg)
{
    (void)a, (void)fn, (void)e, (void)arg;
    ensure(false); /* nothing but stanzas waits for a partner */
}

static void partner_load_now(struct loop_defer *d)
{
    partner_connect(CONTAINER_OF(d, struct partner, connect));
}

static void partner_load(struct actor *a)
{
    struct partner *p = partner_of(a);
    p->fresh = p->asks_session = false;
    p->rejoins = p->rejoins || partner_returns(p);
    timer_cancel(&p->retry); /* of a failure that is to be forgotten */
    partner_waits(p);
    partner_session_waits(p);
    if (p->find == NULL) /* else the attempt goes on that is under way */
        loop_defer(partner_loop(p), &p->connect);
}

static bool partner_in_use(const struct actor *a)
{
    const struct partner *p = (const struct partner *)a;
    bool offered = !a->ended && !list_empty(&p->offers); /* nobody finds one that has ended */
    return p->out != NULL || p->find != NULL || timer_is_set(&p->retry) || p->back.on || offered ||
           share_is_sought(p) || p->mail.settled_len > 0 || s2s_mail_waits(&p->mail);
}

static uint64_t partner_idle_ms(void) { return 0; }
static bool partner_may_unload(struct actor *a)
{
    (void)a;
    return true;
}

static void partner_unload(struct actor *a)
{
    struct partner *p = partner_of(a);
    ensure(!partner_is_linked(p) && p->find == NULL && list_empty(&p->questions));
    share_ends(p);
    share_leave(p);
    partner_asked_only(p, false);
    timer_cancel(&p->retry);
    timer_cancel(&p->patience);
    timer_cancel(&p->turn);
    loop_defer_cancel(&p->connect);
    partner_is_down_now(p);
    if (p->shares != 1u << p->number)
        s2s_pair_carries(p->gate, partner_pair(p), p->number, false);
    s2s_mail_fini(&p->mail);
    s2s_behind_fini(&p->behind);
    partner_drop_replies(p);
    s2s_unacked_fini(&p->unacked);
    partner_watch_none(p);
    s2s_flow_drop(&p->flow);
    partner_offers_end(p);
    mem_free(&p->session);
    mem_free(&p);
}

static void partner_check(const struct actor *a)
{
    const struct partner *p = (const struct partner *)a;
    ensure(p->find == NULL || a->ended || a->state == ACTOR_LOADING);
    ensure(a->ended || a->state != ACTOR_READY || partner_is_linked(p));
    ensure(p->out == NULL || !p->back.on);
    ensure((p->offer_count == 0) == list_empty(&p->offers));
    ensure(p->holds == 0 || (a->state == ACTOR_READY && a->pauses > 0));
    ensure(!p->mail.kept || (s2s_mail_waits(&p->mail) &&
                             (a->state != ACTOR_READY || p->holds > 0 || a->inbox == NULL)));
    ensure((p->behind.count == 0 && p->behind.pairs.count == 0) || a->inbox != NULL);
    ensure(p->failures == 0 || p->failing_us > 0);
    ensure(!p->overdue || (a->state == ACTOR_LOADING && a->inbox == NULL && p->find != NULL));
    ensure(p->unacked.len == 0 || a->ended || a->state != ACTOR_ABSENT || timer_is_set(&p->retry));
}

/* Memory only: what waits is not answered any more. */
static void partner_drop(struct actor *a)
{
    struct partner *p = partner_of(a);
    s2s_find_cancel(&p->find);
    share_ends(p);
    share_leave(p);
    timer_cancel(&p->retry);
    timer_cancel(&p->patience);
    timer_cancel(&p->turn);
    doubt_stop(p);
    s2s_judge_cancel(&p->forbid.judge);
    p->ping = NULL; /* the worker frees it */
    s2s_mail_fini(&p->mail);
    s2s_behind_fini(&p->behind);
    partner_keys_drop(p);
}

const struct actor_kind partner_kind = {
    .loaded = &s2s_partners,
    .idle_max = 0,
    .absent_max = 1000,
    .calls_max = 0,
    .idle_ms = partner_idle_ms,
    .load = partner_load,
    .handle = partner_handle,
    .refuse = partner_refuse,
    .call = partner_call,
    .in_use = partner_in_use,
    .may_unload = partner_may_unload,
    .unload = partner_unload,
    .check = partner_check,
    .drop = partner_drop,
};

static struct partner *partner_new(struct s2s_gate *g, struct actors *all, slice key,
                                   const struct partner_name *name)
{
    struct partner *p = mem_zalloc(sizeof *p + key.len);
    p->gate = g;
    p->fresh = true;
    p->remote_len = (uint16_t)name->remote.len;
    p->local_len = (uint16_t)name->local.len;
    p->number = (uint8_t)name->number;
    p->shares = (uint16_t)(1u << name->number);
    p->retry.fn = partner_retry;
    p->patience.fn = partner_patience_ends;
    p->turn.fn = partner_turn_due;
    p->ping_timer.fn = partner_ping_due;
    p->doubt.next.fn = doubt_next;
    s2s_mail_init(&p->mail, p);
    s2s_behind_init(&p->behind);
    list_init(&p->questions);
    list_init(&p->offers);
    list_init(&p->share.waits);
    p->connect.fn = partner_load_now;
    memcpy(p->text, key.ptr, key.len);
    actor_init(&p->actor, all, (slice){ p->text, key.len });
    return p;
}

enum { PARTNER_KEY_MAX = 2 * JID_PART_MAX + 4 };
static slice partner_key(char key[PARTNER_KEY_MAX], const struct partner_name *name)
{
    slice local = name->local, remote = name->remote;
    ensure(remote.len <= JID_PART_MAX && local.len <= JID_PART_MAX);
    memcpy(key, remote.ptr, remote.len);
    key[remote.len] = '/';
    memcpy(key + remote.len + 1, local.ptr, local.len);
    size_t len = remote.len + 1 + local.len;
    if (name->number > 0) {
        _Static_assert(S2S_CONNECTIONS_MAX <= 16, "a number is a digit");
        key[len++] = '/';
        key[len++] = "0123456789abcdef"[name->number];
    }
    return (slice){ key, len };
}

struct partner *partner_find(struct worker *w, const struct partner_name *name, bool make)
{
    struct s2s_gate *g = s2s_gate_of(w);
    struct actors *all = &s2s_worker(g, w)->partners;
    char text[PARTNER_KEY_MAX];
    slice key = partner_key(text, name);
    struct actor *a = actors_find(all, key);
    if (a != NULL)
        return partner_of(a);
    return make ? partner_new(g, all, key, name) : NULL;
}

/* The one that asks about a key. */
struct partner *partner_asker(struct worker *w, const struct s2s_verify *v)
{
    struct s2s_gate *g = s2s_gate_of(w);
    struct actors *all = &s2s_worker(g, w)->partners;
    const struct partner_name name = { v->local, v->remote, 0 };
    char text[PARTNER_KEY_MAX];
    slice key = partner_key(text, &name);
    struct actor *a = actors_find(all, key);
    if (!v->both && (a == NULL || !(partner_of(a)->back.on || partner_of(a)->diverts)))
        return a != NULL ? partner_of(a) : partner_new(g, all, key, &name);
    text[key.len++] = '/';
    a = actors_find(all, key);
    return a != NULL ? partner_of(a) : partner_new(g, all, key, &name);
}

/* Begins to make its stream, if nobody did. */
void partner_begin(struct partner *p)
{
    if (p->fresh || p->state == ACTOR_ABSENT)
        actor_load(&p->actor);
    else if (p->out != NULL)
        s2s_out_go_on(p->out);
}

/* Puts it into the inbox, if there is room, or keeps it until that is empty. */
static bool partner_wait(struct partner *p, const struct s2s_sent *s)
{
    struct stanza *st = s->st;
    const struct actor_item item = partner_item_of(s);
    bool first = p->actor.inbox == NULL, stored = s->id.entry != 0;
    bool behind = !stored && partner_is_behind(p, st);
    if (first)
        doubt_inbox_begins(p);
    if (!partner_room_for(p, st) || (stored && p->mail.kept && !partner_room_is_ample(p)) ||
        !(behind ? partner_room_keeps(p, s) : actor_wait(&p->actor, &item)))
        return false;
    if (behind || p->state != ACTOR_READY) /* else it waits for no longer than others before it */
        trail_note(st, "waits", "for its server", partner_remote(p));
    atomic_fetch_add(&p->gate->waiting_bytes, st->bytes);
    partner_asked_only(p, false);
    if (first)
        s2s_mail_keeps(&p->mail);
    return true;
}

/* One more stored message is behind the inbox. */
static void partner_leaves(struct partner *p, const struct s2s_sent *s)
{
    if (s2s_behind_is_full(&p->behind, s->st)) {
        s2s_mail_bounce(&p->mail, s,
                        stanza_make_error(s->st, SE_RESOURCE_CONSTRAINT, partner_overflow_words));
        return;
    }
    if (p->actor.inbox != NULL)
        s2s_behind_add(&p->behind, s->st, s->id.entry);
    s2s_mail_leave(&p->mail, s, true);
}

/* It takes no more of what is not stored; what is, stays in the database. */
static void partner_overflows(struct partner *p, struct s2s_sent *s)
{
    if (s->id.entry != 0) {
        partner_leaves(p, s);
        partner_mail_begin(p);
        if (!partner_is_down(p))
            partner_begin(p);
        return;
    }
    partner_room_refuses(p, s->st);
    partner_refuse_with(p, s->st, SE_RESOURCE_CONSTRAINT, partner_overflow_words);
    if (p->fresh)
        partner_forget(p);
}

/* A farewell of a pair that may speak no more, and that no stream is left for. */
static bool partner_is_late(struct worker *w, const struct stanza *st,
                            const struct partner_name *name)
{
    if (!partner_is_farewell(st) || foreign_pair(w, name->local, name->remote))
        return false;
    const struct partner *p = partner_find(w, name, false);
    return p == NULL || p->state != ACTOR_READY || !s2s_parts(w);
}

/* Whether it is written at once, in front of all that waits. */
static bool partner_may_write(const struct partner *p, const struct stanza *st)
{
    return p->state == ACTOR_READY &&
           (!actor_waits(&p->actor) || (p->holds == HOLD_PARTING && partner_is_farewell(st)));
}

/* It waits for the next attempt elsewhere, or for none: a server that asks and cannot be reached
 * would have us try without a pause. */
static bool partner_pauses_for(const struct partner *p, const struct s2s_sent *s)
{
    return partner_is_down(p) && (s->id.entry != 0 || partner_is_reply(s->st));
}

void partner_take(struct worker *w, struct stanza *st, const struct outgoing_id *id,
                  unsigned number)
{
    struct jid from = jid_split(stanza_from(st)), to = jid_split(stanza_to(st));
    const struct partner_name name = { from.domain, to.domain, number };
    if (partner_is_late(w, st, &name)) {
        s2s_dropped(st, S2S_DROP_POLICY);
        stanza_unref(&st);
        return;
    }
    struct partner *p = partner_find(w, &name, true);
    struct s2s_sent s = { .st = st, .id = *id, .at_us = loop_wall_us(worker_loop(w)) };
    actor_mark(&p->actor);
    if (id->entry != 0)
        partner_retracts(p, &s);
    if (id->entry != 0 && s2s_mail_waits(&p->mail) &&
        (partner_has(p, id) || s2s_mail_has(&p->mail, id))) {
        stanza_unref(&st); /* the database was faster */
        return;
    }
    if (id->entry != 0 && (s2s_mail_leaves(&p->mail) || partner_is_behind(p, st))) {
        partner_overflows(p, &s);
    } else if (partner_refuses_now(p) || partner_pauses_for(p, &s)) {
        partner_refuse_sent(p, &s, true);
    } else if (partner_reply(p, &s)) {
        partner_begin(p);
    } else if (partner_may_write(p, st)) {
        partner_write(p, &s);
    } else if (partner_wait(p, &s)) {
        partner_begin(p);
    } else {
        partner_overflows(p, &s);
    }
}

/* It pauses no more. */
void partner_retries_now(struct partner *p)
{
    actor_mark(&p->actor);
    actor_pin(&p->actor);
    timer_cancel(&p->retry);
    if (p->state == ACTOR_LOADING)
        loop_defer(partner_loop(p), &p->connect);
    else if (partner_has_more(p))
        actor_load(&p->actor);
    actor_unpin(&p->actor);
}

void partner_forgive(struct partner *p)
{
    bool late = p->overdue && p->out == NULL;
    if (p->diverts) /* it ends that first */
        timer_set(partner_loop(p), &p->retry, 0);
    if (p->state == ACTOR_READY || p->diverts)
        return;
    if (late)
        s2s_find_cancel(&p->find);
    partner_recovers(p);
    if (!late && !timer_is_set(&p->retry))
        return;
    partner_retries_now(p);
}

void partner_has_mail(struct partner *p, uint16_t shares)
{
    if (shares != 0) {
        if (p->actor.inbox != NULL)
            p->behind.shares |= shares;
        s2s_mail_found(&p->mail);
        return;
    }
    s2s_mail_hint(&p->mail, p->actor.inbox != NULL);
}

void partner_has_settled(struct partner *p, const struct outgoing_id *id)
{
    actor_mark(&p->actor);
    s2s_mail_confirmed(&p->mail, id);
}

void partner_is_followed(struct partner *p, const struct stanza *st, uint64_t entry)
{
    if (p->actor.inbox != NULL)
        s2s_behind_add(&p->behind, st, entry);
}

void partner_takes_over(struct partner *p, uint16_t shares)
{
    if (divert_takes_over(p, shares))
        s2s_mail_widened(&p->mail);
}
