#include "ops/owner.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "ops/access_table.h"
#include <stdatomic.h>

static bool token_may(const struct access_table *t, slice name, const char *permission)
{
    const struct token *k = access_token(t, name);
    const struct role *r = k == NULL ? NULL : access_role(t, k->role);
    return r != NULL && !atomic_load(&k->expired) &&
           (k->expires_us == 0 || clock_wall_us() < k->expires_us) &&
           grants_permission(r->grants, permission) &&
           (k->scope.len == 0 || grants_permission(k->scope, permission));
}

static bool person_may(const struct access_table *t, slice name, const char *permission)
{
    const struct person *p = access_person(t, name);
    const struct role *r = p == NULL || p->disabled ? NULL : access_role(t, p->role);
    return r != NULL && grants_permission(r->grants, permission);
}

static bool account_may(slice bare, const char *permission)
{
    struct arena *arena = arena_create(0);
    struct principal who = { 0 };
    access_of_account(bare, arena, &who);
    bool may = !access_is_disabled(bare) && grants_permission(who.grants, permission);
    arena_destroy(&arena);
    return may;
}

bool owner_may(slice owner, const char *permission)
{
    slice via, name;
    ensure(owner.len > 0 && permission != NULL);
    if (!slice_cut(owner, ':', &via, &name) || slice_is(via, "control"))
        return true;
    const struct access_table *t = access_table_begin();
    bool known = t != NULL, may = true, account = memchr(name.ptr, '@', name.len) != NULL;
    if (known && slice_is(via, "token"))
        may = token_may(t, name, permission);
    else if (known && !account)
        may = person_may(t, name, permission);
    access_table_end();
    return may && (!known || slice_is(via, "token") || !account || account_may(name, permission));
}

bool owner_is_account(slice owner, slice bare)
{
    slice via, name;
    ensure(bare.len > 0);
    return slice_cut(owner, ':', &via, &name) && slice_eq(name, bare) &&
           (slice_is(via, "xmpp") || slice_is(via, "console"));
}

uint64_t owner_expires_us(slice owner)
{
    slice via, name;
    if (!slice_cut(owner, ':', &via, &name) || !slice_is(via, "token"))
        return 0;
    const struct token *k = access_token(access_table_begin(), name);
    uint64_t expires_us = k == NULL ? 0 : k->expires_us;
    access_table_end();
    return expires_us;
}
