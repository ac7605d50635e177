/* content_ns: content of a stanza in content-namespace form (architecture §5): what is in the
 * content namespace of its stream is in no namespace of its own behind this, so that it is right in
 * any stream. For text that xml_read has accepted: namespaces have no references in them. Pure. */
#pragma once
#include "codec/xml_read.h"

/* The prefixes, with their colons, of the start tag and of the end tag of a child, which may be
 * dropped; len 0: there is none, or the default namespace is another one behind it. */
struct content_cut {
    struct xml_span start, end;
};
/* The prefix of a child in a content namespace. */
struct content_cut content_prefix(slice unit, const struct xml_child *child);

/* Writes jabber:client for jabber:server in the declarations of all elements, in place. Both have
 * the same length. */
void content_from_server(char *text, size_t len);
