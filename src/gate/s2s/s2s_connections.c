#include "gate/s2s/s2s_connections.h"
#include "base/ensure.h"
#include "gate/s2s/s2s_domains.h"
#include "gate/s2s/s2s_drop.h"
#include "gate/s2s/s2s_find.h"
#include "gate/s2s/s2s_partner.h"
#include "gate/s2s/s2s_partner_ends.h"
#include "gate/s2s/s2s_partner_list.h"
#include "gate/s2s/s2s_unproved.h"
#include "home/router.h"
#include "home/slots.h"
#include "im/abroad.h"

_Static_assert(S2S_CONNECTIONS_MAX <= (int)OUTGOING_SHARES_MAX, "each connection has a share");

/* Stanzas. */

/* Takes over its stanza. */
static void foreign_take(struct worker *w, struct s2s_foreign *m, unsigned number)
{
    const struct outgoing_id id = { .sender = m->sender,
                                    .entry = m->entry,
                                    .slot = (uint16_t)node_slot(stanza_from_bare(m->st)),
                                    .unshown = m->unshown };
    struct s2s_gate *g = s2s_gate_of(w);
    ensure(m->st != NULL);
    if (g != NULL && !s2s_worker(g, w)->out.stopped) {
        partner_take(w, m->st, &id, number);
        m->st = NULL;
    } else if (id.entry == 0) { /* else it is sent after the next start */
        s2s_dropped(m->st, S2S_DROP_UNREACHABLE);
        route_error(w, m->st, SE_REMOTE_SERVER_TIMEOUT, SLICE("this server is being stopped"));
    }
}

/* The worker that has connection `number` of pairs whose home is here. */
static unsigned worker_of_number(const struct worker *w, unsigned number)
{
    return (worker_index(w) + number) % worker_node(w)->worker_count;
}

unsigned s2s_connection_of(const struct worker *w, slice from, slice to, unsigned *worker)
{
    const struct s2s_gate *g = s2s_gate_of(w);
    unsigned number = g == NULL ? 0 : outgoing_share_between(from, to, g->connections);
    *worker = worker_of_number(w, number);
    return number;
}

#ifdef MUSTER_DEBUG
/* Elsewhere a second partner of the same pair would begin, and order would be lost. */
static bool foreign_is_at_home(const struct worker *w, const struct stanza *st)
{
    uint32_t node;
    unsigned worker = node_home(worker_node(w), jid_split(stanza_to(st)).domain, &node);
    return slots_are_moving(w) || (node == worker_node(w)->id && worker == worker_index(w));
}
#endif

static void foreign_run(struct worker *w, void *message, const struct message_from *from)
{
    struct s2s_foreign *m = message;
    ensure_debug(from->node != worker_node(w)->id || foreign_is_at_home(w, m->st));
    unsigned worker;
    unsigned number = s2s_connection_of(w, stanza_from_bare(m->st), stanza_to_bare(m->st), &worker);
    (void)from;
    if (number == 0) {
        foreign_take(w, m, 0);
        return;
    }
    struct s2s_onward onward = { .foreign = *m, .number = (uint8_t)number };
    m->st = NULL;
    home_send_to(w, 0, worker, &s2s_onward_message, &onward);
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

bool s2s_is_ended(const struct worker *w)
{
    struct s2s_gate *g = s2s_gate_of(w);
    return g == NULL || s2s_worker(g, w)->out.stopped;
}

/* Of another connection, which carries its shares no more. */
static void onward_take(struct worker *w, struct s2s_onward *m)
{
    const struct partner_name name = { jid_split(stanza_from(m->foreign.st)).domain,
                                       jid_split(stanza_to(m->foreign.st)).domain, m->number };
    struct stanza *st = m->foreign.st;
    struct partner *p = partner_find(w, &name, true);
    partner_pin(p);
    partner_takes_over(p, (uint16_t)m->shares);
    stanza_ref(st);
    foreign_take(w, &m->foreign, m->number);
    if (m->before != 0)
        partner_is_followed(p, st, m->before);
    stanza_unref(&st);
    partner_unpin(p);
}

static void onward_run(struct worker *w, void *message, const struct message_from *from)
{
    struct s2s_onward *m = message;
    (void)from;
    if (m->shares != 0 && !s2s_is_ended(w))
        onward_take(w, m);
    else
        foreign_take(w, &m->foreign, m->number);
}

static const struct message_field onward_fields[] = {
    F_STANZA(struct s2s_onward, foreign.st),
    F_U64(struct s2s_onward, foreign.entry),
    F_I64(struct s2s_onward, foreign.sender),
    F_BOOL(struct s2s_onward, foreign.unshown),
    F_U32(struct s2s_onward, shares, UINT16_MAX),
    F_U8(struct s2s_onward, number, S2S_CONNECTIONS_MAX - 1),
    F_U64(struct s2s_onward, before),
    { 0 },
};
const struct message_row s2s_onward_message = {
    .id = 134,
    .scope = MESSAGE_PROCESS,
    .name = "foreign-onward",
    .size = sizeof(struct s2s_onward),
    .fields = onward_fields,
    .run = onward_run,
};

static void pair_settled_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct s2s_settled *m = message;
    (void)from;
    if (s2s_is_ended(w))
        return;
    struct partner *p =
        partner_find(w, &(struct partner_name){ m->local, m->remote, m->number }, true);
    partner_has_settled(p, &(struct outgoing_id){ .sender = m->sender,
                                                  .entry = m->entry,
                                                  .slot = (uint16_t)m->slot,
                                                  .unshown = m->unshown });
}

static const struct message_field pair_settled_fields[] = {
    F_BARE(struct s2s_settled, local),
    F_BARE(struct s2s_settled, remote),
    F_U64(struct s2s_settled, entry),
    F_I64(struct s2s_settled, sender),
    F_U32(struct s2s_settled, slot, UINT16_MAX),
    F_BOOL(struct s2s_settled, unshown),
    F_U8(struct s2s_settled, number, S2S_CONNECTIONS_MAX - 1),
    { 0 },
};
const struct message_row s2s_settled_message = {
    .id = 177,
    .scope = MESSAGE_PROCESS,
    .name = "foreign-settled",
    .size = sizeof(struct s2s_settled),
    .fields = pair_settled_fields,
    .run = pair_settled_run,
};

/* Answers. */

/* Of one domain to the other: perhaps to a ping, which each connection has its own of. */
static bool answered_is_of_domains(const struct s2s_answer *m)
{
    return !m->message && slice_eq(jid_split(m->ours).domain, m->ours) &&
           slice_eq(jid_split(m->theirs).domain, m->theirs);
}

static void answered_onward(struct worker *w, const struct s2s_answer *m, unsigned number)
{
    struct s2s_answer onward = *m;
    onward.onward = true;
    onward.number = (uint8_t)number;
    home_send_to(w, 0, worker_of_number(w, number), &s2s_answered_message, &onward);
}

static void answered_take(struct worker *w, const struct s2s_answer *m)
{
    const struct partner_name name = { jid_split(m->ours).domain, jid_split(m->theirs).domain,
                                       m->number };
    struct partner *p = s2s_is_ended(w) ? NULL : partner_find(w, &name, false);
    if (p != NULL)
        partner_has_answer(p, m);
}

static void answered_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct s2s_answer *m = message;
    const struct s2s_gate *g = s2s_gate_of(w);
    unsigned worker = worker_index(w), number = m->number;
    (void)from;
    if (!m->onward && !answered_is_of_domains(m))
        number = s2s_connection_of(w, jid_bare_of(m->ours), jid_bare_of(m->theirs), &worker);
    else if (!m->onward && g != NULL)
        for (unsigned other = 1; other < g->connections; other++)
            answered_onward(w, m, other);
    if (m->onward || number == 0)
        answered_take(w, m);
    else
        answered_onward(w, m, number);
}

static const struct message_field answered_fields[] = {
    F_JID(struct s2s_answer, ours),
    F_JID(struct s2s_answer, theirs),
    F_BYTES(struct s2s_answer, id, ANSWER_ID_MAX),
    F_BOOL(struct s2s_answer, onward),
    F_U8(struct s2s_answer, number, S2S_CONNECTIONS_MAX - 1),
    F_BOOL(struct s2s_answer, message),
    { 0 },
};
const struct message_row s2s_answered_message = {
    .id = 178,
    .scope = MESSAGE_CLUSTER,
    .name = "foreign-answered",
    .size = sizeof(struct s2s_answer),
    .fields = answered_fields,
    .run = answered_run,
};

/* News of a pair. */

static void pair_news_take(struct worker *w, const struct s2s_news *m)
{
    struct partner *p = partner_find(w, &(struct partner_name){ m->local, m->remote, m->number },
                                     m->kind == NEWS_PENDING);
    if (m->kind == NEWS_PENDING) {
        partner_takes_over(p, (uint16_t)m->shares);
        partner_has_mail(p, (uint16_t)m->shares);
        return;
    }
    if (m->kind == NEWS_RETRY)
        s2s_find_forget(s2s_gate_of(w), w, m->remote);
    if (p != NULL && m->kind == NEWS_RETRY)
        (void)partner_try_again(p);
    else if (p != NULL)
        partner_came(p);
}

static void pair_news_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)from;
    if (!s2s_is_ended(w))
        pair_news_take(w, message);
}

static const struct message_field pair_news_fields[] = {
    F_BARE(struct s2s_news, local),
    F_BARE(struct s2s_news, remote),
    F_U32(struct s2s_news, shares, UINT16_MAX),
    F_U8(struct s2s_news, kind, NEWS_RETRY),
    F_U8(struct s2s_news, number, S2S_CONNECTIONS_MAX - 1),
    { 0 },
};
const struct message_row s2s_news_message = {
    .id = 135,
    .scope = MESSAGE_PROCESS,
    .name = "foreign-news",
    .size = sizeof(struct s2s_news),
    .fields = pair_news_fields,
    .run = pair_news_run,
};

/* To all connections of the pair. */
static void pair_news_tell(struct worker *w, slice local, slice remote, enum s2s_news_kind kind)
{
    unsigned connections = s2s_gate_of(w)->connections;
    for (unsigned i = 0; i < connections; i++)
        home_send_to(
            w, 0, worker_of_number(w, i), &s2s_news_message,
            &(struct s2s_news){
                .local = local, .remote = remote, .kind = (uint8_t)kind, .number = (uint8_t)i });
}

static void foreign_pending_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct s2s_pending *m = message;
    (void)from;
    if (!s2s_is_ended(w)) /* also where our domain is served no more: they end there, too */
        pair_news_tell(w, m->local, m->remote, NEWS_PENDING);
}

static bool foreign_pending_is_sound(struct worker *w, const void *message,
                                     const struct message_from *from)
{
    const struct s2s_pending *m = message;
    (void)w, (void)from;
    return s2s_pair_is_sound(m->local, m->remote);
}

static const struct message_field foreign_pending_fields[] = {
    F_BARE(struct s2s_pending, local),
    F_BARE(struct s2s_pending, remote),
    { 0 },
};
const struct message_row s2s_pending_message = {
    .id = 102,
    .scope = MESSAGE_CLUSTER,
    .name = "foreign-pending",
    .size = sizeof(struct s2s_pending),
    .fields = foreign_pending_fields,
    .run = foreign_pending_run,
    .sound = foreign_pending_is_sound,
};

static void came_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct s2s_came *m = message;
    (void)from;
    s2s_unproved_forget(m->remote);
    if (s2s_is_ended(w))
        return;
    pair_news_tell(w, m->local, m->remote, NEWS_CAME);
    abroad_seen(w, m->remote, ABROAD_UP);
}

static bool came_is_sound(struct worker *w, const void *message, const struct message_from *from)
{
    const struct s2s_came *m = message;
    (void)w, (void)from;
    return s2s_pair_is_sound(m->local, m->remote);
}

static const struct message_field came_fields[] = {
    F_BARE(struct s2s_came, local),
    F_BARE(struct s2s_came, remote),
    { 0 },
};
const struct message_row s2s_came_message = {
    .id = 129,
    .scope = MESSAGE_CLUSTER,
    .name = "server-came",
    .size = sizeof(struct s2s_came),
    .fields = came_fields,
    .run = came_run,
    .sound = came_is_sound,
};

static void retry_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct s2s_retry *m = message;
    (void)from;
    s2s_domain_stage_forget(worker_node(w)->id, m->remote, m->local);
    if (!s2s_is_ended(w))
        pair_news_tell(w, m->local, m->remote, NEWS_RETRY);
}

static bool retry_is_sound(struct worker *w, const void *message, const struct message_from *from)
{
    const struct s2s_retry *m = message;
    (void)w, (void)from;
    return s2s_pair_is_sound(m->local, m->remote);
}

static const struct message_field retry_fields[] = {
    F_BARE(struct s2s_retry, local),
    F_BARE(struct s2s_retry, remote),
    { 0 },
};
const struct message_row s2s_retry_message = {
    .id = 173,
    .scope = MESSAGE_CLUSTER,
    .name = "server-retry",
    .size = sizeof(struct s2s_retry),
    .fields = retry_fields,
    .run = retry_run,
    .sound = retry_is_sound,
};

void s2s_retry(struct worker *w, slice local, slice remote)
{
    ensure(local.len > 0 && remote.len > 0);
    home_send(w, remote, &s2s_retry_message, &(struct s2s_retry){ local, remote });
}
