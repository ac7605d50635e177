/* webhook_post: one request to a receiver of webhooks: a POST with a signature, over http or https.
 * Only the status of the answer counts; redirects are not followed. The certificate of an https
 * receiver is checked as those of other servers are. Addresses of this machine and its link are
 * refused unless webhook.allow-local is on. At the home of DUTY_WEBHOOKS.
 *
 * Limits: WEBHOOK_DEADLINE_MS, WEBHOOK_ANSWER_MAX bytes of the answer. */
#pragma once
#include "base/buf.h"
#include "io/loop.h"
#include <stdbool.h>
#include <stdint.h>

struct http_uri;
struct visit;
struct worker;

enum { WEBHOOK_DEADLINE_MS = 15000, WEBHOOK_ANSWER_MAX = 64 << 10, WEBHOOK_WHY_BYTES = 300 };

struct webhook_request {
    slice url, secret, event, id, body;
    unsigned attempt;
};

struct webhook_post {
    /* why: NULL: the receiver has taken it. From the loop, never from inside. */
    void (*done)(struct webhook_post *p, const char *why);
    struct worker *worker;
    struct visit *visit;
    struct loop_defer over;
    struct buf request, answer;
    unsigned status; /* of its answer; 0: it gave none */
    bool secure, taken, busy;
    bool ours; /* with why: webhook.allow-local forbids it */
    char why[WEBHOOK_WHY_BYTES];
};

/* An address of http or https, which is secure. */
bool webhook_uri(struct http_uri *out, slice url, bool *secure);
/* It names an address in numbers that webhook.allow-local does not allow. */
bool webhook_is_forbidden(slice url);
/* `secret`: HMAC-SHA256 of "TIME.BODY", in hexadecimal digits. */
void webhook_sign(char out[65], slice secret, uint64_t time_s, slice body);
/* Copies everything. done() follows once. */
void webhook_post(struct webhook_post *p, struct worker *w, const struct webhook_request *request);
void webhook_post_cancel(struct webhook_post *p); /* no done() follows */

struct setting;
extern struct setting webhook_allow_local;
