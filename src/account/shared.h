/* shared: groups of accounts that stand in rosters without being asked: a table that is the same
 * for all workers of a node, made by ext/groups/groups.c. It is immutable once it is sealed; each
 * worker holds a reference to the one that it goes by (struct core), and takes the next one when it
 * is told (account/shared_change.h). So a group costs its memory once, however many see it.
 *
 * A set is a list of people: set N is who is in group N, further ones are who else may see groups.
 * "An account sees another" here: by a group that the other is in and that it may see. What the
 * rosters say beside that is put together in presence/roster_view.c.
 *
 * Any worker reads. Nothing changes but that somebody is gone: whoever has the address then is
 * nobody to all until the next table is there, and lists of this time have a version that no list
 * has. Limits: of who fills it;
 * SHARED_SETS_MAX. */
#pragma once
#include "base/map.h"
#include "base/slice.h"
#include <stdatomic.h>

struct account;
struct arena;
struct worker;

enum { SHARED_SETS_MAX = 20000, SHARED_NAME_BYTES_MAX = 512 };

struct shared_list {
    uint32_t *at;
    uint32_t count, cap;
};

struct shared_person {
    slice jid, name;
    uint32_t number;         /* in shared.people */
    struct shared_list sets; /* numbers of sets, rising */
    struct shared_list sees; /* numbers of groups, rising */
    _Atomic bool gone;       /* the account was deleted since: shared_gone() */
};

struct shared_group {
    slice name;                 /* for operators */
    slice shown;                /* as clients have it: the name of the group in the roster */
    struct shared_list viewers; /* numbers of sets */
    uint32_t alike;             /* the last group before it with this `shown`; UINT32_MAX: none */
    uint64_t hash, viewers_hash;
};

struct shared {
    _Atomic uint32_t refs;
    _Atomic uint32_t gone; /* how many people are */
    struct arena *arena;
    struct map by_jid;
    struct shared_person **people;
    uint32_t people_count, people_cap, group_count, set_count;
    struct shared_group *groups;
    struct shared_list *sets;
};

/* Making one. The names are copied. `groups` of them, and further sets up to `sets`. */
struct shared *shared_create(uint32_t groups, uint32_t sets);
void shared_group_name(struct shared *t, uint32_t group, slice name, slice shown);
/* A set may see a group. */
void shared_group_show(struct shared *t, uint32_t group, uint32_t set);
/* Somebody is in a set; twice is once. Sets are filled one after the other. */
void shared_put(struct shared *t, uint32_t set, slice jid, slice name);
void shared_seal(struct shared *t);
struct shared *shared_ref(struct shared *t);
void shared_unref(struct shared **t); /* NULL is fine */

/* Reading. t NULL: there are no groups. */
const struct shared_person *shared_find(const struct shared *t, slice jid);
/* The same without who is gone; shared_sees() goes by it, too. */
const struct shared_person *shared_here(const struct shared *t, slice jid);
/* Whether a group can have that name, for operators. */
enum { SHARED_GROUP_BYTES_MAX = 64 };
bool shared_is_name(slice text);
/* Whether there is a group of that name, for operators; and whether that person is in it. */
bool shared_has_group(const struct shared *t, slice group);
bool shared_is_in(const struct shared *t, const struct shared_person *p, slice group);
bool shared_sees(const struct shared *t, slice viewer, slice member);
/* Names of groups by which one sees the other, each once: zeroed at first. false: no more. */
struct shared_by {
    uint32_t at, sees;
};
bool shared_by_next(const struct shared *t, const struct shared_person *viewer,
                    const struct shared_person *member, struct shared_by *by, slice *shown);
/* Each who sees a person, and each that a person sees, once: zeroed at first. NULL: no more. */
struct shared_at {
    uint32_t group, set, person;
};
const struct shared_person *
shared_viewer_next(const struct shared *t, const struct shared_person *of, struct shared_at *at);
const struct shared_person *
shared_member_next(const struct shared *t, const struct shared_person *of, struct shared_at *at);
/* The account of that address is deleted, at once, before the next table is there: whoever gets the
 * address then is not that person. false: nobody is gone by that. Any worker. */
bool shared_gone(struct shared *t, slice jid);
bool shared_has_gone(const struct shared *t);
/* Another number whenever anything in the roster of a person may be different by groups, the same
 * in each run and on each node; 0: there is nothing. */
uint64_t shared_hash(const struct shared *t, slice jid);

/* The table that an account goes by; NULL: none. On its worker. */
const struct shared *shared_of(const struct account *a);
