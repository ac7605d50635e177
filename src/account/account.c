#include "account/account.h"
#include "account/guest.h"
#include "auth/credentials.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/core.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/node.h"
#include "home/question.h"
#include "presence/presence.h"

struct node *account_node(const struct account *a) { return worker_node(a->worker); }

bool account_is_served(const struct account *a)
{
    slice domain = jid_split(a->jid).domain;
    ensure(domain.len > 0);
    return node_serves(account_node(a), domain);
}

void account_forget(struct worker *w, slice bare)
{
    struct actor *a = actors_find(&core_of(w)->accounts, bare);
    if (a != NULL && a->state == ACTOR_ABSENT && a->pins == 0 && !account_of(a)->disabled)
        actor_unload(a);
    else if (a != NULL)
        a->unsure = true; /* the look-up under way may have come too early */
}

/* id_told: as authenticated; 0: it is to be looked up. */
struct account *account_make(struct worker *w, slice bare, int64_t id_told)
{
    unsigned slots = FEATURES_COUNT(account.slot);
    ensure(bare.len > 0 && memchr(bare.ptr, '/', bare.len) == NULL);
    struct account *a = mem_zalloc(sizeof *a + slots * sizeof a->state_of[0] + bare.len);
    char *text = (char *)(a->state_of + slots);
    memcpy(text, bare.ptr, bare.len);
    list_init(&a->sessions);
    actor_init(&a->actor, &core_of(w)->accounts, (slice){ text, bare.len });
    a->id = id_told;
    a->id_told = a->actor.unsure = id_told != 0;
    actor_load(&a->actor);
    return a;
}

struct account *account_seek(const struct worker *w, slice bare)
{
    struct actor *a = actors_find(&core_of(w)->accounts, bare);
    return a == NULL ? NULL : account_of(a);
}

static void with(struct worker *w, slice bare, int64_t id_told, account_fn *fn, void *arg)
{
    struct account *a = account_seek(w, bare);
    if (a == NULL)
        a = account_make(w, bare, id_told);
    else if (id_told != 0 && a->state == ACTOR_ABSENT)
        a->actor.unsure = true; /* created since we looked */
    actor_renew(&a->actor);
    if (!actor_waits(&a->actor))
        fn(a, OK, arg);
    else if (!actor_wait(&a->actor, &(struct actor_item){ .fn = (actor_any_fn *)fn, .arg = arg }))
        fn(a, E_LIMIT, arg);
}

void account_with(struct worker *w, slice bare, account_fn *fn, void *arg)
{
    with(w, bare, 0, fn, arg);
}

void account_with_id(struct worker *w, slice bare, int64_t id, account_fn *fn, void *arg)
{
    with(w, bare, id, fn, arg);
}

struct account *account_find(const struct worker *w, slice bare)
{
    struct account *a = account_seek(w, bare);
    return a != NULL && a->state == ACTOR_READY ? a : NULL;
}

bool account_is_disabled(const struct worker *w, slice bare)
{
    const struct account *a = account_seek(w, bare);
    return a != NULL && a->disabled;
}

struct account *accounts_next(const struct worker *w, uint32_t *i)
{
    struct actor *a = actors_next(&core_of(w)->accounts, i);
    return a == NULL ? NULL : account_of(a);
}

uint32_t accounts_count(const struct worker *w) { return core_of(w)->accounts.map.count; }

struct visit {
    accounts_fn *fn;
    slice arg; /* behind it */
};

static void visit_loaded(struct account *a, enum err e, void *arg)
{
    struct visit *v = arg;
    if (e == OK && a->state == ACTOR_READY)
        v->fn(a, v->arg);
    mem_free(&v);
}

static void visit_later(struct account *a, accounts_fn *fn, slice arg)
{
    struct visit *v = mem_alloc(sizeof *v + arg.len);
    char *at = (char *)(v + 1);
    *v = (struct visit){ fn, slice_lay(&at, arg) };
    account_with(a->worker, a->jid, visit_loaded, v);
}

void accounts_each(struct worker *w, accounts_fn *fn, slice arg)
{
    struct account *a;
    for (uint32_t i = 0; (a = accounts_next(w, &i)) != NULL;) {
        if (actor_waits(&a->actor))
            visit_later(a, fn, arg);
        else if (a->state == ACTOR_READY)
            fn(a, arg);
    }
}

static enum err change_denied(struct actor_change *base)
{
    (void)base;
    return E_DENIED;
}

void account_change(struct account *a, struct actor_change *base)
{
    if (account_is_guest(a))
        base->prepare = change_denied;
    actor_change(&a->actor, base);
}

/* Sessions of an account. */

struct session *account_session(const struct account *a, slice resource)
{
    LIST_EACH (it, &a->sessions) {
        struct session *s = CONTAINER_OF(it, struct session, node);
        if (slice_eq(session_resource(s), resource))
            return s;
    }
    return NULL;
}

unsigned account_sessions(const struct account *a)
{
    unsigned n = 0;
    SESSIONS_EACH (s, a)
        n++;
    return n;
}

unsigned account_available(const struct account *a)
{
    unsigned n = 0;
    LIST_EACH (it, &a->sessions)
        n += CONTAINER_OF(it, struct session, node)->available;
    return n;
}

unsigned account_receivers(const struct account *a)
{
    unsigned n = 0;
    LIST_EACH (it, &a->sessions) {
        const struct session *s = CONTAINER_OF(it, struct session, node);
        n += s->available && s->priority >= 0;
    }
    return n;
}

bool account_stays(const struct account *a)
{
    return a->state == ACTOR_READY && !a->removing && !a->admitted;
}
