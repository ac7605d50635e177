#include "base/utf8.h"
#include "convert/prosody.h"
#include "convert/test_output.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Groups and members have names, and an error says something. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct output o;
    struct why why = { "" };
    size_t i;
    const json_t *line;
    test_output_begin(&o);
    enum err e = prosody_groups_read(&o, (slice){ (const char *)data, size }, &why);
    ensure((e == OK) == (why.text[0] == '\0') && utf8_valid(slice_of(why.text)));
    json_t *lines = test_output_end(&o);
    json_array_foreach(lines, i, line)
    {
        bool member = json_object_get(line, "jid") != NULL;
        ensure(json_string_length(json_object_get(line, member ? "group" : "name")) > 0);
        ensure(!member || json_string_length(json_object_get(line, "jid")) > 0);
    }
    json_decref(lines);
    return 0;
}
