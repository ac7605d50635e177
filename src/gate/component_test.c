/* Handshakes of components (XEP-0114) whose other side is this test. */
#include "base/arena.h"
#include "base/hex.h"
#include "gate/test_gate.h"
#include "home/command_run.h"
#include "home/remote.h"
#include <openssl/sha.h>

#define SECRET           "a secret of sixteen"
#define HEADER           "<stream:stream xmlns='" NS_COMPONENT "' xmlns:stream='" NS_STREAM "'"
#define ERROR(condition) "<stream:error><" condition " xmlns='" NS_STREAM_ERROR "'/>"

static bool ended;

static void finished(struct command_call *call, void *arg)
{
    (void)call;
    *(bool *)arg = true;
}
static bool is_ended(void *arg) { return *(bool *)arg; }

static int begin(void **state)
{
    const slice names[] = { SLICE("domain"), SLICE("secret") };
    const slice values[] = { SLICE("irc.test"), SLICE(SECRET) };
    struct why why;
    int rc = gate_open(state);
    struct command_call call = { .command = command_find(SLICE("component add")),
                                 .arena = arena_create(0),
                                 .who = principal_server,
                                 .worker = gate.t.w,
                                 .finished = finished,
                                 .arg = &ended };
    assert_int_equal(command_bind(&call, names, values, 2, &why), OK);
    command_run(&call);
    bed_run(gate.t.w->loop, is_ended, &ended);
    assert_int_equal(call.err, OK);
    arena_destroy(&call.arena);
    return rc;
}

static struct peer *component_begin(const char *domain)
{
    char text[512];
    struct peer *p = peer_connect(gate.component_port);
    snprintf(text, sizeof text, HEADER " to='%s'>", domain);
    peer_send(p, text);
    return p;
}

/* <handshake/> for the stream of that peer, which must have received its header. */
static void handshake(struct peer *p, const char *secret)
{
    unsigned char sha[SHA_DIGEST_LENGTH];
    char plain[256], hex[2 * SHA_DIGEST_LENGTH + 1], text[128];
    peer_await(p, " id='");
    while (strchr(p->text, '>') == NULL)
        peer_await(p, "");
    int len = snprintf(plain, sizeof plain, "%.*s%s", (int)strcspn(p->text, "'"), p->text, secret);
    SHA1((const unsigned char *)plain, (size_t)len, sha);
    hex_encode(hex, (slice){ (const char *)sha, sizeof sha });
    snprintf(text, sizeof text, "<handshake>%s</handshake>", hex);
    peer_send(p, text);
}

static void fails(struct peer *p, const char *error)
{
    if (strstr(peer_end(p), error) == NULL)
        fail_msg("expected %s, got %s", error, p->text);
    assert_null(strstr(p->text, "<handshake/>"));
    assert_false(remote_known(gate.t.w, SLICE("irc.test")));
    peer_close(p);
}

static void the_right_secret_joins(void **state)
{
    (void)state;
    struct peer *p = component_begin("irc.test");
    peer_await(p, " from='irc.test'");
    peer_close(p);
    p = component_begin("irc.test");
    handshake(p, SECRET);
    peer_await(p, "<handshake/>");
    assert_true(remote_known(gate.t.w, SLICE("irc.test")));
    peer_send(p, "</stream:stream>");
    assert_non_null(strstr(peer_end(p), "</stream:stream>"));
    assert_false(remote_known(gate.t.w, SLICE("irc.test")));
    peer_close(p);
}

static void a_wrong_secret_is_refused(void **state)
{
    (void)state;
    struct peer *p = component_begin("irc.test");
    handshake(p, "a secret of a thief");
    fails(p, ERROR("not-authorized"));
}

static void a_digest_of_another_length_is_refused(void **state)
{
    (void)state;
    struct peer *p = component_begin("irc.test");
    peer_send(p, "<handshake></handshake>");
    fails(p, ERROR("not-authorized"));
}

/* A domain that nobody has added is answered like a wrong secret. */
static void a_domain_without_a_secret_is_refused(void **state)
{
    (void)state;
    struct peer *p = component_begin("sms.test");
    handshake(p, "");
    fails(p, ERROR("not-authorized"));
}

static void stanzas_before_the_handshake_end_it(void **state)
{
    (void)state;
    struct peer *p = component_begin("irc.test");
    peer_send(p, "<message from='irc.test' to='a@localhost'/>");
    fails(p, ERROR("not-authorized"));
}

static void our_own_domains_are_refused(void **state)
{
    (void)state;
    fails(component_begin("localhost"), ERROR("host-unknown"));
    fails(component_begin("other.test"), ERROR("host-unknown"));
    fails(component_begin("a@b@c"), ERROR("host-unknown"));
}

static void a_client_is_refused(void **state)
{
    (void)state;
    struct peer *p = peer_connect(gate.component_port);
    peer_send(p, "<stream:stream xmlns='" NS_CLIENT "' xmlns:stream='" NS_STREAM
                 "' to='irc.test' version='1.0'>");
    fails(p, ERROR("invalid-namespace"));
}

static void a_component_speaks_for_its_own_domain(void **state)
{
    (void)state;
    struct peer *p = component_begin("irc.test");
    handshake(p, SECRET);
    peer_await(p, "<handshake/>");
    peer_send(p, "<message from='a@localhost' to='b@localhost'/>");
    fails(p, ERROR("invalid-from"));
}

/* The node whose worker keeps the links is not there. */

static uint32_t bus_duties(struct bus *bus)
{
    (void)bus;
    return 2;
}
static unsigned bus_nodes(struct bus *bus, uint32_t nodes[BUS_NODES_MAX])
{
    (void)bus;
    nodes[0] = 1;
    return 1;
}
static uint32_t bus_registry(struct bus *bus, unsigned slot)
{
    (void)bus, (void)slot;
    return 1;
}
static unsigned bus_workers(struct bus *bus, uint32_t node)
{
    (void)bus, (void)node;
    return 1;
}

static void nobody_can_be_told_of_it(void **state)
{
    static const struct bus_ops ops = {
        .duties = bus_duties, .nodes = bus_nodes, .registry = bus_registry, .workers = bus_workers
    };
    struct bus bus = { &ops };
    (void)state;
    struct peer *p = component_begin("irc.test");
    gate.t.node->bus = &bus;
    handshake(p, SECRET);
    fails(p, ERROR("internal-server-error"));
    gate.t.node->bus = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_right_secret_joins),
        cmocka_unit_test(a_wrong_secret_is_refused),
        cmocka_unit_test(a_digest_of_another_length_is_refused),
        cmocka_unit_test(a_domain_without_a_secret_is_refused),
        cmocka_unit_test(stanzas_before_the_handshake_end_it),
        cmocka_unit_test(our_own_domains_are_refused),
        cmocka_unit_test(a_client_is_refused),
        cmocka_unit_test(a_component_speaks_for_its_own_domain),
        cmocka_unit_test(nobody_can_be_told_of_it),
    };
    return cmocka_run_group_tests(tests, begin, gate_close);
}
