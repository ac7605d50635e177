/* Forms and stored text of a room's configuration, any text: no crash, and what was taken over can
 * be stored, read again, shown and submitted. The first byte chooses who edits. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "muc/room/config.h"
#include "muc/room/config_form.h"
#include "muc/room/settings.h"
#include "xmpp/form.h"

static void check_form(const struct room_config *c, struct arena *tmp)
{
    static const struct room_people nobody;
    struct room_config again = *c;
    struct room_people people;
    struct buf out;
    struct xml_write x;
    struct elem e;
    struct form f;
    xml_begin(&x, &out, XML_PART_MAX);
    room_config_form(&x, c, &nobody, SLICE("room@x"), EDITOR_ADMIN);
    ensure(elem_parse(&e, buf_slice(&out), SLICE("")) && form_parse(&f, &e, tmp));
    f.kind = FORM_SUBMIT;
    (void)room_config_read(&again, &people, &f, EDITOR_ADMIN);
    buf_fini(&out);
}

static void check_stored(const struct room_config *c, struct arena *tmp)
{
    struct room_config again;
    struct buf out;
    buf_init(&out, ROOM_STORED_MAX);
    room_config_store(&out, c);
    ensure(!out.overflow);
    room_config_load(&again, buf_slice(&out), tmp);
    ensure(room_config_diff(c, &again) == 0);
    buf_fini(&out);
}

static void register_settings(void)
{
    static bool done;
    for (unsigned i = 0; !done && muc_settings[i] != NULL; i++)
        setting_register(muc_settings[i]);
    done = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct room_config c;
    struct room_people people;
    struct elem x;
    struct form f;
    register_settings();
    if (size == 0)
        return 0;
    struct arena *tmp = arena_create(0);
    slice text = { (const char *)data + 1, size - 1 };
    room_config_load(&c, text, tmp);
    check_stored(&c, tmp);
    check_form(&c, tmp);
    room_config_default(&c);
    if (elem_parse(&x, text, SLICE("jabber:client")) && form_parse(&f, &x, tmp)) {
        enum room_editor by = data[0] & 1 ? EDITOR_ADMIN : EDITOR_OWNER;
        if (room_config_read(&c, &people, &f, by)) {
            check_stored(&c, tmp);
            check_form(&c, tmp);
        } else {
            ensure(f.error != SE_NONE);
        }
    }
    arena_destroy(&tmp);
    return 0;
}
