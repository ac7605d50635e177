#include "muc/room/config_sealed.h"
#include "auth/seal.h"
#include "base/arena.h"
#include "base/buf.h"
#include "muc/room/config.h"
#include "muc/room/config_form.h"

#define SEALED "sealed="

static slice config_sealed_context_of(slice jid, struct arena *tmp)
{
    return slice_of(arena_printf(tmp, "room password %.*s", SLICE_ARG(jid)));
}

void room_config_seal(struct buf *out, const struct room_config *c, slice jid, struct arena *tmp)
{
    struct room_config open = *c;
    slice secret = c->text[ROOM_SECRET];
    open.text[ROOM_SECRET] = (slice){ 0 };
    room_config_store(out, &open);
    if (secret.len == 0 || !seal_ready())
        return;
    buf_lit(out, SEALED);
    buf_add(out, seal(secret, config_sealed_context_of(jid, tmp), tmp));
    buf_lit(out, "\n");
}

void room_config_unseal(struct room_config *c, slice stored, slice jid, struct arena *tmp)
{
    slice line, rest = stored, secret;
    room_config_load(c, stored, tmp);
    c->text[ROOM_SECRET] = (slice){ 0 };
    while (slice_cut(rest, '\n', &line, &rest))
        if (slice_starts(line, SLICE(SEALED)) &&
            unseal(&secret, slice_from(line, sizeof SEALED - 1), config_sealed_context_of(jid, tmp),
                   tmp))
            c->text[ROOM_SECRET] = secret;
}

bool room_config_reseal(struct buf *out, slice stored, slice was, slice is, struct arena *tmp)
{
    slice line, rest = stored;
    bool any = false;
    while (slice_cut(rest, '\n', &line, &rest)) {
        bool sealed = slice_starts(line, SLICE(SEALED));
        buf_add(out, sealed ? SLICE(SEALED) : line);
        if (sealed)
            any |= seal_again(out, slice_from(line, sizeof SEALED - 1),
                              config_sealed_context_of(was, tmp), config_sealed_context_of(is, tmp),
                              tmp);
        buf_lit(out, "\n");
    }
    return any;
}
