/* s2s_policy: patterns of foreign domains, in settings and in rows of federation. Operators write
 * them with any form of the domain (RFC 7622 §3.2); other domains are prepared. Pure; any thread.
 */
#pragma once
#include "base/slice.h"

struct arena;

/* The pattern with its domain prepared; false: it is none. */
bool s2s_pattern_read(slice text, struct arena *tmp, slice *pattern);
/* "partner.test" is that domain; "*.partner.test" all below it, at any depth, and no address; "*"
 * all. */
bool s2s_pattern_matches(slice pattern, slice domain);
/* Whether one of the patterns, separated by spaces, matches. */
bool s2s_patterns_match(slice patterns, slice domain);

/* For settings: `check` and `form` of struct param. */
bool s2s_pattern_ok(slice pattern);
bool s2s_patterns_ok(slice patterns);
bool s2s_dns_servers_ok(slice servers);
#define S2S_PATTERNS_FORM                                                                          \
    "domains with spaces between them; *.DOMAIN is all below it, * is all, and an IP address is "  \
    "written in full"
#define S2S_PATTERN_FORM "DOMAIN, *.DOMAIN for all below it, * for all, or an IP address in full"

#define S2S_DNS_SERVERS_FORM "addresses with or without a port, and commas between them"
