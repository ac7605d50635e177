#include "gate/s2s/s2s_home.h"
#include "base/ensure.h"
#include "base/log.h"
#include "gate/s2s/find/s2s_find.h"
#include "gate/s2s/peer/s2s_peer.h"
#include "gate/s2s/s2s_domains.h"
#include "gate/s2s/s2s_rows.h"
#include "home/router.h"
#include "home/slots.h"
#include "remote/remote_domains.h"

bool s2s_is_ended(const struct worker *w)
{
    struct s2s_gate *g = s2s_gate_of(w);
    return g == NULL || s2s_worker(g, w)->out.stopped;
}

static void foreign_run(struct worker *w, void *message, const struct message_from *from)
{
    struct s2s_foreign *m = message;
    const struct outgoing_id id = { .sender = m->sender,
                                    .entry = m->entry,
                                    .slot = (uint16_t)node_slot(stanza_from_bare(m->st)),
                                    .unshown = m->unshown };
    (void)from;
    if (!s2s_is_ended(w)) {
        s2s_peer_take(w, m->st, &id);
        m->st = NULL;
    } else if (id.entry == 0) { /* else it is sent after the next start */
        s2s_dropped(m->st, S2S_DROP_UNREACHABLE);
        route_error(w, m->st, SE_REMOTE_SERVER_TIMEOUT, SLICE("this server is being stopped"));
    }
}

static bool foreign_is_sound(struct worker *w, const void *message, const struct message_from *from)
{
    const struct s2s_foreign *m = message;
    (void)w, (void)from;
    return m->st->to_len > 0 && m->st->from_len > 0 && (m->entry == 0 || m->sender > 0) &&
           m->entry < INT64_MAX;
}

static const struct message_field foreign_fields[] = {
    F_STANZA(struct s2s_foreign, st),
    F_U64(struct s2s_foreign, entry),
    F_I64(struct s2s_foreign, sender),
    F_BOOL(struct s2s_foreign, unshown),
    { 0 },
};
const struct message_row s2s_foreign_message = {
    .id = 67,
    .scope = MESSAGE_CLUSTER,
    .name = "foreign",
    .size = sizeof(struct s2s_foreign),
    .fields = foreign_fields,
    .run = foreign_run,
    .sound = foreign_is_sound,
};

static void foreign_news_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct s2s_news *m = message;
    (void)from;
    if (s2s_is_ended(w))
        return;
    if (m->kind == NEWS_ROWS) { /* also where our domain is served no more: they end there, too */
        s2s_peer_has_rows(w, m->local, m->remote);
        return;
    }
    struct s2s_peer *p = s2s_peer_find(w, m->local, m->remote, false);
    if (m->kind == NEWS_RETRY)
        s2s_find_forget(s2s_gate_of(w), w, m->remote);
    else
        remote_domain_seen(w, m->remote, DOMAIN_UP);
    if (p != NULL && m->kind == NEWS_RETRY)
        (void)s2s_peer_try_again(p);
    else if (p != NULL)
        s2s_peer_event(p, PEER_THERE);
}

static bool news_is_sound(struct worker *w, const void *message, const struct message_from *from)
{
    const struct s2s_news *m = message;
    (void)w, (void)from;
    return s2s_pair_is_sound(m->local, m->remote);
}

static const struct message_field news_fields[] = {
    F_BARE(struct s2s_news, local),
    F_BARE(struct s2s_news, remote),
    F_U8(struct s2s_news, kind, NEWS_RETRY),
    { 0 },
};
const struct message_row s2s_news_message = {
    .id = 102,
    .scope = MESSAGE_CLUSTER,
    .name = "foreign-news",
    .size = sizeof(struct s2s_news),
    .fields = news_fields,
    .run = foreign_news_run,
    .sound = news_is_sound,
};

void s2s_news(struct worker *w, slice local, slice remote, enum s2s_news_kind kind)
{
    ensure(local.len > 0 && remote.len > 0);
    home_send(w, remote, &s2s_news_message, &(struct s2s_news){ local, remote, (uint8_t)kind });
}

void s2s_retry(struct worker *w, slice local, slice remote)
{
    s2s_news(w, local, remote, NEWS_RETRY);
}

static void rows_found(const struct outgoing_pair *pair)
{
    uint32_t node;
    node_home(worker_node(pair->worker), pair->remote, &node);
    if (!node_shares(worker_node(pair->worker), node))
        log_warn(&log_s2s, LOG_EV("s2s.stranded"), LOG_S("domain", pair->remote),
                 LOG_S("local", pair->local), LOG_I("node", node),
                 LOG_C("hint", "messages that wait in the database of this node are sent when it "
                               "is the home of that domain; that node has another database"));
    s2s_news(pair->worker, pair->local, pair->remote, NEWS_ROWS);
}

void s2s_find_rows(struct worker *w)
{
    outgoing_find(&s2s_worker(s2s_gate_of(w), w)->pending, w, rows_found);
}
