/* archive: stores the messages of a room under the room's id (archive/archive.h);
 * muc/archive/request.h answers queries. Confined to the home of the room, but for
 * room_archive_full().
 *
 * A message is stored as it was relayed, with the real full JID of the author as `to`, which is
 * shown only to users who may see it.
 *
 * While the database is away, messages wait in memory in their order and are stored when it is back
 * (muc/archive/queue.c). A write whose outcome is not known is looked for before it is repeated, so
 * nothing is there twice. What waits is acknowledged when it is stored; when the process ends
 * before, it is lost, and no h covers it.
 *
 * Limits: muc.recording-queue messages wait on the node, then room_archive_full() and the room
 * refuses what is said. */
#pragma once
#include "base/err.h"
#include "home/origin.h"
#include "home/router.h"
#include "muc/archive/history.h"

struct recents;
struct store_batch;
struct worker;

struct room_archive {
    struct worker *worker;
    int64_t owner; /* id of the room, from ROOM_ID_MIN on */
    slice jid;     /* bare, of the room; lives as long as this */
    uint64_t last_id;
};
void room_archive_init(struct room_archive *a, struct worker *w, int64_t owner, slice jid);

/* The id of the next message, for its stanza-id (XEP-0359): of one that is kept, or only relayed.
 */
uint64_t room_archive_mint(struct room_archive *a);

/* Keeps a message. ROUTE_PENDING: ticket_done(origin) follows when it is committed, or can never
 * be. */
enum routed room_archive_put(const struct room_archive *a, const struct room_post *p,
                             struct origin origin);
/* The same for the report of a repeat: the message of this id may be stored already. */
enum routed room_archive_also(const struct room_archive *a, uint64_t id, struct origin origin);
bool room_archive_full(void); /* any thread */

/* Reads the highest id that was minted, what may be repeated, and for the history what was said
 * last: `most` messages, at most 100, of at most 64 Ki characters each, of the last 200. done is
 * called once, later; the three stay where they are until then. E_DOWN: nothing is known, and the
 * room must not be used: its new ids could be below those that it has. */
typedef void room_history_done_fn(struct room_archive *a, enum err e, void *arg);
void room_history_load(struct room_history *h, struct room_archive *a, struct recents *recents,
                       uint32_t most, room_history_done_fn *done, void *arg);

/* Retraction and moderation (XEP-0424, XEP-0425): the message gives way to a tombstone. The history
 * in memory is not changed by it: see room_history_bury(). */
struct room_burial {
    uint64_t id;     /* of the message, as in its stanza-id */
    slice author;    /* bare JID of the required author; empty: any */
    slice tombstone; /* XML text that stands instead of the content */
    slice moderator; /* bare JID; empty: the author retracts it */
    bool patient;    /* tried again until the database is there: never E_DOWN */
};
/* OK, also if it was buried before. E_NOTFOUND: no such message. E_DENIED: another said it. E_DOWN.
 * Perhaps from inside room_archive_bury(). */
typedef void room_buried_fn(void *arg, enum err e);
/* Copies what it is given. done NULL: nobody waits. */
void room_archive_bury(const struct room_archive *a, const struct room_burial *what,
                       room_buried_fn *done, void *arg);

/* Deletes the archive of a room. The batch that removes the room records this. After its commit,
 * the messages are deleted in small steps, which continue after a restart. */
void room_archive_doom(struct store_batch *b, const struct room_archive *a);
void room_archive_end(const struct room_archive *a);
/* The same of what is noted already. */
void room_archive_remove(struct worker *w, int64_t owner);
/* A room that had ended its archive has one again. */
void room_archive_begin(const struct room_archive *a);
