/* Headers and features of a client's stream; the client is this test. */
#include "gate/test_gate.h"

#define HEADER_OF(ns, to, version)                                                                 \
    "<stream:stream xmlns='" ns "' xmlns:stream='" NS_STREAM "' to='" to "' version='" version "'" \
    ">"
#define HEADER           HEADER_OF(NS_CLIENT, "localhost", "1.0")
#define ERROR(condition) "<stream:error><" condition " xmlns='" NS_STREAM_ERROR "'/>"
#define FEATURES         "<stream:features>"
#define STARTTLS         "<starttls xmlns='" NS_TLS "'/>"

static struct peer *client_begin(const char *text)
{
    struct peer *p = peer_connect(gate.c2s_port);
    peer_send(p, text);
    return p;
}

/* All that came until the end has that text; then the peer is closed. */
static void ends_with(struct peer *p, const char *text)
{
    if (strstr(peer_end(p), text) == NULL)
        fail_msg("expected %s, got %s", text, p->text);
    assert_null(strstr(p->text, "<success"));
    peer_close(p);
}

static void wrong_headers_are_refused(void **state)
{
    static const struct {
        const char *header, *error;
    } cases[] = {
        { HEADER_OF(NS_COMPONENT, "localhost", "1.0"), ERROR("invalid-namespace") },
        { HEADER_OF("", "localhost", "1.0"), ERROR("invalid-namespace") },
        { "<stream:stream xmlns='" NS_CLIENT "' xmlns:stream='urn:x' to='localhost' version='1.0'>",
          ERROR("invalid-namespace") },
        { HEADER_OF(NS_CLIENT, "localhost", "0.9"), ERROR("unsupported-version") },
        { HEADER_OF(NS_CLIENT, "localhost", "1"), ERROR("unsupported-version") },
        { "<stream:stream xmlns='" NS_CLIENT "' xmlns:stream='" NS_STREAM "' to='localhost'>",
          ERROR("unsupported-version") },
        { "<stream:stream xmlns='" NS_CLIENT "' xmlns:stream='" NS_STREAM "' version='1.0'>",
          ERROR("host-unknown") },
        { HEADER_OF(NS_CLIENT, "strange.test", "1.0"), ERROR("host-unknown") },
        { HEADER_OF(NS_CLIENT, "a@localhost", "1.0"), ERROR("host-unknown") },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct peer *p = client_begin(cases[i].header);
        assert_null(strstr(peer_end(p), FEATURES));
        ends_with(p, cases[i].error);
    }
}

static void the_header_is_answered_for_its_domain(void **state)
{
    (void)state;
    struct peer *p = client_begin(HEADER_OF(NS_CLIENT, "OTHER.test", "1.0"));
    peer_await(p, " from='other.test' version='1.0'");
    peer_await(p, FEATURES);
    peer_close(p);
}

static void tls_may_be_used_where_logins_need_none(void **state)
{
    (void)state;
    struct peer *p = client_begin(HEADER);
    peer_await(p, FEATURES STARTTLS "<mechanisms xmlns='" NS_SASL "'>");
    peer_await(p, "<authentication xmlns='" NS_SASL2 "'>");
    peer_await(p, "</stream:features>");
    peer_close(p);
}

/* RFC 6120 §5.3.1: no other feature is offered before TLS, and no login is possible. */
static void required_tls_comes_first(void **state)
{
    (void)state;
    atomic_store(&c2s_tls_required.value, 1);
    struct peer *p = client_begin(HEADER);
    peer_await(p, FEATURES "<starttls xmlns='" NS_TLS "'><required/></starttls>"
                           "<limits xmlns='" NS_STREAM_LIMITS "'>");
    peer_await(p, "</limits></stream:features>");
    peer_send(p, "<auth xmlns='" NS_SASL "' mechanism='PLAIN'>AGEAYg==</auth>");
    peer_await(p, "<failure xmlns='" NS_SASL "'><encryption-required/></failure>");
    peer_send(p, "<starttls xmlns='" NS_TLS "'/>");
    peer_await(p, "<proceed xmlns='" NS_TLS "'/>");
    peer_close(p);
    atomic_store(&c2s_tls_required.value, 0);
}

static void nothing_but_a_login_comes_first(void **state)
{
    static const char *const cases[] = {
        "<message to='a@localhost'/>",
        "<presence/>",
        "<iq type='set' id='1'><bind xmlns='" NS_BIND "'/></iq>",
        "<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>",
        "<strange xmlns='urn:x'/>",
        "<proceed xmlns='" NS_TLS "'/>",
        "<handshake/>",
    };
    char text[1024];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(text, sizeof text, HEADER "%s", cases[i]);
        ends_with(client_begin(text), ERROR("not-authorized"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_headers_are_refused),
        cmocka_unit_test(the_header_is_answered_for_its_domain),
        cmocka_unit_test(tls_may_be_used_where_logins_need_none),
        cmocka_unit_test(required_tls_comes_first),
        cmocka_unit_test(nothing_but_a_login_comes_first),
    };
    return cmocka_run_group_tests(tests, gate_open, gate_close);
}
