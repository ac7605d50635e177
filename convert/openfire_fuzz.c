#include "base/arena.h"
#include "base/ensure.h"
#include "codec/xml_elem.h"
#include "codec/xml_read.h"
#include "codec/pie.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is made of a well-formed <User/> is well-formed, and names the same user. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct xml_limits limits = { .unit_bytes = PIE_ELEMENT_MAX,
                                              .depth = IMPORT_DEPTH_MAX,
                                              .attrs = 64,
                                              .name_bytes = 1024,
                                              .many_children = true };
    struct arena *arena = arena_create(0);
    struct xml_work *xml = xml_work_create();
    struct elem e;
    slice text = { (const char *)data, size };
    const char *note;
    if (xml_read_element(xml, text, SLICE(NS_PIE), &limits) == OK &&
        elem_parse(&e, text, SLICE(NS_PIE))) {
        slice user = openfire_user(&e, arena, &note);
        ensure(xml_read_element(xml, user, SLICE(NS_PIE), &limits) == OK);
        ensure(elem_parse(&e, user, SLICE(NS_PIE)) && slice_is(e.name, "user"));
    }
    xml_work_destroy(&xml);
    arena_destroy(&arena);
    return 0;
}
