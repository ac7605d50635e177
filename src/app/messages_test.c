/* The messages of the whole program, made from their rows: packed for another node and read again;
 * cut, too long, and with each field out of its range. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/features.h"
#include "base/mem.h"
#include "codec/xml_read.h"
#include "core/feature.h"
#include "home/connection.h"
#include "home/message_fields.h"
#include "home/message_wire.h"
#include "home/node.h"
#include "home/remote.h"
#include "home/test_message.h"
#include "home/worker.h"

enum { QUESTION = 77 };

static uint32_t duties_node;

static uint32_t duties(struct bus *b)
{
    (void)b;
    return duties_node;
}

enum { HERE = 1, SENDER = 2, THIRD = 3, ABSENT = 4 };

static unsigned nodes(struct bus *b, uint32_t there[BUS_NODES_MAX])
{
    (void)b;
    there[0] = HERE;
    there[1] = SENDER;
    there[2] = THIRD;
    return 3;
}

/* As many as its number. */
static unsigned workers(struct bus *b, uint32_t of)
{
    (void)b;
    return of == ABSENT ? 1 : of;
}

static const struct bus_ops bus_ops = { .duties = duties, .nodes = nodes, .workers = workers };
static struct bus bus = { .ops = &bus_ops };
static struct node node;
static struct worker worker;
static struct test_room room;

/* The rows for other nodes. `sound` of a row looks at what is there, a session, a slot: these are
 * without. */
static struct message_row rows[MESSAGE_IDS];
static const struct message_row *whole[MESSAGE_IDS]; /* the same with `sound` */
static unsigned row_count;

static int start(void **state)
{
    const struct message_row *list[MESSAGE_IDS];
    struct why why;
    (void)state;
    features_register();
    features_set(features_all);
    for (unsigned id = 0; id < MESSAGE_IDS; id++) {
        const struct message_row *row = message_find(id);
        if (row == NULL || row->scope != MESSAGE_CLUSTER)
            continue;
        whole[row_count] = row;
        list[row_count] = &rows[row_count];
        rows[row_count] = *row;
        rows[row_count++].sound = NULL;
    }
    assert_true(messages_set(list, row_count, &why));
    node = (struct node){ .id = HERE, .worker_count = 1, .workers = &worker, .bus = &bus };
    worker = (struct worker){ .node = &node };
    worker.loop = loop_create(0);
    worker.xml = xml_work_create();
    room = (struct test_room){ loop_scratch(worker.loop), worker.xml };
    return 0;
}

static int stop(void **state)
{
    (void)state;
    loop_destroy(&worker.loop);
    xml_work_destroy(&worker.xml);
    return 0;
}

/* A message, and its bytes. */

static void *sample(const struct message_row *row, enum test_sample which)
{
    void *message = arena_alloc(room.tmp, 1, row->size);
    test_message_set(&room, row, message, which);
    return message;
}

static void pack(struct buf *out, const struct message_row *row, const void *message)
{
    buf_init(out, MESSAGE_BYTES_MAX);
    message_pack(out, row, message,
                 &(struct message_from){ .question = QUESTION, .part = test_message_part(row) });
    assert_false(out->overflow);
}

static void pack_sample(struct buf *out, const struct message_row *row, enum test_sample which)
{
    void *message = sample(row, which);
    pack(out, row, message);
    message_release(row, message);
}

static enum err read(slice bytes, void **message, struct why *why)
{
    struct message_from from = { .node = 2 };
    const struct message_row *row;
    return message_unpack(&row, message, bytes, &worker, &from, why);
}

/* A heap block of its own, so that sanitizers see what is read behind its end. */
static void assert_refused(const struct message_row *row, slice bytes, const char *what)
{
    struct why why = { 0 };
    void *message;
    char *copy = mem_alloc(bytes.len + 1);
    memcpy(copy, bytes.ptr, bytes.len);
    enum err e = read((slice){ copy, bytes.len }, &message, &why);
    mem_free(&copy);
    if (e != E_CORRUPT || (bytes.len >= MESSAGE_HEAD_BYTES && strstr(why.text, what) == NULL))
        fail_msg("message %s, %zu bytes: error %d \"%s\", expected was \"%s\"", row->name,
                 bytes.len, e, why.text, what);
}

static bool same_stanza(const struct stanza *a, const struct stanza *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return a->type == b->type && a->bad_to == b->bad_to && a->arrived == b->arrived &&
           slice_eq(stanza_from(a), stanza_from(b)) && slice_eq(stanza_to(a), stanza_to(b));
}

static bool same_field(const struct message_field *f, const void *a, const void *b)
{
    static const size_t sizes[] = {
        [MF_BOOL] = sizeof(bool),    [MF_U8] = sizeof(uint8_t),  [MF_U32] = sizeof(uint32_t),
        [MF_U64] = sizeof(uint64_t), [MF_I64] = sizeof(int64_t), [MF_LOCAL] = 0
    };
    const void *one = (const char *)a + f->offset, *other = (const char *)b + f->offset;
    if (f->type == MF_STANZA)
        return same_stanza(*(struct stanza *const *)one, *(struct stanza *const *)other);
    if (sizes[f->type] == 0)
        return slice_eq(*(const slice *)one, *(const slice *)other);
    return memcmp(one, other, sizes[f->type]) == 0;
}

/* Tests. */

static void assert_comes_back(const struct message_row *row, enum test_sample which)
{
    struct buf once, twice;
    struct why why;
    void *message = sample(row, which), *again;
    pack(&once, row, message);
    if (read(buf_slice(&once), &again, &why) != OK)
        fail_msg("%s", why.text);
    for (const struct message_field *f = row->fields; f->type != MF_END; f++)
        if (!same_field(f, message, again))
            fail_msg("message %s: field %s is another one when it was read", row->name, f->name);
    pack(&twice, row, again);
    if (!slice_eq(buf_slice(&once), buf_slice(&twice)))
        fail_msg("message %s: its bytes are others when it was read", row->name);
    message_release(row, message);
    message_release(row, again);
    buf_fini(&once);
    buf_fini(&twice);
    arena_reset(room.tmp);
}

static void test_each_row_comes_back(void **state)
{
    (void)state;
    for (unsigned i = 0; i < row_count; i++)
        for (enum test_sample which = 0; which < SAMPLES; which++)
            assert_comes_back(&rows[i], which);
}

static void test_each_row_is_whole(void **state)
{
    (void)state;
    for (unsigned i = 0; i < row_count; i++) {
        struct buf b;
        pack_sample(&b, &rows[i], SAMPLE_TYPICAL);
        for (size_t len = 0; len < b.len; len++)
            assert_refused(&rows[i], (slice){ b.ptr, len }, "is cut short");
        buf_lit(&b, "x");
        assert_refused(&rows[i], buf_slice(&b), "1 bytes are left over");
        buf_fini(&b);
        arena_reset(room.tmp);
    }
}

static void test_each_field_is_checked(void **state)
{
    unsigned found = 0;
    (void)state;
    for (unsigned i = 0; i < row_count; i++)
        for (const struct message_field *f = rows[i].fields; f->type != MF_END; f++) {
            const char *what = arena_printf(room.tmp, "field %s is out of range", f->name);
            for (unsigned n = 0;; n++, found++) {
                void *message = sample(&rows[i], SAMPLE_TYPICAL);
                bool bad = test_field_spoil(&room, f, message, n);
                struct buf b;
                pack(&b, &rows[i], message);
                message_release(&rows[i], message);
                if (bad)
                    assert_refused(&rows[i], buf_slice(&b), what);
                buf_fini(&b);
                if (!bad)
                    break;
            }
            arena_reset(room.tmp);
        }
    assert_true(found > row_count);
}

/* A bool is 0 or 1, and the marks of a stanza are known ones: what no struct can hold. */
static void test_each_byte_is_checked(void **state)
{
    (void)state;
    for (unsigned i = 0; i < row_count; i++) {
        const struct message_row *row = &rows[i];
        struct message_field before[MESSAGE_FIELDS_MAX + 1] = { 0 };
        for (unsigned n = 0; row->fields[n].type != MF_END; n++) {
            const struct message_field *f = &row->fields[n];
            void *message = sample(row, SAMPLE_TYPICAL);
            struct buf b, head;
            buf_init(&head, MESSAGE_BYTES_MAX);
            message_fields_pack(&head, before, message); /* the field is behind these */
            pack(&b, row, message);
            b.ptr[MESSAGE_HEAD_BYTES + head.len] = (char)0xff;
            if (f->type == MF_BOOL || f->type == MF_STANZA)
                assert_refused(row, buf_slice(&b),
                               arena_printf(room.tmp, "field %s is cut short or damaged", f->name));
            message_release(row, message);
            buf_fini(&b);
            buf_fini(&head);
            before[n] = *f;
        }
        arena_reset(room.tmp);
    }
}

/* What `sound` of a row refuses, although each field is in its range. */

static int use_whole(void **state)
{
    struct why why;
    (void)state;
    return messages_set(whole, row_count, &why) ? 0 : -1;
}

static void *member_named(const struct message_row *row, void *message, const char *name)
{
    for (const struct message_field *f = row->fields; f->type != MF_END; f++)
        if (strcmp(f->name, name) == 0)
            return (char *)message + f->offset;
    fail_msg("message %s has no field %s", row->name, name);
    return NULL;
}

static const struct message_row *row_named(const char *name)
{
    for (unsigned i = 0; i < row_count; i++)
        if (strcmp(whole[i]->name, name) == 0)
            return whole[i];
    fail_msg("there is no message %s", name);
    return NULL;
}

static void assert_sound(const struct message_row *row, void *message, bool expected)
{
    struct buf b;
    void *again;
    struct why why;
    pack(&b, row, message);
    message_release(row, message);
    if (!expected) {
        assert_refused(row, buf_slice(&b), "");
    } else {
        if (read(buf_slice(&b), &again, &why) != OK)
            fail_msg("%s", why.text);
        message_release(row, again);
    }
    buf_fini(&b);
    arena_reset(room.tmp);
}

static uint8_t link_change = REMOTE_UP;

static void assert_link(const char *name, uint64_t link, uint32_t at, bool expected)
{
    const struct message_row *row = row_named(name);
    void *message = sample(row, SAMPLE_TYPICAL);
    *(uint8_t *)member_named(row, message, "change") = link_change;
    *(uint64_t *)member_named(row, message, "link") = link;
    *(uint32_t *)member_named(row, message, "node") = at;
    assert_sound(row, message, expected);
}

/* A link is of the worker that tells of it, to the home of DUTY_LINKS, or, when it ends, to all.
 * What that home tells of may be on any node, here, too, at a worker that the node has. How many
 * workers a node has is not known before it is there. */
static void test_links_that_are_unsound(void **state)
{
    const uint64_t first = 1 << CONNECTION_WORKER_BITS;
    (void)state;
    duties_node = HERE;
    assert_link("link", first, SENDER, true);
    assert_link("link", first | 1, SENDER, false);
    assert_link("link", 0, SENDER, false);
    assert_link("link", first, 0, false);
    assert_link("link", first, HERE, false);
    assert_link("link", first, THIRD, false);
    assert_link("link-known", first, SENDER, true);
    assert_link("link-known", first | 1, SENDER, false);
    assert_link("link-known", first, THIRD, false);
    duties_node = SENDER;
    assert_link("link-known", first | 1, SENDER, true);
    assert_link("link-known", first | 2, SENDER, false);
    assert_link("link-known", first | 2, THIRD, true);
    assert_link("link-known", first | 3, THIRD, false);
    assert_link("link-known", first | 3, ABSENT, true);
    assert_link("link-known", first, HERE, true);
    assert_link("link-known", first | 1, HERE, false);
    assert_link("link-known", 0, THIRD, false);
    assert_link("link-known", first, 0, false);
    duties_node = THIRD;
    assert_link("link-known", first, SENDER, false);
    assert_link("link-known", first, THIRD, false);
    link_change = REMOTE_DOWN;
    assert_link("link-known", first, SENDER, true);
    assert_link("link-known", first | 1, SENDER, false);
    assert_link("link-known", first, THIRD, false);
}

enum { OP_BACK = 6 }; /* of core/audience.c */

static void assert_back(const char *presence, bool expected)
{
    const struct message_row *row = row_named("audience");
    void *message = sample(row, SAMPLE_SMALLEST);
    *(uint8_t *)member_named(row, message, "op") = OP_BACK;
    *(slice *)member_named(row, message, "room") = SLICE("room@conference.localhost");
    *(slice *)member_named(row, message, "m.jid") = SLICE("a@localhost/r");
    if (presence != NULL)
        *(struct stanza **)member_named(row, message, "m.presence") = test_stanza(&room, presence);
    assert_sound(row, message, expected);
}

/* Users who are back in a room send a presence of their own session to it. */
static void test_returns_that_are_unsound(void **state)
{
    (void)state;
    assert_back("<presence from='a@localhost/r' to='room@conference.localhost/n'/>", true);
    assert_back(NULL, false);
    assert_back("<presence from='a@localhost/r' to='other@conference.localhost/n'/>", false);
    assert_back("<presence to='room@conference.localhost/n'/>", false);
    assert_back("<presence from='b@localhost/r' to='room@conference.localhost/n'/>", false);
    assert_back("<presence from='a@localhost' to='room@conference.localhost/n'/>", false);
    assert_back("<presence from='a@localhost/r' to='room@conference.localhost/n' "
                "type='unavailable'/>",
                false);
    assert_back("<message from='a@localhost/r' to='room@conference.localhost/n'/>", false);
}

static bool names_a_pair(const struct message_row *row)
{
    unsigned sides = 0;
    for (const struct message_field *f = row->fields; f->type != MF_END; f++)
        sides += strcmp(f->name, "local") == 0 || strcmp(f->name, "remote") == 0;
    return sides == 2;
}

static void assert_pair(const struct message_row *row, slice local, slice remote, bool expected)
{
    void *message = sample(row, SAMPLE_TYPICAL);
    *(slice *)member_named(row, message, "local") = local;
    *(slice *)member_named(row, message, "remote") = remote;
    assert_sound(row, message, expected);
}

/* A pair of a domain of ours and a foreign one has no users. */
static void test_pairs_that_are_unsound(void **state)
{
    unsigned found = 0;
    (void)state;
    for (unsigned i = 0; i < row_count; i++) {
        if (!names_a_pair(whole[i]))
            continue;
        found++;
        assert_pair(whole[i], SLICE("localhost"), SLICE("a.test"), true);
        assert_pair(whole[i], SLICE("user@localhost"), SLICE("a.test"), false);
        assert_pair(whole[i], SLICE("localhost"), SLICE("user@a.test"), false);
    }
    assert_true(found > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_row_comes_back),
        cmocka_unit_test(test_each_row_is_whole),
        cmocka_unit_test(test_each_field_is_checked),
        cmocka_unit_test(test_each_byte_is_checked),
        cmocka_unit_test_setup(test_links_that_are_unsound, use_whole),
        cmocka_unit_test_setup(test_returns_that_are_unsound, use_whole),
        cmocka_unit_test_setup(test_pairs_that_are_unsound, use_whole),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
