/* Messages of rows of its own: packed and read, cut, damaged, of an earlier and a later release;
 * between workers of a process; questions and their answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "codec/xml_read.h"
#include "home/jids.h"
#include "home/message_wire.h"
#include "home/node.h"
#include "home/question.h"
#include "home/texts.h"
#include "home/worker.h"
#include "io/mesh.h"
#include "xmpp/jid.h"
#include "xmpp/stanza.h"

enum { WORKERS = 3, BYTES_MAX = 1 << 20 };

static struct node node;
static struct worker workers[WORKERS];

/* Rows. */

struct all {
    bool flag;
    uint8_t small;
    uint32_t middle;
    uint64_t large;
    int64_t sign;
    slice bytes, text, bare, full, any, jids, texts, later;
    struct stanza *st, *other;
};

/* What the release before this one had of it are the first two, or all but the last. */
#define ALL_FIELDS                                                                                 \
    F_BOOL(struct all, flag), F_U8(struct all, small, 7), F_U32(struct all, middle, 1000),         \
        F_U64(struct all, large), F_I64(struct all, sign), F_BYTES(struct all, bytes, 100),        \
        F_TEXT(struct all, text, 100), F_BARE(struct all, bare), F_FULL(struct all, full),         \
        F_JID(struct all, any), F_JIDS(struct all, jids), F_TEXTS(struct all, texts, 100),         \
        F_STANZA(struct all, st), F_STANZA_OR_NONE(struct all, other)

static unsigned runs;
static const struct message_row all_message;

static void all_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct all *m = message;
    assert_int_equal(from->part, PART_ALONE);
    assert_int_equal(from->node, w->node->id);
    assert_int_equal(m->small, 5);
    assert_true(slice_is(m->text, "text"));
    assert_true(slice_is(stanza_to(m->st), "b@localhost"));
    runs++;
}

static const struct message_field all_fields[] = { ALL_FIELDS, { 0 } };
static const struct message_row all_message = {
    .id = 10,
    .scope = MESSAGE_CLUSTER,
    .name = "all",
    .size = sizeof(struct all),
    .fields = all_fields,
    .run = all_run,
};
static const struct message_field later_fields[] = { ALL_FIELDS,
                                                     F_BYTES(struct all, later, 100),
                                                     { 0 } };
static const struct message_row later_message = {
    .id = 10,
    .scope = MESSAGE_CLUSTER,
    .name = "all",
    .size = sizeof(struct all),
    .fields = later_fields,
    .run = all_run,
};

struct number {
    uint32_t n;
};
static const struct message_field number_fields[] = { F_U32(struct number, n, UINT32_MAX), { 0 } };
static const struct message_row sum_message = {
    .id = 12,
    .scope = MESSAGE_CLUSTER,
    .name = "sum",
    .size = sizeof(struct number),
    .fields = number_fields,
};

static void ask_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct number *m = message;
    for (unsigned i = 0; i < 2; i++)
        question_answer(w, from, &sum_message, &(struct number){ m->n + w->index });
    runs++;
}

static const struct message_row ask_message = {
    .id = 11,
    .scope = MESSAGE_CLUSTER,
    .name = "ask",
    .size = sizeof(struct number),
    .fields = number_fields,
    .run = ask_run,
    .answer = &sum_message,
};

static struct message_from held;
static void later_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)w, (void)message;
    held = *from;
}
static const struct message_row held_message = {
    .id = 13,
    .scope = MESSAGE_CLUSTER,
    .name = "held",
    .size = sizeof(struct number),
    .fields = number_fields,
    .run = later_run,
    .answer = &sum_message,
    .later = true,
};

static void use(const struct message_row *row)
{
    const struct message_row *const rows[] = { row, &ask_message, &sum_message, &held_message,
                                               &question_ended_message };
    struct why why = { 0 };
    if (!messages_set(rows, sizeof rows / sizeof *rows, &why))
        fail_msg("%s", why.text);
}

/* Workers without threads: the test runs their loops. */

static void no_pressure(void *worker, int on) { (void)worker, (void)on; }

static int start(void **state)
{
    (void)state;
    node = (struct node){ .id = 1, .worker_count = WORKERS, .workers = workers };
    node.mesh = mesh_create(WORKERS, 1);
    for (unsigned i = 0; i < NODE_SLOTS; i++)
        node.slot_worker[i] = (uint8_t)(i % WORKERS);
    for (unsigned i = 0; i < WORKERS; i++) {
        struct worker *w = &workers[i];
        *w = (struct worker){ .node = &node, .index = i };
        w->loop = loop_create(i);
        w->xml = xml_work_create();
        w->port = mesh_attach(node.mesh, i, w->loop, messages_deliver, no_pressure, w);
        questions_init(w);
    }
    use(&all_message);
    runs = 0;
    return 0;
}

static int stop(void **state)
{
    (void)state;
    for (unsigned i = 0; i < WORKERS; i++) {
        loop_destroy(&workers[i].loop);
        xml_work_destroy(&workers[i].xml);
        questions_fini(&workers[i]);
    }
    mesh_destroy(&node.mesh, messages_drop);
    return 0;
}

static void loop_stop_now(struct loop_post *p, struct loop *loop)
{
    (void)p;
    loop_stop(loop);
}

/* Each worker once, twice. */
static void run_all(void)
{
    for (unsigned i = 0; i < 2 * WORKERS; i++) {
        struct loop_post post = { .fn = loop_stop_now };
        loop_post(workers[i % WORKERS].loop, &post);
        loop_run(workers[i % WORKERS].loop);
    }
}

/* A message with everything. */

static struct stanza *stanza(const char *xml)
{
    struct stanza *st;
    assert_int_equal(stanza_load(&st, slice_of(xml), workers[0].xml, loop_scratch(workers[0].loop)),
                     OK);
    return st;
}

static struct buf jids, texts;

static struct all full_message(void)
{
    struct all m = { .flag = true,
                     .small = 5,
                     .middle = 1000,
                     .large = UINT64_MAX,
                     .sign = -2,
                     .bytes = { "\0\xff", 2 },
                     .text = SLICE("text"),
                     .bare = SLICE("a@localhost"),
                     .full = SLICE("a@localhost/r"),
                     .any = SLICE("localhost"),
                     .later = SLICE("later") };
    buf_init(&jids, 1000);
    jids_add(&jids, SLICE("c@localhost"), 7);
    jids_add(&jids, SLICE("d@localhost/r"), 8);
    m.jids = buf_slice(&jids);
    buf_init(&texts, 1000);
    texts_add(&texts, SLICE("one"));
    texts_add(&texts, (slice){ 0 });
    m.texts = buf_slice(&texts);
    m.st = stanza("<message from='a@localhost/r' to='b@localhost'><body>x</body></message>");
    m.st->bad_to = true;
    m.st->arrived = true;
    m.st->refused_kind = REFUSED_SAID;
    return m;
}

static void let_lists_go(void)
{
    buf_fini(&jids);
    buf_fini(&texts);
}

static void let_go(struct all *m)
{
    stanza_unref(&m->st);
    stanza_unref(&m->other);
    let_lists_go();
}

static enum err read(slice bytes, struct all *out, struct why *why)
{
    struct message_from from = { .node = 2, .worker = 1 };
    const struct message_row *row;
    void *message;
    enum err e = message_unpack(&row, &message, bytes, &workers[0], &from, why);
    if (e == OK) {
        *out = *(const struct all *)message;
        assert_int_equal(from.part, PART_QUESTION);
        assert_int_equal(from.question, 77);
    }
    return e;
}

static void pack(struct buf *out, const struct message_row *row, const struct all *m)
{
    buf_init(out, BYTES_MAX);
    message_pack(out, row, m, &(struct message_from){ .question = 77, .part = PART_QUESTION });
    assert_false(out->overflow);
}

static void assert_same(const struct all *a, const struct all *b)
{
    assert_int_equal(a->flag, b->flag);
    assert_int_equal(a->small, b->small);
    assert_int_equal(a->middle, b->middle);
    assert_int_equal(a->large, b->large);
    assert_int_equal(a->sign, b->sign);
    assert_true(slice_eq(a->bytes, b->bytes) && slice_eq(a->text, b->text));
    assert_true(slice_eq(a->bare, b->bare) && slice_eq(a->full, b->full));
    assert_true(slice_eq(a->any, b->any));
    assert_true(slice_eq(a->jids, b->jids) && slice_eq(a->texts, b->texts));
    assert_true(slice_eq(stanza_to(a->st), stanza_to(b->st)));
    assert_int_equal(a->st->bad_to, b->st->bad_to);
    assert_int_equal(a->st->arrived, b->st->arrived);
    assert_int_equal(a->st->refused_kind, b->st->refused_kind);
    assert_null(b->other);
}

/* Tests. */

static void test_round_trip(void **state)
{
    struct all m = full_message(), again;
    struct why why;
    struct buf b;
    (void)state;
    pack(&b, &all_message, &m);
    assert_int_equal(read(buf_slice(&b), &again, &why), OK);
    assert_same(&m, &again);
    assert_int_equal(again.later.len, 0);
    stanza_unref(&again.st);
    buf_fini(&b);
    let_go(&m);
}

/* An error that a later release has added: what was done has failed. */

struct outcome {
    uint8_t err;
};
static const struct message_field outcome_fields[] = { F_ERR(struct outcome, err), { 0 } };
static const struct message_row outcome_message = {
    .id = 10,
    .scope = MESSAGE_CLUSTER,
    .name = "outcome",
    .size = sizeof(struct outcome),
    .fields = outcome_fields,
    .run = later_run,
};

static enum err outcome_as_read(unsigned sent)
{
    struct message_from from = { .node = 2 };
    const struct message_row *row;
    struct why why;
    struct buf b;
    void *message;
    buf_init(&b, BYTES_MAX);
    message_pack(&b, &outcome_message, &(struct outcome){ (uint8_t)sent },
                 &(struct message_from){ 0 });
    if (message_unpack(&row, &message, buf_slice(&b), &workers[0], &from, &why) != OK)
        fail_msg("%s", why.text);
    buf_fini(&b);
    return (enum err)((const struct outcome *)message)->err;
}

static void test_errors_of_a_later_release(void **state)
{
    (void)state;
    use(&outcome_message);
    for (unsigned e = OK; e < ERR_COUNT; e++)
        assert_int_equal(outcome_as_read(e), e);
    assert_int_equal(outcome_as_read(ERR_COUNT), E_INTERNAL);
    assert_int_equal(outcome_as_read(UINT8_MAX), E_INTERNAL);
}

/* A message is whole or it is refused; sanitizers look for what is read behind the end. */
static void test_cut_short(void **state)
{
    struct all m = full_message(), again;
    struct why why;
    struct buf b;
    (void)state;
    pack(&b, &all_message, &m);
    for (size_t len = 0; len < b.len; len++) {
        char *part = mem_alloc(len + 1);
        memcpy(part, b.ptr, len);
        assert_int_equal(read((slice){ part, len }, &again, &why), E_CORRUPT);
        mem_free(&part);
    }
    buf_lit(&b, "x");
    assert_int_equal(read(buf_slice(&b), &again, &why), E_CORRUPT);
    assert_string_equal(why.text, "message all: 1 bytes are left over");
    buf_fini(&b);
    let_go(&m);
}

static void assert_refused(struct all m, const char *text)
{
    struct why why;
    struct all again;
    struct buf b;
    pack(&b, &all_message, &m);
    assert_int_equal(read(buf_slice(&b), &again, &why), E_CORRUPT);
    assert_string_equal(why.text, text);
    buf_fini(&b);
}

static void test_each_field_is_checked(void **state)
{
    struct all m = full_message(), bad;
    (void)state;
#define REFUSED(member, value, problem)                                                            \
    bad = m;                                                                                       \
    bad.member = value;                                                                            \
    assert_refused(bad, "message all: field " #member " is " problem)
    REFUSED(small, 8, "out of range");
    REFUSED(middle, 1001, "out of range");
    REFUSED(text, SLICE("\xff"), "out of range");
    REFUSED(bare, SLICE("A@localhost"), "out of range");
    REFUSED(bare, SLICE("a@localhost/r"), "out of range");
    REFUSED(bare, (slice){ 0 }, "out of range");
    REFUSED(full, SLICE("a@localhost"), "out of range");
    REFUSED(any, SLICE("A@localhost/r"), "out of range");
    REFUSED(any, (slice){ 0 }, "out of range");
    REFUSED(jids, SLICE("1234567"), "out of range");
    REFUSED(texts, SLICE("123"), "out of range");
    REFUSED(texts, ((slice){ "\2\0\0\0x", 5 }), "out of range");
    REFUSED(texts, ((slice){ "\1\0\0\0\xff", 5 }), "out of range");
    REFUSED(st, NULL, "out of range");
    let_go(&m);
}

/* A field for any address takes a domain, a bare JID and a full JID. */
static void test_any_address_is_taken(void **state)
{
    static const char *const addresses[] = { "localhost", "a@localhost", "a@localhost/r" };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct all m = full_message(), again;
        struct why why;
        struct buf b;
        m.any = slice_of(addresses[i]);
        pack(&b, &all_message, &m);
        assert_int_equal(read(buf_slice(&b), &again, &why), OK);
        assert_same(&m, &again);
        stanza_unref(&again.st);
        buf_fini(&b);
        let_go(&m);
    }
}

/* The sender is of a release that has not, or that has, a field more than ours. */
static void test_another_release(void **state)
{
    struct all m = full_message(), again;
    struct why why;
    struct buf b;
    (void)state;
    pack(&b, &all_message, &m);
    use(&later_message);
    assert_int_equal(read(buf_slice(&b), &again, &why), OK);
    assert_same(&m, &again);
    assert_int_equal(again.later.len, 0);
    stanza_unref(&again.st);
    buf_fini(&b);

    pack(&b, &later_message, &m);
    assert_int_equal(read(buf_slice(&b), &again, &why), OK);
    assert_true(slice_is(again.later, "later"));
    stanza_unref(&again.st);
    use(&all_message);
    assert_int_equal(read(buf_slice(&b), &again, &why), OK);
    assert_same(&m, &again);
    stanza_unref(&again.st);

    b.ptr[2] = 99; /* the id */
    assert_int_equal(read(buf_slice(&b), &again, &why), E_UNSUPPORTED);
    assert_string_equal(why.text, "found format 1 and message 99: of another release");
    b.ptr[0] = 2;
    assert_int_equal(read(buf_slice(&b), &again, &why), E_UNSUPPORTED);
    buf_fini(&b);
    let_go(&m);
}

static void assert_clash(const struct message_row *row, const char *text)
{
    const struct message_row *const rows[] = { &all_message, row };
    struct why why;
    assert_false(messages_set(rows, 2, &why));
    assert_string_equal(why.text, text);
}

/* One that is answered later ends a conversation, so it must begin one. */
static void test_alone_where_an_answer_is_due(void **state)
{
    struct number n = { 0 };
    struct all out;
    struct buf b;
    struct why why;
    (void)state;
    buf_init(&b, BYTES_MAX);
    message_pack(&b, &held_message, &n, &(struct message_from){ .part = PART_ALONE });
    assert_int_equal(read(buf_slice(&b), &out, &why), E_CORRUPT);
    assert_non_null(strstr(why.text, "held"));
    buf_fini(&b);
}

static void test_rows_that_clash(void **state)
{
    struct message_row row = ask_message;
    static const struct message_field local[] = { { .name = "it", .type = MF_LOCAL, .offset = 0 },
                                                  { 0 } };
    (void)state;
    row.id = all_message.id;
    assert_clash(&row, "messages all (id 10) and ask (id 10) have the same id or name");
    row = ask_message;
    row.name = "all";
    assert_clash(&row, "messages all (id 10) and all (id 11) have the same id or name");
    row = ask_message;
    row.fields = local;
    assert_clash(&row, "message ask goes to other nodes, and its field it is of this process");
    row = ask_message;
    row.id = MESSAGE_IDS;
    assert_clash(&row,
                 "message ask: found id 256 and 1 fields, allowed ids 1 to 255 and 32 fields");
}

static void test_between_workers(void **state)
{
    (void)state;
    for (unsigned to = 0; to < WORKERS; to++) {
        struct all m = full_message();
        home_send_to(&workers[0], 0, to, &all_message, &m);
        let_lists_go();
        assert_int_equal(runs, to == 0); /* a call at home, else not before the loop runs */
        run_all();
        assert_int_equal(runs, 1);
        runs = 0;
    }
}

static void test_undelivered_is_freed(void **state)
{
    struct all m = full_message();
    (void)state;
    home_send_to(&workers[0], 0, 1, &all_message, &m);
    let_lists_go(); /* the leak checker looks after stop() */
}

struct sum {
    unsigned answers, total, done;
};

static void add(struct worker *w, void *arg, void *answer, const struct message_from *from)
{
    struct sum *s = arg;
    assert_ptr_equal(w, &workers[1]);
    assert_int_equal(((const struct number *)answer)->n, 10 + from->worker);
    assert_int_equal(s->done, 0);
    s->answers++;
    s->total += ((const struct number *)answer)->n;
}

static void done(struct worker *w, void *arg)
{
    assert_ptr_equal(w, &workers[1]);
    ((struct sum *)arg)->done++;
}

static void test_each_home_answers(void **state)
{
    struct sum s = { 0 };
    (void)state;
    each_home(&workers[1], &ask_message, &(struct number){ 10 },
              &(struct asker){ .gather = add, .done = done, .arg = &s });
    run_all();
    assert_int_equal(runs, WORKERS);
    assert_int_equal(s.answers, 2 * WORKERS);
    assert_int_equal(s.total, 2 * (10 * WORKERS + 0 + 1 + 2));
    assert_int_equal(s.done, 1);
    assert_int_equal(workers[1].questions.count, 0);
}

/* A home that must wait for something answers later, and ends then. */
static void test_answered_later(void **state)
{
    slice bare = SLICE("a@localhost");
    struct sum s = { 0 };
    uint32_t at;
    struct worker *home = &workers[node_home(&node, bare, &at)];
    (void)state;
    home_ask(&workers[1], bare, &held_message, &(struct number){ 0 },
             &(struct asker){ .gather = add, .done = done, .arg = &s });
    run_all();
    assert_int_equal(s.done, 0);
    question_answer(home, &held, &sum_message, &(struct number){ 10 + home->index });
    question_end(home, &held);
    run_all();
    assert_int_equal(s.answers, 1);
    assert_int_equal(s.done, 1);
    question_end(home, &held); /* of no question any more: nothing */
    run_all();
    assert_int_equal(s.done, 1);
}

/* An address whose home is not worker 1, which asks: what they say crosses between workers. */
static struct worker *home_elsewhere(slice *bare)
{
    uint32_t at;
    *bare = SLICE("b@localhost");
    struct worker *home = &workers[node_home(&node, *bare, &at)];
    assert_int_not_equal(home->index, 1);
    return home;
}

/* The answer comes to the worker that asked, wherever the slots have gone meanwhile: what waits for
 * it is in the memory of that worker. */
static void test_slots_move_while_a_question_is_open(void **state)
{
    slice bare;
    struct sum s = { 0 };
    struct worker *asked = home_elsewhere(&bare);
    (void)state;
    home_ask(&workers[1], bare, &held_message, &(struct number){ 0 },
             &(struct asker){ .gather = add, .done = done, .arg = &s });
    run_all();
    for (unsigned i = 0; i < NODE_SLOTS; i++)
        node.slot_worker[i] = (uint8_t)(asked->index == 0 ? 2 : 0); /* none is at worker 1 */
    question_answer(asked, &held, &sum_message, &(struct number){ 10 + asked->index });
    question_end(asked, &held);
    run_all();
    assert_int_equal(s.answers, 1);
    assert_int_equal(s.done, 1);
}

/* Another node can answer behind a restart of the node that asked. */
static void test_an_answer_to_an_earlier_run(void **state)
{
    slice bare;
    struct sum s = { 0 };
    struct worker *home = home_elsewhere(&bare);
    (void)state;
    home_ask(&workers[1], bare, &held_message, &(struct number){ 0 }, &(struct asker){ 0 });
    run_all();
    const struct message_from earlier = held;
    questions_fini(&workers[1]);
    workers[1].question = 0;
    questions_init(&workers[1]);
    home_ask(&workers[1], bare, &held_message, &(struct number){ 0 },
             &(struct asker){ .gather = add, .done = done, .arg = &s });
    run_all();
    question_answer(home, &earlier, &sum_message, &(struct number){ 10 + home->index });
    question_end(home, &earlier);
    run_all();
    assert_int_equal(s.answers + s.done, 0);
    question_end(home, &held);
    run_all();
    assert_int_equal(s.done, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, start, stop),
        cmocka_unit_test_setup_teardown(test_errors_of_a_later_release, start, stop),
        cmocka_unit_test_setup_teardown(test_cut_short, start, stop),
        cmocka_unit_test_setup_teardown(test_each_field_is_checked, start, stop),
        cmocka_unit_test_setup_teardown(test_any_address_is_taken, start, stop),
        cmocka_unit_test_setup_teardown(test_another_release, start, stop),
        cmocka_unit_test_setup_teardown(test_alone_where_an_answer_is_due, start, stop),
        cmocka_unit_test_setup_teardown(test_rows_that_clash, start, stop),
        cmocka_unit_test_setup_teardown(test_between_workers, start, stop),
        cmocka_unit_test_setup_teardown(test_undelivered_is_freed, start, stop),
        cmocka_unit_test_setup_teardown(test_each_home_answers, start, stop),
        cmocka_unit_test_setup_teardown(test_answered_later, start, stop),
        cmocka_unit_test_setup_teardown(test_slots_move_while_a_question_is_open, start, stop),
        cmocka_unit_test_setup_teardown(test_an_answer_to_an_earlier_run, start, stop),
    };
    return cmocka_run_group_tests_name("home/message", tests, NULL, NULL);
}
