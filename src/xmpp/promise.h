/* promise: what the acknowledgement of a stanza promises its sender (XEP-0198 §4 leaves it to the
 * server): one table for the whole server. Each row has a test that kills the process behind the
 * acknowledgement. */
#pragma once
#include "xmpp/stanza.h"

enum promise {
    PROMISE_COMMITTED, /* what it changes, or it itself, survives the end of the process */
    PROMISE_QUEUED     /* it is in the queue of its home or of its session, or its answer is */
};

enum promise promise_of(const struct stanza *st);

struct promise_row {
    const char *name;
    enum promise promise;
};
const struct promise_row *promise_rows(unsigned *count); /* static; for `--dump-docs promises` */
