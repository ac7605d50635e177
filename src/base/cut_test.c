#include "base/alarm.h"
#include "base/buf.h"
#include "base/cut.h"
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct log_area log_a = { .name = "a" };
static struct alarm full = { .name = "a.full", .text = "full", .action = "none" };

static int64_t cuts(enum cut_text text) { return metric_read_cell(&texts_cut, text, 0); }

/* What fn() logs. */
static const char *cut_log_of(void (*fn)(void))
{
    static char text[1 << 20];
    int kept = dup(STDERR_FILENO), fd = memfd_create("log", 0);
    fcntl(fd, F_SETFL, O_APPEND);
    dup2(fd, STDERR_FILENO);
    fn();
    dup2(kept, STDERR_FILENO);
    ssize_t len = pread(fd, text, sizeof text - 1, 0);
    close(kept);
    close(fd);
    assert_true(len >= 0);
    text[len] = '\0';
    return text;
}

static void run_over(void)
{
    struct buf b;
    buf_init(&b, 8);
    buf_lit(&b, "12345678");
    assert_int_equal(buf_fit(&b).len, 8);
    assert_int_equal(cuts(CUT_BUFFER), 0);
    buf_lit(&b, "9");
    for (int i = 0; i < 100; i++)
        assert_int_equal(buf_fit(&b).len, 0);
    buf_fini(&b);
}

static void a_text_that_is_left_out_is_counted_and_logged(void **state)
{
    unsigned lines = 0;
    (void)state;
    const char *text = cut_log_of(run_over);
    assert_int_equal(cuts(CUT_BUFFER), 100);
    assert_non_null(strstr(text, "area=cut event=text.left-out function=run_over bytes_max=8 "));
    for (; (text = strchr(text, '\n')) != NULL; text++)
        lines++;
    assert_true(lines < 100); /* one a second */
}

static void log_much(void)
{
    static char value[LOG_LINE_BYTES];
    memset(value, 'x', sizeof value);
    log_error(&log_a, LOG_EV("short"));
    assert_int_equal(cuts(CUT_LOG), 0);
    log_error(&log_a, LOG_S("v", ((slice){ value, sizeof value })));
    log_error(&log_a, LOG_C("peer", "192.0.2.1"),
              LOG_S("v", ((slice){ value, LOG_PEER_VALUE_BYTES + 1 })));
    assert_int_equal(cuts(CUT_LOG), 2);
    assert_int_equal(metric_read(&log_lines_suppressed), 0);
    for (int i = 0; i < 3 * LOG_LINES_PER_SECOND; i++)
        log_info(&log_a, LOG_EV("often"));
}

/* Each line is written or counted. */
static void lines_that_are_cut_or_suppressed_are_counted(void **state)
{
    int written = 0;
    (void)state;
    const char *text = cut_log_of(log_much);
    while ((text = strstr(text, "event=often")) != NULL) {
        text++;
        written++;
    }
    assert_true(written < 3 * LOG_LINES_PER_SECOND);
    assert_int_equal(written + metric_read(&log_lines_suppressed), 3 * LOG_LINES_PER_SECOND);
}

static void raise_it(void)
{
    static char detail[sizeof full.detail];
    memset(detail, 'x', sizeof detail);
    alarm_raise(&full, (slice){ detail, sizeof detail - 1 });
    assert_int_equal(cuts(CUT_ALARM), 0);
    alarm_raise(&full, (slice){ detail, sizeof detail });
    assert_int_equal(cuts(CUT_ALARM), 1);
    alarm_clear(&full);
}

static void a_detail_of_an_alarm_that_is_cut_is_counted(void **state)
{
    (void)state;
    (void)cut_log_of(raise_it);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_that_is_left_out_is_counted_and_logged),
        cmocka_unit_test(lines_that_are_cut_or_suppressed_are_counted),
        cmocka_unit_test(a_detail_of_an_alarm_that_is_cut_is_counted),
    };
    metric_register(&texts_cut);
    metric_register(&log_lines_suppressed);
    log_register(&log_a);
    log_register(&log_cut);
    alarm_register(&full);
    return cmocka_run_group_tests_name("cut", tests, NULL, NULL);
}
