#include "base/clock.h"
#include "base/log_record.h"
#include "base/log_sample.h"
#include "base/setting.h"
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct log_area log_a = { .name = "a" };
static struct log_area log_b = { .name = "b" };
static struct log_area log_whole = { .name = "whole", .whole = true };

/* Standard error goes into a memory file between capture() and captured(). */
enum { CAPTURE_BYTES_MAX = 4 << 20 };
static char text[CAPTURE_BYTES_MAX];
static int stderr_kept, capture_fd;

static void capture(void)
{
    stderr_kept = dup(STDERR_FILENO);
    capture_fd = memfd_create("log", 0);
    assert_true(stderr_kept >= 0 && capture_fd >= 0);
    fcntl(capture_fd, F_SETFL, O_APPEND); /* a pipe keeps the order of writes; so must this */
    dup2(capture_fd, STDERR_FILENO);
}

static slice captured(void)
{
    dup2(stderr_kept, STDERR_FILENO);
    close(stderr_kept);
    ssize_t len = pread(capture_fd, text, sizeof text - 1, 0);
    close(capture_fd);
    assert_true(len >= 0);
    text[len] = '\0';
    return (slice){ text, (size_t)len };
}

/* What follows the stamp of the one line that was written. */
static const char *after_time(slice line)
{
    assert_true(line.len > 33);
    assert_memory_equal(line.ptr, "time=20", 7);
    assert_int_equal(line.ptr[32], ' ');
    assert_ptr_equal(memchr(line.ptr, '\n', line.len), line.ptr + line.len - 1);
    return line.ptr + 33;
}

static size_t count_lines(slice s)
{
    size_t count = 0;
    for (size_t i = 0; i < s.len; i++)
        count += s.ptr[i] == '\n' ? 1 : 0;
    return count;
}

static int reset(void **state)
{
    (void)state;
    log_set_format(LOG_LOGFMT);
    log_set_level(&log_a, LOG_INFO);
    log_set_level(&log_b, LOG_INFO);
    log_set_default(LOG_INFO);
    atomic_store(&log_a.second, 0);
    atomic_store(&log_a.suppressed, 0);
    return 0;
}

static void one_line_with_typed_fields(void **state)
{
    (void)state;
    capture();
    log_info(&log_a, LOG_EV("auth.fail"), LOG_S("jid", SLICE("a@b")), LOG_C("none", NULL),
             LOG_I("count", INT64_MIN), LOG_C("why", "two words"));
    assert_string_equal(after_time(captured()),
                        "level=info area=a event=auth.fail jid=a@b none=\"\" "
                        "count=-9223372036854775808 why=\"two words\"\n");
}

static void values_cannot_forge_fields_or_lines(void **state)
{
    (void)state;
    static const struct {
        const char *value, *written;
    } rows[] = {
        { "a b", "\"a b\"" },
        { "a=b", "\"a=b\"" },
        { "say \"x\"", "\"say \\\"x\\\"\"" },
        { "a\\", "\"a\\\\\"" },
        { "x\nlevel=error", "\"x\\nlevel=error\"" },
        { "\r\t", "\"\\r\\t\"" },
        { "\x1b[31m\x7f", "\"\\x1b[31m\\x7f\"" },
        { "\xc2\x9b", "\"\\xc2\\x9b\"" },
        { "\xc3\xa9", "\"\xc3\xa9\"" },
        { "a\xe2\x80\xae z", "\"a\\xe2\\x80\\xae z\"" },
        { "\xe2\x81\xa6\xe2\x80\x9c", "\"\\xe2\\x81\\xa6\xe2\x80\x9c\"" },
        { "\xc3(\xff", "\"\\xc3(\\xff\"" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char expected[128];
        snprintf(expected, sizeof expected, "level=warn area=a event=e v=%s\n", rows[i].written);
        capture();
        log_warn(&log_a, LOG_EV("e"), LOG_C("v", rows[i].value));
        assert_string_equal(after_time(captured()), expected);
    }
}

static void json_is_valid_for_all_bytes(void **state)
{
    (void)state;
    log_set_format(LOG_JSON);
    uint32_t seed = 1;
    for (size_t round = 0; round < 300; round++) {
        char value[400];
        for (size_t i = 0; i < sizeof value; i++)
            value[i] = (char)((seed = seed * 1664525 + 1013904223) >> 24);
        capture();
        log_error(&log_a, LOG_EV("e"), LOG_S("v", ((slice){ value, round })), LOG_I("n", 5));
        slice line = captured();
        assert_int_equal(count_lines(line), 1);
        json_t *json = json_loadb(line.ptr, line.len, JSON_ALLOW_NUL, NULL);
        assert_non_null(json);
        assert_string_equal(json_string_value(json_object_get(json, "level")), "error");
        assert_int_equal(json_integer_value(json_object_get(json, "n")), 5);
        json_decref(json);
    }
    capture();
    log_error(&log_a, LOG_EV("e"), LOG_C("v", "q\"\\\n\x01\xff"));
    slice line = captured();
    assert_non_null(strstr(line.ptr, "\"v\":\"q\\\"\\\\\\n\\u0001\\ufffd\"}\n"));
}

/* A value of each length around the limit, bare and quoted, in both formats. */
static void long_lines_are_cut_and_say_so(void **state)
{
    (void)state;
    static char value[LOG_LINE_BYTES + 100];
    for (int variant = 0; variant < 4; variant++) {
        bool json = variant >= 2;
        log_set_format(json ? LOG_JSON : LOG_LOGFMT);
        for (size_t len = LOG_LINE_BYTES - 250; len < sizeof value; len++) {
            memset(value, variant % 2 == 0 ? 'x' : '\n', len);
            capture();
            log_error(&log_a, LOG_EV("e"), LOG_S("v", ((slice){ value, len })), LOG_I("n", 1),
                      LOG_C("w", "word"));
            slice line = captured();
            assert_true(line.len <= LOG_LINE_BYTES);
            assert_int_equal(line.ptr[line.len - 1], '\n');
            bool whole = strstr(line.ptr, json ? "\"w\":\"word\"}" : " w=word\n") != NULL;
            bool marked =
                strstr(line.ptr, json ? ",\"truncated\":true}\n" : " truncated=true\n") != NULL;
            assert_true(whole != marked);
            if (!json)
                continue;
            json_t *parsed = json_loadb(line.ptr, line.len, JSON_ALLOW_NUL, NULL);
            assert_non_null(parsed);
            json_decref(parsed);
        }
    }
}

static void levels_select(void **state)
{
    (void)state;
    capture();
    log_debug(&log_a, LOG_EV("no"));
    log_set_level(&log_a, LOG_DEBUG);
    log_debug(&log_a, LOG_EV("yes"));
    log_trace(&log_a, LOG_EV("no"));
    log_info(&log_b, LOG_EV("yes"));
    slice lines = captured();
    assert_int_equal(count_lines(lines), 2);
    assert_null(strstr(lines.ptr, "event=no"));

    enum log_level level = LOG_ERROR;
    assert_true(log_level_parse(SLICE("trace"), &level));
    assert_int_equal(level, LOG_TRACE);
    assert_false(log_level_parse(SLICE("loud"), &level));
}

static void a_trace_survives_a_new_default(void **state)
{
    (void)state;
    log_set_level(&log_a, LOG_TRACE);
    log_set_default(LOG_WARN);
    assert_int_equal(log_a.level, LOG_TRACE);
    assert_int_equal(log_b.level, LOG_WARN);
    log_set_level(&log_a, log_default());
    assert_int_equal(log_a.level, LOG_WARN);
    log_set_default(LOG_TRACE); /* a default is not a trace: it ends with the next */
    log_set_default(LOG_INFO);
    assert_int_equal(log_a.level, LOG_INFO);
}

static void no_level_hides_what_is_asked_for(void **state)
{
    (void)state;
    static struct log_area early = { .name = "x-early", .asked = true };
    static struct log_area late = { .name = "x-late", .asked = true };
    log_register(&early);
    log_set_default(LOG_ERROR);
    log_register(&late);
    assert_int_equal(early.level, LOG_INFO);
    assert_int_equal(late.level, LOG_INFO);
    log_set_level(&early, LOG_TRACE);
    assert_int_equal(early.level, LOG_TRACE);
    log_set_level(&early, log_default());
    assert_int_equal(early.level, LOG_INFO);
}

static void areas_are_found_and_listed_by_name(void **state)
{
    (void)state;
    assert_ptr_equal(log_find(SLICE("b")), &log_b);
    assert_null(log_find(SLICE("c")));
    assert_ptr_equal(log_first(), &log_a);
    assert_ptr_equal(log_a.next, &log_b);
}

/* The lines that `flood` logs within one second, and that second. If a new second began meanwhile,
 * it runs again. */
static slice within_a_second(void (*flood)(void), uint64_t *second)
{
    slice lines;
    do {
        atomic_store(&log_a.second, 0);
        atomic_store(&log_a.suppressed, 0);
        capture();
        *second = clock_wall_us() / 1000000;
        flood();
        lines = captured();
    } while (*second != clock_wall_us() / 1000000);
    return lines;
}

static void flood(void)
{
    for (int i = 0; i < LOG_LINES_PER_SECOND + 500; i++)
        log_warn(&log_a, LOG_EV("flood"));
    log_error(&log_a, LOG_EV("errors.pass"));
    log_record(&log_a, LOG_INFO, LOG_EV("records.pass"));
    log_warn(&log_b, LOG_EV("others.pass"));
}

static void a_flood_is_dropped_but_counted(void **state)
{
    (void)state;
    uint64_t before;
    slice lines = within_a_second(flood, &before);
    assert_int_equal(count_lines(lines), LOG_LINES_PER_SECOND + 3);
    assert_non_null(strstr(lines.ptr, "records.pass"));
    assert_int_equal(log_a.suppressed, 500);

    atomic_store(&log_a.second, before - 1); /* as if the line came in another second */
    capture();
    log_info(&log_a, LOG_EV("calm"));
    lines = captured();
    assert_int_equal(count_lines(lines), 2);
    const char *said = strstr(lines.ptr, "level=warn area=a event=log.suppressed n=500\n");
    assert_non_null(said);
    assert_non_null(strstr(said, "event=calm\n"));
    assert_int_equal(log_a.suppressed, 0);

    within_a_second(flood, &before); /* and when nothing is logged afterwards */
    capture();
    log_tell();
    lines = captured();
    assert_int_equal(count_lines(lines), 1);
    assert_non_null(strstr(lines.ptr, "level=warn area=a event=log.suppressed n=500\n"));
}

enum { REPEATS = 20 };

static void flood_of_repeats(void)
{
    for (int i = 0; i < REPEATS + 3 * LOG_SAMPLE_EACH + 1; i++)
        log_warn(&log_a, LOG_EV("repeated"));
    log_warn(&log_a, LOG_EV("other.pass"));
    for (int i = 0; i < 2 * REPEATS; i++) {
        log_error(&log_a, LOG_EV("repeated"));
        log_warn(&log_whole, LOG_EV("repeated"));
    }
}

static unsigned count_of(slice in, const char *wanted)
{
    unsigned n = 0;
    for (const char *at = in.ptr; (at = strstr(at, wanted)) != NULL; at++)
        n++;
    return n;
}

static void repeated_lines_are_sampled(void **state)
{
    (void)state;
    struct why why;
    uint64_t second;
    assert_int_equal(setting_set(&log_repeats, SLICE("20"), &why), OK);
    slice lines = within_a_second(flood_of_repeats, &second);
    assert_int_equal(count_of(lines, "level=warn area=a event=repeated\n"), REPEATS + 3);
    assert_int_equal(count_of(lines, "level=error area=a event=repeated\n"), 2 * REPEATS);
    assert_int_equal(count_of(lines, "area=whole event=repeated\n"), 2 * REPEATS);
    assert_int_equal(count_of(lines, "event=other.pass\n"), 1);
    capture(); /* nothing more is logged: it is told all the same, and once */
    log_tell();
    log_tell();
    lines = captured();
    assert_int_equal(count_of(lines, "level=warn area=a event=log.repeated of=repeated n=298\n"),
                     1);
    assert_int_equal(count_lines(lines), 1);
    log_set_level(&log_a, LOG_TRACE); /* who traces an area wants all of it */
    lines = within_a_second(flood_of_repeats, &second);
    assert_int_equal(count_of(lines, "level=warn area=a event=repeated\n"),
                     REPEATS + 3 * LOG_SAMPLE_EACH + 1);
    assert_int_equal(setting_set(&log_repeats, SLICE("0"), &why), OK);
}

static void flood_at_info(void)
{
    for (unsigned i = 0; i < 3 * REPEATS; i++)
        log_info(&log_a, LOG_EV("two.levels"));
    log_warn(&log_a, LOG_EV("two.levels"));
}

static void a_flood_at_info_hides_no_warning(void **state)
{
    (void)state;
    struct why why;
    uint64_t second;
    assert_int_equal(setting_set(&log_repeats, SLICE("20"), &why), OK);
    slice lines = within_a_second(flood_at_info, &second);
    assert_int_equal(count_of(lines, "level=info area=a event=two.levels\n"), REPEATS);
    assert_int_equal(count_of(lines, "level=warn area=a event=two.levels\n"), 1);
    assert_int_equal(setting_set(&log_repeats, SLICE("0"), &why), OK);
    log_tell();
}

enum { MANY_EVENTS = 2 * LOG_SAMPLES, EVENT_NAME = 16 };
static char event_names[MANY_EVENTS][EVENT_NAME];

static void flood_of_many_events(void)
{
    for (unsigned i = 0; i < MANY_EVENTS; i++)
        for (unsigned k = 0; k < 2; k++)
            log_fields(i % 2 == 0 ? &log_a : &log_b, LOG_DEBUG - i % 2,
                       (const struct log_field[]){ LOG_C("event", event_names[i]), { 0 } });
}

/* Whichever of them meet in the same place: what is held back is told of the right event, area and
 * level, and no line is lost without being told. */
static void each_event_is_held_back_for_itself(void **state)
{
    (void)state;
    struct why why;
    uint64_t second;
    assert_int_equal(setting_set(&log_repeats, SLICE("1"), &why), OK);
    for (unsigned i = 0; i < MANY_EVENTS; i++)
        snprintf(event_names[i], EVENT_NAME, "e%u.", i);
    slice lines = within_a_second(flood_of_many_events, &second);
    size_t written = count_lines(lines);
    for (unsigned i = 0; i < MANY_EVENTS; i++) {
        char wanted[EVENT_NAME + 16];
        snprintf(wanted, sizeof wanted, "event=%s\n", event_names[i]);
        assert_in_range(count_of(lines, wanted), 1, 2);
    }
    capture();
    log_tell();
    lines = captured();
    assert_int_equal(count_lines(lines) + written, 2 * MANY_EVENTS);
    assert_in_range(count_lines(lines), LOG_SAMPLES / 2, LOG_SAMPLES);
    for (const char *at = lines.ptr; (at = strstr(at, "level=")) != NULL; at++) {
        bool odd = strncmp(at, "level=info area=b ", 18) == 0;
        char *end;
        assert_true(odd || strncmp(at, "level=debug area=a ", 19) == 0);
        unsigned long event = strtoul(strstr(at, " of=e") + 5, &end, 10);
        assert_int_equal(event % 2, odd);
        assert_memory_equal(end, ". n=1\n", 6);
    }
    assert_int_equal(setting_set(&log_repeats, SLICE("0"), &why), OK);
}

enum { OTHERS = 8 };

static void flood_of_one_peer(void)
{
    for (int i = 0; i < LOG_LINES_PER_SECOND + 500; i++)
        log_info(&log_a, LOG_EV("flood"), LOG_C("peer", "192.0.2.1"));
    log_error(&log_a, LOG_EV("errors.pass"), LOG_C("peer", "192.0.2.1"));
    for (unsigned i = 0; i < OTHERS; i++) {
        char peer[16];
        snprintf(peer, sizeof peer, "192.0.2.%u", 2 + i);
        log_info(&log_a, LOG_EV("others.pass"), LOG_C("peer", peer));
    }
    log_info(&log_a, LOG_EV("operators.pass"), LOG_C("peer", ""));
}

/* Of one address; others write on, and so does the area where no address is named. An address may
 * share its count with the flood by chance (LOG_PEERS), but hardly all of them. */
static void a_flood_of_one_peer_has_a_share(void **state)
{
    (void)state;
    uint64_t second;
    slice lines = within_a_second(flood_of_one_peer, &second);
    unsigned all = LOG_LINES_PER_SECOND + 500 + 1 + OTHERS + 1, most = LOG_PEER_LINES_PER_SECOND;
    assert_in_range(count_lines(lines), most + 3, most + 2 + OTHERS);
    assert_int_equal(count_lines(lines) + log_a.suppressed, all);
    assert_non_null(strstr(lines.ptr, "errors.pass"));
    assert_non_null(strstr(lines.ptr, "others.pass"));
    assert_non_null(strstr(lines.ptr, "operators.pass"));
}

static void what_a_peer_says_is_cut(void **state)
{
    (void)state;
    char said[LOG_PEER_VALUE_BYTES + 2];
    memset(said, 'x', sizeof said);
    said[sizeof said - 1] = '\0';
    capture();
    log_info(&log_a, LOG_EV("e"), LOG_C("jid", said), LOG_C("peer", "192.0.2.1"));
    said[LOG_PEER_VALUE_BYTES] = '\0';
    char expected[LOG_PEER_VALUE_BYTES + 128];
    snprintf(expected, sizeof expected,
             "level=info area=a event=e jid=%s peer=192.0.2.1 truncated=true\n", said);
    assert_string_equal(after_time(captured()), expected);
    said[LOG_PEER_VALUE_BYTES] = 'x';
    capture();
    log_info(&log_a, LOG_EV("e"), LOG_C("jid", said));
    snprintf(expected, sizeof expected, "level=info area=a event=e jid=%s\n", said);
    assert_string_equal(after_time(captured()), expected);
}

static void *write_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < 300; i++)
        log_error(&log_a, LOG_EV("thread"), LOG_I("n", i));
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    (void)state;
    pthread_t threads[4];
    capture();
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    slice rest = captured(), line;
    assert_int_equal(count_lines(rest), 1200);
    while (slice_cut(rest, '\n', &line, &rest)) {
        assert_true(slice_starts(line, SLICE("time=")));
        assert_true(
            slice_starts(slice_from(line, 33), SLICE("level=error area=a event=thread n=")));
    }
}

int main(void)
{
    log_register(&log_b);
    log_register(&log_a);
    log_register(&log_whole);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(one_line_with_typed_fields, reset),
        cmocka_unit_test_setup(values_cannot_forge_fields_or_lines, reset),
        cmocka_unit_test_setup(json_is_valid_for_all_bytes, reset),
        cmocka_unit_test_setup(long_lines_are_cut_and_say_so, reset),
        cmocka_unit_test_setup(levels_select, reset),
        cmocka_unit_test_setup(a_trace_survives_a_new_default, reset),
        cmocka_unit_test_setup(no_level_hides_what_is_asked_for, reset),
        cmocka_unit_test_setup(areas_are_found_and_listed_by_name, reset),
        cmocka_unit_test_setup(a_flood_is_dropped_but_counted, reset),
        cmocka_unit_test_setup(repeated_lines_are_sampled, reset),
        cmocka_unit_test_setup(a_flood_at_info_hides_no_warning, reset),
        cmocka_unit_test_setup(each_event_is_held_back_for_itself, reset),
        cmocka_unit_test_setup(a_flood_of_one_peer_has_a_share, reset),
        cmocka_unit_test_setup(what_a_peer_says_is_cut, reset),
        cmocka_unit_test_setup(lines_of_threads_do_not_mix, reset),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
