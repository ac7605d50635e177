/* What waits for a room that is being read. */
#include "component/component_shown.h"
#include "core/feature.h"
#include "core/test_node.h"
#include "home/host.h"
#include "muc/muc.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "presence/caps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct test_node t;
static const struct gate_ops gate;

static int start(void **state)
{
    static const struct feature *const features[] = {
        &test_auth_feature,
        &account_feature,
        &session_feature,
        &message_feature,
        &roster_feature,
        &presence_feature,
        &caps_feature,
        &component_shown_feature,
        &muc_service_feature,
        &muc_feature,
        &muc_admin_feature,
        &muc_owner_feature,
        &muc_register_feature,
        &muc_follow_feature,
        &muc_alias_feature,
        &muc_hats_feature,
        &muc_vcard_feature,
        &muc_mention_feature,
        &muc_bookmark_feature,
        &muc_moderate_feature,
        &muc_query_feature,
        &muc_ping_feature,
        &muc_leavers_feature,
        &muc_administrators_feature,
        &muc_operate_feature,
        &muc_reach_feature,
        &muc_cleanup_feature,
        &muc_file_feature,
        &muc_metrics_feature,
        &room_archive_feature,
        NULL,
    };
    (void)state;
    test_features_use(features);
    test_node_open(&t, &gate);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    test_node_close(&t);
    return 0;
}

struct heard {
    unsigned ok, limit, other;
};

static void hear(struct room *r, enum err e, void *arg)
{
    struct heard *h = arg;
    assert_non_null(r);
    h->ok += e == OK;
    h->limit += e == E_LIMIT;
    h->other += e != OK && e != E_LIMIT;
}

static bool all_heard(void *arg) { return ((struct heard *)arg)->ok == ROOM_CALLS_MAX; }

/* One more than can wait is told so at once; the others are told when the room was read. */
static void test_too_many_wait(void **state)
{
    struct heard h = { 0 };
    (void)state;
    for (unsigned i = 0; i <= ROOM_CALLS_MAX; i++) {
        assert_int_equal(h.limit, 0);
        room_with(t.w, SLICE("cave@conference.localhost"), hear, &h);
    }
    assert_int_equal(h.limit, 1);
    assert_int_equal(h.ok, 0);
    test_node_run(&t, all_heard, &h);
    room_with(t.w, SLICE("cave@conference.localhost"), hear, &h);
    assert_int_equal(h.ok, ROOM_CALLS_MAX + 1);
    assert_int_equal(h.limit, 1);
    assert_int_equal(h.other, 0);
}

/* What must not be lost waits behind as many as can wait. */
static void test_what_must_not_be_lost(void **state)
{
    struct heard h = { 0 }, kept = { 0 };
    slice parent, jid = SLICE("hall@conference.localhost");
    (void)state;
    for (unsigned i = 0; i < ROOM_CALLS_MAX; i++)
        room_with(t.w, jid, hear, &h);
    const struct host *host = host_find(t.node, SLICE("conference.localhost"), &parent);
    room_when_loaded(room_get(t.w, host, jid), hear, &kept);
    assert_int_equal(kept.ok + kept.limit + kept.other, 0);
    test_node_run(&t, all_heard, &h);
    assert_int_equal(kept.ok, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_too_many_wait),
                                        cmocka_unit_test(test_what_must_not_be_lost) };
    return cmocka_run_group_tests(tests, start, stop);
}
