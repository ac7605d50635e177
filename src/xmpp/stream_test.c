#include "base/ensure.h"
#include "xmpp/ns.h"
#include "xmpp/stream.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* needs the three above */

/* What a letter of the tables below stands for. */
static const struct meaning {
    char letter;
    enum stream_action action;
    int next; /* -1: the state stays */
    enum stream_error error;
    const char *text;
} meanings[] = {
    { '-', STREAM_NEVER, -1, XE_NONE, "" },
    { '.', STREAM_NONE, -1, XE_NONE, "" },
    { 'w', STREAM_WAIT, -1, XE_NONE, "" },
    { '#', STREAM_END, STREAM_CLOSED, XE_NONE, "" },
    { '!', STREAM_NONE, STREAM_CLOSED, XE_NONE, "" },
    { '*', STREAM_HEARD, STREAM_CLOSED, XE_NONE, "" },
    { 'v', STREAM_LEAVE, -1, XE_NONE, "" },
    { '1', STREAM_FAIL, STREAM_CLOSED, XE_NOT_WELL_FORMED, "a stream header must come first" },
    { '2', STREAM_FAIL, STREAM_CLOSED, XE_NOT_WELL_FORMED, "a second stream header" },
    { 'b', STREAM_FAIL, STREAM_CLOSED, XE_POLICY_VIOLATION, "an authentication is under way" },
    { 't', STREAM_FAIL, STREAM_CLOSED, XE_POLICY_VIOLATION, "already authenticated" },
    { 'x', STREAM_FAIL, STREAM_CLOSED, XE_INVALID_XML, "" },
    { 'h', STREAM_FAIL, STREAM_CLOSED, XE_NOT_AUTHORIZED, "a handshake must come first" },
    { 'f', STREAM_FAIL, STREAM_CLOSED, XE_UNSUPPORTED_STANZA_TYPE, "the features must come first" },
    { 'u', STREAM_FAIL, STREAM_CLOSED, XE_UNSUPPORTED_STANZA_TYPE,
      "nothing was asked that this answers" },
    { 'E', STREAM_DO_EARLY, -1, XE_NOT_AUTHORIZED, "log in first" },
    { 'B', STREAM_DO_BIND, -1, XE_NOT_AUTHORIZED, "bind a resource first" },
    { 'S', STREAM_DO_SASL, -1, XE_NONE, "" },
    { 'D', STREAM_DO_SASL2, -1, XE_NONE, "" },
    { 'M', STREAM_DO_SM, -1, XE_NONE, "" },
    { 's', STREAM_DO_STANZA, -1, XE_NONE, "" },
    { 'Y', STREAM_DO_ANSWER, -1, XE_NONE, "" },
    { 'T', STREAM_DO_TLS, STREAM_TLS, XE_NONE, "" },
    { 'N', STREAM_DO_NO_TLS, STREAM_CLOSED, XE_NONE, "" },
    { 'K', STREAM_DO_HANDSHAKE, STREAM_CHECKING, XE_NONE, "" },
    { 'F', STREAM_DO_HEADER, STREAM_FEATURES, XE_NONE, "" },
    { 'A', STREAM_DO_HEADER, STREAM_AUTHED, XE_NONE, "" },
    { 'H', STREAM_DO_HEADER, STREAM_HANDSHAKE, XE_NONE, "" },
    { 'W', STREAM_DO_HEADER, STREAM_AWAITING, XE_NONE, "" },
    { 'V', STREAM_DO_HEADER, STREAM_AUTHED_AWAITING, XE_NONE, "" },
    { 'C', STREAM_DO_CHOOSE, STREAM_FEATURES, XE_NONE, "" },
    { 'G', STREAM_DO_CHOOSE, STREAM_AUTHED, XE_NONE, "" },
    { 'r', STREAM_RESTART, STREAM_AUTHED_OPEN, XE_NONE, "" },
    { 'R', STREAM_RESTART, STREAM_OPEN, XE_NONE, "" },
    { 'o', STREAM_NONE, STREAM_OPEN, XE_NONE, "" },
    { 'q', STREAM_NONE, STREAM_SASL2, XE_NONE, "" },
    { 'l', STREAM_NONE, STREAM_FEATURES, XE_NONE, "" },
    { 'c', STREAM_NONE, STREAM_COMPLETING, XE_NONE, "" },
    { 'a', STREAM_NONE, STREAM_AUTHED, XE_NONE, "" },
    { 'i', STREAM_NONE, STREAM_BINDING, XE_NONE, "" },
    { 'y', STREAM_NONE, STREAM_BOUND, XE_NONE, "" },
    { 'k', STREAM_NONE, STREAM_TLS_ASKED, XE_NONE, "" },
    { 'm', STREAM_NONE, STREAM_SASL, XE_NONE, "" },
    { 'd', STREAM_NONE, STREAM_CHECKING, XE_NONE, "" },
    { 'Z', STREAM_DO_ANSWER, -1, XE_UNSUPPORTED_STANZA_TYPE,
      "nothing was asked that this answers" },
    { 'O', STREAM_DO_HEADER, STREAM_BOUND, XE_NONE, "" },
};

/* A row: header, end, unreadable, features, error, starttls, starttls under TLS, proceed, other of
 * TLS, SASL, SASL2, XEP-0198, handshake, stanza; then what happened here: secured, TLS asked, SASL
 * asked, dialback asked, SASL2 begun, passed, passed on, refused, bind asked, unbound, bound,
 * close, lost. */
#define UNREACHED "2#------------ -----------#!"
#define ENDED     ".............. ..........v.."

static const char *const client[STREAM_STATE_COUNT] = {
    [STREAM_OPEN] = "F#111111111111 .----------#!",
    [STREAM_AWAITING] = UNREACHED,
    [STREAM_FEATURES] = "2#EEETNEESDMEE ----qr-.---#!",
    [STREAM_SASL] = UNREACHED,
    [STREAM_SASL2] = "2#bbbbbbbbDbbb ------cl---#!",
    [STREAM_TLS_ASKED] = UNREACHED,
    [STREAM_TLS] = "wwwwwwwwwwwwww o----------#!",
    [STREAM_HANDSHAKE] = UNREACHED,
    [STREAM_CHECKING] = UNREACHED,
    [STREAM_AUTHED_OPEN] = "A#111111111111 -----------#!",
    [STREAM_AUTHED_AWAITING] = UNREACHED,
    [STREAM_AUTHED] = "2#xBBttttttMBB --------i--#!",
    [STREAM_COMPLETING] = "wwwwwwwwwwwwww -------l.ay#!",
    [STREAM_BINDING] = "wwwwwwwwwwwwww -------a--y#!",
    [STREAM_BOUND] = "2#ssssssssssss -----------#!",
    [STREAM_CLOSED] = ENDED,
};
static const char *const component[STREAM_STATE_COUNT] = {
    [STREAM_OPEN] = "H#111111111111 -----------#!",
    [STREAM_AWAITING] = UNREACHED,
    [STREAM_FEATURES] = UNREACHED,
    [STREAM_SASL] = UNREACHED,
    [STREAM_SASL2] = UNREACHED,
    [STREAM_TLS_ASKED] = UNREACHED,
    [STREAM_TLS] = UNREACHED,
    [STREAM_HANDSHAKE] = "2#hhhhhhhhhhKh -----------#!",
    [STREAM_CHECKING] = "wwwwwwwwwwwwww -----i-----#!",
    [STREAM_AUTHED_OPEN] = UNREACHED,
    [STREAM_AUTHED_AWAITING] = UNREACHED,
    [STREAM_AUTHED] = UNREACHED,
    [STREAM_COMPLETING] = UNREACHED,
    [STREAM_BINDING] = "wwwwwwwwwwwwww ----------y#!",
    [STREAM_BOUND] = "2#ssssssssssss -----------#!",
    [STREAM_CLOSED] = ENDED,
};
static const char *const server[STREAM_STATE_COUNT] = {
    [STREAM_OPEN] = "F#111111111111 .----------#!",
    [STREAM_AWAITING] = UNREACHED,
    [STREAM_FEATURES] = "2#xE*TNEESEEEE -----ry----#!",
    [STREAM_SASL] = UNREACHED,
    [STREAM_SASL2] = UNREACHED,
    [STREAM_TLS_ASKED] = UNREACHED,
    [STREAM_TLS] = "wwwwwwwwwwwwww o----------#!",
    [STREAM_HANDSHAKE] = UNREACHED,
    [STREAM_CHECKING] = UNREACHED,
    [STREAM_AUTHED_OPEN] = "O#111111111111 -----------#!",
    [STREAM_AUTHED_AWAITING] = UNREACHED,
    [STREAM_AUTHED] = UNREACHED,
    [STREAM_COMPLETING] = UNREACHED,
    [STREAM_BINDING] = UNREACHED,
    [STREAM_BOUND] = "2#ss*sssssssss -----------#!",
    [STREAM_CLOSED] = ENDED,
};
static const char *const initiator[STREAM_STATE_COUNT] = {
    [STREAM_OPEN] = "W#111111111111 .----------#!",
    [STREAM_AWAITING] = "2#fC*fffffffff -----------#!",
    [STREAM_FEATURES] = "2#uu*uuuuuuuuZ -kmd-------#!",
    [STREAM_SASL] = "2#uu*uuuuSuuuu -----r-l---#!",
    [STREAM_SASL2] = "2#--*--------- -----------#!",
    [STREAM_TLS_ASKED] = "2#uu*uuT#uuuuu -----------#!",
    [STREAM_TLS] = "wwwwwwwwwwwwww R----------#!",
    [STREAM_HANDSHAKE] = "2#--*--------- -----------#!",
    [STREAM_CHECKING] = "2#uu*uuuuuuuuZ ------y----#!",
    [STREAM_AUTHED_OPEN] = "V#111111111111 -----------#!",
    [STREAM_AUTHED_AWAITING] = "2#fG*fffffffff -----------#!",
    [STREAM_AUTHED] = "2#uu*uuuuuuuuu --------i-y#!",
    [STREAM_COMPLETING] = "2#--*--------- -----------#!",
    [STREAM_BINDING] = "2#uu*uuuuuuYuY -------a--y#!",
    [STREAM_BOUND] = "2#ss*sssssssss -----------#!",
    [STREAM_CLOSED] = ENDED,
};

static const struct meaning *meaning_of(char letter)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++)
        if (meanings[i].letter == letter)
            return &meanings[i];
    fail_msg("no meaning for %c", letter);
    return NULL;
}

static void cell_is(struct stream_step step, unsigned state, char letter)
{
    const struct meaning *m = meaning_of(letter);
    assert_int_equal(step.action, m->action);
    assert_int_equal(step.state, m->next < 0 ? (int)state : m->next);
    assert_int_equal(step.error, m->error);
    assert_string_equal(step.text, m->text);
}

static void rows_are(enum stream_role role, const char *const rows[STREAM_STATE_COUNT])
{
    for (unsigned state = 0; state < STREAM_STATE_COUNT; state++) {
        const char *at = rows[state];
        for (unsigned input = 0; input < STREAM_INPUT_COUNT; input++, at++) {
            at += *at == ' ';
            cell_is(stream_step(role, (enum stream_state)state, (enum stream_input)input), state,
                    *at);
        }
        assert_int_equal(*at, '\0');
    }
}

static void every_cell_is_as_written(void **s)
{
    (void)s;
    rows_are(STREAM_FROM_CLIENT, client);
    rows_are(STREAM_FROM_COMPONENT, component);
    rows_are(STREAM_FROM_SERVER, server);
    rows_are(STREAM_TO_SERVER, initiator);
}

/* RFC 7395 §3.1, XEP-0206: the same but for STARTTLS. */
static void framed_streams_have_no_starttls(void **s)
{
    (void)s;
    for (unsigned state = 0; state < STREAM_STATE_COUNT; state++)
        for (unsigned input = 0; input < STREAM_INPUT_COUNT; input++) {
            bool tls = state == STREAM_FEATURES &&
                       (input == STREAM_GOT_STARTTLS || input == STREAM_GOT_STARTTLS_AGAIN);
            struct stream_step framed =
                stream_step(STREAM_FROM_FRAMED, (enum stream_state)state, (enum stream_input)input);
            struct stream_step plain = stream_step(
                STREAM_FROM_CLIENT, (enum stream_state)state,
                tls ? STREAM_GOT_STANZA : (enum stream_input)input); /* as any other element */
            assert_int_equal(framed.state, plain.state);
            assert_int_equal(framed.action, plain.action);
            assert_int_equal(framed.error, plain.error);
            assert_string_equal(framed.text, plain.text);
        }
}

/* The states that can be reached when some inputs do not happen. */
static uint32_t reached_without(enum stream_role role, uint32_t inputs)
{
    uint32_t seen = 1u << STREAM_OPEN, before = 0;
    while (seen != before) {
        before = seen;
        for (unsigned state = 0; state < STREAM_STATE_COUNT; state++)
            for (unsigned input = 0; input < STREAM_INPUT_COUNT; input++)
                if ((before >> state & 1) != 0 && (inputs >> input & 1) == 0)
                    seen |=
                        1u << stream_step(role, (enum stream_state)state, (enum stream_input)input)
                                  .state;
    }
    return seen;
}

static uint32_t states_used(const char *const rows[STREAM_STATE_COUNT])
{
    uint32_t used = 0;
    for (unsigned state = 0; state < STREAM_STATE_COUNT; state++)
        if (rows[state][2] != '-')
            used |= 1u << state;
    return used;
}

static void each_state_can_be_reached(void **s)
{
    (void)s;
    assert_int_equal(reached_without(STREAM_FROM_CLIENT, 0), states_used(client));
    assert_int_equal(reached_without(STREAM_FROM_COMPONENT, 0), states_used(component));
    assert_int_equal(reached_without(STREAM_FROM_SERVER, 0), states_used(server));
    assert_int_equal(reached_without(STREAM_TO_SERVER, 0), states_used(initiator));
    assert_int_equal(reached_without(STREAM_FROM_FRAMED, 0),
                     states_used(client) & ~(1u << STREAM_TLS));
}

static void nobody_is_bound_without_a_proof(void **s)
{
    uint32_t proofs = 1u << STREAM_PASSED | 1u << STREAM_PASSED_ON;
    (void)s;
    for (unsigned role = 0; role < STREAM_ROLE_COUNT; role++)
        assert_int_equal(reached_without((enum stream_role)role, proofs) &
                             ~((1u << STREAM_AUTHED_OPEN) - 1),
                         1u << STREAM_CLOSED);
}

/* RFC 6120 §5.4.3.3: what the peer said before the handshake is forgotten with the state. */
static void the_handshake_leads_to_a_new_header(void **s)
{
    (void)s;
    for (unsigned role = 0; role < STREAM_ROLE_COUNT; role++)
        for (unsigned state = 0; state < STREAM_STATE_COUNT; state++) {
            struct stream_step step =
                stream_step((enum stream_role)role, (enum stream_state)state, STREAM_SECURED);
            assert_true(step.action == STREAM_NEVER || step.state == STREAM_OPEN ||
                        state == STREAM_CLOSED);
        }
}

static void what_fails_says_why_and_ends(void **s)
{
    (void)s;
    for (unsigned role = 0; role < STREAM_ROLE_COUNT; role++)
        for (unsigned state = 0; state < STREAM_STATE_COUNT; state++)
            for (unsigned input = 0; input < STREAM_INPUT_COUNT; input++) {
                struct stream_step step = stream_step(
                    (enum stream_role)role, (enum stream_state)state, (enum stream_input)input);
                assert_true((step.action == STREAM_FAIL) <= (step.error != XE_NONE));
                assert_true((step.action == STREAM_FAIL) <= (step.state == STREAM_CLOSED));
                assert_true((state == STREAM_CLOSED) <= (step.state == STREAM_CLOSED));
                assert_non_null(step.text);
            }
}

static void reading_is_what_the_table_says(void **s)
{
    (void)s;
    for (unsigned role = 0; role < STREAM_ROLE_COUNT; role++) {
        uint32_t used = reached_without((enum stream_role)role, 0);
        for (unsigned state = 0; state < STREAM_STATE_COUNT; state++) {
            struct stream_step step =
                stream_step((enum stream_role)role, (enum stream_state)state, STREAM_GOT_STANZA);
            bool reads =
                (used >> state & 1) != 0 && state != STREAM_CLOSED && step.action != STREAM_WAIT;
            if ((used >> state & 1) != 0)
                assert_int_equal(stream_reads(role, state), reads);
        }
    }
}

static void elements_are_known_by_namespace_and_name(void **s)
{
    static const struct {
        const char *ns, *name;
        enum stream_input clear, secure;
    } cases[] = {
        { NS_TLS, "starttls", STREAM_GOT_STARTTLS, STREAM_GOT_STARTTLS_AGAIN },
        { NS_TLS, "proceed", STREAM_GOT_PROCEED, STREAM_GOT_PROCEED },
        { NS_TLS, "failure", STREAM_GOT_TLS, STREAM_GOT_TLS },
        { NS_SASL, "auth", STREAM_GOT_SASL, STREAM_GOT_SASL },
        { NS_SASL2, "authenticate", STREAM_GOT_SASL2, STREAM_GOT_SASL2 },
        { NS_SM, "resume", STREAM_GOT_SM, STREAM_GOT_SM },
        { NS_COMPONENT, "handshake", STREAM_GOT_HANDSHAKE, STREAM_GOT_HANDSHAKE },
        { NS_CLIENT, "handshake", STREAM_GOT_STANZA, STREAM_GOT_STANZA },
        { NS_STREAM, "features", STREAM_GOT_FEATURES, STREAM_GOT_FEATURES },
        { NS_STREAM, "error", STREAM_GOT_ERROR, STREAM_GOT_ERROR },
        { NS_STREAM, "stream", STREAM_GOT_STANZA, STREAM_GOT_STANZA },
        { NS_CLIENT, "starttls", STREAM_GOT_STANZA, STREAM_GOT_STANZA },
        { NS_CLIENT, "iq", STREAM_GOT_STANZA, STREAM_GOT_STANZA },
        { "", "", STREAM_GOT_STANZA, STREAM_GOT_STANZA },
    };
    (void)s;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        slice ns = slice_of(cases[i].ns), name = slice_of(cases[i].name);
        assert_int_equal(stream_input_of(ns, name, false), cases[i].clear);
        assert_int_equal(stream_input_of(ns, name, true), cases[i].secure);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell_is_as_written),
        cmocka_unit_test(framed_streams_have_no_starttls),
        cmocka_unit_test(each_state_can_be_reached),
        cmocka_unit_test(nobody_is_bound_without_a_proof),
        cmocka_unit_test(the_handshake_leads_to_a_new_header),
        cmocka_unit_test(what_fails_says_why_and_ends),
        cmocka_unit_test(reading_is_what_the_table_says),
        cmocka_unit_test(elements_are_known_by_namespace_and_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
