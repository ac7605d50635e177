/* xml_read: a push reader of XML streams, restricted as RFC 6120 §11 demands: no DTD, processing
 * instructions (but one XML declaration at the start), comments; no entities but the five and
 * character references; strict UTF-8; namespaces in XML 1.0.
 *
 * The caller keeps the bytes of an unfinished unit contiguous and calls again with more; no byte is
 * scanned twice (the state knows where inside of the unit it stands). A unit is the stream's start
 * tag with the XML declaration before it, one complete level-1 element (a stanza), white space
 * between stanzas, or the stream's end tag. Behind the end tag everything is an error until
 * xml_reader_restart(). White space before the XML declaration is tolerated: it may belong to what
 * came before a restart.
 *
 * Limits: see xml_limits; 256 bytes of XML declaration, 32 bytes of one reference. Pure: no clock,
 * no log, no socket. Not thread-safe; a reader may be moved in memory and to another thread between
 * calls (it holds offsets into the input). */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct xml_limits {
    uint32_t unit_bytes;  /* of one stanza or stream header; default 64 KiB before authentication */
    uint16_t depth;       /* element depth below the stream; default 64, at most XML_DEPTH_MAX */
    uint16_t attrs;       /* of one element; default 64, at most XML_ROOT_ATTRS_MAX */
    uint16_t name_bytes;  /* of one element or attribute name; default 256 */
    uint8_t bindings;     /* namespace declarations in force in one unit; 0: XML_BINDINGS_MAX */
    uint8_t children : 7; /* at most XML_CHILDREN_MAX, of a stanza; 0: so many */
    /* More children than XML_CHILDREN_MAX are allowed; the last of all stands in the last place of
     * the list then. For who walks through them otherwise. */
    bool many_children : 1;
};

enum xml_unit {
    XML_MORE,   /* the unit is not complete; call again with the same bytes and more */
    XML_SPACE,  /* white space between stanzas (keep-alive); consumed */
    XML_STREAM, /* the stream's start tag is in `root` */
    XML_STANZA, /* a level-1 element is in `root`, its children in `child` */
    XML_END,    /* the stream's end tag; nothing more may be read */
    XML_ERROR   /* see reader.error; nothing more may be read */
};

enum xml_error {
    XML_OK,
    XML_NOT_WELL_FORMED, /* also bad names, mismatched tags, duplicate attributes */
    XML_RESTRICTED,      /* DTD, comment, PI, entity: RFC 6120 §11.1 restricted-xml */
    XML_BAD_UTF8,        /* RFC 6120 §11.6 unsupported-encoding / not-well-formed */
    XML_BAD_ENCODING,    /* a declaration that names another encoding */
    XML_BAD_NAMESPACE,   /* undeclared prefix, misuse of xml/xmlns */
    XML_TOO_BIG          /* a limit of xml_limits: RFC 6120 policy-violation */
};

/* Where a namespace name is found; xml_ns() looks it up. */
enum xml_ns_source {
    XML_NS_UNIT = 0,          /* declared in the unit: `ns` is its raw value, len 0: no namespace */
    XML_NS_STREAM = 1,        /* the default namespace outside the unit */
    XML_NS_STREAM_PREFIX = 2, /* plus i: of prefix i of the stream */
    XML_NS_XML = 255          /* of the prefix xml, which nobody declares */
};

/* All offsets are from the start of the unit. `raw` values are as in the input: entities not
 * resolved, white space not normalised (xml_elem.h has both). */
struct xml_span {
    uint32_t at, len;
};
struct xml_attr {
    struct xml_span name;  /* with its prefix, as written */
    struct xml_span value; /* between the quotes, raw */
    struct xml_span whole; /* name="value", without surrounding space */
    uint16_t prefix_len;   /* 0: none; else the name is prefix ':' local */
    char quote;
};
struct xml_child {         /* a level-2 element: child of the stanza */
    struct xml_span whole; /* from '<' to behind the last '>' */
    struct xml_span name;  /* local name */
    struct xml_span ns;    /* raw name of its namespace; only if ns_stream is XML_NS_UNIT */
    uint8_t ns_stream;     /* enum xml_ns_source */
    /* The `xmlns="…"` with one space before it, where it stands on this element and says what is
     * inherited anyway, so that it may be dropped; else len 0. */
    struct xml_span own_xmlns;
};

enum {
    XML_DEPTH_MAX = 320,
    XML_BINDINGS_MAX = 255,
    XML_ROOT_ATTRS_MAX = 448,
    XML_CHILDREN_MAX = 64,
    XML_STREAM_PREFIXES_MAX = 8,
    XML_STREAM_NS_BYTES = 768
};

struct xml_root {
    struct xml_span name; /* local name */
    uint16_t prefix_len;  /* of the tag as written */
    uint8_t ns_stream;    /* as in xml_child */
    struct xml_span ns;
    struct xml_span own_xmlns;        /* as in xml_child */
    struct xml_span start_tag;        /* '<' to '>' */
    struct xml_span content;          /* between start and end tag; len 0 for <x/> */
    uint16_t attr_count, child_count; /* at most XML_ROOT_ATTRS_MAX, XML_CHILDREN_MAX */
    uint8_t stream_prefixes_used;     /* bit i: a name in this unit uses prefix i of the stream */
};

/* The result and the working state of the unit being read. A worker has one for all its readers; a
 * reader whose unit is unfinished at the end of a call parks its state on the heap until it goes
 * on, so an idle stream owns nothing. */
struct xml_work {
    struct xml_root root;
    struct xml_attr attr[XML_ROOT_ATTRS_MAX]; /* of the root element */
    struct xml_child child[XML_CHILDREN_MAX];
    struct xml_state *state; /* private to xml_read.c */
};

struct xml_reader {
    struct xml_limits limits;
    enum xml_error error;               /* here it costs no padding: each stream has a reader */
    const struct xml_stream_ns *stream; /* of the stream's header; NULL until it was read */
    struct xml_parked *parked;          /* NULL unless a unit is unfinished */
    const char *what; /* static sentence for the log and the stream error's text */
};

struct xml_work *xml_work_create(void);
void xml_work_destroy(struct xml_work **w);
void xml_reader_init(struct xml_reader *r, const struct xml_limits *limits); /* NULL: defaults */
void xml_reader_fini(struct xml_reader *r);
void xml_reader_restart(
    struct xml_reader *r); /* a new stream begins (after STARTTLS, after SASL) */
void xml_reader_set_limits(struct xml_reader *r, const struct xml_limits *limits);

/* Reads at most one unit from buf. `used` gets the bytes to drop from the front: of a finished
 * unit, and of white space; 0 with XML_MORE and XML_ERROR. */
enum xml_unit xml_read(struct xml_reader *r, struct xml_work *w, slice buf, size_t *used);

/* Without a stream: one complete element as stored or as given in a test, `default_ns` in force
 * outside it ("jabber:client" for stored stanzas). E_SYNTAX, or E_LIMIT beyond the limits. */
NODISCARD enum err xml_read_element(struct xml_work *w, slice text, slice default_ns,
                                    const struct xml_limits *limits);

slice xml_stream_default_ns(const struct xml_reader *r);
slice xml_stream_prefix(const struct xml_reader *r, unsigned i, slice *ns); /* len 0: none such */
/* The raw name for an element of `unit`; also right for the element of xml_read_element(), but for
 * XML_NS_STREAM, which there means its default_ns. */
slice xml_ns(const struct xml_reader *r, slice unit, uint8_t ns_stream, struct xml_span ns);
static inline slice xml_at(slice unit, struct xml_span s)
{
    return (slice){ unit.ptr + s.at, s.len };
}
const char *xml_error_name(enum xml_error e);
