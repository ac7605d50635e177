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
#include "im/account.h"
#include "im/iq.h"
#include "im/stage.h"
#include "xmpp/rules.h"

struct arena;
struct command;
struct command_call;
struct setting;

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

/* Pure. A list without rules is gone: it is returned, for the caller to destroy. */
struct rules *privacy_apply(struct privacy *p, const struct privacy_delta *d);
void privacy_fini(struct privacy *p);
struct rules *privacy_list(const struct privacy *p, slice name); /* NULL: none; p may be NULL */
uint32_t privacy_rules(const struct privacy *p);                 /* in all lists */
uint32_t privacy_lists(const struct privacy *p);

/* The inviter, or the decliner, of an invitation that comes from a room (XEP-0045 §7.8.2): bare JID
 * in scratch; empty: it is no such message, or it is the owner. */
slice privacy_inviter(const struct account *a, const struct stanza *st);

/* State. */
struct privacy *privacy_of(const struct account *a);              /* NULL: no rules */
struct privacy_session *privacy_session(const struct session *s); /* NULL: nothing */
struct privacy_session *privacy_session_new(struct session *s);   /* made on demand */
void privacy_activate(struct session *s, struct rules *list);     /* NULL: none; tells contacts */

/* A change of one account because of one request. Made by privacy_change_new(), freed by `done`
 * through privacy_change_end(). */
struct privacy_change {
    struct mutation m;   /* first */
    struct iq *iq;       /* held; NULL: a command's */
    struct arena *arena; /* for the request and its deltas */
    void *request;       /* of the caller */
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
struct privacy_change *privacy_change_new(struct iq *iq); /* holds it; NULL: a command's */
void privacy_change_run(struct account *a, struct privacy_change *c);
void privacy_change_end(struct privacy_change *c);
void privacy_change_answer(struct privacy_change *c, enum err e); /* the IQ, then ends */
/* Refuses a plan that would leave more rules than the setting allows. */
bool privacy_has_room(struct privacy_change *c, const struct privacy *p, uint32_t more,
                      uint32_t fewer);
/* An IQ set of the server to one session, or (NULL) to all that asked for the block list. */
void privacy_push(struct session *s, slice payload);

/* Compares what the rules allow before and after a change, and sends the resulting presence to
 * contacts and to the sessions of the account. */
struct privacy_sight;
struct privacy_sight *privacy_look(struct account *a); /* NULL: nobody to tell */
void privacy_told(struct account *a, struct privacy_sight *before);

/* The list in force for a session, or (NULL) for the account. p may be NULL. */
const struct rules *privacy_in_force(const struct privacy *p, const struct session *s);
/* A party as the roster knows it; only its address where the rules do not ask for more. */
struct rule_peer privacy_peer(const struct account *a, const struct rules *r, slice jid);

/* privacy_policy.c */
/* from: its sender, or who is behind it. */
enum verdict policy_block(struct account *a, const struct stanza *st, slice from,
                          struct refusal *why);
bool policy_view(const struct account *a, const struct privacy *p, slice contact);
/* A command about one account, at its home. */
struct privacy_task {
    struct command_call *call;
    slice bare; /* argument `user` */
    account_fn *fn;
};
void privacy_task_run(struct command_call *call, account_fn *fn); /* fn's arg: the task */
bool privacy_task_ready(const struct privacy_task *t, const struct account *a,
                        enum err e); /* false: the call has failed */
bool policy_permit(const struct account *a, slice contact);
bool policy_shares(const struct privacy *p);
/* The rule of the policy for a contact; false: none. */
bool policy_rule(const struct privacy *p, slice contact, struct rule *out);

/* privacy_stages.c: the way of a stanza, im/stage.h */
enum verdict privacy_check(struct session *s, struct stanza **st, struct refusal *why);
enum verdict privacy_block(struct account *a, const struct stanza *st, struct refusal *why);
bool privacy_takes(const struct session *s, const struct stanza *st);
bool privacy_view(const struct session *s, slice contact);
bool privacy_show(const struct account *a, slice contact);

extern const struct iq_rule privacy_iq[];
extern struct setting privacy_lists_max, privacy_rules_max;
extern struct setting presence_sharing, presence_approval;
extern struct command presence_view, policy_show, policy_set, report_list, report_drop;
extern const char *const privacy_share_names[], *const privacy_others_names[];

void blocking_get(struct iq *iq);
void blocking_block(struct iq *iq);
void blocking_unblock(struct iq *iq);
void policy_get(struct iq *iq);
void policy_edit(struct iq *iq);
/* The rule for an address whose account was deleted goes, from memory: its row is gone. */
void policy_forget(struct account *a, slice bare);
void policy_start(void);
void policy_worker_ended(struct worker *w);

/* Reports that come with a block (XEP-0377). */
#define NS_REPORTING "urn:xmpp:reporting:1"
struct report {
    slice jid, reason, text, ids;
};
extern struct setting reports_max;
extern struct store_stmt report_stmts[4];
