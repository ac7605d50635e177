/* xml_write and xml_elem against each other: the input is a program that opens, closes and fills
 * elements; reading the text gives the same elements, attributes and text again. */
#include "base/arena.h"
#include "base/utf8.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"

enum { STEPS_MAX = 256, VALUE_BYTES_MAX = 64 };

static const char *const names[] = { "a", "b:c", "item", "x" };
static const char *const spaces[] = { NULL, "urn:x", "jabber:client", "http://e.org/#p" };

struct step {
    enum { OPEN, ATTR, TEXT, CLOSE } kind;
    const char *name, *ns;
    slice value;
};
struct program {
    struct step step[STEPS_MAX];
    unsigned count, depth;
    bool in_tag;
};

/* Takes as many legal characters as there are at the front, at most `max` bytes. */
static slice value_of(slice *input, size_t max)
{
    slice all = *input, left = *input;
    uint32_t cp;
    int bytes;
    while (all.len - left.len < max && (bytes = utf8_decode(left, &cp)) > 0 &&
           xml_is_text((slice){ left.ptr, (size_t)bytes }))
        left = slice_from(left, (size_t)bytes);
    *input = left;
    return (slice){ all.ptr, all.len - left.len };
}

static void add_step(struct program *p, unsigned byte, slice *input)
{
    struct step s = { .kind = byte % 4, .name = names[byte / 4 % 4], .ns = spaces[byte / 16 % 4] };
    if (p->depth == 0)
        s.kind = OPEN;
    if (s.kind == OPEN && (p->depth == XML_WRITE_DEPTH_MAX || (p->depth == 0 && p->count > 0)))
        return;
    if (s.kind == ATTR && (!p->in_tag || p->step[p->count - 1].kind != OPEN))
        return; /* one each: two of a name would not be XML */
    if (s.kind == ATTR || s.kind == TEXT)
        s.value = value_of(input, byte / 4);
    p->depth += s.kind == OPEN;
    p->depth -= s.kind == CLOSE;
    p->in_tag = s.kind == OPEN || s.kind == ATTR;
    p->step[p->count++] = s;
}

static void write_step(struct xml_write *x, const struct step *s)
{
    if (s->kind == OPEN)
        xml_open(x, s->name, s->ns);
    else if (s->kind == ATTR)
        xml_attr(x, "v", s->value);
    else if (s->kind == TEXT)
        xml_text(x, s->value);
    else
        xml_close(x);
}

/* Reads the element that step `i` opens. Returns the step behind the one that closes it. */
static unsigned check_element(const struct program *p, unsigned i, const struct elem *e,
                              struct arena *tmp)
{
    const struct step *s = &p->step[i++];
    char text[STEPS_MAX * VALUE_BYTES_MAX], *end = text;
    struct elem child;
    bool more = elem_first(e, &child);
    const char *local = strchr(s->name, ':');
    ensure(slice_is(e->name, local != NULL ? local + 1 : s->name));
    if (s->ns != NULL && local == NULL)
        ensure(slice_is(e->ns_uri, s->ns));
    if (p->step[i].kind == ATTR)
        ensure(slice_eq(elem_attr(e, "v", tmp), p->step[i++].value));
    while (p->step[i].kind != CLOSE) {
        if (p->step[i].kind == TEXT) {
            slice_lay(&end, p->step[i++].value);
            continue;
        }
        ensure(more);
        i = check_element(p, i, &child, tmp);
        more = elem_next(&child, &child);
    }
    ensure(!more && slice_eq(elem_text(e, tmp), (slice){ text, (size_t)(end - text) }));
    return i + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct program p = { .count = 0 };
    slice input = { (const char *)data, size };
    while (input.len > 0 && p.count < STEPS_MAX - XML_WRITE_DEPTH_MAX) {
        unsigned byte = (uint8_t)*input.ptr;
        input = slice_from(input, 1);
        add_step(&p, byte, &input);
    }
    while (p.depth > 0)
        add_step(&p, CLOSE, &input);
    if (p.count == 0)
        return 0;
    struct arena *tmp = arena_create(0);
    struct buf out;
    struct xml_write x;
    buf_init(&out, XML_PART_MAX);
    xml_write_to(&x, &out);
    for (unsigned i = 0; i < p.count; i++)
        write_step(&x, &p.step[i]);
    ensure(x.depth == 0 && !out.overflow);
    struct elem top;
    ensure(elem_parse_within(&top, buf_slice(&out), SLICE("jabber:client"),
                             SLICE(" xmlns:b='urn:b'")));
    ensure(check_element(&p, 0, &top, tmp) == p.count);
    buf_fini(&out);
    arena_destroy(&tmp);
    return 0;
}
