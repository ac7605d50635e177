/* xml_elem on text that nobody has validated (a damaged database): no crash, no byte outside of the
 * text, an end. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/utf8.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"

enum { DEPTH_MAX = 32, ELEMENTS_MAX = 2000, OUT_BYTES_MAX = 1 << 24 };

struct walk {
    slice text;
    struct arena *arena;
    struct buf out;
    unsigned elements;
};

static void inside(slice part, slice whole)
{
    ensure(part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len);
}

static void visit(struct walk *w, const struct elem *e, unsigned depth)
{
    inside(e->whole, w->text);
    inside(e->start_tag, e->whole);
    inside(e->content, e->whole);
    inside(e->name, e->start_tag);
    ensure(e->ns_uri.ptr != NULL && e->name.len > 0);
    slice text = elem_text(e, w->arena), id = elem_attr(e, "id", w->arena);
    ensure(text.len <= e->content.len && id.len <= e->start_tag.len);
    buf_clear(&w->out);
    elem_extract(e, &w->out);
    ensure(w->out.len >= e->whole.len);
    struct elem found, copy;
    if (elem_child(e, "body", NULL, &found))
        ensure(slice_is(found.name, "body"));
    if (elem_parse(&copy, buf_slice(&w->out), SLICE("")))
        ensure(slice_eq(copy.name, e->name));
    if (depth == DEPTH_MAX)
        return;
    struct elem child;
    for (bool more = elem_first(e, &child); more && ++w->elements < ELEMENTS_MAX;
         more = elem_next(&child, &child)) {
        inside(child.whole, e->content);
        visit(w, &child, depth + 1);
    }
}

static void check_escapes(struct walk *w)
{
    slice back;
    buf_clear(&w->out);
    xml_escape(&w->out, w->text);
    ensure(!w->out.overflow && xml_needs_escape(w->text) == (w->out.len > w->text.len));
    if (memchr(w->text.ptr, '\r', w->text.len) == NULL) {
        back = xml_unescape_text(buf_slice(&w->out), w->arena);
        ensure(slice_eq(back, w->text));
    }
    buf_clear(&w->out);
    xml_escape_clean(&w->out, w->text);
    ensure(utf8_valid(buf_slice(&w->out)));
    ensure(w->out.len == 0 || memchr(w->out.ptr, '\0', w->out.len) == NULL);
    ensure(xml_unescape_attr(w->text, w->arena).len <= w->text.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 4096)
        return 0;
    struct walk w = { .text = { (const char *)data, size }, .arena = arena_create(0) };
    buf_init(&w.out, OUT_BYTES_MAX);
    struct elem top;
    if (elem_parse(&top, w.text, SLICE("jabber:client")))
        visit(&w, &top, 1);
    check_escapes(&w);
    buf_fini(&w.out);
    arena_destroy(&w.arena);
    return 0;
}
