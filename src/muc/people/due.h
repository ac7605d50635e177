/* due: one item that a room still has to show after a large change (muc/people/portion.h): an
 * occupant as it is, an occupant's departure, or a message of the room that comes after these. An
 * occupant that is changed again before is shown once, at the end, with the reason of the last. */
#pragma once
#include "base/list.h"
#include "base/slice.h"

struct occupant;
struct room;
struct stanza;

/* In room.due. */
struct due {
    struct list node;
    struct occupant *occupant; /* which has it as `due`; NULL: something else */
    struct stanza *left[2];    /* for others: it has left, without and with its real JID; or NULL */
    struct stanza *said;       /* for all; or NULL */
    const char *codes;         /* static */
    slice actor_nick, reason;  /* in this block */
};

struct due *due_add(struct room *r, slice actor_nick, slice reason); /* the last; copied */
void due_free(struct due *d);
void due_drop(struct occupant *o); /* it is shown sooner, or it has gone */
void dues_free(struct room *r);    /* memory only */
