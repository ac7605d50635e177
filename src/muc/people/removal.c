#include "muc/people/removal.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "xmpp/jid.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Hashes more than the address: what a hash table makes of that stays secret. */
static int64_t removal_proof(slice jid)
{
    char text[JID_MAX + 1];
    ensure(jid.len <= JID_MAX);
    text[0] = '!';
    memcpy(text + 1, jid.ptr, jid.len);
    return (int64_t)(hash_keyed((slice){ text, jid.len + 1 }) & INT64_MAX);
}

slice removal_id(char id[REMOVAL_ID_MAX], const struct removal *m, slice jid)
{
    ensure(m->codes.len <= REMOVAL_CODES_MAX);
    int n =
        snprintf(id, REMOVAL_ID_MAX, "removed %" PRId64 " %" PRId64 " %" PRId64 " %d%s%s%.*s",
                 removal_proof(jid), m->since_s, m->tries, (int)m->affiliation,
                 m->destroyed ? " destroy" : "", m->codes.len > 0 ? " " : "", SLICE_ARG(m->codes));
    ensure(n > 0 && n < REMOVAL_ID_MAX);
    return (slice){ id, (size_t)n };
}

static bool removal_number(slice *rest, int64_t most, int64_t *out)
{
    slice word;
    return slice_word(rest, &word) && slice_int(word, out) && *out >= 0 && *out <= most;
}

static bool removal_codes_fit(slice codes)
{
    slice rest = codes;
    int64_t code;
    while (rest.len > 0)
        if (!removal_number(&rest, 999, &code) || code < 100)
            return false;
    return codes.len <= REMOVAL_CODES_MAX;
}

bool removal_read(slice id, slice jid, struct removal *out)
{
    slice rest = id, word;
    int64_t proof, affiliation;
    if (!slice_word(&rest, &word) || !slice_is(word, "removed") ||
        !removal_number(&rest, INT64_MAX, &proof) || proof != removal_proof(jid) ||
        !removal_number(&rest, INT64_MAX, &out->since_s) ||
        !removal_number(&rest, INT32_MAX, &out->tries) ||
        !removal_number(&rest, AFFILIATIONS - 1, &affiliation))
        return false;
    out->affiliation = (enum affiliation)affiliation;
    slice codes = rest;
    out->destroyed = slice_word(&rest, &word) && slice_is(word, "destroy");
    out->codes = out->destroyed ? rest : codes;
    return removal_codes_fit(out->codes);
}
