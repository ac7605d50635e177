/* jid: XMPP addresses (RFC 7622): localpart by UsernameCaseMapped (lower-cased), resourcepart by
 * OpaqueString, domainpart by IDNA2008/UTS 46; each part at most 1023 bytes after preparation.
 * ASCII addresses take a fast path without ICU. Pure; a prepared JID is plain bytes, compared
 * bytewise. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct arena;

struct jid {
    slice full;                    /* local@domain/resource, prepared; the parts point into it */
    slice local, domain, resource; /* len 0: absent */
};

enum { JID_PART_MAX = 1023, JID_MAX = 3071 };

/* Parses and prepares. The result borrows `text` if it is prepared already (the usual case), else
 * it is in tmp. E_SYNTAX: not a JID. */
NODISCARD enum err jid_parse(struct jid *out, slice text, struct arena *tmp);
/* As above for text that is known to be prepared (ours, from the database): splits only. */
struct jid jid_split(slice prepared);
slice jid_bare(const struct jid *j); /* a prefix of full: local@domain, or the domain */
slice jid_bare_of(slice prepared);   /* the same of such a text */
static inline bool jid_is_bare(const struct jid *j) { return j->resource.len == 0; }
static inline bool jid_is_domain(const struct jid *j) { return j->local.len == 0; }
/* Whether a list, separated by spaces, is prepared addresses that all suit (NULL: any do). */
bool jid_words_suit(slice list, bool (*suits)(const struct jid *j));

/* Single parts (SASL user names, bind requests, settings). E_SYNTAX: forbidden characters or too
 * long. */
NODISCARD enum err jid_prep_local(slice text, struct arena *tmp, slice *out);
NODISCARD enum err jid_prep_domain(slice text, struct arena *tmp, slice *out);
/* Whether a prepared domain is an IP address: "192.0.2.1", "[2001:db8::1]" (RFC 7622 §3.2). It is
 * no name, so it is below none (RFC 9525 §6.5). */
bool jid_is_address(slice domain);
/* Whether domains can be below that prepared one. None is below an address, or a part of one: the
 * last label of a name is no number (RFC 3696 §2). */
bool jid_may_have_below(slice domain);
NODISCARD enum err jid_prep_resource(slice text, struct arena *tmp, slice *out);
/* A password that is set: OpaqueString of RFC 8265. */
NODISCARD enum err jid_prep_password(slice text, struct arena *tmp, slice *out);
/* The reason why a text is none: "has the character …". */
const char *jid_password_problem(slice text, struct arena *tmp);
/* The same by SASLprep, as clients prepare it for SCRAM (RFC 5802 §2.2). Compatibility characters
 * such as "µ", "½", "™" and full width become others, which OpaqueString keeps; some characters
 * that OpaqueString refuses go. Of a password that OpaqueString has prepared it makes the same as
 * of the original. */
NODISCARD enum err jid_prep_password_sasl(slice text, struct arena *tmp, slice *out);
/* A password that is compared: by OpaqueString, or, if that refuses it, by SASLprep. */
NODISCARD enum err jid_prep_password_given(slice text, struct arena *tmp, slice *out);

/* XEP-0106 JID escaping of a localpart, and back. */
slice jid_escape(slice text, struct arena *tmp);
slice jid_unescape(slice local, struct arena *tmp);
