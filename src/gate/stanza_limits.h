/* stanza_limits: what a stanza may have in it, by who sends it. A stanza grows on its way: what a
 * client may send must still be readable by the server of its receiver, which may be another
 * Muster, since a reader that finds too much ends a stream that all users of two servers share.
 * So readers of servers and components allow more than readers of clients by all that is added:
 *
 * - attributes of an element: `from` and xml:lang; the prefixes of the stream; and all declarations
 *   that an element inherits, if it is cut out of a stanza (items of pubsub, XEP-0060; wrapped
 *   stanzas, XEP-0297);
 * - namespace declarations in force: those of the wrappers, and the prefixes of the stream;
 * - depth: the wrappers, as message, result, forwarded of XEP-0313;
 * - children of a stanza: delay, stanza-id, occupant-id, addresses, and what rooms add (muc#user);
 * - bytes: all these, and items that are answered together. c2s.stanza-bytes is half of
 *   s2s.stanza-bytes by default.
 *
 * Stored text may have grown once more: it is read with the limits of codec/xml_read.h. */
#pragma once
#include "codec/xml_read.h"

enum {
    CLIENT_ATTRS = 64,
    CLIENT_BINDINGS = 128,
    CLIENT_DEPTH_MAX = 256, /* of c2s.stanza-depth */
    CLIENT_CHILDREN = 56,
    STANZA_GROWS = 32, /* attributes, declarations or elements of ours around one another */
    PEER_ATTRS = CLIENT_ATTRS + CLIENT_BINDINGS + STANZA_GROWS,
    PEER_BINDINGS = CLIENT_BINDINGS + STANZA_GROWS,
    PEER_DEPTH = CLIENT_DEPTH_MAX + STANZA_GROWS,
    STANZA_NAME_BYTES = 256
};
_Static_assert(PEER_ATTRS + PEER_BINDINGS + STANZA_GROWS <= XML_ROOT_ATTRS_MAX &&
                   PEER_BINDINGS + STANZA_GROWS <= XML_BINDINGS_MAX &&
                   PEER_DEPTH + STANZA_GROWS <= XML_DEPTH_MAX,
               "what another server sends can be read from the database");

/* Of stanzas of a client. bytes, depth: of its settings. */
static inline struct xml_limits limits_of_client(int64_t bytes, int64_t depth)
{
    return (struct xml_limits){ .unit_bytes = (uint32_t)bytes,
                                .depth = (uint16_t)depth,
                                .attrs = CLIENT_ATTRS,
                                .name_bytes = STANZA_NAME_BYTES,
                                .bindings = CLIENT_BINDINGS,
                                .children = CLIENT_CHILDREN };
}

/* Of stanzas of another server or of a component. */
static inline struct xml_limits limits_of_peer(int64_t bytes)
{
    return (struct xml_limits){ .unit_bytes = (uint32_t)bytes,
                                .depth = PEER_DEPTH,
                                .attrs = PEER_ATTRS,
                                .name_bytes = STANZA_NAME_BYTES,
                                .bindings = PEER_BINDINGS };
}
