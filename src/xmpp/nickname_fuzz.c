#include "base/arena.h"
#include "base/ensure.h"
#include "base/utf8.h"
#include "xmpp/jid.h"
#include "xmpp/nickname.h"
#include "xmpp/precis.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was enforced stays as it is, is a resource, and has a key that stays as it is. */
static void check(slice nick, struct arena *tmp)
{
    slice again;
    ensure(nick.len > 0 && nick.len <= PRECIS_OUTPUT_MAX && utf8_valid(nick));
    ensure(nickname_enforce(nick, tmp, &again) == OK && slice_eq(nick, again));
    ensure(jid_prep_resource(nick, tmp, &again) == OK && slice_eq(nick, again));
    slice key = nickname_key(nick, tmp), skeleton = nickname_skeleton(nick, tmp);
    ensure(key.len > 0 && key.len <= PRECIS_OUTPUT_MAX && utf8_valid(key));
    ensure(slice_eq(nickname_key(key, tmp), key));
    ensure(skeleton.len > 0 && skeleton.len <= PRECIS_OUTPUT_MAX && utf8_valid(skeleton));
    ensure(slice_eq(nickname_skeleton(nick, tmp), skeleton));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *tmp = arena_create(0);
    slice nick;
    if (nickname_enforce((slice){ (const char *)data, size }, tmp, &nick) == OK)
        check(nick, tmp);
    arena_destroy(&tmp);
    return 0;
}
