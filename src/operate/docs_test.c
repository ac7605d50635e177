#include "admin/settings/settings.h"
#include "app/features.h"
#include "app/node_file.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/setting.h"
#include "core/feature.h"
#include "operate/docs.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Run from the top of the source tree, as `make check` does. */
static void assert_same(const char *path, void (*generate)(struct buf *out))
{
    struct buf is, should;
    buf_init(&is, DOCS_BYTES_MAX);
    buf_init(&should, DOCS_BYTES_MAX);
    generate(&should);
    assert_false(should.overflow);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char *room = buf_reserve(&is, DOCS_BYTES_MAX);
    is.len = fread(room, 1, DOCS_BYTES_MAX, file);
    fclose(file);
    if (!slice_eq(buf_slice(&is), buf_slice(&should)))
        fail_msg("%s is not what the rows say: run `make docs`", path);
    buf_fini(&is);
    buf_fini(&should);
}

static void config_is_up_to_date(void **state)
{
    (void)state;
    assert_same("docs/config.md", docs_config);
}

static void commands_are_up_to_date(void **state)
{
    (void)state;
    assert_same("docs/commands.md", docs_commands);
}

static void the_packaged_node_file_is_right(void **state)
{
    (void)state;
    struct node_file *f = NULL;
    struct buf errors;
    buf_init(&errors, 4096);
    enum err e = node_file_load(&f, "packaging/muster.yaml", &errors);
    if (e != OK)
        fail_msg("%.*s", SLICE_ARG(buf_slice(&errors)));
    assert_string_equal(f->node, "im1");
    node_file_free(&f);
    buf_fini(&errors);
}

/* A password of an administrator is not a way to the files of the host. What names one says so by
 * its type; the words of the rows tell which do. */
static bool names_a_file(const char *name, const char *doc)
{
    static const char *const names[] = { "file",      "files", "path",  "folder",
                                         "directory", "logo",  "socket" };
    const char *last = name + strlen(name);
    while (last > name && last[-1] != '-' && last[-1] != '_' && last[-1] != '.')
        last--;
    for (unsigned n = 0; n < sizeof names / sizeof names[0]; n++)
        if (strcmp(last, names[n]) == 0)
            return true;
    return strstr(doc, "of the server's host") != NULL;
}

static void paths_of_the_host_are_local(void **state)
{
    unsigned commands = 0, settings = 0;
    (void)state;
    for (const struct command *c = command_first(); c != NULL; c = c->next)
        for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
            if (names_a_file(a->name, a->doc) != (a->type == PARAM_PATH))
                fail_msg("%s: %s is a path, or is called so", c->name, a->name);
            if (a->type == PARAM_PATH && c->access != COMMAND_LOCAL && c->inside == NULL)
                fail_msg("%s is not local, and has %s", c->name, a->name);
            commands += a->type == PARAM_PATH;
        }
    for (const struct setting *s = setting_first(); s != NULL; s = s->next) {
        bool of_urls = strcmp(s->name + strlen(s->name) - 4, "path") == 0 || !setting_is_text(s);
        if (!of_urls && names_a_file(s->name, s->doc) != setting_is_local(s))
            fail_msg("%s is a path, or is called so", s->name);
        settings += setting_is_local(s);
    }
    assert_true(commands >= 3 && settings >= 1);
}

/* What the rows allow can be set: a longer value is refused for the length that they say. */
static void long_values_can_be_set(void **state)
{
    int64_t longest = 0;
    (void)state;
    for (const struct setting *s = setting_first(); s != NULL; s = s->next) {
        if (!setting_is_text(s) || s->max == 0)
            continue;
        if (s->max >= SETTING_BYTES_MAX)
            fail_msg("%s: its row allows more than `set` does", s->name);
        longest = s->max > longest ? s->max : longest;
    }
    assert_true(longest > 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config_is_up_to_date),
        cmocka_unit_test(commands_are_up_to_date),
        cmocka_unit_test(paths_of_the_host_are_local),
        cmocka_unit_test(the_packaged_node_file_is_right),
        cmocka_unit_test(long_values_can_be_set),
    };
    features_register();
    features_set(features_all);
    features_check();
    return cmocka_run_group_tests_name("docs", tests, NULL, NULL);
}
