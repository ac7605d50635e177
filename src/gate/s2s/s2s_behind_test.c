#include "base/ensure.h"
#include "gate/s2s/s2s_behind.h"
#include "gate/s2s/s2s_unacked.h"
#include "xmpp/stanza.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { CONNECTIONS = 4 };
static const char alice[] = "alice@one.test/1", other[] = "alice@one.test/2", bob[] = "bob@b.test";

static struct stanza *from_to(const char *from, const char *to)
{
    return stanza_make(STANZA_PRESENCE, TYPE_UNAVAILABLE, slice_of(from), slice_of(to),
                       (slice){ 0 }, (slice){ 0 });
}

static bool has(const struct s2s_behind *b, const char *from, const char *to)
{
    struct stanza *st = from_to(from, to);
    bool found = s2s_behind_has(b, st, CONNECTIONS);
    stanza_unref(&st);
    return found;
}

static bool is(const struct s2s_behind *b, const char *from, uint64_t entry)
{
    struct stanza *st = from_to(from, bob);
    bool found = s2s_behind_is(b, st, entry);
    stanza_unref(&st);
    return found;
}

static bool add(struct s2s_behind *b, const char *from, const char *to, uint64_t entry)
{
    struct stanza *st = from_to(from, to);
    bool full = s2s_behind_is_full(b, st);
    if (!full)
        s2s_behind_add(b, st, entry);
    stanza_unref(&st);
    return !full;
}

static bool keep(struct s2s_behind *b, const char *from, uint64_t mark)
{
    struct stanza *st = from_to(from, bob);
    bool kept = s2s_behind_keeps(b, &(struct s2s_sent){ .st = st, .at_us = mark }, 5);
    if (!kept)
        stanza_unref(&st);
    return kept;
}

static void take(struct s2s_behind *b, uint64_t mark)
{
    struct s2s_sent s = s2s_behind_take(b);
    assert_int_equal(s.at_us, mark);
    stanza_unref(&s.st);
}

/* Older ones of the pair go before the inbox. */
static void a_pair_is_behind_from_its_first_message_on(void **state)
{
    struct s2s_behind b;
    (void)state;
    s2s_behind_init(&b);
    assert_false(has(&b, alice, bob) || is(&b, alice, 9));
    assert_true(add(&b, alice, bob, 7) && add(&b, alice, bob, 9));
    assert_true(has(&b, alice, bob) && has(&b, alice, "bob@b.test/any"));
    assert_false(has(&b, other, bob) || has(&b, alice, "carol@b.test"));
    assert_true(is(&b, alice, 7) && is(&b, alice, 9));
    assert_false(is(&b, alice, 6) || is(&b, other, 9) || s2s_behind_is(&b, NULL, 9));
    s2s_behind_ends(&b);
    assert_false(has(&b, alice, bob) || is(&b, alice, 9));
    s2s_behind_fini(&b);
}

static void an_address_that_writes_to_itself_is_a_pair(void **state)
{
    struct s2s_behind b;
    (void)state;
    s2s_behind_init(&b);
    assert_true(add(&b, bob, bob, 1));
    assert_true(has(&b, bob, bob));
    assert_false(has(&b, alice, "alice@one.test/1"));
    s2s_behind_fini(&b);
}

static void all_pairs_of_a_share_may_be_behind(void **state)
{
    struct s2s_behind b;
    (void)state;
    s2s_behind_init(&b);
    struct stanza *st = from_to(alice, bob);
    unsigned share = outgoing_share_of(st, CONNECTIONS);
    stanza_unref(&st);
    b.shares = (uint16_t)(1u << (share + 1) % CONNECTIONS);
    assert_false(has(&b, alice, bob));
    b.shares = (uint16_t)(1u << share);
    assert_true(has(&b, alice, bob));
    assert_true(keep(&b, alice, 1));
    assert_false(is(&b, alice, UINT64_MAX - 1)); /* where its messages are is not known here */
    take(&b, 1);
    s2s_behind_ends(&b);
    assert_false(has(&b, alice, bob));
    s2s_behind_fini(&b);
}

/* A farewell that is kept goes to the next inbox, and the message behind it goes behind that inbox.
 * A second farewell would have to go behind both, so it is not kept. */
static void a_message_behind_what_is_kept_is_behind_the_next_inbox(void **state)
{
    struct s2s_behind b;
    (void)state;
    s2s_behind_init(&b);
    assert_true(add(&b, alice, bob, 7) && add(&b, other, bob, 8));
    assert_true(keep(&b, alice, 1) && keep(&b, other, 2) && keep(&b, alice, 3));
    assert_int_equal(b.version, 5);
    assert_true(add(&b, alice, bob, 9) && add(&b, alice, bob, 10));
    assert_false(keep(&b, alice, 4));
    for (uint64_t mark = 1; mark <= 3; mark++)
        take(&b, mark);
    s2s_behind_ends(&b);
    assert_true(is(&b, alice, 9) && is(&b, alice, 10));
    assert_false(is(&b, alice, 8) || has(&b, other, bob));
    s2s_behind_clear(&b);
    assert_false(has(&b, alice, bob) || is(&b, alice, 9));
    assert_true(add(&b, alice, bob, 11) && keep(&b, alice, 4));
    s2s_behind_fini(&b); /* with one that is kept */
}

static void what_is_kept_keeps_its_order(void **state)
{
    struct s2s_behind b;
    uint64_t came = 0, gone = 0;
    (void)state;
    s2s_behind_init(&b);
    assert_true(add(&b, alice, bob, 1));
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < 7; i++)
            assert_true(keep(&b, alice, came++));
        for (unsigned i = 0; i < 5; i++)
            take(&b, gone++);
    }
    while (b.count > 0)
        take(&b, gone++);
    assert_int_equal(gone, came);
    s2s_behind_fini(&b);
}

static void pairs_are_bounded(void **state)
{
    struct s2s_behind b;
    char to[32];
    (void)state;
    s2s_behind_init(&b);
    for (unsigned i = 0; i < BEHIND_MAX; i++) {
        snprintf(to, sizeof to, "u%u@b.test", i);
        assert_true(add(&b, alice, to, 1 + i));
    }
    assert_false(add(&b, alice, bob, 1) || keep(&b, alice, 1));
    assert_true(add(&b, alice, to, BEHIND_MAX + 1)); /* that pair is known */
    s2s_behind_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pair_is_behind_from_its_first_message_on),
        cmocka_unit_test(an_address_that_writes_to_itself_is_a_pair),
        cmocka_unit_test(all_pairs_of_a_share_may_be_behind),
        cmocka_unit_test(a_message_behind_what_is_kept_is_behind_the_next_inbox),
        cmocka_unit_test(what_is_kept_keeps_its_order),
        cmocka_unit_test(pairs_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
