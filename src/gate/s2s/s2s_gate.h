/* s2s_gate: what the streams and peers of federation stand on: the edge of a node and its part
 * on a worker, and whose a domain is. */
#pragma once
#include "base/map.h"
#include "gate/s2s/s2s_stage.h"
#include "gate/xstream.h"
#include "home/node.h"
#include "io/pace.h"
#include "remote/outgoing.h"
#include <pthread.h>
#include <stdatomic.h>

struct s2s_gate;
struct s2s_peer;
struct tls_ctx;
struct tls_trusted;

enum {
    S2S_LOGIN_MS = 30000,        /* from the connection to the first stanza */
    S2S_HEADER_BYTES = 16 << 10, /* of a unit before that */
    S2S_OUTPUT_HIGH = 256 << 10,
    S2S_SENDER_SLOTS = 4096,
    S2S_DELAY_US = 10 * 1000000 /* a message that waited for so long says since when (XEP-0203) */
};

/* A line of `s2s list`. Texts are valid during the call. */
struct s2s_shown {
    slice remote, local;
    const char *direction, *state, *tls, *auth;
    uint64_t since_s;
    uint32_t queue;
    uint64_t overflows;           /* stanzas that found no room in it */
    bool stored;                  /* stored messages wait, too, in the database */
    uint32_t unacked;             /* stanzas that were given to the stream and are not confirmed */
    const struct conn *conn;      /* NULL: there is none now */
    const struct conn_info *peer; /* NULL: it has no connection on this worker */
    slice host;                   /* that was dialled for it, with a port; empty: none */
    enum s2s_stage stage;         /* of the last failure, */
    slice why;                    /* and what it was */
    uint64_t link;      /* the id of its connection on a node: other lines may have it, too, */
    uint32_t link_node; /* and that node; link 0: there is none */
};
typedef void s2s_show_fn(const struct s2s_shown *shown, void *arg);

/* A test that is under way, as a member of what it is. */
struct s2s_test {
    struct list node;                 /* in s2s_worker.tests */
    void (*stop)(struct s2s_test *t); /* leaves the list */
};

/* The part of the edge on a worker. */
struct s2s_worker {
    struct xstreams in, out;
    struct list tests;      /* struct s2s_test: each is told when the edge stops */
    struct xstreams probes; /* of gate/s2s/s2s_probe.c: streams of tests */
    struct map in_by_id;
    struct list flows, kept; /* of s2s_in_sm.c, */
    struct map flow_by_id;
    uint32_t kept_count;
    struct resolver *resolver; /* of s2s_find.c; NULL: not needed yet */
    struct map peers;          /* struct s2s_peer */
    struct s2s_peer *pinger;   /* its ping is being routed; NULL: none is */
    struct list find_waits;    /* of s2s_find.c: finds for which there is no room yet */
    uint32_t find_turn;        /* the last that began, and the last of each sender */
    uint32_t find_turns[S2S_SENDER_SLOTS];
    uint32_t finding;             /* those that have begun, */
    uint32_t finding_asked;       /* and among them those for questions alone */
    struct pace find_pace;        /* how often one begins */
    struct outgoing_find pending; /* on the first worker: what the database has */
    struct timer domains_look;    /* on the first worker: of gate/s2s/s2s_domains.c */
    struct timer stored_look;     /* on the first worker: the same */
    struct store_op *stored_read; /* ... under way; NULL: none */
    int64_t stored;               /* ... as it was last said */
    struct timer stop;            /* then streams that are left are aborted */
};

struct s2s_gate {
    struct s2s_listener *listen; /* of s2s.c */
    size_t count;
    struct s2s_worker worker[NODE_WORKERS_MAX];
    struct conn_limits limits;
    pthread_mutex_t lock; /* guards tls */
    struct tls_ctx *tls;
    _Atomic uint32_t tls_changes;  /* of tls */
    struct tls_trusted *trusted;   /* never without one */
    _Atomic int64_t waiting_bytes; /* of stanzas and peers, in all */
    /* Peers of domains that were never reached: of senders (gate/s2s/peer/s2s_peer.c), and in all.
     */
    _Atomic uint16_t unreached[S2S_SENDER_SLOTS];
    _Atomic uint32_t unreached_all;
};

static inline struct s2s_worker *s2s_worker(struct s2s_gate *g, const struct worker *w)
{
    return &g->worker[worker_index(w)];
}
/* The port of the first listener with STARTTLS and without a PROXY header; 0: none. */
uint16_t s2s_port(const struct s2s_gate *g);
struct s2s_gate *s2s_gate_of(const struct worker *w); /* NULL: the node has no such edge */
struct tls_ctx *s2s_tls(struct s2s_gate *g);          /* a reference for the caller. Any thread */
/* It differs when certificates were loaded meanwhile. Any thread. */
static inline uint32_t s2s_tls_version(const struct s2s_gate *g)
{
    return atomic_load(&g->tls_changes);
}
/* Asks for the certificate of another server, to be judged by what is trusted now. */
void s2s_ask_certificate(struct s2s_gate *g, struct conn *c);

/* Whether it is ours: a domain of the node, a service, or a component. On a worker. */
bool s2s_is_ours(struct worker *w, slice domain);
/* The same, or a service that has been switched off or taken away: it has last words to say, and
 * answers. Servers that check keys (dialback) do not take them, since such a domain is unknown to
 * who asks here. On a worker. */
bool s2s_was_ours(struct worker *w, slice domain);
/* Whether this domain of ours federates at all. On a worker, as the next two. */
bool s2s_federates(struct worker *w, slice local);
/* Whether the policy keeps a domain of ours and this foreign one from exchanging stanzas, or a
 * route blocks it: the rule of this edge. NULL: neither. */
const struct foreign_ban *s2s_policy_bans(struct worker *w, slice local, slice remote);
/* The same by the rules of all features. */
bool s2s_may(struct worker *w, slice local, slice remote);
/* A foreign domain, by its name, that the policy lets speak with that one of ours. */
bool s2s_is_partner(struct worker *w, slice local, slice remote);
/* Why it is none. NULL: it is one. */
const struct foreign_ban *s2s_ban(struct worker *w, slice local, slice remote);
