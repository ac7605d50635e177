#include "app/docs.h"
#include "app/features.h"
#include "app/node_file.h"
#include "base/buf.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config_is_up_to_date),
        cmocka_unit_test(commands_are_up_to_date),
        cmocka_unit_test(the_packaged_node_file_is_right),
    };
    features_register();
    return cmocka_run_group_tests_name("docs", tests, NULL, NULL);
}
