#include "presence/roster_view.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "codec/xml_write.h"
#include "core/core.h"
#include "presence/roster.h"
#include <stdio.h>

bool roster_sees_own(const struct account *a, slice contact, enum roster_sight sight)
{
    const struct roster_item *i = roster_find(a->roster, contact);
    return i != NULL && (sight == ROSTER_SEES ? sub_sees(i->state) : sub_is_seen(i->state));
}

bool roster_sees(const struct account *a, slice contact)
{
    return roster_sees_own(a, contact, ROSTER_SEES) || shared_sees(shared_of(a), a->jid, contact);
}

bool roster_is_seen(const struct account *a, slice contact)
{
    return roster_sees_own(a, contact, ROSTER_IS_SEEN) ||
           shared_sees(shared_of(a), contact, a->jid);
}

bool roster_is_shared(const struct account *a, slice contact)
{
    return shared_sees(shared_of(a), a->jid, contact);
}

bool roster_is_listed(const struct account *a, slice contact)
{
    const struct roster_item *i = roster_find(a->roster, contact);
    return i != NULL && (i->flags & ROSTER_LISTED) != 0;
}

bool roster_is_contact(const struct account *a, slice contact)
{
    return roster_is_listed(a, contact) || roster_is_shared(a, contact);
}

/* A group gives a direction; what is asked for in the other one stays open. */
static enum sub_state with_to(enum sub_state state)
{
    static const enum sub_state to[SUB_STATE_COUNT] = {
        [SUB_NONE] = SUB_TO,
        [SUB_NONE_PENDING_OUT] = SUB_TO,
        [SUB_NONE_PENDING_IN] = SUB_TO_PENDING_IN,
        [SUB_NONE_PENDING_OUT_IN] = SUB_TO_PENDING_IN,
        [SUB_TO] = SUB_TO,
        [SUB_TO_PENDING_IN] = SUB_TO_PENDING_IN,
        [SUB_FROM] = SUB_BOTH,
        [SUB_FROM_PENDING_OUT] = SUB_BOTH,
        [SUB_BOTH] = SUB_BOTH,
    };
    return to[state];
}

static enum sub_state with_from(enum sub_state state)
{
    static const enum sub_state from[SUB_STATE_COUNT] = {
        [SUB_NONE] = SUB_FROM,
        [SUB_NONE_PENDING_OUT] = SUB_FROM_PENDING_OUT,
        [SUB_NONE_PENDING_IN] = SUB_FROM,
        [SUB_NONE_PENDING_OUT_IN] = SUB_FROM_PENDING_OUT,
        [SUB_TO] = SUB_BOTH,
        [SUB_TO_PENDING_IN] = SUB_BOTH,
        [SUB_FROM] = SUB_FROM,
        [SUB_FROM_PENDING_OUT] = SUB_FROM_PENDING_OUT,
        [SUB_BOTH] = SUB_BOTH,
    };
    return from[state];
}

enum sub_state roster_state(const struct account *a, slice contact)
{
    const struct roster_item *i = roster_find(a->roster, contact);
    const struct shared *t = shared_of(a);
    enum sub_state state = i == NULL ? SUB_NONE : (enum sub_state)i->state;
    ensure(state < SUB_STATE_COUNT);
    if (shared_sees(t, a->jid, contact))
        state = with_to(state);
    return shared_sees(t, contact, a->jid) ? with_from(state) : state;
}

bool roster_next_group(const struct account *a, slice contact, struct roster_group_at *at,
                       slice *group)
{
    const struct shared *t = shared_of(a);
    if (at->viewer == NULL) {
        at->viewer = shared_here(t, a->jid);
        at->member = shared_here(t, contact);
    }
    return at->viewer != NULL && at->member != NULL && at->viewer != at->member &&
           shared_by_next(t, at->viewer, at->member, &at->by, group);
}

bool roster_has_shared(const struct account *a, slice contact, slice group)
{
    slice shown;
    for (struct roster_group_at at = { 0 }; roster_next_group(a, contact, &at, &shown);)
        if (slice_eq(shown, group))
            return true;
    return false;
}

static bool roster_view_has(slice groups, slice group)
{
    slice one;
    while (groups.len > 0 && slice_cut(groups, '\0', &one, &groups))
        if (slice_eq(one, group))
            return true;
    return false;
}

static slice own_groups(const struct account *a, slice contact)
{
    const struct roster_item *i = roster_find(a->roster, contact);
    return i == NULL ? (slice){ 0 } : roster_item_groups(i);
}

slice roster_groups(const struct account *a, slice contact, struct arena *arena)
{
    slice own = own_groups(a, contact), group;
    size_t len = own.len;
    for (struct roster_group_at at = { 0 }; roster_next_group(a, contact, &at, &group);)
        len += group.len + 1;
    if (len == own.len)
        return own;
    char *all = arena_alloc_raw(arena, len), *end = all;
    slice_lay(&end, own);
    for (struct roster_group_at at = { 0 }; roster_next_group(a, contact, &at, &group);) {
        if (roster_view_has(own, group))
            continue;
        slice_lay(&end, group);
        *end++ = '\0';
    }
    return (slice){ all, (size_t)(end - all) };
}

static bool next_own(const struct account *a, enum roster_sight sight, struct roster_at *at,
                     slice *contact)
{
    const struct roster *r = a->roster;
    uint32_t count = r == NULL ? 0 : sight == ROSTER_IS_SEEN ? r->seen : r->count;
    while (at->own < count) {
        const struct roster_item *i = r->items[at->own++];
        *contact = roster_item_jid(i);
        if (sight == ROSTER_IS_SEEN || sub_sees(i->state))
            return true;
    }
    return false;
}

bool roster_next(const struct account *a, enum roster_sight sight, struct roster_at *at,
                 slice *contact)
{
    const struct shared *t = shared_of(a);
    if (next_own(a, sight, at, contact))
        return true;
    const struct shared_person *own = shared_here(t, a->jid), *p;
    while (own != NULL &&
           (p = sight == ROSTER_SEES ? shared_member_next(t, own, &at->shared)
                                     : shared_viewer_next(t, own, &at->shared)) != NULL) {
        *contact = p->jid;
        if (!p->gone && !roster_sees_own(a, p->jid, sight))
            return true;
    }
    return false;
}

bool roster_next_shared(const struct account *a, struct roster_at *at, slice *contact)
{
    const struct shared *t = shared_of(a);
    const struct shared_person *own = shared_here(t, a->jid), *p;
    while (own != NULL && (p = shared_member_next(t, own, &at->shared)) != NULL) {
        const struct roster_item *i = roster_find(a->roster, p->jid);
        *contact = p->jid;
        if (!p->gone && (i == NULL || (i->flags & ROSTER_LISTED) == 0))
            return true;
    }
    return false;
}

static void write_groups(struct xml_write *x, const struct account *a, slice contact)
{
    slice own = own_groups(a, contact), rest = own, group;
    while (rest.len > 0 && slice_cut(rest, '\0', &group, &rest))
        xml_element(x, "group", group);
    for (struct roster_group_at at = { 0 }; roster_next_group(a, contact, &at, &group);)
        if (!roster_view_has(own, group))
            xml_element(x, "group", group);
}

bool roster_write_contact(struct xml_write *x, const struct account *a, slice contact)
{
    const struct roster_item *i = roster_find(a->roster, contact);
    bool own = i != NULL && (i->flags & ROSTER_LISTED) != 0;
    if (!own && !roster_is_shared(a, contact))
        return false;
    slice name = own ? roster_item_name(i) : (slice){ 0 };
    if (name.len == 0 && roster_is_shared(a, contact))
        name = shared_find(shared_of(a), contact)->name;
    roster_item_open(x, contact, name, (uint8_t)roster_state(a, contact), own ? i->flags : 0);
    write_groups(x, a, contact);
    xml_close(x);
    return true;
}

bool roster_ver(char out[ROSTER_VER_BYTES], const struct account *a, uint64_t version)
{
    const struct core *core = a->worker == NULL ? NULL : core_of(a->worker);
    uint64_t groups = shared_hash(shared_of(a), a->jid);
    bool whole = core == NULL || (!core->shared.telling && !shared_has_gone(core->shared.now));
    int len =
        snprintf(out, ROSTER_VER_BYTES, "%lld.%llu", (long long)a->id, (unsigned long long)version);
    ensure(len > 0 && len < ROSTER_VER_BYTES);
    if (!whole)
        snprintf(out + len, ROSTER_VER_BYTES - (size_t)len, ".changing");
    else if (groups != 0)
        snprintf(out + len, ROSTER_VER_BYTES - (size_t)len, ".%016llx", (unsigned long long)groups);
    return whole;
}
