#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct item {
    int number;
    struct list link;
};

static int number_of(struct list *node) { return CONTAINER_OF(node, struct item, link)->number; }

static void keeps_order(void **state)
{
    (void)state;
    struct list head;
    struct item items[4] = { { .number = 0 }, { .number = 1 }, { .number = 2 }, { .number = 3 } };
    list_init(&head);
    assert_true(list_empty(&head));
    list_append(&head, &items[2].link);
    list_append(&head, &items[3].link);
    list_prepend(&head, &items[0].link);
    list_insert_before(&items[2].link, &items[1].link);
    int expected = 0;
    LIST_EACH (it, &head)
        assert_int_equal(number_of(it), expected++);
    assert_int_equal(expected, 4);
}

static void each_may_remove_itself(void **state)
{
    (void)state;
    struct list head;
    struct item items[4] = { { .number = 0 }, { .number = 1 }, { .number = 2 }, { .number = 3 } };
    list_init(&head);
    for (int i = 0; i < 4; i++)
        list_append(&head, &items[i].link);
    LIST_EACH (it, &head) {
        if (number_of(it) % 2 == 0)
            list_remove(it);
    }
    assert_false(list_linked(&items[0].link));
    assert_true(list_linked(&items[1].link));
    list_remove(&items[0].link); /* again: nothing happens */
    assert_int_equal(number_of(list_pop(&head)), 1);
    assert_int_equal(number_of(list_pop(&head)), 3);
    assert_null(list_pop(&head));
    assert_true(list_empty(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order),
        cmocka_unit_test(each_may_remove_itself),
    };
    return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
