/* Lines of a file of a room, any bytes: no crash, and what was read can be written and is read
 * again as the same. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "codec/xml_read.h"
#include "muc/room/room_line.h"
#include "muc/room/settings.h"

static void register_settings(void)
{
    static bool done;
    for (unsigned i = 0; !done && muc_settings[i] != NULL; i++)
        setting_register(muc_settings[i]);
    done = true;
}

static void check_again(const struct room_line *l, struct xml_work *work, struct arena *tmp)
{
    struct room_line again;
    struct why why;
    struct buf out;
    buf_init(&out, ROOM_LINE_MAX);
    ensure(room_line_write(&out, l));
    ensure(out.overflow ||
           room_line_read(&again, (slice){ out.ptr, out.len - 1 }, work, tmp, &why) == OK);
    ensure(out.overflow ||
           (again.type == l->type && slice_eq(again.jid, l->jid) &&
            slice_eq(again.stanza, l->stanza) && slice_eq(again.reason, l->reason)));
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct xml_work *work;
    struct room_line l;
    struct why why;
    register_settings();
    if (work == NULL)
        work = xml_work_create();
    struct arena *tmp = arena_create(0);
    if (room_line_read(&l, (slice){ (const char *)data, size }, work, tmp, &why) == OK)
        check_again(&l, work, tmp);
    else
        ensure(why.text[0] != '\0');
    arena_destroy(&tmp);
    return 0;
}
