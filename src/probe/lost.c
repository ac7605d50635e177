#include "probe/lost.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "gate/s2s/find/s2s_lists.h"
#include "gate/s2s/peer/s2s_peer.h"
#include "gate/s2s/s2s_gate.h"
#include "gate/s2s/s2s_home.h"
#include "home/here.h"
#include "home/node.h"
#include "home/question.h"
#include "remote/foreign.h"
#include "xmpp/jid.h"

struct lost_asked {
    slice local, remote;
    slice from, to; /* of the stanza; none: the domain */
};
struct lost_stage {
    uint8_t stage; /* enum s2s_stage */
    slice why;
};
struct lost {
    struct outside_lost_ask ask;   /* without its addresses */
    const struct foreign_ban *ban; /* no link was tried; NULL: there is none */
    struct peer_failed at;
    const char *advice; /* for S2S_AT_CERTIFICATE */
    struct timer limit;
    bool told;
};

static const struct message_field stage_fields[] = {
    F_U8(struct lost_stage, stage, S2S_STAGES - 1),
    F_TEXT(struct lost_stage, why, PEER_WHY_BYTES - 1),
    { 0 },
};
const struct message_row lost_stage_message = {
    .id = 161,
    .scope = MESSAGE_CLUSTER,
    .name = "lost-stage",
    .size = sizeof(struct lost_stage),
    .fields = stage_fields,
};

/* At the home of the foreign domain. A test begins with NEWS_RETRY: a failure that is known has
 * come since. Without one, an attempt may hang for longer than a test waits: where it is now is the
 * reason. */
static void ask_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct lost_asked *m = message;
    struct peer_failed at = { .stage = S2S_AT_NONE };
    if (!s2s_is_ended(w) && !s2s_peer_failure(w, m->local, m->remote, &at))
        (void)s2s_peer_attempt(w, m->local, m->remote, &at);
    question_answer(w, from, &lost_stage_message,
                    &(struct lost_stage){ (uint8_t)at.stage, slice_of(at.why) });
    question_end(w, from);
}

static bool ask_is_sound(struct worker *w, const void *message, const struct message_from *from)
{
    const struct lost_asked *m = message;
    (void)w, (void)from;
    return s2s_pair_is_sound(m->local, m->remote);
}

static const struct message_field ask_fields[] = {
    F_BARE(struct lost_asked, local),
    F_BARE(struct lost_asked, remote),
    F_BARE_OR_NONE(struct lost_asked, from),
    F_BARE_OR_NONE(struct lost_asked, to),
    { 0 },
};
const struct message_row lost_ask_message = {
    .id = 160,
    .scope = MESSAGE_CLUSTER,
    .name = "lost-ask",
    .size = sizeof(struct lost_asked),
    .fields = ask_fields,
    .run = ask_run,
    .sound = ask_is_sound,
    .answer = &lost_stage_message,
    .later = true,
};

static void lost_heard(struct worker *w, void *arg, void *answer, const struct message_from *from)
{
    struct peer_failed *at = &((struct lost *)arg)->at;
    const struct lost_stage *m = answer;
    (void)w, (void)from;
    ensure(m->stage < S2S_STAGES && m->why.len < sizeof at->why); /* its fields say so */
    at->stage = (enum s2s_stage)m->stage;
    memcpy(at->why, m->why.ptr, m->why.len);
    at->why[m->why.len] = '\0';
}

static const char lost_unknown[] =
    "`musterctl s2s trace` says whether the partner can be reached; if so, look into its log.";

/* Advice on a failure that is known. */
static const char *lost_advice(const struct lost *l)
{
    ensure(l->at.stage != S2S_AT_NONE); /* else there is no reason, either */
    const char *exact = s2s_stage_exact_advice(l->at.stage, slice_of(l->at.why));
    if (exact != NULL)
        return exact;
    return l->at.stage == S2S_AT_CERTIFICATE ? l->advice : s2s_stage_advice(l->at.stage);
}

static void lost_tell(struct lost *l)
{
    enum s2s_stage at = l->at.stage;
    struct outside_lost lost = { .stage = "delivery", .advice = lost_unknown, .why = SLICE("") };
    ensure(l->advice != NULL && l->ask.told != NULL);
    if (l->ban != NULL)
        lost = (struct outside_lost){ .stage = s2s_stage_name(S2S_AT_POLICY),
                                      .advice = l->ban->advice,
                                      .why = slice_of(l->ban->why),
                                      .setting = l->ban->setting,
                                      .ours = true };
    else if (at != S2S_AT_NONE)
        lost = (struct outside_lost){ .stage = s2s_stage_name(at),
                                      .advice = lost_advice(l),
                                      .why = slice_of(l->at.why),
                                      .ours = s2s_stage_is_ours(at) };
    l->told = true;
    l->ask.told(l->ask.arg, &lost);
}

static void lost_all(struct worker *w, void *arg)
{
    struct lost *l = arg;
    timer_cancel(&l->limit);
    (void)w;
    if (!l->told)
        lost_tell(l);
    mem_free(&l);
}

/* The node of the home does not answer: the question ends later. */
static void lost_late(struct timer *t, struct loop *loop)
{
    (void)loop;
    lost_tell(CONTAINER_OF(t, struct lost, limit));
}

static void lost_drop(void *arg)
{
    struct lost *l = arg;
    timer_cancel(&l->limit);
    if (!l->told)
        l->ask.drop(l->ask.arg);
    mem_free(&l);
}

void lost_ask(struct worker *w, const struct outside_lost_ask *ask)
{
    slice local = jid_split(ask->from).domain, remote = jid_split(ask->to).domain;
    ensure(local.len > 0 && remote.len > 0); /* each of an address that was parsed */
    struct lost *l = mem_new(struct lost);
    l->ask = *ask;
    l->ban = s2s_ban(w, local, remote);
    l->at.stage = S2S_AT_NONE;
    l->limit.fn = lost_late;
    timer_set(worker_loop(w), &l->limit,
              ask->left_ms < OUTSIDE_LOST_MS ? OUTSIDE_LOST_MS : ask->left_ms);
    l->advice = s2s_demand_advice(remote, S2S_AT_CERTIFICATE);
    home_ask(
        w, remote, &lost_ask_message, &(struct lost_asked){ local, remote, ask->from, ask->to },
        &(struct asker){ .gather = lost_heard, .done = lost_all, .arg = l, .drop = lost_drop });
}
