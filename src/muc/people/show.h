/* show: what a room sends to its occupants, and what they are shown of each other: presence with
 * the element of XEP-0045 §7.2.2 and the occupant id (XEP-0421). What goes to many is made once and
 * shared. */
#pragma once
#include "base/slice.h"

struct xml_write;
struct occupant;
struct room;
struct seat;
struct stanza;

enum { MORE_CHILDREN = 4 }; /* that the room adds to what occupants send */

enum { TO_MODERATORS = 1, TO_OTHERS = 2, TO_ALL = 3 };
/* but: not to this occupant; NULL: to all. */
void room_send_all(struct room *r, struct stanza *st, unsigned whom, const struct occupant *but);
/* A message of the room itself with these status codes (§15.6.2). */
void room_announce(struct room *r, const unsigned *code, unsigned count);

/* Appends an occupant id (XEP-0421): the last child of everything that the room relays for an
 * occupant. */
void occupant_id_write(struct xml_write *x, slice id);
/* Appends the stanza-id (XEP-0359) of a message of the room. */
void stanza_id_write(struct xml_write *x, const struct room *r, uint64_t id);
/* Whether `viewer` sees real JIDs. */
bool room_shows_jids(const struct room *r, const struct occupant *viewer);
/* TO_ bits of those who see real JIDs (with_jid 1), or who do not (0); 0: nobody. */
unsigned room_seeing(const struct room *r, unsigned with_jid);
bool occupant_visible(const struct room *r, const struct occupant *o); /* to others */
/* The nickname of an occupant who did something; empty: it is hidden. */
slice occupant_shown_nick(const struct occupant *o);
/* Presence of o for those who see real JIDs (with_jid 1), or who do not (0); shared, owned by o. */
struct stanza *occupant_shown(struct room *r, struct occupant *o, unsigned with_jid);

/* Parts of an occupant's presence beside what is stored (§16): all may be empty. */
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
/* Tells all who should see it; the occupant's own seats with 110. A seat of another server that is
 * removed gets it with an id (muc/people/removal.h). */
void room_show(struct room *r, struct occupant *o, const struct show *how);
/* Makes the presence that tells others that o leaves, with its real JID (with_jid 1) or without
 * (0). It has no `to`. The caller owns the reference. */
struct stanza *occupant_leaving(struct room *r, struct occupant *o, unsigned with_jid,
                                const struct show *how);
/* Tells all others that o is here. */
void room_show_entered(struct room *r, struct occupant *o);
/* Status codes of the room as it is, which its occupants must know (§7.2.3, §7.2.5): static. */
const char *room_codes(const struct room *r);
/* Tell one of its own seats alone, with 110: its presence, with these codes; that its nickname was
 * this one, and has changed; that it has left. */
void room_show_self(struct room *r, struct occupant *o, const struct seat *s, const char *codes);
void room_show_renamed(struct room *r, struct occupant *o, const struct seat *s, slice was);
void room_show_left(struct room *r, struct occupant *o, const struct seat *s,
                    const struct show *how);
