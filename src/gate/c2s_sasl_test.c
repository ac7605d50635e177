/* Logins by both profiles of SASL; the client is this test. */
#include "gate/test_gate.h"

#define HEADER                                                                                     \
    "<stream:stream xmlns='" NS_CLIENT "' xmlns:stream='" NS_STREAM                                \
    "' to='localhost' version='1.0'>"
#define ERROR(condition)      "<stream:error><" condition " xmlns='" NS_STREAM_ERROR "'/>"
#define FAILURE(condition)    "<failure xmlns='" NS_SASL "'><" condition "/>"
#define AUTH(mechanism, text) "<auth xmlns='" NS_SASL "' mechanism='" mechanism "'>" text "</auth>"
#define RESPONSE              "<response xmlns='" NS_SASL "'>AAAA</response>"
#define ABORT                 "<abort xmlns='" NS_SASL "'/>"
#define SUCCESS               "<success xmlns='" NS_SASL "'/>"
#define FAILURE2(condition)   "<failure xmlns='" NS_SASL2 "'><" condition " xmlns='" NS_SASL "'/>"
#define AUTHENTICATE(mechanism, text)                                                              \
    "<authenticate xmlns='" NS_SASL2 "' mechanism='" mechanism "'><initial-response>" text         \
    "</initial-response></authenticate>"
/* Of alice@localhost. */
#define PLAIN         "AGFsaWNlAGxvbmctZW5vdWdo"
#define PLAIN_WRONG   "AGFsaWNlAG5vdC1oZXItcGFzc3dvcmQ="
#define SCRAM         "biwsbj1hbGljZSxyPWFiY2RlZmdo"
#define BEGIN_OLD     AUTH("SCRAM-SHA-256", SCRAM)
#define BEGIN_NEW     AUTHENTICATE("SCRAM-SHA-256", SCRAM)
#define CHALLENGE_OLD "<challenge xmlns='" NS_SASL "'>"
#define CHALLENGE_NEW "<challenge xmlns='" NS_SASL2 "'>"

static int begin(void **state)
{
    struct test_node_account made = { 0 };
    int rc = gate_open(state);
    credentials_create(&gate.t.w->auth, SLICE("alice@localhost"), SLICE("long-enough"),
                       test_node_created, &made);
    bed_run(gate.t.w->loop, test_node_is_created, &made);
    return rc;
}

static struct peer *login_begin(void)
{
    struct peer *p = peer_connect(gate.c2s_port);
    peer_send(p, HEADER);
    peer_await(p, "</stream:features>");
    return p;
}

static void say(struct peer *p, const char *text, const char *answer)
{
    peer_send(p, text);
    peer_await(p, answer);
}

/* Sends that, which must end the stream with that error and without a success. */
static void fails(struct peer *p, const char *text, const char *error)
{
    peer_send(p, text);
    if (strstr(peer_end(p), error) == NULL)
        fail_msg("expected %s, got %s", error, p->text);
    assert_null(strstr(p->text, "<success"));
    peer_close(p);
}

/* The stream still takes a right login, so that what came before has left nothing. */
static void logs_in(struct peer *p)
{
    say(p, AUTH("PLAIN", PLAIN), SUCCESS);
    say(p, HEADER, "<bind xmlns='" NS_BIND "'/>");
    assert_null(strstr(p->text, "<mechanisms"));
    peer_close(p);
}

/* SASL of RFC 6120. */

static void mechanisms_that_were_not_offered_are_refused(void **state)
{
    (void)state;
    struct peer *p = login_begin();
    say(p, AUTH("NONE", "="), FAILURE("invalid-mechanism"));
    say(p, AUTH("", "="), FAILURE("invalid-mechanism"));
    say(p, AUTH("SCRAM-SHA-256-PLUS", SCRAM), FAILURE("invalid-mechanism")); /* without TLS */
    say(p, AUTH("ANONYMOUS", "="), FAILURE("invalid-mechanism"));
    say(p, AUTH("HT-SHA-256-NONE", "AAAA"), FAILURE("invalid-mechanism")); /* of SASL2 only */
    logs_in(p);
}

static void messages_before_an_exchange_are_refused(void **state)
{
    (void)state;
    struct peer *p = login_begin();
    say(p, RESPONSE, FAILURE("malformed-request"));
    say(p, ABORT, FAILURE("malformed-request"));
    say(p, "<success xmlns='" NS_SASL "'/>", FAILURE("malformed-request"));
    logs_in(p);
}

static void an_exchange_may_be_aborted(void **state)
{
    (void)state;
    struct peer *p = login_begin();
    say(p, BEGIN_OLD, CHALLENGE_OLD);
    say(p, ABORT, FAILURE("aborted"));
    say(p, RESPONSE, FAILURE("malformed-request"));
    logs_in(p);
}

static void a_second_exchange_ends_the_first_one(void **state)
{
    (void)state;
    struct peer *p = login_begin();
    say(p, BEGIN_OLD, CHALLENGE_OLD);
    say(p, AUTH("PLAIN", PLAIN), FAILURE("malformed-request"));
    say(p, RESPONSE, FAILURE("malformed-request"));
    logs_in(p);
}

static void what_is_no_base64_is_refused(void **state)
{
    (void)state;
    struct peer *p = login_begin();
    say(p, AUTH("PLAIN", "%%"), FAILURE("incorrect-encoding"));
    logs_in(p);
}

static void a_wrong_proof_is_refused(void **state)
{
    (void)state;
    struct peer *p = login_begin();
    say(p, BEGIN_OLD, CHALLENGE_OLD);
    say(p, RESPONSE, "<failure xmlns='" NS_SASL "'>");
    logs_in(p);
}

/* RFC 6120 §6.4.6: a header must follow. */
static void what_follows_a_success_is_a_header(void **state)
{
    (void)state;
    struct peer *p = login_begin();
    say(p, AUTH("PLAIN", PLAIN), SUCCESS);
    fails(p, AUTH("PLAIN", PLAIN), ERROR("invalid-namespace"));
    p = login_begin();
    say(p, AUTH("PLAIN", PLAIN), SUCCESS);
    say(p, HEADER, "</stream:features>");
    fails(p, AUTH("PLAIN", PLAIN), "<stream:error>");
}

static void a_login_is_for_its_domain(void **state)
{
    (void)state;
    struct peer *p = login_begin();
    say(p, AUTH("PLAIN", PLAIN), SUCCESS);
    fails(p,
          "<stream:stream xmlns='" NS_CLIENT "' xmlns:stream='" NS_STREAM
          "' to='other.test' version='1.0'>",
          ERROR("not-authorized"));
}

static void wrong_passwords_end_the_stream(void **state)
{
    (void)state;
    struct peer *p = login_begin();
    for (int64_t i = 1; i < setting_int(&c2s_auth_attempts); i++)
        say(p, AUTH("PLAIN", PLAIN_WRONG), FAILURE("not-authorized") "</failure>");
    assert_true(peer_is_silent(p));
    fails(p, AUTH("PLAIN", PLAIN_WRONG), ERROR("policy-violation"));
}

static void many_refusals_end_the_stream(void **state)
{
    (void)state;
    struct peer *p = login_begin();
    for (int i = 1; i < 12; i++)
        say(p, AUTH("NONE", "="), FAILURE("invalid-mechanism") "</failure>");
    assert_true(peer_is_silent(p));
    fails(p, AUTH("NONE", "="), ERROR("policy-violation"));
}

/* SASL2 (XEP-0388). */

static void a_login_of_sasl2_needs_no_new_header(void **state)
{
    (void)state;
    struct peer *p = login_begin();
    say(p, AUTHENTICATE("PLAIN", PLAIN),
        "<authorization-identifier>alice@localhost</authorization-identifier></success>");
    peer_await(p, "<bind xmlns='" NS_BIND "'/>");
    fails(p, BEGIN_NEW, "<stream:error>");
}

static void sasl2_refuses_what_was_not_offered(void **state)
{
    (void)state;
    struct peer *p = login_begin();
    say(p, AUTHENTICATE("NONE", "="), FAILURE2("invalid-mechanism"));
    say(p, AUTHENTICATE("SCRAM-SHA-256-PLUS", SCRAM), FAILURE2("invalid-mechanism"));
    say(p, AUTHENTICATE("HT-SHA-256-NONE", "AAAA"), FAILURE2("malformed-request"));
    say(p, "<authenticate xmlns='" NS_SASL2 "'/>", "<failure xmlns='" NS_SASL2 "'>");
    atomic_store(&c2s_upgrades.value, 1); /* SCRAM-SHA-256 */
    say(p,
        "<authenticate xmlns='" NS_SASL2 "' mechanism='PLAIN'><initial-response>" PLAIN
        "</initial-response><upgrade xmlns='" NS_SASL_UPGRADE
        "'>UPGR-SCRAM-SHA-512</upgrade></authenticate>",
        FAILURE2("malformed-request"));
    setting_reset(&c2s_upgrades);
    logs_in(p);
}

static void sasl2_refuses_messages_before_an_exchange(void **state)
{
    static const char *const names[] = { "response", "abort", "next", "task-data" };
    char text[128];
    struct peer *p = login_begin();
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(text, sizeof text, "<%s xmlns='" NS_SASL2 "'/>", names[i]);
        say(p, text, FAILURE2("malformed-request"));
    }
    logs_in(p);
}

static void an_exchange_of_sasl2_may_be_aborted(void **state)
{
    (void)state;
    struct peer *p = login_begin();
    say(p, BEGIN_NEW, CHALLENGE_NEW);
    say(p, "<abort xmlns='" NS_SASL2 "'/>", FAILURE2("aborted"));
    logs_in(p);
}

/* XEP-0388 §2.4 */
static void nothing_else_comes_during_an_exchange_of_sasl2(void **state)
{
    static const char *const cases[] = {
        AUTHENTICATE("PLAIN", PLAIN),
        AUTH("PLAIN", PLAIN),
        ABORT,
        "<next xmlns='" NS_SASL2 "' task='UPGR-SCRAM-SHA-256'/>",
        "<task-data xmlns='" NS_SASL2 "'/>",
        "<message/>",
        "<iq type='set' id='1'><bind xmlns='" NS_BIND "'/></iq>",
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct peer *p = login_begin();
        say(p, BEGIN_NEW, CHALLENGE_NEW);
        fails(p, cases[i], ERROR("policy-violation"));
    }
}

static void sasl2_does_not_begin_during_an_old_exchange(void **state)
{
    (void)state;
    struct peer *p = login_begin();
    say(p, BEGIN_OLD, CHALLENGE_OLD);
    fails(p, AUTHENTICATE("PLAIN", PLAIN), ERROR("policy-violation"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mechanisms_that_were_not_offered_are_refused),
        cmocka_unit_test(messages_before_an_exchange_are_refused),
        cmocka_unit_test(an_exchange_may_be_aborted),
        cmocka_unit_test(a_second_exchange_ends_the_first_one),
        cmocka_unit_test(what_is_no_base64_is_refused),
        cmocka_unit_test(a_wrong_proof_is_refused),
        cmocka_unit_test(what_follows_a_success_is_a_header),
        cmocka_unit_test(a_login_is_for_its_domain),
        cmocka_unit_test(wrong_passwords_end_the_stream),
        cmocka_unit_test(many_refusals_end_the_stream),
        cmocka_unit_test(a_login_of_sasl2_needs_no_new_header),
        cmocka_unit_test(sasl2_refuses_what_was_not_offered),
        cmocka_unit_test(sasl2_refuses_messages_before_an_exchange),
        cmocka_unit_test(an_exchange_of_sasl2_may_be_aborted),
        cmocka_unit_test(nothing_else_comes_during_an_exchange_of_sasl2),
        cmocka_unit_test(sasl2_does_not_begin_during_an_old_exchange),
    };
    return cmocka_run_group_tests(tests, begin, gate_close);
}
