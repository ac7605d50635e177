#include "home/message_rows.h"
#include "base/ensure.h"
#include "xmpp/stanza.h"

static struct message_known known[MESSAGE_IDS]; /* by id */

static bool is_slice(enum field_type type) { return type >= MF_BYTES && type <= MF_TEXTS; }

const struct message_field message_no_fields[] = { { 0 } };

/* Gathering. */

static bool row_is_sound(const struct message_row *row, struct why *why)
{
    unsigned n = 0;
    for (const struct message_field *f = row->fields; f->type != MF_END; f++, n++) {
        if (f->type == MF_LOCAL && row->scope == MESSAGE_CLUSTER) {
            why_set(why, "message %s goes to other nodes, and its field %s is of this process",
                    row->name, f->name);
            return false;
        }
    }
    if (row->id == 0 || row->id >= MESSAGE_IDS || n > MESSAGE_FIELDS_MAX ||
        row->size > MESSAGE_STRUCT_MAX) {
        why_set(why, "message %s: found id %u and %u fields, allowed ids 1 to %d and %d fields",
                row->name, row->id, n, MESSAGE_IDS - 1, MESSAGE_FIELDS_MAX);
        return false;
    }
    return true;
}

static void message_rows_gather(struct message_known *k, const struct message_row *row)
{
    *k = (struct message_known){ .row = row };
    for (const struct message_field *f = row->fields; f->type != MF_END; f++) {
        if (is_slice(f->type))
            k->slice_at[k->slices++] = f->offset;
        else if (f->type == MF_STANZA)
            k->stanza_at[k->stanzas++] = f->offset;
    }
}

/* A row that has the id or the name of this one already; NULL: none. */
static const struct message_row *clash(const struct message_row *row)
{
    for (unsigned id = 0; id < MESSAGE_IDS; id++) {
        const struct message_row *other = known[id].row;
        if (other != NULL && (other->id == row->id || strcmp(other->name, row->name) == 0))
            return other;
    }
    return NULL;
}

bool messages_set(const struct message_row *const *rows, size_t count, struct why *why)
{
    memset(known, 0, sizeof known);
    for (size_t i = 0; i < count; i++) {
        const struct message_row *row = rows[i], *other;
        if (!row_is_sound(row, why))
            return false;
        if ((other = clash(row)) != NULL) {
            why_set(why, "messages %s (id %u) and %s (id %u) have the same id or name", other->name,
                    other->id, row->name, row->id);
            return false;
        }
        message_rows_gather(&known[row->id], row);
    }
    return true;
}

const struct message_row *message_find(uint32_t id)
{
    return id < MESSAGE_IDS ? known[id].row : NULL;
}

const struct message_known *message_known_at(uint32_t id)
{
    ensure(id < MESSAGE_IDS && known[id].row != NULL);
    return &known[id];
}

const struct message_known *message_known_of(const struct message_row *row)
{
    const struct message_known *k = &known[row->id];
    ensure(k->row == row); /* it stands in a list of the program */
    return k;
}

/* References. */

static struct stanza **stanza_in(void *message, uint16_t at)
{
    return (struct stanza **)(void *)((char *)message + at);
}

void message_known_release(const struct message_known *k, void *message)
{
    for (unsigned i = 0; i < k->stanzas; i++)
        stanza_unref(stanza_in(message, k->stanza_at[i]));
}

void message_release(const struct message_row *row, void *message)
{
    message_known_release(message_known_of(row), message);
}

void message_copy(const struct message_row *row, void *copy, const void *message)
{
    const struct message_known *k = message_known_of(row);
    memcpy(copy, message, row->size);
    for (unsigned i = 0; i < k->stanzas; i++) {
        struct stanza **st = stanza_in(copy, k->stanza_at[i]);
        if (*st != NULL)
            *st = stanza_ref(*st);
    }
}
