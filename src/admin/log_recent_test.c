#include "admin/log_recent.h"
#include "base/arena.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct command_arg args[] = { COMMAND_LIMIT_ARG(LOG_RECENT_MAX, "how many"), { 0 } };

static void finished(struct command_call *call, void *arg)
{
    (void)call;
    *(bool *)arg = true;
}

static void add(struct command_call *call, const char *time, const char *node, const char *line)
{
    command_row(call);
    command_text(call, "time", slice_of(time));
    command_text(call, "node", slice_of(node));
    command_text(call, "text", slice_of(line));
    command_text(call, "line", slice_of(line));
}

/* Two nodes are one process, the third is another one. */
static void lines_of_all_nodes_are_merged_by_time(void **state)
{
    struct command c = { .name = "log list",
                         .args = args,
                         .runs_at = COMMAND_EACH,
                         .columns = log_recent_columns,
                         .parts = log_recent_parts };
    bool ended = false;
    struct command_call call = {
        .command = &c, .arena = arena_create(0), .finished = finished, .arg = &ended, .part = true
    };
    (void)state;
    call.tail = &call.rows;
    add(&call, "2026-01-01T00:00:03Z", "two", "a-3");
    add(&call, "2026-01-01T00:00:01Z", "two", "a-1");
    add(&call, "2026-01-01T00:00:02Z", "three", "b-1");
    add(&call, "2026-01-01T00:00:01Z", "one", "a-1");
    add(&call, "2026-01-01T00:00:03Z", "one", "a-3");
    call.part = false;
    call.args[0] = SLICE("2");
    call.values[0] = 2;
    log_recent_gathered(&call);
    assert_true(ended && call.err == OK);
    const struct command_row *r = call.rows;
    assert_true(slice_is(command_row_text(r, "node"), "three"));
    assert_true(slice_is(command_row_text(r, "text"), "b-1"));
    r = r->next;
    assert_true(slice_is(command_row_text(r, "node"), "one"));
    assert_true(slice_is(command_row_text(r, "text"), "a-3") && r->next == NULL);
    arena_destroy(&call.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(lines_of_all_nodes_are_merged_by_time) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
