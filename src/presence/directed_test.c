#include "presence/directed.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "codec/xml_elem.h"
#include "home/jids.h"
#include "xmpp/stanza.h"
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#define ROOM "cave@conference.x.test"

static struct directed *d;

static void add(const char *jid, enum directed_kind kind)
{
    assert_int_equal(directed_add(&d, slice_of(jid), kind, NULL), OK);
}

/* Presence from there; codes: status codes of a room, NULL: it is no room's. */
static void hear(const char *from, enum stanza_type type, const char *codes)
{
    char content[256] = "";
    if (codes != NULL)
        snprintf(content, sizeof content,
                 "<x xmlns='http://jabber.org/protocol/muc#user'><item role='none'/>%s</x>", codes);
    struct stanza *st = stanza_make(STANZA_PRESENCE, type, slice_of(from), SLICE("a@x.test/b"),
                                    (slice){ 0 }, slice_of(content));
    directed_answer(&d, st, DIRECTED_USER, NULL);
    stanza_unref(&st);
}

#define OWN     "<status code='110'/>"
#define RENAMED "<status code='303'/>"
#define KICKED  "<status code='307'/>"

/* Checks the directed presence that is saved: of each address a line, rooms behind a space, or two
 * if it has entered them. NULL: empty. */
static void is(const char *lines)
{
    struct arena *tmp = arena_create(0);
    struct buf b, text;
    slice packed, jid;
    uint32_t bits;
    buf_init(&b, 4096);
    buf_init(&text, 4096);
    directed_save(d, &b, tmp);
    for (packed = buf_slice(&b); jids_next(&packed, &jid, &bits);)
        buf_printf(&text, "%s%s%.*s\n", (bits & DIRECTED_IS_ROOM) != 0 ? " " : "",
                   (bits & DIRECTED_ENTERED) != 0 ? " " : "", SLICE_ARG(jid));
    assert_true(slice_is(buf_slice(&text), lines == NULL ? "" : lines));
    assert_int_equal(d == NULL, lines == NULL); /* an empty list takes no memory */
    buf_fini(&b);
    buf_fini(&text);
    arena_destroy(&tmp);
}

/* RFC 6121 §4.6.3 */
static void test_users(void **state)
{
    (void)state;
    add("b@x.test/one", DIRECTED_USER);
    add("b@x.test/one", DIRECTED_USER);
    is("b@x.test/one\n");
    add("b@x.test/two", DIRECTED_USER);
    add("b@x.test", DIRECTED_USER);
    assert_int_equal(d->count, 3);
    assert_true(directed_has(d, SLICE("b@x.test")));
    assert_false(directed_has(d, SLICE("b@x.tes")));
    assert_true(directed_reaches(d, SLICE("b@x.test/three"))); /* by the bare JID */
    hear("b@x.test/three", TYPE_UNAVAILABLE, NULL);
    hear("b@x.test/one", TYPE_AVAILABLE, NULL);
    assert_int_equal(d->count, 3);
    hear("b@x.test/one", TYPE_UNAVAILABLE, NULL);
    hear("b@x.test", TYPE_ERROR, NULL);
    is("b@x.test/two\n");
    assert_true(directed_reaches(d, SLICE("b@x.test/two")));
    assert_true(directed_reaches(d, SLICE("b@x.test")));
    assert_false(directed_reaches(d, SLICE("b@x.test/three")));
    assert_false(directed_reaches(d, SLICE("b@x.tes/two")));
    directed_remove(&d, SLICE("b@x.test/two"), NULL);
    is(NULL);
}

/* XEP-0045 §7.2.8, §7.6, §7.14, §8.2, §9.1, §10.9: each way out of a room, by each nickname. */
static void test_rooms(void **state)
{
    static const struct {
        const char *from, *codes;
        enum stanza_type type;
        const char *left;
    } of[] = {
        { ROOM "/a", NULL, TYPE_UNAVAILABLE, NULL },
        { ROOM "/a", OWN, TYPE_UNAVAILABLE, NULL },
        { ROOM "/a", KICKED OWN, TYPE_UNAVAILABLE, NULL },
        { ROOM "/old", KICKED OWN, TYPE_UNAVAILABLE, NULL },
        { ROOM "/a", RENAMED OWN, TYPE_UNAVAILABLE, "  " ROOM "/a\n" },
        { ROOM "/other", NULL, TYPE_UNAVAILABLE, "  " ROOM "/a\n" },
        { ROOM "/other", KICKED, TYPE_UNAVAILABLE, "  " ROOM "/a\n" },
        { ROOM "/new", NULL, TYPE_ERROR, "  " ROOM "/a\n" }, /* that nickname is refused */
        { ROOM "/a", NULL, TYPE_ERROR, "  " ROOM "/a\n" },
        { ROOM "/b", OWN, TYPE_AVAILABLE, "  " ROOM "/b\n" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        add(ROOM "/a", DIRECTED_ROOM);
        is(" " ROOM "/a\n");
        hear(ROOM "/a", TYPE_AVAILABLE, OWN);
        hear(ROOM "/b", TYPE_AVAILABLE, "");
        add(ROOM "/new", DIRECTED_USER); /* a change of nickname does not say what a room is */
        add(ROOM, DIRECTED_USER);
        is("  " ROOM "/a\n");
        hear(of[i].from, of[i].type, of[i].codes);
        is(of[i].left);
        directed_free(&d);
    }
    add(ROOM "/a", DIRECTED_ROOM);
    add(ROOM "/b", DIRECTED_ROOM); /* another try */
    hear(ROOM "/a", TYPE_ERROR, NULL);
    is(" " ROOM "/b\n");
    hear(ROOM "/b", TYPE_ERROR, NULL);
    is(NULL);
    add(ROOM "/a", DIRECTED_ROOM);
    directed_remove(&d, SLICE(ROOM "/whatever"), NULL);
    is(NULL);
}

/* The room's word counts even where it crossed with a kick; that of a user does not. */
static void test_a_room_that_nobody_knows(void **state)
{
    (void)state;
    hear(ROOM "/a", TYPE_AVAILABLE, OWN);
    is(NULL);
    struct stanza *st = stanza_make(
        STANZA_PRESENCE, TYPE_AVAILABLE, SLICE(ROOM "/a"), SLICE("a@x.test/b"), (slice){ 0 },
        SLICE("<x xmlns='http://jabber.org/protocol/muc#user'>" OWN "</x>"));
    directed_answer(&d, st, DIRECTED_ROOM, NULL);
    is("  " ROOM "/a\n");
    stanza_unref(&st);
    directed_free(&d);
    add("b@x.test/one", DIRECTED_USER);
    hear("b@x.test/two", TYPE_AVAILABLE, OWN);
    is("b@x.test/one\n");
    directed_free(&d);
}

/* The addresses that directed_news has told of, less those that are gone. */
static char told[256];

static void tell(void *arg, slice jid, bool there)
{
    char line[64];
    (void)arg;
    snprintf(line, sizeof line, "%.*s\n", SLICE_ARG(jid));
    char *at = strstr(told, line);
    assert_true((at != NULL) == !there);
    if (there)
        snprintf(told + strlen(told), sizeof told - strlen(told), "%s", line);
    else
        memmove(at, at + strlen(line), strlen(at + strlen(line)) + 1);
}

static void test_news(void **state)
{
    (void)state;
    const struct directed_news news = { tell, NULL };
    struct stanza *said = stanza_make(
        STANZA_PRESENCE, TYPE_AVAILABLE, SLICE(ROOM "/c"), SLICE("a@x.test/b"), (slice){ 0 },
        SLICE("<x xmlns='http://jabber.org/protocol/muc#user'>" OWN "</x>"));
    struct stanza *refused = stanza_make(STANZA_PRESENCE, TYPE_ERROR, SLICE("b@x.test/one"),
                                         SLICE("a@x.test/b"), (slice){ 0 }, (slice){ 0 });
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(directed_add(&d, SLICE("b@x.test/one"), DIRECTED_USER, &news), OK);
        assert_int_equal(directed_add(&d, SLICE("b@x.test/two"), DIRECTED_USER, &news), OK);
        assert_int_equal(directed_add(&d, SLICE(ROOM "/a"), DIRECTED_ROOM, &news), OK);
        assert_string_equal(told, "b@x.test/one\nb@x.test/two\n" ROOM "/a\n");
    }
    assert_int_equal(directed_add(&d, SLICE(ROOM "/b"), DIRECTED_ROOM, &news), OK);
    assert_string_equal(told, "b@x.test/one\nb@x.test/two\n" ROOM "/b\n");
    directed_answer(&d, said, DIRECTED_ROOM, &news);
    directed_answer(&d, refused, DIRECTED_USER, &news);
    assert_string_equal(told, "b@x.test/two\n" ROOM "/c\n");
    directed_remove(&d, SLICE(ROOM "/whatever"), &news);
    directed_remove(&d, SLICE("b@x.test/two"), &news);
    assert_string_equal(told, "");
    is(NULL);
    stanza_unref(&said);
    stanza_unref(&refused);
}

static void test_limit_and_bytes(void **state)
{
    enum { MANY = 4096 };
    char jid[64];
    (void)state;
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < MANY; i++) {
        snprintf(jid, sizeof jid, "room%04d@conference.x.test/nick", i);
        add(jid, DIRECTED_ROOM);
    }
    size_t used = mallinfo2().uordblks - before; /* 0: another allocator counts, of a sanitizer */
    assert_in_range(used / MANY, 0, 160);
    assert_int_equal(directed_add(&d, SLICE("one@x.test/more"), DIRECTED_USER, NULL), E_LIMIT);
    add("room0000@conference.x.test/other", DIRECTED_ROOM);
    add("room0000@conference.x.test", DIRECTED_ROOM);
    hear("room0001@conference.x.test/nick", TYPE_UNAVAILABLE, OWN);
    add("one@x.test/more", DIRECTED_USER);
    directed_free(&d);
    assert_int_equal(directed_add(&d, SLICE("one@x.test/more"), DIRECTED_USER, NULL), OK);
    directed_free(&d);
}

/* A place with few addresses has a list, one with many a map, too. */
static void test_many_of_one_address(void **state)
{
    enum { MANY = 300 };
    char jid[64], text[JID_MAX];
    unsigned seen = 0;
    slice to;
    (void)state;
    for (int round = 0; round < 2; round++) {
        add("b@x.test", DIRECTED_USER);
        for (int i = 0; i < MANY * 2; i++) {
            snprintf(jid, sizeof jid, "b@x.test/%d", i % MANY);
            add(jid, DIRECTED_USER);
        }
        assert_int_equal(d->count, MANY + 1);
        directed_remove(&d, SLICE("b@x.test"), NULL);
        assert_false(directed_reaches(d, SLICE("b@x.test/300")));
        for (int i = 0; i < MANY; i++) { /* from the middle, the end and the beginning */
            snprintf(jid, sizeof jid, "b@x.test/%d", i * 7 % MANY);
            assert_true(directed_reaches(d, slice_of(jid)));
            if (i % 2 == 0)
                directed_remove(&d, slice_of(jid), NULL);
            else
                hear(jid, TYPE_UNAVAILABLE, NULL);
            assert_false(d != NULL && directed_reaches(d, slice_of(jid)));
            assert_int_equal(d == NULL ? 0 : d->count, MANY - 1 - i);
        }
        assert_null(d);
    }
    for (int i = 0; i < MANY; i++) {
        snprintf(jid, sizeof jid, ROOM "/%d", i);
        add(jid, DIRECTED_USER);
    }
    for (struct directed_at at = { 0 }; directed_next(d, &at, text, &to); seen++)
        if (seen % 2 == 0)
            directed_remove(&d, to, NULL);
    assert_int_equal(seen, MANY);
    assert_int_equal(d->count, MANY / 2);
    add(ROOM "/a", DIRECTED_ROOM); /* it is known to be a room now */
    is(" " ROOM "/a\n");
    directed_free(&d);
}

static bool is_even(slice jid) { return (jid.ptr[4] - '0') % 2 == 0; }

static void test_some_go_while_walked(void **state)
{
    char jid[64], text[JID_MAX];
    unsigned seen = 0;
    slice to;
    (void)state;
    for (int i = 0; i < 10; i++) {
        snprintf(jid, sizeof jid, "user%d@x.test/%d", i / 2 * 2 + i % 2, i);
        add(jid, i % 3 == 0 ? DIRECTED_ROOM : DIRECTED_USER);
        snprintf(jid, sizeof jid, "user%d@x.test", i);
        add(jid, DIRECTED_USER);
    }
    uint32_t count = d->count;
    for (struct directed_at at = { 0 }; directed_next(d, &at, text, &to); seen++)
        if (is_even(to))
            directed_remove(&d, to, NULL);
    assert_int_equal(seen, count);
    for (struct directed_at at = { 0 }; directed_next(d, &at, text, &to);) {
        assert_false(is_even(to));
        directed_remove(&d, to, NULL);
    }
    assert_null(d);
}

static void test_saved(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 4096);
    jids_add(&b, SLICE("b@x.test/one"), 0);
    jids_add(&b, SLICE(ROOM "/a"), DIRECTED_IS_ROOM | DIRECTED_ENTERED);
    directed_load(&d, buf_slice(&b));
    assert_int_equal(d->count, 2);
    hear("b@x.test/one", TYPE_UNAVAILABLE, NULL);
    is("  " ROOM "/a\n");
    directed_free(&d);
    directed_load(&d, SLICE(""));
    is(NULL);
    buf_fini(&b);
}

/* Always in the same order, however they came. */
static void test_saved_in_order(void **state)
{
    struct arena *tmp = arena_create(0);
    struct buf once, again;
    char jid[64];
    (void)state;
    buf_init(&once, 1 << 16);
    buf_init(&again, 1 << 16);
    for (int i = 0; i < 200; i++) {
        snprintf(jid, sizeof jid, "user%d@x.test/%d", i * 7 % 50, i);
        add(jid, DIRECTED_USER);
    }
    directed_save(d, &once, tmp);
    directed_free(&d);
    directed_load(&d, buf_slice(&once));
    assert_int_equal(d->count, 200);
    directed_save(d, &again, tmp);
    assert_true(slice_eq(buf_slice(&once), buf_slice(&again)));
    directed_free(&d);
    buf_fini(&once);
    buf_fini(&again);
    arena_destroy(&tmp);
}

static void test_what_it_takes_is_counted(void **state)
{
    (void)state;
    add("b@x.test", DIRECTED_USER);
    uint64_t one = d->bytes;
    assert_true(one > strlen("b@x.test"));
    add("b@x.test/one", DIRECTED_USER);
    add(ROOM "/a", DIRECTED_ROOM);
    uint64_t all = d->bytes;
    directed_keeps(d, SLICE(ROOM "/a"), 1000);
    directed_keeps(d, SLICE(ROOM "/b"), 3000); /* the next presence, in place of the last */
    assert_int_equal(d->bytes, all + 3000);
    directed_keeps(d, SLICE("b@x.test"), 3000);   /* nobody keeps it there */
    directed_keeps(d, SLICE("c@x.test/a"), 3000); /* nor where it is not */
    assert_int_equal(d->bytes, all + 3000);
    hear(ROOM "/newname", TYPE_AVAILABLE, OWN);
    assert_int_equal(d->bytes, all + 3000 + strlen("newname") - strlen("a"));
    directed_remove(&d, SLICE(ROOM "/newname"), NULL);
    directed_remove(&d, SLICE("b@x.test/one"), NULL);
    assert_int_equal(d->bytes, one);
    directed_free(&d);
}

int main(void)
{
    setting_reset(&directed_max);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_users),
        cmocka_unit_test(test_rooms),
        cmocka_unit_test(test_a_room_that_nobody_knows),
        cmocka_unit_test(test_news),
        cmocka_unit_test(test_limit_and_bytes),
        cmocka_unit_test(test_many_of_one_address),
        cmocka_unit_test(test_some_go_while_walked),
        cmocka_unit_test(test_saved),
        cmocka_unit_test(test_saved_in_order),
        cmocka_unit_test(test_what_it_takes_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
