#include "gate/s2s/s2s_divert.h"
#include "gate/s2s/s2s_connections.h"
#include "gate/s2s/s2s_pairs_up.h"
#include "gate/s2s/s2s_partner_private.h"

enum { QUIET_MS = 5000 };

static slice divert_remote(const struct partner *p) { return (slice){ p->text, p->remote_len }; }
static slice divert_local(const struct partner *p)
{
    return slice_from(partner_pair(p), p->remote_len + 1u);
}

static unsigned divert_worker_of(const struct partner *p, unsigned number)
{
    unsigned workers = worker_node(p->worker)->worker_count;
    unsigned home = (worker_index(p->worker) + S2S_CONNECTIONS_MAX * workers - p->number) % workers;
    return (home + number) % workers;
}

unsigned divert_worker(const struct partner *p) { return divert_worker_of(p, p->diverted_to); }

void divert_tells_others(const struct partner *p)
{
    for (unsigned i = 0; i < p->gate->connections && !partner_asks_only(p); i++)
        if (i != p->number)
            home_send_to(p->worker, 0, divert_worker_of(p, i), &s2s_news_message,
                         &(struct s2s_news){ .local = divert_local(p),
                                             .remote = divert_remote(p),
                                             .kind = NEWS_CAME,
                                             .number = (uint8_t)i });
}

/* Else the other partner would read them from the database, and send them again. */
static void divert_tells_settled(struct partner *p)
{
    for (uint32_t i = 0; i < p->mail.settled_len; i++) {
        const struct outgoing_id *id = &p->mail.settled[i].id;
        home_send_to(p->worker, 0, divert_worker(p), &s2s_settled_message,
                     &(struct s2s_settled){ .local = divert_local(p),
                                            .remote = divert_remote(p),
                                            .entry = id->entry,
                                            .sender = id->sender,
                                            .slot = id->slot,
                                            .unshown = id->unshown,
                                            .number = p->diverted_to });
    }
}

bool divert_begins(struct partner *p)
{
    unsigned to;
    if (!s2s_pair_other_up(p->gate, partner_pair(p), p->number, &to))
        return false;
    p->diverts = true;
    p->diverted_to = (uint8_t)to;
    p->diverted_us = loop_now_us(partner_loop(p));
    log_info(&log_s2s, LOG_EV("s2s.diverted"), LOG_S("domain", divert_remote(p)),
             LOG_S("local", divert_local(p)), LOG_I("connection", p->number),
             LOG_I("to", p->diverted_to), LOG_C("why", p->why));
    timer_set(partner_loop(p), &p->retry, DIVERT_LOOK_MS);
    divert_tells_settled(p);
    return true;
}

void divert_sends(struct partner *p, struct s2s_sent *s)
{
    ensure(p->diverts);
    uint64_t before = s->id.entry == 0 ? s2s_behind_first(&p->behind, s->st) : 0;
    p->diverted_us = loop_now_us(partner_loop(p));
    home_send_to(p->worker, 0, divert_worker(p), &s2s_onward_message,
                 &(struct s2s_onward){ .foreign = { .st = s->st,
                                                    .entry = s->id.entry,
                                                    .sender = s->id.sender,
                                                    .unshown = s->id.unshown },
                                       .shares = p->shares,
                                       .before = before,
                                       .number = p->diverted_to });
    s->st = NULL;
}

void divert_mail(struct partner *p)
{
    ensure(p->diverts);
    home_send_to(p->worker, 0, divert_worker(p), &s2s_news_message,
                 &(struct s2s_news){ .local = divert_local(p),
                                     .remote = divert_remote(p),
                                     .shares = p->shares,
                                     .kind = NEWS_PENDING,
                                     .number = p->diverted_to });
}

bool divert_may_end(const struct partner *p)
{
    uint64_t quiet_us = loop_now_us(partner_loop(p)) - p->diverted_us;
    return quiet_us >= QUIET_MS * 1000ull &&
           !s2s_pair_is_carried(p->gate, partner_pair(p), p->diverted_to);
}

bool divert_takes_over(struct partner *p, uint16_t shares)
{
    if ((p->shares | shares) == p->shares)
        return false;
    p->shares |= shares;
    s2s_pair_carries(p->gate, partner_pair(p), p->number, true);
    return true;
}
