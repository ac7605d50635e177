/* What nodes tell each other of a pair of domains. */
#include "gate/s2s/s2s.h"
#include "gate/s2s/s2s_connections.h"
#include "gate/s2s/s2s_domains.h"
#include "gate/s2s/s2s_unproved.h"
#include "im/test_node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define OURS   SLICE("localhost")
#define THEIRS SLICE("a.test")

static const struct feature *const features[] = {
    &test_auth_feature, &account_feature,  &session_feature, &message_feature,
    &roster_feature,    &presence_feature, &s2s_feature,     NULL,
};
static const struct gate_ops gate;
static const struct edge_made edges[] = { { &s2s_edge, &(struct s2s_gate){ .connections = 1 } },
                                          { 0 } };
static struct test_node t;

static int start(void **state)
{
    (void)state;
    test_features_use(features);
    test_node_open(&t, &gate);
    t.node->edges = edges;
    edges_start(t.node, t.w);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    edges_end(t.node, t.w);
    test_node_close(&t);
    return 0;
}

static enum s2s_stage stage_of(slice local)
{
    struct s2s_domain_at at;
    s2s_domain_stage_of(t.node->id, THEIRS, local, &at);
    return at.stage;
}

/* A test that is begun now does not name the failure of an attempt of before. */
static void test_a_retry_forgets_where_it_failed(void **state)
{
    (void)state;
    s2s_domain_stage(t.node->id, THEIRS, OURS, S2S_AT_TCP, SLICE("refused"));
    s2s_retry(t.w, SLICE("else.test"), THEIRS);
    assert_int_equal(stage_of(OURS), S2S_AT_TCP);
    s2s_retry(t.w, OURS, THEIRS);
    assert_int_equal(stage_of(OURS), S2S_AT_NONE);
}

/* Another node drops a message with half a character. */
static void test_the_reason_of_a_certificate_may_be_cut(void **state)
{
    struct s2s_unproved last;
    struct s2s_unproved_news news = {
        .remote = THEIRS, .local = OURS, .peer = SLICE("::1"), .why = SLICE("caf\xc3")
    };
    (void)state;
    s2s_unproved(t.w, &news);
    assert_true(slice_is(news.why, "caf")); /* as it was sent */
    assert_true(s2s_unproved_of(THEIRS, loop_wall_us(worker_loop(t.w)), &last));
    assert_string_equal(last.why, "caf");
    s2s_unproved_forget(THEIRS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_retry_forgets_where_it_failed, start, stop),
        cmocka_unit_test_setup_teardown(test_the_reason_of_a_certificate_may_be_cut, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
