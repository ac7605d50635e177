/* The fan-out of a room with one worker and with three: order, parts of an audience, ends of
 * sessions, a planned restart. The rooms are of a service of this test, so all that a room says
 * goes the way it goes in a server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "component/component_shown.h"
#include "core/audience.h"
#include "core/test_live.h"
#include "home/host.h"
#include "home/texts.h"
#include "presence/caps.h"
#include "presence/presence_in.h"
#include "presence/roster_account.h"

enum { WORKERS_MAX = 3, ROOMS_MAX = 64, OCCUPANTS_MAX = 64, MODERATOR = 1 };

/* A room: r<number>@conference.localhost. Its home alone touches it, but for what is said to be
 * under live.lock. */
struct room {
    char name[64];
    struct audience audience;
    struct {
        char jid[96], nick[32];
    } occupant[OCCUPANTS_MAX]; /* a seat is an index here, plus one */
    unsigned entered, gone;    /* under live.lock: who was added, unavailable presence that came */
    char back[256];            /* under live.lock: who came back, with what */
};

static struct room rooms[ROOMS_MAX];
static unsigned workers, rooms_used, users;

static struct room *room_of(struct worker *w, slice bare)
{
    struct room *r = &rooms[strtoul(bare.ptr + 1, NULL, 10)];
    if (r->audience.worker == NULL) {
        snprintf(r->name, sizeof r->name, "%.*s", SLICE_ARG(bare));
        audience_init(&r->audience, w, slice_of(r->name));
    }
    assert_ptr_equal(r->audience.worker, w);
    return r;
}

static unsigned seat_of(const struct room *r, slice jid)
{
    unsigned i = 0;
    while (i < OCCUPANTS_MAX && !slice_is(jid, r->occupant[i].jid))
        i++;
    return i == OCCUPANTS_MAX ? 0 : i + 1;
}

static slice occupant_jid(const struct room *r, unsigned seat)
{
    return slice_of(arena_printf(loop_scratch(r->audience.worker->loop), "%s/%s", r->name,
                                 r->occupant[seat - 1].nick));
}

/* Self-presence first, then what is sent to all. */
static void room_enter(struct room *r, struct stanza *st)
{
    struct jid to = jid_split(stanza_to(st));
    unsigned seat = seat_of(r, slice_of(""));
    assert_int_not_equal(seat, 0);
    snprintf(r->occupant[seat - 1].jid, sizeof r->occupant[0].jid, "%.*s",
             SLICE_ARG(stanza_from(st)));
    snprintf(r->occupant[seat - 1].nick, sizeof r->occupant[0].nick, "%.*s",
             SLICE_ARG(to.resource));
    route_send(r->audience.worker, stanza_make(STANZA_PRESENCE, TYPE_AVAILABLE, stanza_to(st),
                                               stanza_from(st), (slice){ 0 }, SLICE("<self/>")));
    struct audience_member m = { .jid = stanza_from(st),
                                 .seat = seat,
                                 .bits = to.resource.ptr[0] == 'm' ? MODERATOR : 0,
                                 .blob = slice_of(r->occupant[seat - 1].nick),
                                 .presence = st };
    assert_true(audience_add(&r->audience, &m));
    pthread_mutex_lock(&live.lock);
    r->entered++;
    pthread_cond_broadcast(&live.changed);
    pthread_mutex_unlock(&live.lock);
}

static void room_leave(struct room *r, slice jid)
{
    unsigned seat = seat_of(r, jid);
    pthread_mutex_lock(&live.lock);
    r->gone++;
    pthread_cond_broadcast(&live.changed);
    pthread_mutex_unlock(&live.lock);
    if (seat == 0)
        return;
    struct stanza *st = stanza_make(STANZA_PRESENCE, TYPE_UNAVAILABLE, occupant_jid(r, seat),
                                    (slice){ 0 }, (slice){ 0 }, (slice){ 0 });
    audience_send(&r->audience, st, NULL); /* also to one that has ended */
    stanza_unref(&st);
    audience_remove(&r->audience, jid);
    r->occupant[seat - 1].jid[0] = '\0';
}

static void room_say(struct room *r, const struct stanza *st)
{
    unsigned seat = seat_of(r, stanza_from(st));
    if (seat == 0)
        return;
    struct stanza *said = stanza_make(STANZA_MESSAGE, TYPE_GROUPCHAT, occupant_jid(r, seat),
                                      (slice){ 0 }, stanza_id(st), stanza_content(st));
    audience_send(&r->audience, said, NULL);
    stanza_unref(&said);
}

static enum routed room_receive(struct worker *w, const struct host *h, struct stanza *st,
                                struct origin origin)
{
    struct room *r = room_of(w, stanza_to_bare(st));
    unsigned seat = seat_of(r, stanza_from(st));
    (void)h, (void)origin;
    if (st->kind == STANZA_MESSAGE)
        room_say(r, st);
    else if (st->type == TYPE_UNAVAILABLE)
        room_leave(r, stanza_from(st));
    else if (seat == 0)
        room_enter(r, st);
    else
        audience_set(&r->audience, &(struct audience_member){
                                       .jid = stanza_from(st), .seat = seat, .presence = st });
    stanza_unref(&st);
    return ROUTED;
}

static void room_back(struct worker *w, slice bare, const struct audience_member *m)
{
    struct room *r = room_of(w, bare);
    unsigned seat = seat_of(r, slice_of(""));
    snprintf(r->occupant[seat - 1].jid, sizeof r->occupant[0].jid, "%.*s", SLICE_ARG(m->jid));
    struct audience_member again = *m;
    again.seat = seat;
    assert_true(audience_add(&r->audience, &again));
    pthread_mutex_lock(&live.lock);
    snprintf(r->back, sizeof r->back, "%.*s %.*s %.*s", SLICE_ARG(m->jid), SLICE_ARG(m->blob),
             SLICE_ARG(stanza_content(m->presence)));
    pthread_cond_broadcast(&live.changed);
    pthread_mutex_unlock(&live.lock);
}

static enum verdict room_block(struct account *a, const struct stanza *st, struct refusal *why)
{
    struct jid from = jid_split(stanza_from(st));
    (void)a, (void)why;
    return slice_is(from.resource, "troll") ? REFUSE : PASS;
}

static bool room_takes(const struct session *s, const struct stanza *st)
{
    return !slice_is(session_resource(s), "picky") || stanza_has(st, KNOWN(BODY));
}

static const struct host hosts[] = { { .label = "conference", .receive = room_receive }, { 0 } };
static void room_stopping(struct worker *w) { (void)w; }
static const struct audience_owner room_owner = { .back = room_back, .stopping = room_stopping };
static const struct feature room_feature = { .name = "room",
                                             .hosts = hosts,
                                             .one.rooms = &room_owner,
                                             .stage.block = room_block,
                                             .stage.takes = room_takes };

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
    &room_feature,
    NULL,
};

/* Start and end. */

static const char *const domains[] = { "localhost", NULL };

static int start_with(unsigned count)
{
    workers = count;
    live_begin(features);
    live_open(0, workers, domains);
    live_start(0);
    return 0;
}

static int start_one(void **state)
{
    (void)state;
    return start_with(1);
}

static int start_three(void **state)
{
    (void)state;
    return start_with(WORKERS_MAX);
}

static void forget_rooms(void)
{
    for (unsigned i = 0; i < ROOMS_MAX; i++)
        if (rooms[i].audience.worker != NULL)
            audience_fini(&rooms[i].audience);
    memset(rooms, 0, sizeof rooms);
    rooms_used = 0;
}

static int stop(void **state)
{
    (void)state;
    node_stop(live.node[0]);
    forget_rooms();
    live_close(0);
    live_end();
    return 0;
}

/* Clients. */

static const char *user_at(unsigned worker)
{
    for (;;) {
        const char *jid = arena_printf(live.tmp, "u%u@localhost", users++);
        if (node_slot(slice_of(jid)) % workers != worker)
            continue;
        live_add(0, jid);
        return jid;
    }
}

static struct stream *login_as(const char *bare, const char *resource)
{
    unsigned worker = node_slot(slice_of(bare)) % workers;
    return live_bind(
        &live.node[0]->workers[worker],
        &(struct bind_request){ .bare = slice_of(bare), .resource = slice_of(resource) });
}

static struct stream *login(unsigned n) { return login_as(user_at(n % workers), "r"); }

static const char *new_room(unsigned worker)
{
    for (;;) {
        assert_true(rooms_used < ROOMS_MAX);
        const char *jid = arena_printf(live.tmp, "r%u@conference.localhost", rooms_used++);
        if (node_slot(slice_of(jid)) % workers == worker % workers)
            return jid;
    }
}

static struct room *number(const char *room) { return &rooms[strtoul(room + 1, NULL, 10)]; }

static void present(struct stream *s, const char *room, const char *nick, const char *more)
{
    live_send(
        s, arena_printf(live.tmp, "<presence from='%s' to='%s/%s' %s", s->jid, room, nick, more));
}

#define X                                                                                          \
    ">"                                                                                            \
    "<x xmlns='http://jabber.org/protocol/muc'/></presence>"

static void enter(struct stream *s, const char *room, const char *nick)
{
    present(s, room, nick, X);
    live_expect(s, "<self/>");
}

static void say(struct stream *s, const char *room, const char *text)
{
    live_send(s, arena_printf(live.tmp,
                              "<message from='%s' to='%s' type='groupchat' id='%s'>"
                              "<body>%s</body></message>",
                              s->jid, room, text, text));
}

static void logout(struct stream *s) { live_up(s, UP_GONE, END_CLOSED, NULL); }

static unsigned lines_of(struct stream *s)
{
    pthread_mutex_lock(&live.lock);
    unsigned n = s->lines;
    pthread_mutex_unlock(&live.lock);
    return n;
}

/* At the home of a room. */

typedef void room_fn(struct room *r);
struct visit {
    struct room *room;
    room_fn *fn;
    struct stream *stream;
    bool done;
};

static void visit_there(struct worker *w, void *arg)
{
    struct visit *v = arg;
    (void)w;
    v->fn(v->room);
    live_set(&v->done);
}

static void visit(const char *room, room_fn *fn)
{
    struct visit *v = arena_new(live.tmp, struct visit, 1);
    *v = (struct visit){ .room = number(room), .fn = fn };
    node_call(live.node[0], node_slot(slice_of(room)) % workers, visit_there, v);
    LIVE_AWAIT(v->done);
}

/* Tests. */

static void test_self_presence_comes_first(void **state)
{
    (void)state;
    for (unsigned home = 0; home < workers; home++) {
        const char *room = new_room(home);
        for (unsigned i = 0; i < 4; i++) {
            struct stream *s = login(i);
            present(s, room, arena_printf(live.tmp, "n%u", i), X);
            say(s, room, "hello");
            live_expect(s, "hello"); /* so all before it is there */
            assert_int_equal(lines_of(s), 1);
            live_expect(s, "<self/>");
            assert_int_equal(s->got, 2);
            logout(s);
            LIVE_AWAIT(number(room)->gone == i + 1);
        }
    }
}

/* All hear the same messages in the same order, each with his own `to`. */
static void test_one_order_for_all(void **state)
{
    enum { TALKERS = 3, LISTENERS = 6, EACH = 30 };
    struct stream *talker[TALKERS], *listener[LISTENERS];
    const char *room = new_room(1);
    (void)state;
    for (unsigned i = 0; i < LISTENERS; i++)
        enter(listener[i] = login(i), room, arena_printf(live.tmp, "l%u", i));
    for (unsigned i = 0; i < TALKERS; i++)
        enter(talker[i] = login(i), room, arena_printf(live.tmp, "t%u", i));
    for (unsigned i = 0; i < EACH; i++)
        for (unsigned k = 0; k < TALKERS; k++)
            say(talker[k], room, arena_printf(live.tmp, "m%u.%u", k, i));
    for (unsigned i = 0; i < EACH * TALKERS; i++) {
        const char *first = live_expect(listener[0], "<message");
        const char *to = arena_printf(live.tmp, "to='%s'", listener[0]->jid);
        assert_non_null(strstr(first, to));
        const char *id = strstr(first, "<body>"); /* the rest is the same block */
        for (unsigned k = 1; k < LISTENERS; k++) {
            const char *same = live_expect(listener[k], "<message");
            assert_string_equal(strstr(same, "<body>"), id);
            assert_non_null(strstr(same, arena_printf(live.tmp, "to='%s'", listener[k]->jid)));
        }
    }
    for (unsigned i = 0; i < LISTENERS; i++)
        logout(listener[i]);
    for (unsigned i = 0; i < TALKERS; i++)
        logout(talker[i]);
}

/* Who comes and goes hears all that was said in between, and nothing else. */
static void test_coming_and_going(void **state)
{
    const char *room = new_room(0);
    struct stream *talker = login(1), *guest[WORKERS_MAX];
    unsigned said = 0;
    (void)state;
    enter(talker, room, "talker");
    for (unsigned i = 0; i < workers; i++)
        guest[i] = login(i);
    for (unsigned turn = 0; turn < 10; turn++) {
        for (unsigned i = 0; i < workers; i++)
            enter(guest[i], room, arena_printf(live.tmp, "g%u", i));
        for (unsigned i = 0; i < 5; i++)
            say(talker, room, arena_printf(live.tmp, "in%u.", said++));
        for (unsigned i = 0; i < 5; i++)
            live_expect(talker, "<message"); /* the room has said it to all workers */
        for (unsigned i = 0; i < workers; i++)
            present(guest[i], room, arena_printf(live.tmp, "g%u", i), "type='unavailable'/>");
        LIVE_AWAIT(number(room)->gone == (turn + 1) * workers);
        say(talker, room, "out");
        live_expect(talker, "out");
        for (unsigned i = 0; i < workers; i++) {
            for (unsigned k = said - 5; k < said; k++)
                live_expect(guest[i], arena_printf(live.tmp, "<body>in%u.<", k));
            assert_false(live_has(guest[i], (const char *const[LIVE_PARTS]){ "out", "", "" }));
        }
    }
    logout(talker);
}

static void send_parts(struct room *r)
{
    static const struct {
        struct audience_whom whom;
        const char *id;
    } parts[] = {
        { { .mask = MODERATOR, .want = MODERATOR }, "moderators" },
        { { .mask = MODERATOR }, "others" },
        { { .only = 2 }, "second" },
        { { .except = 2 }, "not-second" },
        { { .mask = MODERATOR, .want = MODERATOR, .except = 1 }, "nobody" },
        { { 0 }, "all" },
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        struct stanza *st = stanza_make(STANZA_MESSAGE, TYPE_GROUPCHAT, slice_of(r->name),
                                        (slice){ 0 }, slice_of(parts[i].id), (slice){ 0 });
        audience_send(&r->audience, st, &parts[i].whom);
        stanza_unref(&st);
    }
}

static void expect_ids(struct stream *s, const char *const ids[])
{
    for (; *ids != NULL; ids++)
        assert_non_null(
            strstr(live_expect(s, "<message"), arena_printf(live.tmp, "id='%s'", *ids)));
    assert_int_equal(lines_of(s), 0);
}

static void become_a_moderator(struct room *r)
{
    struct audience_member m = { .jid = slice_of(r->occupant[2].jid),
                                 .seat = 3,
                                 .bits = MODERATOR };
    audience_set(&r->audience, &m);
    m.jid = SLICE("nobody@localhost/r");
    audience_set(&r->audience, &m);
}

static void tell_third(struct room *r)
{
    struct stanza *st = stanza_make(STANZA_MESSAGE, TYPE_GROUPCHAT, slice_of(r->name), (slice){ 0 },
                                    SLICE("told"), (slice){ 0 });
    audience_tell(&r->audience, slice_of(r->occupant[2].jid), st);
    audience_tell(&r->audience, SLICE("nobody@localhost/r"), st);
    audience_tell(&r->audience, SLICE("who@elsewhere.test"), st);
    stanza_unref(&st);
}

static void test_parts_of_an_audience(void **state)
{
    const char *room = new_room(2);
    struct stream *one = login(0), *two = login(1), *three = login(2);
    (void)state;
    enter(one, room, "m1");
    enter(two, room, "p2");
    enter(three, room, "p3");
    visit(room, send_parts);
    expect_ids(one, (const char *const[]){ "moderators", "not-second", "all", NULL });
    expect_ids(two, (const char *const[]){ "others", "second", "all", NULL });
    expect_ids(three, (const char *const[]){ "others", "not-second", "all", NULL });
    visit(room, become_a_moderator);
    visit(room, send_parts);
    visit(room, tell_third);
    expect_ids(three,
               (const char *const[]){ "moderators", "not-second", "nobody", "all", "told", NULL });
    logout(one);
    logout(two);
    logout(three);
}

static void test_who_does_not_want_it(void **state)
{
    const char *room = new_room(1);
    struct stream *troll = login(0), *other = login(1);
    struct stream *picky = login_as(user_at(0), "picky");
    (void)state;
    present(troll, room, "troll", X);
    enter(other, room, "other");
    present(picky, room, "picky", X); /* its self-presence is passed over as well */
    LIVE_AWAIT(number(room)->entered == 3);
    say(troll, room, "nonsense");
    say(other, room, "sense");
    assert_non_null(strstr(live_expect(other, "<message"), "sense"));
    assert_non_null(strstr(live_expect(picky, "<"), "sense"));
    logout(other);
    logout(troll);
    logout(picky);
    LIVE_AWAIT(number(room)->gone == 3);
}

static void add_strangers(struct room *r)
{
    static const char *const none[] = { "who@elsewhere.test/r", "conference.localhost/r",
                                        "u@localhost", "r0@conference.localhost/nick", NULL };
    for (unsigned i = 0; none[i] != NULL; i++)
        assert_false(
            audience_add(&r->audience, &(struct audience_member){ .jid = slice_of(none[i]) }));
    audience_remove(&r->audience, SLICE("who@elsewhere.test/r"));
    struct audience_member ended = { .jid = SLICE("ended@localhost/r") };
    assert_true(audience_add(&r->audience, &ended));
    audience_remove(&r->audience, ended.jid);
}

static void close_room(struct room *r)
{
    audience_fini(&r->audience);
    r->audience = (struct audience){ 0 };
    memset(r->occupant, 0, sizeof r->occupant);
}

static void test_a_room_that_is_closed(void **state)
{
    const char *room = new_room(1);
    struct stream *one = login(0), *two = login(1), *three = login(0);
    (void)state;
    enter(one, room, "one");
    enter(two, room, "two");
    visit(room, add_strangers);
    visit(room, close_room);
    enter(three, room, "three"); /* the first of a new one */
    say(three, room, "hello");
    live_expect(three, "hello");
    logout(one);
    logout(two);
    LIVE_AWAIT(number(room)->gone == 2);
    assert_int_equal(lines_of(one) + lines_of(two), 0);
    logout(three);
}

static unsigned slots_left;
static bool list_given_back;
static void count_slots(struct room *r)
{
    slots_left = r->audience.places;
    list_given_back = r->audience.place == NULL;
}

static void lose_there(struct worker *w, void *arg)
{
    struct visit *v = arg;
    audience_feature.session.freed(session_find(w, v->stream->session));
    live_set(&v->done);
}

/* As where a session has come from another home: the room believes that it is on the list. */
static void test_one_that_the_list_has_lost(void **state)
{
    const char *room = new_room(1);
    struct stream *lost = login(0), *other = login(1);
    struct visit v = { .stream = lost };
    (void)state;
    enter(lost, room, "lost");
    enter(other, room, "other");
    node_call(live.node[0], lost->worker->index, lose_there, &v);
    LIVE_AWAIT(v.done);
    say(other, room, "unheard");
    live_expect(other, "unheard");
    present(lost, room, "lost", "/>");
    say(lost, room, "heard");
    assert_non_null(strstr(live_expect(lost, "<"), "heard"));
    logout(lost);
    logout(other);
    LIVE_AWAIT(number(room)->gone == 2);
    visit(room, count_slots); /* nobody was counted twice */
    assert_int_equal(slots_left, 0);
}

static slice moving; /* of a slot that moves */

static void add_moving(struct room *r)
{
    assert_true(audience_add(&r->audience, &(struct audience_member){ .jid = moving }));
}

static void remove_moving(struct room *r) { audience_remove(&r->audience, moving); }

/* A room that adds an address at one home and removes it at the next goes on speaking to those who
 * are at the next. */
static void test_a_slot_that_moves(void **state)
{
    const char *room = new_room(1), *bare = user_at(0);
    uint8_t *home = &live.node[0]->slot_worker[node_slot(slice_of(bare))];
    struct stream *talker = login(1);
    (void)state;
    moving = slice_of(arena_printf(live.tmp, "%s/early", bare));
    enter(talker, room, "talker");
    visit(room, add_moving);
    *home = 2;
    struct stream *late =
        live_bind(&live.node[0]->workers[2],
                  &(struct bind_request){ .bare = slice_of(bare), .resource = SLICE("late") });
    enter(late, room, "late");
    visit(room, remove_moving);
    say(talker, room, "heard");
    live_expect(late, "heard");
    logout(late);
    logout(talker);
    LIVE_AWAIT(number(room)->gone == 2);
    visit(room, count_slots);
    assert_int_equal(slots_left, 0);
    assert_true(list_given_back); /* the slot stays there: workers run */
}

/* More frames than a ring holds; what comes behind them stays behind. */
enum { MANY = 5000 };

static void send_many(struct room *r)
{
    const struct audience_whom nobody = { .mask = MODERATOR, .want = MODERATOR };
    for (unsigned i = 0; i <= MANY; i++) {
        struct stanza *st =
            stanza_make(STANZA_MESSAGE, TYPE_GROUPCHAT, slice_of(r->name), (slice){ 0 },
                        slice_of(i % 100 == 0 ? "heard" : "unheard"), (slice){ 0 });
        audience_send(&r->audience, st, i % 100 == 0 ? NULL : &nobody);
        stanza_unref(&st);
    }
}

static void test_full_rings(void **state)
{
    const char *room = new_room(0);
    struct stream *s[WORKERS_MAX];
    (void)state;
    for (unsigned i = 0; i < workers; i++)
        enter(s[i] = login(i), room, arena_printf(live.tmp, "p%u", i));
    visit(room, send_many);
    say(s[0], room, "last");
    for (unsigned i = 0; i < workers; i++) {
        for (unsigned k = 0; k <= MANY / 100; k++)
            assert_non_null(strstr(live_expect(s[i], "<"), "id='heard'"));
        assert_non_null(strstr(live_expect(s[i], "<"), "last"));
        logout(s[i]);
    }
}

/* Ends of sessions. */

static void enable(struct stream *s)
{
    live_up(s, UP_ENABLE, 1, NULL);
    LIVE_AWAIT(s->enabled);
}

/* The buffer of a hibernating session overflows while a message is sent to all: the room is told,
 * the others miss nothing, and no sibling gets what was kept for that session. */
static void test_a_session_ends_while_it_is_sent_to(void **state)
{
    const char *room = new_room(0), *bare = user_at(0);
    struct stream *one = login(0), *ends = login_as(bare, "ends"), *two = login(1);
    struct stream *sibling = login_as(bare, "sibling");
    struct why why;
    (void)state;
    assert_int_equal(setting_set(&sm_hibernate_buffer, SLICE("5"), &why), OK);
    live_send(sibling, arena_printf(live.tmp, "<presence from='%s'/>", sibling->jid));
    live_expect(sibling, "<presence");
    enable(ends);
    enter(one, room, "one");
    enter(ends, room, "ends");
    enter(two, room, "two");
    live_up(ends, UP_GONE, END_LOST, NULL);
    for (unsigned i = 0; i < 20; i++)
        say(one, room, arena_printf(live.tmp, "m%u.", i));
    LIVE_AWAIT(number(room)->gone == 1);
    for (unsigned i = 0; i < 20; i++) {
        live_expect(one, arena_printf(live.tmp, "<body>m%u.", i));
        live_expect(two, arena_printf(live.tmp, "<body>m%u.", i));
    }
    live_expect(one, "unavailable");
    live_expect(two, "unavailable");
    assert_int_equal(lines_of(sibling), 0);
    setting_reset(&sm_hibernate_buffer);
    logout(one);
    logout(two);
    logout(sibling);
    LIVE_AWAIT(number(room)->gone == 3);
}

/* Each way to end tells each room once, under whatever nicks it was there. */
static void test_every_end_is_told_once(void **state)
{
    enum { ROOMS = 5 };
    static const enum session_end ways[] = { END_CLOSED, END_LOST, END_SLOW, END_SHUTDOWN };
    const char *room[ROOMS];
    unsigned told = 0;
    (void)state;
    for (unsigned i = 0; i < ROOMS; i++)
        room[i] = new_room(i);
    for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
        struct stream *s = login((unsigned)way);
        for (unsigned i = 0; i < ROOMS; i++) {
            enter(s, room[i], "first");
            present(s, room[i], "second", "/>"); /* another nick */
            present(s, room[i], "third", "/>");
        }
        live_up(s, UP_GONE, ways[way], NULL);
        told++;
        for (unsigned i = 0; i < ROOMS; i++)
            LIVE_AWAIT(number(room[i])->gone == told);
    }
    struct stream *s = login(0);
    for (unsigned i = 0; i < ROOMS; i++) { /* all that was on its way has come */
        enter(s, room[i], "last");
        LIVE_AWAIT(number(room[i])->gone == told);
    }
    present(s, room[0], "another", "type='unavailable'/>"); /* it leaves, under whatever nick */
    LIVE_AWAIT(number(room[0])->gone == told + 1);
    logout(s);
    LIVE_AWAIT(number(room[1])->gone == told + 1);
    assert_int_equal(number(room[0])->gone, told + 1);
}

/* A planned restart. */

static void test_back_after_a_restart(void **state)
{
    const char *room = new_room(1), *bare = user_at(0);
    struct stream *s = login_as(bare, "r"), *talker;
    (void)state;
    enable(s);
    enter(s, room, "nick");
    present(s, room, "nick", "><show>dnd</show></presence>");
    const char *token = arena_printf(live.tmp, "%s", s->token);
    const char *jid = arena_printf(live.tmp, "%s", s->jid);
    say(s, room, "before");
    live_expect(s, "before");
    live_up(s, UP_GONE, END_LOST, NULL);
    node_stop(live.node[0]);
    forget_rooms();
    live_close(0);
    live_open(0, workers, domains);
    live_start(0);
    LIVE_AWAIT(number(room)->back[0] != '\0');
    assert_string_equal(number(room)->back,
                        arena_printf(live.tmp, "%s nick <show>dnd</show>", jid));
    assert_int_equal(number(room)->gone, 0);
    talker = login(1);
    enter(talker, room, "talker");
    say(talker, room, "after");
    live_expect(talker, "after");
    s = live_bind(&live.node[0]->workers[0], &(struct bind_request){ .bare = slice_of(bare),
                                                                     .resource = slice_of(token),
                                                                     .resume = true });
    assert_true(s->resumed);
    live_expect(s, "after");
    logout(s);
    logout(talker);
    LIVE_AWAIT(number(room)->gone == 2);
}

struct restoring {
    struct stream *stream;
    slice bytes;
    bool done;
};

static void restore_there(struct worker *w, void *arg)
{
    struct restoring *r = arg;
    audience_feature.session.restore(session_find(w, r->stream->session), r->bytes);
    live_set(&r->done);
}

static void restore_from(struct stream *s, slice bytes)
{
    struct restoring *r = arena_new(live.tmp, struct restoring, 1);
    *r = (struct restoring){ s, bytes, false };
    node_call(live.node[0], s->worker->index, restore_there, r);
    LIVE_AWAIT(r->done);
}

/* A record as audience_save() makes it. */
static slice saved(struct buf *b, const char *room, const char *blob, const char *presence)
{
    struct buf text;
    buf_clear(b);
    buf_init(&text, 1 << 16);
    texts_add(&text, slice_of(room));
    texts_add(&text, slice_of(blob));
    buf_append(&text, "\0", 2); /* nothing odd about the stanza that follows */
    texts_add(&text, slice_of(presence));
    uint32_t len = htole32((uint32_t)text.len + 1);
    buf_append(b, "\x03", 1);
    buf_append(b, &len, sizeof len);
    buf_append(b, "\x03", 1);
    buf_add(b, buf_slice(&text));
    buf_fini(&text);
    return buf_slice(b);
}

static void test_what_was_kept_is_not_trusted(void **state)
{
    const char *room = new_room(0);
    struct stream *s = login(1);
    struct buf b;
    (void)state;
    buf_init(&b, 1 << 20);
    slice sound = saved(&b, room, "blob", "");
    for (size_t len = 0; len < sound.len; len++)
        restore_from(s, (slice){ slice_dup(live.tmp, sound).ptr, len });
    restore_from(s, saved(&b, "@", "blob", ""));
    restore_from(s, saved(&b, arena_printf(live.tmp, "%s/nick", room), "blob", ""));
    char *blob = arena_printf(live.tmp, "%0*d", AUDIENCE_BLOB_MAX + 1, 0);
    restore_from(s, saved(&b, room, blob, ""));
    static const char *const none[] = { "<message/>", "<presence from='a@b/c'/>", "<presence" };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        restore_from(s, saved(&b, room, "blob", none[i]));
    assert_null(number(room)->audience.worker);
    buf_fini(&b);
    logout(s);
}

/* As after a restart: an account is thawed by the first thing that waited for it. */

struct waiting {
    struct restoring *restoring;
    struct worker *worker;
};

static void restore_first(struct account *a, enum err e, void *arg)
{
    struct waiting *w = arg;
    (void)a;
    assert_int_equal(e, OK);
    restore_there(w->worker, w->restoring);
}

static void nothing_more(struct account *a, enum err e, void *arg) { (void)a, (void)e, (void)arg; }

static void restore_behind_a_pause(struct worker *w, void *arg)
{
    struct waiting waiting = { arg, w };
    struct account *a = account_find(w, slice_of(waiting.restoring->stream->bare));
    actor_pause(&a->actor);
    account_with(w, a->jid, restore_first, &waiting);
    account_with(w, a->jid, nothing_more, NULL);
    actor_unpause(&a->actor);
    actor_go_on(&a->actor);
}

static void test_back_while_more_waits_for_the_account(void **state)
{
    const char *room = new_room(0);
    struct stream *s = login(0), *other = login(0);
    struct restoring r = { .stream = s };
    struct buf b;
    (void)state;
    buf_init(&b, 1 << 20);
    enter(other, room, "other");
    r.bytes = saved(&b, room, "blob", arena_printf(live.tmp, "<presence to='%s/nick'/>", room));
    node_call(live.node[0], s->worker->index, restore_behind_a_pause, &r);
    LIVE_AWAIT(r.done && number(room)->back[0] != '\0');
    say(other, room, "heard");
    live_expect(s, "heard");
    buf_fini(&b);
    logout(s);
    logout(other);
}

/* A registry that is wrong about nodes. */

static struct test_node alone;
static const struct gate_ops no_gate;
static unsigned far_sends, far_workers;

static void far_send(struct bus *bus, unsigned from, uint32_t node, unsigned to, slice bytes)
{
    (void)bus, (void)from, (void)bytes;
    assert_true(node > 1 && to < far_workers);
    far_sends++;
}

static uint32_t far_registry(struct bus *bus, unsigned slot)
{
    (void)bus;
    return far_workers > NODE_WORKERS_MAX ? 2 : slot + 2;
}

static unsigned count_far_workers(struct bus *bus, uint32_t node)
{
    (void)bus, (void)node;
    return far_workers;
}

static int start_alone(void **state)
{
    (void)state;
    test_node_open(&alone, &no_gate);
    return 0;
}

static int stop_alone(void **state)
{
    (void)state;
    test_node_close(&alone);
    return 0;
}

/* So many homes, at each of which is one member of a room; gives how many hear one stanza. */
static unsigned homes_that_hear(unsigned homes)
{
    struct audience a;
    struct stanza *st = stanza_make(STANZA_MESSAGE, TYPE_GROUPCHAT, SLICE("r@conference.localhost"),
                                    (slice){ 0 }, (slice){ 0 }, (slice){ 0 });
    audience_init(&a, alone.w, SLICE("r@conference.localhost"));
    for (unsigned i = 0; a.places < homes; i++) {
        char jid[32];
        snprintf(jid, sizeof jid, "f%u@localhost/r", i);
        assert_true(audience_add(&a, &(struct audience_member){ .jid = slice_of(jid) }));
    }
    far_sends = 0;
    audience_send(&a, st, NULL);
    const unsigned heard = far_sends;
    audience_fini(&a);
    stanza_unref(&st);
    return heard;
}

/* The rest of the room hears it all the same. */
static void test_homes_that_cannot_be(void **state)
{
    static const struct bus_ops ops = { .send = far_send,
                                        .registry = far_registry,
                                        .workers = count_far_workers };
    struct bus bus = { &ops };
    (void)state;
    alone.node->bus = &bus;
    far_workers = 1;
    assert_int_equal(homes_that_hear(BUS_NODES_MAX - 1), BUS_NODES_MAX - 1);
    assert_int_equal(homes_that_hear(BUS_NODES_MAX + 2), BUS_NODES_MAX - 1);
    far_workers = NODE_WORKERS_MAX + 1;
    assert_in_range(homes_that_hear(500), NODE_WORKERS_MAX - 1, NODE_WORKERS_MAX);
    alone.node->bus = NULL;
}

#define TESTS                                                                                      \
    cmocka_unit_test(test_self_presence_comes_first), cmocka_unit_test(test_one_order_for_all),    \
        cmocka_unit_test(test_coming_and_going), cmocka_unit_test(test_parts_of_an_audience),      \
        cmocka_unit_test(test_who_does_not_want_it), cmocka_unit_test(test_a_room_that_is_closed), \
        cmocka_unit_test(test_one_that_the_list_has_lost), cmocka_unit_test(test_full_rings),      \
        cmocka_unit_test(test_a_session_ends_while_it_is_sent_to),                                 \
        cmocka_unit_test(test_every_end_is_told_once),                                             \
        cmocka_unit_test(test_back_while_more_waits_for_the_account),                              \
        cmocka_unit_test(test_what_was_kept_is_not_trusted),                                       \
        cmocka_unit_test(test_back_after_a_restart)

int main(void)
{
    const struct CMUnitTest one[] = { TESTS };
    const struct CMUnitTest three[] = { TESTS, cmocka_unit_test(test_a_slot_that_moves) };
    const struct CMUnitTest wrong[] = { cmocka_unit_test(test_homes_that_cannot_be) };
    int failed = cmocka_run_group_tests_name("audience, 1 worker", one, start_one, stop);
    failed += cmocka_run_group_tests_name("audience, registry", wrong, start_alone, stop_alone);
    return failed + cmocka_run_group_tests_name("audience, 3 workers", three, start_three, stop);
}
