/* test/messages.txt holds what messages between nodes are made of, so that two releases understand
 * each other: ids, names, fields and their order, types and maxima, and the numbers of errors. What
 * was added at an end is accepted by `make messages`; what is changed elsewhere is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/features.h"
#include "base/buf.h"
#include "home/message.h"
#include "im/feature.h"
#include "xmpp/stanza_error.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define WIRE_FILE "test/messages.txt"
enum { WIRE_BYTES_MAX = 1 << 20 };

static const char *const types[] = {
    [MF_BOOL] = "bool", [MF_U8] = "u8",       [MF_U32] = "u32",     [MF_U64] = "u64",
    [MF_I64] = "i64",   [MF_BYTES] = "bytes", [MF_TEXT] = "text",   [MF_BARE] = "bare",
    [MF_FULL] = "full", [MF_JIDS] = "jids",   [MF_TEXTS] = "texts", [MF_STANZA] = "stanza"
};

/* What the rows say: blocks of a line, and a line more for each part, set in. */

static bool has_maximum(enum field_type type)
{
    return type == MF_U8 || type == MF_U32 || type == MF_BYTES || type == MF_TEXT ||
           type == MF_TEXTS;
}

static void write_row(struct buf *out, const struct message_row *row)
{
    buf_printf(out, "message %u %s\n", row->id, row->name);
    for (const struct message_field *f = row->fields; f->type != MF_END; f++) {
        buf_printf(out, "    %s %s%s", types[f->type], f->name, f->optional ? "" : " required");
        if (has_maximum(f->type))
            buf_printf(out, ", at most %" PRIu64, f->max);
        buf_lit(out, "\n");
    }
}

static void write_rows(struct buf *out)
{
    for (uint32_t id = 0; id < MESSAGE_IDS; id++) {
        const struct message_row *row = message_find(id);
        if (row != NULL && row->scope == MESSAGE_CLUSTER)
            write_row(out, row);
    }
    uint32_t number, count = 0; /* a word up carries the number of a nonza */
    buf_lit(out, "nonzas\n");
    FEATURES_EACH (each, nonzas)
        for (const struct nonza *n = each->nonzas; n->ns != NULL; n++, count++) {
            assert_true(nonza_find(slice_of(n->ns), slice_of(n->name), &number));
            assert_int_equal(number, count);
            buf_printf(out, "    %u %s %s\n", number, n->ns, n->name);
        }
    buf_lit(out, "enum err\n");
    for (enum err e = 0; e < ERR_COUNT; e++)
        buf_printf(out, "    %d %s\n", (int)e, err_name(e));
    buf_lit(out, "enum stanza_error\n");
    for (enum stanza_error e = SE_NONE + 1; e < STANZA_ERROR_COUNT; e++)
        buf_printf(out, "    %d %s\n", (int)e, stanza_error_name(e));
}

/* What it was. */

static slice next_line(slice *text)
{
    slice line = *text, rest;
    if (!slice_cut(*text, '\n', &line, &rest))
        rest = (slice){ 0 };
    *text = rest;
    return line;
}

static bool is_part(slice line) { return slice_starts(line, SLICE("    ")); }

/* The lines behind this one, from a line that is equal. false: there is none. */
static bool find_block(slice text, slice head, slice *parts)
{
    while (text.len > 0)
        if (slice_eq(next_line(&text), head)) {
            *parts = text;
            return true;
        }
    return false;
}

/* The same, or with a higher maximum: then only what is above it is refused by an older release. */
static bool part_agrees(slice was, slice is)
{
    static const char most[] = ", at most ";
    const char *a = memmem(was.ptr, was.len, most, sizeof most - 1);
    const char *b = memmem(is.ptr, is.len, most, sizeof most - 1);
    if (a == NULL || b == NULL)
        return slice_eq(was, is);
    size_t len = (size_t)(a - was.ptr) + sizeof most - 1;
    return len == (size_t)(b - is.ptr) + sizeof most - 1 && memcmp(was.ptr, is.ptr, len) == 0 &&
           strtoull(a + sizeof most - 1, NULL, 10) <= strtoull(b + sizeof most - 1, NULL, 10);
}

static bool block_agrees(slice head, slice *was, slice is, struct buf *problem)
{
    while (is_part(*was)) {
        slice old = next_line(was), now = is_part(is) ? next_line(&is) : SLICE("    nothing");
        if (part_agrees(old, now))
            continue;
        buf_printf(problem,
                   "%.*s: found \"%.*s\", older releases have \"%.*s\": nothing is removed or "
                   "changed, and what is new is added at the end",
                   SLICE_ARG(head), SLICE_ARG(slice_from(now, 4)), SLICE_ARG(slice_from(old, 4)));
        return false;
    }
    while (is_part(is)) {
        slice more = next_line(&is);
        if (memmem(more.ptr, more.len, " required", 9) == NULL)
            continue;
        buf_printf(problem, "%.*s: found new \"%.*s\": older releases do not send it",
                   SLICE_ARG(head), SLICE_ARG(slice_from(more, 4)));
        return false;
    }
    return true;
}

/* Whether a release with `was` understands one with `is`. */
static bool wire_agrees(slice was, slice is, struct buf *problem)
{
    while (was.len > 0) {
        slice head = next_line(&was), parts;
        if (!find_block(is, head, &parts)) {
            buf_printf(problem, "%.*s is gone, or has another id or name: older releases send it",
                       SLICE_ARG(head));
            return false;
        }
        if (!block_agrees(head, &was, parts, problem))
            return false;
    }
    return true;
}

static void read_file(struct buf *out)
{
    FILE *file = fopen(WIRE_FILE, "r");
    char *room = buf_reserve(out, WIRE_BYTES_MAX);
    if (file == NULL)
        return;
    out->len = fread(room, 1, WIRE_BYTES_MAX, file);
    fclose(file);
}

/* Tests. */

static void test_older_releases_understand(void **state)
{
    struct buf was, is, problem;
    (void)state;
    buf_init(&was, WIRE_BYTES_MAX);
    buf_init(&is, WIRE_BYTES_MAX);
    buf_init(&problem, WIRE_BYTES_MAX);
    read_file(&was);
    write_rows(&is);
    assert_true(was.len > 0);
    if (!wire_agrees(buf_slice(&was), buf_slice(&is), &problem))
        fail_msg("%.*s", SLICE_ARG(buf_slice(&problem)));
    if (!slice_eq(buf_slice(&was), buf_slice(&is)))
        fail_msg("%s", WIRE_FILE " has not all that the rows have: run `make messages`");
    buf_fini(&was);
    buf_fini(&is);
    buf_fini(&problem);
}

static void assert_wire(const char *was, const char *is, const char *expected)
{
    struct buf problem;
    buf_init(&problem, WIRE_BYTES_MAX);
    bool agrees = wire_agrees(slice_of(was), slice_of(is), &problem);
    assert_int_equal(agrees, expected == NULL);
    if (expected != NULL && memmem(problem.ptr, problem.len, expected, strlen(expected)) == NULL)
        fail_msg("\"%.*s\" has no \"%s\"", SLICE_ARG(buf_slice(&problem)), expected);
    buf_fini(&problem);
}

#define WAS "message 1 a\n    u8 x, at most 7\n    bare y required, at most 9\nmessage 2 b\n"

static void test_what_is_a_change(void **state)
{
    (void)state;
    assert_wire(WAS, WAS, NULL);
    assert_wire(WAS, WAS "message 3 c\n    bool z, at most 1\n", NULL);
    assert_wire(WAS, WAS "    bool z\n", NULL);
    assert_wire(WAS, WAS "    bare z required\n",
                "message 2 b: found new \"bare z required\": older releases do not send it");
    assert_wire(WAS,
                "message 1 a\n    u8 x, at most 8\n    bare y required, at most 9\n"
                "    u64 z, at most 1\nmessage 2 b\n",
                NULL);
    assert_wire(WAS,
                "message 1 a\n    u8 x, at most 6\n    bare y required, at most 9\nmessage 2 b\n",
                "message 1 a: found \"u8 x, at most 6\", older releases have \"u8 x, at most 7\"");
    assert_wire(WAS, "message 1 a\n    u8 x, at most 7\n    bare y, at most 9\nmessage 2 b\n",
                "found \"bare y, at most 9\"");
    assert_wire(WAS,
                "message 1 a\n    bare y required, at most 9\n    u8 x, at most 7\nmessage 2 b\n",
                "found \"bare y required");
    assert_wire(WAS, "message 1 a\n    u8 x, at most 7\nmessage 2 b\n", "found \"nothing\"");
    assert_wire(WAS,
                "message 1 a\n    u8 x, at most 7\n    bare y required, at most 9\nmessage 3 b\n",
                "message 2 b is gone");
    assert_wire("enum e\n    0 ok\n    1 no\n", "enum e\n    0 ok\n    1 maybe\n    2 no\n",
                "enum e: found \"1 maybe\", older releases have \"1 no\"");
}

static int start(void **state)
{
    (void)state;
    features_register();
    return 0;
}

/* `accept`: writes the file, if older releases understand what it says then. */
static int accept_rows(void)
{
    struct buf was, is, problem;
    FILE *file;
    buf_init(&was, WIRE_BYTES_MAX);
    buf_init(&is, WIRE_BYTES_MAX);
    buf_init(&problem, WIRE_BYTES_MAX);
    features_register();
    read_file(&was);
    write_rows(&is);
    bool done = wire_agrees(buf_slice(&was), buf_slice(&is), &problem);
    if (!done)
        fprintf(stderr, "%.*s\n", SLICE_ARG(buf_slice(&problem)));
    if (done && (file = fopen(WIRE_FILE, "w")) != NULL) {
        done = fwrite(is.ptr, 1, is.len, file) == is.len;
        done = fclose(file) == 0 && done;
    }
    buf_fini(&was);
    buf_fini(&is);
    buf_fini(&problem);
    return done ? 0 : 1;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_older_releases_understand),
        cmocka_unit_test(test_what_is_a_change),
    };
    if (argc == 2 && strcmp(argv[1], "accept") == 0)
        return accept_rows();
    return cmocka_run_group_tests(tests, start, NULL);
}
