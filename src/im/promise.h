/* promise: what the acknowledgement of a stanza promises its sender (XEP-0198 §4 leaves it to the
 * server): one table for the whole server. Each row has a test that kills the process behind the
 * acknowledgement. */
#pragma once
#include "xmpp/stanza.h"

enum promise {
    PROMISE_COMMITTED, /* what it changes, or it itself, survives the end of the process */
    PROMISE_QUEUED     /* it is in the queue of its home or of its session, or its answer is */
};

struct promise_row {
    const char *what;
    enum promise promise;
    const char *test; /* in test/: what is killed and looked for */
};

enum promise promise_of(const struct stanza *st);
const struct promise_row *promise_rows(void); /* ended by { 0 }; for the docs */
