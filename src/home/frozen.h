/* frozen: the memory of an actor as bytes: what freeze gives and thaw takes (home/actor.h). They
 * are records, each of a row of field types, as messages are.
 *
 * Layout: of each record its id (1 byte), the length of its fields (4 bytes), the fields
 * (home/message_fields.h). The first record says the version of the kind, the last how many there
 * are. An id is never given to another record, and a field is added only at the end. So a record
 * that the reader does not know is skipped, and so are fields. What older bytes cannot tell needs
 * another version.
 *
 * Bytes come from the database or from another node: nothing in them is trusted. Any thread. */
#pragma once
#include "base/buf.h"
#include "home/message.h"

struct arena;
struct renaming;
struct xml_work;

enum {
    FROZEN_OWN = 3,              /* the first id that a kind can give to a record */
    FROZEN_BYTES_MAX = 256 << 20 /* of one actor: for the buffer that it is frozen into */
};

struct frozen_row {
    uint8_t id;
    const char *name;
    size_t size; /* of its struct */
    const struct message_field *fields;
    /* The field of a record whose bytes are records, and their rows; NULL: none. May be NULL. */
    slice *(*inside)(void *record, const struct frozen_row *const **row);
    /* Before its addresses are changed, which are those of its fields. May be NULL. */
    void (*renames)(void *record, const struct renaming *renaming, struct arena *tmp);
};
/* Data that a kind writes. */
struct frozen_kind {
    uint32_t version;                    /* raised when older bytes would be misunderstood */
    const struct frozen_row *const *row; /* NULL-terminated */
};

void frozen_begin(struct buf *out, const struct frozen_kind *kind);
void frozen_add(struct buf *out, const struct frozen_row *row, const void *record);
void frozen_end(struct buf *out); /* `out` begins with frozen_begin() */

struct frozen_record {
    const struct frozen_row *row; /* NULL: of an id that is not known */
    void *data;                   /* in `tmp`; its texts are in the bytes */
};
struct frozen_reading {
    const struct frozen_row *const *row;
    struct xml_work *xml; /* scratch of stanzas */
    struct arena *tmp;
    slice rest;
};
/* The next record; frozen_drop() releases its references. E_EOF: there is none. E_CORRUPT: `why`
 * says where. */
NODISCARD enum err frozen_next(struct frozen_reading *r, struct frozen_record *out,
                               struct why *why);
void frozen_drop(struct frozen_record *record);

/* All records that the kind knows, in order, which were read whole before any is used. */
struct frozen {
    struct frozen_record *record;
    uint32_t count;
};
/* E_UNSUPPORTED: another version; E_CORRUPT. Then there is nothing to release. */
NODISCARD enum err frozen_read(struct frozen *f, const struct frozen_kind *kind,
                               struct frozen_reading *r, struct why *why);
void frozen_release(struct frozen *f);

/* Takes whole records from the begin, at most `max` bytes, or one that is longer. Damaged bytes are
 * taken whole. */
slice frozen_part(slice *bytes, size_t max);
/* Appends such a part with other addresses (store/renaming.h), wherever a field is an address or a
 * stanza, also in records inside; texts and other bytes stay. E_CORRUPT: `why`. */
NODISCARD enum err frozen_rename(struct buf *out, struct frozen_reading *part,
                                 const struct renaming *renaming, struct why *why);
