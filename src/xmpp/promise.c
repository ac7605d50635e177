#include "xmpp/promise.h"
#include "xmpp/delivery.h"

enum row {
    ROW_MESSAGE_KEPT,    /* chat or normal, with content, no hint against it */
    ROW_MESSAGE_ROOM,    /* groupchat */
    ROW_MESSAGE_PASSING, /* headlines, chat states, no-store, errors */
    ROW_SUBSCRIPTION,    /* presence that changes one */
    ROW_PRESENCE,        /* other presence */
    ROW_IQ_SET,          /* roster, vCard, private XML, password … */
    ROW_IQ,              /* other requests, and answers */
    ROW_COUNT
};

/* A refused stanza of any row is handled when its error is queued. With im.durable-ack off a kept
 * message is promised like a passing one while its addressee is connected. An IQ set is answered
 * when its change is committed, and handled with its answer. Each committed row, and each rule for
 * an IQ set, has an operation in test/promise/test_promises.py, but for rooms of other servers in
 * test/federation/test_s2s_rooms_lost.py; the others are in test_kill_after_a_passing_stanza. */
static const struct promise_row rows[ROW_COUNT] = {
    [ROW_MESSAGE_KEPT] = { "message, kept", PROMISE_COMMITTED },
    [ROW_MESSAGE_ROOM] = { "message, to a room", PROMISE_COMMITTED },
    [ROW_MESSAGE_PASSING] = { "message, passing", PROMISE_QUEUED },
    [ROW_SUBSCRIPTION] = { "presence, subscription", PROMISE_COMMITTED },
    [ROW_PRESENCE] = { "presence", PROMISE_QUEUED },
    [ROW_IQ_SET] = { "iq set", PROMISE_COMMITTED },
    [ROW_IQ] = { "iq", PROMISE_QUEUED },
};

static enum row promise_row_of(const struct stanza *st)
{
    switch (st->kind) {
    case STANZA_MESSAGE:
        if (st->type == TYPE_GROUPCHAT)
            return ROW_MESSAGE_ROOM; /* its room knows whether it is recorded */
        return message_storable(st) ? ROW_MESSAGE_KEPT : ROW_MESSAGE_PASSING;
    case STANZA_PRESENCE:
        return st->type >= TYPE_SUBSCRIBE && st->type <= TYPE_UNSUBSCRIBED ? ROW_SUBSCRIPTION
                                                                           : ROW_PRESENCE;
    default:
        return st->type == TYPE_SET ? ROW_IQ_SET : ROW_IQ;
    }
}

enum promise promise_of(const struct stanza *st) { return rows[promise_row_of(st)].promise; }

const struct promise_row *promise_rows(unsigned *count)
{
    *count = ROW_COUNT;
    return rows;
}
