/* Requests for the address of the proxy at a node that has none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "component/component_shown.h"
#include "core/test_node.h"
#include "gate/proxy65.h"
#include "gate/proxy65_rows.h"
#include "presence/caps.h"

struct stream {
    uint64_t id;
    char text[4096];
};

static struct test_node t;
static struct stream stream;

static void gate_down(struct stream *s, const struct down *d)
{
    if (d->kind == DOWN_STANZA && stanza_write_max(d->st, d->note) < sizeof s->text)
        s->text[stanza_write(s->text, d->st, d->note)] = '\0';
}
static const struct gate_ops gate = { .down = gate_down };

static int start(void **state)
{
    static const struct feature *const features[] = {
        &test_auth_feature, &account_feature,
        &session_feature,   &message_feature,
        &roster_feature,    &presence_feature,
        &caps_feature,      &component_shown_feature,
        &proxy65_feature,   NULL,
    };
    (void)state;
    test_features_use(features);
    test_node_open(&t, &gate);
    worker_of_thread = t.w;
    return 0;
}

static int stop(void **state)
{
    (void)state;
    worker_of_thread = NULL;
    test_node_close(&t);
    return 0;
}

static bool is_answered(void *unused) { return unused == NULL && stream.text[0] != '\0'; }

static void ask(struct session *s, const char *answer)
{
    stream.text[0] = '\0';
    session_up(
        s, &(struct up){
               .kind = UP_STANZA,
               .st = test_node_stanza(
                   &t, "<iq from='a@localhost/r' to='proxy.localhost' type='get' "
                       "id='1'><query xmlns='http://jabber.org/protocol/bytestreams'/></iq>") });
    test_node_run(&t, is_answered, NULL);
    if (strstr(stream.text, answer) == NULL)
        fail_msg("found %s, expected %s", stream.text, answer);
}

/* Of two nodes of a process one may have it: then the setting, which is of both, is on. */
static void test_a_node_without_a_proxy_has_no_address(void **state)
{
    struct session *s = test_node_bind(&t, test_node_account(&t, "a@localhost"), &stream, "r");
    (void)state;
    assert_non_null(s);
    atomic_store(&proxy65_listening.value, 1);
    ask(s, "<service-unavailable ");
    atomic_store(&setting_find(SLICE("proxy65.port"))->value, 7777);
    ask(s, "<service-unavailable "); /* it could not activate a bytestream either */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_node_without_a_proxy_has_no_address),
    };
    return cmocka_run_group_tests_name("gate/proxy65", tests, start, stop);
}
