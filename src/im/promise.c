#include "im/promise.h"
#include "im/server.h"

enum row {
    ROW_MESSAGE_KEPT,
    ROW_MESSAGE_ROOM,
    ROW_MESSAGE_PASSING,
    ROW_SUBSCRIPTION,
    ROW_PRESENCE,
    ROW_IQ_SET,
    ROW_IQ,
    ROW_COUNT
};

/* A refused stanza of any row is handled when its error is queued. With im.durable-ack off a kept
 * message is promised like a passing one while its addressee is connected. An IQ set is answered
 * when its change is committed, and handled with its answer. */
static const struct promise_row rows[ROW_COUNT + 1] = {
    [ROW_MESSAGE_KEPT] = { "message that is kept (chat or normal, with content, no hint against "
                           "it)",
                           PROMISE_COMMITTED, "test_kill_under_load" },
    [ROW_MESSAGE_ROOM] = { "message to a room (type groupchat)", PROMISE_COMMITTED,
                           "test_kill_under_room_traffic" },
    [ROW_MESSAGE_PASSING] = { "message that is not kept (headline, chat states, no-store, error)",
                              PROMISE_QUEUED, "test_kill_after_a_passing_stanza" },
    [ROW_SUBSCRIPTION] = { "presence that changes a subscription", PROMISE_COMMITTED,
                           "test_kill_after_an_answered_change" },
    [ROW_PRESENCE] = { "other presence", PROMISE_QUEUED, "test_kill_after_a_passing_stanza" },
    [ROW_IQ_SET] = { "IQ of type set (roster, vCard, private XML, password)", PROMISE_COMMITTED,
                     "test_kill_after_an_answered_change" },
    [ROW_IQ] = { "other IQ", PROMISE_QUEUED, "test_kill_after_a_passing_stanza" },
};

static enum row row_of(const struct stanza *st)
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

enum promise promise_of(const struct stanza *st) { return rows[row_of(st)].promise; }
const struct promise_row *promise_rows(void) { return rows; }
