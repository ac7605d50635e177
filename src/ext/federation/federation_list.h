/* federation_list: domains and addresses that the server does not communicate with, read from a
 * text: one pattern a line, empty lines and comments from `#` to the end of the line.
 *
 *   spam.example          this domain
 *   *.spam.example        all domains below it, at any depth
 *   bob@spam.example      this address
 *   win*@spam.example     addresses whose name fits; `*` is any number of characters
 *
 * Domains and names are prepared (RFC 7622), so upper case makes no difference. Immutable when
 * made, any thread. Limits: FEDERATION_LIST_BYTES of text, FEDERATION_LIST_LINES patterns, of these
 * FEDERATION_LIST_GLOBS with `*` in the name. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

enum {
    FEDERATION_LIST_BYTES = 8 << 20,
    FEDERATION_LIST_LINES = 200000,
    FEDERATION_LIST_GLOBS = 1000
};

struct federation_list;

/* E_SYNTAX, E_LIMIT: `why` names the line and what is wrong with it; nothing is made. */
NODISCARD enum err federation_list_read(struct federation_list **out, slice text, struct why *why);
void federation_list_free(struct federation_list **l);           /* NULL in it is fine */
uint32_t federation_list_count(const struct federation_list *l); /* patterns; NULL: 0 */
/* The first line with a pattern that nothing fits, as there is no domain below an address: *.2.1.
 * 0: there is none. */
uint32_t federation_list_useless(const struct federation_list *l);

/* Prepared. NULL: an empty list. */
bool federation_list_has_domain(const struct federation_list *l, slice domain);
/* A bare address: its domain is listed, or it is. */
bool federation_list_has(const struct federation_list *l, slice bare);
