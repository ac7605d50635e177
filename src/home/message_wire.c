#include "home/message_wire.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "home/message_fields.h"
#include "home/worker.h"

struct log_area log_frames = { .name = "frames", .level = LOG_INFO };

void message_pack(struct buf *out, const struct message_row *row, const void *message,
                  const struct message_from *as)
{
    ensure(row->scope == MESSAGE_CLUSTER);
    message_number_pack(out, MESSAGE_FORMAT, 1);
    message_number_pack(out, message_part_pack(as), 1);
    message_number_pack(out, row->id, 2);
    message_number_pack(out, as->question, sizeof(uint32_t));
    ensure_debug(out->overflow || out->len == MESSAGE_HEAD_BYTES);
    message_fields_pack(out, row->fields, message);
}

/* Reading. */

static enum err read_head(struct message_reading *r, const struct message_row **row,
                          struct message_from *from, struct why *why)
{
    uint64_t format, part, id, question;
    if (!message_number_read(r, &format, 1) || !message_number_read(r, &part, 1) ||
        !message_number_read(r, &id, 2) || !message_number_read(r, &question, sizeof(uint32_t))) {
        why_set(why, "%zu bytes are no message", r->rest.len);
        return E_CORRUPT;
    }
    *row = message_find((uint32_t)id);
    if (format != MESSAGE_FORMAT || *row == NULL) {
        why_set(why, "found format %u and message %u: of another release", (unsigned)format,
                (unsigned)id);
        return E_UNSUPPORTED;
    }
    message_part_unpack(from, (uint8_t)part);
    from->question = (uint32_t)question;
    if ((*row)->scope == MESSAGE_CLUSTER && from->part <= PART_ANSWER &&
        ((*row)->run != NULL || from->part == PART_ANSWER) &&
        (from->part != PART_ALONE || !(*row)->later))
        return OK;
    why_set(why, "message %s does not come from another node in this part of a conversation",
            (*row)->name);
    return E_CORRUPT;
}

enum err message_unpack(const struct message_row **row, void **message, slice bytes,
                        struct worker *w, struct message_from *from, struct why *why)
{
    struct message_reading r = {
        .xml = w->xml, .tmp = loop_scratch(w->loop), .rest = bytes, .what = "message"
    };
    enum err e = read_head(&r, row, from, why);
    if (e != OK)
        return e;
    *message = arena_alloc(loop_scratch(w->loop), 1, (*row)->size);
    r.name = (*row)->name;
    e = message_fields_read(&r, (*row)->fields, *message, why);
    if (e == OK && (*row)->sound != NULL && !(*row)->sound(w, *message, from)) {
        why_set(why, "message %s: its fields do not go together", (*row)->name);
        e = E_CORRUPT;
    }
    if (e != OK)
        message_release(*row, *message);
    return e;
}
