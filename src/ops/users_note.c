#include "ops/users_note.h"
#include "auth/credentials.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "home/here.h"
#include "im/feature.h"
#include "ops/access.h"
#include "ops/users_profile.h"
#include "store/store.h"

enum { NOTE_BYTES_MAX = 2 * COMMAND_CHANGED_MAX };

struct note_read {
    struct command_call *call;
    slice jid;
    struct users_note *out;
    void (*fn)(void *arg, enum err e);
    void *arg;
};

static void note_value(struct buf *out, const char *name, slice value)
{
    if (value.len > 0)
        buf_printf(out, "%s%s=%.*s", out->len > 0 ? " " : "", name, SLICE_ARG(value));
}

static slice note_rest(const struct note_read *r, const struct store_batch *b)
{
    struct buf out;
    struct principal who = { 0 };
    unsigned at = 1;
    buf_init(&out, NOTE_BYTES_MAX);
    for (unsigned i = 0; i < PROFILE_FIELDS; i++)
        note_value(&out, users_profile_name(i), store_text(b, 0, 0, PROFILE_STORED + i));
    access_of_account(r->jid, r->call->arena, &who);
    note_value(&out, "role", who.role);
    EMIT(account.note, b, &at, &out);
    slice text = slice_dup(r->call->arena, buf_fit(&out));
    buf_fini(&out);
    return text.ptr == NULL ? SLICE("") : text;
}

static void note_found(void *arg, enum store_result result, const struct store_batch *b)
{
    struct note_read *r = arg;
    ensure(worker_is_here(r->call->worker));
    if (result == STORE_OK && store_row_count(b, 0) == 1) {
        char stamp[CLOCK_STAMP_LEN];
        clock_stamp(stamp, (uint64_t)store_int(b, 0, 0, 0));
        r->out->created = slice_cstr(r->call->arena, slice_of(stamp));
        r->out->disabled = store_int(b, 0, 0, 1) != 0;
        r->out->rest = note_rest(r, b);
    }
    r->fn(r->arg, err_of_store(result));
}

void users_note_read(struct command_call *call, slice jid, struct users_note *out,
                     void (*fn)(void *arg, enum err e), void *arg)
{
    struct note_read *r = arena_new(call->arena, struct note_read, 1);
    struct store_batch *b = store_read(worker_store(call->worker), credentials_lane(jid));
    *r = (struct note_read){ .call = call, .jid = jid, .out = out, .fn = fn, .arg = arg };
    *out = (struct users_note){ 0 };
    STORE_ADD(b, &users_profile_get, STORE_ANY_ROWS, SV_T(jid));
    EMIT(account.noted, b, jid);
    store_submit(b, worker_loop(call->worker), 0, note_found, r);
}
