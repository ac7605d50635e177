/* Any bytes as the text of a stanza: it is copied whole, but for the addresses, and XML stays XML.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "codec/xml_read.h"
#include "ext/mail_address_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static slice none(void *arg, slice bare)
{
    (void)arg, (void)bare;
    return (slice){ 0 };
}
static slice other(void *arg, slice bare)
{
    (void)arg;
    return bare.len == 3 ? SLICE("d&t@e") : (slice){ 0 };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct xml_work *work;
    struct arena *tmp = arena_create(0);
    struct buf out;
    slice text = { (const char *)data, size };
    if (work == NULL)
        work = xml_work_create();
    buf_init(&out, 8 * size + 1);
    ensure(!mail_address_replace(&out, text, none, NULL, tmp));
    ensure(slice_eq(buf_fit(&out), text));
    buf_clear(&out);
    bool changed = mail_address_replace(&out, text, other, NULL, tmp);
    ensure(changed || slice_eq(buf_fit(&out), text));
    if (xml_read_element(work, text, SLICE("jabber:client"), NULL) == OK)
        ensure(xml_read_element(work, buf_fit(&out), SLICE("jabber:client"), NULL) != E_SYNTAX);
    buf_fini(&out);
    arena_destroy(&tmp);
    return 0;
}
