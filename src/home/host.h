/* host: a domain of a service under our own domains, such as pubsub.example.test: who answers
 * there. Rows of features (struct feature.hosts), ended by { 0 }. A JID of such a domain has a home
 * like any other (node_home()); its stanzas arrive there in order. */
#pragma once
#include "home/node.h"
#include "home/question.h"
#include "home/router.h"

struct iq_rule;
struct setting;

struct host {
    const char *label;                  /* pubsub: serves pubsub.D for each domain D of ours */
    const char *category, *type, *name; /* its identity (XEP-0030 §3.1) */
    const char *const *disco;           /* features beside disco itself; NULL-terminated */
    struct setting *enabled;            /* bool; NULL: always there */
    bool hidden;                        /* not in disco#items of the server */
    /* Requests to the bare domain, searched before the rules of other features that have
     * IQ_TO_HOST. */
    const struct iq_rule *iq;
    /* All else: messages, presence, answers, IQs to other JIDs of the domain. Takes over the
     * reference. NULL: messages with a body are answered by service-unavailable, the rest is
     * dropped. */
    enum routed (*receive)(struct worker *w, const struct host *h, struct stanza *st,
                           struct origin origin);
};

enum { HOST_DOMAINS_MAX = 256 };
/* By features_set(): rows ended by { 0 }. */
void hosts_clear(void);
void hosts_add(const struct host *rows);

/* A domain that a host has beside label.D: of any name. */
struct host_domain {
    slice domain; /* prepared; nobody else's */
    slice parent; /* the domain of ours that it belongs to */
    bool listed;  /* in disco#items of the parent */
};
/* Replaces the other domains of one host, at most HOST_DOMAINS_MAX of all; they are read on any
 * worker. Those that are left out have ended. host_has() still knows them, as long as there is
 * room for HOST_DOMAINS_MAX of both kinds: rooms have to tell other servers that they are gone.
 * Copies. Call at the home of the duty `rooms`; `done`, which may be NULL, runs there when all
 * workers know. */
void host_domains_set(struct worker *w, const struct host *h, const struct host_domain *list,
                      unsigned count, gathered_fn *done, void *arg);
extern const struct message_row pass_message;
void host_domains_forget(void); /* memory only: the node has ended */
/* The host of this label, enabled or not; NULL: none. */
const struct host *host_labelled(slice label);
/* The switch of services of this category, if it is off everywhere; NULL: it is on, or has none. */
const struct setting *hosts_switched_off(const char *category);

/* The host that serves this domain, or NULL; `parent` gets our domain below it. On a worker. */
const struct host *host_find(const struct node *n, slice domain, slice *parent);
/* Whether a host serves this domain, or would if it were not switched off, or did until it was
 * taken away. On a worker. */
bool host_has(const struct node *n, slice domain);
/* Calls fn for the domains that disco#items of our domain `parent` lists. On a worker. */
typedef void host_fn(const struct host *h, slice domain, void *arg);
void host_each_listed(const struct node *n, slice parent, host_fn *fn, void *arg);
