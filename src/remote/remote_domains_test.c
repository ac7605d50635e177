/* What becomes of the watch of a foreign domain when the slot of that domain moves to another
 * worker. The node has two workers, which run in turn on the thread of the test. */
#include "base/clock.h"
#include "component/component_shown.h"
#include "core/test_node.h"
#include "presence/caps.h"
#include "remote/remote_domains.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { WORKERS = 2, TURNS_S = 15 };

static const struct gate_ops gate;
static struct test_node t;
static const slice other = SLICE_INIT("other.test");
static struct {
    unsigned lost, back;
} told[WORKERS];

static void told_lost(struct worker *w, slice domain, slice local)
{
    assert_true(slice_eq(domain, other) && local.len == 0);
    told[worker_index(w)].lost++;
}
static void told_back(struct worker *w, slice domain)
{
    assert_true(slice_eq(domain, other));
    told[worker_index(w)].back++;
}

static const struct feature listener_feature = {
    .name = "listener",
    .worker.domain_lost = told_lost,
    .worker.domain_back = told_back,
};
static const struct feature *const features[] = {
    &test_auth_feature,
    &account_feature,
    &session_feature,
    &message_feature,
    &roster_feature,
    &presence_feature,
    &caps_feature,
    &component_shown_feature,
    &listener_feature,
    &remote_domains_feature,
    NULL,
};

static unsigned home(void) { return t.node->slot_worker[node_slot(other)]; }

static void be(unsigned worker)
{
    t.w = &t.node->workers[worker];
    worker_of_thread = t.w;
}

/* True at the second look: behind a poll, which tells the loop the time. */
static bool has_polled(void *looks) { return ++*(unsigned *)looks > 2; }

/* Both workers, until all have been told so often. */
static bool turns(unsigned lost, unsigned back)
{
    const uint64_t until = clock_wall_us() + TURNS_S * UINT64_C(1000000);
    unsigned done = 0;
    while (done < WORKERS && clock_wall_us() < until) {
        done = 0;
        for (unsigned i = 0; i < WORKERS; i++) {
            be(i);
            test_node_run(&t, has_polled, &(unsigned){ 0 });
            done += told[i].lost == lost && told[i].back == back;
        }
    }
    return done == WORKERS;
}

static int64_t domains_lost(void)
{
    const struct metric *m = remote_domains_feature.metrics[0];
    return metric_read(m);
}

static void set(const char *name, const char *value)
{
    struct why why;
    assert_int_equal(setting_set(setting_find(slice_of(name)), slice_of(value), &why), OK);
}

static int start(void **state)
{
    (void)state;
    memset(told, 0, sizeof told);
    test_features_use(features);
    set("s2s.lost-after", "1s");
    test_folder_make(t.dir);
    test_node_start_with(&t, &gate, WORKERS);
    for (unsigned i = 0; i < WORKERS; i++) {
        be(i);
        test_node_tick(&t);
        remote_domains_feature.worker.start(t.w);
    }
    be(home());
    remote_domain_hold(t.w, other, SLICE("localhost"));
    remote_domain_seen(t.w, other, DOMAIN_FAILED);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    for (unsigned i = 0; i < WORKERS; i++) {
        be(i);
        remote_domains_feature.worker.stop(t.w);
    }
    be(0);
    test_node_stop(&t);
    worker_of_thread = NULL;
    test_folder_remove(t.dir);
    assert_int_equal(domains_lost(), 0);
    return 0;
}

/* The old home has no slot any more, so nobody answers what it asks. */
static void all_slots_move(void)
{
    memset(t.node->slot_worker, (int)(1 - home()), sizeof t.node->slot_worker);
}

static void is_up(void)
{
    be(home());
    remote_domain_seen(t.w, other, DOMAIN_UP);
    assert_true(turns(told[0].lost, 1));
    assert_int_equal(domains_lost(), 0);
}

static void test_a_domain_that_fails_is_lost_at_its_new_home(void **state)
{
    (void)state;
    all_slots_move();
    assert_true(turns(1, 0));
    assert_int_equal(domains_lost(), 1);
    is_up();
}

/* Nobody holds it any more: only the old home knows of it. */
static void test_a_lost_domain_is_back_at_its_new_home(void **state)
{
    (void)state;
    assert_true(turns(1, 0));
    be(home());
    remote_domain_release(t.w, other, SLICE("localhost"));
    assert_int_equal(domains_lost(), 1);
    all_slots_move();
    assert_true(turns(2, 0));
    assert_int_equal(domains_lost(), 1);
    is_up();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_domain_that_fails_is_lost_at_its_new_home, start,
                                        stop),
        cmocka_unit_test_setup_teardown(test_a_lost_domain_is_back_at_its_new_home, start, stop),
    };
    return cmocka_run_group_tests_name("remote_domains", tests, NULL, NULL);
}
