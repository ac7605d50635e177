#include "base/buf.h"
#include "codec/syslog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { OUT_MAX = 1 << 16 };

static const struct syslog_field fields[] = { { "alarm", SLICE_INIT("store.full") },
                                              { "detail", SLICE_INIT("a \"b\" ]c\\d\n<9>1 - - -") },
                                              { "empty", SLICE_INIT("") },
                                              { 0 } };
static const struct syslog_line line = { .severity = SYSLOG_CRITICAL,
                                         .facility = SYSLOG_DAEMON,
                                         .at_us = 1795191233000001,
                                         .host = SLICE_INIT("im 1"),
                                         .kind = "alarm",
                                         .fields = fields,
                                         .text = SLICE_INIT("full\r\nGET /") };

static void a_message_has_one_line_and_escapes(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, OUT_MAX);
    syslog_write(&out, &line);
    slice all = buf_slice(&out);
    static const char want[] =
        "<26>1 2026-11-20T16:13:53.000001Z im_1 muster - alarm [muster@32473 "
        "alarm=\"store.full\" detail=\"a \\\"b\\\" \\]c\\\\d <9>1 - - -\"] full  GET /";
    assert_int_equal(all.len, sizeof want - 1);
    assert_memory_equal(all.ptr, want, all.len);
    buf_fini(&out);
}

static void a_message_without_fields(void **state)
{
    (void)state;
    static const struct syslog_field none[] = { { 0 } };
    struct syslog_line bare = { .severity = SYSLOG_INFO,
                                .facility = SYSLOG_AUDIT,
                                .at_us = 1,
                                .kind = "",
                                .fields = none,
                                .text = SLICE_INIT("x") };
    struct buf out;
    buf_init(&out, OUT_MAX);
    syslog_write(&out, &bare);
    assert_true(slice_is(buf_slice(&out), "<110>1 1970-01-01T00:00:00.000001Z - muster - - - x"));
    buf_fini(&out);
}

static void frames_are_taken_off_as_they_were_put(void **state)
{
    (void)state;
    struct buf out;
    slice rest, one;
    buf_init(&out, OUT_MAX);
    syslog_frame(&out, SLICE("12 34"));
    syslog_frame(&out, SLICE(""));
    syslog_frame(&out, SLICE("x"));
    rest = buf_slice(&out);
    assert_true(slice_is(rest, "5 12 340 1 x"));
    assert_true(syslog_unframe(&rest, &one) && slice_is(one, "12 34"));
    assert_true(syslog_unframe(&rest, &one) && slice_is(one, ""));
    assert_true(syslog_unframe(&rest, &one) && slice_is(one, "x"));
    assert_false(syslog_unframe(&rest, &one));
    rest = SLICE("6 short");
    assert_false(syslog_unframe(&rest, &one));
    rest = SLICE("-1 x");
    assert_false(syslog_unframe(&rest, &one));
    buf_fini(&out);
}

static void journald_gets_lengths(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, OUT_MAX);
    syslog_journal(&out, &line);
    slice all = buf_slice(&out);
    static const char begin[] =
        "MESSAGE\n\x0b\0\0\0\0\0\0\0full\r\nGET /\nPRIORITY\n\1\0\0\0\0\0\0\0"
        "2\nSYSLOG_IDENTIFIER\n";
    assert_true(all.len > sizeof begin);
    assert_memory_equal(all.ptr, begin, sizeof begin - 1);
    static const char end[] = "MUSTER_DETAIL\n\x15\0\0\0\0\0\0\0a \"b\" ]c\\d\n<9>1 - - -\n";
    assert_memory_equal(all.ptr + all.len - (sizeof end - 1), end, sizeof end - 1);
    buf_fini(&out);
}

static void servers_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        enum syslog_way way;
        uint16_t port;
    } good[] = { { "udp:log.example.org", "log.example.org", SYSLOG_UDP, 514 },
                 { "tcp:192.0.2.1", "192.0.2.1", SYSLOG_TCP, 601 },
                 { "tls:log:1", "log", SYSLOG_TLS, 1 },
                 { "tls:[2001:db8::1]", "2001:db8::1", SYSLOG_TLS, 6514 },
                 { "tls:[::1]:65535", "::1", SYSLOG_TLS, 65535 } };
    static const char *const bad[] = {
        "",          "udp",    "udp:",     "log:514",    "tls:a b",    "tls:-a",
        "tls:.a",    "tls:a:", "tls:a:0",  "tls:a:+1",   "tls:a:x",    "tls:a:65536",
        "tls:[",     "tls:[]", "tls:[::1", "tls:[::1]1", "tls:[::1]:", "tls:[1.2.3.4]",
        "tls:[::g]", "TLS:a",  "tls:a:1:2"
    };
    struct syslog_server s;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(syslog_server_read(slice_of(good[i].text), &s));
        assert_true(slice_is(s.host, good[i].host));
        assert_int_equal(s.way, good[i].way);
        assert_int_equal(s.port, good[i].port);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (syslog_server_read(slice_of(bad[i]), &s))
            fail_msg("%s was taken", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_has_one_line_and_escapes),
        cmocka_unit_test(a_message_without_fields),
        cmocka_unit_test(frames_are_taken_off_as_they_were_put),
        cmocka_unit_test(journald_gets_lengths),
        cmocka_unit_test(servers_are_read),
    };
    return cmocka_run_group_tests_name("syslog", tests, NULL, NULL);
}
