/* xml_elem: a read-only walk over the text of an element that xml_read has already accepted. No
 * tree is built: an elem is a pair of slices and a pointer to its parent (needed only to resolve
 * prefixes, so parents must outlive children; both live on the caller's stack). Malformed text
 * yields "no element", never a crash, since stored text may be damaged. Pure. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct arena;
struct buf;

struct elem {
    const struct elem *parent; /* NULL at the top */
    slice ns;                  /* the default namespace in force inside, raw */
    slice outer;               /* at the top: attributes whose declarations are in force outside */
    slice whole, start_tag, content;
    slice name;    /* local name */
    uint64_t walk; /* the number of the top, for xml_elem.c; 0: it has none */
    slice ns_uri;  /* resolved, raw (namespace names with entities are not resolved) */
};

/* Parses the element that begins `text` (white space before it is skipped). false: none there. */
bool elem_parse(struct elem *out, slice text, slice default_ns);
/* The same for an element that was cut out of one with these attributes (text of a start tag). */
bool elem_parse_within(struct elem *out, slice text, slice default_ns, slice outer);
bool elem_first(const struct elem *parent, struct elem *out); /* first child element */
bool elem_next(const struct elem *current, struct elem *out); /* next sibling; out may be current */
bool elem_child(const struct elem *parent, const char *name, const char *ns, struct elem *out);
bool elem_is(const struct elem *e, const char *name, const char *ns);

slice elem_attr_raw(const struct elem *e, const char *name); /* ptr NULL: absent; as written */
slice elem_attr(const struct elem *e, const char *name, struct arena *tmp); /* entities resolved */
slice elem_text(const struct elem *e,
                struct arena *tmp); /* own character data, resolved, CDATA too */

/* Resolves entities and normalises: line ends in text, white space in attributes (XML 1.0 §3.3.3).
 * The result borrows the input where nothing needs resolving. */
slice xml_unescape_text(slice raw, struct arena *tmp);
slice xml_unescape_attr(slice raw, struct arena *tmp);

/* The subtree as self-contained text: adds the namespace declarations that it inherits. */
void elem_extract(const struct elem *e, struct buf *out);
