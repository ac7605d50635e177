/* room: one chat room (XEP-0045): its configuration, who is affiliated, who is in it. An actor at
 * the home of its bare JID, confined to that worker; what comes while it loads waits in its inbox,
 * in order.
 *
 * States: LOADING -> READY or ABSENT (there is none; remembered for a while) -> unloaded.
 * ABSENT -> READY when somebody creates it; READY -> ABSENT when it ends. An ad hoc room is memory
 * and ends with its last occupant; a persistent one is in the database as well, and is unloaded
 * when nobody has been in it for muc.unload-after.
 *
 * Stored state changes by room_commit() only: the change is a value, applied when it is committed,
 * one at a time; messages do not wait for it.
 *
 * Limits: those of muc/settings.h; while it loads, ROOM_INBOX_MAX stanzas wait, and no more come
 * when they have ROOM_INBOX_BYTES. */
#pragma once
#include "base/err.h"
#include "base/list.h"
#include "base/map.h"
#include "im/audience.h"
#include "im/iq.h"
#include "im/router.h"
#include "io/timer.h"
#include "muc/archive.h"
#include "muc/config.h"
#include "muc/occupant_id.h"
#include "store/store.h"
#include "xmpp/muc.h"

struct buf;
struct host;
struct worker;

enum room_state { ROOM_LOADING, ROOM_READY, ROOM_ABSENT };
enum { ROOM_INBOX_MAX = 1000, ROOM_INBOX_BYTES = 4 << 20 };

/* What a nickname looks like. Maps hold the first of those that look alike: several of one person,
 * or all of them while muc.look-alike is off. */
struct look {
    slice text; /* nickname_skeleton() */
    struct look *next;
};

/* Somebody with an affiliation, or with a nickname registered here. */
struct affiliate {
    slice jid;        /* bare, or the domain of outcasts; in this block */
    slice nick;       /* registered (XEP-0045 §7.10); empty: none */
    slice key;        /* of the nickname, for comparison */
    struct look look; /* of the nickname, if there is one */
    slice reason;     /* why it was given; empty: not said */
    uint8_t affiliation;
    bool follows;        /* gets messages while not in the room */
    bool marks;          /* of a follower who is here: tells what he has read */
    bool changed;        /* what is below is not stored as it is */
    uint32_t here;       /* his sessions in the room */
    uint32_t unread;     /* of a follower: messages since he saw the last */
    uint64_t upto;       /* unread was stored when this was the last archive id; 0: not yet */
    uint32_t alerted_ms; /* monotonic: when his devices were last told of a mention */
};

/* One session of an occupant. */
struct seat {
    struct list node; /* in occupant.seats */
    struct occupant *occupant;
    slice jid; /* full JID, in this block */
    uint16_t bare_len;
    uint64_t number;         /* unique in the room: of requests to others */
    struct list away;        /* in room.away; unlinked: it is in the audience */
    uint64_t asked_us;       /* of those away: when it came, or was last asked (muc/ping.c) */
    bool ghost;              /* room_seat_gone(): it is about to leave */
    struct stanza *presence; /* the last that it sent */
};
static inline slice seat_bare(const struct seat *s) { return (slice){ s->jid.ptr, s->bare_len }; }

/* How much may still be said (muc/pace.c). */
struct pace {
    uint64_t at_us; /* monotonic; 0: nothing was said yet */
    uint32_t left;  /* thousandths of a message */
};

/* A nickname in the room, with all sessions of one bare JID that share it. */
struct occupant {
    struct list node;  /* in room.occupants, in the order of entering */
    struct list seats; /* the one that spoke last by presence is the last */
    slice nick, key;   /* in one block of their own; key: for comparison */
    struct look look;  /* its text is in the same block */
    slice id;          /* XEP-0421, in the same block */
    uint32_t number;   /* unique in the room; its sessions' `seat` in the audience */
    uint8_t affiliation, role;
    bool hidden;
    bool known;              /* others have been shown that it is here */
    struct stanza *shown[2]; /* its presence as others see it, without and with its real JID;
                                NULL: to be made */
    bool late;               /* its last presence waits to be shown (muc/pace.c) */
    struct pace pace;        /* of what it says */
    struct pace moves;       /* how often it has come and gone */
};

struct room {
    struct worker *worker;
    const struct host *host;
    slice jid;  /* bare; in this block */
    int64_t id; /* owner of its archive; from ROOM_ID_MIN on */
    uint8_t state;
    bool stored;  /* a persistent room: rows of the database */
    bool unread;  /* ABSENT, but it could not be read: it is tried again */
    bool locked;  /* waits for its first configuration (§10.1.3) */
    bool opening; /* locked, and about to be opened as it is (muc/lock.c) */
    uint32_t pins;
    struct list idle;
    uint64_t idle_since_us;
    struct room_wait *inbox, **inbox_tail;      /* NULL: empty */
    uint32_t inbox_count, inbox_bytes;          /* of its stanzas */
    struct room_change *changes, **change_tail; /* the first is in flight if `changing` */
    bool changing, advancing;
    bool beside;          /* something that is no such change was changed while one was under way */
    uint32_t changes_due; /* of them that change something, under way or not */
    struct room_config config;
    uint64_t created_us;
    slice creator; /* bare JID; owned */
    uint8_t secret[OCCUPANT_SECRET_LEN];
    struct map affiliates; /* struct affiliate by JID */
    struct map reserved;   /* the same by key of the nickname */
    struct map reserved_looks;
    struct map followers; /* those of them who follow, by JID */
    uint32_t owners;
    uint64_t affiliate_bytes; /* of all of them */
    int64_t weighed;          /* so much of it as counts for who made the room (muc/makers.c) */
    struct list occupants;
    struct room_debts *debts;           /* of those who left; NULL: none */
    struct room_voices *voices;         /* theirs, if given or taken; NULL: none */
    struct room_applicants *applicants; /* who lately asked to be a member; NULL: nobody */
    struct list relays;                 /* of muc/relay.c: requests that wait for an answer */
    uint32_t relay_count;
    struct room_guesses *guesses; /* wrong passwords of late; NULL: none */
    struct pace outsiders;        /* all who are not in the room, together */
    struct timer late;            /* of occupants whose presence waits to be shown */
    struct timer lock;            /* of a locked room: it has waited long enough */
    struct map nicks;             /* struct occupant by key */
    struct map looks;             /* struct look of occupants */
    struct map seats;             /* struct seat by full JID */
    uint32_t occupant_count, hidden_count, seat_count, next_number;
    uint64_t next_seat;
    struct list away; /* seats that are not of this node: they are not in the audience */
    struct audience audience;
    slice vcard;            /* of an ad hoc room; owned; empty: none */
    slice avatar;           /* hashes of the photos in the card; owned */
    uint64_t said_us;       /* when somebody last spoke; 0: not since it was loaded */
    uint32_t spoken_day;    /* since 1970, as it is stored (muc/cleanup.c); 0: not known */
    struct room_hat *hats;  /* NULL: none; in the order of giving */
    struct stanza *subject; /* as it was relayed; NULL: none was set */
    struct room_subject *subject_due; /* not stored yet; NULL: it is */
    struct room_archive archive;
    struct room_history history;
};

/* Whether it is the one of this id still: another may have its name by now. */
static inline bool room_is(const struct room *r, int64_t id)
{
    return r->state == ROOM_READY && r->id == id;
}

/* The room of this bare JID, loaded or not: made, and loading, if it was not there. */
struct room *room_get(struct worker *w, const struct host *h, slice jid);
struct room *room_find(const struct worker *w, slice jid); /* NULL: not READY */
void room_pin(struct room *r);
void room_unpin(struct room *r);
/* Runs fn when the room is READY or ABSENT, in order with its stanzas. E_DOWN: it is not. */
typedef void room_fn(struct room *r, enum err e, void *arg);
void room_with(struct worker *w, slice jid, room_fn *fn, void *arg);
/* All READY rooms of a worker. */
typedef void room_each_fn(struct room *r, void *arg);
void rooms_each(struct worker *w, room_each_fn *fn, void *arg);
void rooms_each_loading(struct worker *w, room_each_fn *fn, void *arg);

/* ABSENT -> READY: a new room by the settings, locked, owned by `creator` (bare JID). */
enum err room_create(struct room *r, slice creator, struct why *why);
/* An ad hoc room whose last occupant left, or one that was destroyed: READY -> ABSENT. */
void room_end(struct room *r);

/* Changes of stored state (muc/change.c). */
struct affiliation_edit {
    slice jid; /* bare, or a domain */
    enum affiliation affiliation;
    slice nick, reason; /* ptr NULL: as it is */
    bool follows;
};
/* One that changes the affiliation and leaves all else as it is. Borrows jid. */
struct affiliation_edit room_edit(const struct room *r, slice jid, enum affiliation to);
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
    slice by;     /* bare JID of an owner or administrator who did it, for the log; or empty */
    slice reason; /* of all edits that have none of their own; of a destruction */
    slice alternate, password; /* of a destruction: where to go */
    room_done_fn *committed;   /* before anybody is told of it; NULL: nobody waits for that */
};
/* Copies the delta, takes over `config`. Who is in the room hears of what it means to them.
 *
 * done (NULL: nobody waits): when it is committed and applied, or will not be: E_LIMIT (too many
 * persistent rooms, affiliations, or edits: 4,000 a change), E_CONFLICT (the last owner would be
 * lost), E_EXISTS (another has the nickname), E_DOWN, E_NOTFOUND (the room ended meanwhile).
 * Perhaps from inside. The room is pinned until then. What it commits comes next, before others
 * that wait. */
void room_commit(struct room *r, const struct room_delta *d, room_done_fn *done, void *arg);
/* Runs fn, now or later, when all changes before it are done: who asks for a change is judged by
 * what the room is when that is made. E_NOTFOUND: the room ended meanwhile. */
void room_turn(struct room *r, room_done_fn *fn, void *arg);

/* Affiliations (muc/affiliation.c). */
enum affiliation room_affiliation(const struct room *r, slice bare);
/* Whether who sent this is in, or may come in unasked: who is told what goes on there. */
bool room_admits(const struct room *r, const struct stanza *st);
struct affiliate *room_affiliate(const struct room *r, slice jid); /* NULL: none */

/* Occupants (muc/occupant.c). */
struct seat *room_seat(const struct room *r, slice full); /* NULL: not in the room */
struct occupant *room_occupant(const struct room *r, slice nick, struct arena *tmp);
struct seat *occupant_seat(const struct occupant *o); /* that spoke last */

/* What is sent. All borrow. */
enum { TO_MODERATORS = 1, TO_OTHERS = 2, TO_ALL = 3 };
/* but: not to this occupant; NULL: to all. */
void room_send_all(struct room *r, struct stanza *st, unsigned whom, const struct occupant *but);
/* A message of the room itself with these status codes (§15.6.2). */
void room_announce(struct room *r, const unsigned *code, unsigned count);

/* What a presence of an occupant says beside what is stored (§16): all may be empty. */
struct show {
    const char *codes; /* "301 333": for all who see it */
    const char *own;   /* for the occupant itself beside these, with "110"; NULL: that alone */
    slice nick;        /* of a change (303): the new one */
    slice actor_nick, reason;
    slice alternate, password; /* of a destroyed room, with `destroyed` */
    bool destroyed;
    bool all; /* everybody leaves: each hears it of itself alone (§10.9, §11.2) */
    const struct stanza *left; /* what the client said on leaving; NULL: nothing */
};
/* Tells all who should see it; the occupant's own seats with 110. */
void room_show(struct room *r, struct occupant *o, const struct show *how);
/* Shows that it left (or must leave) and forgets it. */
void room_leave(struct room *r, struct occupant *o, const struct show *how);
/* The same for all who are there: the room is not to be reached any more. */
void room_leave_all(struct room *r, const struct show *how);
/* One of its seats left; the last one takes the occupant with it. */
void room_seat_leave(struct room *r, struct seat *s, const struct show *how);
/* It does not exist any more (§18.1), as an error said: it leaves soon, with 333, unless it enters
 * again before. Errors come back from inside of what is sent to all, so not at once. */
void room_seat_gone(struct room *r, struct seat *s);
/* Whether `viewer` sees real JIDs. */
bool room_shows_jids(const struct room *r, const struct occupant *viewer);

/* Applies what changed to those in the room (§9, §10): new affiliation, role or both, with the
 * presence that tells; who may not be here any longer leaves. */
void room_set_role(struct room *r, struct occupant *o, enum room_role role, const struct show *how);
bool room_affiliation_changed(struct room *r, slice jid, const struct show *how); /* is here */

/* Stanzas, for READY rooms. All take over st. */
enum routed room_presence(struct room *r, struct stanza *st);                      /* join.c */
enum routed room_message(struct room *r, struct stanza *st, struct origin origin); /* say.c */
enum routed room_iq_relay(struct room *r, struct stanza *st);                      /* relay.c */

extern struct log_area log_muc;
