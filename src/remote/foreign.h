/* foreign: what features say of stanzas that come from other servers and go to them. The edge that
 * has the streams asks here, and nowhere else. A foreign domain is one that is neither ours, nor a
 * service of ours, nor a component. */
#pragma once
#include "core/stage.h"
#include "home/edge.h"

struct arena;
struct node;

/* Why a domain of ours and a foreign one may not exchange stanzas, for operators. Static. */
struct foreign_ban {
    const char *why;     /* "a static route blocks it", of the foreign domain */
    const char *advice;  /* what to do if they should, as a sentence */
    const char *setting; /* of the domain of ours, that says so; NULL: none does */
};
/* What a user is told who may not, by the rule. Tests tell operators which that is. */
#define FOREIGN_NOT_USER       "this account may not communicate with that server"
#define FOREIGN_NOT_DEPARTMENT "the department of this account may not communicate with that server"
#define FOREIGN_NOT_GROUP      "a group of this account may not communicate with that server"
#define FOREIGN_NOT_USERS      "accounts of this domain may not communicate with that server"
#define FOREIGN_NOT_ADDRESS    "the server does not communicate with this address"

/* In struct feature. Any may be NULL. */
struct foreign_rules {
    /* What keeps a domain of ours and a foreign one from exchanging stanzas at all; NULL: nothing.
     */
    const struct foreign_ban *(*pair)(struct worker *w, slice local, slice remote);
    /* Some pairs may exchange stanzas no longer, or again. On each worker. */
    void (*changed)(struct worker *w);
};

/* Rules for what users and domains send to other servers, and get from there. In struct feature;
 * one has it. */
struct foreign_policy {
    /* A stanza of a foreign domain, on the worker of its stream, before it is routed; and one that
     * is for a foreign domain, on the worker of its sender. PASS, DROP or REFUSE. */
    enum verdict (*arrives)(struct worker *w, const struct stanza *st, struct refusal *why);
    enum verdict (*leaves)(struct worker *w, const struct stanza *st, struct refusal *why);
    /* A message for an account that is not there, or seems so, at its home. It is asked also where
     * the sender is not foreign. */
    enum verdict (*to_nobody)(struct worker *w, const struct stanza *st, struct refusal *why);
    /* A stanza was read from a stream of this domain, on the worker of the stream. For how long
     * that stream is not to be read, because its domain has sent too many. */
    uint64_t (*pace_ms)(const struct worker *w, slice remote);
    /* A user has reported an address for spam or abuse (XEP-0377); that is stored. At the home. */
    void (*reported)(struct account *a, slice jid);
    /* Accounts of this worker go by another table of groups now: account/shared.h. */
    void (*regrouped)(struct worker *w);
};

/* The addresses of our users as other servers know them: behind the streams everything has those
 * that they have here. The same. */
struct foreign_addresses {
    /* The same stanza with these, and as it is here; on the worker of the stream. outward: a new
     * one, or NULL: it is the same. inward takes over st. */
    struct stanza *(*outward)(struct worker *w, const struct stanza *st);
    struct stanza *(*inward)(struct worker *w, struct stanza *st);
    /* The account that has this bare address beside its own with other servers, or claims it: no
     * other account may be made that has it. In tmp; ptr NULL: none. Any worker. */
    slice (*known_by)(slice bare, struct arena *tmp);
};

/* Neither a domain of ours nor a service nor a component, connected or not. */
bool foreign_is(const struct worker *w, slice domain);
bool foreign_pair(struct worker *w, slice local, slice remote);
/* Whether `remote` is a foreign domain that a rule keeps apart from our domain. */
bool foreign_separates(struct worker *w, slice local, slice remote);
/* Whether another rule than one for its domain keeps an address from `from` (foreign_is_ending()
 * passes), which is bare, while our domain may speak with its own. Nothing is counted. At the home
 * of `from`. */
bool foreign_bars(struct worker *w, slice from, slice to);
const struct foreign_ban *foreign_ban(struct worker *w, slice local, slice remote);
enum verdict foreign_arrives(struct worker *w, const struct stanza *st, struct refusal *why);
struct edge_word foreign_leaves(struct worker *w, const struct stanza *st);
enum verdict foreign_to_nobody(struct worker *w, const struct stanza *st, struct refusal *why);
uint64_t foreign_pace_ms(const struct worker *w, slice remote);
struct stanza *foreign_outward(struct worker *w, const struct stanza *st);
struct stanza *foreign_inward(struct worker *w, struct stanza *st); /* takes over st */
slice foreign_known_by(slice bare, struct arena *tmp);
void foreign_changed(struct worker *w); /* for whoever has changed that: on each worker */

/* What tells the other side that nothing more comes: passes where nothing else does, so that both
 * sides agree, but without its content. */
bool foreign_is_ending(const struct stanza *st);
/* Takes over st, returns what goes on in its place. */
struct stanza *foreign_pass(struct stanza *st, const struct refusal *why);
/* The same for one that leaves, by a word that lets it go. */
struct stanza *foreign_goes(struct stanza *st, const struct edge_word *word);

/* The domain of ours whose settings hold for this one: itself, or the one that it is below. Of a
 * component at another place: itself. On a worker. */
slice foreign_parent(const struct node *n, slice local);
