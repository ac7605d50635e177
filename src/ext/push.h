/* push: what announcements of XEP-0357 look like, for ext/push.c and its test from outside. */
#pragma once
#include "codec/xml_write.h"

struct command;
struct setting;

#define NS_PUSH         "urn:xmpp:push:0"
#define NS_PUSH_SUMMARY "urn:xmpp:push:summary"

/* Begins an announcement (§7); what follows is inside of <notification/>. push_close() ends it.
 * options: XML, or empty. */
void push_open(struct xml_write *x, slice node);
void push_close(struct xml_write *x, slice options);
bool push_service_allowed(slice service); /* by push.services */

extern struct setting push_enabled;
extern struct command pushtest_command;
