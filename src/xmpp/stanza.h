/* stanza: one message, presence or IQ as one reference-counted block: root fields, ranges of the
 * level-1 children, and the payload text in content-namespace form (architecture §5). Immutable
 * once routed, so it may be shared by sessions and sent to other workers. Limits: those of the
 * reader. Pure.
 *
 * Addresses are kept prepared and unescaped; everything else as it came. */
#pragma once
#include "base/err.h"
#include "base/metric.h"
#include "base/slice.h"
#include "xmpp/jid.h"
#include "xmpp/stanza_error.h"
#include "xmpp/stanza_kind.h"
#include <stdatomic.h>

struct arena;
struct buf;
struct elem;
struct xml_reader;
struct xml_work;

/* Level-1 children that rules ask for. A bit set: KNOWN(BODY). */
enum known_child {
    KNOWN_NONE,
    KNOWN_BODY,
    KNOWN_SUBJECT,
    KNOWN_THREAD,
    KNOWN_SHOW,
    KNOWN_STATUS,
    KNOWN_PRIORITY,
    KNOWN_ERROR,
    KNOWN_NO_STORE,
    KNOWN_NO_PERMANENT_STORE,
    KNOWN_NO_COPY,
    KNOWN_CARBON,  /* a copy (XEP-0280) */
    KNOWN_PRIVATE, /* not to be copied */
    KNOWN_STORE,
    KNOWN_STANZA_ID,
    KNOWN_ORIGIN_ID,
    KNOWN_DELAY,
    KNOWN_MUC_USER,
    KNOWN_RECEIPT_REQUEST,
    KNOWN_RECEIPT,
    KNOWN_CHAT_STATE,
    KNOWN_MARKABLE,
    KNOWN_MARKER,
    KNOWN_OOB,
    KNOWN_ENCRYPTED,
    KNOWN_CAPS,
    KNOWN_DATA_FORM,
    KNOWN_MUC, /* enters a room (XEP-0045 §7.2) */
    KNOWN_OCCUPANT_ID,
    KNOWN_ARCHIVED, /* a message of an archive that was asked for it (XEP-0313); never stored again
                     */
    KNOWN_TEST,     /* of the way to another server, and until when it may be sent there */
    KNOWN_PAYLOAD   /* any other child */
};
extern struct metric stanza_bytes; /* a gauge; the sum of `bytes` of all blocks */

#define KNOWN(x) (1ull << KNOWN_##x)

struct stanza_child {
    uint32_t at, len; /* in the content */
    uint32_t known;   /* enum known_child */
};

/* Kind of the presence that an error answers. */
enum stanza_refused {
    REFUSED_OTHER,
    REFUSED_AVAILABLE, /* but what a client has sent to this address alone */
    REFUSED_UNAVAILABLE,
    REFUSED_PROBE,
    REFUSED_SAID /* unavailable presence that a client has sent to this address alone */
};

struct stanza {
    _Atomic uint32_t refs;
    uint8_t kind, type;  /* enum stanza_kind, enum stanza_type */
    uint8_t escape;      /* bit 0: to, 1: from, 2: id need XML escaping on output */
    uint8_t child_count; /* at most XML_CHILDREN_MAX */
    bool bad_to;   /* `to` was not a JID, and is what was before its resource, or left out: to be
                    * answered with jid-malformed */
    bool bad_from; /* `from` was not a JID and is left out, or replaced: the same */
    bool arrived;  /* read from a stream of another server, or a copy; the database does not keep
                    * it */
    uint8_t refused_kind; /* enum stanza_refused: of an error that this server has made, and
                           * REFUSED_SAID of presence that a client sends to one address; the
                           * same */
    uint32_t bytes;       /* of this block */
    uint64_t known;       /* set of KNOWN bits of the children */
    uint32_t id_len, lang_len, other_len, content_len;
    uint16_t to_len, to_bare_len, from_len, from_bare_len; /* bare_len: up to the '/' */
    const char *to, *from, *id, *lang, *other, *content;   /* in this block */
    struct stanza_child child[];
};

static inline slice stanza_to(const struct stanza *s) { return (slice){ s->to, s->to_len }; }
static inline slice stanza_from(const struct stanza *s) { return (slice){ s->from, s->from_len }; }
static inline slice stanza_to_bare(const struct stanza *s)
{
    return (slice){ s->to, s->to_bare_len };
}
static inline slice stanza_from_bare(const struct stanza *s)
{
    return (slice){ s->from, s->from_bare_len };
}
static inline slice stanza_id(const struct stanza *s) { return (slice){ s->id, s->id_len }; }
static inline slice stanza_content(const struct stanza *s)
{
    return (slice){ s->content, s->content_len };
}
static inline bool stanza_has(const struct stanza *s, uint64_t known)
{
    return (s->known & known) != 0;
}

/* An IQ that wants an answer (RFC 6120 §8.2.3). */
static inline bool stanza_is_request(const struct stanza *s)
{
    return s->kind == STANZA_IQ && (s->type == TYPE_GET || s->type == TYPE_SET);
}

/* The text of the error for one with bad_to or bad_from. */
static inline slice stanza_bad_address(const struct stanza *s)
{
    return s->bad_from ? SLICE("the address of the sender is malformed")
                       : SLICE("the address of the recipient is malformed");
}

static inline bool stanza_to_is_bare(const struct stanza *s) { return s->to_len == s->to_bare_len; }

static inline struct stanza *stanza_ref(struct stanza *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}
void stanza_free_(struct stanza *s);
static inline void stanza_unref(struct stanza **ps) /* NULL is fine */
{
    struct stanza *s = *ps;
    *ps = NULL;
    if (s == NULL)
        return;
    /* the sole owner needs no atomic subtraction */
    if (atomic_load_explicit(&s->refs, memory_order_acquire) == 1 ||
        atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
        stanza_free_(s);
}

/* What makes a stanza of a unit that xml_read has just accepted. */
struct stanza_source {
    slice unit; /* the bytes that `work` describes */
    const struct xml_work *work;
    slice from;       /* replaces the attribute; prepared; ptr NULL: take the attribute */
    slice default_to; /* where `to` of a message or IQ is absent: prepared; ptr NULL: stays so */
    slice lang;       /* of the stream, stamped where xml:lang is absent (RFC 6120 §8.1.5) */
    const struct xml_reader *reader; /* of the stream, for its prefixes; NULL: none */
};
/* A `to` or `from` that is not a JID sets bad_to or bad_from (see there), but a `from` that is
 * replaced is not looked at. E_UNSUPPORTED: the root is not message, presence or iq of the content
 * namespace, or makes another one the default. */
NODISCARD enum err stanza_read(struct stanza **out, const struct stanza_source *src,
                               struct arena *tmp);
/* From text as written by stanza_store(). E_CORRUPT: damaged. */
NODISCARD enum err stanza_load(struct stanza **out, slice text, struct xml_work *work,
                               struct arena *tmp);

/* Stanzas of our own. Any slice may be empty; content is XML text. */
struct stanza *stanza_make(enum stanza_kind kind, enum stanza_type type, slice from, slice to,
                           slice id, slice content);
/* The same with content in a buffer, which is released. NULL: it has overflowed. */
struct stanza *stanza_make_buf(enum stanza_kind kind, enum stanza_type type, slice from, slice to,
                               slice id, struct buf *content);
/* A copy with other addresses (ptr NULL: kept). */
struct stanza *stanza_readdress(const struct stanza *s, slice from, slice to);
/* A copy with one element (XML text) more behind the others; without it where there are
 * XML_CHILDREN_MAX already. The addresses are kept. */
struct stanza *stanza_append(const struct stanza *s, slice xml);
/* The same, to another address (ptr NULL: kept). */
struct stanza *stanza_append_to(const struct stanza *s, slice to, slice xml);
/* The condition of an error (RFC 6120 §8.3.3); SE_NONE: it has none, or one that is not known. */
enum stanza_error stanza_condition(const struct stanza *error);
/* The error reply (RFC 6120 §8.3.1), from and to exchanged, named as s; the payload of an IQ is not
 * repeated. NULL where none may be sent: s is itself an error, an IQ result, or presence that is
 * not answered. */
struct stanza *stanza_make_error(const struct stanza *s, enum stanza_error e, slice text);
/* With an application element (XML) inside <error/>, and of another type (NULL: of the usual). */
struct stanza *stanza_make_error_with(const struct stanza *s, enum stanza_error e, const char *type,
                                      slice text, slice app_xml);

/* What is written behind a stanza's own children, and which of them are left out, in one delivery.
 */
struct stanza_note {
    uint64_t archive_id; /* XEP-0359 stanza-id by the addressee's bare JID; 0: none */
    uint64_t delay_us;   /* XEP-0203 delay stamp, wall clock; 0: none */
    slice by; /* bare JID of the addressee: `by` of stanza-id; its domain is the delay's `from` */
    slice to; /* written instead of the stanza's own `to`; ptr NULL: not replaced */
};
/* Writes for a client stream; room for stanza_write_max() bytes is the caller's. Forged stanza-ids
 * `by` the same JID were dropped at input, so appending is enough. */
size_t stanza_write_max(const struct stanza *s, const struct stanza_note *note);
size_t stanza_write(char *out, const struct stanza *s, const struct stanza_note *note);
/* The same for a stanza that stands alone: with xmlns='jabber:client' in its start tag. */
size_t stanza_write_alone(char *out, const struct stanza *s, const struct stanza_note *note);
/* Appends it as it stands inside <forwarded/> (XEP-0297): with its namespace. */
void stanza_forward(struct buf *out, const struct stanza *s, const struct stanza_note *note);
/* Self-contained text for the database. */
void stanza_store(struct buf *out, const struct stanza *s);

/* First child of that kind, as an element. false: none. */
bool stanza_child(const struct stanza *s, enum known_child known, struct elem *out);
/* The first child element whatever it is (the payload of an IQ). */
bool stanza_payload(const struct stanza *s, struct elem *out);
/* The first child of that name and namespace, neither of which is NULL. false: none. For children
 * that are not KNOWN. */
bool stanza_find(const struct stanza *s, const char *name, const char *ns, struct elem *out);
/* Text of a known child, entities resolved; empty if absent. */
slice stanza_child_text(const struct stanza *s, enum known_child known, struct arena *tmp);
/* Leaves out children of the kinds in `known` (KNOWN bits) that are unwanted; the same stanza if
 * there are none, else a copy. Takes over the reference. */
typedef bool stanza_child_fn(enum known_child known, const struct elem *e, void *arg);
struct stanza *stanza_without(struct stanza *s, uint64_t known, stanza_child_fn *unwanted,
                              void *arg);
/* A copy with much else at once. The children that it has in the end may be no more than
 * XML_CHILDREN_MAX, or it could not be read from the database. */
struct stanza_change {
    slice from, to, id;        /* ptr NULL: kept */
    uint64_t known;            /* children of these kinds, if unwanted, are left out */
    stanza_child_fn *unwanted; /* NULL: all of them */
    void *arg;
    slice more; /* XML text of elements behind the others */
};
struct stanza *stanza_change(const struct stanza *s, const struct stanza_change *c);
