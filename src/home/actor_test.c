#include "base/ensure.h"
#include "base/mem.h"
#include "base/metric.h"
#include "home/actor.h"
#include "io/loop.h"
#include "io/test_bed.h"
#include "xmpp/stanza.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* A kind of actors whose loads end when the test says so, and which notes in `said` what it did. */

struct thing {
    union {
        struct actor actor;
        struct {
            ACTOR_HEAD;
        };
    };
    bool used, stays;
};

static struct actors things;
static struct metric loaded_metric = { .name = "things", .kind = METRIC_GAUGE, .help = "" };
static char said[256];
static unsigned loads, unloads;

static void say(const char *word)
{
    size_t len = strlen(said);
    snprintf(said + len, sizeof said - len, "%s%s", len > 0 ? " " : "", word);
}

#define assert_said(text)                                                                          \
    do {                                                                                           \
        assert_string_equal(said, text);                                                           \
        said[0] = 0;                                                                               \
    } while (0)

static struct thing *thing_of(struct actor *a) { return CONTAINER_OF(a, struct thing, actor); }

static void thing_load(struct actor *a)
{
    (void)a;
    loads++;
}

static void thing_handle(struct actor *a, const struct actor_item *item)
{
    struct stanza *st = item->st;
    (void)a;
    say("stanza");
    stanza_unref(&st);
}

static void thing_refuse(struct actor *a, const struct actor_item *item, enum err e)
{
    struct stanza *st = item->st;
    (void)a;
    say(err_name(e));
    stanza_unref(&st);
}

typedef void thing_fn(struct thing *t, enum err e, void *arg);

static void thing_call(struct actor *a, actor_any_fn *fn, enum err e, void *arg)
{
    ((thing_fn *)fn)(thing_of(a), e, arg);
}

static bool thing_in_use(const struct actor *a)
{
    return CONTAINER_OF(a, const struct thing, actor)->used;
}

static bool thing_may_unload(struct actor *a) { return !thing_of(a)->stays; }

static void thing_unload(struct actor *a)
{
    struct thing *t = thing_of(a);
    unloads++;
    mem_free(&t);
}

static void thing_check(const struct actor *a) { (void)a; }

static void thing_drop(struct actor *a)
{
    if (thing_of(a)->used) /* what used it held it */
        actor_unpin(a);
    thing_of(a)->used = false;
}

static bool thing_is_urgent(const struct stanza *st) { return st->kind == STANZA_PRESENCE; }
static uint64_t thing_idle_ms(void) { return 60000; }

static const struct actor_kind kind = {
    .loaded = &loaded_metric,
    .idle_max = 3,
    .absent_max = 2,
    .calls_max = 5,
    .idle_ms = thing_idle_ms,
    .load = thing_load,
    .handle = thing_handle,
    .refuse = thing_refuse,
    .call = thing_call,
    .urgent = thing_is_urgent,
    .in_use = thing_in_use,
    .may_unload = thing_may_unload,
    .unload = thing_unload,
    .check = thing_check,
    .drop = thing_drop,
};

static struct thing *thing_new(const char *jid)
{
    struct thing *t = mem_zalloc(sizeof *t);
    actor_init(&t->actor, &things, slice_of(jid));
    actor_load(&t->actor);
    return t;
}

static struct thing *thing_ready(const char *jid)
{
    struct thing *t = thing_new(jid);
    actor_loaded(&t->actor, OK);
    return t;
}

static bool thing_is_there(const char *jid) { return actors_find(&things, slice_of(jid)) != NULL; }

static void sweep(void) { things.sweep.fn(&things.sweep, things.loop); }

static int begin(void **state)
{
    (void)state;
    said[0] = 0;
    loads = unloads = 0;
    actors_init(&things, &kind, NULL, loop_create(0));
    return 0;
}

static int end(void **state)
{
    (void)state;
    actors_stop(&things);
    loop_destroy(&things.loop);
    assert_int_equal(metric_read(&loaded_metric), 0);
    return 0;
}

static struct stanza *stanza(enum stanza_kind k)
{
    return stanza_make(k, TYPE_CHAT, SLICE("a@localhost"), SLICE("t@localhost"), SLICE("1"),
                       SLICE("<body xmlns='jabber:client'>x</body>"));
}

static bool put(struct thing *t, enum stanza_kind k)
{
    struct stanza *st = stanza(k);
    bool done = actor_wait(&t->actor, &(struct actor_item){ .st = st });
    if (!done)
        stanza_unref(&st);
    return done;
}

static void said_arg(struct thing *t, enum err e, void *arg)
{
    (void)t;
    say(e == OK ? arg : err_name(e));
}

static bool ask(struct thing *t, thing_fn *fn, char *arg)
{
    return actor_wait(&t->actor, &(struct actor_item){ .fn = (actor_any_fn *)fn, .arg = arg });
}

/* While it loads, everything waits, and then happens in the order in which it came. */
static void test_what_waits_keeps_its_order(void **state)
{
    (void)state;
    struct thing *t = thing_new("t");
    assert_true(actor_waits(&t->actor));
    assert_true(ask(t, said_arg, "one"));
    assert_true(put(t, STANZA_MESSAGE));
    assert_true(ask(t, said_arg, "two"));
    assert_said("");
    actor_loaded(&t->actor, OK);
    assert_said("one stanza two");
    assert_false(actor_waits(&t->actor));
}

static void test_what_waits_is_refused_if_it_cannot_be_read(void **state)
{
    (void)state;
    struct thing *t = thing_new("t");
    assert_true(put(t, STANZA_MESSAGE));
    assert_true(ask(t, said_arg, "one"));
    actor_loaded(&t->actor, E_DOWN);
    assert_said("down down");
    assert_int_equal(t->state, ACTOR_ABSENT);
    assert_int_equal(loads, 1);
    actor_renew(&t->actor); /* whoever asks next makes it try again */
    assert_int_equal(loads, 2);
    assert_true(ask(t, said_arg, "one"));
    actor_loaded(&t->actor, E_NOTFOUND);
    assert_said("one");
    actor_renew(&t->actor);
    assert_int_equal(loads, 2); /* now it is certain */
}

/* The answer "not there" of a look-up that began before somebody said that it may be there. */
static void test_an_answer_that_is_too_old(void **state)
{
    (void)state;
    struct thing *t = thing_new("t");
    assert_true(ask(t, said_arg, "one"));
    t->actor.unsure = true;
    actor_loaded(&t->actor, E_NOTFOUND);
    assert_said("");
    assert_int_equal(t->state, ACTOR_LOADING);
    assert_int_equal(loads, 2);
    actor_loaded(&t->actor, OK);
    assert_said("one");
    assert_int_equal(t->state, ACTOR_READY);
}

static void loads_again(struct thing *t, enum err e, void *arg)
{
    said_arg(t, e, arg);
    actor_load(&t->actor);
}

static void test_the_rest_waits_if_it_loads_again(void **state)
{
    (void)state;
    struct thing *t = thing_new("t");
    assert_true(ask(t, loads_again, "one"));
    assert_true(ask(t, said_arg, "two"));
    actor_loaded(&t->actor, OK);
    assert_said("one");
    actor_loaded(&t->actor, OK);
    assert_said("two");
}

static void test_the_inbox_is_limited(void **state)
{
    (void)state;
    struct thing *t = thing_new("t");
    for (unsigned i = 0; i < ACTOR_INBOX_MAX; i++)
        assert_true(put(t, STANZA_MESSAGE));
    assert_false(put(t, STANZA_MESSAGE));
    assert_true(put(t, STANZA_PRESENCE)); /* urgent */
    for (unsigned i = 0; i < kind.calls_max; i++)
        assert_true(ask(t, said_arg, "x"));
    assert_false(ask(t, said_arg, "x"));
    for (unsigned i = 1; i < 3 * ACTOR_INBOX_MAX; i++)
        assert_true(put(t, STANZA_PRESENCE));
    assert_false(put(t, STANZA_PRESENCE));
    /* the end frees what still waits */
}

static void test_nobody_needs_it(void **state)
{
    (void)state;
    struct thing *t = thing_ready("t"), *kept = thing_ready("kept");
    kept->stays = true;
    sweep();
    assert_true(thing_is_there("t"));
    t->actor.idle_since_us = kept->actor.idle_since_us = 0;
    actor_pin(&t->actor);
    sweep();
    assert_true(thing_is_there("t"));
    t->used = true;
    actor_unpin(&t->actor);
    t->actor.idle_since_us = 0;
    sweep();
    assert_true(thing_is_there("t"));
    t->used = false;
    actor_touch(&t->actor);
    t->actor.idle_since_us = kept->actor.idle_since_us = 0;
    sweep();
    assert_false(thing_is_there("t"));
    assert_true(thing_is_there("kept"));
    assert_int_equal(unloads, 1);
}

static void test_too_many_are_idle(void **state)
{
    static const char *const names[] = { "a", "b", "c", "d", "e" };
    (void)state;
    for (unsigned i = 0; i < 5; i++)
        thing_ready(names[i]);
    assert_int_equal(things.map.count, kind.idle_max);
    assert_true(thing_is_there("e") && !thing_is_there("a"));
    for (unsigned i = 0; i < 2; i++)
        actor_loaded(&thing_new(names[i])->actor, E_NOTFOUND);
    actor_loaded(&thing_new("f")->actor, E_NOTFOUND);
    assert_int_equal(things.map.count, kind.idle_max + kind.absent_max);
    assert_true(thing_is_there("f") && !thing_is_there("a"));
}

/* Changes: here without anything to store, so that each ends at once. */

struct word {
    struct actor_change base; /* first */
    const char *text;
    const char *then; /* another change that it asks for */
    enum err e;
};

static enum err word_prepare(struct actor_change *base) { return ((struct word *)base)->e; }

static void change(struct thing *t, const char *text, const char *then, enum err e);

static void word_apply(struct actor_change *base, enum err e)
{
    struct word *word = (struct word *)base;
    say(e == OK ? word->text : err_name(e));
    if (word->then != NULL)
        change(thing_of(base->actor), word->then, NULL, OK);
    mem_free(&word);
}

static void change(struct thing *t, const char *text, const char *then, enum err e)
{
    struct word *word = mem_new(struct word);
    *word = (struct word){ { .prepare = word_prepare, .apply = word_apply }, text, then, e };
    actor_change(&t->actor, &word->base);
}

static void test_changes_follow_one_another(void **state)
{
    (void)state;
    struct thing *t = thing_ready("t");
    change(t, "one", "two", OK);
    assert_said("one two");
    change(t, "", NULL, E_DENIED);
    assert_said("denied");
    t->actor.changing = true; /* as while the first is being committed */
    change(t, "three", "four", OK);
    change(t, "five", NULL, OK);
    assert_int_equal(t->actor.change_count, 2);
    assert_said("");
    t->actor.changing = false;
    change(t, "six", NULL, OK);
    assert_said("three four five six");
    assert_int_equal(t->actor.change_count, 0);
}

static void test_changes_that_are_never_made(void **state)
{
    (void)state;
    struct thing *t = thing_ready("t");
    struct actor_change *c;
    unsigned n = 0;
    t->actor.changing = true;
    change(t, "one", NULL, OK);
    change(t, "two", NULL, OK);
    t->actor.changing = false;
    for (; (c = actor_take_change(&t->actor)) != NULL; n++)
        mem_free(&c);
    assert_int_equal(n, 2);
    change(t, "three", NULL, OK);
    assert_said("three");
}

/* One that ends stays for those who hold it; another of its JID may be there before it is gone. */
static void test_one_that_ends(void **state)
{
    (void)state;
    struct thing *old = thing_ready("t"), *other;
    actor_pin(&old->actor);
    actor_end(&old->actor);
    assert_int_equal(old->state, ACTOR_ABSENT);
    assert_false(thing_is_there("t"));
    other = thing_ready("t");
    actor_unpin(&old->actor);
    assert_int_equal(unloads, 1);
    assert_ptr_equal(actors_find(&things, SLICE("t")), &other->actor);
    actor_end(&other->actor); /* nobody holds it */
    assert_int_equal(unloads, 2);
    assert_false(thing_is_there("t"));
}

/* What waits for one that ends while it is loaded hears that there is none. */
static void test_one_that_ends_while_it_is_loaded(void **state)
{
    (void)state;
    struct thing *t = thing_new("t");
    assert_true(put(t, STANZA_MESSAGE));
    actor_end(&t->actor);
    assert_int_equal(unloads, 0);
    actor_loaded(&t->actor, E_NOTFOUND);
    assert_said("stanza");
    assert_int_equal(unloads, 1);
}

/* The end frees what is used and held, too. */
static void test_the_end_of_one_that_is_used(void **state)
{
    (void)state;
    struct thing *t = thing_ready("t"), *held = thing_ready("held");
    actor_pin(&t->actor);
    t->used = true;
    actor_pin(&held->actor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_waits_keeps_its_order, begin, end),
        cmocka_unit_test_setup_teardown(test_what_waits_is_refused_if_it_cannot_be_read, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_an_answer_that_is_too_old, begin, end),
        cmocka_unit_test_setup_teardown(test_the_rest_waits_if_it_loads_again, begin, end),
        cmocka_unit_test_setup_teardown(test_the_inbox_is_limited, begin, end),
        cmocka_unit_test_setup_teardown(test_nobody_needs_it, begin, end),
        cmocka_unit_test_setup_teardown(test_too_many_are_idle, begin, end),
        cmocka_unit_test_setup_teardown(test_changes_follow_one_another, begin, end),
        cmocka_unit_test_setup_teardown(test_changes_that_are_never_made, begin, end),
        cmocka_unit_test_setup_teardown(test_one_that_ends, begin, end),
        cmocka_unit_test_setup_teardown(test_one_that_ends_while_it_is_loaded, begin, end),
        cmocka_unit_test_setup_teardown(test_the_end_of_one_that_is_used, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
