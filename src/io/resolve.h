/* resolve: asks the name servers of the system, or those of a setting, without blocking the loop
 * (c-ares). The same question is asked once while its answer is awaited or remembered: for as long
 * as its TTL says, at least RESOLVE_TTL_MIN_S and at most RESOLVE_TTL_MAX_S. That there is no such
 * name is remembered as RFC 2308 says, at most RESOLVE_NONE_S; that no server answers, for
 * RESOLVE_FAILED_S. A host in /etc/hosts has the addresses that are there and no others; the file
 * is read for each question about a host that is not remembered, for which the loop waits.
 *
 * Limits: RESOLVE_NAMES_MAX answers are remembered, the longest unused goes first;
 * RESOLVE_ASKED_MAX questions are under way, others fail at once with RESOLVE_BUSY. A question is
 * under way until it is answered or no server is waited for any longer (4.5 s for each of them),
 * also when nobody waits for it any more: who asks on behalf of strangers limits how many. Confined
 * to its loop. */
#pragma once
#include "base/err.h"
#include "io/address.h"
#include "io/dns_read.h"

enum {
    RESOLVE_NAMES_MAX = 4096,
    RESOLVE_ASKED_MAX = 1024,
    RESOLVE_ADDRESSES_MAX = 16, /* of one host; the rest is left out, but some of each family */
    RESOLVE_TTL_MIN_S = 5,
    RESOLVE_TTL_MAX_S = 86400,
    RESOLVE_NONE_S = 60,
    RESOLVE_FAILED_S = 5
};

struct loop;
struct resolver;
struct resolve;

/* Of one loop. servers: "192.0.2.1, [2001:db8::1]:5353"; NULL: what the system uses: those of
 * /etc/resolv.conf, which is read again when it has changed and a question had no answer; without
 * that file 127.0.0.1. E_SYNTAX: not such a list; E_IO: they cannot be used. */
NODISCARD enum err resolver_create(struct resolver **out, struct loop *loop, const char *servers,
                                   struct why *why);
/* Nothing may be asked any more: each question was answered or cancelled. NULL is fine. */
void resolver_destroy(struct resolver **r);
/* Other servers from now on; what is remembered is forgotten. As resolver_create(): nothing has
 * changed if it fails. */
NODISCARD enum err resolver_servers(struct resolver *r, const char *servers, struct why *why);
/* Forgets what is remembered of a name and those below it; empty: of all. In lower case. */
void resolver_forget(struct resolver *r, slice name);

enum resolve_end {
    RESOLVE_FOUND,
    RESOLVE_NO_NAME, /* NXDOMAIN */
    RESOLVE_NO_DATA, /* the name has no such record */
    RESOLVE_TIMEOUT, /* no server has answered */
    RESOLVE_FAILED,  /* servers refuse, fail, answer nonsense, or none is there */
    RESOLVE_BUSY,    /* too many questions are under way */
    RESOLVE_END_COUNT
};

struct resolved {
    enum resolve_end end;
    const struct dns_srv *srv;    /* of resolve_srv() */
    const union address *address; /* of resolve_host(): with the port */
    size_t count;                 /* at least 1 if RESOLVE_FOUND, else 0 */
    const char *reason;           /* for an operator: "no such name"; static */
    bool remembered;
};
/* Called once, from the loop and never from inside the call that asks. What it is given is valid
 * during the callback. */
typedef void resolve_fn(void *arg, const struct resolved *result);

/* name: ASCII (A-labels), with or without a dot at its end. RESOLVE_NO_NAME if it is too long. The
 * resolve is gone when the callback comes. */
struct resolve *resolve_srv(struct resolver *r, slice name, resolve_fn *done, void *arg);
/* IPv6 first, then IPv4, for dial_start(). For IPv6 it waits 50 ms behind IPv4 (RFC 8305 §3; a
 * timer of the loop adds up to 200), for IPv4 2 s behind IPv6, because nobody adds it later. */
struct resolve *resolve_host(struct resolver *r, slice name, uint16_t port, resolve_fn *done,
                             void *arg);
void resolve_cancel(struct resolve **q); /* NULL is fine */
