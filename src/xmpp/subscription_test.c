#include "xmpp/subscription.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* needs the three above */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* The tables of RFC 6121 Appendix A as they stand there: existing state, whether the stanza is
 * routed (outbound) or delivered (inbound), new state ("=": no state change). States are written N,
 * T, F, B for None, To, From, Both, with o and i for pending out and pending in. */
struct row {
    const char *from, *passed, *to;
};
struct table {
    const char *section;
    enum sub_dir dir;
    enum sub_verb verb;
    struct row rows[SUB_STATE_COUNT];
};

static const struct table tables[] = {
    { "A.2.1",
      SUB_OUT,
      SUB_SUBSCRIBE,
      { { "N", "MUST", "No" },
        { "No", "MUST", "=" },
        { "Ni", "MUST", "Noi" },
        { "Noi", "MUST", "=" },
        { "T", "MUST", "=" },
        { "Ti", "MUST", "=" },
        { "F", "MUST", "Fo" },
        { "Fo", "MUST", "=" },
        { "B", "MUST", "=" } } },
    { "A.2.2",
      SUB_OUT,
      SUB_UNSUBSCRIBE,
      { { "N", "MUST", "=" },
        { "No", "MUST", "N" },
        { "Ni", "MUST", "=" },
        { "Noi", "MUST", "Ni" },
        { "T", "MUST", "N" },
        { "Ti", "MUST", "Ni" },
        { "F", "MUST", "=" },
        { "Fo", "MUST", "F" },
        { "B", "MUST", "F" } } },
    { "A.2.3",
      SUB_OUT,
      SUB_SUBSCRIBED,
      { { "N", "MUST NOT", "=" },
        { "No", "MUST NOT", "=" },
        { "Ni", "MUST", "F" },
        { "Noi", "MUST", "Fo" },
        { "T", "MUST NOT", "=" },
        { "Ti", "MUST", "B" },
        { "F", "MUST NOT", "=" },
        { "Fo", "MUST NOT", "=" },
        { "B", "MUST NOT", "=" } } },
    { "A.2.4",
      SUB_OUT,
      SUB_UNSUBSCRIBED,
      { { "N", "MUST NOT", "=" },
        { "No", "MUST NOT", "=" },
        { "Ni", "MUST", "N" },
        { "Noi", "MUST", "No" },
        { "T", "MUST NOT", "=" },
        { "Ti", "MUST", "T" },
        { "F", "MUST", "N" },
        { "Fo", "MUST", "No" },
        { "B", "MUST", "T" } } },
    { "A.3.1",
      SUB_IN,
      SUB_SUBSCRIBE,
      { { "N", "MUST", "Ni" },
        { "No", "MUST", "Noi" },
        { "Ni", "MUST NOT", "=" },
        { "Noi", "MUST NOT", "=" },
        { "T", "MUST", "Ti" },
        { "Ti", "MUST NOT", "=" },
        { "F", "MUST NOT", "=" },
        { "Fo", "MUST NOT", "=" },
        { "B", "MUST NOT", "=" } } },
    { "A.3.2",
      SUB_IN,
      SUB_UNSUBSCRIBE,
      { { "N", "MUST NOT", "=" },
        { "No", "MUST NOT", "=" },
        { "Ni", "MUST", "N" },
        { "Noi", "MUST", "No" },
        { "T", "MUST NOT", "=" },
        { "Ti", "MUST", "T" },
        { "F", "MUST", "N" },
        { "Fo", "MUST", "No" },
        { "B", "MUST", "T" } } },
    { "A.3.3",
      SUB_IN,
      SUB_SUBSCRIBED,
      { { "N", "MUST NOT", "=" },
        { "No", "MUST", "T" },
        { "Ni", "MUST NOT", "=" },
        { "Noi", "MUST", "Ti" },
        { "T", "MUST NOT", "=" },
        { "Ti", "MUST NOT", "=" },
        { "F", "MUST NOT", "=" },
        { "Fo", "MUST", "B" },
        { "B", "MUST NOT", "=" } } },
    { "A.3.4",
      SUB_IN,
      SUB_UNSUBSCRIBED,
      { { "N", "MUST NOT", "=" },
        { "No", "MUST", "N" },
        { "Ni", "MUST NOT", "=" },
        { "Noi", "MUST", "Ni" },
        { "T", "MUST", "N" },
        { "Ti", "MUST", "Ni" },
        { "F", "MUST NOT", "=" },
        { "Fo", "MUST", "F" },
        { "B", "MUST", "F" } } },
};
enum { TABLES = sizeof tables / sizeof tables[0] };

static const char *const short_names[SUB_STATE_COUNT] = {
    [SUB_NONE] = "N",
    [SUB_NONE_PENDING_OUT] = "No",
    [SUB_NONE_PENDING_IN] = "Ni",
    [SUB_NONE_PENDING_OUT_IN] = "Noi",
    [SUB_TO] = "T",
    [SUB_TO_PENDING_IN] = "Ti",
    [SUB_FROM] = "F",
    [SUB_FROM_PENDING_OUT] = "Fo",
    [SUB_BOTH] = "B",
};

static enum sub_state named(const char *name)
{
    for (unsigned s = 0; s < SUB_STATE_COUNT; s++)
        if (strcmp(short_names[s], name) == 0)
            return (enum sub_state)s;
    fail_msg("%s: no such state", name);
    return SUB_NONE;
}

/* What clients see of a state: subscription and ask. */
static void seen(enum sub_state s, char out[16])
{
    snprintf(out, 16, "%s %d", sub_state_subscription(s), sub_state_ask(s));
}

static void check_row(const struct table *t, const struct row *row)
{
    enum sub_state from = named(row->from), to = row->to[0] == '=' ? from : named(row->to);
    struct sub_result r = sub_next(from, 0, t->verb, t->dir);
    uint32_t pass = t->dir == SUB_OUT ? SUB_ROUTE : SUB_DELIVER;
    bool passed = strcmp(row->passed, "MUST") == 0;
    if (r.state != to || ((r.actions & pass) != 0) != passed)
        fail_msg("%s %s: %s, actions %u", t->section, row->from, short_names[r.state], r.actions);
    /* the other direction's action never appears */
    assert_false(r.actions & (pass == SUB_ROUTE ? SUB_DELIVER : SUB_ROUTE));

    char before[16], after[16];
    seen(from, before);
    seen(to, after);
    bool noted = (r.actions & SUB_SET_PREAPPROVED) != 0;
    bool pushed = strcmp(before, after) != 0 || noted;
    if (((r.actions & SUB_PUSH) != 0) != pushed)
        fail_msg("%s %s: push", t->section, row->from);
    assert_int_equal((r.actions & SUB_SEND_PRESENCE) != 0, !sub_is_seen(from) && sub_is_seen(to));
    assert_int_equal((r.actions & SUB_SEND_UNAVAILABLE) != 0,
                     sub_is_seen(from) && !sub_is_seen(to));
}

static void follows_appendix_a(void **state)
{
    (void)state;
    for (unsigned t = 0; t < TABLES; t++) {
        unsigned seen_states = 0;
        for (unsigned i = 0; i < SUB_STATE_COUNT; i++) {
            check_row(&tables[t], &tables[t].rows[i]);
            seen_states |= 1U << named(tables[t].rows[i].from);
        }
        assert_int_equal(seen_states, (1U << SUB_STATE_COUNT) - 1); /* no row is missing */
    }
}

/* §3.1.3: who is subscribed already and asks again is answered on behalf of the owner */
static void confirms_what_was_granted(void **state)
{
    (void)state;
    for (unsigned s = 0; s < SUB_STATE_COUNT; s++) {
        struct sub_result r = sub_next((enum sub_state)s, 0, SUB_SUBSCRIBE, SUB_IN);
        assert_int_equal((r.actions & SUB_AUTO_SUBSCRIBED) != 0, sub_is_seen((enum sub_state)s));
    }
}

/* §3.4.2, row by row: what the states without a request do with `subscribed` */
static void notes_a_preapproval(void **state)
{
    (void)state;
    static const enum sub_state noting[] = { SUB_NONE, SUB_NONE_PENDING_OUT, SUB_TO };
    for (unsigned s = 0; s < SUB_STATE_COUNT; s++) {
        bool notes = false;
        for (unsigned i = 0; i < 3; i++)
            notes = notes || noting[i] == (enum sub_state)s;
        struct sub_result r = sub_next((enum sub_state)s, 0, SUB_SUBSCRIBED, SUB_OUT);
        assert_int_equal((r.actions & SUB_SET_PREAPPROVED) != 0, notes);
        if (notes) {
            assert_int_equal(r.actions, SUB_SET_PREAPPROVED | SUB_PUSH | SUB_CREATE);
            r = sub_next((enum sub_state)s, 1, SUB_SUBSCRIBED, SUB_OUT);
            assert_int_equal(r.actions, 0); /* noted already */
            assert_int_equal(r.state, s);
        }
    }
}

static void grants_what_was_preapproved(void **state)
{
    (void)state;
    static const enum sub_state rows[][2] = { { SUB_NONE, SUB_FROM },
                                              { SUB_NONE_PENDING_OUT, SUB_FROM_PENDING_OUT },
                                              { SUB_TO, SUB_BOTH } };
    for (unsigned i = 0; i < 3; i++) {
        struct sub_result r = sub_next(rows[i][0], 1, SUB_SUBSCRIBE, SUB_IN);
        assert_int_equal(r.state, rows[i][1]);
        assert_int_equal(r.actions, SUB_AUTO_SUBSCRIBED | SUB_PUSH | SUB_SEND_PRESENCE |
                                        SUB_CLEAR_PREAPPROVED);
    }
}

static void takes_a_preapproval_back(void **state)
{
    (void)state;
    for (unsigned s = 0; s < SUB_STATE_COUNT; s++) {
        struct sub_result with = sub_next((enum sub_state)s, 1, SUB_UNSUBSCRIBED, SUB_OUT);
        struct sub_result without = sub_next((enum sub_state)s, 0, SUB_UNSUBSCRIBED, SUB_OUT);
        assert_int_equal(with.state, without.state);
        assert_int_equal(with.actions, without.actions | SUB_CLEAR_PREAPPROVED | SUB_PUSH);
    }
}

/* Two servers that pass on what they are told to end in states that fit. */
static void two_sides_agree(void **state)
{
    (void)state;
    enum sub_state a = SUB_NONE, b = SUB_NONE;
    static const struct {
        bool from_a;
        enum sub_verb verb;
        enum sub_state a, b;
    } steps[] = {
        { true, SUB_SUBSCRIBE, SUB_NONE_PENDING_OUT, SUB_NONE_PENDING_IN },
        { false, SUB_SUBSCRIBED, SUB_TO, SUB_FROM },
        { false, SUB_SUBSCRIBE, SUB_TO_PENDING_IN, SUB_FROM_PENDING_OUT },
        { true, SUB_SUBSCRIBED, SUB_BOTH, SUB_BOTH },
        { true, SUB_UNSUBSCRIBE, SUB_FROM, SUB_TO },
        { true, SUB_UNSUBSCRIBED, SUB_NONE, SUB_NONE },
    };
    for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        enum sub_state *from = steps[i].from_a ? &a : &b, *to = steps[i].from_a ? &b : &a;
        struct sub_result out = sub_next(*from, 0, steps[i].verb, SUB_OUT);
        assert_true(out.actions & SUB_ROUTE);
        struct sub_result in = sub_next(*to, 0, steps[i].verb, SUB_IN);
        assert_true(in.actions & SUB_DELIVER);
        *from = out.state;
        *to = in.state;
        assert_int_equal(a, steps[i].a);
        assert_int_equal(b, steps[i].b);
    }
}

static void names_states_and_verbs(void **state)
{
    (void)state;
    assert_string_equal(sub_state_subscription(SUB_NONE_PENDING_OUT_IN), "none");
    assert_string_equal(sub_state_subscription(SUB_TO_PENDING_IN), "to");
    assert_string_equal(sub_state_subscription(SUB_FROM_PENDING_OUT), "from");
    assert_string_equal(sub_state_subscription(SUB_BOTH), "both");
    assert_true(sub_state_pending_in(SUB_TO_PENDING_IN) && !sub_state_pending_in(SUB_TO));
    assert_true(sub_sees(SUB_BOTH) && sub_sees(SUB_TO) && !sub_sees(SUB_FROM));
    assert_string_equal(sub_verb_name(SUB_SUBSCRIBE), "subscribe");
    assert_string_equal(sub_verb_name(SUB_SUBSCRIBED), "subscribed");
    assert_string_equal(sub_verb_name(SUB_UNSUBSCRIBE), "unsubscribe");
    assert_string_equal(sub_verb_name(SUB_UNSUBSCRIBED), "unsubscribed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_appendix_a),       cmocka_unit_test(confirms_what_was_granted),
        cmocka_unit_test(notes_a_preapproval),      cmocka_unit_test(grants_what_was_preapproved),
        cmocka_unit_test(takes_a_preapproval_back), cmocka_unit_test(two_sides_agree),
        cmocka_unit_test(names_states_and_verbs),
    };
    return cmocka_run_group_tests_name("subscription", tests, NULL, NULL);
}
