/* c2s_bosh: BOSH as an HTTP route: requests go to the worker of their session, and answers back. */
#pragma once
#include "base/metric.h"
#include "base/setting.h"

struct bosh;
struct bosh_request;
struct worker;

extern struct setting bosh_wait_max, bosh_inactivity, bosh_pause_max;
extern struct metric bosh_sessions;
/* On the session's worker: sends q back to its worker with the answer in it. */
void bosh_reply(struct worker *w, struct bosh_request *q);
void bosh_reply_error(struct worker *w, struct bosh_request *q, const char *condition,
                      unsigned legacy_status);
void bosh_add(struct bosh *b);    /* to the table of sids */
void bosh_remove(struct bosh *b); /* from it */
