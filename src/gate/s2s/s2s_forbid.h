/* s2s_forbid: messages that wait for a server that cannot be reached, when rules change: those that
 * may not leave any more go back to their senders now, not when the server is reached. Stored ones
 * are looked for, in the inbox of a partner that fails and in the database (gate/s2s/s2s_mail.h), a
 * moment after the change: messages that were under way have come by then. Messages that were
 * written to a stream and are not confirmed have perhaps arrived, and are judged when they would be
 * written again. Confined to the worker. */
#pragma once

#include <stdbool.h>

struct partner;

bool partner_forbids(struct partner *p); /* true */
