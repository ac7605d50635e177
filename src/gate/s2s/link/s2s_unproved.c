#include "gate/s2s/link/s2s_unproved.h"
#include "base/log.h"
#include "base/utf8.h"
#include "gate/s2s/s2s_home.h"
#include "gate/s2s/s2s_rows.h"
#include "home/here.h"
#include "home/message.h"
#include "home/node.h"
#include "xmpp/jid.h"
#include <pthread.h>
#include <stdio.h>

/* A place is used while it has a domain. */
static struct {
    pthread_mutex_t lock;
    struct unproved_place {
        char domain[S2S_UNPROVED_DOMAIN];
        struct s2s_unproved last;
    } place[S2S_UNPROVED_MAX];
    unsigned next; /* a ring */
} unproved = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Under the lock. NULL: it has none. */
static struct unproved_place *unproved_find(slice domain)
{
    for (unsigned i = 0; i < S2S_UNPROVED_MAX; i++)
        if (domain.len > 0 && slice_is(domain, unproved.place[i].domain))
            return &unproved.place[i];
    return NULL;
}

static bool unproved_is_old(const struct unproved_place *p, uint64_t now_us)
{
    return now_us > p->last.at_us + S2S_UNPROVED_US;
}

static void unproved_text(char *to, size_t size, slice text)
{
    snprintf(to, size, "%.*s", SLICE_ARG(text));
    to[utf8_valid_len(slice_of(to))] = '\0'; /* it may have been cut */
}

static bool unproved_has_room(slice domain)
{
    return domain.len > 0 && domain.len < S2S_UNPROVED_DOMAIN;
}

void s2s_unproved_keep(const struct s2s_unproved_news *news, uint64_t now_us)
{
    if (!unproved_has_room(news->remote))
        return;
    pthread_mutex_lock(&unproved.lock);
    struct unproved_place *p = unproved_find(news->remote);
    p = p != NULL ? p : &unproved.place[unproved.next++ % S2S_UNPROVED_MAX];
    *p = (struct unproved_place){ .last.at_us = now_us };
    memcpy(p->domain, news->remote.ptr, news->remote.len);
    unproved_text(p->last.local, sizeof p->last.local, news->local);
    unproved_text(p->last.peer, sizeof p->last.peer, news->peer);
    unproved_text(p->last.why, sizeof p->last.why, news->why);
    p->last.stage = news->stage == S2S_AT_NONE ? S2S_AT_CERTIFICATE : (enum s2s_stage)news->stage;
    pthread_mutex_unlock(&unproved.lock);
}

void s2s_unproved_each(uint64_t now_us, s2s_unproved_fn *fn, void *arg)
{
    pthread_mutex_lock(&unproved.lock);
    for (unsigned i = 0; i < S2S_UNPROVED_MAX; i++) {
        const struct unproved_place *p = &unproved.place[i];
        if (p->domain[0] != '\0' && !unproved_is_old(p, now_us))
            fn(slice_of(p->domain), &p->last, arg);
    }
    pthread_mutex_unlock(&unproved.lock);
}

void s2s_unproved_forget(slice domain)
{
    pthread_mutex_lock(&unproved.lock);
    struct unproved_place *p = unproved_find(domain);
    if (p != NULL)
        *p = (struct unproved_place){ .domain = "" };
    pthread_mutex_unlock(&unproved.lock);
}

bool s2s_unproved_of(slice domain, uint64_t now_us, struct s2s_unproved *out)
{
    pthread_mutex_lock(&unproved.lock);
    const struct unproved_place *p = unproved_find(domain);
    bool known = p != NULL && !unproved_is_old(p, now_us);
    if (known)
        *out = p->last;
    pthread_mutex_unlock(&unproved.lock);
    return known;
}

/* To the home. */

bool s2s_unproved_is_at(const struct worker *w, slice domain)
{
    uint32_t node;
    return node_home(worker_node(w), domain, &node) == worker_index(w) &&
           node == worker_node(w)->id;
}

static void unproved_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)from;
    s2s_unproved_keep(message, loop_wall_us(worker_loop(w)));
}

static bool unproved_is_sound(struct worker *w, const void *message,
                              const struct message_from *from)
{
    const struct s2s_unproved_news *m = message;
    (void)w, (void)from;
    return s2s_pair_is_sound(m->local, m->remote);
}

static const struct message_field unproved_fields[] = {
    F_BARE(struct s2s_unproved_news, remote),
    F_BARE(struct s2s_unproved_news, local),
    F_TEXT(struct s2s_unproved_news, peer, S2S_UNPROVED_PEER),
    F_TEXT(struct s2s_unproved_news, why, S2S_UNPROVED_WHY),
    F_U8(struct s2s_unproved_news, stage, S2S_STAGES - 1),
    { 0 },
};
const struct message_row s2s_unproved_message = {
    .id = 174,
    .scope = MESSAGE_CLUSTER,
    .name = "server-unproved",
    .size = sizeof(struct s2s_unproved_news),
    .fields = unproved_fields,
    .run = unproved_run,
    .sound = unproved_is_sound,
};

void s2s_unproved(struct worker *w, struct s2s_unproved_news *news)
{
    news->why.len = utf8_valid_len(news->why); /* it may have been cut */
    if (news->stage == S2S_AT_CERTIFICATE)
        log_info(&log_s2s, LOG_EV("s2s.unproved"), LOG_S("domain", news->remote),
                 LOG_S("local", news->local), LOG_S("why", news->why), LOG_S("peer", news->peer));
    else
        log_info(&log_s2s, LOG_EV("s2s.not-admitted"), LOG_S("domain", news->remote),
                 LOG_S("local", news->local),
                 LOG_C("stage", s2s_stage_name((enum s2s_stage)news->stage)),
                 LOG_S("why", news->why), LOG_S("peer", news->peer));
    if (unproved_has_room(news->remote))
        home_send(w, news->remote, &s2s_unproved_message, news);
}
