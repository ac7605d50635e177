/* Kinds and types of stanzas (RFC 6120 §8, RFC 6121 §4.7.1 and §5.2.2). */
#pragma once
#include "base/slice.h"

enum stanza_kind { STANZA_MESSAGE, STANZA_PRESENCE, STANZA_IQ, STANZA_OTHER };
enum stanza_type {
    /* message */
    TYPE_NORMAL,
    TYPE_CHAT,
    TYPE_GROUPCHAT,
    TYPE_HEADLINE,
    /* presence */
    TYPE_AVAILABLE,
    TYPE_UNAVAILABLE,
    TYPE_PROBE,
    TYPE_SUBSCRIBE,
    TYPE_SUBSCRIBED,
    TYPE_UNSUBSCRIBE,
    TYPE_UNSUBSCRIBED,
    /* iq */
    TYPE_GET,
    TYPE_SET,
    TYPE_RESULT,
    /* all */
    TYPE_ERROR,
    TYPE_INVALID
};
/* The type attribute of a kind; absent (ptr NULL) is the default; an unknown message type is normal
 * (RFC 6121 §5.2.2), an unknown presence or IQ type is TYPE_INVALID. */
enum stanza_type stanza_type_of(enum stanza_kind kind, slice type);
const char *stanza_type_name(enum stanza_type t); /* NULL: no attribute (available, normal) */
const char *stanza_kind_name(enum stanza_kind k);
