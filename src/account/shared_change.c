#include "account/shared_change.h"
#include "account/account.h"
#include "account/shared.h"
#include "base/ensure.h"
#include "core/core.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/node.h"
#include "home/question.h"
#include "presence/presence.h"
#include "presence/roster.h"
#include "presence/roster_account.h"
#include "presence/roster_view.h"

enum { SHARED_TURN_PEOPLE = 2000 };

static struct shared_state *shared_state_of(struct worker *w) { return &core_of(w)->shared; }

void shared_offer(struct worker *w, struct shared *t)
{
    struct shared_state *s = shared_state_of(node_worker(worker_node(w), 0));
    ensure(t == NULL || t->refs == 1);
    shared_unref(&s->next);
    s->next = t;
    s->offered = true;
}

void shared_begin(struct worker *w)
{
    struct shared_state *s = shared_state_of(w);
    ensure(s->now == NULL && !s->walking);
    s->now = shared_ref(shared_state_of(node_worker(worker_node(w), 0))->next);
}

void shared_fini(struct worker *w)
{
    struct shared_state *s = shared_state_of(w);
    loop_defer_cancel(&s->defer);
    shared_unref(&s->now);
    shared_unref(&s->was);
    shared_unref(&s->next);
}

/* What the list of one says of another by groups: is it the same in both tables? */

static bool is_mutual(const struct shared *t, const struct shared_person *one,
                      const struct shared_person *other)
{
    return shared_by_next(t, other, one, &(struct shared_by){ 0 }, &(slice){ 0 });
}

static bool looks_the_same(const struct shared_state *s, slice owner, slice contact)
{
    const struct shared_person *owned[2] = { shared_here(s->was, owner),
                                             shared_here(s->now, owner) };
    const struct shared_person *known[2] = { shared_here(s->was, contact),
                                             shared_here(s->now, contact) };
    struct shared_by by[2] = { { 0 }, { 0 } };
    slice shown[2];
    if (owned[0] == NULL || owned[1] == NULL || known[0] == NULL || known[1] == NULL ||
        !slice_eq(known[0]->name, known[1]->name) ||
        is_mutual(s->was, owned[0], known[0]) != is_mutual(s->now, owned[1], known[1]))
        return false;
    for (;;) {
        bool more = shared_by_next(s->was, owned[0], known[0], &by[0], &shown[0]);
        if (more != shared_by_next(s->now, owned[1], known[1], &by[1], &shown[1]))
            return false;
        if (!more)
            return true;
        if (!slice_eq(shown[0], shown[1]))
            return false;
    }
}

/* Nothing can be different for the account. Not if somebody was gone: lists of that time are
 * without a person whom both tables may have. */
static bool shared_is_the_same(const struct shared_state *s, slice jid)
{
    return !shared_has_gone(s->was) && shared_hash(s->was, jid) == shared_hash(s->now, jid);
}

/* Pushes: the last one of an account says the version that its list then is, the others one that no
 * list has. So a client that heard only some of them gets all of it later (§2.6.3). */

struct pushing {
    struct account *account;
    slice next; /* ptr NULL: none */
};

static void push_next(struct pushing *p, slice contact)
{
    if (p->next.ptr != NULL)
        roster_push_shared(p->account, p->next);
    p->next = contact;
}

/* A contact that is in the list by the user alone, and sees the account by a group in one of both
 * tables only. */
static bool shared_turns(const struct shared_state *s, const struct account *a,
                         const struct roster_item *i)
{
    slice contact = roster_item_jid(i);
    return (i->flags & ROSTER_LISTED) != 0 && !sub_is_seen(i->state) &&
           !shared_sees(s->was, a->jid, contact) && !shared_sees(s->now, a->jid, contact) &&
           shared_sees(s->was, contact, a->jid) != shared_sees(s->now, contact, a->jid);
}

static uint32_t push_own(struct pushing *p, const struct shared_state *s)
{
    const struct roster *r = p->account->roster;
    uint32_t count = r == NULL ? 0 : r->count;
    ensure(r == NULL || r->seen <= count);
    for (uint32_t i = 0; i < count; i++)
        if (shared_turns(s, p->account, r->items[i]))
            push_next(p, roster_item_jid(r->items[i]));
    return count;
}

static uint32_t push_account(struct shared_state *s, struct account *a)
{
    struct pushing p = { a, { 0 } };
    const struct shared_person *was = shared_here(s->was, a->jid);
    const struct shared_person *now = shared_here(s->now, a->jid), *m;
    uint32_t looked = 0;
    struct shared_at old = { 0 }, new = { 0 };
    if (session_next(a, NULL) == NULL || shared_is_the_same(s, a->jid))
        return 0;
    for (; was != NULL && (m = shared_member_next(s->was, was, &old)) != NULL; looked++)
        if (!shared_sees(s->now, a->jid, m->jid))
            push_next(&p, m->jid);
    for (; now != NULL && (m = shared_member_next(s->now, now, &new)) != NULL; looked++)
        if (!shared_sees(s->was, a->jid, m->jid) || !looks_the_same(s, a->jid, m->jid))
            push_next(&p, m->jid);
    looked += push_own(&p, s);
    s->telling = false;
    push_next(&p, (slice){ 0 });
    s->telling = true;
    return looked;
}

/* Presence. What the account said to whom sees it no longer, it said by the earlier table. */
static void hide_from(struct shared_state *s, struct account *a, slice viewer)
{
    struct shared *now = s->now;
    s->now = s->was;
    presence_look(a, viewer);
    s->now = now;
    presence_hide(a, viewer);
}

static uint32_t show_account(struct shared_state *s, struct account *a)
{
    const struct shared_person *was = shared_here(s->was, a->jid);
    const struct shared_person *now = shared_here(s->now, a->jid), *p;
    struct shared_at lost = { 0 }, won = { 0 }, seen = { 0 };
    uint32_t looked = 0;
    if (session_next(a, NULL) == NULL || shared_is_the_same(s, a->jid))
        return 0;
    for (; was != NULL && (p = shared_viewer_next(s->was, was, &lost)) != NULL; looked++)
        if (!shared_sees(s->now, p->jid, a->jid))
            hide_from(s, a, p->jid);
    for (; now != NULL && (p = shared_viewer_next(s->now, now, &won)) != NULL; looked++)
        if (!shared_sees(s->was, p->jid, a->jid) && !roster_sees_own(a, p->jid, ROSTER_IS_SEEN))
            presence_show(a, p->jid);
    for (; now != NULL && (p = shared_member_next(s->now, now, &seen)) != NULL; looked++)
        if (!shared_sees(s->was, a->jid, p->jid) && !roster_sees_own(a, p->jid, ROSTER_SEES))
            presence_asked(a, p->jid);
    return looked;
}

/* Walking: by the people of both tables, whose numbers stay, not by accounts, which come and go. */

static void walk_end(struct worker *w)
{
    struct shared_state *s = shared_state_of(w);
    s->walking = s->telling = false;
    if (s->step == SHARED_SHOW)
        shared_unref(&s->was);
    question_end(w, &s->from);
}

static const struct shared_person *walk_next(struct shared_state *s)
{
    uint32_t now = s->now == NULL ? 0 : s->now->people_count;
    while (s->was != NULL && s->at >= now && s->at - now < s->was->people_count) {
        const struct shared_person *p = s->was->people[s->at++ - now];
        if (shared_find(s->now, p->jid) == NULL) /* else it had its turn */
            return p;
    }
    return s->at < now ? s->now->people[s->at++] : NULL;
}

static void shared_walk(struct loop_defer *d)
{
    struct shared_state *s = CONTAINER_OF(d, struct shared_state, defer);
    struct worker *w = worker_here();
    const struct shared_person *p = NULL;
    for (uint32_t looked = 0; looked < SHARED_TURN_PEOPLE && (p = walk_next(s)) != NULL; looked++) {
        struct account *a = account_find(w, p->jid);
        if (a != NULL)
            looked += s->step == SHARED_TAKE ? push_account(s, a) : show_account(s, a);
    }
    if (p != NULL)
        loop_defer(worker_loop(w), d);
    else
        walk_end(w);
}

static void shared_take(struct worker *w)
{
    struct shared_state *s = shared_state_of(w);
    shared_unref(&s->was);
    s->was = s->now;
    s->now = shared_ref(shared_state_of(node_worker(worker_node(w), 0))->next);
    s->telling = true;
    EMIT_ONE(policy, regrouped, w);
}

static void shared_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct shared_do *what = message;
    struct shared_state *s = shared_state_of(w);
    if (s->walking) { /* whoever asks has not waited, or was lost: this step is for nobody */
        question_end(w, from);
        return;
    }
    s->walking = true;
    s->step = what->step;
    s->at = 0;
    s->from = *from;
    s->defer.fn = shared_walk;
    if (s->step == SHARED_TAKE)
        shared_take(w);
    loop_defer(worker_loop(w), &s->defer);
}

static const struct message_field shared_fields[] = {
    F_U8(struct shared_do, step, SHARED_SHOW),
    { 0 },
};
const struct message_row shared_message = {
    .id = 170,
    .scope = MESSAGE_CLUSTER,
    .name = "shared",
    .size = sizeof(struct shared_do),
    .fields = shared_fields,
    .run = shared_run,
    .later = true,
};
