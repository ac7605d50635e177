/* directed: the addresses that a session sent directed presence to (RFC 6121 §4.6). They are owed
 * its unavailable presence at the end, unless they have gone themselves.
 *
 * Lives in its session and runs at its home. An address costs its bytes and some 80 more; a room is
 * one address whatever nicknames the session has had there. Limit: presence.directed-max. */
#pragma once
#include "base/err.h"
#include "base/map.h"
#include "base/setting.h"

struct arena;
struct buf;
struct directed_place;
struct directed_target;
struct stanza;

struct directed {
    struct map by_bare; /* struct directed_place */
    uint32_t count;     /* of addresses */
    uint64_t bytes;     /* that they take here, and the presence that rooms keep of this session */
};

extern struct setting directed_max; /* presence.directed-max */

enum directed_kind { DIRECTED_USER, DIRECTED_ROOM };

/* Is told of each address that comes into a list or leaves it; a nickname that takes the place of
 * another one is both. It changes no list. NULL wherever one is asked for: nobody is told. */
struct directed_news {
    void (*fn)(void *arg, slice jid, bool there);
    void *arg;
};

/* *d is made by the first address and freed with the last; NULL: there is none.
 *
 * Another one; again: fine. In a room the last nickname that was sent holds until the room says
 * which one it is (XEP-0045 §7.2, §7.6). E_LIMIT: there are presence.directed-max. */
NODISCARD enum err directed_add(struct directed **d, slice jid, enum directed_kind kind,
                                const struct directed_news *news);
/* The session sent it unavailable presence; in a room the nickname does not matter. */
void directed_remove(struct directed **d, slice jid, const struct directed_news *news);
void directed_free(struct directed **d);
/* A room was sent a presence of so many bytes, which it keeps until the next one: they count for
 * the session (core/budget.h). Not a room, or not in the list: they do not. */
void directed_keeps(struct directed *d, slice jid, uint32_t bytes);
/* Presence of an address has arrived at this session. If it is unavailable or an error, the address
 * is removed (RFC 6121 §4.6.3), unless a room has only refused a change of the nickname. kind:
 * whether the sender is known to be a room. */
void directed_answer(struct directed **d, const struct stanza *st, enum directed_kind kind,
                     const struct directed_news *news);

/* Whether it has this bare JID, or a resource of it. */
bool directed_has(const struct directed *d, slice bare);
/* Whether the address has got presence that was sent to it, or to its bare JID. Of a bare JID:
 * whether one of its resources has; of a room: whether any nickname has. */
bool directed_reaches(const struct directed *d, slice jid);
/* From {0} on. false: there are no more. The address is built in a buffer of JID_MAX bytes. The
 * addresses that were given may be removed meanwhile, nothing added. */
struct directed_at {
    uint32_t slot;
    struct directed_place *place;
    struct directed_target *next;
};
bool directed_is_entered(const struct directed_at *at); /* a room that has said so */
bool directed_next(const struct directed *d, struct directed_at *at, char *buf, slice *jid);

/* As home/jids.h packs them, in the order of their bytes, each with a number: bits of
 * directed_bits. And back: they are prepared; those above the limit are passed over. */
enum directed_bits { DIRECTED_IS_ROOM = 1, DIRECTED_ENTERED = 2 };
void directed_save(const struct directed *d, struct buf *out, struct arena *tmp);
void directed_load(struct directed **d, slice packed);
