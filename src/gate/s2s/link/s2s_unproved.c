#include "gate/s2s/link/s2s_unproved.h"
#include "base/log.h"
#include "base/utf8.h"
#include "gate/s2s/s2s_rows.h"
#include "home/here.h"
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

void s2s_unproved_keep(const struct s2s_unproved_news *news, uint64_t now_us)
{
    if (news->remote.len == 0 || news->remote.len >= S2S_UNPROVED_DOMAIN)
        return;
    pthread_mutex_lock(&unproved.lock);
    struct unproved_place *p = unproved_find(news->remote);
    p = p != NULL ? p : &unproved.place[unproved.next++ % S2S_UNPROVED_MAX];
    *p = (struct unproved_place){ .last.at_us = now_us };
    memcpy(p->domain, news->remote.ptr, news->remote.len);
    unproved_text(p->last.local, sizeof p->last.local, news->local);
    unproved_text(p->last.peer, sizeof p->last.peer, news->peer);
    unproved_text(p->last.why, sizeof p->last.why, news->why);
    p->last.stage = news->stage;
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

void s2s_unproved(struct worker *w, struct s2s_unproved_news *news)
{
    news->why.len = utf8_valid_len(news->why); /* it may have been cut */
    if (news->stage == S2S_AT_CERTIFICATE)
        log_info(&log_s2s, LOG_EV("s2s.unproved"), LOG_S("domain", news->remote),
                 LOG_S("local", news->local), LOG_S("why", news->why), LOG_S("peer", news->peer));
    else
        log_info(&log_s2s, LOG_EV("s2s.not-admitted"), LOG_S("domain", news->remote),
                 LOG_S("local", news->local), LOG_C("stage", s2s_stage_name(news->stage)),
                 LOG_S("why", news->why), LOG_S("peer", news->peer));
    s2s_unproved_keep(news, loop_wall_us(worker_loop(w)));
}
