/* s2s_find: makes a connection to the server of a foreign domain: by the static routes of the
 * patterns that match, the most specific first, then by the DNS (RFC 6120 §3.2, XEP-0368), or at
 * the domain itself, if that is an IP address. Hosts are tried one after the other.
 *
 * Limits: after FIND_MS no other host is tried; DIAL_MS for each connection, STEPS_MAX hosts, among
 * them REDIRECTS_MAX that servers have named; s2s.connecting finds at a time on a node, others wait
 * for their turn, for s2s.retry-for, or QUEUE_MIN_MS if that is more: domains that are known first,
 * then those for stanzas, then those for questions alone, which are at most one in ASKED_SHARE;
 * among each of these, senders take turns. Confined to its worker. */
#pragma once
#include "gate/s2s/s2s_gate.h"
#include "gate/s2s/s2s_stage.h"
#include "xmpp/stanza_error.h"

struct s2s_find;

struct s2s_found {
    struct conn *conn; /* NULL: none is left. The caller's, and not started */
    bool tls;          /* TLS begins at once */
    slice host;        /* that was dialled: HOST:PORT, or an address with a port; as `why` below */
    /* Without a connection: what senders are told, whether another attempt would end in the same
     * way, and why, for an operator; valid during the callback. */
    enum stanza_error error;
    bool hard;
    enum s2s_stage stage; /* of the last host that was tried; or of the DNS, if none was */
    slice why;
};
/* Never from inside s2s_find_start(). Without a connection the find is gone then; with one it waits
 * for s2s_find_go_on() or s2s_find_cancel(). */
typedef void s2s_found_fn(void *arg, const struct s2s_found *found);

/* A step that was looked up or tried, for an operator. Of a route, the DNS or TCP; text: valid
 * during the callback. */
typedef void s2s_find_told_fn(void *arg, enum s2s_stage stage, bool fine, slice text);

struct s2s_find_for {
    slice domain;
    bool asks;      /* for questions about keys alone */
    bool anew;      /* for an operator: the DNS is asked anew */
    bool known;     /* it goes before those that were never reached */
    uint16_t owner; /* who takes turns: below S2S_SENDER_SLOTS */
};

struct s2s_find *s2s_find_start(struct s2s_gate *g, struct worker *w,
                                const struct s2s_find_for *what, s2s_found_fn *done, void *arg);
bool s2s_find_waits(const struct s2s_find *f); /* for its turn */
extern const char s2s_find_no_turn[];          /* why it ends that has waited for too long */
void s2s_find_init(struct s2s_worker *sw, struct worker *w);
/* Right after s2s_find_start(): each step is told, with the `arg` of that. */
void s2s_find_watch(struct s2s_find *f, s2s_find_told_fn *told);
enum s2s_stage s2s_find_stage(const struct s2s_find *f); /* under way: the DNS or TCP */
/* Why hosts before have failed, and the stage of the last failure; empty, and S2S_AT_NONE: none
 * has. Valid until the next is tried. */
slice s2s_find_said(const struct s2s_find *f, enum s2s_stage *failed);
/* A host in place of what routes and the DNS say of a domain. */
struct s2s_find_at {
    slice host;    /* HOST or ADDRESS, with :PORT or without; IPv6 in brackets */
    uint16_t port; /* where none is given */
    bool tls;      /* it begins at once */
};
struct s2s_find *s2s_find_host(struct s2s_gate *g, struct worker *w, const struct s2s_find_at *to,
                               s2s_found_fn *done, void *arg);
/* The end of a try at a host; of all of them together, the last of these that one came to. */
enum s2s_outcome {
    S2S_MISSING, /* it has no address, or its server does not know the domain */
    S2S_HARD,    /* it was of no use, and would not be again */
    S2S_SOFT,    /* it may be at another time */
    S2S_BLOCKED  /* a route forbids the first one */
};
/* The connection that was found was of no use, and why, for an operator. false: no other host is
 * left, nothing happens. true: others are tried; the callback may come from inside. */
bool s2s_find_go_on(struct s2s_find *f, enum s2s_stage stage, slice why, enum s2s_outcome outcome);
bool s2s_find_is_hard(const struct s2s_find *f); /* of all hosts that were tried */
/* Whether the connection that was found may do without TLS: it is by such a route. */
bool s2s_find_may_be_plain(const struct s2s_find *f);
/* What the server at the connection says in see-other-host (RFC 6120 §4.9.3.19): tried next, unless
 * it was tried, is a domain of ours, or too many were named. */
void s2s_find_see_other(struct s2s_find *f, slice host);
void s2s_find_cancel(struct s2s_find **f); /* no callback comes afterwards; NULL is fine */

/* A domain as the DNS and certificates have it, with A-labels; empty: it has no such form. */
slice s2s_ascii(slice domain, struct arena *tmp);

/* The name that TLS tells the server of that domain; empty: none, of an address (RFC 6066 §3). */
slice s2s_server_name(slice domain, struct arena *tmp);

/* Forgets what the DNS has said of a domain, and of hosts below it. */
void s2s_find_forget(struct s2s_gate *g, struct worker *w, slice domain);

/* `changed` of s2s.connecting, and of s2s.dns-servers. */
void s2s_connecting_changed(struct worker *w, const struct setting *s);
void s2s_dns_servers_changed(struct worker *w, const struct setting *s);
