#include "cert/cert_note.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/utf8.h"
#include "cert/cert_store.h"
#include "io/tls_cert.h"

enum { NOTE_NAMES_MAX = 8, SUBJECT_BYTES_MAX = 256 };

static void note_names(struct buf *out, const struct tls_cert_facts *facts)
{
    size_t shown = facts->name_count < NOTE_NAMES_MAX ? facts->name_count : NOTE_NAMES_MAX;
    struct buf names;
    buf_init(&names, CERT_NOTE_MAX);
    for (size_t i = 0; i < shown; i++)
        buf_printf(&names, "%s%.*s", i > 0 ? "," : "",
                   SLICE_ARG(utf8_head(slice_of(facts->name[i]), SUBJECT_BYTES_MAX)));
    if (shown > 0)
        command_changed_part(out, "names", buf_fit(&names));
    if (facts->name_count > shown)
        buf_printf(out, ",... (%zu names)", facts->name_count);
    buf_fini(&names);
    if (facts->name_count == 0)
        command_changed_part(out, "subject",
                             utf8_head(slice_of(facts->subject), SUBJECT_BYTES_MAX));
}

void cert_note(struct buf *out, const char *key, const char *of, const struct tls_cert_facts *facts)
{
    char stamp[CLOCK_STAMP_LEN] = "";
    ensure(facts->fingerprint != NULL);
    if (facts->not_after > 0)
        clock_stamp(stamp, (uint64_t)facts->not_after * 1000000);
    buf_printf(out, "%s%s=%s", out->len > 0 ? " " : "", key, of);
    note_names(out, facts);
    buf_printf(out, " sha256=%s expires=%s", facts->fingerprint, stamp);
}

slice cert_note_stored(struct arena *arena, const char *data, const char *const *domain,
                       size_t count)
{
    struct buf out;
    struct why ignored;
    buf_init(&out, COMMAND_CHANGED_MAX + CERT_NOTE_MAX);
    for (size_t i = 0; i < count && out.len < COMMAND_CHANGED_MAX; i++) {
        struct tls_cert_facts facts;
        const char *pair = cert_store_pair(arena, data, domain[i]);
        if (!cert_store_has(pair))
            continue;
        if (tls_cert_read(&facts, pair, arena, &ignored) == OK)
            cert_note(&out, "domain", domain[i], &facts);
        else
            buf_printf(&out, "%sdomain=%s (cannot be read)", out.len > 0 ? " " : "", domain[i]);
    }
    slice text = slice_dup(arena, buf_fit(&out));
    buf_fini(&out);
    return text;
}
