/* Both halves of a session: its acknowledgement queue and its tickets (XEP-0198 §4, §5). */
#include "account/restart.h"
#include "archive/archive.h"
#include "base/buf.h"
#include "core/core.h"
#include "core/test_node.h"
#include "home/ticket.h"
#include "session/session_queue.h"
#include "session/session_repeats.h"
#include "session/session_struct.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { LOG_MAX = 1024 };

struct stream {
    uint64_t id;
    struct {
        uint32_t num;
        uint64_t archive_id, delay_us;
        char id[16];
        size_t to_len; /* as it is written */
    } got[LOG_MAX];
    unsigned count, acks, requests, holds, releases, resumed, refused;
    uint32_t h;
    bool closed;
    enum session_end why;
    char token[40];
};

static struct test_node t;
static struct account *a, *peer;
static struct stream streams[2];
static struct session *s;
static uint64_t session_id;

static void got_stanza(struct stream *c, const struct down *d)
{
    assert_true(c->count < LOG_MAX);
    c->got[c->count].num = d->num;
    c->got[c->count].archive_id = d->note == NULL ? 0 : d->note->archive_id;
    c->got[c->count].delay_us = d->note == NULL ? 0 : d->note->delay_us;
    c->got[c->count].to_len = d->note == NULL ? d->st->to_len : d->note->to.len;
    snprintf(c->got[c->count].id, sizeof c->got[0].id, "%.*s", SLICE_ARG(stanza_id(d->st)));
    c->count++;
}

static void gate_down(struct stream *c, const struct down *d)
{
    switch (d->kind) {
    case DOWN_STANZA:
        got_stanza(c, d);
        break;
    case DOWN_ACK:
        c->acks++, c->h = d->num;
        break;
    case DOWN_REQUEST:
        c->requests++;
        break;
    case DOWN_HOLD:
        c->holds++;
        break;
    case DOWN_RELEASE:
        c->releases++;
        break;
    case DOWN_ENABLED:
        snprintf(c->token, sizeof c->token, "%.*s", SLICE_ARG(d->text));
        break;
    case DOWN_RESUMED:
        c->resumed++, c->h = d->num;
        break;
    case DOWN_NOT_RESUMED:
        c->refused++;
        break;
    case DOWN_CLOSE:
        c->closed = true, c->why = d->end;
        break;
    default:
        break;
    }
}
static const struct gate_ops gate = { .down = gate_down };

static int start(void **state)
{
    (void)state;
    test_node_open(&t, &gate);
    peer = test_node_account(&t, "peer@localhost");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    test_node_close(&t);
    return 0;
}

static int fresh(void **state)
{
    static unsigned used;
    char jid[32];
    (void)state;
    snprintf(jid, sizeof jid, "u%u@localhost", used++);
    a = test_node_account(&t, jid);
    for (unsigned i = 0; i < 2; i++)
        map_del(&core_of(t.w)->streams,
                (slice){ (const char *)&streams[i].id, sizeof streams[i].id });
    memset(streams, 0, sizeof streams);
    s = test_node_bind(&t, a, &streams[0], "r");
    assert_non_null(s);
    session_id = s->id;
    return 0;
}

/* What is still under way in it must not reach the next one's stream. */
static int end(void **state)
{
    (void)state;
    s = session_find(t.w, session_id);
    if (s != NULL)
        session_end(s, END_CLOSED);
    return 0;
}

static void set(const char *name, const char *value)
{
    struct why why;
    assert_int_equal(setting_set(setting_find(slice_of(name)), slice_of(value), &why), OK);
}

static void up(enum up_kind kind, uint32_t num) { session_up(s, &(struct up){ kind, num, NULL }); }

static void deliver_xml(const char *xml, uint64_t archive_id)
{
    struct stanza *st = test_node_stanza(&t, xml);
    session_deliver(s, st, archive_id, 0);
    stanza_unref(&st);
}

/* A message with that id; a stored one is in the mailbox first. */
static void deliver(unsigned id, uint64_t archive_id)
{
    char xml[128];
    snprintf(xml, sizeof xml,
             "<message from='peer@localhost' id='%u' type='chat'><body/></message>", id);
    if (archive_id != 0)
        mailbox_open(a, archive_id, ENTRY_TAKEN);
    deliver_xml(xml, archive_id);
}

static void presence(const char *from, const char *attributes)
{
    char xml[128];
    snprintf(xml, sizeof xml, "<presence from='%s' %s/>", from, attributes);
    deliver_xml(xml, 0);
}

/* The client sends a message that is stored; the loop does not run, so nothing is committed. */
static void send_message(void)
{
    char xml[128];
    snprintf(xml, sizeof xml,
             "<message from='%.*s' to='peer@localhost' type='chat'><body/></message>",
             SLICE_ARG(s->jid));
    session_up(s, &(struct up){ .kind = UP_STANZA, .st = test_node_stanza(&t, xml) });
}

static void done(uint32_t count)
{
    ticket_done(t.w, (struct origin){ .session = s->id, .count = count });
}

/* Outbound. */

static void test_acknowledgements_settle(void **state)
{
    (void)state;
    up(UP_ENABLE, 1);
    for (unsigned i = 1; i <= 4; i++)
        deliver(i, i * 10);
    assert_int_equal(s->queue_len, 4);
    up(UP_WRITTEN, 4); /* written is not acknowledged */
    assert_int_equal(s->queue_len, 4);
    up(UP_ACK, 2);
    assert_int_equal(s->queue_len, 2);
    assert_int_equal(session_queue_at(s, 0)->archive_id, 30);
    assert_int_equal(a->mailbox.cursor, 20);
    assert_true(session_queued(s, 30));
    assert_false(session_queued(s, 20));
    up(UP_ACK, 2); /* again: nothing new */
    up(UP_ACK, 4);
    assert_int_equal(s->queue_len, 0);
    assert_int_equal(a->mailbox.cursor, 40);
    assert_false(streams[0].closed);
}

static void test_written_settles_without_stream_management(void **state)
{
    (void)state;
    deliver(1, 10);
    deliver(2, 0);
    deliver(3, 30);
    assert_int_equal(s->queue_len, 2); /* what is not stored need not be kept */
    up(UP_WRITTEN, 2);
    assert_int_equal(a->mailbox.cursor, 10);
    up(UP_WRITTEN, 3);
    assert_int_equal(a->mailbox.cursor, 30);
    assert_int_equal(streams[0].requests, 0);
}

static void test_requests_come_after_some(void **state)
{
    (void)state;
    up(UP_ENABLE, 1);
    for (unsigned i = 1; i <= 11; i++)
        deliver(i, 0);
    assert_int_equal(streams[0].requests, 2); /* sm.ack-every is 5 */
}

static void expect_bad_ack(uint32_t h)
{
    up(UP_ACK, h);
    test_node_tick(&t);
    assert_null(session_find(t.w, session_id));
    assert_true(streams[0].closed);
    assert_int_equal(streams[0].why, END_BAD_ACK);
}

static void test_h_too_high(void **state)
{
    (void)state;
    up(UP_ENABLE, 1);
    deliver(1, 0);
    deliver(2, 0);
    up(UP_ACK, 2);
    expect_bad_ack(3);
}

static void test_h_backwards(void **state)
{
    (void)state;
    up(UP_ENABLE, 1);
    deliver(1, 0);
    deliver(2, 0);
    up(UP_ACK, 2);
    expect_bad_ack(1);
}

/* XEP-0198 §4: counts wrap at 2^32. */
static void test_the_count_wraps(void **state)
{
    (void)state;
    up(UP_ENABLE, 1);
    s->out_count = s->out_acked = s->out_asked =
        UINT32_MAX - 2; /* as many as that were exchanged */
    s->out_base = 0;
    for (unsigned i = 1; i <= 6; i++)
        deliver(i, i);
    assert_int_equal(s->out_count, 3);
    assert_int_equal(streams[0].requests, 1);
    up(UP_ACK, UINT32_MAX);
    assert_int_equal(s->queue_len, 4);
    assert_int_equal(a->mailbox.cursor, 2);
    up(UP_ACK, 1);
    assert_int_equal(s->queue_len, 2);
    assert_int_equal(a->mailbox.cursor, 4);
    expect_bad_ack(4);
}

static void is_saved(void *arg, enum store_result r, const struct store_batch *b)
{
    (void)arg, (void)b;
    assert_int_equal(r, STORE_OK);
}

static bool is_restored(void *done)
{
    return !store_busy(t.store) && atomic_load((atomic_bool *)done);
}

/* Sets s. */
static void restart_now(void)
{
    int before = atomic_load(&t.node->life_left);
    restart_save(t.w);
    struct store_batch *b = store_read(t.store, account_lane(a)); /* behind the writes */
    STORE_ADD(b, &archive_load, STORE_ANY_ROWS, SV_I(a->id));
    store_submit(b, t.w->loop, 0, is_saved, NULL);
    test_node_run(&t, test_node_is_idle, t.store);
    assert_int_equal(atomic_load(&t.node->life_left), before);
    restart_fini(t.w);
    while (!list_empty(&a->sessions))
        session_end(CONTAINER_OF(a->sessions.next, struct session, node), END_CLOSED);
    atomic_bool done = false;
    restart_restore(t.w, &done);
    test_node_run(&t, is_restored, &done);
    s = account_session(a, SLICE("r"));
    assert_non_null(s); /* else all of it took longer than a restart waits for */
    session_id = s->id;
}

/* Its client is about to be asked for an acknowledgement: that is not when it ends. */
static void test_an_attached_session_is_saved_for_all_its_time(void **state)
{
    (void)state;
    up(UP_ENABLE, 1);
    deliver(1, 10);
    up(UP_ACK, 1);
    assert_true(timer_is_set(&s->timer));
    s->resume_max_s = RESUME_MAX_S;
    s->state = SESSION_HIBERNATING; /* as when the node stops */
    restart_now();
    assert_non_null(s);
    assert_true(timer_left_ms(worker_loop(t.w), &s->timer) % (600 * 1000) > 30000);
}

/* More than is submitted at a time. */
static void test_more_than_is_saved_at_a_time(void **state)
{
    enum { COUNT = 10, BYTES = 1 << 20 };
    static const char *const resources[] = { "r", "r2", "r3", "r4" };
    static char xml[BYTES + 100];
    (void)state;
    set("sm.hibernate-bytes", "64MiB");
    assert_true(4 * COUNT * BYTES > STORE_QUEUE_BYTES_MAX / 8);
    snprintf(xml, sizeof xml, "<message from='peer@localhost'><body>%0*d</body></message>", BYTES,
             0);
    up(UP_ENABLE, 1);
    up(UP_GONE, END_LOST);
    struct stanza *st = test_node_stanza(&t, xml);
    for (unsigned i = 0; i < 4; i++) {
        struct session *one = i == 0 ? s : session_create(a, slice_of(resources[i]));
        one->sm = 2;
        one->resume_max_s = RESUME_MAX_S;
        one->state = SESSION_HIBERNATING;
        for (unsigned k = 0; k < COUNT; k++) {
            one->out_count++;
            session_queue_push(one, st, 0, 0);
        }
    }
    stanza_unref(&st);
    restart_now();
    for (unsigned i = 0; i < 4; i++) {
        struct session *one = account_session(a, slice_of(resources[i]));
        assert_int_equal(one->queue_len, COUNT);
        session_end(one, END_CLOSED);
    }
}

/* What is kept over a planned restart is in order, also where the count wraps among it. */
static void test_the_count_wraps_while_saved(void **state)
{
    (void)state;
    up(UP_ENABLE, 1);
    s->out_count = s->out_acked = s->out_asked = UINT32_MAX - 2;
    s->out_base = 0;
    for (unsigned i = 1; i <= 6; i++)
        deliver(i, i);
    s->resume_max_s = RESUME_MAX_S;
    up(UP_GONE, END_LOST);
    restart_now();
    assert_int_equal(s->queue_len, 6);
    assert_int_equal(s->out_count, 3);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(session_queue_at(s, i)->seq, UINT32_MAX - 1 + i);
        assert_int_equal(session_queue_at(s, i)->archive_id, i + 1);
    }
}

static void test_the_ring_grows_anywhere(void **state)
{
    uint32_t sent = 0, acked = 0;
    (void)state;
    up(UP_ENABLE, 1);
    for (unsigned round = 0; round < 40; round++) {
        for (unsigned i = 0; i < 7; i++)
            deliver(++sent, 0);
        acked += 3;
        up(UP_ACK, acked);
        assert_int_equal(s->queue_len, sent - acked);
        for (uint32_t i = 0; i < s->queue_len; i++)
            assert_int_equal(session_queue_at(s, i)->seq, acked + 1 + i);
    }
    up(UP_ACK, sent);
    assert_null(s->queue);
}

static void test_a_client_that_never_acknowledges(void **state)
{
    (void)state;
    up(UP_ENABLE, 1);
    set("sm.queue-max", "200");
    for (unsigned i = 1; i <= 201; i++)
        deliver(i, i);
    test_node_tick(&t);
    assert_null(session_find(t.w, session_id));
    assert_int_equal(streams[0].why, END_SLOW);
    assert_int_equal(a->mailbox.open, 201); /* nothing is lost */
    set("sm.queue-max", "10000");
}

/* Hibernation. */

static void resume(uint32_t h)
{
    session_bind(t.w, &(struct bind_request){ .link = test_node_stream(&t, &streams[1]),
                                              .bare = a->jid,
                                              .resource = slice_of(streams[0].token),
                                              .h = h,
                                              .resume = true });
}

static void test_resumption_repeats_what_was_not_acknowledged(void **state)
{
    (void)state;
    up(UP_ENABLE, 1);
    for (unsigned i = 1; i <= 4; i++)
        deliver(i, i == 2 ? 0 : i);
    up(UP_ACK, 1);
    up(UP_GONE, END_LOST);
    assert_int_equal(s->state, SESSION_HIBERNATING);
    deliver(5, 5);
    assert_int_equal(streams[0].count, 4);
    resume(2);
    static const char *const ids[] = { "3", "4", "5" };
    struct stream *c = &streams[1];
    assert_int_equal(c->resumed, 1);
    assert_int_equal(c->count, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(c->got[i].num, i + 3);
        assert_int_equal(c->got[i].archive_id, i + 3);
        assert_string_equal(c->got[i].id, ids[i]);
        assert_int_equal(c->got[i].delay_us != 0, i == 2); /* stored while no session was there */
    }
    assert_int_equal(c->requests, 1);
    up(UP_ACK, 5);
    assert_int_equal(a->mailbox.cursor, 5);
}

static void test_resumption_with_a_wrong_h(void **state)
{
    (void)state;
    up(UP_ENABLE, 1);
    deliver(1, 1);
    up(UP_GONE, END_LOST);
    resume(2);
    assert_int_equal(streams[1].refused, 1);
    assert_int_equal(s->state, SESSION_HIBERNATING);
    streams[0].token[0] ^= 1;
    resume(0);
    assert_int_equal(streams[1].refused, 2);
}

/* The last presence of each contact; numbers close up when the client says what it has. */
static void test_presence_coalesces_while_hibernating(void **state)
{
    (void)state;
    up(UP_ENABLE, 1);
    presence("x@localhost/a", "id='sent'");
    up(UP_GONE, END_LOST);
    presence("x@localhost/a", "id='x1'");
    presence("y@localhost/a", "id='y1'");
    deliver(1, 1);
    presence("x@localhost/a", "id='x2'");
    presence("x@localhost/b", "id='b1'");
    presence("y@localhost/a", "id='y2' type='unavailable'");
    presence("x@localhost/a", "id='s1' type='subscribe'");
    assert_int_equal(s->queue_len, 5);
    resume(1);
    static const char *const ids[] = { "1", "x2", "b1", "y2", "s1" };
    assert_int_equal(streams[1].count, 5);
    for (unsigned i = 0; i < 5; i++) {
        assert_string_equal(streams[1].got[i].id, ids[i]);
        assert_int_equal(streams[1].got[i].num, i + 2);
    }
    up(UP_ACK, 6);
    assert_int_equal(s->queue_len, 0);
    assert_false(streams[1].closed);
}

/* What was sent counts for the buffer as well, from the moment the connection is lost. */
static void test_the_buffer_when_the_connection_is_lost(void **state)
{
    (void)state;
    set("sm.hibernate-buffer", "5");
    up(UP_ENABLE, 1);
    for (unsigned i = 1; i <= 6; i++)
        deliver(i, i);
    up(UP_ACK, 1);
    up(UP_GONE, END_LOST); /* five are left */
    assert_int_equal(s->state, SESSION_HIBERNATING);
    resume(1);
    assert_int_equal(streams[1].resumed, 1);
    deliver(7, 7);
    up(UP_GONE, END_LOST);
    assert_null(session_find(t.w, session_id));
    assert_int_equal(mailbox_state(a, 1), ENTRY_SETTLED);
    for (uint64_t i = 2; i <= 7; i++)
        assert_int_equal(mailbox_state(a, i), ENTRY_OPEN);
    set("sm.hibernate-buffer", "100");
}

static void test_old_presence_makes_room_in_the_buffer(void **state)
{
    (void)state;
    set("sm.hibernate-buffer", "5");
    up(UP_ENABLE, 1);
    deliver(1, 1);
    for (unsigned i = 0; i < 300; i++)
        presence(i % 2 == 0 ? "x@localhost/a" : "y@localhost/a", i >= 298 ? "id='last'" : "");
    deliver(2, 2);
    up(UP_GONE, END_LOST);
    assert_int_equal(s->queue_len, 4);
    presence("x@localhost/a", "id='newer'");
    deliver(3, 3);
    resume(150); /* it had got half of them */
    static const char *const ids[] = { "last", "2", "newer", "3" };
    assert_int_equal(streams[1].count, 4);
    for (unsigned i = 0; i < 4; i++) {
        assert_string_equal(streams[1].got[i].id, ids[i]);
        assert_int_equal(streams[1].got[i].num, 151 + i);
        assert_int_equal(streams[1].got[i].delay_us != 0, i == 3);
    }
    assert_int_equal(a->mailbox.cursor, 1);
    up(UP_ACK, 154);
    assert_int_equal(s->queue_len, 0);
    assert_int_equal(a->mailbox.cursor, 3);
    set("sm.hibernate-buffer", "100");
}

/* Overflow ends resumability, not messages. */
static void test_the_buffer_of_a_hibernating_session(void **state)
{
    (void)state;
    up(UP_ENABLE, 1);
    up(UP_GONE, END_LOST);
    set("sm.hibernate-buffer", "5");
    for (unsigned i = 1; i <= 5; i++)
        deliver(i, i);
    test_node_tick(&t);
    assert_ptr_equal(session_find(t.w, session_id), s);
    deliver(6, 6);
    test_node_tick(&t);
    assert_null(session_find(t.w, session_id));
    for (uint64_t i = 1; i <= 6; i++)
        assert_int_equal(mailbox_state(a, i), ENTRY_OPEN);
    set("sm.hibernate-buffer", "100");
}

static void expect_got(const struct stream *c, const char *const *ids)
{
    unsigned n = 0;
    for (; ids[n] != NULL; n++) {
        assert_true(n < c->count);
        assert_string_equal(c->got[n].id, ids[n]);
    }
    assert_int_equal(c->count, n);
}

/* What comes while its client reads too slowly waits, the last presence of each contact only. */
static void test_a_slow_client(void **state)
{
    (void)state;
    up(UP_ENABLE, 1);
    deliver(1, 1);
    up(UP_SLOW, 1);
    presence("x@localhost/a", "id='x1'");
    deliver(2, 2);
    presence("x@localhost/a", "id='x2'");
    assert_int_equal(streams[0].count, 1);
    up(UP_SLOW, 0);
    expect_got(&streams[0], (const char *const[]){ "1", "2", "x2", NULL });
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(streams[0].got[i].num, i + 1);
    assert_int_equal(streams[0].requests, 1);
    up(UP_ACK, 3);
    assert_int_equal(s->queue_len, 0);
    deliver(3, 0);
    assert_int_equal(streams[0].count, 4);
}

static void test_a_slow_client_without_stream_management(void **state)
{
    (void)state;
    up(UP_SLOW, 1);
    presence("x@localhost/a", "id='x1'");
    deliver(1, 0);
    deliver(2, 2);
    presence("x@localhost/a", "id='x2'");
    assert_int_equal(streams[0].count, 0);
    up(UP_WRITTEN, 0);
    assert_int_equal(s->queue_len, 3);
    up(UP_SLOW, 0);
    expect_got(&streams[0], (const char *const[]){ "1", "2", "x2", NULL });
    assert_int_equal(mailbox_state(a, 2), ENTRY_TAKEN);
    up(UP_WRITTEN, 3);
    assert_int_equal(s->queue_len, 0);
    assert_int_equal(mailbox_state(a, 2), ENTRY_SETTLED);
}

/* What came while it was slow may be urgent. */
static void test_a_slow_client_in_the_background(void **state)
{
    (void)state;
    up(UP_ENABLE, 1);
    session_pause(s, PAUSE_QUIET);
    up(UP_SLOW, 1);
    deliver(1, 0);
    session_unpause(s, PAUSE_QUIET);
    assert_int_equal(streams[0].count, 0);
    session_pause(s, PAUSE_QUIET);
    up(UP_SLOW, 0);
    assert_int_equal(streams[0].count, 1);
    session_unpause(s, PAUSE_QUIET);
}

static void test_the_buffer_of_a_slow_client(void **state)
{
    (void)state;
    set("session.pause-buffer", "5");
    up(UP_SLOW, 1);
    for (unsigned i = 1; i <= 4; i++)
        deliver(i, 0);
    assert_int_equal(streams[0].count, 0);
    deliver(5, 0);
    assert_int_equal(streams[0].count, 5);
    deliver(6, 0);
    assert_int_equal(streams[0].count, 5);
    set("session.pause-buffer", "100");
}

static void test_what_was_kept_is_not_acknowledged_yet(void **state)
{
    (void)state;
    up(UP_ENABLE, 1);
    deliver(1, 1);
    up(UP_SLOW, 1);
    deliver(2, 2);
    up(UP_ACK, 2);
    assert_true(streams[0].closed);
    assert_null(session_find(t.w, session_id));
    assert_int_equal(mailbox_state(a, 2), ENTRY_OPEN);
}

static void test_what_was_kept_comes_with_resumption(void **state)
{
    (void)state;
    up(UP_ENABLE, 1);
    deliver(1, 1);
    up(UP_SLOW, 1);
    deliver(2, 2);
    up(UP_GONE, END_LOST);
    deliver(3, 3);
    resume(1);
    expect_got(&streams[1], (const char *const[]){ "2", "3", NULL });
    assert_true(streams[1].got[0].delay_us != 0);
    deliver(4, 4); /* the new stream is not slow */
    assert_int_equal(streams[1].count, 3);
    up(UP_ACK, 4);
    assert_int_equal(a->mailbox.cursor, 4);
}

static void deliver_copy(const char *id)
{
    char xml[160];
    snprintf(xml, sizeof xml, "<message from='%.*s' id='%s' type='chat'><body/></message>",
             SLICE_ARG(a->jid), id);
    struct stanza *st = test_node_stanza(&t, xml);
    session_deliver_to(s, st, session_jid(s));
    assert_int_equal(st->refs, s->sm != 0 ? 2 : 1); /* shared, not copied */
    stanza_unref(&st);
}

/* One of many copies is repeated after resumption, with its address, and never handed over. */
static void test_a_shared_stanza(void **state)
{
    (void)state;
    up(UP_ENABLE, 1);
    deliver_copy("c");
    assert_int_equal(streams[0].count, 1);
    up(UP_GONE, END_LOST);
    resume(0);
    expect_got(&streams[1], (const char *const[]){ "c", NULL });
    assert_int_equal(streams[1].got[0].to_len, s->jid.len);
    session_end(s, END_EXPIRED);
    assert_false(mailbox_has_open(a));
}

static void test_the_active_client(void **state)
{
    (void)state;
    struct stream other = { 0 };
    struct session *o = test_node_bind(&t, a, &other, "o");
    assert_null(session_active(a));
    send_message();
    assert_ptr_equal(session_active(a), s);
    o->spoke_us = s->spoke_us--;
    assert_ptr_equal(session_active(a), o);
    session_pause(o, PAUSE_QUIET);
    assert_ptr_equal(session_active(a), s);
    session_unpause(o, PAUSE_QUIET);
    session_end(o, END_CLOSED);
    assert_ptr_equal(session_active(a), s);
    map_del(&core_of(t.w)->streams, (slice){ (const char *)&other.id, sizeof other.id });
}

/* Inbound. */

static void test_h_is_the_longest_prefix(void **state)
{
    (void)state;
    up(UP_ENABLE, 1);
    for (unsigned i = 0; i < 4; i++)
        send_message();
    assert_int_equal(s->in_count, 4);
    done(3);
    done(2);
    assert_int_equal(s->h, 0);
    done(1);
    assert_int_equal(s->h, 3);
    done(1); /* counted already */
    done(5); /* not there yet */
    assert_int_equal(s->h, 3);
    done(4);
    assert_int_equal(s->h, 4);
}

static bool is_committed(void *arg)
{
    const uint32_t *target = arg;
    return s->h == *target;
}

/* <r/> is answered at once with what is durable; the rest follows unasked. */
static void test_the_rest_follows(void **state)
{
    uint32_t three = 3;
    (void)state;
    up(UP_ENABLE, 1);
    for (unsigned i = 0; i < 3; i++)
        send_message();
    up(UP_REQUEST, 0);
    assert_int_equal(streams[0].acks, 0); /* one <a/> a tick */
    test_node_run(&t, is_committed, &three);
    test_node_tick(&t);
    assert_true(streams[0].acks >= 1 && streams[0].acks <= 4);
    assert_int_equal(streams[0].h, 3);
}

static void test_counts_begin_with_enable(void **state)
{
    uint32_t four = 4;
    (void)state;
    send_message();
    send_message();
    up(UP_ENABLE, 1);
    send_message();
    send_message();
    test_node_run(&t, is_committed, &four);
    up(UP_REQUEST, 0);
    test_node_tick(&t);
    assert_int_equal(streams[0].h, 2);
}

static void test_the_inbound_count_wraps(void **state)
{
    (void)state;
    up(UP_ENABLE, 1);
    s->in_count = s->h = s->h_told = s->h_asked = UINT32_MAX - 1;
    for (unsigned i = 0; i < 20; i++) /* the ring grows across it */
        send_message();
    assert_int_equal(s->in_count, 18);
    done(0);
    assert_int_equal(s->h, UINT32_MAX - 1);
    done(UINT32_MAX);
    assert_int_equal(s->h, 0);
    for (uint32_t i = 18; i > 0; i--)
        done(i);
    assert_int_equal(s->h, 18);
}

/* Too many that are not finished: the connection is not read until half of them are. */
static void test_flow(void **state)
{
    (void)state;
    up(UP_ENABLE, 1);
    for (unsigned i = 0; i < 1024; i++)
        send_message();
    assert_int_equal(streams[0].holds, 1);
    for (uint32_t i = 1; i <= 511; i++)
        done(i);
    assert_int_equal(streams[0].releases, 0);
    done(512);
    assert_int_equal(streams[0].releases, 1);
}

/* The stream that resumes the session is not read either. */
static void test_flow_after_a_resumption(void **state)
{
    (void)state;
    up(UP_ENABLE, 1);
    for (unsigned i = 0; i < 1024; i++)
        send_message();
    up(UP_GONE, END_LOST);
    resume(0);
    assert_int_equal(streams[1].holds, 1);
    for (uint32_t i = 1; i <= 512; i++)
        done(i);
    assert_int_equal(streams[1].releases, 1);
}

/* What a resumed client sends again, since it was not told that it was counted, is not handled
 * twice. */
static void test_repeats_of_a_resumed_client(void **state)
{
    (void)state;
    up(UP_ENABLE, 1);
    for (unsigned i = 0; i < 3; i++)
        send_message();
    done(1);
    up(UP_GONE, END_LOST);
    resume(0);
    assert_int_equal(streams[1].h, 1);
    send_message();
    send_message();
    assert_int_equal(session_handled(s), 1);
    done(2); /* of the first copies */
    assert_int_equal(session_handled(s), 2);
    done(3);
    assert_int_equal(session_handled(s), 3);
    send_message();
    assert_int_equal(session_handled(s), 3);
    done(s->in_count);
    assert_int_equal(session_handled(s), 4);
}

/* One that is handled at once. */
static void send_state(unsigned id)
{
    char xml[160];
    snprintf(xml, sizeof xml,
             "<message from='%.*s' to='peer@localhost' type='chat' id='s%u'>"
             "<active xmlns='http://jabber.org/protocol/chatstates'/></message>",
             SLICE_ARG(s->jid), id);
    session_up(s, &(struct up){ .kind = UP_STANZA, .st = test_node_stanza(&t, xml) });
}

/* The same without an id. */
static void presence_of(const char *status)
{
    char xml[160];
    snprintf(xml, sizeof xml, "<presence from='%.*s'><status>%s</status></presence>",
             SLICE_ARG(s->jid), status);
    session_up(s, &(struct up){ .kind = UP_STANZA, .st = test_node_stanza(&t, xml) });
}

static unsigned repeats_known(void)
{
    struct buf saved;
    buf_init(&saved, 1 << 24);
    repeats_save(s, &saved);
    unsigned n = (unsigned)(saved.len / REPEAT_BYTES);
    buf_fini(&saved);
    return n;
}

static const struct ticket *last_ticket(void)
{
    return &s->tickets[s->in_count & (s->ticket_cap - 1)];
}

/* Over a planned restart, too: of two without an id the first was not handled. */
static void test_repeats_are_saved(void **state)
{
    struct buf saved, again;
    uint8_t token[sizeof s->token];
    (void)state;
    buf_init(&saved, 1024);
    buf_init(&again, 1024);
    up(UP_ENABLE, 1);
    send_message();
    presence_of("one");
    memcpy(token, s->token, sizeof token);
    repeats_save(s, &saved);
    session_end(s, END_CLOSED);
    s = test_node_bind(&t, a, &streams[1], "r");
    session_id = s->id;
    up(UP_ENABLE, 1);
    memcpy(s->token, token, sizeof token);
    repeats_restore(s, buf_slice(&saved));
    repeats_save(s, &again);
    assert_true(slice_eq(buf_slice(&saved), buf_slice(&again)));
    send_message();
    assert_false(last_ticket()->again);
    presence_of("one");
    assert_true(last_ticket()->again);
    presence_of("two");
    assert_false(last_ticket()->again);
    buf_fini(&saved);
    buf_fini(&again);
}

/* Behind one that is not done, a client sends other things after each resumption. The newest of
 * them are known, and the one that is not done. */
static void test_repeats_are_bounded(void **state)
{
    (void)state;
    up(UP_ENABLE, 1);
    for (unsigned round = 0; round < 5; round++) {
        send_message();
        for (unsigned i = 0; i < 1000; i++)
            send_state(round * 1000 + i);
        up(UP_GONE, END_LOST);
        resume(0);
        assert_int_equal(streams[1].resumed, round + 1);
        assert_true(repeats_known() <= REPEATS_MAX);
    }
    assert_int_equal(repeats_open(s), 1);
    send_message(); /* the one that is not done, which everything waits for now */
    assert_true(last_ticket()->again && last_ticket()->awaited == 1);
    send_state(4999);
    assert_true(last_ticket()->again);
    send_state(4999 - REPEATS_MAX / 2);
    assert_true(last_ticket()->again);
    send_state(0);
    assert_false(last_ticket()->again);
    done(1);
    assert_int_equal(s->h, s->in_count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_acknowledgements_settle, fresh, end),
        cmocka_unit_test_setup_teardown(test_written_settles_without_stream_management, fresh, end),
        cmocka_unit_test_setup_teardown(test_requests_come_after_some, fresh, end),
        cmocka_unit_test_setup_teardown(test_h_too_high, fresh, end),
        cmocka_unit_test_setup_teardown(test_h_backwards, fresh, end),
        cmocka_unit_test_setup_teardown(test_the_count_wraps, fresh, end),
        cmocka_unit_test_setup_teardown(test_the_count_wraps_while_saved, fresh, end),
        cmocka_unit_test_setup_teardown(test_an_attached_session_is_saved_for_all_its_time, fresh,
                                        end),
        cmocka_unit_test_setup_teardown(test_more_than_is_saved_at_a_time, fresh, end),
        cmocka_unit_test_setup_teardown(test_the_ring_grows_anywhere, fresh, end),
        cmocka_unit_test_setup_teardown(test_a_client_that_never_acknowledges, fresh, end),
        cmocka_unit_test_setup_teardown(test_resumption_repeats_what_was_not_acknowledged, fresh,
                                        end),
        cmocka_unit_test_setup_teardown(test_resumption_with_a_wrong_h, fresh, end),
        cmocka_unit_test_setup_teardown(test_presence_coalesces_while_hibernating, fresh, end),
        cmocka_unit_test_setup_teardown(test_the_buffer_of_a_hibernating_session, fresh, end),
        cmocka_unit_test_setup_teardown(test_a_slow_client, fresh, end),
        cmocka_unit_test_setup_teardown(test_a_slow_client_without_stream_management, fresh, end),
        cmocka_unit_test_setup_teardown(test_a_slow_client_in_the_background, fresh, end),
        cmocka_unit_test_setup_teardown(test_the_buffer_of_a_slow_client, fresh, end),
        cmocka_unit_test_setup_teardown(test_what_was_kept_is_not_acknowledged_yet, fresh, end),
        cmocka_unit_test_setup_teardown(test_what_was_kept_comes_with_resumption, fresh, end),
        cmocka_unit_test_setup_teardown(test_a_shared_stanza, fresh, end),
        cmocka_unit_test_setup_teardown(test_the_active_client, fresh, end),
        cmocka_unit_test_setup_teardown(test_the_buffer_when_the_connection_is_lost, fresh, end),
        cmocka_unit_test_setup_teardown(test_old_presence_makes_room_in_the_buffer, fresh, end),
        cmocka_unit_test_setup_teardown(test_h_is_the_longest_prefix, fresh, end),
        cmocka_unit_test_setup_teardown(test_the_rest_follows, fresh, end),
        cmocka_unit_test_setup_teardown(test_counts_begin_with_enable, fresh, end),
        cmocka_unit_test_setup_teardown(test_the_inbound_count_wraps, fresh, end),
        cmocka_unit_test_setup_teardown(test_flow, fresh, end),
        cmocka_unit_test_setup_teardown(test_flow_after_a_resumption, fresh, end),
        cmocka_unit_test_setup_teardown(test_repeats_of_a_resumed_client, fresh, end),
        cmocka_unit_test_setup_teardown(test_repeats_are_saved, fresh, end),
        cmocka_unit_test_setup_teardown(test_repeats_are_bounded, fresh, end),
    };
    return cmocka_run_group_tests_name("session/session_queue", tests, start, stop);
}
