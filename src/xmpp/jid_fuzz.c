#include "base/arena.h"
#include "base/ensure.h"
#include "xmpp/jid.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is prepared stays as it is, keeps the limits, and is the sum of its parts. */
static void check(const struct jid *j, struct arena *tmp)
{
    struct jid again, split = jid_split(j->full);
    ensure(jid_parse(&again, j->full, tmp) == OK);
    ensure(again.full.ptr == j->full.ptr || slice_eq(again.full, j->full));
    ensure(slice_eq(split.local, j->local) && slice_eq(split.domain, j->domain) &&
           slice_eq(split.resource, j->resource));
    ensure(j->domain.len > 0 && j->domain.len <= JID_PART_MAX && j->local.len <= JID_PART_MAX &&
           j->resource.len <= JID_PART_MAX && j->full.len <= JID_MAX);
    size_t separators = (j->local.len > 0) + (size_t)(j->resource.len > 0);
    ensure(j->local.len + j->domain.len + j->resource.len + separators == j->full.len);
    ensure(jid_bare(j).len == j->full.len - (j->resource.len > 0 ? j->resource.len + 1 : 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *tmp = arena_create(0);
    slice text = { (const char *)data, size }, out, again;
    struct jid j;
    if (jid_parse(&j, text, tmp) == OK)
        check(&j, tmp);
    if (jid_prep_password(text, tmp, &out) == OK)
        ensure(jid_prep_password(out, tmp, &again) == OK && slice_eq(out, again));
    else
        ensure(jid_password_problem(text, tmp) != NULL);
    if (jid_prep_password_sasl(text, tmp, &out) == OK)
        ensure(out.len > 0 && out.len <= 1023);
    if (size > 0) {
        slice escaped = jid_escape(text, tmp);
        if (jid_prep_local(escaped, tmp, &out) == OK)
            ensure(slice_eq(jid_escape(jid_unescape(escaped, tmp), tmp), escaped));
    }
    arena_destroy(&tmp);
    return 0;
}
