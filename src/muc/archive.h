/* archive: what is recorded of a room (design §7): its messages, as entries whose owner is the room
 * in the tables of all archives, and the last of them in memory for those who enter. Confined to
 * the home of the room.
 *
 * While the database is away records wait in memory, in order, and are tried again:
 * muc.recording-queue of them a node; then room_archive_full() says so. */
#pragma once
#include "im/iq.h"
#include "im/origin.h"
#include "im/router.h"
#include "xmpp/stanza.h"

struct elem;
struct worker;

struct room_archive {
    struct worker *worker;
    int64_t owner; /* id of the room */
    slice jid;     /* of the room; lives as long */
    uint64_t last_id;
};
void room_archive_init(struct room_archive *a, struct worker *w, int64_t owner, slice jid);
void room_archive_fini(struct room_archive *a); /* what waits to be recorded goes on waiting */
/* The next id: of a message that is recorded, or only relayed. */
uint64_t room_archive_mint(struct room_archive *a);
bool room_archive_full(const struct room_archive *a);
/* Records a message as it was relayed, `id` being minted for it; sender: the real bare JID; real:
 * the real full JID. ROUTE_PENDING: ticket_done(origin) follows when it is committed. Borrowed. */
struct room_record {
    struct stanza *st;
    uint64_t id;
    slice sender;
    struct origin origin;
};
enum routed room_archive_put(struct room_archive *a, const struct room_record *m);
/* All that a room recorded goes, in steps. */
void room_archive_remove(struct worker *w, int64_t owner);

/* The last messages, in memory. */
struct room_history {
    struct history_item *ring; /* NULL: none */
    uint32_t cap, head, len;
};
void room_history_init(struct room_history *h);
void room_history_fini(struct room_history *h);
void room_history_add(struct room_history *h, struct stanza *st,
                      uint64_t id); /* id: its time too */
/* Reads the last `max` recorded; done is called once, later, whatever comes of it. */
typedef void room_history_fn(struct room_archive *a, void *arg);
void room_history_load(struct room_history *h, struct room_archive *a, room_history_fn *done,
                       void *arg);
/* What <history/> asks for (XEP-0045 §7.2.14), bounded by what the room allows. */
struct history_limit {
    uint32_t stanzas;
    uint32_t chars;    /* UINT32_MAX: no limit */
    uint64_t since_us; /* wall clock */
};
/* Calls fn for each message to send, oldest first, with <delay/> in it. Borrowed. */
typedef void room_history_each_fn(struct stanza *st, void *arg);
void room_history_each(struct room_history *h, slice room, const struct history_limit *limit,
                       room_history_each_fn *fn, void *arg);
