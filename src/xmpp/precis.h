/* precis: preparation of internationalised text: the PRECIS profiles UsernameCaseMapped,
 * OpaqueString and Nickname (RFC 8264, RFC 8265, RFC 8266) and domain names (UTS 46
 * non-transitional, restricted to what IDNA2008 allows, RFC 5892). For text that has left the ASCII
 * fast path of jid.c or nickname.c.
 *
 * ICU objects are opened at the first use and live as long as the process; any thread. Results are
 * copies in `tmp`. E_SYNTAX: not UTF-8, forbidden characters, empty, or over PRECIS_OUTPUT_MAX
 * bytes. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct arena;

enum {
    PRECIS_INPUT_MAX = 4092,  /* bytes: four times what may come out */
    PRECIS_OUTPUT_MAX = 1023, /* bytes: a part of a JID, RFC 7622 §3 */
};

NODISCARD enum err precis_username(slice text, struct arena *tmp, slice *out);
NODISCARD enum err precis_opaque(slice text, struct arena *tmp, slice *out);
/* SASLprep (RFC 4013), which most clients do to passwords. It is NFKC where OpaqueString is NFC. */
NODISCARD enum err precis_saslprep(slice text, struct arena *tmp, slice *out);
/* Why precis_opaque() does not take it: what the text has. */
const char *precis_opaque_problem(slice text, struct arena *tmp);
/* For comparing whatever the case and the form of characters: NFKC_Casefold (Unicode §3.13). */
NODISCARD enum err precis_fold(slice text, struct arena *tmp, slice *out);
/* Nickname: as it is shown (`most` bytes, up to PRECIS_OUTPUT_MAX), and as it is compared. */
NODISCARD enum err precis_nickname(slice text, size_t most, struct arena *tmp, slice *out);
NODISCARD enum err precis_nickname_key(slice text, struct arena *tmp, slice *out);
NODISCARD enum err precis_domain(slice text, struct arena *tmp, slice *out); /* a final dot stays */
/* The same with A-labels, as the DNS has it. */
NODISCARD enum err precis_domain_ascii(slice text, struct arena *tmp, slice *out);
