#include "base/setting.h"
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int changes;
static void on_news(void) { changes++; }
/* Who calls it is home/setting_news.c. */
static void on_change(struct worker *w, const struct setting *s) { (void)w, (void)s; }

static const char *const modes[] = { "reject", "replace", "none-of-it", NULL };

static struct setting idle = { .name = "c2s.idle",
                               .scope = SCOPE_CLUSTER,
                               .type = PARAM_MS,
                               .def = 60000,
                               .min = 30000,
                               .max = 90000,
                               .changed = on_change };
static struct setting pause_ms = {
    .name = "io.pause", .scope = SCOPE_CLUSTER, .type = PARAM_MS, .def = 0, .max = 864000000
};
static struct setting bytes = { .name = "c2s.stanza-bytes",
                                .scope = SCOPE_CLUSTER,
                                .type = PARAM_BYTES,
                                .def = 256 << 10,
                                .min = 1000,
                                .max = SETTING_NONE };
static struct setting contacts = { .name = "im.contacts",
                                   .scope = SCOPE_CLUSTER,
                                   .type = PARAM_INT,
                                   .def = 200,
                                   .min = -5,
                                   .max = 1000,
                                   .allow_none = true };
static struct setting tls = {
    .name = "c2s.tls-required", .scope = SCOPE_CLUSTER, .type = PARAM_BOOL, .def = 1
};
static struct setting mode = {
    .name = "c2s.conflict", .scope = SCOPE_CLUSTER, .type = PARAM_CHOICE, .choices = modes
};
static struct setting motd = { .name = "im.motd",
                               .scope = SCOPE_CLUSTER,
                               .type = PARAM_TEXT,
                               .max = 20,
                               .def_text = "welcome",
                               .changed = on_change };
static struct setting shown = { .name = "im.contacts-shown",
                                .scope = SCOPE_CLUSTER,
                                .type = PARAM_INT,
                                .def = 100,
                                .max = 1000,
                                .allow_none = true,
                                .not_above = &contacts.param };

static struct setting fine = {
    .name = "io.fine", .scope = SCOPE_CLUSTER, .type = PARAM_MS, .def = 1500, .min = 1, .max = 90000
};
static struct setting days = { .name = "archive.days",
                               .scope = SCOPE_CLUSTER,
                               .type = PARAM_INT,
                               .def = 30,
                               .min = 1,
                               .max = 100,
                               .unit = "days" };

static struct setting *const rows[] = { &fine,     &days, &idle, &pause_ms, &bytes,
                                        &contacts, &tls,  &mode, &motd,     &shown };
enum { ROWS = sizeof rows / sizeof rows[0] };

static int reset(void **state)
{
    (void)state;
    setting_listen(on_news);
    for (int i = 0; i < ROWS; i++)
        setting_reset(rows[i]);
    changes = 0;
    return 0;
}

static void register_without_scope(int fd)
{
    static struct setting row = { .name = "c2s.somewhere", .type = PARAM_BOOL };
    signal(SIGABRT, SIG_DFL);
    dup2(fd, STDERR_FILENO);
    setting_register(&row);
    settings_check();
    _exit(0);
}

static void a_row_must_say_its_scope(void **state)
{
    (void)state;
    int ends[2], status = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        register_without_scope(ends[1]);
    close(ends[1]);
    char text[256];
    ssize_t len = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_true(len > 0);
    text[len] = '\0';
    assert_string_equal(text, "setting c2s.somewhere: its row does not say its scope\n");
}

static void one_domain_may_differ(void **state)
{
    (void)state;
    static struct setting closed = { .name = "s.closed",
                                     .type = PARAM_BOOL,
                                     .scope = SCOPE_DOMAIN,
                                     .changed = on_change },
                          title = { .name = "s.title",
                                    .type = PARAM_TEXT,
                                    .def_text = "all",
                                    .scope = SCOPE_DOMAIN };
    const slice one = SLICE("one.test"), two = SLICE("two.test");
    struct why why;
    setting_register(&closed);
    setting_register(&title);
    setting_add_domain(one);
    setting_add_domain(two);
    setting_add_domain(one); /* is there */
    struct setting *own = setting_find(SLICE("s.closed@one.test"));
    assert_non_null(own);
    assert_null(setting_find(SLICE("c2s.tls-required@one.test"))); /* one value for all */
    assert_ptr_equal(setting_of(&closed, one), &closed);
    int before = changes;
    assert_int_equal(setting_set(own, SLICE("off"), &why), OK); /* what all have, but its own */
    assert_int_equal(changes, before + 1);
    assert_int_equal(setting_set(&closed, SLICE("on"), &why), OK);
    assert_false(setting_bool_of(&closed, one));
    assert_true(setting_bool_of(&closed, two));
    assert_true(setting_bool_of(&closed, SLICE("three.test")));
    setting_reset(own);
    assert_true(setting_bool_of(&closed, one) && setting_is_open(own));
    assert_true(setting_bool_somewhere(&closed));
    setting_reset(&closed);
    assert_false(setting_bool_somewhere(&closed));
    assert_int_equal(setting_set(own, SLICE("on"), &why), OK);
    assert_true(setting_bool_somewhere(&closed));
    setting_reset(own);
    own = setting_find(SLICE("s.title@two.test"));
    assert_int_equal(setting_set(own, SLICE("two"), &why), OK);
    assert_true(slice_is(setting_text_of(&title, two), "two"));
    assert_true(slice_is(setting_text_of(&title, one), "all"));
    setting_reset(&closed);
}

static void texts_become_values(void **state)
{
    (void)state;
    static const struct {
        struct setting *row;
        const char *text;
        int64_t value;
        const char *formatted;
    } good[] = {
        { &idle, "30s", 30000, "30s" },
        { &idle, "90000ms", 90000, "90s" },
        { &idle, "1m", 60000, "1min" },
        { &idle, "1min", 60000, "1min" },
        { &idle, "30001ms", 30001, "30001ms" },
        { &pause_ms, "0", 0, "0" },
        { &pause_ms, "0h", 0, "0" },
        { &pause_ms, "24h", 86400000, "1d" },
        { &pause_ms, "10d", 864000000, "10d" },
        { &bytes, "1000", 1000, "1kB" },
        { &bytes, "10MB", 10000000, "10MB" },
        { &bytes, "10 mib", 10485760, "10MiB" },
        { &idle, "60", 60000, "1min" },
        { &idle, "60 s", 60000, "1min" },
        { &idle, "1 minute 5 sec", 65000, "65s" },
        { &days, "30", 30, "30d" },
        { &days, "30d", 30, "30d" },
        { &days, "2 weeks", 14, "14d" },
        { &days, "48h", 2, "2d" },
        { &bytes, "1024B", 1024, "1KiB" },
        { &bytes, "64KiB", 65536, "64KiB" },
        { &bytes, "1536MiB", 1610612736, "1536MiB" },
        { &bytes, "4GiB", 4294967296, "4GiB" },
        { &contacts, "-5", -5, "-5" },
        { &contacts, "1000", 1000, "1000" },
        { &contacts, "none", SETTING_NONE, "none" },
        { &tls, "on", 1, "on" },
        { &tls, "true", 1, "on" },
        { &tls, "yes", 1, "on" },
        { &tls, "off", 0, "off" },
        { &tls, "false", 0, "off" },
        { &tls, "no", 0, "off" },
        { &mode, "replace", 1, "replace" },
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct why why;
        char text[64];
        assert_int_equal(setting_check(good[i].row, slice_of(good[i].text), &why), OK);
        assert_int_equal(setting_set(good[i].row, slice_of(good[i].text), &why), OK);
        assert_int_equal(setting_int(good[i].row), good[i].value);
        assert_int_equal(setting_format(good[i].row, text, sizeof text), strlen(text));
        assert_string_equal(text, good[i].formatted);
    }
}

static void refusals_name_setting_found_and_allowed(void **state)
{
    (void)state;
    static const struct {
        struct setting *row;
        const char *text;
        enum err err;
        const char *why;
    } bad[] = {
        { &idle, "5s", E_LIMIT, "c2s.idle: found \"5s\", allowed 30s to 90s" },
        { &idle, "91s", E_LIMIT, "c2s.idle: found \"91s\", allowed 30s to 90s" },
        { &fine, "60", E_SYNTAX,
          "io.fine: found \"60\" without a unit (ms, s, min, h, d or w), allowed 1ms to 90s" },
        { &days, "36h", E_SYNTAX,
          "archive.days: found \"36h\", which is not a number of whole days, allowed 1d to 100d" },
        { &days, "1MB", E_SYNTAX,
          "archive.days: found \"1MB\" with an unknown unit (there are ms, s, min, h, d, w), "
          "allowed 1d to 100d" },
        { &days, "101d", E_LIMIT, "archive.days: found \"101d\", allowed 1d to 100d" },
        { &days, "101", E_LIMIT, "archive.days: found \"101\" (days), allowed 1d to 100d" },
        { &idle, "0", E_LIMIT, "c2s.idle: found \"0\", allowed 30s to 90s" },
        { &idle, "20", E_LIMIT, "c2s.idle: found \"20\" (seconds), allowed 30s to 90s" },
        { &idle, "60 parsecs", E_SYNTAX,
          "c2s.idle: found \"60 parsecs\" with an unknown unit (there are ms, s, min, h, d, w), "
          "allowed 30s to 90s" },
        { &idle, "-60s", E_SYNTAX, "c2s.idle: found \"-60s\", allowed 30s to 90s" },
        { &idle, "s", E_SYNTAX, "c2s.idle: found \"s\", allowed 30s to 90s" },
        { &idle, "", E_SYNTAX, "c2s.idle: found \"\", allowed 30s to 90s" },
        { &idle, "none", E_SYNTAX, "c2s.idle: found \"none\", allowed 30s to 90s" },
        { &idle, "9223372036854775807d", E_LIMIT,
          "c2s.idle: found \"9223372036854775807d\", allowed 30s to 90s" },
        { &pause_ms, "11d", E_LIMIT, "io.pause: found \"11d\", allowed 0 to 10d" },
        { &bytes, "1PB", E_SYNTAX,
          "c2s.stanza-bytes: found \"1PB\" with an unknown unit (there are B, kB, KiB, MB, MiB, "
          "GB, "
          "GiB, TB, TiB), allowed at least 1kB" },
        { &bytes, "4611686018427387903", E_LIMIT,
          "c2s.stanza-bytes: found \"4611686018427387903\", allowed at least 1kB" },
        { &contacts, "1001", E_LIMIT, "im.contacts: found \"1001\", allowed -5 to 1000, or none" },
        { &contacts, "many", E_SYNTAX, "im.contacts: found \"many\", allowed -5 to 1000, or none" },
        { &tls, "maybe", E_SYNTAX, "c2s.tls-required: found \"maybe\", allowed on or off" },
        { &mode, "Reject", E_SYNTAX,
          "c2s.conflict: found \"Reject\", allowed one of: reject, replace, none-of-it" },
        { &motd, "123456789012345678901", E_LIMIT,
          "im.motd: found 21 bytes, allowed text of 0 to 20 bytes" },
        { &motd, "\x1b", E_SYNTAX,
          "im.motd: found \"?\", which is not plain UTF-8 text, allowed text of 0 to 20 bytes" },
        { &motd, "\xff", E_SYNTAX,
          "im.motd: found \"\", which is not plain UTF-8 text, allowed text of 0 to 20 bytes" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct why why;
        int64_t before = setting_int(bad[i].row);
        assert_int_equal(setting_set(bad[i].row, slice_of(bad[i].text), &why), bad[i].err);
        assert_string_equal(why.text, bad[i].why);
        assert_int_equal(setting_int(bad[i].row), before);
    }
    assert_int_equal(changes, 0);
}

static void strings_keep_their_old_texts_alive(void **state)
{
    (void)state;
    struct why why;
    const char *first = setting_text(&motd);
    assert_string_equal(first, "welcome");
    assert_int_equal(setting_set(&motd, SLICE("gr\xc3\xbc\xc3\x9f dich"), &why), OK);
    const char *second = setting_text(&motd);
    assert_int_equal(setting_set(&motd, SLICE(""), &why), OK);
    assert_string_equal(first, "welcome");
    assert_string_equal(second, "gr\xc3\xbc\xc3\x9f dich");
    assert_string_equal(setting_text(&motd), "");
    assert_int_equal(setting_set(&motd, slice_of(second), &why), OK);
    assert_ptr_equal(setting_text(&motd), second);
    setting_reset(&motd);
    assert_ptr_equal(setting_text(&motd), first);
    assert_int_equal(changes, 4);
}

static void only_changes_are_announced(void **state)
{
    (void)state;
    struct why why;
    assert_int_equal(setting_set(&idle, SLICE("60s"), &why), OK);
    assert_int_equal(setting_set(&motd, SLICE("welcome"), &why), OK);
    assert_int_equal(changes, 0);
    assert_int_equal(setting_set(&idle, SLICE("61s"), &why), OK);
    assert_int_equal(changes, 1);
    setting_reset(&idle);
    assert_int_equal(changes, 2);
    setting_reset(&idle);
    assert_int_equal(changes, 2);
}

static void rows_are_found_and_listed_by_name(void **state)
{
    (void)state;
    int count = 0;
    for (struct setting *s = setting_first(); s != NULL; s = s->next, count++) {
        assert_ptr_equal(setting_find(slice_of(s->name)), s);
        assert_true(s->next == NULL || strcmp(s->name, s->next->name) < 0);
    }
    assert_int_equal(count, ROWS);
    assert_null(setting_find(SLICE("c2s")));
    assert_true(setting_bool(&tls));
}

static void rows_that_depend_on_others_agree_with_them(void **state)
{
    (void)state;
    static const struct {
        struct setting_change change[2];
        const char *why; /* NULL: fine */
    } cases[] = {
        { { { &shown, SLICE_INIT("200") } }, NULL },
        { { { &shown, SLICE_INIT("201") } },
          "im.contacts-shown: found 201, allowed at most im.contacts, which is 200" },
        { { { &shown, SLICE_INIT("none") } },
          "im.contacts-shown: found none, allowed at most im.contacts, which is 200" },
        { { { &contacts, SLICE_INIT("99") } },
          "im.contacts: found 99, allowed at least im.contacts-shown, which is 100" },
        { { { &contacts, SLICE_INIT("100") } }, NULL },
        { { { &contacts, SLICE_INIT("5") }, { &shown, SLICE_INIT("5") } }, NULL },
        { { { &contacts, SLICE_INIT("none") }, { &shown, SLICE_INIT("none") } }, NULL },
        { { { &idle, SLICE_INIT("70s") } }, NULL },
    };
    struct why why;
    char text[80];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t count = cases[i].change[1].setting == NULL ? 1 : 2;
        enum err e = setting_agree(cases[i].change, count, &why);
        assert_int_equal(e, cases[i].why == NULL ? OK : E_CONFLICT);
        if (cases[i].why != NULL)
            assert_string_equal(why.text, cases[i].why);
    }
    /* the node file may set what does not go together; it is seen, and can be mended */
    assert_int_equal(setting_agree(NULL, 0, &why), OK);
    assert_int_equal(setting_set(&contacts, SLICE("50"), &why), OK);
    assert_int_equal(setting_agree(NULL, 0, &why), E_CONFLICT);
    struct setting_change other = { &idle, SLICE("70s") }, defaults = { &contacts, { NULL, 0 } };
    assert_int_equal(setting_agree(&other, 1, &why), OK);
    assert_int_equal(setting_agree(&defaults, 1, &why), OK);
    setting_range(&shown, text, sizeof text);
    assert_string_equal(text, "0 to 1000, not above im.contacts, or none");
}

static void small_outputs_are_cut(void **state)
{
    (void)state;
    char text[8];
    assert_int_equal(setting_range(&mode, text, sizeof text), 7);
    assert_string_equal(text, "one of:");
    assert_int_equal(setting_format(&motd, text, 1), 0);
    assert_string_equal(text, "");
}

int main(void)
{
    for (int i = 0; i < ROWS; i++)
        setting_register(rows[i]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(texts_become_values, reset),
        cmocka_unit_test_setup(refusals_name_setting_found_and_allowed, reset),
        cmocka_unit_test_setup(strings_keep_their_old_texts_alive, reset),
        cmocka_unit_test_setup(only_changes_are_announced, reset),
        cmocka_unit_test_setup(rows_are_found_and_listed_by_name, reset),
        cmocka_unit_test_setup(rows_that_depend_on_others_agree_with_them, reset),
        cmocka_unit_test_setup(small_outputs_are_cut, reset),
        cmocka_unit_test(a_row_must_say_its_scope),
        cmocka_unit_test_setup(one_domain_may_differ, reset),
    };
    return cmocka_run_group_tests_name("setting", tests, NULL, NULL);
}
