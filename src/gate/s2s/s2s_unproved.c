#include "gate/s2s/s2s_unproved.h"
#include "base/clock.h"
#include "base/log.h"
#include "gate/s2s/s2s_rows.h"
#include <pthread.h>
#include <stdio.h>

/* A place is used while it has a domain. */
static struct {
    pthread_mutex_t lock;
    struct unproved_place {
        char domain[S2S_UNPROVED_DOMAIN];
        struct s2s_unproved last;
    } place[S2S_UNPROVED_MAX];
} unproved = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Under the lock. NULL: it has none. */
static struct unproved_place *unproved_find(slice domain)
{
    for (unsigned i = 0; i < S2S_UNPROVED_MAX; i++)
        if (domain.len > 0 && slice_is(domain, unproved.place[i].domain))
            return &unproved.place[i];
    return NULL;
}

/* An unused one has the time 0. */
static struct unproved_place *unproved_oldest(void)
{
    struct unproved_place *oldest = &unproved.place[0];
    for (unsigned i = 1; i < S2S_UNPROVED_MAX; i++)
        if (unproved.place[i].last.at_us < oldest->last.at_us)
            oldest = &unproved.place[i];
    return oldest;
}

void s2s_unproved(slice domain, slice local, const char *peer, const char *why)
{
    log_info(&log_s2s, LOG_EV("s2s.unproved"), LOG_S("domain", domain), LOG_S("local", local),
             LOG_C("why", why), LOG_C("peer", peer));
    if (domain.len == 0 || domain.len >= S2S_UNPROVED_DOMAIN)
        return;
    pthread_mutex_lock(&unproved.lock);
    struct unproved_place *p = unproved_find(domain);
    p = p != NULL ? p : unproved_oldest();
    *p = (struct unproved_place){ .last.at_us = clock_wall_us() };
    memcpy(p->domain, domain.ptr, domain.len);
    snprintf(p->last.local, sizeof p->last.local, "%.*s", SLICE_ARG(local));
    snprintf(p->last.peer, sizeof p->last.peer, "%s", peer);
    snprintf(p->last.why, sizeof p->last.why, "%s", why);
    pthread_mutex_unlock(&unproved.lock);
}

void s2s_unproved_each(s2s_unproved_fn *fn, void *arg)
{
    pthread_mutex_lock(&unproved.lock);
    for (unsigned i = 0; i < S2S_UNPROVED_MAX; i++)
        if (unproved.place[i].domain[0] != '\0')
            fn(slice_of(unproved.place[i].domain), &unproved.place[i].last, arg);
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

bool s2s_unproved_of(slice domain, struct s2s_unproved *out)
{
    pthread_mutex_lock(&unproved.lock);
    const struct unproved_place *p = unproved_find(domain);
    if (p != NULL)
        *out = p->last;
    pthread_mutex_unlock(&unproved.lock);
    return p != NULL;
}
