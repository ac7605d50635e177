#include "xmpp/delivery.h"
#include "base/ensure.h"
#include "codec/xml_elem.h"
#include "xmpp/ns.h"
#include "xmpp/stanza.h"

enum { HAVES = HAVE_MATCH + 1, TOS = TO_FULL + 1 };

/* One row a class of stanzas that RFC 6121 §8.5 treats alike; columns: what the account has. */
enum row {
    ROW_NORMAL,
    ROW_CHAT,
    ROW_GROUPCHAT,
    ROW_HEADLINE,
    ROW_NOTICE, /* presence that tells availability */
    ROW_PROBE,
    ROW_SUBSCRIPTION, /* the four verbs: handled by the server of the account (§3) */
    ROW_REQUEST,      /* IQ get and set */
    ROW_RESPONSE,     /* IQ result and error */
    ROW_ERROR,        /* message and presence of type error */
    ROW_COUNT
};

#define NONE    DELIVER_NONE
#define ERROR   DELIVER_ERROR
#define STORE   DELIVER_STORE
#define ALL     DELIVER_ALL
#define MATCH   DELIVER_MATCH
#define BARE    DELIVER_AS_BARE
#define ACCOUNT DELIVER_ACCOUNT

/* Where the RFC leaves the choice between silence and an error ("S" in its Table 1), messages that
 * a person wrote are answered with an error, since silence looks like delivery; headlines are
 * dropped. Columns: no account, no resource, only negative ones, some, the one asked for (full JIDs
 * alone). */
static const enum delivery rules[ROW_COUNT][TOS][HAVES] = {
    /* §8.5.1 no account; §8.5.2.1.1 and §8.5.2.2.1 bare; §8.5.3.1 and §8.5.3.2.1 full */
    [ROW_NORMAL] = { { ERROR, STORE, STORE, ALL, ALL }, { ERROR, ERROR, ERROR, ERROR, MATCH } },
    [ROW_CHAT] = { { ERROR, STORE, STORE, ALL, ALL }, { ERROR, BARE, BARE, BARE, MATCH } },
    [ROW_GROUPCHAT] = { { ERROR, ERROR, ERROR, ERROR, ERROR },
                        { ERROR, ERROR, ERROR, ERROR, MATCH } },
    [ROW_HEADLINE] = { { NONE, NONE, NONE, ALL, ALL }, { NONE, NONE, NONE, NONE, MATCH } },
    /* §8.5.2.1.2: to all available resources, whatever their priority */
    [ROW_NOTICE] = { { NONE, NONE, ALL, ALL, ALL }, { NONE, NONE, NONE, NONE, MATCH } },
    /* §4.3.2: the server of the contact answers */
    [ROW_PROBE] = { { NONE, ACCOUNT, ACCOUNT, ACCOUNT, ACCOUNT },
                    { NONE, ACCOUNT, ACCOUNT, ACCOUNT, ACCOUNT } },
    [ROW_SUBSCRIPTION] = { { NONE, ACCOUNT, ACCOUNT, ACCOUNT, ACCOUNT },
                           { NONE, BARE, BARE, BARE, BARE } },
    /* §8.5.2.1.3 bare; §8.5.3.2.3: an error that tells nothing about the account */
    [ROW_REQUEST] = { { ERROR, ACCOUNT, ACCOUNT, ACCOUNT, ACCOUNT },
                      { ERROR, ERROR, ERROR, ERROR, MATCH } },
    [ROW_RESPONSE] = { { NONE, NONE, NONE, NONE, NONE }, { NONE, NONE, NONE, NONE, MATCH } },
    [ROW_ERROR] = { { NONE, NONE, NONE, NONE, NONE }, { NONE, NONE, NONE, NONE, MATCH } },
};

static enum row delivery_row_of(enum stanza_kind kind, enum stanza_type type)
{
    switch (type) {
    case TYPE_NORMAL:
        return ROW_NORMAL;
    case TYPE_CHAT:
        return ROW_CHAT;
    case TYPE_GROUPCHAT:
        return ROW_GROUPCHAT;
    case TYPE_HEADLINE:
        return ROW_HEADLINE;
    case TYPE_AVAILABLE:
    case TYPE_UNAVAILABLE:
        return ROW_NOTICE;
    case TYPE_PROBE:
        return ROW_PROBE;
    case TYPE_SUBSCRIBE:
    case TYPE_SUBSCRIBED:
    case TYPE_UNSUBSCRIBE:
    case TYPE_UNSUBSCRIBED:
        return ROW_SUBSCRIPTION;
    case TYPE_GET:
    case TYPE_SET:
        return ROW_REQUEST;
    case TYPE_RESULT:
        return ROW_RESPONSE;
    case TYPE_ERROR:
        return kind == STANZA_IQ ? ROW_RESPONSE : ROW_ERROR;
    case TYPE_INVALID:
        break;
    }
    return ROW_COUNT;
}

enum delivery delivery_rule(enum stanza_kind kind, enum stanza_type type, enum delivery_to to,
                            enum delivery_have have)
{
    enum row row = delivery_row_of(kind, type);
    ensure((unsigned)to < TOS && (unsigned)have < HAVES);
    return row == ROW_COUNT ? DELIVER_NONE : rules[row][to][have];
}

/* A message is worth keeping by its type (RFC 6121 §8.5.2), its content (XEP-0160 §3: no chat
 * states alone) and its hints (XEP-0334). Of muc#user that is an invitation or a decline; an empty
 * one marks every private message of a room. */
bool message_storable(const struct stanza *st)
{
    struct elem x, any;
    const uint64_t content = KNOWN(BODY) | KNOWN(STORE) | KNOWN(RECEIPT) | KNOWN(MARKER) |
                             KNOWN(ENCRYPTED) | KNOWN(OOB) | KNOWN(DATA_FORM) | KNOWN(SUBJECT) |
                             KNOWN(PAYLOAD) | KNOWN(MUC);
    bool invites = stanza_child(st, KNOWN_MUC_USER, &x) && elem_first(&x, &any);
    return st->kind == STANZA_MESSAGE && (st->type == TYPE_CHAT || st->type == TYPE_NORMAL) &&
           (invites || stanza_has(st, content)) &&
           !stanza_has(st, KNOWN(NO_STORE) | KNOWN(NO_PERMANENT_STORE) | KNOWN(ARCHIVED));
}

bool message_room_storable(const struct stanza *st)
{
    const uint64_t content = KNOWN(BODY) | KNOWN(STORE) | KNOWN(MARKER) | KNOWN(ENCRYPTED) |
                             KNOWN(OOB) | KNOWN(SUBJECT) | KNOWN(PAYLOAD);
    return st->kind == STANZA_MESSAGE && stanza_has(st, content) &&
           !stanza_has(st, KNOWN(NO_STORE) | KNOWN(NO_PERMANENT_STORE));
}

bool message_notifies(const struct stanza *st)
{
    struct elem e;
    return st->type != TYPE_ERROR && st->type != TYPE_HEADLINE &&
           (st->type != TYPE_GROUPCHAT || stanza_to_is_bare(st)) &&
           (stanza_has(st, KNOWN(BODY) | KNOWN(ENCRYPTED)) ||
            stanza_find(st, "propose", NS_JINGLE_MESSAGE, &e));
}
