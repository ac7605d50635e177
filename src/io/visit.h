/* visit: one connection that this server makes for a short errand, such as a question to an OCSP
 * responder or a mail to a relay: it looks up the host, dials, and hands over what is said. It
 * speaks in the clear; TLS may begin later.
 *
 * Limits: VISIT_INPUT_MAX bytes that the owner leaves unread, VISIT_OUTPUT_MAX of output, and one
 * deadline for all of it. Confined to its loop. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

union address;
struct loop;
struct resolver;
struct tls_peer;
struct tls_trust;
struct tls_wanted;
struct visit;

enum { VISIT_HOST_MAX = 253, VISIT_INPUT_MAX = 128 << 10, VISIT_OUTPUT_MAX = 4 << 20 };

/* None is called from inside a call on the visit. */
struct visit_ops {
    void (*opened)(struct visit *v);  /* connected */
    void (*secured)(struct visit *v); /* TLS stands; NULL: it never begins */
    /* Unread bytes; returns how many were taken. */
    size_t (*input)(struct visit *v, slice data);
    /* The last callback: the visit is gone. why: what failed, for an operator; NULL: one of both
     * sides has ended it in order. */
    void (*ended)(void *arg, const char *why);
};

struct visit_options {
    struct resolver *resolver;
    slice host; /* a name with A-labels, or an address in numbers, IPv6 without brackets */
    uint16_t port;
    uint32_t deadline_ms;
    /* Addresses of this machine and its link are not dialled: a stranger names the host. */
    bool not_local;
};

/* The host is an address in numbers that `not_local` forbids. */
bool visit_is_forbidden(slice host);
/* Within ended(): no address was dialled, because `not_local` forbids all. */
bool visit_was_forbidden(const struct visit *v);
/* NULL: the host is longer than VISIT_HOST_MAX, or empty. */
struct visit *visit_start(struct loop *loop, const struct visit_options *options,
                          const struct visit_ops *ops, void *arg);
void *visit_arg(const struct visit *v);
void visit_peer(const struct visit *v, union address *out); /* after opened() */
void visit_write(struct visit *v, slice data);              /* after opened() */
/* As a client, with the policy of the relay of mails (io/tls_policy.h). trust: the certificate of
 * the host must lead to it and name the host, else the visit ends; NULL: who the host is, is not
 * checked. */
void visit_start_tls(struct visit *v, struct tls_trust *trust);
/* The same for a server that is called by another name than its host, with one protocol of ALPN;
 * empty: none. Whatever its certificate is, the visit goes on. */
void visit_start_tls_as(struct visit *v, slice server_name, slice protocol,
                        struct tls_trust *trust);
/* After secured(), of a call with `trust`: what was found about its certificate, and whether that
 * has this name. */
const struct tls_peer *visit_tls_peer(const struct visit *v);
bool visit_is_named(const struct visit *v, const struct tls_wanted *wanted);
void visit_close(struct visit *v);   /* after what was written; ended() follows */
void visit_cancel(struct visit **v); /* no callback follows; NULL is fine */
/* How many there are in the process, with those that were cancelled and still close. Any thread. */
unsigned visit_count(void);
