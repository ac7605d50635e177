/* xml_write: appends XML to a buffer. A writer is a cursor on the caller's stack: it knows which
 * elements are open, ends start tags by itself, and escapes each value. Names and namespaces are
 * constants of the program (written as they are, and borrowed until the element is closed); values
 * are UTF-8 of characters that XML allows (for others: xml_text_clean). Several writers may append
 * to one buffer, one after the other, or inside xml_content() of an outer one. A buffer that
 * overflows keeps nothing of the rest; its owner looks at `overflow` at the end. Pure. */
#pragma once
#include "base/buf.h"
#include "base/ensure.h"

/* The largest texts that we make, for buf_init(). Beyond them an IQ is answered with
 * resource-constraint, and nothing else is sent truncated. */
enum {
    /* bytes of a stanza: answers, lists, copies. One that came (c2s.stanza-bytes: 16 MiB at most)
     * fits, though a character of an attribute is written with up to six. */
    XML_STANZA_MAX = 128 << 20,
    XML_STORED_MAX = 16 << 20, /* of an element that came in a stanza, and of what is made of it */
    XML_PART_MAX = 1 << 20     /* of an element that we make of names, addresses and settings */
};

enum { XML_WRITE_DEPTH_MAX = 12 }; /* open elements of one writer */

struct xml_write {
    struct buf *out;
    uint8_t depth; /* at most XML_WRITE_DEPTH_MAX */
    bool in_tag;   /* the start tag of the innermost element has no '>' yet */
    const char *name[XML_WRITE_DEPTH_MAX];
    size_t name_len[XML_WRITE_DEPTH_MAX];
};

static inline void xml_write_to(struct xml_write *x, struct buf *out)
{
    x->out = out;
    x->depth = 0;
    x->in_tag = false;
}

/* The same to a buffer that is initialised here. */
static inline void xml_begin(struct xml_write *x, struct buf *out, size_t bytes_max)
{
    buf_init(out, bytes_max);
    xml_write_to(x, out);
}

void xml_open_sized(struct xml_write *x, slice name, slice ns); /* ns empty: none */
void xml_attr_sized(struct xml_write *x, slice name, slice value);

/* `<name`, and xmlns='ns' (NULL: that of the element around it). */
static inline void xml_open(struct xml_write *x, const char *name, const char *ns)
{
    xml_open_sized(x, slice_of(name), slice_of(ns)); /* the lengths of literals are constants */
}
/* Ends the innermost element: `/>` if nothing is in it. */
void xml_close(struct xml_write *x);
void xml_close_all(struct xml_write *x);
/* Attributes belong right behind xml_open(). */
static inline void xml_attr(struct xml_write *x, const char *name, slice value)
{
    xml_attr_sized(x, slice_of(name), value);
}
void xml_attr_some(struct xml_write *x, const char *name, slice value); /* not if it is empty */
void xml_attr_int(struct xml_write *x, const char *name, int64_t value);
void xml_text(struct xml_write *x, slice text);
void xml_text_clean(struct xml_write *x, slice text); /* without characters that XML forbids */
void xml_raw(struct xml_write *x, slice xml);         /* is XML already: elements, escaped text */
/* `<name>text</name>` */
void xml_element(struct xml_write *x, const char *name, slice text);
void xml_element_some(struct xml_write *x, const char *name, slice text); /* not if it is empty */
void xml_element_int(struct xml_write *x, const char *name, int64_t value);
/* xml_open(), and an element that is empty, with one attribute. */
static inline void xml_open_with(struct xml_write *x, const char *name, const char *ns,
                                 const char *attr, slice value)
{
    xml_open(x, name, ns);
    xml_attr(x, attr, value);
}
static inline void xml_empty_with(struct xml_write *x, const char *name, const char *ns,
                                  const char *attr, slice value)
{
    xml_open_with(x, name, ns, attr, value);
    xml_close(x);
}
/* `<name xmlns='ns'/>` */
void xml_empty(struct xml_write *x, const char *name, const char *ns);

/* Ends a start tag that is unfinished, for functions that append to the buffer themselves. */
static inline struct buf *xml_content(struct xml_write *x)
{
    ensure(x->depth > 0);
    if (x->in_tag) {
        buf_lit(x->out, ">");
        x->in_tag = false;
    }
    return x->out;
}

/* Appends with & < > ' " escaped; xml_needs_escape() is the fast test for the common case. */
void xml_escape(struct buf *out, slice text);
bool xml_needs_escape(slice text);
/* Whether all of it can stand in XML 1.0: UTF-8 of legal characters (production [2]). */
bool xml_is_text(slice text);
/* Drops characters that XML 1.0 forbids (for text from elsewhere: logs, files). */
void xml_escape_clean(struct buf *out, slice text);
