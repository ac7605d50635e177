/* s2s_in_pairs: the pairs of domains that a stream of another server speaks for, or claims to, and
 * what is asked of such domains. Confined to the worker of the stream. Limits: PAIRS_MAX pairs;
 * CLAIMED_MAX while none of them is proved. */
#pragma once
#include "base/list.h"
#include "base/slice.h"
#include "gate/s2s/s2s_stage.h"
#include "xmpp/stanza_error.h"
#include <stdbool.h>
#include <stdint.h>

struct s2s_in;

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
    uint64_t heard_us; /* of remote_domain_heard() */
    uint16_t remote_len, local_len;
    char text[]; /* remote, local */
};

static inline slice pair_remote(const struct pair *p) { return (slice){ p->text, p->remote_len }; }
static inline slice pair_local(const struct pair *p)
{
    return (slice){ p->text + p->remote_len, p->local_len };
}

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
