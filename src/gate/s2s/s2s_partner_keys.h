/* s2s_partner_keys: what a partner asks the server of its domain about keys of dialback, for
 * streams that say they are of that domain (XEP-0220 §2.1.2). Questions wait for the stream of the
 * partner, and make it. Limits: QUESTIONS_MAX of a partner; ASKED_MAX partners of a node exist for
 * questions alone. Confined to the worker of the partner. */
#pragma once
#include "home/message.h"

struct partner;

void partner_keys_fail(struct partner *p); /* nobody can be asked */
/* The stream on which they were asked is gone: they are asked once more on the next one. */
void partner_keys_again(struct partner *p);
void partner_keys_anew(struct partner *p); /* that host was none: the next one is asked */
void partner_keys_drop(struct partner *p); /* the process ends */
extern const struct message_row s2s_verified_message;
