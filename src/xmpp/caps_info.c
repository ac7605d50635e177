#include "xmpp/caps_info.h"
#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "codec/xml_elem.h"
#include "xmpp/ns.h"
#include <openssl/evp.h>
#include <stdlib.h>

#define NS_CAPS_2 "urn:xmpp:caps"
#define NS_HASHES "urn:xmpp:hashes:2"

/* XEP-0300 §4: the names of the hash functions that we verify, the best first. */
static const struct algo {
    const char *name, *evp;
} algos[] = {
    { "sha3-512", "SHA3-512" }, { "sha3-256", "SHA3-256" }, { "blake2b-512", "BLAKE2B512" },
    { "sha-512", "SHA512" },    { "sha-384", "SHA384" },    { "sha-256", "SHA256" },
    { "sha-224", "SHA224" },    { "sha-1", "SHA1" },
};
enum { ALGOS = sizeof algos / sizeof algos[0] };

static unsigned caps_info_rank_of(slice name)
{
    unsigned i = 0;
    while (i < ALGOS && !slice_eq_nocase(name, slice_of(algos[i].name)))
        i++;
    return i;
}

bool caps_key_1(struct caps_key *out, const struct elem *c, struct arena *tmp)
{
    slice node = elem_attr(c, "node", tmp), ver = elem_attr(c, "ver", tmp);
    if (node.len == 0 || ver.len == 0)
        return false;
    *out = (struct caps_key){ .version = CAPS_1, .algo = elem_attr(c, "hash", tmp), .value = ver };
    out->node = slice_of(arena_printf(tmp, "%.*s#%.*s", SLICE_ARG(node), SLICE_ARG(ver)));
    return true;
}

bool caps_key_2(struct caps_key *out, const struct elem *c, struct arena *tmp)
{
    struct elem e;
    unsigned best = ALGOS;
    for (bool more = elem_first(c, &e); more; more = elem_next(&e, &e)) {
        slice name = elem_attr(&e, "algo", tmp);
        unsigned rank = caps_info_rank_of(name);
        if (!elem_is(&e, "hash", NS_HASHES) || rank >= best)
            continue;
        slice value = elem_text(&e, tmp);
        best = rank;
        *out = (struct caps_key){ .version = CAPS_2, .algo = name, .value = value };
    }
    if (best < ALGOS)
        out->node = slice_of(
            arena_printf(tmp, NS_CAPS_2 "#%.*s.%.*s", SLICE_ARG(out->algo), SLICE_ARG(out->value)));
    return best < ALGOS;
}

/* Lists of texts, sorted as "i;octet" says. */

struct texts {
    slice *at;
    unsigned count, *budget; /* parts left in all */
};

static int caps_info_by_octets(const void *a, const void *b)
{
    return slice_compare(*(const slice *)a, *(const slice *)b);
}

static bool texts_add(struct texts *t, slice s, struct arena *tmp)
{
    if (*t->budget == 0)
        return false;
    --*t->budget;
    if ((t->count & (t->count - 1)) == 0) { /* a power of two: full */
        slice *more = arena_alloc(tmp, t->count == 0 ? 1 : t->count * 2, sizeof *more);
        if (t->count > 0)
            memcpy(more, t->at, t->count * sizeof *more);
        t->at = more;
    }
    t->at[t->count++] = s;
    return true;
}

static void texts_sort(struct texts *t)
{
    if (t->count > 1)
        qsort(t->at, t->count, sizeof *t->at, caps_info_by_octets);
}

static bool texts_distinct(const struct texts *t) /* sorted */
{
    for (unsigned i = 1; i < t->count; i++)
        if (slice_eq(t->at[i - 1], t->at[i]))
            return false;
    return true;
}

static void texts_join(struct buf *out, const struct texts *t)
{
    for (unsigned i = 0; i < t->count; i++)
        buf_add(out, t->at[i]);
}

/* The input of the hash function. Each part becomes a text with its separators; sorted and joined
 * they are the input. The versions differ in separators and order. */

struct input {
    enum caps_version version;
    struct arena *tmp;
    unsigned budget;
    struct texts identities, features, forms;
};

static slice built(struct buf *b, struct arena *tmp)
{
    slice s = slice_dup(tmp, buf_slice(b));
    if (b->overflow || s.ptr == NULL)
        s = SLICE("");
    buf_fini(b);
    return s;
}

/* XEP-0115 gives a part that holds its separator two meanings. */
static bool caps_info_is_plain(const struct input *in, slice s)
{
    return in->version == CAPS_2 || memchr(s.ptr == NULL ? "" : s.ptr, '<', s.len) == NULL;
}

static bool add_identity(struct input *in, const struct elem *e)
{
    static const char *const names[] = { "category", "type", "xml:lang", "name" };
    struct buf b;
    bool fine = true;
    buf_init(&b, CAPS_INPUT_BYTES_MAX);
    for (unsigned i = 0; i < 4; i++) {
        slice value = elem_attr(e, names[i], in->tmp);
        fine = fine && caps_info_is_plain(in, value);
        buf_add(&b, value);
        buf_add(&b, slice_of(in->version == CAPS_2 ? "\x1f" : i < 3 ? "/" : "<"));
    }
    if (in->version == CAPS_2)
        buf_lit(&b, "\x1e");
    slice text = built(&b, in->tmp);
    return fine && texts_add(&in->identities, text, in->tmp);
}

static slice with_end(const struct input *in, slice s)
{
    return slice_of(
        arena_printf(in->tmp, "%.*s%c", SLICE_ARG(s), in->version == CAPS_1 ? '<' : 0x1f));
}

static bool add_values(struct input *in, const struct elem *field, struct texts *values)
{
    struct elem e;
    values->budget = &in->budget;
    for (bool more = elem_first(field, &e); more; more = elem_next(&e, &e)) {
        slice value = elem_is(&e, "value", NS_DATA) ? elem_text(&e, in->tmp) : (slice){ 0 };
        if (!elem_is(&e, "value", NS_DATA))
            continue;
        if (!caps_info_is_plain(in, value) || !texts_add(values, with_end(in, value), in->tmp))
            return false;
    }
    texts_sort(values);
    return true;
}

static bool is_form_type(const struct elem *field, struct arena *tmp)
{
    return slice_is(elem_attr(field, "var", tmp), "FORM_TYPE");
}

static slice field_text(struct input *in, const struct elem *field, const struct texts *values)
{
    struct buf b;
    buf_init(&b, CAPS_INPUT_BYTES_MAX);
    buf_add(&b, with_end(in, elem_attr(field, "var", in->tmp)));
    texts_join(&b, values);
    if (in->version == CAPS_2)
        buf_lit(&b, "\x1e");
    return built(&b, in->tmp);
}

/* XEP-0115 §5.4 no. 3.6: a form without a hidden FORM_TYPE does not count; XEP-0390 §4.1 refuses
 * it. */
static bool caps_info_add_form(struct input *in, const struct elem *x)
{
    struct texts fields = { .budget = &in->budget }, type = { 0 };
    struct elem e;
    struct buf b;
    for (bool more = elem_first(x, &e); more; more = elem_next(&e, &e)) {
        struct texts values = { 0 };
        if (!elem_is(&e, "field", NS_DATA)) {
            if (in->version == CAPS_2 &&
                (elem_is(&e, "reported", NS_DATA) || elem_is(&e, "item", NS_DATA)))
                return false;
            continue;
        }
        if (!add_values(in, &e, &values))
            return false;
        if (is_form_type(&e, in->tmp)) {
            if (type.count > 0 || values.count != 1)
                return false;
            if (slice_is(elem_attr(&e, "type", in->tmp), "hidden"))
                type = values;
            if (in->version == CAPS_1)
                continue;
        }
        if (!texts_add(&fields, field_text(in, &e, &values), in->tmp))
            return false;
    }
    if (type.count == 0)
        return in->version == CAPS_1;
    texts_sort(&fields);
    buf_init(&b, CAPS_INPUT_BYTES_MAX);
    if (in->version == CAPS_1)
        texts_join(&b, &type);
    texts_join(&b, &fields);
    if (in->version == CAPS_2)
        buf_lit(&b, "\x1d");
    return texts_add(&in->forms, built(&b, in->tmp), in->tmp);
}

static bool caps_info_add_child(struct input *in, const struct elem *e)
{
    if (elem_is(e, "identity", NS_DISCO_INFO))
        return add_identity(in, e);
    if (elem_is(e, "feature", NS_DISCO_INFO)) {
        slice var = elem_attr(e, "var", in->tmp);
        return caps_info_is_plain(in, var) && texts_add(&in->features, with_end(in, var), in->tmp);
    }
    if (elem_is(e, "x", NS_DATA))
        return caps_info_add_form(in, e);
    return in->version == CAPS_1; /* XEP-0390 §4.1 no. 1 */
}

static void join_all(struct buf *out, const struct input *in)
{
    if (in->version == CAPS_1) {
        texts_join(out, &in->identities);
        texts_join(out, &in->features);
        texts_join(out, &in->forms);
        return;
    }
    texts_join(out, &in->features);
    buf_lit(out, "\x1c");
    texts_join(out, &in->identities);
    buf_lit(out, "\x1c");
    texts_join(out, &in->forms);
    buf_lit(out, "\x1c");
}

static bool hash_is(const struct caps_key *key, slice input)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    struct buf text;
    unsigned rank = caps_info_rank_of(key->algo);
    const EVP_MD *md = rank < ALGOS ? EVP_get_digestbyname(algos[rank].evp) : NULL;
    if (md == NULL || EVP_Digest(input.ptr, input.len, digest, &len, md, NULL) != 1)
        return false;
    buf_init(&text, CAPS_HASH_MAX);
    base64_encode(&text, (slice){ (const char *)digest, len });
    bool same = slice_eq(buf_fit(&text), key->value);
    buf_fini(&text);
    return same;
}

bool caps_verify(const struct caps_key *key, const struct elem *query, struct arena *tmp)
{
    struct input in = { .version = key->version, .tmp = tmp, .budget = CAPS_PARTS_MAX };
    struct texts *all[] = { &in.identities, &in.features, &in.forms };
    struct elem e;
    struct buf b;
    for (unsigned i = 0; i < 3; i++)
        all[i]->budget = &in.budget;
    for (bool more = elem_first(query, &e); more; more = elem_next(&e, &e))
        if (!caps_info_add_child(&in, &e))
            return false;
    for (unsigned i = 0; i < 3; i++) {
        texts_sort(all[i]);
        if (!texts_distinct(all[i])) /* XEP-0115 §5.4 no. 3.3 to 3.5 */
            return false;
    }
    buf_init(&b, CAPS_INPUT_BYTES_MAX);
    join_all(&b, &in);
    bool same = !b.overflow && hash_is(key, buf_slice(&b));
    buf_fini(&b);
    return same;
}

unsigned caps_wanted(const struct elem *query, struct arena *tmp, const slice **out)
{
    static const slice suffix = SLICE_INIT("+notify");
    unsigned budget = CAPS_PARTS_MAX, n = 0;
    struct texts t = { .budget = &budget };
    struct elem e;
    for (bool more = elem_first(query, &e); more; more = elem_next(&e, &e)) {
        slice var =
            elem_is(&e, "feature", NS_DISCO_INFO) ? elem_attr(&e, "var", tmp) : (slice){ 0 };
        if (var.len > suffix.len && slice_eq(slice_from(var, var.len - suffix.len), suffix))
            texts_add(&t, (slice){ var.ptr, var.len - suffix.len }, tmp);
    }
    texts_sort(&t);
    for (unsigned i = 0; i < t.count; i++)
        if (n == 0 || !slice_eq(t.at[n - 1], t.at[i]))
            t.at[n++] = t.at[i];
    *out = t.at;
    return n;
}
