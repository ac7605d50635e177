/* mention: tells devices that are away of messages that name their user. Members who are not in the
 * room are told (stage PUSH at the home of the account), also when they do not follow the room;
 * nothing is delivered to them. A mention is a registered nickname, or the localpart of an account
 * of the room's domain, as words of the text, or a reference (XEP-0372 §3.2).
 *
 * Limits: the first TEXT_BYTES of a text and WORDS_MAX words of it are looked at, each by hash, no
 * list is searched; MENTIONED_MAX people a message; each once in AGAIN_MS a room. */
#pragma once
#include "base/slice.h"

struct room;
struct stanza;

/* speaker: bare JID of the author. */
void room_tell_mentioned(struct room *r, struct stanza *st, slice speaker);
