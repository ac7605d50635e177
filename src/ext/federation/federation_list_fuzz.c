/* Any bytes as a file of blocked domains: it is read or refused with the number of a line, and what
 * was read can be asked. The first 20 bytes are also asked for. */
#include "base/ensure.h"
#include "ext/federation/federation_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct federation_list *l;
    struct why why = { "" };
    slice text = { (const char *)data, size }, asked = { text.ptr, size < 20 ? size : 20 };
    if (federation_list_read(&l, text, &why) != OK) {
        ensure(l == NULL && why.text[0] != '\0');
        return 0;
    }
    ensure(federation_list_count(l) <= size);
    if (federation_list_has_domain(l, asked))
        ensure(federation_list_count(l) > 0);
    (void)federation_list_has(l, asked);
    (void)federation_list_has(l, SLICE("name@spam.example"));
    federation_list_free(&l);
    return 0;
}
