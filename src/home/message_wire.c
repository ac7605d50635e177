#include "home/message_wire.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/utf8.h"
#include "home/jids.h"
#include "home/texts.h"
#include "home/worker.h"
#include "xmpp/jid.h"
#include "xmpp/stanza.h"
#include <endian.h>

struct log_area log_frames = { .name = "frames", .level = LOG_INFO };

enum { HEAD_BYTES = 9 }; /* format, part, id (2), question (4), fields */

/* What the text of a stanza does not tell. */
enum { ODD_TYPE = 1, ODD_TO = 2 };

/* Packing. */

static void pack_number(struct buf *out, uint64_t n, size_t bytes)
{
    n = htole64(n);
    buf_append(out, &n, bytes);
}

static void pack_slice(struct buf *out, slice s)
{
    pack_number(out, s.len, sizeof(uint32_t));
    buf_add(out, s);
}

static void pack_stanza(struct buf *out, const struct stanza *st)
{
    size_t head = out->len, odd = 0;
    if (st != NULL)
        odd = (st->type == TYPE_INVALID ? ODD_TYPE : 0) | (st->bad_to ? ODD_TO : 0);
    pack_number(out, odd, 1);
    pack_number(out, 0, sizeof(uint32_t));
    if (st != NULL)
        stanza_store(out, st);
    if (out->overflow)
        return;
    uint32_t len = htole32((uint32_t)(out->len - head - 1 - sizeof len));
    memcpy(out->ptr + head + 1, &len, sizeof len);
}

static void pack_field(struct buf *out, const struct message_field *f, const void *member)
{
    switch (f->type) {
    case MF_BOOL:
        pack_number(out, *(const bool *)member, 1);
        break;
    case MF_U8:
        pack_number(out, *(const uint8_t *)member, 1);
        break;
    case MF_U32:
        pack_number(out, *(const uint32_t *)member, sizeof(uint32_t));
        break;
    case MF_U64:
    case MF_I64:
        pack_number(out, *(const uint64_t *)member, sizeof(uint64_t));
        break;
    case MF_STANZA:
        pack_stanza(out, *(struct stanza *const *)member);
        break;
    default:
        pack_slice(out, *(const slice *)member);
        break;
    }
}

static unsigned field_count(const struct message_row *row)
{
    unsigned n = 0;
    while (row->fields[n].type != MF_END)
        n++;
    return n;
}

void message_pack(struct buf *out, const struct message_row *row, const void *message,
                  const struct message_from *as)
{
    ensure(row->scope == MESSAGE_CLUSTER);
    pack_number(out, MESSAGE_FORMAT, 1);
    pack_number(out, as->part, 1);
    pack_number(out, row->id, 2);
    pack_number(out, as->question, sizeof(uint32_t));
    pack_number(out, field_count(row), 1);
    for (const struct message_field *f = row->fields; f->type != MF_END; f++)
        pack_field(out, f, (const char *)message + f->offset);
}

/* Reading. */

struct reading {
    struct worker *worker;
    slice rest;
};

/* false: cut short. */
static bool message_wire_read_number(struct reading *r, uint64_t *n, size_t bytes)
{
    uint64_t le = 0;
    if (r->rest.len < bytes)
        return false;
    memcpy(&le, r->rest.ptr, bytes);
    *n = le64toh(le);
    r->rest = slice_from(r->rest, bytes);
    return true;
}

static bool read_slice(struct reading *r, slice *out)
{
    uint64_t len;
    if (!message_wire_read_number(r, &len, sizeof(uint32_t)) || len > r->rest.len)
        return false;
    *out = (slice){ r->rest.ptr, (size_t)len };
    r->rest = slice_from(r->rest, (size_t)len);
    return true;
}

static bool read_stanza(struct reading *r, struct stanza **out)
{
    struct worker *w = r->worker;
    uint64_t odd;
    slice text;
    if (!message_wire_read_number(r, &odd, 1) || odd > (ODD_TYPE | ODD_TO) || !read_slice(r, &text))
        return false;
    if (text.len == 0)
        return odd == 0;
    if (stanza_load(out, text, w->xml, loop_scratch(w->loop)) != OK)
        return false;
    if ((odd & ODD_TYPE) != 0)
        (*out)->type = TYPE_INVALID;
    (*out)->bad_to = (odd & ODD_TO) != 0;
    return true;
}

/* A number that is too high for the field is cut here and found by its check. */
static bool message_wire_read_field(struct reading *r, const struct message_field *f, void *member)
{
    uint64_t n = 0;
    bool whole;
    switch (f->type) {
    case MF_BOOL:
        whole = message_wire_read_number(r, &n, 1) && n <= 1;
        *(bool *)member = n == 1;
        return whole;
    case MF_U8:
        whole = message_wire_read_number(r, &n, 1);
        *(uint8_t *)member = (uint8_t)n;
        return whole;
    case MF_U32:
        whole = message_wire_read_number(r, &n, sizeof(uint32_t));
        *(uint32_t *)member = (uint32_t)n;
        return whole;
    case MF_U64:
    case MF_I64:
        return message_wire_read_number(r, member, sizeof(uint64_t));
    case MF_STANZA:
        return read_stanza(r, member);
    default:
        return read_slice(r, member);
    }
}

/* Prepared, as every address is on the way. */
static bool is_jid(slice text, bool full, struct worker *w)
{
    struct jid jid;
    return jid_parse(&jid, text, loop_scratch(w->loop)) == OK && slice_eq(jid.full, text) &&
           (jid.resource.len > 0) == full;
}

static bool are_jids(slice packed, struct worker *w)
{
    slice jid;
    uint32_t number;
    while (jids_next(&packed, &jid, &number))
        if (!is_jid(jid, false, w) && !is_jid(jid, true, w))
            return false;
    return packed.len == 0;
}

static bool are_texts(slice packed)
{
    slice text;
    while (texts_next(&packed, &text))
        if (!utf8_valid(text))
            return false;
    return packed.len == 0;
}

static bool text_is_sound(const struct message_field *f, slice s, struct worker *w)
{
    if (s.len == 0)
        return f->optional;
    switch (f->type) {
    case MF_TEXT:
        return s.len <= f->max && utf8_valid(s);
    case MF_BARE:
        return is_jid(s, false, w);
    case MF_FULL:
        return is_jid(s, true, w);
    case MF_JIDS:
        return are_jids(s, w);
    case MF_TEXTS:
        return s.len <= f->max && are_texts(s);
    default:
        return s.len <= f->max;
    }
}

static bool field_is_sound(const struct message_field *f, const void *member, struct worker *w)
{
    switch (f->type) {
    case MF_BOOL:
    case MF_U64:
    case MF_I64:
        return true;
    case MF_U8:
        return *(const uint8_t *)member <= f->max;
    case MF_U32:
        return *(const uint32_t *)member <= f->max;
    case MF_STANZA:
        return f->optional || *(struct stanza *const *)member != NULL;
    default:
        return text_is_sound(f, *(const slice *)member, w);
    }
}

/* Those that the sender did not know stay zero, and must be sound so. */
static enum err read_fields(struct reading *r, const struct message_row *row, uint64_t sent,
                            void *message, struct why *why)
{
    const struct message_field *f = row->fields;
    for (; f->type != MF_END; f++) {
        void *member = (char *)message + f->offset;
        bool known = (uint64_t)(f - row->fields) < sent;
        if (known && !message_wire_read_field(r, f, member)) {
            why_set(why, "message %s: field %s is cut short or damaged", row->name, f->name);
            return E_CORRUPT;
        }
        if (!field_is_sound(f, member, r->worker)) {
            why_set(why, "message %s: field %s is %s", row->name, f->name,
                    known ? "out of range" : "missing");
            return E_CORRUPT;
        }
    }
    if (sent > (uint64_t)(f - row->fields) || r->rest.len == 0)
        return OK; /* what a later release added is skipped */
    why_set(why, "message %s: %zu bytes are left over", row->name, r->rest.len);
    return E_CORRUPT;
}

static enum err read_head(struct reading *r, const struct message_row **row,
                          struct message_from *from, uint64_t *fields, struct why *why)
{
    uint64_t format, part, id, question;
    if (!message_wire_read_number(r, &format, 1) || !message_wire_read_number(r, &part, 1) ||
        !message_wire_read_number(r, &id, 2) ||
        !message_wire_read_number(r, &question, sizeof(uint32_t)) ||
        !message_wire_read_number(r, fields, 1)) {
        why_set(why, "%zu bytes are no message", r->rest.len);
        return E_CORRUPT;
    }
    *row = message_find((uint32_t)id);
    if (format != MESSAGE_FORMAT || *row == NULL) {
        why_set(why, "found format %u and message %u: of another release", (unsigned)format,
                (unsigned)id);
        return E_UNSUPPORTED;
    }
    from->part = (uint8_t)part;
    from->question = (uint32_t)question;
    if ((*row)->scope == MESSAGE_CLUSTER && part <= PART_ANSWER &&
        ((*row)->run != NULL || part == PART_ANSWER) && (part != PART_ALONE || !(*row)->later))
        return OK;
    why_set(why, "message %s does not come from another node in this part of a conversation",
            (*row)->name);
    return E_CORRUPT;
}

enum err message_unpack(const struct message_row **row, void **message, slice bytes,
                        struct worker *w, struct message_from *from, struct why *why)
{
    struct reading r = { w, bytes };
    uint64_t fields;
    enum err e = read_head(&r, row, from, &fields, why);
    if (e != OK)
        return e;
    *message = arena_alloc(loop_scratch(w->loop), 1, (*row)->size);
    e = read_fields(&r, *row, fields, *message, why);
    if (e == OK && (*row)->sound != NULL && !(*row)->sound(w, *message, from)) {
        why_set(why, "message %s: its fields do not go together", (*row)->name);
        e = E_CORRUPT;
    }
    if (e != OK)
        message_release(*row, *message);
    return e;
}
