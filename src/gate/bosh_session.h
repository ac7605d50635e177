/* bosh_session: a session over BOSH, on its worker: puts requests in the order of their rids, gives
 * their elements to the stream, and answers. See gate/bosh_private.h. */
#pragma once
#include "base/slice.h"

struct bosh;
struct bosh_request;
struct worker;

/* The request that asks for a new session; a further one of a session. Take over q, until
 * bosh_reply(). */
void bosh_create(struct worker *w, struct bosh_request *q);
void bosh_receive(struct bosh *b, struct bosh_request *q);
void bosh_hurry(struct bosh *b, int64_t rid); /* that one is answered at once, if it is held */

void bosh_worker_end(struct worker *w); /* frees what waits for nobody */
