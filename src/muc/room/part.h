/* part: what is optional in a room, as rows of functions: hats, cards, mentions and others in
 * muc/parts and muc/operate. muc/parts.c is the only list. At start its rows are gathered into a
 * list for each member, so what happens in a room walks only over the parts that want it, in the
 * order of that list.
 *
 * What a part has of a room is at its slot: a pointer, NULL in a new room. What it has of each
 * affiliate is some bytes in the same block, zero in a new one.
 *
 * Functions run at the home of the room unless another thread is named. What they are given is
 * borrowed. Each may be NULL. */
#pragma once
#include "base/slice.h"
#include "home/router.h"
#include "xmpp/muc.h"
#include <stddef.h>

struct arena;
struct xml_write;
struct disco_info;
struct room_line;
struct why;
struct form;
struct form_row;
struct iq;
struct occupant;
struct room;
struct room_config;
struct seat;
struct store_batch;

/* A message that was sent to all. */
struct room_said {
    struct stanza *st; /* as it was sent */
    slice speaker;     /* bare JID; empty: the room itself */
    bool kept;         /* history and archive have it */
};

/* The affiliation of an address was changed, or what is stored with it. */
struct room_affiliated {
    slice jid; /* bare, or a domain */
    enum affiliation was, is;
    bool was_registered; /* it had a nickname registered here */
    bool here;           /* somebody with this address is in the room, and was told */
    bool applied;        /* the user asked for it */
    bool quiet;          /* an invitation was sent */
    slice by;            /* bare JID of an owner or administrator who did it; or empty */
};

/* The room has another configuration. */
struct room_configured {
    const struct room_config *was;
    unsigned diff;   /* bits of enum room_diff */
    bool was_stored; /* it was persistent */
};

/* An answer to a form that the room has sent: a message to the room with a form of this type. */
struct form_answer {
    const char *form_type;
    /* s NULL: its sender is not in the room. Takes over st. */
    enum routed (*run)(struct room *r, struct seat *s, struct stanza *st, struct form *f,
                       struct origin origin);
};

/* The lines of a part in the file of a room (muc/room/room_line.h), all of one type. */
typedef bool room_line_fn(const struct room_line *l, void *arg);
struct room_lines {
    int type; /* enum room_line_type */
    /* Export: adds reads to a batch (NULL: none are needed); writes the lines, the first statement
     * being `first`. */
    void (*read)(struct store_batch *b, const struct room *r);
    void (*write)(const struct room *r, const struct store_batch *b, unsigned first,
                  room_line_fn *write, void *arg);
    /* Import: whether this line can be one of the room that has `count` of them, on a helper
     * thread; stores it for a room of this id. */
    bool (*fits)(const struct room_line *l, uint32_t count, struct arena *tmp, struct why *why);
    void (*store)(struct store_batch *b, int64_t room, const struct room_line *l,
                  struct arena *tmp);
};

/* Memory of a part for each affiliate. It stays when the affiliation changes: what then no longer
 * holds, the part must clear in `affiliated`. */
struct affiliate_memory {
    unsigned bytes;
    unsigned *at; /* gets its place, for affiliate_memory(); aligned for 64 bits */
};

/* All members are pointers. */
struct room_part {
    const char *name;
    unsigned *slot; /* gets its number, for room_slot(); NULL: it has none */
    const struct affiliate_memory *in_affiliates; /* NULL: none */
    const char *const *disco;          /* features in disco#info of rooms; NULL-terminated */
    const struct form_answer *answers; /* ended by { 0 } */

    /* Memory and database. Adds reads to the batch by which a room is loaded; then gets its
     * results, the first statement being `first`. The first needs the second. */
    void (*load)(struct store_batch *b, slice room);
    void (*loaded)(struct room *r, const struct store_batch *b, unsigned first);
    /* All is loaded, with the archive's last id. It may read more: room_read_begin(). */
    void (*catch_up)(struct room *r);
    void (*store)(struct store_batch *b, const struct room *r);  /* the room becomes persistent */
    void (*remove)(struct store_batch *b, const struct room *r); /* it is persistent no longer */
    void (*unloading)(struct room *r); /* nobody needs it, and it is about to be unloaded */
    void (*destroyed)(struct room *r); /* a persistent one, with what it has in memory */
    void (*clear)(struct room *r);     /* memory only: the room ends, or is unloaded */

    /* Before those in the room are told, and after that. */
    void (*configured)(struct room *r, const struct room_configured *c);
    void (*announced)(struct room *r, const struct room_configured *c);
    void (*affiliated)(struct room *r, const struct room_affiliated *a); /* they were told */
    bool (*owns)(slice bare); /* see muc_is_administrator() */

    /* People. A session has a seat; back: that it had before a planned restart. It is about to
     * lose it; ends: with the room. One that enters is told who is here. */
    void (*seated)(struct room *r, struct seat *s, bool back);
    void (*leaves)(struct room *r, const struct seat *s, bool ends);
    /* All its seats were told of its new nickname. */
    void (*renamed)(struct room *r, const struct occupant *o, slice was);
    void (*welcome)(struct room *r, const struct seat *s);
    /* The presence of this nickname could not be sent to this seat, which is of another server and
     * stays. Its client can make up such errors. gone: it left or changed its nickname by that.
     * Empty: this could not be sent, see room_ask_remote(). */
    void (*unsent)(struct room *r, struct seat *s, slice nick, bool gone);
    /* How this seat is shown a nickname that nobody in the room has: without `to`, and the caller
     * has the reference. NULL: as one who has left. */
    struct stanza *(*unseen)(struct room *r, const struct seat *to, slice nick);
    /* This error comes from an address that has no seat, to presence that the room, which may not
     * exist any more, has sent there. Any server or client can make up such errors. */
    void (*unseated)(struct room *r, const struct stanza *error);
    /* Appends to the presence of an occupant, which all see; with its bare JID. */
    void (*presence)(struct xml_write *x, const struct room *r, slice bare);

    /* Messages. To all. */
    void (*said)(struct room *r, const struct room_said *said);
    /* It changes earlier ones (st: as it came). ROUTE_PENDING: ticket_done(origin) follows when
     * that is stored. */
    enum routed (*amends)(struct room *r, const struct seat *s, const struct stanza *st,
                          struct origin origin);
    /* From somebody who is not in the room. true: there is no more to do. */
    bool (*outside)(struct room *r, const struct stanza *st);
    /* To the room itself. s NULL: its sender is not in it. true: st was taken over. */
    bool (*asked)(struct room *r, struct seat *s, struct stanza *st, struct origin origin,
                  enum routed *routed);

    /* An account was deleted: adds statements that remove what it had; forgets that in memory. */
    void (*forget_rows)(struct store_batch *b, slice bare);
    void (*forget)(struct room *r, slice bare);

    /* Service discovery: adds to disco#info of a room; commands that the sender of st may use. */
    void (*info)(struct disco_info *d, const struct room *r, struct arena *tmp);
    void (*items)(struct xml_write *x, const struct room *r, const struct stanza *st);

    /* Answers a user who asks the service about all of the user's rooms (docs/rooms.md). */
    void (*rooms_get)(struct iq *iq);

    /* A field of the registration form: the user asks to follow the room. NULL: nobody can. */
    const struct form_row *follow_row;

    const struct room_lines *lines; /* of a room in a file */
};

void room_parts_set(const struct room_part *const *list); /* NULL-terminated; at start, once */
unsigned room_slots(void);                                /* how many a room has */
unsigned affiliate_memory_bytes(void);                    /* that all parts have in an affiliate */

/* The parts whose member at this offset is not NULL, in the order of the list; NULL-terminated. */
const struct room_part *const *room_parts_with(size_t offset);
#define PARTS_EACH(p, member)                                                                      \
    for (const struct room_part *const *                                                           \
             p##_ = room_parts_with(offsetof(struct room_part, member)),                           \
            *p;                                                                                    \
         (p = *p##_) != NULL; p##_++)

/* Calls a function of all parts that have it: ROOM_EMIT(said, r, &said). */
#define ROOM_EMIT(event, ...)                                                                      \
    PARTS_EACH (part, event)                                                                       \
    part->event(__VA_ARGS__)

/* Whether this bare JID is an owner of all rooms, as a part says. Any thread. */
bool muc_is_administrator(slice bare);
