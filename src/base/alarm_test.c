#include "base/alarm.h"
#include "base/log.h"
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct alarm full = { .name = "store.full",
                             .severity = ALARM_CRITICAL,
                             .text = "the disk is full",
                             .action = "make room" };
static struct alarm files = { .name = "io.files", .severity = ALARM_WARNING, .text = "no files" };

static char text[64 << 10];

/* What the log says while the steps are done. */
static const char *log_of(void (*steps)(void))
{
    int kept = dup(STDERR_FILENO), fd = memfd_create("log", 0);
    dup2(fd, STDERR_FILENO);
    steps();
    dup2(kept, STDERR_FILENO);
    ssize_t len = pread(fd, text, sizeof text - 1, 0);
    assert_true(len >= 0);
    text[len] = '\0';
    close(kept);
    close(fd);
    return text;
}

static size_t count_of(const char *in, const char *what)
{
    size_t count = 0;
    for (const char *at = in; (at = strstr(at, what)) != NULL; at++)
        count++;
    return count;
}

static void raise_twice_and_clear_twice(void)
{
    alarm_raise(&full, SLICE("/var is full"));
    alarm_raise(&full, SLICE("/var is still full"));
    alarm_clear(&full);
    alarm_clear(&full);
}

static void only_changes_are_logged(void **state)
{
    (void)state;
    const char *log = log_of(raise_twice_and_clear_twice);
    assert_int_equal(count_of(log, "\n"), 2);
    assert_non_null(strstr(log, "level=error area=alarm event=alarm.raised alarm=store.full "
                                "severity=critical text=\"the disk is full\" "
                                "detail=\"/var is full\" action=\"make room\"\n"));
    assert_non_null(strstr(log, "level=info area=alarm event=alarm.cleared alarm=store.full\n"));
    assert_int_equal(full.raised_count, 1);
    char detail[64];
    alarm_detail(&full, detail, sizeof detail);
    assert_string_equal(detail, "/var is still full");
}

static void raise_in_steps(void)
{
    alarm_raise(&full, SLICE("10 days"));
    alarm_raise_as(&full, ALARM_WARNING, SLICE("9 days"));
    alarm_raise_as(&full, ALARM_WARNING, SLICE("8 days"));
    alarm_raise_as(&full, ALARM_ERROR, SLICE("7 days"));
    alarm_clear(&full);
}

static void another_severity_is_logged(void **state)
{
    (void)state;
    uint64_t before = full.raised_count;
    const char *log = log_of(raise_in_steps);
    assert_int_equal(count_of(log, "event=alarm.raised"), 1);
    assert_int_equal(count_of(log, "event=alarm.changed"), 2);
    assert_non_null(strstr(log, "severity=critical"));
    assert_non_null(strstr(log, "level=warn area=alarm event=alarm.changed alarm=store.full "
                                "severity=warning"));
    assert_non_null(strstr(log, "severity=error"));
    assert_null(strstr(log, "8 days"));
    assert_int_equal(full.raised_count, before + 1);
    assert_string_equal(alarm_severity_name(&full), "error");
}

static void set_while_it_is_active(void)
{
    alarm_set_severity(&full, ALARM_WARNING); /* not active: no news */
    alarm_raise(&full, SLICE("10 days"));
    alarm_set_severity(&full, -1);
    alarm_set_severity(&full, -1);
    alarm_clear(&full);
}

static void a_severity_that_is_set_is_logged(void **state)
{
    (void)state;
    const char *log = log_of(set_while_it_is_active);
    assert_int_equal(count_of(log, "event=alarm.changed"), 1);
    assert_non_null(strstr(log, "event=alarm.changed alarm=store.full severity=critical"));
    assert_non_null(strstr(log, "detail=\"10 days\""));
}

static void raise_once(void) { alarm_raise(&files, SLICE("20000")); }
static void clear(void) { alarm_clear(&files); }

static void state_and_time_follow(void **state)
{
    (void)state;
    assert_false(files.active);
    assert_int_equal(files.since_us, 0);
    assert_non_null(strstr(log_of(raise_once), "level=warn "));
    assert_true(files.active);
    uint64_t raised_us = files.since_us;
    assert_true(raised_us > 1700000000000000);
    assert_int_equal(count_of(log_of(clear), "alarm.cleared"), 1);
    assert_false(files.active);
    assert_true(files.since_us >= raised_us);
}

static void raise_long(void)
{
    static char detail[2 * sizeof full.detail];
    memset(detail, 'x', sizeof detail);
    memcpy(detail + sizeof full.detail - 6, "\xc3\xa9", 2); /* the cut would split it */
    alarm_raise(&full, (slice){ detail, sizeof detail });
    alarm_clear(&full);
}

static void details_are_cut_between_characters(void **state)
{
    (void)state;
    (void)log_of(raise_long);
    char detail[sizeof full.detail], small[5];
    alarm_detail(&full, detail, sizeof detail);
    assert_int_equal(strlen(detail), sizeof full.detail - 6 + strlen(" …"));
    assert_string_equal(detail + sizeof full.detail - 6, " …");
    alarm_detail(&full, small, sizeof small);
    assert_string_equal(small, "xxxx");
}

static void raise_words(void)
{
    static char text[2 * sizeof full.detail];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "seven7 "[i % 7];
    alarm_raise(&full, (slice){ text, sizeof text });
    alarm_clear(&full);
}

static void details_are_cut_between_words(void **state)
{
    char detail[sizeof full.detail];
    (void)state;
    (void)log_of(raise_words);
    alarm_detail(&full, detail, sizeof detail);
    const char *end = detail + strlen(detail) - strlen("seven7 …");
    assert_string_equal(end, "seven7 …");
    assert_true(strlen(detail) > sizeof full.detail - 14);
}

static void *raise_and_clear_often(void *arg)
{
    (void)arg;
    for (int i = 0; i < 50; i++) {
        alarm_raise(&files, SLICE("race"));
        alarm_clear(&files);
    }
    return NULL;
}

static void raise_from_threads(void)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, raise_and_clear_often, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

static void threads_agree(void **state)
{
    (void)state;
    uint64_t before = files.raised_count;
    const char *log = log_of(raise_from_threads);
    uint64_t raised = files.raised_count - before;
    assert_true(raised >= 1 && raised <= 200);
    assert_int_equal(count_of(log, "alarm.raised"), raised);
    assert_int_equal(count_of(log, "alarm.cleared"), raised);
    assert_false(files.active);
}

static unsigned told;
static void count_told(struct alarm_listener *l)
{
    (void)l;
    told++;
}

static void raise_as_error(void)
{
    alarm_raise_as(&full, ALARM_ERROR, SLICE("7 days"));
    assert_string_equal(alarm_severity_name(&full), "warning"); /* which is set */
    alarm_clear(&full);
}

static void change_in_steps(void)
{
    alarm_raise(&full, SLICE("1"));                   /* told */
    alarm_raise(&full, SLICE("2"));                   /* the same again */
    alarm_raise_as(&full, ALARM_WARNING, SLICE("3")); /* told */
    alarm_set_severity(&full, ALARM_ERROR);           /* told */
    alarm_set_severity(&full, ALARM_ERROR);           /* the same again */
    assert_string_equal(alarm_severity_name(&full), "error");
    alarm_clear(&full); /* told */
    alarm_clear(&full);
    alarm_set_severity(&full, -1); /* it is not active */
}

static void listeners_hear_of_changes(void **state)
{
    (void)state;
    struct alarm_listener other = { .changed = count_told }, l = { .changed = count_told };
    told = 0;
    alarm_listen(&l);
    alarm_listen(&other);
    (void)log_of(change_in_steps);
    assert_int_equal(told, 8);
    alarm_unlisten(&l);
    (void)log_of(change_in_steps);
    assert_int_equal(told, 12);
    alarm_unlisten(&other);
    (void)log_of(change_in_steps);
    assert_int_equal(told, 12);
    alarm_set_severity(&full, ALARM_WARNING);
    (void)log_of(raise_twice_and_clear_twice);
    assert_string_equal(alarm_severity_name(&full), "warning");
    (void)log_of(raise_as_error);
    assert_string_equal(alarm_severity_name(&full), "warning");
    alarm_set_severity(&full, -1);
}

static void acknowledged_until_it_is_cleared(void **state)
{
    (void)state;
    char by[ALARM_BY_BYTES], name[2 * ALARM_BY_BYTES];
    assert_false(alarm_acknowledge(&files, SLICE("control:root"), SLICE("n"), 1));
    (void)log_of(raise_once);
    memset(name, 'n', sizeof name);
    assert_true(alarm_acknowledge(&files, (slice){ name, sizeof name }, SLICE("mine"), 1));
    alarm_known_by(&files, by, sizeof by);
    assert_int_equal(strlen(by), ALARM_BY_BYTES - 1);
    assert_true(alarm_acknowledge(&files, SLICE("control:root"), SLICE("later"), 7));
    (void)log_of(raise_once);
    alarm_known_by(&files, by, sizeof by);
    assert_string_equal(by, "control:root");
    assert_int_equal(files.known_us, 7);
    alarm_note(&files, by, sizeof by);
    assert_string_equal(by, "later");
    (void)log_of(clear);
    alarm_known_by(&files, by, sizeof by);
    assert_string_equal(by, "");
    alarm_note(&files, by, sizeof by);
    assert_string_equal(by, "");
    assert_int_equal(files.known_us, 0);
}

static void restore(void) { alarm_restore(&files, ALARM_CRITICAL, SLICE("as before"), 77); }

static void a_restored_alarm_is_as_it_was(void **state)
{
    (void)state;
    uint64_t before = files.raised_count;
    char detail[64];
    assert_int_equal(count_of(log_of(restore), "event=alarm.restored alarm=io.files"), 1);
    alarm_detail(&files, detail, sizeof detail);
    assert_string_equal(detail, "as before");
    assert_true(files.active);
    assert_int_equal(files.since_us, 77);
    assert_int_equal(files.raised_count, before);
    assert_string_equal(alarm_severity_name(&files), "critical");
    assert_int_equal(count_of(log_of(clear), "alarm.cleared"), 1);
}

static void rows_are_listed_by_name(void **state)
{
    (void)state;
    assert_ptr_equal(alarm_first(), &files);
    assert_ptr_equal(files.next, &full);
    assert_null(full.next);
    assert_ptr_equal(alarm_find(SLICE("store.full")), &full);
    assert_null(alarm_find(SLICE("store.ful")));
    assert_null(alarm_find(SLICE("")));
}

int main(void)
{
    alarm_register(&full);
    alarm_register(&files);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_changes_are_logged),
        cmocka_unit_test(another_severity_is_logged),
        cmocka_unit_test(a_severity_that_is_set_is_logged),
        cmocka_unit_test(state_and_time_follow),
        cmocka_unit_test(details_are_cut_between_characters),
        cmocka_unit_test(details_are_cut_between_words),
        cmocka_unit_test(threads_agree),
        cmocka_unit_test(listeners_hear_of_changes),
        cmocka_unit_test(acknowledged_until_it_is_cleared),
        cmocka_unit_test(a_restored_alarm_is_as_it_was),
        cmocka_unit_test(rows_are_listed_by_name),
    };
    return cmocka_run_group_tests_name("alarm", tests, NULL, NULL);
}
