/* renaming: an account gets another address, or a domain of ours another name: which addresses that
 * changes, and into what. A domain is renamed with all that is below it: its services
 * (conference.example.test), further domains of rooms, components.
 *
 * Pure. Addresses are prepared. Limit: RENAMING_NAMES_MAX names. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct arena;

enum { RENAMING_NAMES_MAX = 1000 };

struct renaming {
    struct arena *arena;       /* of the names */
    const char *old, *to;      /* two bare JIDs of accounts, or two domains */
    bool domain;               /* these are domains */
    const char *const *others; /* domains of ours that keep their names; NULL-terminated */
    const char **name;         /* what changes: the address, or the domain and those below it */
    unsigned count;
};

/* With one name, `old`. */
struct renaming renaming_begin(struct arena *arena, const char *old, const char *to,
                               const char *const *others);
/* A name is renamed, too, if it is below the domain, and not below another domain of ours. Once it
 * is there this does nothing. E_LIMIT: there are too many. */
NODISCARD enum err renaming_add(struct renaming *r, slice name);
/* From the new names to the old ones; in the same arena. */
struct renaming renaming_reverse(const struct renaming *r);

/* Whether a bare or full JID, or a domain, changes. */
bool renaming_means(const struct renaming *r, slice jid);
/* The new address, in tmp; the address itself if it does not change. */
slice renaming_of(const struct renaming *r, slice jid, struct arena *tmp);
/* Whether a text of any kind contains the address, or the domain or one below it, and not only as a
 * part of another. */
bool renaming_in_text(const struct renaming *r, slice text);
