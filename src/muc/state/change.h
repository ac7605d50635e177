/* change: changes of a room's stored state: prepare, commit, apply (architecture §3), one under way
 * a room. The effects of a change on those who are in the room follow when it is applied, so they
 * are the same for all who make it (a client, an operator, a registration). */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct affiliation_edit;
struct room;
struct room_config;
struct why;

enum { ROOM_EDITS_MAX = 4000 }; /* in one change */

typedef void room_done_fn(struct room *r, enum err e, void *arg);
struct room_delta {
    struct room_config *config; /* NULL: stays; allocated, owned by the change */
    struct affiliation_edit *edit;
    uint32_t edit_count;
    bool unlock;    /* it is open to others from now on (§10.1) */
    bool ownerless; /* it may lose its last owner: an account was deleted */
    bool destroy;
    bool applied;   /* those of the edits asked for it themselves */
    bool quiet;     /* who becomes a member is not told: an invitation was sent */
    bool newcomers; /* who has an affiliation by then keeps it: those edits are left out */
    slice actor;  /* nickname of who did it, told to whom it concerns; empty: nobody in the room */
    slice by;     /* for the log: bare JID of an owner or administrator who did it, or what did */
    slice reason; /* of all edits that have none of their own; of a destruction */
    slice alternate, password; /* of a destruction: where to go */
    room_done_fn *committed;   /* before anybody is told of it; NULL: nobody waits for that */
};
/* Copies the delta, takes over `config`. Those in the room are told what it means to them.
 *
 * done (NULL: nobody waits): when it is committed and applied, or will not be: E_LIMIT (too many
 * persistent rooms, affiliations, or edits: ROOM_EDITS_MAX), E_CONFLICT (the last owner would be
 * lost), E_EXISTS (another has the nickname), E_DOWN, E_NOTFOUND (the room ended meanwhile).
 * Perhaps from inside. The room is pinned until then. Changes that done() commits come next,
 * before others that wait. */
void room_commit(struct room *r, const struct room_delta *d, room_done_fn *done, void *arg);
/* Runs fn, now or later, when all changes before it are done: whether a user may make a change is
 * decided by what the room is when it is made. E_NOTFOUND: the room ended meanwhile. */
void room_turn(struct room *r, room_done_fn *fn, void *arg);
void changes_drop(struct room *r); /* memory only: frees the changes that wait */
/* Prepares a change that makes `next` the configuration of the room, and opens the room if it is
 * locked: sets `config` and `unlock` of the delta. false: not possible, for the reason in `why`. */
bool room_reconfigure(const struct room *r, const struct room_config *next, struct room_delta *d,
                      struct why *why);
