/* pubsub_contacts: contacts at a service that is no account: the access models presence and roster
 * (XEP-0060 §4.5) mean the contacts of the node's owners. Their homes are asked each time before
 * somebody reads, subscribes or is notified, so a contact that was removed or blocked has no access
 * from then on.
 *
 * An owner can be made by another owner, who could then find out about contacts and groups by
 * trying who gets access. So the contacts of an owner count only after that owner has chosen the
 * access model, and the groups, as they are now: ps_affiliate.shares.
 *
 * A struct ps_contacts answers for the bare JIDs that were added to it. Confined to the worker of
 * the service. */
#pragma once
#include "pubsub/pubsub_model.h"

struct message_row;
struct store_batch;

/* e: an owner could not be asked, so that of those who are no contacts some may be one. */
typedef void ps_contacts_fn(void *arg, enum stanza_error e);
bool ps_contacts_needed(const struct ps_node *n, const struct ps_config *config);
struct ps_contacts *ps_contacts_create(uint32_t max); /* how many JIDs can be added */
struct ps_contacts *ps_contacts_all(void);            /* everybody is one */
void ps_contacts_add(struct ps_contacts *c, slice jid);
/* Asks the owners of n, for the access model of `config`, and calls done once, later: until then
 * c must not be freed. */
void ps_contacts_ask(struct ps_contacts *c, const struct ps_node *n, const struct ps_config *config,
                     ps_contacts_fn *done, void *arg);
void ps_contacts_free(struct ps_contacts **c); /* NULL: fine */
/* What `from`, a bare or full JID, is to the node. At a service that is no account, only those are
 * contacts whom n->contacts has. */
struct ps_actor ps_actor_of(const struct ps_node *n, slice from);
/* The owner `by` has submitted configuration c: from now on the contacts of that owner count. Those
 * of the other owners count no longer if the access model or its groups are not the same. */
void ps_sharing_store(struct store_batch *b, const struct ps_node *n, const struct ps_config *c,
                      slice by);
/* Before the node gets the configuration; once more changes nothing. */
void ps_sharing_apply(const struct ps_node *n, const struct ps_config *c, slice by);

extern const struct message_row *const ps_contacts_messages[];
