/* form, rsm, mam, addresses and datetime on any text: no crash, within their limits, and what was
 * read can be written and read again. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/utf8.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "xmpp/addresses.h"
#include "xmpp/datetime.h"
#include "xmpp/form.h"
#include "xmpp/jid.h"
#include "xmpp/mam.h"
#include "xmpp/rsm.h"

enum { OUT_BYTES_MAX = 1 << 22 };

static void read_all(struct form *f, const char *var)
{
    static const char *const options[] = { "a", "b", NULL };
    slice text;
    bool yes;
    int64_t n;
    unsigned option, count;
    uint32_t set;
    struct jid j;
    const slice *values;
    if (form_text(f, var, &text))
        ensure(text.len <= 4096);
    (void)form_lines(f, var, &text);
    (void)form_bool(f, var, &yes);
    if (form_int(f, var, -5, 5, &n))
        ensure(n >= -5 && n <= 5);
    (void)form_time(f, var, &n);
    (void)form_jid(f, var, &j);
    if (form_choice(f, var, options, &option))
        ensure(option < 2);
    if (form_choices(f, var, options, &set))
        ensure(set < 4);
    if (form_jids(f, var, &values, &count))
        ensure(count <= FORM_VALUES_MAX);
}

static void write_again(const struct form *f, struct buf *out)
{
    struct elem e;
    struct form again;
    struct xml_write x;
    xml_write_to(&x, out);
    form_open(&x, f->kind, NULL);
    for (unsigned i = 0; i < f->field_count; i++) {
        form_put_open(&x, slice_cstr(f->tmp, f->field[i].var), f->field[i].type);
        for (unsigned v = 0; v < f->field[i].value_count; v++)
            form_value(&x, f->field[i].value[v]);
        form_field_close(&x);
    }
    form_close(&x);
    ensure(elem_parse(&e, buf_slice(out), SLICE("")) && form_parse(&again, &e, f->tmp));
    ensure(again.kind == f->kind && again.field_count == f->field_count);
    ensure(slice_eq(again.form_type, f->form_type));
}

static void check_form(const struct elem *top, struct arena *tmp, struct buf *out)
{
    struct form f;
    if (!form_parse(&f, top, tmp)) {
        ensure(f.error != SE_NONE && f.text.len > 0 && utf8_valid(f.text));
        return;
    }
    ensure(f.error == SE_NONE && f.field_count <= FORM_FIELDS_MAX);
    bool plain = true; /* nothing that our writer, which takes text, cannot write */
    for (unsigned i = 0; i < f.field_count && i < 8; i++)
        read_all(&f, slice_cstr(tmp, f.field[i].var));
    for (unsigned i = 0; i < f.field_count; i++)
        plain = plain && memchr(f.field[i].var.ptr, '\0', f.field[i].var.len) == NULL;
    static const char *const none[] = { NULL };
    (void)form_only(&f, none, SE_BAD_REQUEST);
    if (plain)
        write_again(&f, out);
}

static void check_addresses(const struct elem *top, struct arena *tmp, struct buf *out)
{
    struct addresses *l = arena_new(tmp, struct addresses, 1);
    struct addresses *again = arena_new(tmp, struct addresses, 1);
    struct elem e;
    if (!addresses_read(l, top, tmp)) {
        ensure(l->error != SE_NONE && l->text.len > 0);
        return;
    }
    unsigned shown = 0;
    for (unsigned i = 0; i < l->count; i++)
        shown += l->of[i].type != ADDRESS_BCC;
    struct xml_write x;
    buf_clear(out);
    xml_write_to(&x, out);
    addresses_write(&x, l, ADDRESSES_MAX);
    if (out->overflow || shown == 0)
        return;
    ensure(elem_parse(&e, buf_slice(out), SLICE("jabber:client")));
    ensure(addresses_read(again, &e, tmp) && again->count == shown);
}

static void check_rsm(const struct elem *top, struct arena *tmp, struct buf *out)
{
    struct rsm r;
    const char *why;
    size_t from, len;
    if (!rsm_parse(&r, top, tmp, &why)) {
        ensure(why != NULL);
        return;
    }
    if (rsm_window(&r, 100, r.id.len, 30, &from, &len))
        ensure(len <= 30 && from <= 100 && from + len <= 100);
    struct xml_write x;
    buf_clear(out);
    xml_write_to(&x, out);
    rsm_write(&x, &(struct rsm_page){ r.id, r.id, r.index, r.max });
}

static void check_mam(const struct elem *top, struct arena *tmp)
{
    struct mam_query *q = arena_new(tmp, struct mam_query, 1);
    mam_query_read(q, top, (struct mam_limits){ 10, 30 }, tmp);
    ensure((q->error == SE_NONE) == (q->text.len == 0));
    ensure(q->want_count <= MAM_IDS_MAX + 4 && q->limit <= 30);
    ensure(q->error != SE_NONE || q->id_count <= q->want_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice text = { (const char *)data, size };
    if (size == 0 || size > 4096 || !utf8_valid(text))
        return 0;
    struct arena *tmp = arena_create(0);
    struct buf out;
    buf_init(&out, OUT_BYTES_MAX);
    struct elem top;
    int64_t us;
    if (datetime_parse(text, &us))
        ensure(us >= -62167305600000000 && us < 253402387200000000);
    if (elem_parse(&top, text, SLICE("jabber:x:data"))) {
        check_form(&top, tmp, &out);
        check_rsm(&top, tmp, &out);
        check_addresses(&top, tmp, &out);
        check_mam(&top, tmp);
    }
    buf_fini(&out);
    arena_destroy(&tmp);
    return 0;
}
