#include "ops/users_note.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "core/feature.h"
#include "ops/access.h"
#include "ops/users_profile.h"
#include "store/store.h"

enum { NOTE_BYTES_MAX = 4 * COMMAND_CHANGED_MAX };

static void note_value(struct buf *out, const char *name, slice value)
{
    if (value.len > 0)
        command_changed_part(out, name, value);
}

static slice note_rest(struct arena *arena, slice jid, const struct store_batch *b)
{
    struct buf out;
    struct principal who = { 0 };
    unsigned at = 1;
    buf_init(&out, NOTE_BYTES_MAX);
    for (unsigned i = 0; i < PROFILE_FIELDS; i++)
        note_value(&out, users_profile_name(i), store_text(b, 0, 0, PROFILE_STORED + i));
    access_of_account(jid, arena, &who);
    note_value(&out, "role", who.role);
    EMIT_ONE(templates, note, b, &at, &out);
    slice text = slice_dup(arena, buf_fit(&out));
    buf_fini(&out);
    return text.ptr == NULL ? SLICE("") : text;
}

void users_note_reads(struct store_batch *b, slice jid)
{
    STORE_ADD(b, &users_profile_get, STORE_ANY_ROWS, SV_T(jid));
    EMIT_ONE(templates, noted, b, jid);
}

void users_note_found(struct command_call *call, slice jid, const struct store_batch *b,
                      struct users_note *out)
{
    char stamp[CLOCK_STAMP_LEN];
    ensure(store_row_count(b, 0) == 1);
    clock_stamp(stamp, (uint64_t)store_int(b, 0, 0, 0));
    *out = (struct users_note){ .created = slice_cstr(call->arena, slice_of(stamp)),
                                .disabled = store_int(b, 0, 0, 1) != 0,
                                .rest = note_rest(call->arena, jid, b) };
}
