/* Any bytes as the text of a stanza: it is copied whole, but for the addresses. */
#include "base/buf.h"
#include "base/ensure.h"
#include "ext/mail_address_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static slice same_length(void *arg, slice bare)
{
    (void)arg;
    return bare.len == 3 ? SLICE("xyz") : (slice){ 0 };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf out;
    slice text = { (const char *)data, size };
    buf_init(&out, size + 1);
    bool changed = mail_address_replace(&out, text, same_length, NULL);
    ensure(buf_fit(&out).len == size);
    ensure(changed || slice_eq(buf_fit(&out), text));
    buf_fini(&out);
    return 0;
}
