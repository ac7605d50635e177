/* audience: the sessions of the server's accounts that are in a room: one stanza to all of them is
 * one block shared, a start tag each, and one frame a worker (architecture §4), on whatever node.
 * The room's home says who is in; each worker keeps the list of its own sessions, fed by the same
 * FIFO as all else from there, so what was routed before a session was added reaches it before what
 * is sent to the audience after. A session that ends is taken off its lists at once; the room hears
 * of it as it does of every session, by unavailable presence, and then removes it.
 *
 * Who is not a session of our accounts (component, other server) is not in it: the room routes to
 * them. A stanza that is sent has no `to` and is not looked through again: the room has
 * left out what only servers may say (XEP-0359 stanza-id, XEP-0203 delay, muc#user).
 *
 * An account that blocks the sender (stage BLOCK) and a session that does not take it (DELIVER) are
 * passed over without a word. What waits in the queue of a session that ends is dropped.
 *
 * struct audience is confined to the room's home. Limits: AUDIENCE_BLOB_MAX bytes that are kept for
 * the room with each member; a session is in presence.directed-max rooms at most. */
#pragma once
#include "base/slice.h"
#include <stdint.h>

struct account;
struct feature;
struct session;
struct stanza;
struct worker;

struct audience_place {
    uint32_t slot;  /* of accounts (home/node.h): its home is found anew for each stanza */
    uint32_t count; /* of its members; at least one */
};

struct audience {
    struct worker *worker;
    slice name;                   /* bare JID of the room */
    struct audience_place *place; /* one for each slot that has members; NULL: none has */
    uint32_t places;
};

enum { AUDIENCE_BLOB_MAX = 256 };

/* A session in a room. Everything is borrowed for the call. */
struct audience_member {
    slice jid;               /* full JID */
    uint32_t seat;           /* of the room's choice: the occupant it belongs to */
    uint8_t bits;            /* of the room's choice, for struct audience_whom */
    slice blob;              /* what the room wants back after a planned restart */
    struct stanza *presence; /* the same; `to` is the occupant JID. NULL: none */
};

/* A part of the audience: those with (bits & mask) == want, of one seat only, without one seat.
 * Seat 0: no matter. */
struct audience_whom {
    uint8_t mask, want;
    uint32_t only, except;
};

void audience_init(struct audience *a, struct worker *w, slice name); /* name lives as long as a */
void audience_fini(struct audience *a);                               /* removes all */

/* One that is not in it. false: no session of ours has this address, and nothing is done. */
bool audience_add(struct audience *a, const struct audience_member *m);
/* Other values for one that is in it (blob of length 0, presence NULL: as they were). Where its
 * home has it no more, it has it again: so one that has moved to another home hears the room again.
 */
void audience_set(struct audience *a, const struct audience_member *m);
/* One that was added; it may have ended. */
void audience_remove(struct audience *a, slice jid);

/* Each gets it with its own `to`. Borrowed. whom NULL: all. */
void audience_send(struct audience *a, struct stanza *st, const struct audience_whom *whom);
/* To one address alone, in the audience or not, of ours or not; in order with the above. */
void audience_tell(struct audience *a, slice jid, struct stanza *st);

/* At the home of the session. The nick under which it is in that room; empty: it is not in it, or
 * the room keeps no presence with its members. */
slice audience_nick(const struct session *s, slice room);

/* The same: whether it is in that room; and calls fn for each of its rooms, which stays in them. */
bool audience_has(const struct session *s, slice room);
/* Whether a session of the account is in the room and connected: others are in it, but nobody reads
 * what they get (XEP-0198). */
bool audience_reads(const struct account *a, slice room);
void audience_rooms_each(const struct session *s, void (*fn)(const struct session *s, slice room));

/* The rooms of this node. In struct feature; one has it. */
struct audience_owner {
    /* After a planned restart, or a move of the session to another home, at the home of the
     * room: this session is back, and its room adds it to its audience again without telling
     * anybody. Borrowed; presence NULL: none was saved. The bytes come from the database. */
    void (*back)(struct worker *w, slice room, const struct audience_member *m);
    void (*stopping)(struct worker *w); /* an orderly end begins; streams are open */
};

extern const struct feature audience_feature;
