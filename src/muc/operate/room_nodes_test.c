/* Rooms and their users at two nodes in one process, which share a database and are joined by
 * bus_local: users whose slot moves keep their seats, and a node that is gone takes its rooms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "account/moves.h"
#include "component/component_shown.h"
#include "core/audience.h"
#include "core/test_live.h"
#include "muc/muc.h"
#include "muc/room/settings.h"
#include "presence/caps.h"
#include "talk/messaging.h"

enum { NODES = 2, WORKERS = 2 };

static const struct feature *const features[] = {
    &test_auth_feature,
    &account_feature,
    &session_feature,
    &message_feature,
    &roster_feature,
    &presence_feature,
    &caps_feature,
    &component_shown_feature,
    &audience_feature,
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

static struct bus_local *bus;
static unsigned names;

static int start(void **state)
{
    static const char *const domains[] = { "localhost", NULL };
    struct why why;
    (void)state;
    live_begin(features);
    assert_int_equal(setting_set(&muc_lock_timeout, SLICE("0"), &why), OK);
    assert_int_equal(setting_set(&messaging_enabled, SLICE("on"), &why), OK);
    bus = bus_local_create();
    live_open(0, WORKERS, domains);
    live_open_over(1, live.store[0], WORKERS, domains);
    for (unsigned n = 0; n < NODES; n++)
        node_join(live.node[n], bus);
    for (unsigned n = 0; n < NODES; n++)
        live_start(n);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    live_end_cluster(NODES, &bus);
    setting_reset(&muc_lock_timeout);
    return 0;
}

static int reset(void **state)
{
    (void)state;
    arena_reset(live.tmp);
    return 0;
}

/* An address of that domain whose home is that worker of that node. */
static const char *address(unsigned n, unsigned worker, const char *domain)
{
    for (;;) {
        uint32_t node;
        const char *jid = arena_printf(live.tmp, "a%u@%s", names++, domain);
        if (node_home(live.node[0], slice_of(jid), &node) == worker && node == n + 1)
            return jid;
    }
}

/* A user with that home, whose stream is at a worker of node 0. */
static struct stream *login(unsigned n, unsigned worker)
{
    const char *bare = address(n, worker, "localhost");
    live_add(n, bare);
    return live_bind(&live.node[0]->workers[0],
                     &(struct bind_request){ .bare = slice_of(bare), .resource = SLICE("r") });
}

static void enter(struct stream *s, const char *room, const char *nick)
{
    live_send(s, arena_printf(live.tmp,
                              "<presence from='%s' to='%s/%s'>"
                              "<x xmlns='http://jabber.org/protocol/muc'/></presence>",
                              s->jid, room, nick));
    live_expect(s, "code='110'");
}

static void say(struct stream *s, const char *room, const char *text)
{
    live_send(s, arena_printf(live.tmp,
                              "<message from='%s' to='%s' type='groupchat'>"
                              "<body>%s</body></message>",
                              s->jid, room, text));
}

static bool has(struct stream *s, const char *part)
{
    return live_has(s, (const char *const[LIVE_PARTS]){ part, "", "" });
}

/* Moves. */

struct moving {
    unsigned slot;
    uint32_t node;
    enum err err;
    bool over;
};

static void moved(struct worker *w, enum err e, void *arg)
{
    struct moving *m = arg;
    (void)w;
    m->err = e;
    live_set(&m->over);
}

static void move_there(struct worker *w, void *arg)
{
    struct moving *m = arg;
    slot_move(w, m->slot, m->node, moved, m);
}

/* From its home, that worker of node n, to the other node. */
static void move(unsigned n, unsigned worker, const char *bare)
{
    struct moving *m = arena_new(live.tmp, struct moving, 1);
    *m = (struct moving){ .slot = node_slot(slice_of(bare)), .node = NODES - n };
    node_call(live.node[n], worker, move_there, m);
    LIVE_AWAIT(m->over);
    assert_int_equal(m->err, OK);
}

/* Tests. */

/* It hears all that is said behind the move, once, and speaks; the room never told anybody. */
static void seat_moves(unsigned room_node, unsigned room_worker)
{
    const char *room = address(room_node, room_worker, "conference.localhost");
    struct stream *other = login(0, 0), *mover = login(0, 1);
    enter(other, room, "other");
    enter(mover, room, "mover");
    live_expect(other, "/mover'");
    for (unsigned n = 0; n < NODES; n++) {
        const char *text = arena_printf(live.tmp, "to-%u.", n),
                   *said = arena_printf(live.tmp, "by-%u.", n);
        move(n, 1, mover->bare);
        say(mover, room, said); /* the room answers behind what the thawed session has said to it */
        live_expect(mover, said);
        live_expect(other, said);
        say(other, room, text);
        live_expect(other, text);
        live_expect(mover, text);
        say(other, room, "end.");
        live_expect(mover, "end.");
        assert_false(has(mover, text) || has(mover, said) || has(mover, "332") ||
                     has(mover, "unavailable") || has(other, "<presence"));
    }
}

static void test_a_seat_moves_with_its_session(void **state)
{
    (void)state;
    for (unsigned n = 0; n < NODES; n++)
        for (unsigned worker = 0; worker < WORKERS; worker++)
            seat_moves(n, worker);
}

static void second_is_gone(struct worker *w, void *arg)
{
    node_gone(w, 2);
    live_set(arg);
}

/* Its rooms are not there any more, whoever reads them again; those of this node are. */
static void test_rooms_of_a_node_that_is_gone(void **state)
{
    const char *far = address(1, 0, "conference.localhost");
    const char *here = address(0, 0, "conference.localhost");
    struct stream *old = login(0, 1), *late = login(0, 1);
    bool done = false;
    (void)state;
    enter(old, far, "old");
    enter(old, here, "old");
    node_call(live.node[0], 1, second_is_gone, &done);
    LIVE_AWAIT(done);
    enter(late, far, "late");
    enter(late, here, "late");
    say(late, far, "said there");
    live_expect(late, "said there");
    say(late, here, "said here");
    live_expect(old, "said here");
    assert_false(has(old, "said there"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_seat_moves_with_its_session, reset),
        cmocka_unit_test_setup(test_rooms_of_a_node_that_is_gone, reset),
    };
    return cmocka_run_group_tests_name("muc/nodes", tests, start, stop);
}
