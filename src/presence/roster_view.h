/* roster_view: what an account sees of others and what others see of it: its own roster
 * (presence/roster.h) and the groups that stand in it (account/shared.h) together. The name and the
 * groups that the user gave come first; a subscription is the sum of both. Confined to the home
 * worker. */
#pragma once
#include "account/shared.h"
#include "xmpp/subscription.h"

struct account;
struct arena;
struct xml_write;

enum roster_sight { ROSTER_SEES, ROSTER_IS_SEEN }; /* the account sees it; it sees the account */

/* Whether the list of contacts has it, as clients get it. */
bool roster_is_contact(const struct account *a, slice contact);
/* The user has it in the list, whatever groups do. */
bool roster_is_listed(const struct account *a, slice contact);
/* It is there by a group, whatever the user has done with it. */
bool roster_is_shared(const struct account *a, slice contact);
/* By the account's own subscriptions alone. */
bool roster_sees_own(const struct account *a, slice contact, enum roster_sight sight);
enum sub_state roster_state(const struct account *a, slice contact);
/* Each ends with a NUL. In the arena, or of the item. */
slice roster_groups(const struct account *a, slice contact, struct arena *arena);
/* Names of groups of the server by which the contact is in the list, each once; zeroed at first.
 * false: no more. */
struct roster_group_at {
    const struct shared_person *viewer, *member; /* looked for once */
    struct shared_by by;
};
bool roster_next_group(const struct account *a, slice contact, struct roster_group_at *at,
                       slice *group);
/* Whether the name is that of a group by which the contact is in the list. */
bool roster_has_shared(const struct account *a, slice contact, slice group);

/* Each contact that sees the account, or that it sees, once; zeroed at first. Nobody may change the
 * roster meanwhile. false: no more. */
struct roster_at {
    uint32_t own;
    struct shared_at shared;
};
bool roster_next(const struct account *a, enum roster_sight sight, struct roster_at *at,
                 slice *contact);
/* The same of all who are listed by groups, and not by the user. */
bool roster_next_shared(const struct account *a, struct roster_at *at, slice *contact);

/* Appends the <item/> as clients get it. false: it is not in the list, and nothing is appended. */
bool roster_write_contact(struct xml_write *x, const struct account *a, slice contact);
/* "account.version", with ".groups" behind it if there are groups: the version of the list.
 * false: it is the version of no list, since what groups say is about to be different. */
enum { ROSTER_VER_BYTES = 64 };
bool roster_ver(char out[ROSTER_VER_BYTES], const struct account *a, uint64_t version);
