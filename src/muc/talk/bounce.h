/* bounce: errors that come back to a room: does their sender still exist? (XEP-0045 §18.1) */
#pragma once
#include "home/router.h"

struct room;
struct seat;

/* Whether the error says that its sender does not exist (any more). Another server that cannot be
 * reached does not put its occupants out: they leave when it is lost (muc/parts/remote.c). */
bool room_bounce_is_gone(const struct room *r, const struct stanza *st);
/* A private message goes to a seat. The last PRIVATES_MAX of a room to seats of this server, and
 * the same number of those to others, are remembered, so that an error can be told from one about
 * what the room says to all: both go to the nickname of the speaker, and servers do not repeat the
 * message in it. */
enum { PRIVATES_MAX = 128 };
void room_private_sent(struct room *r, const struct seat *to, const struct stanza *st);
/* Whether an error from a seat is about one of these. */
bool room_private_back(const struct room *r, const struct seat *s, const struct stanza *error);
/* The same for an error from who sits here no more: it may have waited for another server for long.
 */
bool room_private_late(const struct room *r, const struct stanza *error);
/* Asks the server of this seat, which is another one, whether its session still exists: by a
 * message without content. If that cannot be sent, parts are told (`unsent`). */
void room_ask_remote(const struct room *r, const struct seat *s);
/* An error from this seat (NULL: from nobody who is here) to what the room sent to it: the session
 * may be gone. If it stays, parts are told of presence that was not sent (`unsent`). */
void room_bounced(struct room *r, struct seat *s, const struct stanza *st);
