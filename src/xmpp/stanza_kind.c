#include "xmpp/stanza_kind.h"

enum {
    OF_MESSAGE = 1 << STANZA_MESSAGE,
    OF_PRESENCE = 1 << STANZA_PRESENCE,
    OF_IQ = 1 << STANZA_IQ
};

static const struct {
    const char *name; /* NULL: the type of a stanza without the attribute */
    unsigned kinds;
} types[] = {
    [TYPE_NORMAL] = { NULL, OF_MESSAGE },
    [TYPE_CHAT] = { "chat", OF_MESSAGE },
    [TYPE_GROUPCHAT] = { "groupchat", OF_MESSAGE },
    [TYPE_HEADLINE] = { "headline", OF_MESSAGE },
    [TYPE_AVAILABLE] = { NULL, OF_PRESENCE },
    [TYPE_UNAVAILABLE] = { "unavailable", OF_PRESENCE },
    [TYPE_PROBE] = { "probe", OF_PRESENCE },
    [TYPE_SUBSCRIBE] = { "subscribe", OF_PRESENCE },
    [TYPE_SUBSCRIBED] = { "subscribed", OF_PRESENCE },
    [TYPE_UNSUBSCRIBE] = { "unsubscribe", OF_PRESENCE },
    [TYPE_UNSUBSCRIBED] = { "unsubscribed", OF_PRESENCE },
    [TYPE_GET] = { "get", OF_IQ },
    [TYPE_SET] = { "set", OF_IQ },
    [TYPE_RESULT] = { "result", OF_IQ },
    [TYPE_ERROR] = { "error", OF_MESSAGE | OF_PRESENCE | OF_IQ },
    [TYPE_INVALID] = { NULL, 0 },
};

/* Without the attribute: RFC 6121 §5.2.2 for messages, §4.7.1 for presence; an IQ must have one
 * (RFC 6120 §8.2.3). */
static enum stanza_type default_type(enum stanza_kind kind)
{
    switch (kind) {
    case STANZA_MESSAGE:
        return TYPE_NORMAL;
    case STANZA_PRESENCE:
        return TYPE_AVAILABLE;
    case STANZA_IQ:
    case STANZA_OTHER:
        break;
    }
    return TYPE_INVALID;
}

enum stanza_type stanza_type_of(enum stanza_kind kind, slice type)
{
    if (type.ptr == NULL)
        return default_type(kind);
    for (unsigned t = 0; t < sizeof types / sizeof types[0]; t++) {
        bool fits = (types[t].kinds & 1U << kind) != 0 && types[t].name != NULL;
        if (fits && slice_is(type, types[t].name))
            return (enum stanza_type)t;
    }
    return kind == STANZA_MESSAGE ? TYPE_NORMAL : TYPE_INVALID;
}

const char *stanza_type_name(enum stanza_type t) { return types[t].name; }

const char *stanza_kind_name(enum stanza_kind k)
{
    static const char *const names[] = { "message", "presence", "iq", "other" };
    return names[k];
}
