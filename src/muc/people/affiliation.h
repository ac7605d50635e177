/* affiliation: the affiliations of a room (XEP-0045 §5.2), with registered nicknames. */
#pragma once
#include "base/slice.h"
#include "xmpp/muc.h"

struct affiliate;
struct room;
struct stanza;

struct affiliation_edit {
    slice jid; /* bare, or a domain */
    enum affiliation affiliation;
    slice nick, reason; /* ptr NULL: as it is */
    bool follows;
};
/* An edit that changes the affiliation and leaves all else as it is. Borrows jid. */
struct affiliation_edit room_edit(const struct room *r, slice jid, enum affiliation to);
/* The same edit with the nickname and the reason of the affiliate where it leaves them as they are.
 */
struct affiliation_edit room_edit_whole(const struct room *r, const struct affiliation_edit *e);
/* By how many bytes, at most, the edit lets the list of affiliations grow (negative: shrink). */
int64_t room_edit_growth(const struct room *r, const struct affiliation_edit *e);

enum affiliation room_affiliation(const struct room *r, slice bare);
struct affiliate *room_affiliate(const struct room *r, slice jid); /* NULL: none */
/* Whether the sender of this is in the room, or may enter without approval: only such users are
 * told what goes on there. */
bool room_admits(const struct room *r, const struct stanza *st);
/* The affiliate whose registered nickname this is (a key); NULL: nobody's. */
struct affiliate *room_reserved(const struct room *r, slice key);
/* Whether another than `bare` has registered this nickname (enforced), or one that looks like it.
 */
bool room_nick_reserved(const struct room *r, slice nick, slice bare);

/* In memory only: makes an edit part of the room; frees all affiliates. */
void affiliate_put(struct room *r, const struct affiliation_edit *e);
void affiliates_free(struct room *r);
