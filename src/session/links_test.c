/* Links to other domains, in two nodes of two workers in one process, joined by bus_local. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bus/bus_local.h"
#include "core/test_live.h"
#include "home/edge.h"
#include "home/question.h"
#include "home/remote.h"

enum { NODES = 2, WORKERS = 2, ALL_FRAMES = INT32_MAX };

static struct bus_local *bus;

/* Edges with links: the first node has others than the second. */

static unsigned links_got[2];  /* stanzas, of each edge */
static unsigned links_refused; /* answers among them that say that the link broke */

static void links_remote(void *own, struct worker *w, uint64_t link, struct stanza *st)
{
    assert_int_equal(connection_worker(link), w->index);
    char *text = mem_alloc(stanza_write_max(st, NULL) + 1);
    text[stanza_write(text, st, NULL)] = '\0';
    pthread_mutex_lock(&live.lock);
    ++*(unsigned *)own;
    links_refused += strstr(text, "remote-server-timeout") != NULL;
    pthread_cond_broadcast(&live.changed);
    pthread_mutex_unlock(&live.lock);
    mem_free(&text);
    stanza_unref(&st);
}

static const struct edge links_one = { .name = "one", .remote = links_remote };
static const struct edge links_two = { .name = "two", .remote = links_remote };
static const struct edge_made edges[NODES][4] = {
    { { &links_one, &links_got[0] }, { &live_edge, NULL }, { 0 } },
    { { &live_edge, NULL }, { &links_one, &links_got[0] }, { &links_two, &links_got[1] }, { 0 } }
};

/* Start and end. */

static int start(void **state)
{
    static const char *const domains[] = { "localhost", NULL };
    (void)state;
    live_begin(test_features);
    bus = bus_local_create();
    for (unsigned n = 0; n < NODES; n++) {
        live_open(n, WORKERS, domains);
        live.node[n]->edges = edges[n];
        node_join(live.node[n], bus);
    }
    for (unsigned n = 0; n < NODES; n++)
        live_start(n);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    live_end_cluster(NODES, &bus);
    return 0;
}

static struct {
    bool known[NODES][WORKERS], up;
    unsigned asked;
} links;

static void link_is_up(struct worker *w, slice domain, uint64_t link, enum err e)
{
    (void)w, (void)domain, (void)link;
    assert_int_equal(e, OK);
    live_set(&links.up);
}

static void link_comes(struct worker *w, void *arg)
{
    remote_announce(w, slice_of(arg), &live_edge, connection_new_id(w), REMOTE_UP, link_is_up);
}

static void look_for_link(struct worker *w, void *arg)
{
    bool known = remote_known(w, slice_of(arg));
    pthread_mutex_lock(&live.lock);
    links.known[w->node->id - 1][w->index] = known;
    links.asked++;
    pthread_cond_broadcast(&live.changed);
    pthread_mutex_unlock(&live.lock);
}

/* How many of the workers know it, of two nodes in decimal. */
static unsigned know_link(char *domain)
{
    unsigned count = 0;
    links.asked = 0;
    for (unsigned n = 0; n < NODES; n++)
        for (unsigned i = 0; i < WORKERS; i++)
            node_call(live.node[n], i, look_for_link, domain);
    LIVE_AWAIT(links.asked == NODES * WORKERS);
    for (unsigned n = 0; n < NODES; n++)
        for (unsigned i = 0; i < WORKERS; i++)
            count += links.known[n][i] ? (n == 0 ? 1 : 10) : 0;
    return count;
}

static void await_knowing(char *domain, unsigned count)
{
    struct timespec now, until = live_deadline();
    do
        clock_gettime(CLOCK_REALTIME, &now);
    while (know_link(domain) != count && now.tv_sec < until.tv_sec);
    assert_int_equal(know_link(domain), count);
}

static void await_link(char *domain) { await_knowing(domain, 22); }

static void node_is_gone(struct worker *w, void *arg)
{
    (void)arg;
    node_gone(w, 2);
}

static void forget_links(struct worker *w, void *arg)
{
    (void)arg;
    remote_fini(w);
    remote_init(w);
}

static void learn_links(struct worker *w, void *arg)
{
    (void)arg;
    remote_learn(w);
    remote_learn(w);
}

static void test_links_of_other_nodes(void **state)
{
    (void)state;
    assert_int_equal(know_link("component.test"), 0);
    node_call(live.node[1], 1, link_comes, "component.test");
    LIVE_AWAIT(links.up);
    assert_int_equal(know_link("component.test"), 22);
    for (unsigned i = 0; i < WORKERS; i++)
        node_call(live.node[1], i, forget_links, NULL);
    assert_int_equal(know_link("component.test"), 2);
    for (unsigned i = 0; i < WORKERS; i++) /* as at a start */
        node_call(live.node[1], i, learn_links, NULL);
    await_link("component.test");
    for (unsigned i = 0; i < WORKERS; i++)
        node_call(live.node[0], i, node_is_gone, NULL);
    assert_int_equal(know_link("component.test"), 20);
}

static uint64_t kept_link;

static void kept_link_comes(struct worker *w, void *arg)
{
    kept_link = connection_new_id(w);
    remote_announce(w, slice_of(arg), &live_edge, kept_link, REMOTE_UP, link_is_up);
}

static void kept_link_goes(struct worker *w, void *arg)
{
    remote_announce(w, slice_of(arg), &live_edge, kept_link, REMOTE_DOWN, NULL);
    live_set(&links.up);
}

static void home_of_links_starts(void)
{
    for (unsigned i = 0; i < WORKERS; i++)
        node_call(live.node[0], i, forget_links, NULL);
    (void)know_link("other.test"); /* all have forgotten before one learns */
    for (unsigned i = 0; i < WORKERS; i++)
        node_call(live.node[0], i, learn_links, NULL);
}

/* As after QUESTION_MS without an answer of the home of DUTY_LINKS, or when it is gone. */
static void give_up_home(struct worker *w, void *arg)
{
    (void)arg;
    questions_node_gone(w, 1);
}

/* The home of DUTY_LINKS is told by each worker what links that has, but not of one that is gone,
 * although nobody but that worker has heard of its end. When the worker hears that the home was
 * gone, it tells all itself. */
static void test_the_home_of_links_starts(void **state)
{
    (void)state;
    links.up = false;
    node_call(live.node[1], 1, link_comes, "other.test");
    LIVE_AWAIT(links.up);
    links.up = false;
    node_call(live.node[1], 1, kept_link_comes, "kept.test");
    LIVE_AWAIT(links.up);
    home_of_links_starts();
    await_link("kept.test");
    bus_local_fault(bus, 2, 1, BUS_LOSE, ALL_FRAMES);
    links.up = false;
    node_call(live.node[1], 1, kept_link_goes, "kept.test");
    LIVE_AWAIT(links.up);
    bus_local_fault(bus, 2, 1, BUS_LOSE, 0);
    home_of_links_starts();
    await_link("other.test");
    assert_int_equal(know_link("kept.test"), 10);
    node_call(live.node[1], 1, give_up_home, NULL);
    await_knowing("kept.test", 0);
}

/* All workers choose the same of two links, also when the home of DUTY_LINKS has started and heard
 * of them in another order than they came. */

static struct {
    unsigned links;
    uint64_t chosen;
} choice[NODES][WORKERS];

static void count_links(slice domain, unsigned count, void *arg)
{
    if (slice_is(domain, "both.test"))
        *(unsigned *)arg = count;
}

static void look_for_choice(struct worker *w, void *arg)
{
    unsigned count = 0;
    (void)arg;
    remote_each(w, count_links, &count);
    pthread_mutex_lock(&live.lock);
    choice[w->node->id - 1][w->index].links = count;
    choice[w->node->id - 1][w->index].chosen =
        remote_link_for(w, SLICE("a@localhost"), SLICE("both.test")).id;
    links.asked++;
    pthread_cond_broadcast(&live.changed);
    pthread_mutex_unlock(&live.lock);
}

static uint64_t both_links[2];

static void both_links_come(struct worker *w, void *arg)
{
    for (unsigned i = 0; i < 2; i++) {
        both_links[i] = connection_new_id(w);
        remote_announce(w, slice_of(arg), &live_edge, both_links[i], REMOTE_UP,
                        i == 1 ? link_is_up : NULL);
    }
}

static void both_links_are_told_again(struct worker *w, void *arg)
{
    for (unsigned i = 2; i-- > 0;)
        remote_announce(w, slice_of(arg), &live_edge, both_links[i], REMOTE_UP,
                        i == 0 ? link_is_up : NULL);
}

static void look_for_choices(void)
{
    links.asked = 0;
    for (unsigned k = 0; k < NODES * WORKERS; k++)
        node_call(live.node[k / WORKERS], k % WORKERS, look_for_choice, NULL);
    LIVE_AWAIT(links.asked == NODES * WORKERS);
}

static void test_all_choose_the_same_link(void **state)
{
    (void)state;
    links.up = false;
    node_call(live.node[1], 1, both_links_come, "both.test");
    LIVE_AWAIT(links.up);
    links.up = false;
    for (unsigned i = 0; i < WORKERS; i++)
        node_call(live.node[0], i, forget_links, NULL);
    (void)know_link("both.test"); /* they have */
    node_call(live.node[1], 1, both_links_are_told_again, "both.test");
    LIVE_AWAIT(links.up);
    look_for_choices();
    for (unsigned k = 0; k < NODES * WORKERS; k++) {
        assert_int_equal(choice[k / WORKERS][k % WORKERS].links, 2);
        assert_int_equal(choice[k / WORKERS][k % WORKERS].chosen, choice[0][0].chosen);
    }
}

/* News of a link of a node that is not there, or not any more: nobody would tell that it is gone.
 */

static void *link_member(void *message, const char *name)
{
    const struct message_field *f = link_known_message.fields;
    while (strcmp(f->name, name) != 0)
        f++;
    return (char *)message + f->offset;
}

static void hear_of_absent_link(struct worker *w, void *domain)
{
    max_align_t message[8] = { 0 };
    assert_true(link_known_message.size <= sizeof message);
    *(slice *)link_member(message, "domain") = slice_of(domain);
    *(uint64_t *)link_member(message, "link") = 1 << CONNECTION_WORKER_BITS;
    *(uint32_t *)link_member(message, "node") = NODES + 1;
    home_send_to(w, 0, w->index, &link_known_message, message);
    *(uint32_t *)link_member(message, "node") = NODES;
    *(slice *)link_member(message, "domain") = SLICE("there.test");
    home_send_to(w, 0, w->index, &link_known_message, message);
}

static void test_a_link_of_a_node_that_is_not_there(void **state)
{
    (void)state;
    node_call(live.node[0], 1, hear_of_absent_link, "absent.test");
    assert_int_equal(know_link("there.test"), 1);
    assert_int_equal(know_link("absent.test"), 0);
}

/* Two edges with links: what is sent to a domain gets to the edge of its link, from the node of the
 * link and from another one, whose list of edges is not the same. */

static void links_come(struct worker *w, void *arg)
{
    (void)arg;
    remote_announce(w, SLICE("one.test"), &links_one, connection_new_id(w), REMOTE_UP, link_is_up);
    remote_announce(w, SLICE("two.test"), &links_two, connection_new_id(w), REMOTE_UP, NULL);
}

static void links_send(struct worker *w, void *domain)
{
    const slice from = SLICE("a@localhost"), to = slice_of(domain);
    remote_send(w, to, stanza_make(STANZA_MESSAGE, TYPE_CHAT, from, to, (slice){ 0 }, SLICE("")));
}

static void test_each_edge_gets_what_is_for_its_links(void **state)
{
    (void)state;
    links.up = false;
    node_call(live.node[1], 1, links_come, NULL);
    LIVE_AWAIT(links.up);
    await_link("two.test");
    for (unsigned k = 0; k < NODES * WORKERS; k++)
        node_call(live.node[k / WORKERS], k % WORKERS, links_send, "two.test");
    LIVE_AWAIT(links_got[1] == NODES * WORKERS);
    assert_int_equal(links_got[0], 0);
    node_call(live.node[0], 0, links_send, "one.test");
    LIVE_AWAIT(links_got[0] == 1);
    assert_int_equal(links_got[1], NODES * WORKERS);
}

/* A link of an edge that has none, as a node that is not sound may tell of one: the sender is
 * answered that the link broke, by the link to two.test. */

static void links_come_in_vain(struct worker *w, void *arg)
{
    (void)arg;
    remote_announce(w, SLICE("none.test"), &live_edge, connection_new_id(w), REMOTE_UP, link_is_up);
}

static void links_send_in_vain(struct worker *w, void *domain)
{
    const slice from = SLICE("a@two.test"), to = slice_of(domain);
    remote_send(w, to, stanza_make(STANZA_MESSAGE, TYPE_CHAT, from, to, (slice){ 0 }, SLICE("")));
}

static void test_a_link_that_no_edge_has(void **state)
{
    (void)state;
    links.up = false;
    node_call(live.node[1], 1, links_come_in_vain, NULL);
    LIVE_AWAIT(links.up);
    await_link("none.test");
    for (unsigned k = 0; k < NODES * WORKERS; k++)
        node_call(live.node[k / WORKERS], k % WORKERS, links_send_in_vain, "none.test");
    LIVE_AWAIT(links_refused == NODES * WORKERS);
}

/* The home of DUTY_LINKS runs the news of a link only when the worker of the link has given up. */

static bool link_lost, home_goes_on;

static void link_is_lost(struct worker *w, slice domain, uint64_t link, enum err e)
{
    (void)w, (void)domain, (void)link;
    assert_int_equal(e, E_DOWN);
    live_set(&link_lost);
}

static void home_stands_still(struct worker *w, void *arg)
{
    (void)w, (void)arg;
    LIVE_AWAIT(home_goes_on);
}

static void link_comes_to_slow_home(struct worker *w, void *arg)
{
    remote_announce(w, slice_of(arg), &live_edge, connection_new_id(w), REMOTE_UP, link_is_lost);
    give_up_home(w, NULL);
}

static void test_the_home_of_links_is_slow(void **state)
{
    (void)state;
    node_call(live.node[0], 0, home_stands_still, NULL);
    node_call(live.node[1], 1, link_comes_to_slow_home, "slow.test");
    LIVE_AWAIT(link_lost);
    live_set(&home_goes_on);
    (void)know_link("slow.test"); /* the home has run all, and told the other node */
    await_knowing("slow.test", 0);
}

static void link_goes(struct worker *w, void *arg)
{
    remote_announce(w, slice_of(arg), &links_one, connection_new_id(w), REMOTE_DOWN, NULL);
    live_set(&links.up);
}

/* One of the last: the node ends, which must not leave a timer of the question behind. */
static void test_a_node_ends_that_was_not_answered(void **state)
{
    (void)state;
    links.up = false;
    bus_local_fault(bus, 2, 1, BUS_LOSE, ALL_FRAMES);
    node_call(live.node[1], 0, link_goes, "lost.test");
    LIVE_AWAIT(links.up);
    bus_local_fault(bus, 2, 1, BUS_LOSE, 0);
}

/* The very last: all know of a link, the home of DUTY_LINKS is gone before it can tell that to the
 * worker of the link, and so the link is none. All hear of one that goes then. */

static void link_comes_unanswered(struct worker *w, void *arg)
{
    remote_announce(w, slice_of(arg), &live_edge, connection_new_id(w), REMOTE_UP, link_is_lost);
    bus_local_fault(bus, 2, 1, BUS_LOSE, ALL_FRAMES); /* that they know it */
}

static void test_the_home_of_links_is_gone(void **state)
{
    (void)state;
    link_lost = links.up = false;
    node_call(live.node[1], 1, kept_link_comes, "kept.test");
    LIVE_AWAIT(links.up);
    node_call(live.node[1], 1, link_comes_unanswered, "unanswered.test");
    await_link("unanswered.test");
    assert_false(link_lost);
    bus_local_cut(bus, 1);
    LIVE_AWAIT(link_lost);
    await_knowing("unanswered.test", 2); /* the home itself hears nothing any more */
    node_call(live.node[1], 1, kept_link_goes, "kept.test");
    await_knowing("kept.test", 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_links_of_other_nodes),
        cmocka_unit_test(test_the_home_of_links_starts),
        cmocka_unit_test(test_all_choose_the_same_link),
        cmocka_unit_test(test_a_link_of_a_node_that_is_not_there),
        cmocka_unit_test(test_each_edge_gets_what_is_for_its_links),
        cmocka_unit_test(test_a_link_that_no_edge_has),
        cmocka_unit_test(test_the_home_of_links_is_slow),
        cmocka_unit_test(test_a_node_ends_that_was_not_answered),
        cmocka_unit_test(test_the_home_of_links_is_gone),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
