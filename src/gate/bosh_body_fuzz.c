/* Any text: what is read keeps the bounds of its header, and its children can be walked. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "codec/xml_elem.h"
#include "codec/xml_read.h"
#include "gate/bosh_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *tmp = arena_create(0);
    struct xml_work *work = xml_work_create();
    struct bosh_body body;
    struct elem child;
    struct buf text;
    if (bosh_body_read(&body, (slice){ (const char *)data, size }, work, tmp)) {
        ensure(body.rid > 0 && body.rid <= BOSH_RID_MAX);
        ensure(body.wait >= -1 && body.hold >= -1 && body.pause >= -1 && body.ack >= -1);
        for (bool more = elem_first(&body.elem, &child); more; more = elem_next(&child, &child)) {
            buf_init(&text, 1 << 22);
            elem_extract(&child, &text);
            ensure(text.overflow || text.len >= child.whole.len);
            buf_fini(&text);
        }
    }
    xml_work_destroy(&work);
    arena_destroy(&tmp);
    return 0;
}
