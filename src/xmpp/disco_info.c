#include "xmpp/disco_info.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "xmpp/ns.h"
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>

enum { HASH_INPUT_BYTES_MAX = 1 << 20 };

void disco_add_identity(struct disco_info *d, slice category, slice type, slice name)
{
    ensure(d->identity_count < DISCO_IDENTITIES_MAX);
    d->identity[d->identity_count++] =
        (struct disco_identity){ .category = category, .type = type, .name = name };
}

void disco_add_feature(struct disco_info *d, slice feature)
{
    unsigned at = d->feature_count;
    while (at > 0 && slice_compare(d->feature[at - 1], feature) > 0)
        at--;
    if (at > 0 && slice_eq(d->feature[at - 1], feature))
        return;
    ensure(d->feature_count < DISCO_FEATURES_MAX);
    memmove(&d->feature[at + 1], &d->feature[at], (d->feature_count - at) * sizeof(slice));
    d->feature[at] = feature;
    d->feature_count++;
}

void disco_add_features(struct disco_info *d, const char *const *features)
{
    for (; features != NULL && *features != NULL; features++)
        disco_add_feature(d, slice_of(*features));
}

struct disco_field *disco_add_field(struct disco_info *d, slice var)
{
    ensure(d->field_count < DISCO_FIELDS_MAX);
    struct disco_field *f = &d->field[d->field_count++];
    *f = (struct disco_field){ .form = d->form_type, .var = var };
    return f;
}

void disco_add_value(struct disco_field *f, slice value)
{
    if (f->value_count < DISCO_VALUES_MAX)
        f->value[f->value_count++] = value;
}

static bool same_form(const struct disco_info *d, unsigned i, unsigned k)
{
    return i < d->field_count && k < d->field_count && slice_eq(d->field[i].form, d->field[k].form);
}

/* XEP-0128 §3: forms of type result with a hidden FORM_TYPE. */
static void write_forms(struct xml_write *x, const struct disco_info *d)
{
    for (unsigned i = 0; i < d->field_count; i++) {
        const struct disco_field *f = &d->field[i];
        if (i == 0 || !same_form(d, i - 1, i)) {
            xml_open_with(x, "x", NS_DATA, "type", SLICE("result"));
            xml_open_with(x, "field", NULL, "var", SLICE("FORM_TYPE"));
            xml_attr(x, "type", SLICE("hidden"));
            xml_element(x, "value", f->form);
            xml_close(x);
        }
        xml_open_with(x, "field", NULL, "var", f->var);
        xml_attr_some(x, "type", slice_of(f->type));
        for (unsigned v = 0; v < f->value_count; v++)
            xml_element(x, "value", f->value[v]);
        xml_close(x);
        if (!same_form(d, i, i + 1))
            xml_close(x);
    }
}

void disco_write_info(struct xml_write *x, const struct disco_info *d, slice node)
{
    xml_open(x, "query", NS_DISCO_INFO);
    xml_attr_some(x, "node", node);
    for (unsigned i = 0; i < d->identity_count; i++) {
        const struct disco_identity *id = &d->identity[i];
        xml_open(x, "identity", NULL);
        xml_attr_some(x, "category", id->category);
        xml_attr_some(x, "type", id->type);
        xml_attr_some(x, "xml:lang", id->lang);
        xml_attr_some(x, "name", id->name);
        xml_close(x);
    }
    for (unsigned i = 0; i < d->feature_count; i++) {
        xml_empty_with(x, "feature", NULL, "var", d->feature[i]);
    }
    write_forms(x, d);
    xml_close(x);
}

static int disco_info_by_octets(const void *a, const void *b)
{
    return slice_compare(*(const slice *)a, *(const slice *)b);
}

static int by_identity(const void *a, const void *b)
{
    const struct disco_identity *x = a, *y = b;
    int c = slice_compare(x->category, y->category);
    c = c != 0 ? c : slice_compare(x->type, y->type);
    return c != 0 ? c : slice_compare(x->lang, y->lang);
}

static int by_form(const void *a, const void *b)
{
    const struct disco_field *x = a, *y = b;
    int c = slice_compare(x->form, y->form);
    return c != 0 ? c : slice_compare(x->var, y->var);
}

static void hash_piece(struct buf *s, slice piece)
{
    buf_add(s, piece);
    buf_lit(s, "<");
}

static void hash_forms(struct buf *s, struct disco_info *d)
{
    qsort(d->field, d->field_count, sizeof d->field[0], by_form);
    for (unsigned i = 0; i < d->field_count; i++) {
        struct disco_field *f = &d->field[i];
        if (i == 0 || !same_form(d, i - 1, i))
            hash_piece(s, f->form);
        hash_piece(s, f->var);
        qsort(f->value, f->value_count, sizeof f->value[0], disco_info_by_octets);
        for (unsigned v = 0; v < f->value_count; v++)
            hash_piece(s, f->value[v]);
    }
}

slice disco_caps_ver(const struct disco_info *info, struct arena *tmp)
{
    struct disco_info d = *info; /* sorted here; the answer keeps its own order */
    struct buf s;
    buf_init(&s, HASH_INPUT_BYTES_MAX);
    qsort(d.identity, d.identity_count, sizeof d.identity[0], by_identity);
    for (unsigned i = 0; i < d.identity_count; i++) {
        const struct disco_identity *id = &d.identity[i];
        buf_printf(&s, "%.*s/%.*s/%.*s/%.*s<", SLICE_ARG(id->category), SLICE_ARG(id->type),
                   SLICE_ARG(id->lang), SLICE_ARG(id->name));
    }
    for (unsigned i = 0; i < d.feature_count; i++)
        hash_piece(&s, d.feature[i]);
    hash_forms(&s, &d);

    unsigned char sha[SHA_DIGEST_LENGTH];
    int done = EVP_Digest(s.ptr, s.len, sha, NULL, EVP_sha1(), NULL);
    ensure(done == 1);
    buf_clear(&s);
    base64_encode(&s, (slice){ (const char *)sha, sizeof sha });
    slice ver = slice_dup(tmp, buf_fit(&s));
    buf_fini(&s);
    return ver;
}
