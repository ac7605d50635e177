/* xml_state: what xml_read.c and xml_ns.c share: the state of the unit being read. Lives inside one
 * struct xml_work. Everything before `open` and the used parts of the arrays are what is parked
 * between two calls; the pointers at the end are borrowed for one call. Private to codec/. */
#pragma once
#include "codec/xml_read.h"

enum xml_mode {
    XML_AT_UNIT,        /* before the unit's '<' */
    XML_IN_DECLARATION, /* behind "<?" */
    XML_AT_MARKUP,      /* behind '<' */
    XML_IN_TAG_NAME,
    XML_IN_TAG, /* behind the name or an attribute */
    XML_IN_ATTR_NAME,
    XML_AT_EQUALS,
    XML_AT_QUOTE,
    XML_IN_ATTR_VALUE,
    XML_AT_EMPTY_END, /* behind the '/' of <a/> */
    XML_IN_CONTENT,
    XML_IN_REF,  /* behind '&' */
    XML_IN_BANG, /* behind "<!", which may only become a CDATA section */
    XML_IN_CDATA,
    XML_IN_END_NAME, /* behind "</" */
    XML_AT_END_CLOSE,
    XML_UNIT_DONE,
    XML_UNIT_FAILED
};

enum xml_kind { XML_KIND_HEADER, XML_KIND_STANZA, XML_KIND_ELEMENT };

struct xml_open {
    struct xml_span name; /* as written, to match the end tag */
    uint16_t prefix_len;
    uint16_t binding_count; /* in force outside this element */
};

/* What a prefix is bound to: an index into xml_state.binding, or one of these. */
enum {
    XML_BOUND_STREAM = 1000,        /* the default namespace outside the unit */
    XML_BOUND_STREAM_PREFIX = 1001, /* + i: prefix i of the stream */
    XML_BOUND_XML = 1255,
    XML_BOUND_NONE = -1
};
struct xml_binding {
    struct xml_span prefix; /* len 0: the default namespace */
    struct xml_span name;   /* raw */
    int16_t same_as; /* first binding with the same namespace; XML_BOUND_NONE: not looked for */
};

struct xml_state {
    enum xml_mode mode, after_ref;
    enum xml_kind kind;
    enum xml_error error;
    const char *what;
    uint32_t pos;        /* all before it has been read */
    uint32_t tag;        /* the last '<' */
    uint32_t token;      /* first byte of the name or value being read */
    uint32_t ref;        /* behind the last '&' */
    uint16_t prefix_len; /* of the name being read */
    uint16_t attr_count; /* at most limits.attrs: complete ones of this tag; 0 outside of tags */
    uint16_t prefixed_count;       /* of these, with a prefix other than xmlns: at most as many */
    uint16_t depth, binding_count; /* at most XML_DEPTH_MAX, XML_BINDINGS_MAX */
    char quote;

    struct xml_open open[XML_DEPTH_MAX];
    struct xml_binding binding[XML_BINDINGS_MAX];
    struct xml_attr inner[XML_ROOT_ATTRS_MAX]; /* of the current tag below the root */

    struct xml_work *work;  /* that this state belongs to */
    const char *unit, *end; /* a handler that cannot go on lowers `end` to where it stands */
    struct xml_limits limits;
    const struct xml_stream_ns *stream; /* NULL: none yet, or no stream at all */
    slice outer_ns;                     /* the default namespace outside the unit, raw */
};

static inline struct xml_attr *xml_state_attrs(struct xml_state *s)
{
    return s->depth == 1 ? s->work->attr : s->inner;
}

/* Ends the run; to be returned by handlers. */

/* xml_ns.c. The first three return NULL, or a sentence that says what is wrong: the error in *e,
 * and XML_TOO_BIG for a stream header whose namespaces cannot be kept. */
const char *xml_ns_declare(struct xml_state *s, const struct xml_attr *attr, enum xml_error *e);
const char *xml_ns_finish_tag(struct xml_state *s, enum xml_error *e);
const char *xml_ns_keep_stream(const struct xml_state *s, const struct xml_stream_ns **out);
void xml_ns_drop_stream(const struct xml_stream_ns **ns);
slice xml_ns_stream_tag(const struct xml_stream_ns *ns); /* name of the stream's tag, as written */
slice xml_ns_stream_default(const struct xml_stream_ns *ns);
slice xml_ns_stream_prefix(const struct xml_stream_ns *ns, unsigned i, slice *name);
