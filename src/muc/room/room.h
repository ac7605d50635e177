/* room: one chat room (XEP-0045): its configuration, who is affiliated, who is in it. An actor
 * (home/actor.h) at the home of its bare JID, confined to that worker.
 *
 * ABSENT -> READY when somebody creates it; READY -> ABSENT when it ends. An ad hoc room is memory
 * and ends with its last occupant; a persistent one is in the database as well, and is unloaded
 * when nobody has been in it for muc.unload-after.
 *
 * Stored state changes by room_commit() (muc/state/change.h) only: the change is a value, applied
 * when it is committed, one at a time; messages do not wait for it.
 *
 * Functions of muc/ that take a room run on its worker. What they are given is borrowed unless they
 * take it over. Bare JIDs are prepared (xmpp/jid.h).
 *
 * Limits: those of muc/room/settings.h and muc/room/rooms.h. */
#pragma once
#include "archive/recent.h"
#include "base/list.h"
#include "base/map.h"
#include "core/audience.h"
#include "home/actor.h"
#include "home/here.h"
#include "io/timer.h"
#include "muc/archive/archive.h"
#include "muc/archive/history.h"
#include "muc/room/config.h"
#include "muc/room/occupant_id.h"

struct arena;
struct due;
struct host;
struct log_area;
struct node;
struct stanza;
struct store;
struct worker;

/* What a nickname looks like, or the user whose it is. Maps hold the first of those with the same
 * text: several of one person, or all that look alike while muc.look-alike is off. */
struct alike {
    slice text; /* nickname_skeleton(), or a bare JID */
    struct alike *next;
};

/* Somebody with an affiliation, or with a nickname registered here. Behind it in its block is what
 * parts have of it (muc/room/part.h). */
struct affiliate {
    slice jid;         /* bare, or the domain of outcasts; in this block */
    slice nick;        /* registered (XEP-0045 §7.10); empty: none */
    slice key;         /* of the nickname, for comparison */
    struct alike look; /* of the nickname, if there is one */
    slice reason;      /* why it was given; empty: not said */
    uint8_t affiliation;
    bool follows;  /* registered for messages that are sent while it is not in the room */
    uint32_t here; /* sessions in the room */
};

/* Memory of it for the part whose memory in affiliates is `at` (struct affiliate_memory). */
static inline void *affiliate_memory(struct affiliate *a, unsigned at)
{
    return (char *)(a + 1) + at;
}

/* One session of an occupant. */
struct seat {
    struct list node; /* in occupant.seats */
    struct occupant *occupant;
    slice jid; /* full JID, in this block */
    uint16_t bare_len;
    uint64_t number;         /* unique in the room: of requests to others */
    struct list away;        /* in room.away; unlinked: it is in the audience */
    uint64_t asked_us;       /* of those away: when it came, or was last asked */
    bool ghost;              /* room_seat_gone(): it is about to leave */
    struct stanza *presence; /* the last that it sent */
};
static inline slice seat_bare(const struct seat *s) { return (slice){ s->jid.ptr, s->bare_len }; }

/* How much may still be said (muc/people/pace.c). */
struct pace {
    uint64_t at_us; /* monotonic; 0: nothing was said yet */
    uint32_t left;  /* thousandths of a message */
};

/* A nickname in the room, with all sessions of one bare JID that share it. */
struct occupant {
    struct list node;  /* in room.occupants, in the order of entering */
    struct list seats; /* the one that spoke last by presence is the last */
    slice nick, key;   /* in one block of their own; key: for comparison */
    struct alike look; /* its text is in the same block */
    struct alike user; /* its bare JID, in the block of the occupant */
    slice id;          /* XEP-0421, in the same block */
    uint32_t number;   /* unique in the room; its sessions' `seat` in the audience */
    uint8_t affiliation, role;
    bool hidden;
    bool known;              /* others have been shown that it is here */
    struct stanza *shown[2]; /* its presence as others see it, without and with its real JID;
                                NULL: to be made */
    bool late;               /* its last presence waits to be shown (muc/people/pace.c) */
    struct due *due;         /* it waits to be shown (muc/people/portion.c); NULL: it does not */
    struct pace pace;        /* of what it says */
    struct pace moves;       /* how often it has come and gone */
};

struct room {
    union {
        struct actor actor;
        struct {
            ACTOR_HEAD;
        };
    };
    const struct host *host;
    int64_t id;           /* owner of its archive; from ROOM_ID_MIN on */
    bool stored;          /* a persistent room: rows of the database */
    bool locked;          /* waits for its first configuration (§10.1.3) */
    bool opening;         /* locked, and about to be opened as it is (muc/state/lock.c) */
    bool beside;          /* something that is no such change was changed while one was under way */
    uint32_t changes_due; /* changes that change something, under way or not */
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
    uint64_t part_bytes;      /* that parts keep in memory and that count for who made the room */
    /* What of these two, and of the history, counts for who made the room (muc/room/makers.c). */
    int64_t weighed, history_weighed;
    struct list occupants;
    struct room_debts *debts;   /* of those who left; NULL: none */
    struct room_voices *voices; /* theirs, if given or taken; NULL: none */
    struct list relays;         /* of muc/talk/relay.c: requests that wait for an answer */
    uint32_t relay_count;
    struct room_guesses *guesses; /* wrong passwords of late; NULL: none */
    struct room_privates
        *privates;         /* messages that may come back (muc/talk/bounce.h); NULL: none */
    struct pace outsiders; /* all who are not in the room, together */
    struct timer late;     /* of occupants whose presence waits to be shown */
    struct list due;       /* what is still to be shown of a change (muc/people/portion.h) */
    struct timer portion;  /* of the next portion of that */
    bool is_showing;       /* the room is paused until all of it is shown */
    uint64_t portion_us;   /* the tick in which some of it was shown last */
    uint64_t portion_sent; /* presences, in that */
    struct timer lock;     /* of a locked room: it has waited long enough */
    struct map nicks;      /* struct occupant by key */
    struct map looks;      /* struct alike of occupants */
    struct map users; /* their struct alike `user`: the last to enter is the first of its list */
    struct map seats; /* struct seat by full JID */
    uint32_t occupant_count, hidden_count, seat_count, next_number;
    uint64_t next_seat;
    struct list away; /* seats that are not of this node: they are not in the audience */
    struct audience audience;
    uint64_t said_us;                 /* when somebody last spoke; 0: not since it was loaded */
    struct stanza *subject;           /* as it was relayed; NULL: none was set */
    struct room_subject *subject_due; /* not stored yet; NULL: it is */
    struct room_archive archive;
    struct room_history history;
    struct recents recents; /* what its sender may say again */
    uint32_t reads;         /* that are under way while it is loaded */
    void **slots;           /* of parts (muc/room/part.h): in this block */
};

/* Where a part keeps what it has of the room. */
static inline void **room_slot(const struct room *r, unsigned slot) { return &r->slots[slot]; }

static inline struct room *room_of(struct actor *a) { return CONTAINER_OF(a, struct room, actor); }

/* For ensure(): it is touched where it has its home; somebody keeps it from being unloaded. */
static inline bool room_here(const struct room *r) { return worker_is_here(r->worker); }
static inline bool room_is_pinned(const struct room *r) { return r->actor.pins > 0; }

/* The loop of its worker. */
static inline struct loop *room_loop(const struct room *r) { return worker_loop(r->worker); }
static inline struct arena *room_scratch(const struct room *r)
{
    return loop_scratch(worker_loop(r->worker));
}
static inline struct store *room_store(const struct room *r) { return worker_store(r->worker); }
static inline const struct node *room_node(const struct room *r) { return worker_node(r->worker); }
static inline bool room_is_stopping(const struct room *r) { return worker_stopping(r->worker); }

/* Whether it is the one of this id still: another may have its name by now. */
static inline bool room_is(const struct room *r, int64_t id)
{
    return r->state == ACTOR_READY && r->id == id;
}

extern struct log_area log_muc; /* of group chat as a whole */
