/* nickname: names of occupants in a room: the PRECIS profile Nickname (RFC 8266) and skeletons that
 * are equal for names which look alike (UTS 39 §4). Two nicknames are in conflict when their keys
 * or their skeletons are equal.
 *
 * Pure; any thread. ASCII takes a fast path without ICU, whose table of confusables is opened at
 * the first other name and lives as long as the process. Results borrow the argument or lie in
 * `tmp`; none is longer than PRECIS_OUTPUT_MAX bytes. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct arena;

/* As it is shown: spaces trimmed and collapsed, NFKC. It is a valid resource of a JID too.
 * E_SYNTAX: not UTF-8, forbidden characters, too long, or nothing but spaces (XEP-0045 §7.2). */
NODISCARD enum err nickname_enforce(slice text, struct arena *tmp, slice *out);
/* The same, and E_SYNTAX if it is longer than `most` bytes then. */
NODISCARD enum err nickname_enforce_within(slice text, size_t most, struct arena *tmp, slice *out);

/* Key of a nickname that was enforced: for comparing (RFC 8266 §2.4), whatever the case. */
slice nickname_key(slice nickname, struct arena *tmp);
/* And what it looks like: "Iarry" and "larry", "b0b" and "Bob" and a "bоb" with a Cyrillic letter.
 */
slice nickname_skeleton(slice nickname, struct arena *tmp);
