#include "convert/convert.h"
#include "convert/test_output.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Any text is converted, or an error says something; each line of the output is JSON. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct output o;
    struct why why = { "" };
    test_output_begin(&o);
    enum err e = openfire_read(&o, (slice){ (const char *)data, size }, SLICE("a.example"), &why);
    ensure((e == OK) == (why.text[0] == '\0'));
    json_decref(test_output_end(&o));
    return 0;
}
