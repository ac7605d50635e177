/* s2s_in_private: what the files of s2s_in share: the stream of a server that has connected to us.
 */
#pragma once
#include "gate/s2s/link/s2s_in.h"
#include "gate/s2s/peer/s2s_peer.h"

struct in_back;
struct in_flow;

enum { IN_ID_BYTES = 16 };

/* What the peer has asked for: domains of foreign streams and ours, or what stood in their place.
 */
struct in_asked {
    slice remote, local;
};

/* Before the header is read, remote and local are empty; remote also if the header has no `from`.
 */
struct s2s_in {
    struct xstream x; /* first: it is the owner of the connection */
    struct s2s_gate *gate;
    struct peer_key peer; /* its address, as it is counted */
    struct list pairs;
    struct in_flow *flow;         /* of s2s_in_sm.c; NULL: nothing is counted */
    const struct in_asked *asked; /* it is being looked at; NULL: nothing but the header */
    struct in_back *back;         /* of s2s_in_back.c; NULL: nothing was written to it */
    uint8_t pair_count;           /* at most PAIRS_MAX */
    uint8_t failures;             /* of SASL; at most SASL_FAILURES_MAX */
    uint8_t resumptions;          /* that were asked for; at most RESUMPTIONS_MAX */
    uint8_t denied;               /* keys of dialback; at most DENIED_MAX */
    uint8_t unproved;   /* refusals of its certificate that were told; at most UNPROVED_TOLD */
    uint8_t unjudged;   /* those that nobody could judge; at most UNJUDGED_MAX */
    uint8_t end;        /* enum peer_end; PEER_END_FRESH: not known yet */
    bool both;          /* it takes stanzas of ours (XEP-0288) */
    uint32_t max_bytes; /* ... so large (XEP-0478); 0: it has not said */
    bool external;      /* its certificate has proved `remote` */
    bool broken;        /* it has ended without </stream:stream> or an error */
    bool read;          /* it has ended after our end: what was written to it has been read */
    bool ending;        /* we end it: see in_end() */
    bool draining;      /* ... when all that it brought is handled: nothing more is read */
    bool shut; /* nothing more is taken: a stanza was not counted, or domains may not speak */
    slice remote, local, lang; /* of the header; kept */
    char id[2 * IN_ID_BYTES + 1];
};

#define IN_IS_SHUT SLICE("not a domain that may connect here")

/* Ends it: what was written back is confirmed first, and what has come is handled, for a few
 * seconds in all. A stream that counts is read no more then; another one is read until its peer
 * ends it (RFC 6120 §4.4). */
void in_end(struct s2s_in *s);
void in_end_goes_on(struct s2s_in *s); /* something of that has happened */
static inline struct arena *in_scratch(const struct s2s_in *s)
{
    return loop_scratch(worker_loop(s->x.worker));
}

/* Dialback (XEP-0220), of s2s_in_dialback.c. */
struct elem;
struct pair;
/* true: the element was of dialback, and is done. The stream may have failed. */
bool s2s_in_dialback(struct s2s_in *s, const struct elem *e);
/* Answers the key of a pair: type "valid" or "invalid". */
void s2s_in_say_result(struct s2s_in *s, const struct pair *p, const char *type);

/* The pairs of domains that the stream speaks for, or claims to: s2s_in_pairs.c. Limits: PAIRS_MAX
 * pairs; CLAIMED_MAX while none of them is proved. */

enum {
    PAIRS_MAX = 64,
    CLAIMED_MAX = 8,
    PAIRS_TEXT_MAX = 8 << 10 /* of a message: pairs_first() */
};

/* A foreign domain that speaks over a stream, and the domain of ours that it speaks to. */
struct pair {
    struct list node; /* in s2s_in.pairs */
    bool proved;      /* else its key is being checked */
    const char *how;  /* static; "": not proved */
    uint64_t since_us;
    uint64_t heard_us;   /* of remote_domain_heard() */
    slice remote, local; /* in this block */
};

struct pair *pair_find(const struct s2s_in *s, slice remote, slice local);
struct pair *pair_add(struct s2s_in *s, slice remote, slice local); /* NULL: there are too many */
void pair_remove(struct s2s_in *s, struct pair *p);
void pairs_forget(struct s2s_in *s);
void pair_is_proved(struct s2s_in *s, struct pair *p, const char *how);
void pairs_broken(const struct s2s_in *s);  /* the stream has ended without a word */
void pairs_resumed(const struct s2s_in *s); /* it goes on for one that had */

/* The first that is proved, as a text; empty: none. Who resumes a stream must have it, too. */
slice pairs_first(const struct s2s_in *s);

/* A domain in an attribute; empty: it is absent, or no domain. */
slice in_domain(const struct s2s_in *s, slice attr);
/* Whether somebody may speak for this domain to that one; else the stream has failed. */
bool in_may_come_from(struct s2s_in *s, slice remote, slice local);
/* The stream fails for these, which the log names. */
void in_fail_for(struct s2s_in *s, slice remote, slice local, enum stream_error e, slice text);
/* Its certificate does not prove that domain, and nothing else would: told to the operator. */
void in_is_unproved(struct s2s_in *s, slice remote, slice local, const char *why);
/* A further domain does not get what it asks for on this stream, for another reason: the same. */
void in_is_not_admitted(struct s2s_in *s, slice remote, slice local, enum s2s_stage at,
                        const char *why);
bool in_may_authenticate(const struct s2s_in *s); /* the stream is secure enough for it */
void in_is_bound(struct s2s_in *s);               /* larger units may come */
