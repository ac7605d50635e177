#include "gate/s2s/s2s_partner_list.h"
#include "base/utf8.h"
#include "gate/s2s/s2s_connections.h"
#include "gate/s2s/s2s_divert.h"
#include "gate/s2s/s2s_domains.h"
#include "gate/s2s/s2s_partner_private.h"
#include "gate/s2s/s2s_partner_room.h"
#include "gate/s2s/s2s_rows.h"
#include <stdio.h>

/* It waits until it makes its stream again for what the other server has. */
static bool partner_will_return(const struct partner *p)
{
    return p->state == ACTOR_ABSENT && p->failures == 0 && partner_returns(p);
}

static const char *partner_state(const struct partner *p)
{
    if (p->state == ACTOR_READY)
        return "up";
    if (p->diverts)
        return "diverted";
    if (p->state == ACTOR_ABSENT && !partner_will_return(p))
        return "failed";
    if (p->find != NULL && s2s_find_waits(p->find))
        return "queued";
    return timer_is_set(&p->retry) ? "waiting" : "connecting";
}

/* Of both directions, and of all domains that share it. */
static void partner_shows_link(const struct partner *p, struct s2s_shown *s)
{
    const struct s2s_out *out = p->out != NULL ? p->out : share_stream(p);
    s->link_node = out != NULL ? worker_node(p->worker)->id : p->back.from.node;
    s->link = out != NULL ? s2s_out_id(out) : p->back.on ? p->back.stream : 0;
    if (out != NULL && s2s_out_conn(out) != NULL) {
        s->peer = conn_info(s2s_out_conn(out));
        s->host = s2s_out_host(out);
    }
}

enum { SHOWN_WHY_BYTES = PARTNER_WHY_BYTES + 160 };

/* Fills `text`. */
static slice partner_shows_why(const struct partner *p, char text[SHOWN_WHY_BYTES])
{
    bool waits = partner_waits_for_session(p);
    if (!waits && !partner_keeps_sent(p))
        return slice_of(p->why);
    uint64_t left_s = partner_session_left_ms(p) / 1000;
    snprintf(text, SHOWN_WHY_BYTES, "%s; the other server keeps its session for %u s more, and %s",
             p->why, (unsigned)left_s,
             waits ? "stanzas wait until it is resumed"
                   : "unconfirmed stanzas wait until it is resumed, or that server connects");
    return slice_of(text);
}

void partner_show(const struct partner *p, s2s_show_fn *show, void *arg)
{
    char why[SHOWN_WHY_BYTES];
    bool returns = partner_will_return(p);
    if (p->state == ACTOR_ABSENT && p->failures == 0 && !returns)
        return; /* it only writes what was confirmed */
    bool failed = returns || (p->failures > 0 && p->state != ACTOR_READY);
    unsigned connections = partner_asks_only(p) ? 0 : p->gate->connections;
    struct s2s_shown s = {
        .connections = connections,
        .number = p->number,
        .remote = partner_remote(p),
        .local = partner_local(p),
        .direction = partner_asks_only(p) ? "keys" : "out",
        .state = partner_state(p),
        .since_s = (loop_now_us(partner_loop(p)) - p->since_us) / 1000000,
        .queue = p->actor.inbox_stanzas + p->behind.count,
        .stored = s2s_mail_waits(&p->mail),
        .unacked = p->unacked.len,
        .conn = p->out != NULL ? s2s_out_conn(p->out) : NULL,
        .tls = "",
        .auth = "",
        .stage = failed ? (enum s2s_stage)p->stage : S2S_AT_NONE,
        .why = failed ? partner_shows_why(p, why) : (slice){ 0 },
    };
    partner_shows_link(p, &s);
    partner_room_show(p, &s);
    if (p->out != NULL) {
        s2s_out_describe(p->out, &s.tls, &s.auth);
    } else if (p->back.on) {
        s.tls = p->back.tls;
        s.auth = p->back.certificate ? "certificate" : "dialback";
    }
    show(&s, arg);
    if (p->out != NULL && p->state == ACTOR_READY && p->flow != NULL) { /* XEP-0288 */
        s.direction = "in";
        s.queue = 0;
        s.overflows = 0;
        if (!failed) {
            s.stage = S2S_AT_NONE;
            s.why = (slice){ 0 };
        }
        show(&s, arg);
    }
}

/* Another host is tried: an operator can mend what is wrong with the first. */
static void attempt_had_failed(const struct partner *p, struct s2s_domain_at *at)
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

static const struct partner *partner_known(struct worker *w, const struct partner_name *name)
{
    return s2s_is_ended(w) ? NULL : partner_find(w, name, false);
}

bool partner_failure(struct worker *w, const struct partner_name *name, struct s2s_domain_at *out)
{
    const struct partner *p = partner_known(w, name);
    if (p == NULL || p->failures == 0 || !timer_is_set(&p->retry))
        return false;
    out->stage = (enum s2s_stage)p->stage;
    snprintf(out->why, sizeof out->why, "%s", p->why);
    return true;
}

bool partner_is_diverted(struct worker *w, const struct partner_name *name, unsigned *number,
                         unsigned *worker)
{
    const struct partner *p = partner_known(w, name);
    if (p == NULL || !p->diverts)
        return false;
    *number = p->diverted_to;
    *worker = divert_worker(p);
    return true;
}

bool partner_attempt(struct worker *w, const struct partner_name *name, struct s2s_domain_at *out)
{
    const struct partner *p = partner_known(w, name);
    if (p == NULL || p->find == NULL || p->state != ACTOR_LOADING)
        return false;
    uint64_t since_ms = (loop_now_us(partner_loop(p)) - p->since_us) / 1000;
    out->stage = p->out != NULL ? s2s_out_stage(p->out, true) : s2s_find_stage(p->find);
    snprintf(out->why, sizeof out->why, "the stream to it is not ready after %u.%u s%s",
             (unsigned)(since_ms / 1000), (unsigned)(since_ms % 1000 / 100),
             s2s_find_waits(p->find) ? ": it waits for its turn (s2s.connecting)" : "");
    attempt_had_failed(p, out);
    return true;
}

/* What is done to one may make others, or end it: they are looked up by their names. */
int64_t partners_each(struct worker *w, slice domain, partner_each_fn *fn)
{
    struct actors *all = &s2s_worker(s2s_gate_of(w), w)->partners;
    struct actor *a;
    int64_t count = 0;
    uint32_t names = 0;
    slice *name = mem_alloc((all->map.count + 1) * sizeof *name);
    for (uint32_t i = 0; (a = actors_next(all, &i)) != NULL;)
        if (domain.ptr == NULL || slice_eq(partner_remote(partner_of(a)), domain))
            name[names++] = slice_keep(a->jid);
    for (uint32_t i = 0; i < names; i++) {
        if ((a = actors_find(all, name[i])) != NULL)
            count += fn(partner_of(a));
        slice_release(&name[i]);
    }
    mem_free(&name);
    return count;
}

int64_t partners_next_s(struct worker *w, slice domain)
{
    struct actors *all = &s2s_worker(s2s_gate_of(w), w)->partners;
    struct actor *a;
    uint64_t first = 0;
    for (uint32_t i = 0; (a = actors_next(all, &i)) != NULL;) {
        const struct partner *p = partner_of(a);
        uint64_t s = timer_left_ms(worker_loop(w), &p->retry) / 1000 + 1;
        if (p->failures > 0 && timer_is_set(&p->retry) && slice_eq(partner_remote(p), domain))
            first = first == 0 || s < first ? s : first;
    }
    return (int64_t)first;
}

static void partner_pair_found(const struct outgoing_pair *pair)
{
    uint32_t node;
    node_home(worker_node(pair->worker), pair->remote, &node);
    if (!node_shares(worker_node(pair->worker), node))
        log_warn(&log_s2s, LOG_EV("s2s.stranded"), LOG_S("domain", pair->remote),
                 LOG_S("local", pair->local), LOG_I("node", node),
                 LOG_C("hint", "messages that wait in the database of this node are sent when it "
                               "is the home of that domain; that node has another database"));
    home_send(pair->worker, pair->remote, &s2s_pending_message,
              &(struct s2s_pending){ pair->local, pair->remote });
}

void partners_find_pending(struct worker *w)
{
    outgoing_find(&s2s_worker(s2s_gate_of(w), w)->pending, w, partner_pair_found);
}
