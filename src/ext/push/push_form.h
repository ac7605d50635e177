/* push_form: what announcements of XEP-0357 look like, for ext/push/push.c and its test from
 * outside. Pure. */
#pragma once
#include "codec/xml_write.h"

#define NS_PUSH         "urn:xmpp:push:0"
#define NS_PUSH_SUMMARY "urn:xmpp:push:summary"
#define NS_PUBSUB       "http://jabber.org/protocol/pubsub"

/* Begins an announcement (§7); what follows is inside of <notification/>. push_close() ends it.
 * options: XML, or empty. */
void push_open(struct xml_write *x, slice node);
/* Says what waits: how many messages (0: not known), and of the last one its sender and its text,
 * which is cut; empty: not said. */
void push_summary(struct xml_write *x, uint32_t messages, slice sender, slice body);
void push_close(struct xml_write *x, slice options);
