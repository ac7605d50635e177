/* component_rights: what components may do for the users of a domain of ours beyond what every
 * component may: act in their name (XEP-0356), and answer in the place of the server (XEP-0355).
 * Two settings say it for each domain. They are read where a component uses its right, so that a
 * change applies at once; the functions borrow their texts, which are never freed. Any thread. */
#pragma once
#include "base/setting.h"
#include "xmpp/stanza_kind.h"

struct elem;
struct feature;
struct stanza;
struct worker;

enum { RIGHT_GET = 1, RIGHT_SET = 2 };
struct component_rights {
    unsigned roster; /* RIGHT_ bits */
    bool push;       /* is told of changes of contact lists */
    bool message;
    bool presence; /* sees that of the users */
    bool contacts; /* sees that of their contacts, too: `presence` is set */
    slice words;   /* all that its setting says of it */
};

/* What the component of this domain may do in the name of the users of a domain of ours. false:
 * nothing. */
bool component_rights(slice host, slice component, struct component_rights *out);
/* One component after the other: `list` begins as component_rights_list(host). */
slice component_rights_list(slice host);
bool component_rights_next(slice *list, slice *component, struct component_rights *out);
/* Whether any component may see presence, or is told of contact lists: one load. */
bool component_watchers_any(void);
bool component_watchers_of_contacts(void); /* the same of the presence of contacts */
/* Whether it may send requests (TYPE_GET, TYPE_SET) with such a payload in their name. */
bool component_may_ask(const struct component_rights *r, slice ns, enum stanza_type type);

/* Whether any namespace of any domain is delegated: one load. */
bool delegations_any(void);
/* The component that requests with this payload are delegated to; false: none. */
bool delegation_find(slice host, const struct elem *payload, slice *component);
/* One delegation after the other: `list` begins as delegations(host). */
slice delegations(slice host);
struct delegation {
    slice ns, filters, component; /* filters: names of attributes, separated by commas */
};
bool delegation_next(slice *list, struct delegation *out);

/* Calls fn for each message by which our domains tell a component its rights (XEP-0355 §4.2,
 * XEP-0356 §4.2); fn owns it. On a worker. When rights change, the feature itself tells all
 * components that are connected, also one that has lost its last right: that message is empty. */
typedef void component_told_fn(struct worker *w, struct stanza *st, void *arg);
void component_rights_tell(struct worker *w, slice component, component_told_fn *fn, void *arg);

extern struct setting component_privileges, component_delegations;
extern const struct feature component_rights_feature;
