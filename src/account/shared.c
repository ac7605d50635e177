#include "account/shared.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/param.h"
#include "core/core.h"

static slice shared_person_key(const void *item)
{
    return ((const struct shared_person *)item)->jid;
}

struct shared *shared_create(uint32_t groups, uint32_t sets)
{
    struct shared *t = mem_new(struct shared);
    ensure(groups <= sets && sets <= SHARED_SETS_MAX);
    t->arena = arena_create(0);
    t->refs = 1;
    t->group_count = groups;
    t->set_count = sets;
    t->groups = arena_new(t->arena, struct shared_group, groups + 1);
    t->sets = arena_new(t->arena, struct shared_list, sets + 1);
    map_init(&t->by_jid, shared_person_key);
    return t;
}

/* Ends with the table: lists grow by doubling, each in memory of its own. */
static void shared_list_add(struct shared_list *l, uint32_t number)
{
    if (l->count == l->cap) {
        l->cap = l->cap == 0 ? 2 : l->cap * 2;
        l->at = mem_realloc(l->at, l->cap * sizeof *l->at);
    }
    l->at[l->count++] = number;
}

static void list_fit(struct shared_list *l)
{
    if (l->count < l->cap)
        l->at = mem_realloc(l->at, l->count * sizeof *l->at);
    l->cap = l->count;
}

static bool list_ends_in(const struct shared_list *l, uint32_t number)
{
    return l->count > 0 && l->at[l->count - 1] == number;
}

static bool list_has(const struct shared_list *l, uint32_t number)
{
    uint32_t low = 0, high = l->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (l->at[middle] < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < l->count && l->at[low] == number;
}

void shared_group_name(struct shared *t, uint32_t group, slice name, slice shown)
{
    ensure(group < t->group_count);
    t->groups[group].name = slice_dup(t->arena, name);
    t->groups[group].shown = slice_dup(t->arena, shown);
}

void shared_group_show(struct shared *t, uint32_t group, uint32_t set)
{
    ensure(group < t->group_count && set < t->set_count);
    shared_list_add(&t->groups[group].viewers, set);
}

static struct shared_person *person_of(struct shared *t, slice jid, slice name)
{
    struct shared_person *p = map_get(&t->by_jid, jid);
    if (p == NULL) {
        p = arena_new(t->arena, struct shared_person, 1);
        p->jid = slice_dup(t->arena, jid);
        p->number = t->people_count;
        map_put(&t->by_jid, p);
        if (t->people_count == t->people_cap) {
            t->people_cap = t->people_cap == 0 ? 16 : t->people_cap * 2;
            t->people = mem_realloc(t->people, t->people_cap * sizeof(struct shared_person *));
        }
        t->people[t->people_count++] = p;
    }
    if (p->name.len == 0 && name.len > 0)
        p->name = slice_dup(t->arena, name);
    return p;
}

void shared_put(struct shared *t, uint32_t set, slice jid, slice name)
{
    struct shared_person *p = person_of(t, jid, name);
    ensure(set < t->set_count);
    ensure(p->sets.count == 0 || p->sets.at[p->sets.count - 1] <= set);
    if (list_ends_in(&p->sets, set))
        return;
    shared_list_add(&p->sets, set);
    shared_list_add(&t->sets[set], p->number);
}

/* For all nodes and runs. Nobody gains by a collision but to keep an old list. */
static uint64_t hash_more(uint64_t hash, slice bytes)
{
    return hash_with(&(struct hash_key){ hash, 0x67726f757073 }, bytes);
}

static uint64_t hash_set(const struct shared *t, uint32_t set, uint64_t hash)
{
    const struct shared_list *l = &t->sets[set];
    for (uint32_t i = 0; i < l->count; i++) {
        hash = hash_more(hash, t->people[l->at[i]]->jid);
        hash = hash_more(hash, t->people[l->at[i]]->name);
    }
    return hash;
}

static void seal_group(struct shared *t, uint32_t number)
{
    struct shared_group *g = &t->groups[number];
    g->hash = hash_set(t, number, hash_more(1, g->shown));
    g->viewers_hash = 1;
    for (uint32_t i = 0; i < g->viewers.count; i++) {
        const struct shared_list *set = &t->sets[g->viewers.at[i]];
        g->viewers_hash = hash_set(t, g->viewers.at[i], g->viewers_hash);
        for (uint32_t k = 0; k < set->count; k++) {
            struct shared_list *sees = &t->people[set->at[k]]->sees;
            if (!list_ends_in(sees, number))
                shared_list_add(sees, number);
        }
    }
}

static slice shared_group_key(const void *item)
{
    return ((const struct shared_group *)item)->shown;
}

static void find_alike(struct shared *t)
{
    struct map by_shown;
    map_init(&by_shown, shared_group_key);
    for (uint32_t i = 0; i < t->group_count; i++) {
        const struct shared_group *last = map_del(&by_shown, t->groups[i].shown);
        ensure(last == NULL || last < &t->groups[i]); /* shown_before() ends */
        t->groups[i].alike = last == NULL ? UINT32_MAX : (uint32_t)(last - t->groups);
        map_put(&by_shown, &t->groups[i]);
    }
    map_fini(&by_shown);
}

void shared_seal(struct shared *t)
{
    find_alike(t);
    for (uint32_t i = 0; i < t->group_count; i++)
        seal_group(t, i);
    for (uint32_t i = 0; i < t->set_count; i++)
        list_fit(&t->sets[i]);
    for (uint32_t i = 0; i < t->people_count; i++) {
        list_fit(&t->people[i]->sets);
        list_fit(&t->people[i]->sees);
    }
}

struct shared *shared_ref(struct shared *t)
{
    if (t != NULL)
        atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

static void shared_free(struct shared *t)
{
    for (uint32_t i = 0; i < t->people_count; i++) {
        mem_free(&t->people[i]->sets.at);
        mem_free(&t->people[i]->sees.at);
    }
    for (uint32_t i = 0; i < t->set_count; i++)
        mem_free(&t->sets[i].at);
    for (uint32_t i = 0; i < t->group_count; i++)
        mem_free(&t->groups[i].viewers.at);
    mem_free(&t->people);
    map_fini(&t->by_jid);
    arena_destroy(&t->arena);
    mem_free(&t);
}

void shared_unref(struct shared **t)
{
    struct shared *was = *t;
    *t = NULL;
    if (was != NULL && atomic_fetch_sub_explicit(&was->refs, 1, memory_order_acq_rel) == 1)
        shared_free(was);
}

/* Reading. */

const struct shared_person *shared_find(const struct shared *t, slice jid)
{
    return t == NULL ? NULL : map_get(&t->by_jid, jid);
}

const struct shared_person *shared_here(const struct shared *t, slice jid)
{
    const struct shared_person *p = shared_find(t, jid);
    return p == NULL || p->gone ? NULL : p;
}

bool shared_is_name(slice text)
{
    return text.len <= SHARED_GROUP_BYTES_MAX && param_is_name(text);
}

bool shared_has_group(const struct shared *t, slice group)
{
    for (uint32_t i = 0; t != NULL && i < t->group_count; i++)
        if (slice_eq(t->groups[i].name, group))
            return true;
    return false;
}

/* Sets beyond the groups say who sees them. */
bool shared_is_in(const struct shared *t, const struct shared_person *p, slice group)
{
    for (uint32_t i = 0; i < p->sets.count && p->sets.at[i] < t->group_count; i++)
        if (slice_eq(t->groups[p->sets.at[i]].name, group))
            return true;
    return false;
}

/* A list has each name once (RFC 6121 §2.3.3). A search ends at the last such group before this
 * one, so all searches of a contact together go through the groups once. */
static bool shown_before(const struct shared *t, const struct shared_person *viewer,
                         const struct shared_person *member, uint32_t group)
{
    while ((group = t->groups[group].alike) != UINT32_MAX)
        if (list_has(&member->sets, group) && list_has(&viewer->sees, group))
            return true;
    return false;
}

bool shared_by_next(const struct shared *t, const struct shared_person *viewer,
                    const struct shared_person *member, struct shared_by *by, slice *shown)
{
    while (by->at < member->sets.count && member->sets.at[by->at] < t->group_count) {
        uint32_t group = member->sets.at[by->at++];
        while (by->sees < viewer->sees.count && viewer->sees.at[by->sees] < group)
            by->sees++;
        if (by->sees < viewer->sees.count && viewer->sees.at[by->sees] == group &&
            !shown_before(t, viewer, member, group)) {
            *shown = t->groups[group].shown;
            return true;
        }
    }
    return false;
}

bool shared_sees(const struct shared *t, slice viewer, slice member)
{
    const struct shared_person *v = shared_here(t, viewer), *m = shared_here(t, member);
    return v != NULL && m != NULL && v != m &&
           shared_by_next(t, v, m, &(struct shared_by){ 0 }, &(slice){ 0 });
}

bool shared_gone(struct shared *t, slice jid)
{
    struct shared_person *p = t == NULL ? NULL : map_get(&t->by_jid, jid);
    if (p == NULL || atomic_exchange(&p->gone, true))
        return false;
    atomic_fetch_add(&t->gone, 1);
    return true;
}

bool shared_has_gone(const struct shared *t)
{
    ensure(t == NULL || t->gone <= t->people_count); /* each is marked once */
    return t != NULL && t->gone > 0;
}

/* Whether p sees one of the first groups that `of` is in, or is in one of the first sets that may
 * see the next one: then it was there before. */
static bool was_viewer(const struct shared *t, const struct shared_person *of,
                       const struct shared_at *at, const struct shared_person *p)
{
    for (uint32_t i = 0; i < at->group; i++)
        if (list_has(&p->sees, of->sets.at[i]))
            return true;
    const struct shared_list *viewers = &t->groups[of->sets.at[at->group]].viewers;
    for (uint32_t i = 0; i < at->set; i++)
        if (list_has(&p->sets, viewers->at[i]))
            return true;
    return false;
}

/* The next person of a set, once. */
static const struct shared_person *viewer_in(const struct shared *t, const struct shared_person *of,
                                             const struct shared_list *set, struct shared_at *at)
{
    while (at->person < set->count) {
        const struct shared_person *p = t->people[set->at[at->person++]];
        if (p != of && !was_viewer(t, of, at, p))
            return p;
    }
    return NULL;
}

const struct shared_person *shared_viewer_next(const struct shared *t,
                                               const struct shared_person *of, struct shared_at *at)
{
    const struct shared_person *p;
    for (; at->group < of->sets.count && of->sets.at[at->group] < t->group_count;
         at->group++, at->set = 0) {
        const struct shared_list *viewers = &t->groups[of->sets.at[at->group]].viewers;
        for (; at->set < viewers->count; at->set++, at->person = 0)
            if ((p = viewer_in(t, of, &t->sets[viewers->at[at->set]], at)) != NULL)
                return p;
    }
    return NULL;
}

static bool was_member(const struct shared_person *of, uint32_t groups,
                       const struct shared_person *p)
{
    for (uint32_t i = 0; i < groups; i++)
        if (list_has(&p->sets, of->sees.at[i]))
            return true;
    return false;
}

const struct shared_person *shared_member_next(const struct shared *t,
                                               const struct shared_person *of, struct shared_at *at)
{
    for (; at->group < of->sees.count; at->group++, at->person = 0) {
        const struct shared_list *set = &t->sets[of->sees.at[at->group]];
        while (at->person < set->count) {
            const struct shared_person *p = t->people[set->at[at->person++]];
            if (p != of && !was_member(of, at->group, p))
                return p;
        }
    }
    return NULL;
}

uint64_t shared_hash(const struct shared *t, slice jid)
{
    const struct shared_person *p = shared_find(t, jid);
    uint64_t hash = 0;
    for (uint32_t i = 0; p != NULL && i < p->sees.count; i++)
        hash = hash_more(
            hash, (slice){ (const char *)&t->groups[p->sees.at[i]].hash, sizeof t->groups->hash });
    /* Whether a contact sees the account is in the list, too, also of one that the user added. */
    for (uint32_t i = 0; p != NULL && i < p->sets.count && p->sets.at[i] < t->group_count; i++)
        hash = hash_more(hash, (slice){ (const char *)&t->groups[p->sets.at[i]].viewers_hash,
                                        sizeof t->groups->viewers_hash });
    return hash;
}

const struct shared *shared_of(const struct account *a)
{
    const struct core *core = a->worker == NULL ? NULL : core_of(a->worker);
    return core == NULL ? NULL : core->shared.now;
}
