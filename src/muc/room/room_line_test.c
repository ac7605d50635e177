#include "base/arena.h"
#include "base/buf.h"
#include "codec/xml_read.h"
#include "muc/room/config.h"
#include "muc/room/config_form.h"
#include "muc/room/room_line.h"
#include "muc/room/settings.h"
#include "xmpp/muc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SECRET "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define ROOM                                                                                       \
    "\"jid\":\"tea@x.test\",\"creator\":\"a@x.test\",\"created\":\"2026-11-20T09:15:36.123456Z\"," \
    "\"secret\":\"" SECRET "\",\"subject\":\"\""

static struct arena *arena;
static struct xml_work *work;
static struct why why;

static int begin(void **state)
{
    (void)state;
    arena = arena_create(0);
    work = xml_work_create();
    return 0;
}
static int end(void **state)
{
    (void)state;
    xml_work_destroy(&work);
    arena_destroy(&arena);
    return 0;
}

static struct room_line right(const char *text)
{
    struct room_line l;
    if (room_line_read(&l, slice_of(text), work, arena, &why) != OK)
        fail_msg("%s: %s", text, why.text);
    return l;
}

static void refused(const char *text, const char *reason)
{
    struct room_line l;
    assert_int_equal(room_line_read(&l, slice_of(text), work, arena, &why), E_SYNTAX);
    if (strstr(why.text, reason) == NULL)
        fail_msg("%s: %s", text, why.text);
}

static void a_room_is_read(void **state)
{
    (void)state;
    struct room_line l =
        right("{\"type\":\"room\",\"format\":1," ROOM ",\"config\":{\"name\":\"Tea\"}}");
    struct room_config c;
    assert_int_equal(l.type, LINE_ROOM);
    assert_true(slice_is(l.jid, "tea@x.test") && slice_is(l.creator, "a@x.test"));
    assert_int_equal(l.at_us % 1000000, 123456);
    for (unsigned i = 0; i < sizeof l.secret; i++)
        assert_int_equal(l.secret[i], i);
    room_config_load(&c, l.config, arena);
    assert_true(slice_is(c.text[ROOM_NAME], "Tea"));
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    static const struct room_line lines[] = {
        { .type = LINE_AFFILIATION,
          .jid = SLICE_INIT("b@x.test"),
          .affiliation = AFF_MEMBER,
          .nick = SLICE_INIT("B\xc3\xa9"),
          .reason = SLICE_INIT("\"quoted\"\n\\"),
          .follows = true },
        { .type = LINE_AFFILIATION, .jid = SLICE_INIT("y.test"), .affiliation = AFF_OUTCAST },
        { .type = LINE_HAT,
          .jid = SLICE_INIT("b@x.test"),
          .uri = SLICE_INIT("urn:x:hat"),
          .title = SLICE_INIT("Cook") },
        { .type = LINE_HAT, .uri = SLICE_INIT("urn:x:hat"), .title = SLICE_INIT("Cook") },
        { .type = LINE_CARD, .card = SLICE_INIT("<vCard xmlns='vcard-temp'><FN>Tea</FN></vCard>") },
        { .type = LINE_MESSAGE,
          .id = 1795191233313598,
          .at_us = 1795191233313597,
          .stanza = SLICE_INIT("<message from='tea@x.test/B' to='b@x.test/r' type='groupchat'>"
                               "<body>&lt;\"\xf0\x9f\x98\x80</body></message>") },
        { .type = LINE_END, .affiliations = 2, .messages = 1 },
    };
    for (unsigned i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const struct room_line *w = &lines[i];
        struct buf out;
        buf_init(&out, 1 << 20);
        assert_true(room_line_write(&out, w));
        assert_int_equal(out.ptr[out.len - 1], '\n');
        assert_null(memchr(out.ptr, '\n', out.len - 1));
        struct room_line l = right(slice_cstr(arena, buf_slice(&out)));
        assert_true(l.type == w->type && l.id == w->id && l.at_us == w->at_us &&
                    l.affiliations == w->affiliations && l.messages == w->messages);
        if (w->type == LINE_AFFILIATION)
            assert_true(slice_eq(l.jid, w->jid) && l.affiliation == w->affiliation &&
                        l.follows == w->follows);
        assert_true(slice_eq(l.uri, w->uri) && slice_eq(l.title, w->title) &&
                    slice_eq(l.card, w->card));
        assert_true(slice_eq(l.nick, w->nick) && slice_eq(l.reason, w->reason) &&
                    slice_eq(l.stanza, w->stanza));
        if (w->type == LINE_MESSAGE)
            assert_true(slice_is(l.jid, "tea@x.test") && slice_is(l.sender, "b@x.test"));
        buf_fini(&out);
    }
}

static void a_configuration_comes_back(void **state)
{
    (void)state;
    struct room_config c, again;
    struct buf stored, out;
    struct room_line l = { .type = LINE_ROOM,
                           .jid = SLICE("tea@x.test"),
                           .creator = SLICE("a@x.test"),
                           .at_us = 1795191233313597 };
    room_config_default(&c);
    c.persistent = c.members_only = true;
    c.users_max = ROOM_NO_LIMIT;
    c.text[ROOM_NAME] = SLICE("a=b");
    c.text[ROOM_DESCRIPTION] = SLICE("one\ntwo\\");
    buf_init(&stored, ROOM_STORED_MAX);
    buf_init(&out, 1 << 20);
    room_config_store(&stored, &c);
    l.config = buf_slice(&stored);
    assert_true(room_line_write(&out, &l));
    struct room_line back = right(slice_cstr(arena, buf_slice(&out)));
    room_config_load(&again, back.config, arena);
    assert_int_equal(room_config_diff(&c, &again), 0);
    buf_fini(&stored);
    buf_fini(&out);
}

static void texts_that_are_not_utf8_are_not_written(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_false(room_line_write(
        &out, &(struct room_line){ .type = LINE_MESSAGE, .stanza = SLICE("\xff") }));
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

static void wrong_lines_say_why(void **state)
{
    (void)state;
    refused("", "no JSON object");
    refused("[]", "no JSON object");
    refused("{\"type\":\"end\",\"type\":\"end\"}", "no JSON object");
    refused("{}", "\"type\" is missing");
    refused("{\"type\":5}", "another kind of value");
    refused("{\"type\":\"room\"}", "\"format\" is missing");
    refused("{\"type\":\"room\",\"format\":1," ROOM ",\"config\":{\"a\\u0000b\":\"1\"}}",
            "no JSON object");
    refused("{\"type\":\"room\",\"format\":1," ROOM ",\"config\":{\"name\":\"a\\nb\"}}",
            "an object of texts");
    refused("{\"type\":\"room\",\"format\":1," ROOM ",\"config\":{\"name\":\"a\\u0000b\"}}",
            "no JSON object");
    refused("{\"type\":\"card\",\"vcard\":\"<vCard xmlns='vcard-temp'><FN></vCard>\"}",
            "an XML element");
    refused("{\"type\":\"hat\",\"jid\":\"B@x.test\"}", "a bare address");
    refused("{\"type\":\"end\",\"affiliations\":-1,\"messages\":0}", "a number from 0");
    refused("{\"type\":\"message\",\"id\":1,\"at\":\"2026-11-20T09:15:36Z\",\"stanza\":"
            "\"<message to='a@b@c'/>\"}",
            "a message");
}

int main(void)
{
    for (unsigned i = 0; muc_settings[i] != NULL; i++)
        setting_register(muc_settings[i]);
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_room_is_read),
        TEST(what_is_written_is_read),
        TEST(a_configuration_comes_back),
        TEST(texts_that_are_not_utf8_are_not_written),
        TEST(wrong_lines_say_why),
    };
    return cmocka_run_group_tests_name("room_line", tests, NULL, NULL);
}
