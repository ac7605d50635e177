#include "home/frozen.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "home/message_fields.h"
#include "xmpp/stanza.h"
#include <endian.h>

enum { HEAD_BYTES = 5 }; /* id, length */

struct frozen_head {
    uint32_t version;
};
static const struct message_field head_fields[] = {
    F_U32(struct frozen_head, version, UINT32_MAX),
    { 0 },
};
static const struct frozen_row head_row = { 1,           "head", sizeof(struct frozen_head),
                                            head_fields, NULL,   NULL };

struct frozen_tail {
    uint32_t count; /* of the records in front of it */
};
static const struct message_field tail_fields[] = {
    F_U32(struct frozen_tail, count, UINT32_MAX),
    { 0 },
};
static const struct frozen_row tail_row = { 2,           "end", sizeof(struct frozen_tail),
                                            tail_fields, NULL,  NULL };

/* Takes the next record. false: there is none, or it is cut short. */
static bool frozen_cut(slice *bytes, slice *record)
{
    uint32_t len;
    if (bytes->len < HEAD_BYTES)
        return false;
    memcpy(&len, bytes->ptr + 1, sizeof len);
    len = le32toh(len);
    if (len > bytes->len - HEAD_BYTES)
        return false;
    *record = (slice){ bytes->ptr, HEAD_BYTES + (size_t)len };
    *bytes = slice_from(*bytes, record->len);
    return true;
}

static uint32_t frozen_count(slice bytes)
{
    uint32_t n = 0;
    for (slice record; frozen_cut(&bytes, &record);)
        n++;
    return n;
}

/* Freezing. */

void frozen_add(struct buf *out, const struct frozen_row *row, const void *record)
{
    size_t at = out->len;
    ensure(row->id != 0);
    message_number_pack(out, row->id, 1);
    message_number_pack(out, 0, sizeof(uint32_t));
    message_fields_pack(out, row->fields, record);
    if (out->overflow)
        return;
    uint32_t len = htole32((uint32_t)(out->len - at - HEAD_BYTES));
    memcpy(out->ptr + at + 1, &len, sizeof len);
}

void frozen_begin(struct buf *out, const struct frozen_kind *kind)
{
    ensure(out->len == 0);
    frozen_add(out, &head_row, &(struct frozen_head){ kind->version });
}

void frozen_end(struct buf *out)
{
    ensure(out->len > 0 || out->overflow);
    frozen_add(out, &tail_row, &(struct frozen_tail){ frozen_count(buf_slice(out)) });
}

/* Reading. */

static const struct frozen_row *frozen_row_of(const struct frozen_row *const *row, uint8_t id)
{
    if (id == head_row.id || id == tail_row.id)
        return id == head_row.id ? &head_row : &tail_row;
    while (row != NULL && *row != NULL && (*row)->id != id)
        row++;
    return row == NULL ? NULL : *row;
}

void frozen_drop(struct frozen_record *record)
{
    const struct message_field *f = record->row == NULL ? message_no_fields : record->row->fields;
    for (; f->type != MF_END; f++)
        if (f->type == MF_STANZA)
            stanza_unref((struct stanza **)(void *)((char *)record->data + f->offset));
}

enum err frozen_next(struct frozen_reading *r, struct frozen_record *out, struct why *why)
{
    slice record;
    *out = (struct frozen_record){ 0 };
    if (r->rest.len == 0)
        return E_EOF;
    if (!frozen_cut(&r->rest, &record)) {
        why_set(why, "the last %zu bytes are no whole record", r->rest.len);
        return E_CORRUPT;
    }
    out->row = frozen_row_of(r->row, (uint8_t)record.ptr[0]);
    if (out->row == NULL)
        return OK;
    struct message_reading fields = { .xml = r->xml,
                                      .lenient = true,
                                      .tmp = r->tmp,
                                      .rest = slice_from(record, HEAD_BYTES),
                                      .what = "record",
                                      .name = out->row->name };
    out->data = arena_alloc(r->tmp, 1, out->row->size);
    enum err e = message_fields_read(&fields, out->row->fields, out->data, why);
    if (e != OK)
        frozen_drop(out);
    return e;
}

static enum err frozen_check_head(const struct frozen_kind *kind, struct frozen_reading *r,
                                  struct why *why)
{
    struct frozen_record record;
    enum err e = frozen_next(r, &record, why);
    if (e != OK || record.row != &head_row) {
        why_set(why, "they do not begin with a version");
        frozen_drop(&record);
        return E_CORRUPT;
    }
    uint32_t version = ((const struct frozen_head *)record.data)->version;
    if (version == kind->version)
        return OK;
    why_set(why, "found version %u, known is version %u", version, kind->version);
    return E_UNSUPPORTED;
}

/* All behind the head, and whether they end as they should. */
static enum err frozen_read_all(struct frozen *f, struct frozen_reading *r, struct why *why)
{
    struct frozen_record record = { 0 };
    uint32_t count = 1;
    enum err e;
    for (; (e = frozen_next(r, &record, why)) == OK && record.row != &tail_row; count++) {
        if (record.row == &head_row)
            break;
        if (record.row != NULL)
            f->record[f->count++] = record;
    }
    if (e == OK && record.row == &tail_row && r->rest.len == 0 &&
        ((const struct frozen_tail *)record.data)->count == count)
        return OK;
    if (e == OK || e == E_EOF)
        why_set(why,
                "they do not end behind record %u as they should: some are missing or too many",
                count);
    return E_CORRUPT;
}

enum err frozen_read(struct frozen *f, const struct frozen_kind *kind, struct frozen_reading *r,
                     struct why *why)
{
    *f =
        (struct frozen){ .record = arena_new(r->tmp, struct frozen_record, frozen_count(r->rest)) };
    r->row = kind->row;
    enum err e = frozen_check_head(kind, r, why);
    if (e == OK)
        e = frozen_read_all(f, r, why);
    if (e != OK)
        frozen_release(f);
    return e;
}

void frozen_release(struct frozen *f)
{
    while (f->count > 0)
        frozen_drop(&f->record[--f->count]);
}

slice frozen_part(slice *bytes, size_t max)
{
    slice part = { bytes->ptr, 0 }, rest = *bytes;
    ensure(max > 0);
    for (slice record; frozen_cut(&rest, &record); *bytes = rest) {
        if (part.len > 0 && part.len + record.len > max)
            return part;
        part.len += record.len;
    }
    if (part.len == 0) {
        part = *bytes;
        *bytes = slice_from(*bytes, part.len);
    }
    return part;
}

/* Damaged bytes stay as they are. */
static void frozen_rename_inside(const struct frozen_record *record, struct frozen_reading *part,
                                 const struct renaming *renaming)
{
    struct frozen_reading inside = { .xml = part->xml, .tmp = part->tmp };
    struct why why;
    struct buf out;
    slice *bytes =
        record->row->inside != NULL ? record->row->inside(record->data, &inside.row) : NULL;
    if (bytes == NULL)
        return;
    inside.rest = *bytes;
    buf_init(&out, FROZEN_BYTES_MAX);
    if (frozen_rename(&out, &inside, renaming, &why) == OK)
        *bytes = slice_dup(part->tmp, buf_fit(&out));
    buf_fini(&out);
}

enum err frozen_rename(struct buf *out, struct frozen_reading *part,
                       const struct renaming *renaming, struct why *why)
{
    struct frozen_record record;
    const char *at = part->rest.ptr;
    enum err e;
    for (; (e = frozen_next(part, &record, why)) == OK; at = part->rest.ptr) {
        if (record.row != NULL) {
            if (record.row->renames != NULL)
                record.row->renames(record.data, renaming, part->tmp);
            message_fields_rename(record.row->fields, record.data, renaming, part->tmp);
            frozen_rename_inside(&record, part, renaming);
            frozen_add(out, record.row, record.data);
        } else {
            buf_append(out, at, (size_t)(part->rest.ptr - at));
        }
        frozen_drop(&record);
    }
    return e == E_EOF ? OK : e;
}
