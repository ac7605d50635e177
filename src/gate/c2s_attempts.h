/* c2s_attempts: the failed logins of a stream, in the log. Clients try mechanisms in turn, such as
 * those with a channel binding that they do not have, and then log in. So it is known only later
 * what a failure was: if the stream logs in, all before are one line at info (auth.retried). If it
 * ends without, or reaches its limit of attempts, each is a warning (auth.fail), as a guess is.
 *
 * The throttle and the metrics count them when they happen. They live in the arena of the stream's
 * authentication, at most as many as a stream may have, each with some 300 bytes. On its worker. */
#pragma once
#include "gate/c2s_stream.h"

struct auth_attempt {
    struct auth_attempt *next; /* an earlier one */
    enum sasl_failure failure;
    const char *text, *mech, *tls, *device;
    struct ip_text peer;
    slice jid; /* its begin, if it is long */
};

/* one: without next and peer; what it names may end with the callback. */
void attempts_add(struct stream *s, const struct auth_attempt *one);
void attempts_passed(struct stream *s); /* it logs in */
void attempts_failed(struct stream *s); /* it does not any more */
