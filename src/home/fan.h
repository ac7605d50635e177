/* fan: one stanza to many accounts of the server: one block shared, one frame a worker, on this
 * node or another (architecture §4). An untagged fan is presence; the tag of another begins with a
 * character that is one feature's (struct feature.fans), which is told at each home with the
 * address, whether the account is loaded or not, and with a number of its choice for each address.
 * An address of a tagged fan may be a full JID (fan_add_jid()): it goes to the home of its account.
 *
 * Contacts of other servers: untagged, each gets a routed stanza; tagged, none, since the rules of
 * a tag are known to our homes only.
 *
 * Limit: a frame is sent for each 32 KiB of addresses. */
#pragma once
#include "base/buf.h"
#include "home/node.h"
#include "xmpp/stanza.h"

struct message_row;
struct worker;

/* Whose fan it is: the first character of its tag. It travels (home/message.h). */
enum fan_first {
    FAN_EXPLICIT = '*',      /* ext/pubsub: notifications to explicit subscribers */
    FAN_PEP_EVENT = '+',     /* pubsub/pep.c: notifications to contacts */
    FAN_PEP_WANTED = '?',    /* pubsub/pep.c: a session has come to want nodes */
    FAN_ROOM_BOOKMARK = 'b', /* muc/parts/bookmark.c; its number: enum registered */
    FAN_ROOM_HERE = 'h',     /* muc/parts/follow.c: to users who are in the room */
    FAN_ROOM_MENTION = 'm',  /* muc/parts/mention.c */
    FAN_ROOM_MESSAGE = 'r'   /* muc/parts/follow.c: to users who are not in the room */
};
enum { FAN_TAG_MAX = 32 << 10 }; /* bytes of a tag */
/* A tag of that character alone; it lives as long as the block it is in. */
#define FAN_TAG(first) ((slice){ (const char[]){ (first) }, 1 })

struct fan_far { /* addresses of a worker of another node */
    uint32_t node;
    unsigned worker;
    struct buf packed;
};

struct fan {
    struct worker *worker;
    struct stanza *st;                   /* borrowed */
    slice tag;                           /* borrowed; empty: presence */
    struct buf packed[NODE_WORKERS_MAX]; /* by worker; made on demand */
    bool used[NODE_WORKERS_MAX];
    struct fan_far *far; /* made on demand */
    unsigned fars;
};

bool fan_is_local(const struct node *n, slice bare); /* an account address of ours */
void fan_begin(struct fan *f, struct worker *w, struct stanza *st, slice tag);
void fan_add(struct fan *f, slice bare); /* number 0 */
void fan_add_with(struct fan *f, slice bare, uint32_t number);
void fan_add_jid(struct fan *f, slice jid); /* bare or full */
void fan_end(struct fan *f);
void fan_one(struct worker *w, struct stanza *st, slice tag, slice jid);

/* At the home of `jid`, which may be loaded or not. Borrowed for the call. */
typedef void fan_fn(struct worker *w, slice jid, uint32_t number, struct stanza *st, slice tag);
/* A function gets all fans whose tag begins with this character. */
struct fan_tag {
    char first;
    fan_fn *run;
};
/* By features_set(): rows ended by { 0 }. */
void fans_clear(void);
void fans_add(const struct fan_tag *rows);

extern const struct message_row fan_message; /* addresses whose home is there */
