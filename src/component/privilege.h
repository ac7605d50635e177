/* privilege: what an external component does in the name of a user (XEP-0356), at the home of that
 * user: messages and requests. The edge of the component has looked whether it may
 * (component/component_rights.h), before privilege_send().
 *
 * A message is what the user sends: it is in the archive of the user, and clients of the user get
 * copies (XEP-0280). A request comes from the bare JID of the user; its answer goes to the
 * component. Neither passes the stage CHECK, which is about a client; what the user has blocked
 * gets nothing all the same.
 *
 * Limit: PRIVILEGE_MS for the answer to a request. */
#pragma once
#include "home/message.h"

struct stanza;
struct worker;

/* st: what the component sent, which errors and answers are for. inner: what the user is to send,
 * from the bare JID of a user of ours. Takes over both. NULL: `st` is a request to that user, as if
 * the user had sent it (of the roster). */
void privilege_send(struct worker *w, struct stanza *st, struct stanza *inner);

extern const struct feature privilege_feature;
