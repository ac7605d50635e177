/* Requests of publish-subscribe and answers about capabilities, on any text: no crash, within their
 * limits; what was read of a configuration can be stored and read again. The first byte chooses. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "codec/xml_elem.h"
#include "pubsub/pubsub_request.h"
#include "xmpp/caps_info.h"

enum { TEXT_BYTES_MAX = 1 << 20 };

static void check_config(struct form *f, enum ps_kind kind)
{
    static const struct ps_limits limits = { 1000, 65536 };
    struct ps_config c, again;
    struct buf text;
    ps_config_default(&c, kind);
    (void)ps_config_meets(&c, f, &limits);
    f->error = SE_NONE;
    if (!ps_config_submit(&c, f, &limits)) {
        ensure(f->error != SE_NONE);
        return;
    }
    buf_init(&text, TEXT_BYTES_MAX);
    ps_config_store(&text, &c, kind);
    ps_config_load(&again, kind, buf_slice(&text));
    for (unsigned i = 0; i < PS_TEXTS; i++)
        ensure(slice_eq(c.text[i], again.text[i]));
    ensure(c.max_items == again.max_items && c.access == again.access);
    buf_fini(&text);
}

static void check_request(const struct elem *e, enum stanza_type type, struct arena *tmp)
{
    struct ps_request *r = arena_new(tmp, struct ps_request, 1);
    struct ps_error error;
    if (!ps_request_parse(r, e, type, tmp, &error)) {
        ensure(error.error != SE_NONE);
        return;
    }
    ensure(r->verb < PS_VERBS && r->node.len <= PS_ID_MAX && r->item_id.len <= PS_ID_MAX);
    ensure(r->id_count <= PS_CHANGES_MAX && r->change_count <= PS_CHANGES_MAX);
    if (r->has_form)
        check_config(&r->form, PS_PEP);
}

static void check_caps(const struct elem *e, enum caps_version version, struct arena *tmp)
{
    struct caps_key key = { .version = version, .algo = SLICE("sha-256"), .value = SLICE("x") };
    const slice *nodes;
    ensure(!caps_verify(&key, e, tmp));
    unsigned n = caps_wanted(e, tmp, &nodes);
    ensure(n <= CAPS_PARTS_MAX);
    (void)caps_key_1(&key, e, tmp);
    (void)caps_key_2(&key, e, tmp);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct elem e;
    if (size == 0)
        return 0;
    struct arena *tmp = arena_create(0);
    slice text = { (const char *)data + 1, size - 1 };
    struct ps_config c;
    ps_config_load(&c, PS_HOST, text);
    if (elem_parse(&e, text, SLICE("jabber:client"))) {
        if (data[0] & 1)
            check_request(&e, data[0] & 2 ? TYPE_SET : TYPE_GET, tmp);
        else
            check_caps(&e, data[0] & 2 ? CAPS_1 : CAPS_2, tmp);
    }
    arena_destroy(&tmp);
    return 0;
}
