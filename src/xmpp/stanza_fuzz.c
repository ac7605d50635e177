/* Whatever the reader accepts as a stanza of a stream becomes a stanza, its text is well-formed for
 * expat, and that text loaded again is the same stanza. The first byte chooses the stream's header
 * and whether `from` is stamped. Expat knows the names of the fourth edition of XML only, so what
 * it refuses because of a character beyond ASCII is not compared. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "codec/xml_elem.h"
#include "codec/xml_read.h"
#include "xmpp/stanza.h"
#include <expat.h>

enum { TEXT_MAX = 1 << 20 };

static const slice headers[] = {
    SLICE_INIT(
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
        "xmlns:x='urn:x' xmlns:sid='urn:xmpp:sid:0' xml:lang='en'>"),
    SLICE_INIT(
        "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' "
        "xmlns:c='jabber:client' xmlns:x='a&amp;b'>"),
    SLICE_INIT("<s:stream xmlns='urn:other' xmlns:s='http://etherx.jabber.org/streams'>"),
};

struct env {
    struct xml_work *work;
    struct arena *tmp;
};

static bool is_ascii(slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((text.ptr[i] & 0x80) != 0)
            return false;
    return true;
}

static void expect_well_formed(slice text)
{
    XML_Parser p = XML_ParserCreateNS("UTF-8", '\n');
    enum XML_Status status = XML_Parse(p, text.ptr, (int)text.len, 1);
    ensure(status == XML_STATUS_OK || !is_ascii(text));
    XML_ParserFree(p);
}

static slice text_of(struct buf *b, const struct stanza *s)
{
    buf_init(b, TEXT_MAX);
    stanza_store(b, s);
    ensure(!b->overflow && b->len <= stanza_write_max(s, NULL));
    return buf_slice(b);
}

static void expect_same(const struct stanza *a, const struct stanza *b)
{
    ensure(a->kind == b->kind && (a->type == b->type || a->type == TYPE_INVALID));
    ensure(slice_eq(stanza_to(a), stanza_to(b)) && slice_eq(stanza_from(a), stanza_from(b)));
    ensure(slice_eq(stanza_id(a), stanza_id(b)));
    ensure(slice_eq((slice){ a->lang, a->lang_len }, (slice){ b->lang, b->lang_len }));
    ensure(slice_eq((slice){ a->other, a->other_len }, (slice){ b->other, b->other_len }));
    ensure(a->known == b->known && a->child_count == b->child_count);
    for (unsigned i = 0; i < a->child_count; i++)
        ensure(a->child[i].known == b->child[i].known);
}

/* Written and loaded: the same. What inherits its namespace may lose a declaration the first time.
 */
static void check_text(const struct env *env, const struct stanza *s)
{
    struct buf one, two;
    struct stanza *loaded, *again;
    slice text = text_of(&one, s);
    expect_well_formed(text);
    ensure(stanza_load(&loaded, text, env->work, env->tmp) == OK);
    expect_same(s, loaded);
    slice second = text_of(&two, loaded);
    ensure(second.len <= text.len);
    ensure(stanza_load(&again, second, env->work, env->tmp) == OK);
    ensure(slice_eq(stanza_content(loaded), stanza_content(again)));
    expect_same(loaded, again);
    stanza_unref(&loaded);
    stanza_unref(&again);
    buf_fini(&one);
    buf_fini(&two);
}

static void check_children(const struct env *env, const struct stanza *s)
{
    struct elem e;
    uint32_t end = 0, known = 0;
    ensure(stanza_payload(s, &e) == (s->child_count > 0));
    for (unsigned i = 0; i < s->child_count; i++) {
        const struct stanza_child *c = &s->child[i];
        ensure(c->at >= end && c->len > 0 && c->at + c->len <= s->content_len);
        ensure(s->content[c->at] == '<' && s->content[c->at + c->len - 1] == '>');
        end = c->at + c->len;
        known |= 1u << c->known;
        ensure(stanza_child(s, (enum known_child)c->known, &e));
        (void)stanza_child_text(s, (enum known_child)c->known, env->tmp);
    }
    ensure(known == s->known);
}

static void check_notes(const struct stanza *s)
{
    const struct stanza_note notes[] = {
        { .archive_id = UINT64_MAX, .delay_us = 1700000000000000, .by = SLICE("o'neil@b.example") },
        { .to = SLICE("<&>'\"@b.example/\"") },
    };
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        struct buf b;
        buf_init(&b, TEXT_MAX);
        char *out = buf_reserve(&b, stanza_write_max(s, &notes[i]));
        ensure(out != NULL);
        b.len = stanza_write(out, s, &notes[i]);
        ensure(b.len <= b.cap);
        expect_well_formed(buf_slice(&b));
        buf_fini(&b);
    }
}

static bool is_ours(enum known_child known, const struct elem *e, void *tmp)
{
    return known == KNOWN_DELAY || slice_is(elem_attr(e, "by", tmp), "b@x.example");
}

static void check_edits(const struct env *env, struct stanza *s)
{
    struct stanza *error = stanza_make_error(s, SE_BAD_REQUEST, SLICE("a < b"));
    struct stanza *moved = stanza_readdress(s, SLICE("from@x.example"), SLICE("to@x.example/'"));
    check_text(env, moved);
    ensure(slice_eq(stanza_content(moved), stanza_content(s)));
    if (error != NULL) {
        check_text(env, error);
        ensure(slice_eq(stanza_to(error), stanza_from(s)) && error->type == TYPE_ERROR);
    }
    struct stanza *clean =
        stanza_without(stanza_ref(s), KNOWN(STANZA_ID) | KNOWN(DELAY), is_ours, env->tmp);
    check_text(env, clean);
    check_children(env, clean);
    for (unsigned i = 0; i < clean->child_count; i++) {
        struct elem e;
        slice text = { clean->content + clean->child[i].at, clean->child[i].len };
        if (clean->child[i].known == KNOWN_STANZA_ID &&
            elem_parse_within(&e, text, SLICE("jabber:client"),
                              (slice){ clean->other, clean->other_len }))
            ensure(!slice_is(elem_attr(&e, "by", env->tmp), "b@x.example"));
    }
    stanza_unref(&error);
    stanza_unref(&moved);
    stanza_unref(&clean);
}

static void read_one(const struct env *env, const struct xml_reader *r, slice unit, int stamp)
{
    struct stanza *s;
    struct stanza_source src = {
        .unit = unit, .work = env->work, .reader = r, .lang = SLICE("de")
    };
    if (stamp != 0) {
        src.from = SLICE("me@x.example/r&d");
        src.default_to = SLICE("me@x.example");
    }
    if (stanza_read(&s, &src, env->tmp) != OK)
        return;
    check_children(env, s);
    check_text(env, s);
    check_notes(s);
    check_edits(env, s);
    stanza_unref(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 16384)
        return 0;
    struct env env = { xml_work_create(), arena_create(0) };
    struct xml_reader r;
    size_t used;
    slice header = headers[data[0] % 3], rest = { (const char *)data + 1, size - 1 };
    xml_reader_init(&r, NULL);
    ensure(xml_read(&r, env.work, header, &used) == XML_STREAM);
    for (;;) {
        enum xml_unit unit = xml_read(&r, env.work, rest, &used);
        if (unit == XML_STANZA)
            read_one(&env, &r, (slice){ rest.ptr, used }, data[0] & 0x80);
        else if (unit != XML_SPACE)
            break;
        rest = slice_from(rest, used);
        arena_reset(env.tmp);
    }
    xml_reader_fini(&r);
    xml_work_destroy(&env.work);
    arena_destroy(&env.tmp);
    return 0;
}
