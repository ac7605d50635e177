/* s2s_forbid: messages that wait for a server that cannot be reached, when rules change: those that
 * may not leave any more go back to their senders now, not when the server is reached. Stored ones
 * are looked for, in the inbox of a partner that fails and in the database (gate/s2s/s2s_mail.h), a
 * moment after the change: what was under way then has come. What was written to a stream and is
 * not confirmed has perhaps arrived, and is judged when it would be written again. Confined to the
 * worker. */
#pragma once

#include <stdbool.h>

struct partner;

bool partner_forbids(struct partner *p); /* true */
