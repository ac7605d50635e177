#include "home/message_fields.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/utf8.h"
#include "home/jids.h"
#include "home/texts.h"
#include "store/renaming.h"
#include "xmpp/jid.h"
#include "xmpp/stanza.h"
#include <endian.h>

/* Flags for facts that the text of a stanza does not tell. */
enum {
    ODD_TYPE = 1,
    ODD_TO = 2,
    ODD_ARRIVED = 4,
    ODD_FROM = 8,
    ODD_REFUSED_AT = 4, /* enum stanza_refused */
    ODD_REFUSED = 7 << ODD_REFUSED_AT,
    ODD_MAX = 127,
    ODD_BYTES = 2
};

/* Packing. */

void message_number_pack(struct buf *out, uint64_t n, size_t bytes)
{
    n = htole64(n);
    buf_append(out, &n, bytes);
}

static void pack_slice(struct buf *out, slice s)
{
    message_number_pack(out, s.len, sizeof(uint32_t));
    buf_add(out, s);
}

static void pack_stanza(struct buf *out, const struct stanza *st)
{
    size_t head = out->len, odd = 0;
    if (st != NULL)
        odd = (st->type == TYPE_INVALID ? ODD_TYPE : 0) | (st->bad_to ? ODD_TO : 0) |
              (st->bad_from ? ODD_FROM : 0) | (st->arrived ? ODD_ARRIVED : 0) |
              (size_t)st->refused_kind << ODD_REFUSED_AT;
    message_number_pack(out, odd, ODD_BYTES);
    message_number_pack(out, 0, sizeof(uint32_t));
    if (st != NULL)
        stanza_store(out, st);
    if (out->overflow)
        return;
    uint32_t len = htole32((uint32_t)(out->len - head - ODD_BYTES - sizeof len));
    memcpy(out->ptr + head + ODD_BYTES, &len, sizeof len);
}

static void pack_field(struct buf *out, const struct message_field *f, const void *member)
{
    switch (f->type) {
    case MF_BOOL:
        message_number_pack(out, *(const bool *)member, 1);
        break;
    case MF_U8:
        message_number_pack(out, *(const uint8_t *)member, 1);
        break;
    case MF_U32:
        message_number_pack(out, *(const uint32_t *)member, sizeof(uint32_t));
        break;
    case MF_U64:
    case MF_I64:
        message_number_pack(out, *(const uint64_t *)member, sizeof(uint64_t));
        break;
    case MF_STANZA:
        pack_stanza(out, *(struct stanza *const *)member);
        break;
    default:
        pack_slice(out, *(const slice *)member);
        break;
    }
}

void message_fields_pack(struct buf *out, const struct message_field *fields, const void *message)
{
    unsigned n = 0;
    while (fields[n].type != MF_END)
        n++;
    message_number_pack(out, n, 1);
    for (const struct message_field *f = fields; f->type != MF_END; f++)
        pack_field(out, f, (const char *)message + f->offset);
}

/* Reading. */

bool message_number_read(struct message_reading *r, uint64_t *n, size_t bytes)
{
    uint64_t le = 0;
    if (r->rest.len < bytes)
        return false;
    memcpy(&le, r->rest.ptr, bytes);
    *n = le64toh(le);
    r->rest = slice_from(r->rest, bytes);
    return true;
}

static bool read_slice(struct message_reading *r, slice *out)
{
    uint64_t len;
    if (!message_number_read(r, &len, sizeof(uint32_t)) || len > r->rest.len)
        return false;
    *out = (slice){ r->rest.ptr, (size_t)len };
    r->rest = slice_from(r->rest, (size_t)len);
    return true;
}

static bool read_stanza(struct message_reading *r, struct stanza **out)
{
    uint64_t odd;
    slice text;
    if (!message_number_read(r, &odd, ODD_BYTES) || odd > ODD_MAX || !read_slice(r, &text))
        return false;
    if (text.len == 0)
        return odd == 0;
    if (stanza_load(out, text, r->xml, r->tmp) != OK)
        return r->lenient; /* none: the check of the field says whether it must be there */
    if ((odd & ODD_TYPE) != 0)
        (*out)->type = TYPE_INVALID;
    (*out)->bad_to = (odd & ODD_TO) != 0;
    (*out)->bad_from = (odd & ODD_FROM) != 0;
    (*out)->arrived = (odd & ODD_ARRIVED) != 0;
    (*out)->refused_kind = (uint8_t)((odd & ODD_REFUSED) >> ODD_REFUSED_AT);
    return true;
}

/* A number that is too high for the field is cut here and found by its check. */
static bool read_field(struct message_reading *r, const struct message_field *f, void *member)
{
    uint64_t n = 0;
    bool whole;
    switch (f->type) {
    case MF_BOOL:
        whole = message_number_read(r, &n, 1) && n <= 1;
        *(bool *)member = n == 1;
        return whole;
    case MF_U8:
        whole = message_number_read(r, &n, 1);
        *(uint8_t *)member = n > f->max && f->unknown != 0 ? f->unknown : (uint8_t)n;
        return whole;
    case MF_U32:
        whole = message_number_read(r, &n, sizeof(uint32_t));
        *(uint32_t *)member = (uint32_t)n;
        return whole;
    case MF_U64:
    case MF_I64:
        return message_number_read(r, member, sizeof(uint64_t));
    case MF_STANZA:
        return read_stanza(r, member);
    default:
        return read_slice(r, member);
    }
}

/* Prepared, as every address is on the way. */
static bool is_jid(slice text, enum field_type type, struct arena *tmp)
{
    struct jid jid;
    return jid_parse(&jid, text, tmp) == OK && slice_eq(jid.full, text) &&
           (type == MF_JID || (jid.resource.len > 0) == (type == MF_FULL));
}

static bool are_jids(slice packed, struct arena *tmp)
{
    slice jid;
    uint32_t number;
    while (jids_next(&packed, &jid, &number))
        if (!is_jid(jid, MF_JID, tmp))
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

static bool text_is_sound(const struct message_field *f, slice s, struct arena *tmp)
{
    if (s.len == 0)
        return f->optional;
    switch (f->type) {
    case MF_TEXT:
        return s.len <= f->max && utf8_valid(s);
    case MF_BARE:
    case MF_FULL:
    case MF_JID:
        return is_jid(s, f->type, tmp);
    case MF_JIDS:
        return are_jids(s, tmp);
    case MF_TEXTS:
        return s.len <= f->max && are_texts(s);
    default:
        return s.len <= f->max;
    }
}

static bool field_is_sound(const struct message_field *f, const void *member, struct arena *tmp)
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
        return text_is_sound(f, *(const slice *)member, tmp);
    }
}

bool message_fields_sound(const struct message_field *fields, const void *message,
                          struct arena *tmp)
{
    for (const struct message_field *f = fields; f->type != MF_END; f++)
        if (!field_is_sound(f, (const char *)message + f->offset, tmp))
            return false;
    return true;
}

enum err message_fields_read(struct message_reading *r, const struct message_field *fields,
                             void *message, struct why *why)
{
    const struct message_field *f = fields;
    uint64_t sent;
    if (!message_number_read(r, &sent, 1)) {
        why_set(why, "%s %s is cut short", r->what, r->name);
        return E_CORRUPT;
    }
    for (; f->type != MF_END; f++) {
        void *member = (char *)message + f->offset;
        bool known = (uint64_t)(f - fields) < sent;
        if (known && !read_field(r, f, member)) {
            why_set(why, "%s %s: field %s is cut short or damaged", r->what, r->name, f->name);
            return E_CORRUPT;
        }
        if (!field_is_sound(f, member, r->tmp)) {
            why_set(why, "%s %s: field %s is %s", r->what, r->name, f->name,
                    known ? "out of range" : "missing");
            return E_CORRUPT;
        }
    }
    if (sent > (uint64_t)(f - fields) || r->rest.len == 0)
        return OK; /* what a later release added is skipped */
    why_set(why, "%s %s: %zu bytes are left over", r->what, r->name, r->rest.len);
    return E_CORRUPT;
}

/* Other addresses. */

static slice renamed_jids(const struct renaming *r, slice packed, struct arena *tmp)
{
    slice jid;
    uint32_t number;
    struct buf b;
    buf_init(&b, UINT32_MAX);
    while (jids_next(&packed, &jid, &number))
        jids_add(&b, renaming_of(r, jid, tmp), number);
    slice all = slice_dup(tmp, buf_fit(&b));
    buf_fini(&b);
    return all;
}

static void rename_stanza(const struct renaming *r, struct stanza **st, struct arena *tmp)
{
    slice from = renaming_of(r, stanza_from(*st), tmp), to = renaming_of(r, stanza_to(*st), tmp);
    if (from.ptr == stanza_from(*st).ptr && to.ptr == stanza_to(*st).ptr)
        return;
    struct stanza *other = stanza_readdress(*st, from, to);
    stanza_unref(st);
    *st = other;
}

void message_fields_rename(const struct message_field *fields, void *message,
                           const struct renaming *r, struct arena *tmp)
{
    for (const struct message_field *f = fields; f->type != MF_END; f++) {
        void *member = (char *)message + f->offset;
        slice *text = member;
        struct stanza **st = member;
        if (f->type == MF_BARE || f->type == MF_FULL || f->type == MF_JID)
            *text = renaming_of(r, *text, tmp);
        else if (f->type == MF_JIDS)
            *text = renamed_jids(r, *text, tmp);
        else if (f->type == MF_STANZA && *st != NULL)
            rename_stanza(r, st, tmp);
    }
}
