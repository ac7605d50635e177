/* message_fields: a struct as bytes, by a row of field types (home/message.h), and back: numbers in
 * the byte order of little-endian machines, texts with their length, a stanza as stored text with
 * what that does not tell. A count of the fields stands in front of them, and what is read is
 * checked field by field: nothing in it is trusted to be in range.
 *
 * Messages between nodes are made of these (home/message_wire.h), and the memory of actors
 * (home/frozen.h). Pure: any thread. */
#pragma once
#include "base/buf.h"
#include "home/message.h"

struct arena;
struct renaming;
struct xml_work;

void message_number_pack(struct buf *out, uint64_t n, size_t bytes);
void message_fields_pack(struct buf *out, const struct message_field *fields, const void *message);

struct message_reading {
    struct xml_work *xml; /* scratch of stanzas */
    struct arena *tmp;
    slice rest;
    bool lenient;            /* a stanza that cannot be read is none */
    const char *what, *name; /* for errors: "message", and which */
};
/* false: cut short. */
bool message_number_read(struct message_reading *r, uint64_t *n, size_t bytes);
/* All of the rest, into a struct of zeros. Its texts are in the bytes; its references are the
 * caller's, also of what was read before an error. Fields that the sender did not know stay zero,
 * and must be sound so; those that it added are skipped. E_CORRUPT: `why` says where. */
NODISCARD enum err message_fields_read(struct message_reading *r,
                                       const struct message_field *fields, void *message,
                                       struct why *why);
/* Whether it could be read where it is sent. */
bool message_fields_sound(const struct message_field *fields, const void *message,
                          struct arena *tmp);
/* Other addresses (store/renaming.h) in the addresses and stanzas of a struct; its new texts are in
 * `tmp`. */
void message_fields_rename(const struct message_field *fields, void *message,
                           const struct renaming *r, struct arena *tmp);
