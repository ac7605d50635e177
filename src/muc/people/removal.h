/* removal: the id of the presence that tells a session of another server that it is out of the
 * room. The presence may come back as an error when the seat is gone, and perhaps the room. An
 * error has the id of what it answers, so the id says all that is needed to tell it again
 * (muc/parts/removed.c): "removed PROOF SINCE TRIES AFFILIATION CODES", with "destroy" as the first
 * of the codes if the room was destroyed. Clients choose ids, too, and their unavailable presence
 * keeps them. So the first number is a keyed hash of the address of the session, which they do not
 * know. */
#pragma once
#include "base/slice.h"
#include "xmpp/muc.h"

enum { REMOVAL_CODES_MAX = 32, REMOVAL_ID_MAX = 128 };

struct removal {
    int64_t since_s; /* wall clock: when it came back first; 0: it has not */
    int64_t tries;   /* how often it was sent again */
    enum affiliation affiliation;
    bool destroyed;
    slice codes; /* "307 333"; of at most REMOVAL_CODES_MAX bytes */
};

/* In id; it is returned. jid: of the session. */
slice removal_id(char id[REMOVAL_ID_MAX], const struct removal *m, slice jid);
/* Borrows id. false: it is no such id, or that of another session. */
bool removal_read(slice id, slice jid, struct removal *out);
