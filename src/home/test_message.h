/* test_message: values of the fields of a message, made from its row: what unit tests and fuzz
 * targets share. A value is in `tmp`; a stanza is a reference of the caller. */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "home/jids.h"
#include "home/message.h"
#include "home/texts.h"
#include "xmpp/jid.h"
#include "xmpp/stanza.h"

enum test_sample { SAMPLE_SMALLEST, SAMPLE_TYPICAL, SAMPLE_LARGEST, SAMPLES };

/* Where values are made. */
struct test_room {
    struct arena *tmp;
    struct xml_work *xml;
};

/* What a test makes of a text that may be longer. */
enum { TEST_TEXT_MAX = 1 << 20 };

static inline slice test_text(const struct test_room *room, size_t len)
{
    char *text = arena_alloc_raw(room->tmp, len + 1);
    memset(text, 'x', len);
    text[len] = '\0';
    return (slice){ text, len };
}

static inline slice test_list(const struct test_room *room, struct buf *b)
{
    slice list = slice_dup(room->tmp, buf_slice(b));
    buf_fini(b);
    return list;
}

static inline slice test_jid(const struct test_room *room, bool full, enum test_sample sample)
{
    const char *part = sample == SAMPLE_LARGEST   ? test_text(room, JID_PART_MAX).ptr
                       : sample == SAMPLE_TYPICAL ? "user"
                                                  : "x";
    return slice_of(full ? arena_printf(room->tmp, "%s@localhost/%s", part, part)
                         : arena_printf(room->tmp, "%s@localhost", part));
}

static inline struct stanza *test_stanza(const struct test_room *room, const char *xml)
{
    struct stanza *st;
    ensure(stanza_load(&st, slice_of(xml), room->xml, room->tmp) == OK);
    return st;
}

static inline struct stanza *test_stanza_sample(const struct test_room *room,
                                                enum test_sample sample)
{
    if (sample == SAMPLE_SMALLEST)
        return test_stanza(room, "<presence/>");
    struct stanza *st = test_stanza(
        room, arena_printf(room->tmp,
                           "<message from='a@localhost/r' to='b@localhost' type='chat'>"
                           "<body>%s</body></message>",
                           sample == SAMPLE_TYPICAL ? "text" : test_text(room, 65536).ptr));
    if (sample == SAMPLE_LARGEST) {
        st->type = TYPE_INVALID;
        st->bad_to = st->bad_from = true;
    }
    return st;
}

/* A list of one text, which has that many bytes. */
static inline slice test_texts(const struct test_room *room, size_t len)
{
    struct buf b;
    buf_init(&b, UINT32_MAX);
    texts_add(&b, test_text(room, len - sizeof(uint32_t)));
    return test_list(room, &b);
}

/* A list of addresses or of texts. */
static inline slice test_list_sample(const struct test_room *room, const struct message_field *f,
                                     enum test_sample sample)
{
    struct buf b;
    if (f->type == MF_TEXTS && sample == SAMPLE_LARGEST)
        return test_texts(room, f->max < TEST_TEXT_MAX ? (size_t)f->max : TEST_TEXT_MAX);
    buf_init(&b, UINT32_MAX);
    if (f->type == MF_TEXTS && sample == SAMPLE_TYPICAL) {
        texts_add(&b, SLICE("one"));
        texts_add(&b, (slice){ 0 });
    } else if (f->type == MF_JIDS && sample != SAMPLE_SMALLEST) {
        for (uint32_t i = 0; i < (sample == SAMPLE_TYPICAL ? 2u : 100u); i++)
            jids_add(&b, test_jid(room, i % 2 == 1, sample), UINT32_MAX - i);
    }
    return test_list(room, &b);
}

static inline slice test_slice_sample(const struct test_room *room, const struct message_field *f,
                                      enum test_sample sample)
{
    if (f->type == MF_JIDS || f->type == MF_TEXTS)
        return test_list_sample(room, f, sample);
    if (sample == SAMPLE_SMALLEST && f->optional)
        return (slice){ 0 };
    if (f->type == MF_BARE || f->type == MF_FULL || f->type == MF_JID)
        return test_jid(room, f->type != MF_BARE, sample);
    if (sample == SAMPLE_LARGEST)
        return test_text(room, f->max < TEST_TEXT_MAX ? (size_t)f->max : TEST_TEXT_MAX);
    slice text = f->type == MF_TEXT ? SLICE("t\xc3\xa4xt") : SLICE("\0\xff\1");
    return text.len <= f->max ? text : test_text(room, (size_t)f->max);
}

/* A value that is allowed. */
static inline void test_field_set(const struct test_room *room, const struct message_field *f,
                                  void *message, enum test_sample sample)
{
    static const int64_t signs[] = { INT64_MIN, -7, INT64_MAX };
    static const uint64_t parts[] = { 0, 2, 1 }; /* of the largest: none, a half, all */
    void *member = (char *)message + f->offset;
    uint64_t n = parts[sample] == 0 ? 0 : f->max / parts[sample];
    switch (f->type) {
    case MF_BOOL:
        *(bool *)member = sample != SAMPLE_SMALLEST;
        break;
    case MF_U8:
        *(uint8_t *)member = (uint8_t)n;
        break;
    case MF_U32:
        *(uint32_t *)member = (uint32_t)n;
        break;
    case MF_U64:
        *(uint64_t *)member = n;
        break;
    case MF_I64:
        *(int64_t *)member = signs[sample];
        break;
    case MF_STANZA:
        *(struct stanza **)member =
            sample == SAMPLE_SMALLEST && f->optional ? NULL : test_stanza_sample(room, sample);
        break;
    default:
        *(slice *)member = test_slice_sample(room, f, sample);
        break;
    }
}

static inline void test_message_set(const struct test_room *room, const struct message_row *row,
                                    void *message, enum test_sample sample)
{
    for (const struct message_field *f = row->fields; f->type != MF_END; f++)
        test_field_set(room, f, message, sample);
}

/* The part of a conversation that a row allows (enum message_part). */
static inline uint8_t test_message_part(const struct message_row *row)
{
    return row->run == NULL ? PART_ANSWER : row->later ? PART_QUESTION : PART_ALONE;
}

/* Values that are not allowed. */

enum { BAD_TEXTS_MAX = 8 };

static inline unsigned test_bad_texts(const struct test_room *room, const struct message_field *f,
                                      slice bad[BAD_TEXTS_MAX])
{
    unsigned n = 0;
    struct buf b;
    if (!f->optional)
        bad[n++] = (slice){ 0 };
    if (f->max < TEST_TEXT_MAX && f->type == MF_TEXTS)
        bad[n++] = test_texts(room, (size_t)f->max + 1);
    else if (f->max < TEST_TEXT_MAX)
        bad[n++] = test_text(room, (size_t)f->max + 1);
    if (f->type == MF_TEXT)
        bad[n++] = SLICE("\xff");
    if (f->type == MF_JID) {
        bad[n++] = SLICE("@localhost");
        bad[n++] = SLICE("A@localhost");
    }
    if (f->type == MF_BARE || f->type == MF_FULL) {
        bad[n++] = SLICE("@localhost");
        bad[n++] = f->type == MF_BARE ? SLICE("A@localhost") : SLICE("A@localhost/r");
        bad[n++] = f->type == MF_BARE ? SLICE("a@localhost/r") : SLICE("a@localhost");
    }
    if (f->type == MF_JIDS || f->type == MF_TEXTS) {
        bad[n++] = SLICE("123");
        bad[n++] = SLICE("\2\0\0\0\2\0x");
        buf_init(&b, UINT32_MAX);
        if (f->type == MF_JIDS)
            jids_add(&b, SLICE("A@localhost"), 1);
        else
            texts_add(&b, SLICE("\xff"));
        bad[n++] = test_list(room, &b);
    }
    ensure(n <= BAD_TEXTS_MAX);
    return n;
}

/* Makes the field of a message that was sound the bad value of that number, from 0; what was there
 * is released. false: there are no more. */
static inline bool test_field_spoil(const struct test_room *room, const struct message_field *f,
                                    void *message, unsigned number)
{
    void *member = (char *)message + f->offset;
    slice bad[BAD_TEXTS_MAX];
    switch (f->type) {
    case MF_U8:
        *(uint8_t *)member = number == 0 ? (uint8_t)(f->max + 1) : UINT8_MAX;
        return f->max < UINT8_MAX && f->unknown == 0 && number < 2;
    case MF_U32:
        *(uint32_t *)member = number == 0 ? (uint32_t)f->max + 1 : UINT32_MAX;
        return f->max < UINT32_MAX && number < 2;
    case MF_STANZA:
        if (f->optional || number > 0)
            return false;
        stanza_unref((struct stanza **)member);
        return true;
    case MF_BOOL:
    case MF_U64:
    case MF_I64:
        return false; /* any value is one */
    default:
        if (number >= test_bad_texts(room, f, bad))
            return false;
        *(slice *)member = bad[number];
        return true;
    }
}
