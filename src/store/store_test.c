#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metric.h"
#include "io/loop.h"
#include "io/timer.h"
#include "store/store.h"
#include "store/store_fixture.h"
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

/* What a done() saw: texts of the rows, joined. */
struct seen {
    unsigned calls;
    enum store_result result;
    uint32_t rows;
    int64_t first, second, changed;
    char text[256];
};

static void see(void *arg, enum store_result result, const struct store_batch *b)
{
    struct seen *s = arg;
    s->calls++;
    s->result = result;
    s->rows = store_row_count(b, 0);
    s->changed = store_changed(b, 0);
    s->text[0] = '\0';
}

static void see_notes(void *arg, enum store_result result, const struct store_batch *b)
{
    struct seen *s = arg;
    see(arg, result, b);
    for (uint32_t i = 0; i < s->rows; i++) {
        slice name = store_text(b, 0, i, 0), value = store_text(b, 0, i, 1);
        size_t at = strlen(s->text);
        snprintf(s->text + at, sizeof s->text - at, "%.*s=%.*s;", SLICE_ARG(name),
                 value.ptr == NULL ? 4 : (int)value.len, value.ptr == NULL ? "NULL" : value.ptr);
    }
}

static void see_counts(void *arg, enum store_result result, const struct store_batch *b)
{
    struct seen *s = arg;
    see(arg, result, b);
    s->first = store_int(b, 0, 0, 0);
    s->second = store_int(b, 0, 0, 1);
}

static int begin(void **state)
{
    fix_begin();
    fix_late.run_rows = 64;
    *state = fix_store();
    return 0;
}

static int end(void **state)
{
    store_close((struct store **)state);
    assert_null(*state);
    fix_end();
    return 0;
}

static struct store_batch *put(struct store *s, int64_t owner, const char *name, const char *value)
{
    struct store_batch *b = store_write(s, (uint64_t)owner);
    STORE_ADD(b, &note_put, 1, SV_I(owner), SV_T(slice_of(name)), SV_T(slice_of(value)));
    return b;
}

static const char *notes(struct store *s, int64_t owner)
{
    static struct seen seen;
    struct store_batch *b = store_read(s, 0);
    STORE_ADD(b, &note_list, STORE_ANY_ROWS, SV_I(owner));
    assert_int_equal(store_run(b, see_notes, &seen), STORE_OK);
    return seen.text;
}

static struct seen counts(struct store *s, const struct store_stmt *stmt)
{
    struct seen seen = { 0 };
    struct store_batch *b = store_read(s, 0);
    store_add(b, stmt, STORE_ANY_ROWS, NULL, 0);
    assert_int_equal(store_run(b, see_counts, &seen), STORE_OK);
    return seen;
}

static void test_values(void **state)
{
    struct store *s = *state;
    struct seen seen = { 0 };
    assert_int_equal(store_run(put(s, 1, "a", "x"), see, &seen), STORE_OK);
    assert_int_equal(seen.calls, 1);
    assert_int_equal(seen.changed, 1);
    struct store_batch *b = store_write(s, 1);
    STORE_ADD(b, &note_put, 1, SV_I(1), SV_T(SLICE("b")), SV_NULL);
    STORE_ADD(b, &note_new, 1, SV_I(1), SV_T(SLICE("c")), SV_T(SLICE("")));
    STORE_ADD(b, &note_new, 1, SV_I(INT64_MIN), SV_T(SLICE("d")), SV_T(SLICE("\xc3\xa9\"'")));
    STORE_ADD(b, &note_append, 3, SV_I(1), SV_T(SLICE("+")));
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    assert_string_equal(notes(s, 1), "a=x+;b=NULL;c=+;");
    assert_string_equal(notes(s, INT64_MIN), "d=\xc3\xa9\"';");
    assert_string_equal(notes(s, 2), "");
}

static void test_returning(void **state)
{
    struct store *s = *state;
    struct seen seen = { 0 };
    store_run(put(s, 1, "a", "1"), NULL, NULL);
    store_run(put(s, 1, "b", "2"), NULL, NULL);
    struct store_batch *b = store_write(s, 1);
    STORE_ADD(b, &note_take, 2, SV_I(1));
    assert_int_equal(store_run(b, see_notes, &seen), STORE_OK);
    assert_string_equal(seen.text, "a=1;b=2;");
    assert_int_equal(seen.changed, 2);
    b = store_write(s, 1);
    STORE_ADD(b, &note_take, 2, SV_I(1));
    assert_int_equal(store_run(b, see_notes, &seen), STORE_CONFLICT);
}

/* The id that was given belongs to its batch. */
static void test_last_id(void **state)
{
    struct store *s = *state;
    struct seen seen = { 0 };
    struct store_batch *b = fix_message(s, 1, 2, 10, SLICE("m"));
    STORE_ADD(b, &entry_put, 1, SV_I(3), SV_I(1), SV_I(1), SV_LAST, SV_I(1));
    assert_int_equal(store_run(b, see, &seen), STORE_OK);
    assert_int_equal(fix_int("SELECT msg FROM entry WHERE owner = 3"), 1);
    b = store_write(s, 1); /* nothing in front that gave an id */
    STORE_ADD(b, &entry_put, 1, SV_I(1), SV_I(1), SV_I(1), SV_LAST, SV_I(1));
    assert_int_equal(store_run(b, see, &seen), STORE_CONFLICT);
}

/* More parts and bytes than the block of a batch has room for. */
static void test_large(void **state)
{
    struct store *s = *state;
    struct store_batch *b = store_write(s, 1);
    char name[16], *value = mem_alloc(100000);
    memset(value, 'v', 100000);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "n%04d", i);
        STORE_ADD(b, &note_new, 1, SV_I(7), SV_T(slice_of(name)), SV_T(((slice){ value, 1000 })));
    }
    STORE_ADD(b, &note_new, 1, SV_I(8), SV_T(SLICE("big")), SV_T(((slice){ value, 100000 })));
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    struct seen seen = { 0 };
    b = store_write(s, 1);
    STORE_ADD(b, &note_take, 1000, SV_I(7));
    assert_int_equal(store_run(b, see, &seen), STORE_OK);
    assert_int_equal(seen.rows, 1000);
    b = store_write(s, 1);
    for (int i = 0; i < 170; i++)
        STORE_ADD(b, &note_new, 1, SV_I(9), SV_T(SLICE("x")), SV_T(((slice){ value, 100000 })));
    assert_int_equal(store_run(b, NULL, NULL), STORE_CONFLICT); /* over STORE_BATCH_BYTES_MAX */
    mem_free(&value);
}

/* More than a batch may return is refused, and harms nobody. */
static void test_large_result(void **state)
{
    struct store *s = *state;
    char *value = mem_alloc(1 << 20);
    memset(value, 'v', 1 << 20);
    for (int i = 0; i < 5; i++) {
        struct store_batch *b = store_write(s, 1);
        for (int n = 0; n < 8; n++) {
            char name[] = { (char)('a' + i), (char)('a' + n), '\0' };
            STORE_ADD(b, &note_new, 1, SV_I(i / 3), SV_T(slice_of(name)),
                      SV_T(((slice){ value, 1 << 20 })));
        }
        assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    }
    struct seen seen = { 0 };
    for (int i = 0; i < 3; i++) {
        struct store_batch *b = store_read(s, 0);
        STORE_ADD(b, &note_list, STORE_ANY_ROWS, SV_I(0));
        assert_int_equal(store_run(b, see, &seen), STORE_OK);
        assert_int_equal(seen.rows, 24);
        b = store_read(s, 0);
        STORE_ADD(b, &note_list, STORE_ANY_ROWS, SV_I(0));
        STORE_ADD(b, &note_list, STORE_ANY_ROWS, SV_I(1));
        assert_int_equal(store_run(b, see, &seen), STORE_CONFLICT);
    }
    mem_free(&value);
}

static void test_drop(void **state)
{
    struct store_batch *b = put(*state, 1, "a", "1"), *none = NULL;
    store_drop(&b);
    assert_null(b);
    store_drop(&none);
    assert_string_equal(notes(*state, 1), "");
    b = store_write(*state, 1);
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK); /* empty */
}

/* A batch is all or nothing, whichever statement is refused. */
static void test_atomic(void **state)
{
    struct store *s = *state;
    store_run(put(s, 1, "a", "1"), NULL, NULL);
    for (int at = 0; at < 3; at++) {
        struct store_batch *b = store_write(s, 1);
        for (int i = 0; i < 3; i++)
            STORE_ADD(b, &note_new, 1, SV_I(1), SV_T(i == at ? SLICE("a") : SLICE("b")),
                      SV_NULL); /* "a" is there; "b" twice: refused as well */
        assert_int_equal(store_run(b, NULL, NULL), STORE_CONFLICT);
        assert_string_equal(notes(s, 1), "a=1;");
    }
}

/* A lone statement that changes more rows than expected has no savepoint to go back to. */
static void test_row_counts(void **state)
{
    struct store *s = *state;
    store_run(put(s, 1, "a", "1"), NULL, NULL);
    store_run(put(s, 1, "b", "2"), NULL, NULL);
    static const int expected[] = { 0, 1, 3 };
    for (size_t i = 0; i < 3; i++) {
        struct store_batch *b = store_write(s, 1);
        STORE_ADD(b, &note_append, expected[i], SV_I(1), SV_T(SLICE("+")));
        assert_int_equal(store_run(b, NULL, NULL), STORE_CONFLICT);
        assert_string_equal(notes(s, 1), "a=1;b=2;");
    }
    struct store_batch *b = store_write(s, 1);
    STORE_ADD(b, &note_append, 2, SV_I(1), SV_T(SLICE("+")));
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    assert_string_equal(notes(s, 1), "a=1+;b=2+;");
}

/* A loop that runs until `left` completions came. */
struct run {
    struct store *store;
    struct loop *loop;
    unsigned left;
    unsigned ok, conflict, other;
};

static void run_begin(struct run *r, struct store *s, unsigned left)
{
    *r = (struct run){ .store = s, .loop = loop_create(0), .left = left };
}

static void count(void *arg, enum store_result result, const struct store_batch *b)
{
    struct run *r = arg;
    assert_ptr_equal(loop_here(), r->loop);
    r->ok += result == STORE_OK;
    r->conflict += result == STORE_CONFLICT;
    r->other += result != STORE_OK && result != STORE_CONFLICT;
    (void)b;
    if (--r->left == 0)
        loop_stop(r->loop);
}

/* In one group: lanes keep their order, each refused batch harms no other. */
static void test_group(void **state)
{
    struct run r;
    char digit[2] = "0";
    run_begin(&r, *state, 1000);
    store_run(put(*state, 5, "log", ""), NULL, NULL);
    for (unsigned i = 0; i < 250; i++) {
        digit[0] = (char)('0' + i % 10);
        struct store_batch *b = store_write(*state, 5);
        STORE_ADD(b, &note_append, 1, SV_I(5), SV_T(slice_of(digit)));
        store_submit(b, r.loop, 0, count, &r);
        b = store_write(*state, 6); /* refused from the second one on */
        STORE_ADD(b, &note_new, 1, SV_I(6), SV_T(SLICE("once")), SV_NULL);
        store_submit(b, r.loop, 0, count, &r);
        b = store_write(*state, 5); /* its first part is undone */
        STORE_ADD(b, &note_append, 1, SV_I(5), SV_T(SLICE("x")));
        STORE_ADD(b, &note_new, 1, SV_I(5), SV_T(SLICE("log")), SV_NULL);
        store_submit(b, r.loop, 0, count, &r);
        store_submit(fix_message(*state, 1, 2, 1000 + i, SLICE("m")), r.loop, 0, count, &r);
    }
    assert_int_equal(r.left, 1000); /* nothing from inside store_submit() */
    loop_run(r.loop);
    assert_int_equal(r.ok, 501);
    assert_int_equal(r.conflict, 499);
    /* ids rise in the order of submission; a group that is run again may leave some out */
    assert_int_equal(fix_int("SELECT count(*) FROM message m WHERE stamp = 999 +"
                             " (SELECT count(*) FROM message n WHERE n.id <= m.id)"),
                     250);
    const char *log = notes(*state, 5);
    assert_int_equal(strncmp(log, "log=01234567890123456789", 24), 0);
    assert_null(strchr(log, 'x'));
    store_close((struct store **)state);
    loop_destroy(&r.loop);
}

static void see_in_loop(void *arg, enum store_result result, const struct store_batch *b)
{
    see_notes(arg, result, b);
    loop_stop(loop_here());
}

/* A read on a lane sees the writes in front of it; written and read in one go. */
static void test_read_after_write(void **state)
{
    struct loop *loop = loop_create(3);
    struct seen seen = { 0 };
    for (int i = 0; i < 50; i++) {
        char value[8];
        snprintf(value, sizeof value, "%d", i);
        store_submit(put(*state, 1, "n", value), loop, 0, NULL, NULL);
        struct store_batch *b = store_read(*state, 1);
        STORE_ADD(b, &note_list, STORE_ANY_ROWS, SV_I(1));
        store_submit(b, loop, 0, see_in_loop, &seen);
        loop_run(loop);
        char expected[16];
        snprintf(expected, sizeof expected, "n=%d;", i);
        assert_string_equal(seen.text, expected);
    }
    store_close((struct store **)state);
    loop_destroy(&loop);
}

static void must_not_run(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)arg;
    (void)result;
    (void)b;
    fail();
}

static void test_cancel(void **state)
{
    struct run r;
    run_begin(&r, *state, 1);
    struct store_op *op = store_submit(put(*state, 1, "a", "1"), r.loop, 0, must_not_run, NULL);
    store_cancel(&op);
    assert_null(op);
    store_cancel(&op);
    store_submit(put(*state, 1, "b", "2"), r.loop, 0, count, &r);
    loop_run(r.loop);
    assert_string_equal(notes(*state, 1), "a=1;b=2;"); /* the write is not taken back */
    store_close((struct store **)state);
    loop_destroy(&r.loop);
}

/* Completions that no loop takes are dropped with the store. */
static void test_close_before_loop(void **state)
{
    struct loop *loop = loop_create(0);
    for (int i = 0; i < 100; i++)
        store_submit(put(*state, 1, "a", "1"), loop, 0, must_not_run, NULL);
    store_close((struct store **)state);
    loop_destroy(&loop);
    *state = fix_store();
    assert_string_equal(notes(*state, 1), "a=1;");
}

static void test_read_deadline(void **state)
{
    struct loop *loop = loop_create(0);
    struct seen seen = { 0 };
    struct store_batch *b = store_read(*state, 0);
    uint64_t began_us = clock_mono_us();
    STORE_ADD(b, &note_slow, STORE_ANY_ROWS, SV_I(INT64_MAX)); /* would never end */
    store_submit(b, loop, 200, see_in_loop, &seen);
    loop_run(loop);
    assert_int_equal(seen.calls, 1);
    assert_int_equal(seen.result, STORE_DOWN);
    assert_true(clock_mono_us() - began_us >= 200000);
    assert_string_equal(notes(*state, 1), ""); /* the reader is free again */
    store_close((struct store **)state);
    loop_destroy(&loop);
}

/* The whole process stands still, loop and readers, while reads wait: when it goes on, they are
 * done although their deadline is over. The readers are held up by long statements, the loop does
 * not run. */
static void test_read_after_a_pause(void **state)
{
    enum { BUSY = 8, ROWS = 20000 };
    struct loop *loop = loop_create(0);
    struct seen seen = { 0 };
    for (int i = 0; i < BUSY; i++) {
        struct store_batch *busy = store_read(*state, 0);
        STORE_ADD(busy, &note_slow, STORE_ANY_ROWS, SV_I(ROWS));
        store_submit(busy, loop, 60000, NULL, NULL);
    }
    struct store_batch *b = store_read(*state, 0);
    STORE_ADD(b, &note_list, STORE_ANY_ROWS, SV_I(1));
    store_submit(b, loop, 1, see_in_loop, &seen);
    uint64_t until_us = clock_mono_us() + 700 * 1000; /* no loop looks at deadlines for as long */
    while (clock_mono_us() < until_us)
        usleep(10000);
    loop_run(loop);
    assert_int_equal(seen.calls, 1);
    assert_int_equal(seen.result, STORE_OK);
    store_close((struct store **)state);
    loop_destroy(&loop);
}

/* One tick in which a read ends, deadlines are looked at, and another read ends. */
struct busy_tick {
    struct loop_post first;
    struct loop_source then;
    struct loop *loop;
    struct store *store;
    unsigned ended;
};
enum {
    READ_MAX_US = 20 * 1000 * 1000,
    TIMER_DUE_US = 250 * 1000 /* a deadline of 1 ms, and io/timer.h is at most 200 ms late */
};

static int64_t queued_batches(void)
{
    struct metric *const *m = store_metrics;
    while (strcmp((*m)->name, "muster_store_queue") != 0)
        m++;
    return metric_read(*m);
}

static void ended_in_tick(void *arg, enum store_result result, const struct store_batch *b)
{
    struct busy_tick *t = arg;
    (void)b;
    assert_int_equal(result, STORE_OK);
    if (++t->ended == 2)
        loop_stop(t->loop);
}

static void read_and_wait(struct busy_tick *t)
{
    struct store_batch *b = store_read(t->store, 0);
    STORE_ADD(b, &note_list, STORE_ANY_ROWS, SV_I(1));
    store_submit(b, t->loop, 1, ended_in_tick, t);
    for (uint64_t until_us = clock_mono_us() + READ_MAX_US; queued_batches() > 0;) {
        assert_true(clock_mono_us() < until_us);
        usleep(1000);
    }
    usleep(TIMER_DUE_US);
}

static void tick_begins(struct loop_post *p, struct loop *loop)
{
    struct busy_tick *t = CONTAINER_OF(p, struct busy_tick, first);
    (void)loop;
    read_and_wait(t);
    ensure(eventfd_write(t->then.fd, 1) == 0);
}

static void tick_goes_on(struct loop_source *source, uint32_t events)
{
    struct busy_tick *t = CONTAINER_OF(source, struct busy_tick, then);
    (void)events;
    loop_remove(t->loop, source);
    read_and_wait(t);
}

static void test_read_ends_while_deadlines_are_looked_at(void **state)
{
    struct busy_tick t = { .first.fn = tick_begins, .store = *state, .loop = loop_create(0) };
    t.then = (struct loop_source){ .fd = eventfd(0, 0), .events = EPOLLIN, .ready = tick_goes_on };
    assert_int_equal(loop_add(t.loop, &t.then), OK);
    loop_post(t.loop, &t.first);
    alarm(60); /* it must not turn for ever */
    loop_run(t.loop);
    alarm(0);
    assert_int_equal(t.ended, 2);
    close(t.then.fd);
    store_close((struct store **)state);
    loop_destroy(&t.loop);
}

struct line {
    struct loop *loop;
    char text[256]; /* a letter for each read that has ended, in order */
    unsigned ended, awaited;
};
enum { ANY_RESULT = -1 };
struct in_line {
    struct line *line;
    char letter;
    int expected; /* enum store_result, or ANY_RESULT */
};

static void ended_in_line(void *arg, enum store_result result, const struct store_batch *b)
{
    const struct in_line *one = arg;
    struct line *l = one->line;
    (void)b;
    assert_true(one->expected == ANY_RESULT || one->expected == (int)result);
    l->text[l->ended++] = one->expected == ANY_RESULT && result == STORE_BUSY ? 'x' : one->letter;
    if (--l->awaited == 0)
        loop_stop(l->loop);
}

static void submit_short(struct store *s, struct in_line *one, uint64_t lane, uint64_t user,
                         int64_t rows)
{
    struct store_batch *b = store_read(s, lane);
    if (user != 0)
        store_read_turn(b, user);
    STORE_ADD(b, &note_slow, STORE_ANY_ROWS, SV_I(rows));
    store_submit(b, one->line->loop, 60000, ended_in_line, one);
}

/* Whoever reads much is served once, then others are. With one reader: SQLite. */
static void check_turns(struct store *s, uint64_t lane, uint64_t user)
{
    struct line line = { .loop = loop_create(0), .awaited = 202 };
    struct in_line much = { &line, 'A', STORE_OK }, other = { &line, 'b', STORE_OK },
                   none = { &line, 'n', STORE_OK };
    submit_short(s, &much, lane, user, 2000000); /* so long that all others wait behind it */
    for (int i = 0; i < 199; i++)
        submit_short(s, &much, lane, user, 1);
    submit_short(s, &other, 2 * lane, 2 * user, 1);
    submit_short(s, &none, 0, 0, 1);
    loop_run(line.loop);
    line.text[line.ended] = '\0';
    assert_true(strchr(line.text, 'b') - line.text <= 3);
    assert_true(strchr(line.text, 'n') - line.text <= 3);
    store_close(&s);
    loop_destroy(&line.loop);
}

static void test_lanes_take_turns(void **state)
{
    check_turns(*state, 1, 0);
    *state = NULL;
}

static void test_users_take_turns(void **state)
{
    check_turns(*state, 0, 1);
    *state = NULL;
}

/* A search that ends by itself, or one that would never end. */
static void submit_long(struct store *s, struct in_line *one, uint64_t user, uint32_t run_ms,
                        int64_t rows)
{
    struct store_batch *b = store_read(s, 0);
    STORE_ADD(b, &note_slow, STORE_ANY_ROWS, SV_I(rows));
    store_read_long(b, user, run_ms);
    store_submit(b, one->line->loop, 60000, ended_in_line, one);
}

/* Long reads wait for each other, users take turns, and short reads wait for none of them. */
static void test_long_reads(void **state)
{
    struct line line = { .loop = loop_create(0), .awaited = 5 };
    struct in_line endless = { &line, 'A', STORE_DOWN }, other = { &line, 'b', STORE_OK },
                   brief = { &line, 's', STORE_OK };
    for (int i = 0; i < 3; i++)
        submit_long(*state, &endless, 1, 200, INT64_MAX);
    submit_long(*state, &other, 2, 200, 1);
    struct store_batch *b = store_read(*state, 0);
    STORE_ADD(b, &note_list, STORE_ANY_ROWS, SV_I(1));
    store_submit(b, line.loop, 0, ended_in_line, &brief);
    loop_run(line.loop);
    /* b was in front of the second or the third, as the first had begun or not */
    assert_int_equal(line.text[0], 's');
    assert_int_equal(line.text[1], 'A');
    assert_int_equal(line.text[4], 'A');
    store_close((struct store **)state);
    loop_destroy(&line.loop);
}

static void test_long_reads_of_one_user_are_limited(void **state)
{
    struct line line = { .loop = loop_create(0), .awaited = 5 + STORE_LONG_READS_MAX + 2 };
    struct in_line endless = { &line, 'A', STORE_DOWN }, more = { &line, 'm', ANY_RESULT },
                   other = { &line, 'b', STORE_OK };
    unsigned refused = 0;
    for (unsigned i = 0; i < STORE_LONG_READS_MAX; i++)
        submit_long(*state, &endless, 1, i == 0 ? 1000 : 10, INT64_MAX);
    for (unsigned i = 0; i < 6; i++) /* one of them waits, if the first does no longer */
        submit_long(*state, &more, 1, 10, INT64_MAX);
    submit_long(*state, &other, 2, 1000, 1);
    loop_run(line.loop);
    line.text[line.ended] = '\0';
    for (unsigned i = 0; i < line.ended; i++)
        refused += line.text[i] == 'x';
    assert_true(refused >= 5);
    assert_true(strchr(line.text, 'x') < strchr(line.text, 'A'));
    assert_true(strchr(line.text, 'b') - strchr(line.text, 'A') <= 2);
    store_close((struct store **)state);
    loop_destroy(&line.loop);
}

static const char *entries(struct store *s, int64_t owner)
{
    static char text[256];
    struct seen seen = { 0 };
    struct store_batch *b = store_read(s, (uint64_t)owner);
    store_read_late(b, owner);
    STORE_ADD(b, &entry_list, STORE_ANY_ROWS, SV_I(owner));
    assert_int_equal(store_run(b, see, &seen), STORE_OK);
    snprintf(text, sizeof text, "%u", seen.rows);
    return text;
}

static void test_late_rows(void **state)
{
    struct store *s = *state;
    for (int i = 0; i < 20; i++)
        store_run(fix_message(s, 1 + i % 2, 3, 100 + i, SLICE("m")), NULL, NULL);
    assert_int_equal(counts(s, &entry_count).first, 0); /* held back */
    assert_string_equal(entries(s, 1), "10");
    assert_int_equal(counts(s, &entry_count).first, 10); /* only this owner's */
    assert_int_equal(counts(s, &entry_count).second, 0);
    assert_string_equal(entries(s, 3), "20");
    for (int i = 20; i < 32; i++) /* the run of 64 rows is full, then inserted with a commit */
        store_run(fix_message(s, 1, 3, 100 + i, SLICE("m")), NULL, NULL);
    store_run(fix_message(s, 1, 3, 200, SLICE("m")), NULL, NULL);
    assert_int_equal(counts(s, &entry_count).first, 64);
    assert_int_equal(counts(s, &entry_count).second, 32);
    assert_string_equal(entries(s, 3), "33");
    store_close(&s);
    s = fix_store();
    assert_int_equal(counts(s, &entry_count).first, 66);
    assert_int_equal(counts(s, &entry_count).second, 33);
    *state = s;
}

/* A write that removes an owner's rows finds those that are late, and they do not come back. */
static void test_late_seen_by_writes(void **state)
{
    struct store *s = *state;
    for (int i = 0; i < 20; i++)
        store_run(fix_message(s, 1 + i % 2, 3, 100 + i, SLICE("m")), NULL, NULL);
    struct store_batch *b = store_write(s, 1);
    store_read_late(b, 1);
    STORE_ADD(b, &entry_delete, 10, SV_I(1));
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    b = store_write(s, 2); /* one that is refused leaves them inserted */
    store_read_late(b, 2);
    STORE_ADD(b, &entry_delete, 10, SV_I(2));
    STORE_ADD(b, &entry_delete, 1, SV_I(2));
    assert_int_equal(store_run(b, NULL, NULL), STORE_CONFLICT);
    /* of the third they still wait, where rows are late */
    assert_int_equal(counts(s, &entry_count).first, fix_driver == FIX_SQLITE ? 10 : 30);
    b = store_write(s, 3);
    store_read_late(b, STORE_ALL_OWNERS);
    STORE_ADD(b, &entry_delete, 20, SV_I(3));
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    assert_string_equal(entries(s, 1), "0");
    assert_string_equal(entries(s, 2), "10");
    assert_string_equal(entries(s, 3), "0");
    store_close(&s);
    s = fix_store();
    assert_int_equal(counts(s, &entry_count).first, 10);
    *state = s;
}

/* A refused batch leaves no late row. */
static void test_late_refused(void **state)
{
    struct store *s = *state;
    store_run(put(s, 1, "a", "1"), NULL, NULL);
    struct store_batch *b = fix_message(s, 1, 2, 5, SLICE("m"));
    STORE_ADD(b, &note_new, 1, SV_I(1), SV_T(SLICE("a")), SV_NULL);
    assert_int_equal(store_run(b, NULL, NULL), STORE_CONFLICT);
    store_run(fix_message(s, 3, 4, 6, SLICE("m")), NULL, NULL);
    assert_string_equal(entries(s, 1), "0");
    assert_string_equal(entries(s, 3), "1");
    store_close(&s);
    s = fix_store();
    assert_int_equal(counts(s, &entry_count).first, 2);
    *state = s;
}

static void test_not_late(void **state)
{
    store_close((struct store **)state);
    fix_late.run_rows = 0;
    struct store *s = fix_store();
    struct store_batch *b = fix_message(s, 1, 2, 5, SLICE("m"));
    STORE_ADD(b, &note_append, 1, SV_I(1), SV_T(SLICE("refused")));
    assert_int_equal(store_run(b, NULL, NULL), STORE_CONFLICT);
    assert_int_equal(store_run(fix_message(s, 1, 2, 6, SLICE("m")), NULL, NULL), STORE_OK);
    assert_int_equal(counts(s, &entry_count).first, 2);
    store_close(&s);
    *state = fix_store();
    assert_int_equal(counts(*state, &entry_count).second, fix_int("SELECT id FROM message"));
}

/* Chains of writes on several lanes: each write is submitted by the completion of the one before.
 */
struct chain {
    struct run *run;
    uint64_t lane;
    unsigned left;
};

static void next_of_chain(void *arg, enum store_result result, const struct store_batch *b)
{
    struct chain *c = arg;
    (void)b;
    assert_int_equal(result, STORE_OK);
    if (c->left-- > 0) {
        struct store_batch *next = fix_message(c->run->store, (int64_t)c->lane,
                                               1000 - (int64_t)c->lane, c->left, SLICE("chain"));
        store_submit(next, c->run->loop, 0, next_of_chain, c);
    } else if (--c->run->left == 0) {
        loop_stop(c->run->loop);
    }
}

static void test_chains(void **state)
{
    struct run r;
    struct chain chains[64];
    run_begin(&r, *state, 64);
    for (unsigned i = 0; i < 64; i++) {
        chains[i] = (struct chain){ &r, i, 50 };
        store_submit(put(*state, i, "begin", ""), r.loop, 0, next_of_chain, &chains[i]);
    }
    loop_run(r.loop);
    assert_int_equal(counts(*state, &message_count).first, 64 * 50);
    store_close((struct store **)state);
    loop_destroy(&r.loop);
    *state = fix_store();
    assert_int_equal(counts(*state, &entry_count).first, 64 * 50 * 2);
}

enum { WORKERS = 3, WORKER_CHAINS = 8, CHAIN_WRITES = 100 };

struct worker {
    pthread_t thread;
    struct run run;
    struct chain chains[WORKER_CHAINS];
};

static void *run_worker(void *arg)
{
    struct worker *w = arg;
    for (unsigned i = 0; i < WORKER_CHAINS; i++)
        store_submit(put(w->run.store, (int64_t)w->chains[i].lane, "begin", ""), w->run.loop, 0,
                     next_of_chain, &w->chains[i]);
    loop_run(w->run.loop);
    return NULL;
}

/* Loops on threads of their own share commits, and each gets its own answers. */
static void test_workers(void **state)
{
    static struct worker workers[WORKERS];
    for (unsigned i = 0; i < WORKERS; i++) {
        struct worker *w = &workers[i];
        w->run = (struct run){ .store = *state, .loop = loop_create(i), .left = WORKER_CHAINS };
        for (unsigned n = 0; n < WORKER_CHAINS; n++)
            w->chains[n] = (struct chain){ &w->run, i * WORKER_CHAINS + n, CHAIN_WRITES };
        assert_int_equal(pthread_create(&w->thread, NULL, run_worker, w), 0);
    }
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(workers[i].thread, NULL);
    assert_int_equal(counts(*state, &message_count).first, WORKERS * WORKER_CHAINS * CHAIN_WRITES);
    store_close((struct store **)state);
    for (unsigned i = 0; i < WORKERS; i++)
        loop_destroy(&workers[i].run.loop);
}

/* Nobody writes any more: late rows go in although the run is not full, and the WAL is emptied. */
static void test_idle(void **state)
{
    store_close((struct store **)state);
    fix_late.run_rows = 65536;
    struct store *s = *state = fix_store();
    struct run r;
    char body[1000];
    memset(body, 'm', sizeof body);
    run_begin(&r, s, 1500);
    for (int i = 0; i < 1500; i++)
        store_submit(fix_message(s, i, i + 2000, i, (slice){ body, sizeof body }), r.loop, 0, count,
                     &r);
    loop_run(r.loop);
    assert_int_equal(counts(s, &entry_count).first, 0);
    uint64_t limit_us = clock_mono_us() + 20000000;
    struct stat wal = { .st_size = 1 };
    char path[128];
    snprintf(path, sizeof path, "%s-wal", fix_path);
    while (wal.st_size > 0 && clock_mono_us() < limit_us) {
        usleep(20000);
        assert_int_equal(stat(path, &wal), 0);
    }
    assert_int_equal(wal.st_size, 0);
    assert_int_equal(counts(s, &entry_count).first, 3000);
    assert_int_equal(counts(s, &entry_count).second, 1500);
    store_close((struct store **)state);
    loop_destroy(&r.loop);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(store_result_name(STORE_OK), "ok");
    assert_string_equal(store_result_name(STORE_UNKNOWN), "unknown");
}

#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, begin, end)
/* What both drivers promise. */
#define CONTRACT                                                                                   \
    WITH_STORE(test_values), WITH_STORE(test_returning), WITH_STORE(test_last_id),                 \
        WITH_STORE(test_large), WITH_STORE(test_large_result), WITH_STORE(test_drop),              \
        WITH_STORE(test_atomic), WITH_STORE(test_row_counts), WITH_STORE(test_group),              \
        WITH_STORE(test_read_after_write), WITH_STORE(test_cancel),                                \
        WITH_STORE(test_close_before_loop), WITH_STORE(test_read_deadline),                        \
        WITH_STORE(test_read_after_a_pause),                                                       \
        WITH_STORE(test_read_ends_while_deadlines_are_looked_at), WITH_STORE(test_long_reads),     \
        WITH_STORE(test_long_reads_of_one_user_are_limited), WITH_STORE(test_late_seen_by_writes), \
        WITH_STORE(test_late_refused), WITH_STORE(test_not_late), WITH_STORE(test_chains),         \
        WITH_STORE(test_workers)

int main(void)
{
    const struct CMUnitTest sqlite_tests[] = {
        CONTRACT,
        WITH_STORE(test_late_rows),
        WITH_STORE(test_idle),
        WITH_STORE(test_lanes_take_turns),
        WITH_STORE(test_users_take_turns),
        cmocka_unit_test(test_names),
    };
    const struct CMUnitTest pgsql_tests[] = { CONTRACT };
    for (struct metric *const *m = store_metrics; *m != NULL; m++)
        metric_register(*m);
    int failed = cmocka_run_group_tests_name("store", sqlite_tests, NULL, NULL);
    if (!pgfix_start())
        return failed;
    fix_driver = FIX_PGSQL;
    failed += cmocka_run_group_tests_name("store of PostgreSQL", pgsql_tests, NULL, NULL);
    pgfix_end();
    return failed;
}
