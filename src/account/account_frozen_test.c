/* An account with sessions of all kinds freezes, thaws and freezes to the same bytes. Wrong bytes
 * change nothing. */
#include "account/account_frozen.h"
#include "auth/seal.h"
#include "base/arena.h"
#include "base/buf.h"
#include "component/component_shown.h"
#include "core/test_node.h"
#include "home/frozen.h"
#include "presence/caps.h"
#include "presence/presence.h"
#include "session/given.h"
#include "session/session_queue.h"
#include "session/session_repeats.h"
#include "session/session_struct.h"
#include "talk/offline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct stream {
    uint64_t id;
    unsigned closed;
};

static struct test_node t;
static struct account *a;
static struct stream streams[3];
static struct buf once, twice;
static struct why why;

static void gate_down(struct stream *s, const struct down *d)
{
    s->closed += d->kind == DOWN_CLOSE;
}
static const struct gate_ops gate = { .down = gate_down };

/* A feature that keeps a text with each session. */
static unsigned kept_slot;
static void kept_save(const struct session *s, struct buf *out)
{
    if (s->state_of[kept_slot] != NULL)
        buf_printf(out, "%s", (const char *)s->state_of[kept_slot]);
}
static void kept_restore(struct session *s, slice saved)
{
    s->state_of[kept_slot] = slice_is(saved, "one") ? "one" : "another";
}
static const struct feature kept_feature = {
    .name = "kept", .session = { .slot = &kept_slot, .save = kept_save, .restore = kept_restore }
};
static const struct feature *const features[] = {
    &test_auth_feature, &account_feature,
    &session_feature,   &message_feature,
    &roster_feature,    &presence_feature,
    &caps_feature,      &component_shown_feature,
    &kept_feature,      NULL,
};

static int start(void **state)
{
    static const unsigned char key[SEAL_KEY_BYTES] = "the key of these tests";
    (void)state;
    test_features_use(features);
    test_node_open(&t, &gate);
    seal_use(key);
    a = test_node_account(&t, "a@localhost");
    buf_init(&once, FROZEN_BYTES_MAX);
    buf_init(&twice, FROZEN_BYTES_MAX);
    return 0;
}
static int stop(void **state)
{
    (void)state;
    account_unpin(a);
    buf_fini(&once);
    buf_fini(&twice);
    test_node_close(&t);
    return 0;
}

static void free_sessions(void)
{
    while (!list_empty(&a->sessions))
        session_free(CONTAINER_OF(a->sessions.next, struct session, node));
}

static void say(struct session *s, const char *xml)
{
    session_up(s, &(struct up){ .kind = UP_STANZA, .st = test_node_stanza(&t, xml) });
}

static void deliver(struct session *s, uint64_t archive_id, uint64_t delay_us)
{
    struct stanza *st = test_node_stanza(&t, "<message from='b@localhost/r' to='a@localhost'>"
                                             "<body>text</body></message>");
    session_deliver(s, st, archive_id, delay_us);
    stanza_unref(&st);
}

/* One that can be resumed, with all that a session may have; one that is only seen; and one that
 * nobody has seen. */
static void make_sessions(void)
{
    static const char *const resources[] = { "r", "seen", "quiet" };
    struct session *s[3];
    for (unsigned i = 0; i < 3; i++)
        s[i] = test_node_bind(&t, a, &streams[i], resources[i]);
    session_up(s[0], &(struct up){ .kind = UP_ENABLE, .num = 1 });
    say(s[0], "<presence from='a@localhost/r'><priority>-7</priority><show>dnd</show></presence>");
    say(s[1], "<presence from='a@localhost/seen'/>");
    say(s[0], "<presence from='a@localhost/r' to='b@localhost/one'/>");
    say(s[0], "<presence from='a@localhost/r' to='c@localhost'/>");
    s[0]->interested = true;
    s[0]->collects = true;
    s[0]->state_of[kept_slot] = "one";
    s[1]->state_of[kept_slot] = "another";
    deliver(s[0], 0, 0);
    session_up(s[0], &(struct up){ .kind = UP_ACK, .num = s[0]->out_count - s[0]->out_base });
    deliver(s[0], 10, 0);
    deliver(s[0], 11, 1234567);
    test_node_run(&t, test_node_is_idle, t.store);
    for (unsigned i = 0; i < 3; i++) {
        s[i]->state = SESSION_HIBERNATING; /* as when the node stops */
        s[i]->link = (struct link){ 0 };
    }
    deliver(s[0], 12, 0);
}

static void freeze(struct buf *out)
{
    buf_clear(out);
    actor_freeze(&a->actor, out);
    assert_false(out->overflow);
}

static void check_sessions(const uint8_t token[16])
{
    struct session *s = account_session(a, SLICE("r"));
    assert_non_null(s);
    assert_memory_equal(s->token, token, sizeof s->token);
    assert_int_equal(s->sm, 2);
    assert_int_equal(s->priority, -7);
    assert_int_equal(s->queue_len, 3);
    assert_int_equal(s->queue_unsent, 1);
    assert_true(s->available && s->interested && s->collects && !s->hidden);
    assert_true(session_queue_at(s, 1)->delayed && !session_queue_at(s, 0)->delayed);
    assert_int_equal(session_queue_at(s, 1)->at_us, 1234567);
    assert_true(presence_is_sent(s, SLICE("b@localhost/one")));
    assert_string_equal(s->state_of[kept_slot], "one");
    assert_string_equal(account_session(a, SLICE("seen"))->state_of[kept_slot], "another");
    assert_null(account_session(a, SLICE("quiet")));
}

static void test_there_and_back(void **state)
{
    uint8_t token[16];
    (void)state;
    make_sessions();
    memcpy(token, account_session(a, SLICE("r"))->token, sizeof token);
    freeze(&once);
    free_sessions();
    assert_int_equal(actor_thaw(&a->actor, buf_slice(&once), &why), OK);
    check_sessions(token);
    freeze(&twice);
    assert_true(slice_eq(buf_slice(&once), buf_slice(&twice)));
    /* again, beside sessions that are there: they stay as they are */
    assert_int_equal(actor_thaw(&a->actor, buf_slice(&once), &why), OK);
    freeze(&twice);
    assert_true(slice_eq(buf_slice(&once), buf_slice(&twice)));
    free_sessions();
}

/* Its contacts were told that it is away. When it is back, they are told otherwise. */
static void test_one_shown_as_away(void **state)
{
    (void)state;
    make_sessions();
    struct session *s = account_session(a, SLICE("seen"));
    presence_replace(s, s->presence, true);
    freeze(&once);
    free_sessions();
    assert_int_equal(actor_thaw(&a->actor, buf_slice(&once), &why), OK);
    s = account_session(a, SLICE("seen"));
    assert_non_null(s->awake);
    assert_true(stanza_has(s->presence, KNOWN(SHOW)) && !stanza_has(s->awake, KNOWN(SHOW)));
    freeze(&twice);
    assert_true(slice_eq(buf_slice(&once), buf_slice(&twice)));
    free_sessions();
}

/* In the middle of its offline messages, and with the copy of one for another session. */
static void test_what_is_owed(void **state)
{
    (void)state;
    make_sessions();
    struct session *s = account_session(a, SLICE("r"));
    for (uint64_t id = 20; id <= 22; id++)
        mailbox_open(a, id, ENTRY_OPEN);
    a->mailbox.last_id = 60;
    offline_restore(s, (struct offline_saved){ .read_to = 21, .began = 25, .owed = 29 });
    given_put(a, 20, s->id);
    given_put(a, 21, s->id);
    given_put(a, 22, s->id + 1);
    mailbox_settle(a, 21);
    for (uint64_t id = 40; id < 57;
         id++) { /* so many that the order in memory depends on the past */
        mailbox_open(a, id, ENTRY_OPEN);
        given_put(a, id, s->id);
        if (id % 4 != 0)
            mailbox_settle(a, id);
    }
    freeze(&once);
    free_sessions();
    given_free(a);
    assert_int_equal(actor_thaw(&a->actor, buf_slice(&once), &why), OK);
    s = account_session(a, SLICE("r"));
    struct offline_saved saved = offline_save(s);
    assert_true(s->flushing && saved.read_to == 21 && saved.began == 25 && saved.owed == 29);
    assert_true(given_to(a, 20, s->id));
    assert_false(given_to(a, 21, s->id) || given_to(a, 22, s->id));
    freeze(&twice);
    assert_true(slice_eq(buf_slice(&once), buf_slice(&twice)));
    free_sessions();
    a->mailbox.last_id = 28; /* the last was removed */
    assert_int_equal(actor_thaw(&a->actor, buf_slice(&once), &why), OK);
    assert_int_equal(offline_save(account_session(a, SLICE("r"))).owed, 28);
    free_sessions();
}

static uint64_t thawed_left_ms(void)
{
    assert_int_equal(actor_thaw(&a->actor, buf_slice(&once), &why), OK);
    struct session *s = account_session(a, SLICE("r"));
    session_all_are_back(s);
    uint64_t left = timer_left_ms(t.w->loop, &s->timer);
    free_sessions();
    return left;
}

/* However long the restart takes, and whatever the clock says: no longer than it had left. */
static void test_the_time_that_is_left(void **state)
{
    static const int64_t hours[] = { 0, 8, -8 }; /* the clock was ahead */
    (void)state;
    make_sessions();
    struct session *s = account_session(a, SLICE("r"));
    s->resume_max_s = RESUME_MAX_S;
    session_hibernate(s, 20000);
    freeze(&once);
    free_sessions();
    for (unsigned i = 0; i < 3; i++) {
        slice rest = buf_slice(&once);
        frozen_part(&rest, 1);
        char *at_us = (char *)rest.ptr + 5 + 1 + 8; /* behind the id of the account */
        uint64_t then;
        memcpy(&then, at_us, sizeof then);
        uint64_t moved = then + (uint64_t)(hours[i] * 3600 * 1000000);
        memcpy(at_us, &moved, sizeof moved);
        uint64_t left = thawed_left_ms();
        memcpy(at_us, &then, sizeof then);
        assert_in_range(left, hours[i] < 0 ? 1000 : 19000, hours[i] < 0 ? 1100 : 20100);
    }
}

/* What went out before <enabled/> is in the queue with a number that no client can acknowledge. */
static void test_an_entry_from_before_it_was_enabled(void **state)
{
    (void)state;
    struct session *s = test_node_bind(&t, a, &streams[0], "r");
    say(s, "<presence from='a@localhost/r'/>");
    deliver(s, 9, 0);
    session_up(s, &(struct up){ .kind = UP_ENABLE, .num = 1 });
    deliver(s, 10, 0);
    test_node_run(&t, test_node_is_idle, t.store);
    s->state = SESSION_HIBERNATING;
    s->link = (struct link){ 0 };
    uint32_t len = s->queue_len;
    assert_true(len >= 2 && session_queue_at(s, 0)->seq == s->out_acked);
    freeze(&once);
    free_sessions();
    assert_int_equal(actor_thaw(&a->actor, buf_slice(&once), &why), OK);
    assert_int_equal(account_session(a, SLICE("r"))->queue_len, len);
    freeze(&twice);
    assert_true(slice_eq(buf_slice(&once), buf_slice(&twice)));
    free_sessions();
}

/* It costs itself, and not the sessions. */
static void test_a_stanza_that_cannot_be_read(void **state)
{
    (void)state;
    make_sessions();
    freeze(&once);
    free_sessions();
    char *first = memmem(once.ptr, once.len, "<message", 8);
    assert_non_null(first);
    *first = 'x';
    assert_int_equal(actor_thaw(&a->actor, buf_slice(&once), &why), OK);
    struct session *s = account_session(a, SLICE("r"));
    assert_int_equal(s->queue_len, 2);
    assert_int_equal(s->queue_unsent, 1);
    free_sessions();
}

/* A token opens in its own row only, and with the key of the node. */
static void test_a_token_of_another_session(void **state)
{
    static const unsigned char other[SEAL_KEY_BYTES] = "another key";
    static const unsigned char key[SEAL_KEY_BYTES] = "the key of these tests";
    uint8_t token[16];
    (void)state;
    make_sessions();
    memcpy(token, account_session(a, SLICE("r"))->token, sizeof token);
    freeze(&once);
    free_sessions();
    seal_use(other);
    assert_int_equal(actor_thaw(&a->actor, buf_slice(&once), &why), OK);
    assert_memory_not_equal(account_session(a, SLICE("r"))->token, token, sizeof token);
    free_sessions();
    seal_use(key);
}

static void refused(slice bytes, const char *text)
{
    why.text[0] = '\0';
    assert_int_not_equal(actor_thaw(&a->actor, bytes, &why), OK);
    if (strstr(why.text, text) == NULL)
        fail_msg("found: %s", why.text);
    assert_true(list_empty(&a->sessions));
    assert_int_equal(a->queue_bytes, 0);
}

static void test_wrong_bytes_change_nothing(void **state)
{
    (void)state;
    make_sessions();
    freeze(&once);
    free_sessions();
    for (size_t len = 0; len < once.len; len++)
        refused((slice){ once.ptr, len }, "");
    /* records in the wrong order: the first two change places */
    slice rest = buf_slice(&once), head = frozen_part(&rest, 1), account = frozen_part(&rest, 1),
          session = frozen_part(&rest, 1);
    buf_clear(&twice);
    buf_add(&twice, head);
    buf_add(&twice, session);
    buf_add(&twice, account);
    buf_add(&twice, rest);
    refused(buf_slice(&twice), "do not begin with account 1");
    buf_clear(&twice);
    buf_add(&twice, head);
    buf_add(&twice, account);
    buf_add(&twice, frozen_part(&rest, 1)); /* an entry of a queue */
    buf_add(&twice, session);
    buf_add(&twice, rest);
    refused(buf_slice(&twice), "record 1 (queued) is out of place");
    a->id++; /* the name was given to somebody else */
    refused(buf_slice(&once), "do not begin with account 2");
    a->id--;
}

/* The bytes of a whole account, in which the record carried of `id` has that other one. */
static void freeze_with_id(uint64_t id, uint64_t other)
{
    enum { CARRIED = FROZEN_OWN + 4 };
    buf_clear(&once);
    account_freeze_whole(a, &once);
    free_sessions();
    slice rest = buf_slice(&once), one;
    while ((one = frozen_part(&rest, 1)).len > 0) {
        char *first = (char *)one.ptr + 5 + 1;
        if (one.ptr[0] != CARRIED || memcmp(first, &id, sizeof id) != 0)
            continue;
        memcpy(first, &other, sizeof other);
        return;
    }
    fail_msg("it has no such session");
}

/* Of another node: each is one, and no two are the same. */
static void test_ids_of_carried_sessions(void **state)
{
    struct account *was = a;
    char jid[32] = "a@localhost";
    (void)state;
    make_sessions();
    freeze_with_id(account_session(a, SLICE("seen"))->id, account_session(a, SLICE("r"))->id);
    refused(buf_slice(&once), "(carried) is out of place");
    for (unsigned i = 0; node_slot(slice_of(jid)) != 0; i++)
        snprintf(jid, sizeof jid, "a%u@localhost", i);
    a = test_node_account(&t, jid); /* whose ids could be 0 */
    freeze_with_id(test_node_bind(&t, a, &streams[0], "r")->id, 0);
    refused(buf_slice(&once), "(carried) is out of place");
    account_unpin(a);
    a = was;
}

/* Damage anywhere: it is refused, or what is thawed is an account like any other. */
static void test_damage(void **state)
{
    (void)state;
    make_sessions();
    freeze(&once);
    free_sessions();
    for (size_t at = 0; at < once.len; at++) {
        once.ptr[at] ^= 0x41;
        if (actor_thaw(&a->actor, buf_slice(&once), &why) != OK)
            assert_true(list_empty(&a->sessions));
        test_node_tick(&t); /* which checks it */
        free_sessions();
        once.ptr[at] ^= 0x41;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_there_and_back, start, stop),
        cmocka_unit_test_setup_teardown(test_one_shown_as_away, start, stop),
        cmocka_unit_test_setup_teardown(test_what_is_owed, start, stop),
        cmocka_unit_test_setup_teardown(test_the_time_that_is_left, start, stop),
        cmocka_unit_test_setup_teardown(test_an_entry_from_before_it_was_enabled, start, stop),
        cmocka_unit_test_setup_teardown(test_a_stanza_that_cannot_be_read, start, stop),
        cmocka_unit_test_setup_teardown(test_a_token_of_another_session, start, stop),
        cmocka_unit_test_setup_teardown(test_wrong_bytes_change_nothing, start, stop),
        cmocka_unit_test_setup_teardown(test_ids_of_carried_sessions, start, stop),
        cmocka_unit_test_setup_teardown(test_damage, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
