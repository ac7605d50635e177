/* home/messages.txt holds what messages between nodes are made of, so that two releases understand
 * each other: the format, ids, names, fields and their order, types and maxima, and the numbers of
 * enums. `make messages` accepts additions at an end, and refuses all other changes.
 *
 * A message that no release sends any more is retired: its lines in the file are replaced by
 * `message N -`, and no other message gets the id N. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/features.h"
#include "base/buf.h"
#include "core/feature.h"
#include "core/gate.h"
#include "home/fan.h"
#include "home/message.h"
#include "home/message_wire.h"
#include "home/remote.h"
#include "muc/muc.h"
#include "presence/roster_out.h"
#include "pubsub/pubsub_config.h"
#include "xmpp/muc.h"
#include "xmpp/stanza_error.h"
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WIRE_FILE "src/home/messages.txt"
enum { WIRE_BYTES_MAX = 1 << 20, PATH_BYTES = 64 };

static const char *const types[] = {
    [MF_BOOL] = "bool",    [MF_U8] = "u8",       [MF_U32] = "u32",   [MF_U64] = "u64",
    [MF_I64] = "i64",      [MF_BYTES] = "bytes", [MF_TEXT] = "text", [MF_BARE] = "bare",
    [MF_FULL] = "full",    [MF_JID] = "jid",     [MF_JIDS] = "jids", [MF_TEXTS] = "texts",
    [MF_STANZA] = "stanza"
};

/* Lines. */

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

/* Values of enums that travel. One that is missing here is an error of the compiler. */

#define NAME(value)                                                                                \
    case value:                                                                                    \
        return #value

static const char *message_part_value(int n)
{
    switch ((enum message_part)n) {
        NAME(PART_ALONE);
        NAME(PART_QUESTION);
        NAME(PART_ANSWER);
    }
    return NULL;
}

static const char *remote_change_value(int n)
{
    switch ((enum remote_change)n) {
        NAME(REMOTE_UP);
        NAME(REMOTE_DOWN);
    }
    return NULL;
}

static const char *up_kind_value(int n)
{
    switch ((enum up_kind)n) {
        NAME(UP_STANZA);
        NAME(UP_ACK);
        NAME(UP_REQUEST);
        NAME(UP_ENABLE);
        NAME(UP_WRITTEN);
        NAME(UP_SLOW);
        NAME(UP_OUTPUT);
        NAME(UP_NONZA);
        NAME(UP_GONE);
    }
    return NULL;
}

static const char *down_kind_value(int n)
{
    switch ((enum down_kind)n) {
        NAME(DOWN_BOUND);
        NAME(DOWN_REFUSED);
        NAME(DOWN_STANZA);
        NAME(DOWN_ACK);
        NAME(DOWN_REQUEST);
        NAME(DOWN_ENABLED);
        NAME(DOWN_RESUMED);
        NAME(DOWN_NOT_RESUMED);
        NAME(DOWN_HOLD);
        NAME(DOWN_RELEASE);
        NAME(DOWN_CHARGE);
        NAME(DOWN_CLOSE);
        NAME(DOWN_MOVED);
    }
    return NULL;
}

static const char *session_end_value(int n)
{
    switch ((enum session_end)n) {
        NAME(END_CLOSED);
        NAME(END_LOST);
        NAME(END_REPLACED);
        NAME(END_KICKED);
        NAME(END_PASSWORD);
        NAME(END_REMOVED);
        NAME(END_DISABLED);
        NAME(END_REVOKED);
        NAME(END_BAD_ACK);
        NAME(END_SLOW);
        NAME(END_EXPIRED);
        NAME(END_FULL);
        NAME(END_SHUTDOWN);
    }
    return NULL;
}

static const char *roster_axis_value(int n)
{
    switch ((enum roster_axis)n) {
        NAME(AXIS_FORGET);
        NAME(AXIS_WISH);
        NAME(AXIS_GRANT);
    }
    return NULL;
}

static const char *sub_verb_value(int n)
{
    switch ((enum sub_verb)n) {
        NAME(SUB_SUBSCRIBE);
        NAME(SUB_SUBSCRIBED);
        NAME(SUB_UNSUBSCRIBE);
        NAME(SUB_UNSUBSCRIBED);
    case SUB_VERB_COUNT:
        break;
    }
    return NULL;
}

static const char *room_role_value(int n)
{
    switch ((enum room_role)n) {
        NAME(ROLE_NONE);
        NAME(ROLE_VISITOR);
        NAME(ROLE_PARTICIPANT);
        NAME(ROLE_MODERATOR);
    }
    return NULL;
}

static const char *ps_access_model_value(int n)
{
    switch ((enum ps_access_model)n) {
        NAME(PS_OPEN);
        NAME(PS_PRESENCE);
        NAME(PS_ROSTER);
        NAME(PS_AUTHORIZE);
        NAME(PS_WHITELIST);
    }
    return NULL;
}

static const char *fan_first_value(int n)
{
    switch ((enum fan_first)n) {
        NAME(FAN_EXPLICIT);
        NAME(FAN_PEP_EVENT);
        NAME(FAN_PEP_WANTED);
        NAME(FAN_ROOM_BOOKMARK);
        NAME(FAN_ROOM_HERE);
        NAME(FAN_ROOM_MENTION);
        NAME(FAN_ROOM_MESSAGE);
    }
    return NULL;
}

static const char *registered_value(int n)
{
    switch ((enum registered)n) {
        NAME(REGISTERED_NOT);
        NAME(REGISTERED);
    }
    return NULL;
}

static const char *verdict_of_room_value(int n)
{
    switch ((enum verdict_of_room)n) {
        NAME(ROOM_USED);
        NAME(ROOM_UNUSED);
        NAME(ROOM_STAYS);
    }
    return NULL;
}

#undef NAME

/* From 0; a new one is the last. */
static void write_enum(struct buf *out, const char *name, const char *(*value)(int))
{
    buf_printf(out, "enum %s\n", name);
    for (int n = 0; value(n) != NULL; n++)
        buf_printf(out, "    %d %s\n", n, value(n));
}

static void write_enums(struct buf *out)
{
    buf_lit(out, "enum err\n");
    for (enum err e = 0; e < ERR_COUNT; e++)
        buf_printf(out, "    %d %s\n", (int)e, err_name(e));
    buf_lit(out, "enum stanza_error\n");
    for (enum stanza_error e = SE_NONE + 1; e < STANZA_ERROR_COUNT; e++)
        buf_printf(out, "    %d %s\n", (int)e, stanza_error_name(e));
    write_enum(out, "message_part", message_part_value);
    write_enum(out, "remote_change", remote_change_value);
    write_enum(out, "up_kind", up_kind_value);
    write_enum(out, "down_kind", down_kind_value);
    write_enum(out, "session_end", session_end_value);
    write_enum(out, "roster_axis", roster_axis_value);
    write_enum(out, "sub_verb", sub_verb_value);
    write_enum(out, "room_role", room_role_value);
    write_enum(out, "ps_access_model", ps_access_model_value);
    write_enum(out, "registered", registered_value);
    write_enum(out, "verdict_of_room", verdict_of_room_value);
    for (int letter = 0; letter <= UCHAR_MAX; letter++) /* each a block: they have no order */
        if (fan_first_value(letter) != NULL)
            buf_printf(out, "fan %c %s\n", letter, fan_first_value(letter));
}

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

static const struct nonza *nonza_numbered(unsigned number)
{
    const struct nonza *found = NULL;
    FEATURES_EACH (f, nonzas)
        for (const struct nonza *n = f->nonzas; n->ns != NULL; n++) {
            if (n->number != number)
                continue;
            assert_null(found);
            found = n;
        }
    assert_non_null(found);
    return found;
}

/* A word up carries the number of a nonza: from 0; a new one is the last. */
static void write_nonzas(struct buf *out)
{
    unsigned count = 0;
    FEATURES_EACH (f, nonzas)
        for (const struct nonza *n = f->nonzas; n->ns != NULL; n++)
            count++;
    buf_lit(out, "nonzas\n");
    for (unsigned number = 0; number < count; number++) {
        const struct nonza *n = nonza_numbered(number);
        buf_printf(out, "    %u %s %s\n", number, n->ns, n->name);
    }
}

/* The id was retired, and stays so. */
static void write_retired(struct buf *out, uint32_t id, slice was)
{
    char head[32];
    slice parts;
    snprintf(head, sizeof head, "message %" PRIu32 " -", id);
    if (find_block(was, slice_of(head), &parts))
        buf_printf(out, "%s\n", head);
}

static void write_all(struct buf *out, slice was)
{
    buf_printf(out, "format %d\n", MESSAGE_FORMAT);
    for (uint32_t id = 0; id < MESSAGE_IDS; id++) {
        const struct message_row *row = message_find(id);
        if (row == NULL)
            write_retired(out, id, was);
        else if (row->scope == MESSAGE_CLUSTER)
            write_row(out, row);
    }
    write_nonzas(out);
    write_enums(out);
}

/* What it was. */

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
            buf_printf(problem, "%.*s is gone, or has another id or name: older releases have it",
                       SLICE_ARG(head));
            return false;
        }
        if (!block_agrees(head, &was, parts, problem))
            return false;
    }
    return true;
}

/* The file. */

/* false: it is missing or empty, or there is more than was read. */
static bool read_file(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "r");
    char *room = buf_reserve(out, WIRE_BYTES_MAX);
    if (file == NULL)
        return false;
    out->len = fread(room, 1, WIRE_BYTES_MAX, file);
    bool all = ferror(file) == 0 && out->len > 0 && out->len < WIRE_BYTES_MAX;
    fclose(file);
    return all;
}

/* All of it, or the file stays as it is. */
static bool write_file(const char *path, slice text)
{
    char fresh[PATH_BYTES];
    snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *file = fopen(fresh, "w");
    if (file == NULL)
        return false;
    bool done = fwrite(text.ptr, 1, text.len, file) == text.len;
    done = fclose(file) == 0 && done;
    return done && rename(fresh, path) == 0;
}

/* `accept`: writes the file, if older releases understand what it says then. */
static bool accept_rows(const char *path)
{
    struct buf was, is, problem;
    buf_init(&was, WIRE_BYTES_MAX);
    buf_init(&is, WIRE_BYTES_MAX);
    buf_init(&problem, WIRE_BYTES_MAX);
    bool done = read_file(path, &was);
    if (!done)
        buf_printf(&problem, "%s is missing, empty or cannot be read: restore it", path);
    write_all(&is, buf_slice(&was));
    done = done && wire_agrees(buf_slice(&was), buf_slice(&is), &problem);
    if (!done)
        fprintf(stderr, "%.*s\n", SLICE_ARG(buf_slice(&problem)));
    else if (!(done = write_file(path, buf_slice(&is))))
        fprintf(stderr, "%s cannot be written: %s\n", path, strerror(errno));
    buf_fini(&was);
    buf_fini(&is);
    buf_fini(&problem);
    return done;
}

/* Tests. */

static void test_older_releases_understand(void **state)
{
    struct buf was, is, problem;
    (void)state;
    buf_init(&was, WIRE_BYTES_MAX);
    buf_init(&is, WIRE_BYTES_MAX);
    buf_init(&problem, WIRE_BYTES_MAX);
    assert_true(read_file(WIRE_FILE, &was));
    write_all(&is, buf_slice(&was));
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
    assert_wire(WAS "message 3 -\n", WAS "message 3 -\n", NULL);
    assert_wire(WAS "message 3 -\n", WAS "message 3 c\n", "message 3 - is gone");
    assert_wire("format 1\n", "format 2\n", "format 1 is gone");
    assert_wire("fan r A\nfan m B\n", "fan b C\nfan m B\nfan r A\n", NULL);
    assert_wire("fan r A\nfan m B\n", "fan m A\nfan r B\n", "fan r A is gone");
    assert_wire("enum e\n    0 ok\n    1 no\n", "enum e\n    0 ok\n    1 maybe\n    2 no\n",
                "enum e: found \"1 maybe\", older releases have \"1 no\"");
}

static int start(void **state)
{
    (void)state;
    features_register();
    features_set(features_all);
    return 0;
}

/* A file that is not there does not mean that older releases have nothing. */
/* They find its home wherever its slot is (home/slots.h). */
static void test_messages_to_an_account_have_a_slot(void **state)
{
    static const char *const names[] = { "route",      "up",     "ticket",          "bind",   "fan",
                                         "privileged", "charge", "account-created", "welcome" };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        uint32_t id = 0;
        while (id < MESSAGE_IDS &&
               (message_find(id) == NULL || strcmp(message_find(id)->name, names[i]) != 0))
            id++;
        assert_in_range(id, 1, MESSAGE_IDS - 1);
        if (message_find(id)->slot == NULL)
            fail_msg("the message %s has no slot", names[i]);
    }
}

static void test_accept_needs_the_file(void **state)
{
    char folder[] = "/tmp/muster-wire-XXXXXX", path[PATH_BYTES];
    struct buf text;
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/messages.txt", folder);
    buf_init(&text, WIRE_BYTES_MAX);
    assert_false(accept_rows(path));
    assert_false(read_file(path, &text));
    assert_true(write_file(path, SLICE("")));
    assert_false(accept_rows(path));
    assert_true(write_file(path, SLICE("message 255 -\n")));
    assert_true(accept_rows(path));
    assert_true(read_file(path, &text));
    assert_non_null(memmem(text.ptr, text.len, "\nmessage 255 -\n", 15)); /* it stays retired */
    assert_true(write_file(path, SLICE("message 1 -\n")));
    assert_false(accept_rows(path)); /* there is a row with that id */
    buf_fini(&text);
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_older_releases_understand),
        cmocka_unit_test(test_what_is_a_change),
        cmocka_unit_test(test_messages_to_an_account_have_a_slot),
        cmocka_unit_test(test_accept_needs_the_file),
    };
    if (argc == 2 && strcmp(argv[1], "accept") == 0) {
        features_register();
        features_set(features_all);
        return accept_rows(WIRE_FILE) ? 0 : 1;
    }
    return cmocka_run_group_tests(tests, start, NULL);
}
