/* pubsub_event: notifications (XEP-0060 §7.1.2, §12): one stanza, shared by all who get it.
 * Explicit subscribers get each. Contacts of an account get those that the capabilities of their
 * clients name, which their own homes know (pubsub/pep.c). */
#pragma once
#include "base/metric.h"
#include "pubsub/pubsub_op.h"

struct xml_write;

extern struct metric ps_events;
enum ps_event { PS_EVENT_ITEM, PS_EVENT_RETRACT, PS_EVENT_PURGE, PS_EVENT_DELETE, PS_EVENT_CONFIG };
/* To all subscribers; the copies are charged to the client that asked for it. */
void ps_notify(const struct ps_op *op, enum ps_event what, const struct ps_item *item, slice text);
void ps_send_last(struct ps_node *n, const struct ps_item *item, slice to);
void ps_send_state(const struct ps_op *op, slice jid, const struct ps_subscriber *s);
void ps_tell_owners(const struct ps_node *n, const struct ps_subscriber *s);
void ps_ask_owners(const struct ps_node *n, const struct ps_subscriber *s);
void ps_write_subscription(struct xml_write *x, const struct ps_node *n, slice jid,
                           const struct ps_subscriber *s);
void ps_watches_run(const struct ps_op *op, const struct ps_item *item);
