#include "base/arena.h"
#include "base/buf.h"
#include "muc/archive/history.h"
#include "xmpp/stanza.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define ROOM SLICE("cave@conference.localhost")
static const struct history_ask all = { .stanzas = UINT32_MAX, .chars = UINT64_MAX };
static struct room_history h;

static int setup(void **state)
{
    (void)state;
    room_history_init(&h);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    room_history_fini(&h);
    return 0;
}

static void add(const char *xml, uint64_t id, uint32_t most)
{
    struct stanza *st =
        stanza_make(STANZA_MESSAGE, TYPE_GROUPCHAT, SLICE("cave@conference.localhost/nick"),
                    (slice){ 0 }, SLICE("i"), slice_of(xml));
    room_history_add(
        &h,
        &(struct room_post){
            .st = st, .sender = SLICE("x@localhost/r"), .id = id, .at_us = id * 1000000 },
        most, ROOM);
    stanza_unref(&st);
}

static void add_bodies(unsigned from, unsigned to, uint32_t most)
{
    for (unsigned i = from; i <= to; i++) {
        char body[64];
        snprintf(body, sizeof body, "<body>m%u</body>", i);
        add(body, i, most);
    }
}

/* The bodies, each with a space behind. */
static char seen[8192];

static void see(struct stanza *st, void *arg)
{
    struct arena *tmp = arena_create(0);
    slice body = stanza_child_text(st, KNOWN_BODY, tmp);
    size_t len = strlen(seen);
    (void)arg;
    assert_int_equal(st->to_len, 0);
    assert_true(stanza_has(st, KNOWN(DELAY)));
    snprintf(seen + len, sizeof seen - len, "%.*s ", SLICE_ARG(body));
    arena_destroy(&tmp);
}

static const char *asked(const struct history_ask *ask, uint32_t most)
{
    seen[0] = '\0';
    room_history_each(&h, ask, most, see, NULL);
    return seen;
}

static void the_last_are_kept(void **state)
{
    (void)state;
    assert_string_equal(asked(&all, 100), "");
    add_bodies(1, 40, 5);
    assert_string_equal(asked(&all, 100), "m36 m37 m38 m39 m40 ");
    assert_string_equal(asked(&all, 2), "m39 m40 ");
    add_bodies(41, 41, 3);
    assert_string_equal(asked(&all, 100), "m39 m40 m41 ");
    add_bodies(42, 42, 0);
    assert_string_equal(asked(&all, 0), "");
}

static void it_is_asked_for_by_number_time_and_size(void **state)
{
    (void)state;
    add_bodies(1, 10, 100);
    struct history_ask ask = all;
    ask.stanzas = 3;
    assert_string_equal(asked(&ask, 100), "m8 m9 m10 ");
    ask = all;
    ask.since_us = 9000000;
    assert_string_equal(asked(&ask, 100), "m9 m10 ");
    ask = all;
    ask.chars = 0;
    assert_string_equal(asked(&ask, 100), "");
    ask.chars = 1000;
    size_t some = strlen(asked(&ask, 100));
    assert_true(some > 0 && some < strlen(asked(&all, 100)));
}

static void measure(struct stanza *st, void *arg)
{
    size_t *sum = arg;
    struct buf b;
    buf_init(&b, 4096);
    stanza_store(&b, st);
    *sum += b.len;
    buf_fini(&b);
}

/* §7.2.14: as many stanzas as that number of characters holds, which is not one of bytes. */
static void sizes_are_exact(void **state)
{
    (void)state;
    struct history_ask ask = all;
    size_t sum = 0;
    add_bodies(1, 5, 100);
    ask.stanzas = 2;
    room_history_each(&h, &ask, 100, measure, &sum);
    ask = all;
    ask.chars = sum;
    assert_string_equal(asked(&ask, 100), "m4 m5 ");
    ask.chars = sum - 1;
    assert_string_equal(asked(&ask, 100), "m5 ");
    ask.chars = sum;
    ask.to = SLICE("b@x");
    assert_string_equal(asked(&ask, 100), "m5 ");
    ask.chars = sum + 2 * strlen(" to='b@x'");
    assert_string_equal(asked(&ask, 100), "m4 m5 ");
    add("<body>\xc3\xbc</body>", 6, 100);
    ask = all;
    ask.stanzas = 1;
    sum = 0;
    room_history_each(&h, &ask, 100, measure, &sum);
    ask.chars = sum - 1;
    assert_true(strlen(asked(&ask, 100)) > 0);
    ask.chars = sum - 2;
    assert_string_equal(asked(&ask, 100), "");
}

static void subjects_are_not_part_of_it(void **state)
{
    (void)state;
    add("<subject>s</subject>", 1, 10);
    assert_string_equal(asked(&all, 100), "");
    add("<subject>s</subject><body>b</body>", 2, 10);
    assert_string_equal(asked(&all, 100), "b ");
}

static void its_bytes_are_bounded(void **state)
{
    (void)state;
    static char big[100 * 1024];
    memset(big, 'x', sizeof big - 1);
    for (unsigned i = 0; i < 5; i++)
        add(big, i + 1, 100);
    assert_true(h.bytes <= HISTORY_BYTES && h.len == 2);
    static char huge[300 * 1024];
    memset(huge, 'x', sizeof huge - 1);
    add(huge, 9, 100);
    assert_int_equal(h.len, 1);
}

static void what_is_buried_has_a_tombstone(void **state)
{
    (void)state;
    add_bodies(1, 3, 10);
    slice tombstone = SLICE("<body>gone</body>");
    assert_false(room_history_bury(&h, 2, SLICE("y@localhost"), tombstone));
    assert_false(room_history_bury(&h, 7, SLICE("x@localhost"), tombstone));
    assert_false(room_history_bury(&h, 0, SLICE(""), tombstone));
    assert_true(room_history_bury(&h, 2, SLICE("x@localhost"), tombstone));
    assert_string_equal(asked(&all, 100), "m1 gone m3 ");
    assert_true(room_history_bury(&h, 3, SLICE(""), tombstone));
    assert_string_equal(asked(&all, 100), "m1 gone gone ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_last_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(it_is_asked_for_by_number_time_and_size, setup, teardown),
        cmocka_unit_test_setup_teardown(sizes_are_exact, setup, teardown),
        cmocka_unit_test_setup_teardown(subjects_are_not_part_of_it, setup, teardown),
        cmocka_unit_test_setup_teardown(its_bytes_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_buried_has_a_tombstone, setup, teardown),
    };
    return cmocka_run_group_tests_name("muc/history", tests, NULL, NULL);
}
