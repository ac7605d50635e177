/* Sessions over BOSH whose clients are this test: each request has a connection of its own. */
#include "gate/test_gate.h"

enum { RID = 1000 /* of the request that makes a session */ };

static char sid[64]; /* of the session of the test */

static struct peer *post(const char *body)
{
    char text[4096];
    struct peer *p = peer_connect(gate.http_port);
    snprintf(text, sizeof text,
             "POST /bosh HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             strlen(body), body);
    peer_send(p, text);
    return p;
}

/* The request RID + n of the session. */
static struct peer *request(int n, const char *attrs, const char *content)
{
    char text[2048];
    snprintf(text, sizeof text, "<body xmlns='" NS_HTTPBIND "' sid='%s' rid='%d' %s>%s</body>", sid,
             RID + n, attrs, content);
    return post(text);
}

/* Waits for the answer, which must have that text in its body. */
static void answered(struct peer *p, const char *expected)
{
    const char *text = peer_end(p), *body = strstr(text, "\r\n\r\n");
    if (body == NULL || strstr(body, expected) == NULL)
        fail_msg("expected %s, got %s", expected, text);
    peer_close(p);
}

static void answered_empty(struct peer *p)
{
    answered(p, "\r\n\r\n<body xmlns='" NS_HTTPBIND "'></body>");
}

static void create(const char *attrs)
{
    char text[1024];
    snprintf(text, sizeof text,
             "<body xmlns='" NS_HTTPBIND "' rid='%d' to='localhost' ver='1.6' %s/>", RID, attrs);
    struct peer *p = post(text);
    const char *at = strstr(peer_end(p), " sid='");
    assert_non_null(at);
    at += strlen(" sid='");
    snprintf(sid, sizeof sid, "%.*s", (int)strcspn(at, "'"), at);
    assert_non_null(strstr(p->text, "<mechanisms "));
    peer_close(p);
}

#define TERMINATE(condition) " type='terminate' condition='" condition "'"
#define WRONG_MECHANISM      "<auth xmlns='" NS_SASL "' mechanism='NONE'>AA==</auth>"
#define TOO_EARLY            "<response xmlns='" NS_SASL "'/>"

/* Ends the session: n is the next rid. XEP-0124 §13: if a request is held, it is told. */
static void end(int n) { answered(request(n, "type='terminate'", ""), " type='terminate'"); }
static void end_held(struct peer *held, int n)
{
    struct peer *last = request(n, "type='terminate'", "");
    answered(held, " type='terminate'");
    answered_empty(last);
}

/* A session gets what it asks for, within our limits. */
static void a_new_session_is_agreed_on(void **state)
{
    (void)state;
    struct peer *p = post("<body xmlns='" NS_HTTPBIND
                          "' rid='5' to='localhost' ver='1.6' wait='7' hold='9' ack='1'/>");
    answered(p, " wait='7' requests='3' hold='2' inactivity='60' maxpause='120' polling='2' "
                "ver='1.6' from='localhost'");
    answered(post("<body xmlns='" NS_HTTPBIND "' rid='5' to='other.test' wait='9999'/>"),
             " wait='60' requests='2' hold='1' ");
    answered(post("<body xmlns='" NS_HTTPBIND "' rid='5' to='localhost' wait='9' hold='0'/>"),
             " wait='9' requests='1' hold='0' inactivity='120' ");
}

static void a_session_needs_a_domain_of_ours(void **state)
{
    (void)state;
    answered(post("<body xmlns='" NS_HTTPBIND "' rid='5' ver='1.6'/>"),
             TERMINATE("improper-addressing"));
    answered(post("<body xmlns='" NS_HTTPBIND "' rid='5' ver='1.6' to='strange.test'/>"),
             TERMINATE("host-unknown"));
}

static void a_wrong_sid_is_not_found(void **state)
{
    (void)state;
    create("wait='60' hold='1'");
    answered(post("<body xmlns='" NS_HTTPBIND "' rid='1001' sid='0123456789abcdef'/>"),
             TERMINATE("item-not-found"));
    end(1);
}

/* XEP-0124 §3: one request is held, the next one frees it. */
static void a_request_is_held_until_the_next_one(void **state)
{
    (void)state;
    create("wait='60' hold='1'");
    struct peer *first = request(1, "", "");
    assert_true(peer_is_silent(first));
    struct peer *second = request(2, "", "");
    answered_empty(first);
    assert_true(peer_is_silent(second));
    end_held(second, 3);
}

static void a_request_is_held_for_its_time_at_most(void **state)
{
    (void)state;
    create("wait='1' hold='1'");
    struct peer *p = request(1, "", "");
    assert_true(peer_is_silent(p));
    answered_empty(p);
    end(2);
}

static void output_is_answered_at_once(void **state)
{
    (void)state;
    create("wait='60' hold='1'");
    answered(request(1, "", WRONG_MECHANISM), "<invalid-mechanism/>");
    end(2);
}

/* XEP-0124 §14.2 */
static void requests_are_taken_in_the_order_of_their_rids(void **state)
{
    (void)state;
    create("wait='60' hold='1'");
    struct peer *second = request(2, "", WRONG_MECHANISM);
    assert_true(peer_is_silent(second));
    struct peer *first = request(1, "", TOO_EARLY);
    answered(first, "<malformed-request/></failure><failure ");
    assert_true(peer_is_silent(second));
    end_held(second, 3);
}

static void a_lost_request_is_waited_for_until_the_wait_is_over(void **state)
{
    (void)state;
    create("wait='1' hold='1'");
    struct peer *second = request(2, "", WRONG_MECHANISM);
    assert_true(peer_is_silent(second));
    answered(second, TERMINATE("item-not-found"));
    answered(request(1, "", ""), TERMINATE("item-not-found"));
}

static void a_rid_beyond_the_window_ends_the_session(void **state)
{
    (void)state;
    create("wait='60' hold='1'");
    struct peer *last = request(2, "", "");
    assert_true(peer_is_silent(last));
    answered(request(3, "", ""), TERMINATE("item-not-found"));
    answered(last, TERMINATE("other-request"));
    answered(request(1, "", ""), TERMINATE("item-not-found"));
}

/* XEP-0124 §14.3 */
static void a_repeated_rid_gets_the_same_answer(void **state)
{
    (void)state;
    create("wait='60' hold='1'");
    answered(request(1, "", WRONG_MECHANISM), "<invalid-mechanism/>");
    answered(request(1, "", TOO_EARLY), "<invalid-mechanism/>"); /* and its content is not read */
    answered(request(2, "", TOO_EARLY), "<malformed-request/>");
    answered(request(1, "", ""), "<invalid-mechanism/>");
    end(3);
}

static void an_answer_outside_of_the_window_is_gone(void **state)
{
    (void)state;
    create("wait='60' hold='1'");
    for (int n = 1; n <= 4; n++)
        answered(request(n, "", WRONG_MECHANISM), "<invalid-mechanism/>");
    answered(request(1, "", ""), TERMINATE("item-not-found"));
}

static void a_repeated_request_gives_way(void **state)
{
    (void)state;
    create("wait='60' hold='1'");
    struct peer *old = request(1, "", "");
    assert_true(peer_is_silent(old));
    struct peer *new = request(1, "", "");
    answered(old, " type='error'");
    assert_true(peer_is_silent(new));
    end_held(new, 2);
}

static void the_end_answers_all_requests(void **state)
{
    (void)state;
    create("wait='60' hold='1'");
    struct peer *held = request(1, "", "");
    assert_true(peer_is_silent(held));
    end_held(held, 2);
    answered(request(3, "", ""), TERMINATE("item-not-found"));
}

/* XEP-0124 §10: one request more than the window, to pause. */
static void a_pause_answers_all_requests(void **state)
{
    (void)state;
    create("wait='60' hold='1'");
    struct peer *held = request(1, "", "");
    assert_true(peer_is_silent(held));
    answered_empty(request(2, "pause='60'", ""));
    answered_empty(held);
    end(3);
}

static void empty_requests_that_come_too_often_end_it(void **state)
{
    (void)state;
    create("wait='0' hold='0'");
    answered_empty(request(1, "", ""));
    answered(request(2, "", ""), TERMINATE("policy-violation"));
}

/* XEP-0124 §15: each key hashes to the one before: SHA-1 of "a" is 86f7.... */
static void a_wrong_key_ends_it(void **state)
{
    (void)state;
    create("wait='60' hold='1' newkey='86f7e437faa5a7fce15d1ddcb9eaeaea377667b8'");
    answered(request(1, "key='a' newkey='86f7e437faa5a7fce15d1ddcb9eaeaea377667b8'", TOO_EARLY),
             "<malformed-request/>");
    answered(request(2, "key='b'", ""), TERMINATE("item-not-found"));
}

/* XEP-0124 §9 */
static void later_requests_are_acknowledged(void **state)
{
    (void)state;
    create("wait='60' hold='1' ack='1'");
    struct peer *held = request(1, "", "");
    assert_true(peer_is_silent(held));
    struct peer *next = request(2, "", "");
    answered(held, " ack='1002'");
    end_held(next, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_session_is_agreed_on),
        cmocka_unit_test(a_session_needs_a_domain_of_ours),
        cmocka_unit_test(a_wrong_sid_is_not_found),
        cmocka_unit_test(a_request_is_held_until_the_next_one),
        cmocka_unit_test(a_request_is_held_for_its_time_at_most),
        cmocka_unit_test(output_is_answered_at_once),
        cmocka_unit_test(requests_are_taken_in_the_order_of_their_rids),
        cmocka_unit_test(a_lost_request_is_waited_for_until_the_wait_is_over),
        cmocka_unit_test(a_rid_beyond_the_window_ends_the_session),
        cmocka_unit_test(a_repeated_rid_gets_the_same_answer),
        cmocka_unit_test(an_answer_outside_of_the_window_is_gone),
        cmocka_unit_test(a_repeated_request_gives_way),
        cmocka_unit_test(the_end_answers_all_requests),
        cmocka_unit_test(a_pause_answers_all_requests),
        cmocka_unit_test(empty_requests_that_come_too_often_end_it),
        cmocka_unit_test(a_wrong_key_ends_it),
        cmocka_unit_test(later_requests_are_acknowledged),
    };
    return cmocka_run_group_tests(tests, gate_open, gate_close);
}
