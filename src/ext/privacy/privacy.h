/* privacy: the rules of an account for incoming and outgoing stanzas, as one table (xmpp/rules.h):
 * privacy lists (XEP-0016), the default of which is the block list (XEP-0191 §3), and the user's
 * policy for their presence. Shared by the files privacy_*.c, which are one feature.
 *
 * State hangs on the account in a slot, NULL for an account without rules, and on a session that
 * uses lists. Confined to the home of the account. A change is prepare -> commit -> apply: the same
 * deltas give the same state (privacy_test.c).
 *
 * Limits (settings): privacy.lists-max and privacy.rules-max an account; PRIVACY_NAME_BYTES. */
#pragma once
#include "account/account.h"
#include "core/stage.h"
#include "xmpp/rules.h"

struct arena;
struct iq;
struct store_batch;

/* The list that blocking makes where there is no default list. */
#define PRIVACY_BLOCKLIST  "urn:xmpp:blocking"
#define NS_BLOCKING_ERRORS "urn:xmpp:blocking:errors"

enum { PRIVACY_NAME_BYTES = 256, PRIVACY_DELTAS_MAX = 3 };

/* Whether the user shares availability at all, and what applies to users without a rule. */
enum privacy_share { SHARE_DEFAULT, SHARE_ON, SHARE_OFF, SHARE_COUNT };
enum privacy_others { OTHERS_DEFAULT, OTHERS_ALLOW, OTHERS_BLOCK, OTHERS_ASK, OTHERS_COUNT };

struct privacy {
    struct rules *lists;    /* privacy lists, newest first */
    struct rules *standard; /* of these: the default list; NULL: none */
    struct rules *policy;   /* whom the user allows, blocks, is asked about; NULL: nobody */
    uint8_t share, others;  /* enum privacy_share, enum privacy_others */
    uint32_t actives;       /* sessions with an active list */
};
struct privacy_session {
    struct rules *active; /* of the account's lists; NULL: the default list applies */
    bool asked;           /* for the block list: it gets pushes (XEP-0191 §3.3) */
};

/* A change. Slices and rules are borrowed until it is applied. The list of no name is the policy.
 */
enum privacy_op {
    PRIVACY_REPLACE, /* all rules of the list; none: it is removed */
    PRIVACY_ADD,     /* rules of new or old orders; the list is made where there is none */
    PRIVACY_DROP,    /* the rules of these orders */
    PRIVACY_DEFAULT, /* which list is the default; empty: none */
    PRIVACY_POLICY   /* share, others */
};
struct privacy_delta {
    enum privacy_op op;
    slice list;
    const struct rule *rules;
    uint32_t count;
    uint8_t share, others;
};

/* A change of one account because of one request. Made by privacy_change_new(), freed by `done`
 * through privacy_change_end(). */
struct privacy_change {
    struct actor_change base; /* first */
    struct iq *iq;            /* held; NULL: a command's */
    struct arena *arena;      /* for the request and its deltas */
    void *request;            /* of the caller */
    /* Looks at the state that earlier changes left, which may be NULL, and fills delta[0..count).
     * Refuses by why.error. */
    void (*plan)(struct privacy_change *c, const struct privacy *p);
    void (*done)(struct privacy_change *c, enum err e); /* E_DENIED: refused by plan */
    /* Adds statements of its own to the same transaction; NULL: none. */
    void (*store)(struct privacy_change *c, struct store_batch *b);
    struct privacy_delta delta[PRIVACY_DELTAS_MAX];
    unsigned count;
    struct refusal why;
};
