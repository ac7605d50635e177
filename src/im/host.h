/* host: a domain of a service under our own domains, such as pubsub.example.test: who answers
 * there. Rows of features (struct feature.hosts), ended by { 0 }. A JID of such a domain has a home
 * like any other (node_home()); its stanzas arrive there in order. */
#pragma once
#include "im/iq.h"
#include "im/router.h"

struct disco_info;
struct node;
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

/* The host that serves this domain, or NULL; `parent` gets our domain below it. */
const struct host *host_find(const struct node *n, slice domain, slice *parent);
/* At the home of the addressee. Takes over the reference. */
enum routed host_receive(struct worker *w, const struct host *h, struct stanza *st,
                         struct origin origin);

/* Calls fn for all hosts that are enabled. */
typedef void host_fn(const struct host *h, void *arg);
void host_each(host_fn *fn, void *arg);
