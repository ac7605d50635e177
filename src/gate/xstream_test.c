/* Two streams over loopback on one loop: the server of a client, and the initiator. What they do
 * about a login is the least that gets them bound. */
#include "base/buf.h"
#include "base/mem.h"
#include "base/setting.h"
#include "core/core.h"
#include "gate/xstream.h"
#include "home/worker.h"
#include "io/test_bed.h"
#include "io/tls_client.h"
#include "xmpp/ns.h"

enum { TEXT_MAX = 1 << 20, LATE_MS = 60 };

struct end {
    struct xstream x;
    struct buf got;  /* stanzas, each as it came */
    struct buf told; /* what has happened: a word each */
    bool freed, holds_bind, offers_tls;
    uint64_t late_ms;
    int fd; /* the other side, if that is not a stream */
};

static struct core core = { .budget.step = UINT64_MAX };
static struct worker worker, other_worker;
static struct xstreams among, other_among;
static struct end server, client;
static struct tls_ctx *tls;
static struct setting stanza_rate = { .value = SETTING_NONE },
                      byte_rate = { .value = SETTING_NONE };
static const struct xstream_rates rates = { &stanza_rate, &byte_rate };
static const struct conn_limits limits = {
    .input_bytes = 100000, .output_high = 65536, .output_max = 4 << 20, .handshake_ms = 5000
};

static struct end *end_of(const struct xstream *x) { return (struct end *)(uintptr_t)x; }
static void tell(const struct xstream *x, const char *word)
{
    buf_printf(&end_of(x)->told, "%s ", word);
}

/* Both sides. */

static void end_stanza(struct xstream *x, slice unit) { buf_add(&end_of(x)->got, unit); }
static void end_closing(struct xstream *x) { tell(x, "closing"); }
static void end_drained(struct xstream *x) { (void)x; }
static void end_slow(struct xstream *x, bool on) { tell(x, on ? "slow" : "fast"); }
static void end_idle(struct xstream *x) { tell(x, "idle"); }

static void end_gone(struct xstream *x, enum xstream_end why)
{
    static const char *const words[] = { "ended", "lost", "broken", "too-slow" };
    tell(x, words[why]);
}

static void end_failed(struct xstream *x, enum stream_error e, slice text)
{
    (void)text;
    tell(x, stream_error_name(e));
}

static uint64_t end_due_ms(const struct xstream *x)
{
    return x->state == STREAM_BOUND ? 1 : xstream_left_ms(x, end_of(x)->late_ms);
}

static void end_free(struct xstream *x)
{
    xstream_fini(x);
    end_of(x)->freed = true;
}

/* The server. */

static void server_greet(struct xstream *x)
{
    xstream_open(x, &(struct xstream_header){ .ns = NS_CLIENT,
                                              .id = SLICE("one"),
                                              .from = SLICE("a.test"),
                                              .version = SLICE("1.0") });
}

static void server_header(struct xstream *x, slice unit)
{
    bool before = x->state == STREAM_OPEN;
    if (!xstream_is_header(x, unit)) {
        xstream_fail(x, XE_INVALID_NAMESPACE, (slice){ 0 });
        return;
    }
    tell(x, slice_is(xstream_attr(x, unit, SLICE("to")), "a.test & b") ? "to" : "elsewhere");
    server_greet(x);
    xstream_now(x, STREAM_GOT_HEADER);
    if (end_of(x)->offers_tls && !x->secure)
        xstream_write(x, SLICE("<stream:features><starttls xmlns='" NS_TLS "'/>"
                               "</stream:features>"));
    else
        xstream_write(x, before ? SLICE("<stream:features><mechanisms xmlns='" NS_SASL "'/>"
                                        "</stream:features>")
                                : SLICE("<stream:features><bind xmlns='" NS_BIND "'/>"
                                        "</stream:features>"));
}

static void server_bind(struct xstream *x)
{
    xstream_now(x, STREAM_IS_BOUND);
    xstream_write(x, SLICE("<iq type='result' id='1'/>"));
    xstream_timer(x);
    xstream_go(x);
}

static void server_element(struct xstream *x, const struct xstream_unit *u)
{
    switch (u->step.action) {
    case STREAM_DO_TLS:
        xstream_write(x, SLICE("<proceed xmlns='" NS_TLS "'/>"));
        xstream_now(x, u->input);
        xstream_restart(x);
        conn_start_tls(x->conn, tls, SLICE("first.test"));
        break;
    case STREAM_DO_SASL:
        xstream_write(x, SLICE("<success xmlns='" NS_SASL "'/>"));
        xstream_now(x, STREAM_PASSED);
        xstream_restart(x);
        break;
    case STREAM_DO_BIND:
        xstream_now(x, STREAM_ASK_BIND);
        xstream_wait(x);
        if (!end_of(x)->holds_bind)
            server_bind(x);
        break;
    default:
        xstream_fail(x, u->step.error, slice_of(u->step.text));
        break;
    }
}

static const struct xstream_ops server_ops = {
    .rates = &rates,
    .late = "be faster",
    .greet = server_greet,
    .header = server_header,
    .element = server_element,
    .stanza = end_stanza,
    .gone = end_gone,
    .closing = end_closing,
    .failed = end_failed,
    .drained = end_drained,
    .slow = end_slow,
    .due_ms = end_due_ms,
    .idle = end_idle,
    .free = end_free,
};

/* The initiator. */

static void client_greet(struct xstream *x)
{
    xstream_open(x, &(struct xstream_header){ .ns = NS_CLIENT,
                                              .from = SLICE("b.test"),
                                              .version = SLICE("1.0"),
                                              .to = SLICE("a.test & b") });
}

static void client_header(struct xstream *x, slice unit)
{
    assert_true(xstream_is_header(x, unit));
    assert_true(slice_is(xstream_attr(x, unit, SLICE("id")), "one"));
    assert_null(xstream_attr(x, unit, SLICE("to")).ptr);
    xstream_now(x, STREAM_GOT_HEADER);
}

static void client_choose(struct xstream *x, const struct xstream_unit *u)
{
    struct elem choice;
    xstream_now(x, u->input);
    if (elem_child(&u->elem, "starttls", NS_TLS, &choice)) {
        xstream_write(x, SLICE("<starttls xmlns='" NS_TLS "'/>"));
        xstream_now(x, STREAM_ASK_TLS);
    } else if (elem_child(&u->elem, "mechanisms", NS_SASL, &choice)) {
        xstream_write(x, SLICE("<auth xmlns='" NS_SASL "' mechanism='EXTERNAL'>=</auth>"));
        xstream_now(x, STREAM_ASK_SASL);
    } else {
        assert_true(elem_child(&u->elem, "bind", NS_BIND, &choice));
        xstream_write(x, SLICE("<iq type='set' id='1'><bind xmlns='" NS_BIND "'/></iq>"
                               "<message id='pipelined'/>"));
        xstream_now(x, STREAM_ASK_BIND);
    }
}

static void client_element(struct xstream *x, const struct xstream_unit *u)
{
    switch (u->step.action) {
    case STREAM_DO_CHOOSE:
        client_choose(x, u);
        break;
    case STREAM_DO_TLS:
        xstream_now(x, u->input);
        conn_start_tls_client(x->conn, &(struct tls_call){ .server_name = SLICE("first.test") });
        break;
    case STREAM_DO_SASL:
        assert_true(slice_is(u->elem.name, "success"));
        xstream_now(x, STREAM_PASSED);
        xstream_restart(x);
        break;
    case STREAM_DO_ANSWER:
        xstream_now(x, STREAM_IS_BOUND);
        xstream_timer(x);
        break;
    default:
        fail_msg("%d in %d", u->step.action, x->state);
    }
}

static const struct xstream_ops client_ops = {
    .late = "the server does not answer",
    .greet = client_greet,
    .header = client_header,
    .element = client_element,
    .stanza = end_stanza,
    .gone = end_gone,
    .closing = end_closing,
    .failed = end_failed,
    .due_ms = end_due_ms,
    .idle = end_idle,
    .free = end_free,
};

/* Start and end. */

static void end_begin(struct end *e, enum stream_role role, int fd)
{
    *e = (struct end){ .late_ms = 20000, .fd = -1 };
    buf_init(&e->got, TEXT_MAX);
    buf_init(&e->told, TEXT_MAX);
    e->x.ops = role == STREAM_TO_SERVER ? &client_ops : &server_ops;
    e->x.way = &xstream_tcp;
    e->x.role = (uint8_t)role;
    e->x.conn = conn_create(worker.loop, fd, NULL, 0, NULL, &limits);
    xstream_init(&e->x, &worker, NULL);
    xstream_adopt(&e->x, &worker, &among);
}

static void end_start(struct end *e)
{
    xstream_timer(&e->x);
    if (e->x.role == STREAM_TO_SERVER)
        client_greet(&e->x);
    conn_start(e->x.conn, &xstream_conn_ops, &e->x);
}

static bool is_freed(void *arg) { return ((struct end *)arg)->freed; }
static bool is_bound(void *arg) { return ((struct end *)arg)->x.state == STREAM_BOUND; }

static void end_finish(struct end *e)
{
    if (e->fd >= 0)
        close(e->fd);
    if (!e->freed && e->x.state != STREAM_CLOSED)
        xstream_abort(&e->x);
    if (!e->freed)
        bed_run(worker.loop, is_freed, e);
    buf_fini(&e->got);
    buf_fini(&e->told);
}

static void assert_told(const struct end *e, const char *words)
{
    char text[256];
    snprintf(text, sizeof text, "%.*s", SLICE_ARG(buf_slice(&e->told)));
    assert_string_equal(text, words);
}

static void both_begin(void)
{
    int fd[2];
    bed_pair(fd);
    end_begin(&server, STREAM_FROM_CLIENT, fd[0]);
    end_begin(&client, STREAM_TO_SERVER, fd[1]);
}

static void both_bind(void)
{
    both_begin();
    end_start(&server);
    end_start(&client);
    bed_run(worker.loop, is_bound, &client);
    assert_told(&server, "to to ");
    buf_clear(&server.told);
}

static void both_finish(void)
{
    end_finish(&client);
    end_finish(&server);
    assert_int_equal(among.count, 0);
    assert_true(list_empty(&among.all));
}

/* A server whose client is the test itself. */
static void raw_begin(void)
{
    int fd[2];
    bed_pair(fd);
    end_begin(&server, STREAM_FROM_CLIENT, fd[0]);
    server.fd = fd[1];
}

static void raw_send(slice text)
{
    assert_int_equal(send(server.fd, text.ptr, text.len, MSG_NOSIGNAL), (ssize_t)text.len);
}

/* All that the server writes until it ends. */
static void raw_read(char *text, size_t cap)
{
    size_t len = 0;
    bed_run(worker.loop, bed_readable, &server.fd);
    for (ssize_t n; (n = recv(server.fd, text + len, cap - 1 - len, MSG_DONTWAIT)) != 0;) {
        if (n > 0)
            len += (size_t)n;
        else
            bed_ticks(worker.loop, 1);
        assert_true(len < cap - 1);
    }
    text[len] = '\0';
}

#define HEADER                                                                                     \
    "<stream:stream xmlns='" NS_CLIENT "' xmlns:stream='" NS_STREAM                                \
    "' to='a.test &amp; b' version='1.0'>"
#define OUR_HEADER                                                                                 \
    "<?xml version='1.0'?><stream:stream xmlns='" NS_CLIENT "' xmlns:stream='" NS_STREAM           \
    "' id='one' from='a.test' version='1.0'>"
#define ERROR(condition, text)                                                                     \
    "<stream:error><" condition " xmlns='" NS_STREAM_ERROR "'/>" text                              \
    "</stream:error></stream:stream>"
#define TEXT(text) "<text xmlns='" NS_STREAM_ERROR "'>" text "</text>"

/* Tests. */

static bool got_three(void *arg)
{
    slice got = buf_slice(&((struct end *)arg)->got);
    return slice_is(got, "<message id='pipelined'/><message id='2'/><presence/>");
}
static bool got_some(void *arg) { return ((struct end *)arg)->got.len > 0; }

static void both_directions_reach_bound(void **state)
{
    (void)state;
    both_bind();
    assert_int_equal(server.x.state, STREAM_BOUND);
    xstream_write(&client.x, SLICE("<message id='2'/><presence/>"));
    xstream_write(&server.x, SLICE("<iq id='x'/>"));
    bed_run(worker.loop, got_three, &server);
    bed_run(worker.loop, got_some, &client);
    assert_true(slice_is(buf_slice(&client.got), "<iq id='x'/>"));
    both_finish();
}

/* RFC 6120 §5.4.3.3: both headers are sent anew under TLS. */
static void both_directions_speak_tls(void **state)
{
    (void)state;
    tls = bed_tls();
    both_begin();
    server.offers_tls = true;
    end_start(&server);
    end_start(&client);
    bed_run(worker.loop, is_bound, &client);
    assert_true(server.x.secure && client.x.secure);
    assert_true(conn_is_secure(server.x.conn) && conn_is_secure(client.x.conn));
    assert_told(&server, "to to to ");
    bed_run(worker.loop, got_some, &server);
    both_finish();
    tls_ctx_unref(&tls);
}

/* RFC 6120 §4.4 */
static void either_side_may_end_first(void **state)
{
    struct end *first[] = { &server, &client }, *second[] = { &client, &server };
    (void)state;
    for (int i = 0; i < 2; i++) {
        both_bind();
        buf_clear(&client.told);
        buf_clear(&server.told);
        xstream_close(&first[i]->x, (slice){ 0 });
        bed_run(worker.loop, is_freed, first[i]);
        bed_run(worker.loop, is_freed, second[i]);
        assert_told(first[i], "closing ");
        assert_told(second[i], "ended closing ");
        both_finish();
    }
}

static void an_error_ends_both(void **state)
{
    (void)state;
    both_bind();
    buf_clear(&client.told);
    buf_clear(&server.told);
    xstream_fail(&server.x, XE_CONFLICT, SLICE("another one"));
    xstream_fail(&server.x, XE_RESET, SLICE("nobody hears that")); /* it is closed */
    bed_run(worker.loop, is_freed, &server);
    bed_run(worker.loop, is_freed, &client);
    assert_told(&server, "conflict closing ");
    assert_told(&client, "ended closing ");
    both_finish();
}

static void errors_are_as_the_rfc_writes_them(void **state)
{
    static const struct {
        slice sent;
        const char *answer;
    } cases[] = {
        /* §4.9.1.2: a header comes before */
        { SLICE_INIT("<iq>"), OUR_HEADER ERROR("invalid-namespace", "") },
        { SLICE_INIT("<a><"), OUR_HEADER ERROR("invalid-namespace", "") },
        { SLICE_INIT("<!DOCTYPE a>"),
          OUR_HEADER ERROR("restricted-xml", TEXT("a declaration outside of stanzas")) },
        { SLICE_INIT(HEADER "<message/>"),
          OUR_HEADER "<stream:features><mechanisms xmlns='" NS_SASL
                     "'/></stream:features>" ERROR("not-authorized", TEXT("log in first")) },
        { SLICE_INIT(HEADER "<stream:error/>"),
          OUR_HEADER "<stream:features><mechanisms xmlns='" NS_SASL
                     "'/></stream:features>" ERROR("not-authorized", TEXT("log in first")) },
        { SLICE_INIT(HEADER "</stream:stream>"), OUR_HEADER
          "<stream:features><mechanisms xmlns='" NS_SASL "'/></stream:features></stream:stream>" },
    };
    char text[2048];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        raw_begin();
        end_start(&server);
        raw_send(cases[i].sent);
        raw_read(text, sizeof text);
        assert_string_equal(text, cases[i].answer);
        end_finish(&server);
    }
}

/* An element may use a prefix that the stream header declares. */
static void prefixes_of_the_header_are_known(void **state)
{
    (void)state;
    raw_begin();
    end_start(&server);
    raw_send(SLICE("<s:stream xmlns='" NS_CLIENT "' xmlns:s='" NS_STREAM "' xmlns:q=\"" NS_SASL
                   "\" to='a.test &amp; b' version='1.0'><q:auth mechanism='EXTERNAL'/>"));
    while (server.x.state != STREAM_AUTHED_OPEN)
        bed_ticks(worker.loop, 1);
    end_finish(&server);
}

static void nothing_is_read_while_it_waits(void **state)
{
    (void)state;
    both_begin();
    server.holds_bind = true;
    end_start(&server);
    end_start(&client);
    while (server.x.state != STREAM_BINDING)
        bed_ticks(worker.loop, 1);
    bed_ticks(worker.loop, 5);
    assert_int_equal(server.got.len, 0);
    assert_false(xstream_takes_input(&server.x));
    server_bind(&server.x);
    bed_run(worker.loop, got_some, &server);
    assert_true(slice_is(buf_slice(&server.got), "<message id='pipelined'/>"));
    both_finish();
}

static void pressure_stops_reading(void **state)
{
    (void)state;
    both_bind();
    bed_run(worker.loop, got_some, &server);
    buf_clear(&server.got);
    worker.pressure = true;
    xstream_write(&client.x, SLICE("<message/>"));
    while ((server.x.holds & CONN_HOLD_PRESSURE) == 0)
        bed_ticks(worker.loop, 1);
    bed_ticks(worker.loop, 5);
    assert_int_equal(server.got.len, 0);
    worker.pressure = false;
    xstreams_release(&among);
    bed_run(worker.loop, got_some, &server);
    assert_int_equal(server.x.holds, 0);
    both_finish();
}

static bool got_many(void *arg) { return ((struct end *)arg)->got.len >= 600 * 10; }

static void who_sends_too_much_is_read_more_slowly(void **state)
{
    (void)state;
    atomic_store(&stanza_rate.value, 500);
    both_bind();
    bed_run(worker.loop, got_some, &server);
    buf_clear(&server.got);
    for (int i = 0; i < 600; i++)
        xstream_write(&client.x, SLICE("<message/>"));
    while ((server.x.holds & CONN_HOLD_RATE) == 0)
        bed_ticks(worker.loop, 1);
    assert_false(xstream_takes_input(&server.x));
    bed_run(worker.loop, got_many, &server);
    assert_int_equal(server.x.state, STREAM_BOUND);
    both_finish();
    atomic_store(&stanza_rate.value, SETTING_NONE);
}

static void a_debt_is_paid_first(void **state)
{
    (void)state;
    atomic_store(&byte_rate.value, 10000);
    both_bind();
    xstream_charge(&server.x, 12000);
    assert_true(server.x.in_debt);
    assert_true(server.x.byte_tokens < 0);
    while (!xstream_takes_input(&server.x))
        bed_ticks(worker.loop, 1);
    assert_false(server.x.in_debt);
    assert_true(server.x.byte_tokens >= 0);
    both_finish();
    atomic_store(&byte_rate.value, SETTING_NONE);
}

static void who_does_not_log_in_is_told(void **state)
{
    char text[2048];
    (void)state;
    raw_begin();
    server.late_ms = LATE_MS;
    end_start(&server);
    raw_read(text, sizeof text);
    assert_string_equal(text, OUR_HEADER ERROR("connection-timeout", TEXT("be faster")));
    end_finish(&server);
}

static bool was_idle(void *arg)
{
    slice told = buf_slice(&((struct end *)arg)->told);
    return memmem(told.ptr, told.len, "idle", 4) != NULL;
}

static void a_bound_stream_is_looked_at(void **state)
{
    (void)state;
    both_bind();
    bed_run(worker.loop, was_idle, &server);
    both_finish();
}

static void a_lost_connection_ends_it(void **state)
{
    (void)state;
    raw_begin();
    end_start(&server);
    raw_send(SLICE(HEADER));
    close(server.fd);
    server.fd = -1;
    bed_run(worker.loop, is_freed, &server);
    slice told = buf_slice(&server.told);
    assert_non_null(memmem(told.ptr, told.len, "lost closing ", 13));
    end_finish(&server);
}

/* Writes until the peer's side of the socket is full and more waits than the mark. */
static void write_much(struct xstream *x, size_t bytes)
{
    static char text[1 << 16];
    memset(text, ' ', sizeof text);
    for (size_t n = 0; n < bytes; n += sizeof text)
        xstream_write(x, (slice){ text, sizeof text });
}

static bool is_slow(void *arg) { return (((struct end *)arg)->x.holds & CONN_HOLD_OUTPUT) != 0; }
static bool is_fast_again(void *arg) { return !is_slow(arg); }

static void drain(void *unused)
{
    static char text[1 << 16];
    (void)unused;
    while (recv(server.fd, text, sizeof text, MSG_DONTWAIT) > 0)
        ;
}
static bool drained(void *arg)
{
    drain(NULL);
    return is_fast_again(arg);
}

static void who_reads_slowly_is_not_read(void **state)
{
    (void)state;
    raw_begin();
    end_start(&server);
    raw_send(SLICE(HEADER));
    while (!server.x.header_sent)
        bed_ticks(worker.loop, 1);
    while (!is_slow(&server)) {
        write_much(&server.x, 1 << 18);
        bed_ticks(worker.loop, 2);
    }
    assert_false(xstream_takes_input(&server.x));
    bed_run(worker.loop, drained, &server);
    assert_told(&server, "to slow fast ");
    end_finish(&server);
}

static void who_does_not_read_at_all_is_closed(void **state)
{
    (void)state;
    raw_begin();
    end_start(&server);
    raw_send(SLICE(HEADER));
    while (!server.x.header_sent)
        bed_ticks(worker.loop, 1);
    while (server.x.state != STREAM_CLOSED) {
        write_much(&server.x, 1 << 20);
        bed_ticks(worker.loop, 2);
    }
    slice told = buf_slice(&server.told);
    assert_non_null(memmem(told.ptr, told.len, "policy-violation closing too-slow ", 34));
    end_finish(&server);
}

/* As a stream does that goes to the home of its account, with what is unread. */
static void it_may_go_to_another_worker(void **state)
{
    (void)state;
    both_bind();
    bed_run(worker.loop, got_some, &server);
    buf_clear(&server.got);
    uint64_t id = server.x.id;
    xstream_leave(&server.x);
    conn_detach(server.x.conn);
    assert_int_equal(among.count, 1);
    xstream_write(&client.x, SLICE("<message/>"));
    bed_ticks(worker.loop, 3);
    xstream_adopt(&server.x, &other_worker, &other_among);
    conn_attach(server.x.conn, other_worker.loop);
    assert_true(server.x.id != id && (server.x.id & 0xffff) == other_worker.index);
    assert_int_equal(other_among.count, 1);
    bed_run(other_worker.loop, got_some, &server);
    xstream_abort(&server.x);
    bed_run(other_worker.loop, is_freed, &server);
    assert_int_equal(other_among.count, 0);
    both_finish();
}

static int begin(void **state)
{
    (void)state;
    worker = (struct worker){
        .loop = loop_create(0), .xml = xml_work_create(), .core = &core, .index = 1
    };
    other_worker = (struct worker){
        .loop = loop_create(0), .xml = xml_work_create(), .core = &core, .index = 2
    };
    xstreams_init(&among);
    xstreams_init(&other_among);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    loop_destroy(&worker.loop);
    loop_destroy(&other_worker.loop);
    xml_work_destroy(&worker.xml);
    xml_work_destroy(&other_worker.xml);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_directions_reach_bound),
        cmocka_unit_test(both_directions_speak_tls),
        cmocka_unit_test(either_side_may_end_first),
        cmocka_unit_test(an_error_ends_both),
        cmocka_unit_test(errors_are_as_the_rfc_writes_them),
        cmocka_unit_test(prefixes_of_the_header_are_known),
        cmocka_unit_test(nothing_is_read_while_it_waits),
        cmocka_unit_test(pressure_stops_reading),
        cmocka_unit_test(who_sends_too_much_is_read_more_slowly),
        cmocka_unit_test(a_debt_is_paid_first),
        cmocka_unit_test(who_does_not_log_in_is_told),
        cmocka_unit_test(a_bound_stream_is_looked_at),
        cmocka_unit_test(a_lost_connection_ends_it),
        cmocka_unit_test(who_reads_slowly_is_not_read),
        cmocka_unit_test(who_does_not_read_at_all_is_closed),
        cmocka_unit_test(it_may_go_to_another_worker),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
