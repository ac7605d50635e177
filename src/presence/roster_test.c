#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "account/account.h"
#include "auth/auth.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/test_dice.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "presence/presence.h"
#include "presence/presence_in.h"
#include "presence/roster.h"
#include "presence/roster_account.h"
#include "presence/subscription.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What must hold after every delta. */
static void check(const struct roster *r)
{
    uint32_t pending = 0, listed = 0;
    assert_int_equal(r->by_jid.count, r->count);
    for (uint32_t i = 0; i < r->count; i++) {
        const struct roster_item *item = r->items[i];
        assert_int_equal(item->at, i);
        assert_int_equal(sub_is_seen(item->state) != 0, i < r->seen);
        assert_ptr_equal(roster_find(r, roster_item_jid(item)), item);
        pending += sub_state_pending_in(item->state) ? 1 : 0;
        listed += (item->flags & ROSTER_LISTED) != 0 ? 1 : 0;
        assert_true(item->version <= r->version);
    }
    assert_int_equal(pending, r->pending);
    assert_int_equal(listed, r->listed);
    assert_true(r->removed <= r->version);
}

static void assert_same_item(const struct roster_item *a, const struct roster_item *b)
{
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(a->state, b->state);
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->version, b->version);
    assert_true(slice_eq(roster_item_jid(a), roster_item_jid(b)));
    assert_true(slice_eq(roster_item_name(a), roster_item_name(b)));
    assert_true(slice_eq(roster_item_groups(a), roster_item_groups(b)));
    assert_true(slice_eq(roster_item_request(a), roster_item_request(b)));
}

static void assert_same(const struct roster *a, const struct roster *b)
{
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->seen, b->seen);
    assert_int_equal(a->version, b->version);
    assert_int_equal(a->removed, b->removed);
    for (uint32_t i = 0; i < a->count; i++)
        assert_same_item(a->items[i], roster_find(b, roster_item_jid(a->items[i])));
}

/* One group, with the NUL that ends it. */
static slice group(struct arena *arena)
{
    char *text = arena_printf(arena, "%u <&> %u", test_dice(1000), test_dice(1000));
    return (slice){ text, strlen(text) + 1 };
}

/* One change as a handler would make it, from the roster as it is. */
static struct roster_delta change(const struct roster *r, struct arena *arena)
{
    slice jid = slice_of(arena_printf(arena, "user%u@example.test", test_dice(60)));
    struct roster_delta d = roster_edit(r, jid);
    enum roster_view view = test_dice(4) == 0 ? ROSTER_HIDDEN : ROSTER_SHOWN;
    d.state = (uint8_t)test_dice(SUB_STATE_COUNT);
    d.flags = view == ROSTER_SHOWN ? ROSTER_LISTED : d.flags;
    if (test_dice(3) == 0)
        d.name = slice_of(arena_printf(arena, "name %u", test_dice(100)));
    if (test_dice(3) == 0)
        d.groups = group(arena);
    if (test_dice(2) == 0)
        d.request = slice_of(arena_printf(arena, "<presence id='%u'/>", test_dice(1000)));
    if (test_dice(4) == 0) {
        d.state = SUB_NONE;
        view = (d.flags & ROSTER_LISTED) != 0 ? ROSTER_SHOWN : ROSTER_HIDDEN;
        d.flags = 0;
    }
    roster_seal(r, &d, view);
    d.name = slice_dup(arena, d.name); /* a log keeps its own bytes */
    d.groups = slice_dup(arena, d.groups);
    d.request = slice_dup(arena, d.request);
    return d;
}

/* The same deltas replayed into a second instance give the same state (architecture §3). */
static void test_replay(void **state)
{
    enum { CHANGES = 5000 };
    struct arena *arena = arena_create(64 * 1024);
    struct roster_delta *log = mem_alloc(CHANGES * sizeof *log);
    struct roster first, second, loaded;
    (void)state;
    roster_init(&first);
    roster_init(&second);
    roster_init(&loaded);
    for (int i = 0; i < CHANGES; i++) {
        log[i] = change(&first, arena);
        roster_apply(&first, &log[i]);
        check(&first);
    }
    assert_true(first.count > 10 && first.seen > 0 && first.pending > 0);
    for (int i = 0; i < CHANGES; i++)
        roster_apply(&second, &log[i]);
    assert_same(&first, &second);

    /* loading is a sequence of deltas too */
    struct roster_delta d = { .op = ROSTER_MARK,
                              .version = first.version,
                              .removed = first.removed };
    roster_apply(&loaded, &d);
    for (uint32_t i = 0; i < first.count; i++) {
        d = roster_edit(&first, roster_item_jid(first.items[i]));
        d.version = first.version;
        d.removed = first.removed;
        roster_apply(&loaded, &d);
        check(&loaded);
    }
    assert_same(&first, &loaded);
    roster_fini(&first);
    roster_fini(&second);
    roster_fini(&loaded);
    mem_free(&log);
    arena_destroy(&arena);
}

static struct roster_delta put(struct roster *r, const char *jid, enum sub_state sub,
                               unsigned flags, enum roster_view view)
{
    struct roster_delta d = roster_edit(r, slice_of(jid));
    d.state = (uint8_t)sub;
    d.flags = (uint8_t)flags;
    roster_seal(r, &d, view);
    roster_apply(r, &d);
    check(r);
    return d;
}

static void test_versions(void **state)
{
    struct roster r;
    (void)state;
    roster_init(&r);
    assert_int_equal(put(&r, "a@x", SUB_NONE_PENDING_IN, 0, ROSTER_HIDDEN).version, 0);
    assert_int_equal(put(&r, "b@x", SUB_NONE, ROSTER_LISTED, ROSTER_SHOWN).version, 1);
    struct roster_delta d = put(&r, "a@x", SUB_FROM, ROSTER_LISTED, ROSTER_SHOWN);
    assert_int_equal(d.item_version, 2);
    assert_int_equal(r.removed, 0);
    /* an invisible change leaves the version of the item as clients know it */
    put(&r, "b@x", SUB_NONE_PENDING_IN, ROSTER_LISTED, ROSTER_HIDDEN);
    assert_int_equal(r.version, 2);
    assert_int_equal(roster_find(&r, SLICE("b@x"))->version, 1);
    assert_int_equal(put(&r, "a@x", SUB_NONE, 0, ROSTER_SHOWN).op, ROSTER_DELETE);
    assert_int_equal(r.version, 3);
    assert_int_equal(r.removed, 3);
    assert_null(roster_find(&r, SLICE("a@x")));
    roster_fini(&r);
}

static void test_request_ends_with_its_answer(void **state)
{
    struct roster r;
    (void)state;
    roster_init(&r);
    struct roster_delta d = roster_edit(&r, SLICE("a@x"));
    d.state = SUB_NONE_PENDING_IN;
    d.request = SLICE("<presence/>");
    roster_seal(&r, &d, ROSTER_HIDDEN);
    roster_apply(&r, &d);
    assert_true(slice_is(roster_item_request(roster_find(&r, SLICE("a@x"))), "<presence/>"));
    assert_int_equal(r.listed, 0);
    put(&r, "a@x", SUB_FROM, ROSTER_LISTED, ROSTER_SHOWN);
    assert_int_equal(roster_item_request(roster_find(&r, SLICE("a@x"))).len, 0);
    put(&r, "a@x", SUB_NONE, 0, ROSTER_SHOWN);
    assert_int_equal(r.count, 0);
    roster_fini(&r);
}

static void test_new(void **state)
{
    struct roster r;
    (void)state;
    roster_init(&r);
    struct roster_delta d = roster_edit(NULL, SLICE("a@x"));
    assert_false(roster_delta_is_new(NULL, &d));
    d.flags = ROSTER_LISTED;
    assert_true(roster_delta_is_new(NULL, &d));
    put(&r, "a@x", SUB_NONE_PENDING_IN, 0, ROSTER_HIDDEN);
    assert_true(roster_delta_is_new(&r, &d)); /* a request alone is no contact */
    put(&r, "a@x", SUB_FROM, ROSTER_LISTED, ROSTER_SHOWN);
    assert_false(roster_delta_is_new(&r, &d));
    roster_fini(&r);
}

/* Contacts that see the owner leave from every place, while the second part is empty. */
static void test_all_see(void **state)
{
    static const char *const jids[] = { "a@x", "b@x", "c@x", "d@x" };
    struct roster r;
    (void)state;
    roster_init(&r);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 4; i++)
            put(&r, jids[i], SUB_BOTH, ROSTER_LISTED, ROSTER_SHOWN);
        assert_int_equal(r.seen, 4);
        for (int i = 0; i < 4; i++)
            put(&r, jids[(i + round) % 4], SUB_FROM, ROSTER_LISTED, ROSTER_SHOWN);
        for (int i = 0; i < 4; i++)
            put(&r, jids[(i * 3 + round) % 4], SUB_NONE, 0, ROSTER_SHOWN);
        assert_int_equal(r.count, 0);
    }
    roster_fini(&r);
}

static void test_write(void **state)
{
    struct roster r;
    struct buf out;
    struct xml_write x;
    (void)state;
    roster_init(&r);
    buf_init(&out, 4096);
    struct roster_delta d = { .op = ROSTER_PUT,
                              .jid = SLICE("o'neil&co@x"),
                              .name = SLICE("<Bob>"),
                              .groups = SLICE("A&B\0Work\0"),
                              .state = SUB_FROM_PENDING_OUT,
                              .flags = ROSTER_LISTED };
    roster_apply(&r, &d);
    xml_write_to(&x, &out);
    roster_item_write(&x, r.items[0]);
    d = (struct roster_delta){ .op = ROSTER_PUT,
                               .jid = SLICE("a@x"),
                               .state = SUB_NONE,
                               .flags = ROSTER_LISTED | ROSTER_PREAPPROVED };
    roster_apply(&r, &d);
    roster_item_write(&x, r.items[1]);
    buf_append(&out, "", 1);
    assert_string_equal(out.ptr, "<item jid='o&apos;neil&amp;co@x' name='&lt;Bob&gt;' "
                                 "subscription='from' ask='subscribe'><group>A&amp;B</group>"
                                 "<group>Work</group></item>"
                                 "<item jid='a@x' subscription='none' approved='true'/>");
    buf_fini(&out);
    roster_fini(&r);
}

static void test_empty_account(void **state)
{
    struct account a = { 0 };
    (void)state;
    assert_false(roster_sees(&a, SLICE("a@x")));
    assert_false(roster_is_seen(&a, SLICE("a@x")));
    assert_int_equal(roster_count(&a), 0);
    assert_null(roster_find(NULL, SLICE("a@x")));
}

/* Rows: what is written is what is loaded. */

struct database {
    struct store *store;
    char dir[64], url[96];
};

static int database_open(void **state)
{
    static struct database db;
    static const struct store_schema *schemas[] = { &auth_schema, NULL, NULL, NULL };
    struct why why;
    snprintf(db.dir, sizeof db.dir, "/tmp/roster_test.XXXXXX");
    assert_non_null(mkdtemp(db.dir));
    snprintf(db.url, sizeof db.url, "sqlite:%s/db", db.dir);
    schemas[1] = roster_feature.schema;
    schemas[2] = presence_feature.schema;
    struct store_conf conf = { .url = db.url, .schemas = schemas };
    if (store_open(&db.store, &conf, &why) != OK)
        fail_msg("%s", why.text);
    *state = &db;
    return 0;
}

static int database_close(void **state)
{
    struct database *db = *state;
    char command[80];
    static const char *const files[] = { "db", "db-wal", "db-shm" };
    store_close(&db->store);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(command, sizeof command, "%s/%s", db->dir, files[i]);
        unlink(command);
    }
    rmdir(db->dir);
    return 0;
}

static void load_done(void *arg, enum store_result result, const struct store_batch *b)
{
    assert_int_equal(result, STORE_OK);
    roster_feature.account.loaded(arg, b, 0);
}

static void load(struct database *db, struct account *a)
{
    struct store_batch *b = store_read(db->store, (uint64_t)a->id);
    roster_feature.account.load(a, b);
    assert_int_equal(store_run(b, load_done, a), STORE_OK);
}

static void test_rows(void **state)
{
    struct database *db = *state;
    struct arena *arena = arena_create(0);
    struct account a = { .id = 7, .state = ACTOR_READY }, other = { .id = 8 };
    struct roster r;
    roster_init(&r);
    load(db, &a);
    assert_null(a.roster); /* an empty roster takes no memory */
    for (int i = 0; i < 300; i++) {
        struct roster_delta d = change(&r, arena);
        struct store_batch *b = store_write(db->store, (uint64_t)a.id);
        roster_delta_store(b, a.id, &d);
        assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
        roster_apply(&r, &d);
    }
    load(db, &a);
    assert_non_null(a.roster);
    check(a.roster);
    assert_same(&r, a.roster);
    load(db, &other);
    assert_null(other.roster);
    roster_feature.account.unload(&a);
    assert_null(a.roster);

    struct store_batch *b = store_write(db->store, (uint64_t)a.id);
    roster_feature.account.remove(&a, b);
    assert_int_equal(store_run(b, NULL, NULL), STORE_OK);
    load(db, &a);
    assert_null(a.roster);
    roster_fini(&r);
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replay),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_request_ends_with_its_answer),
        cmocka_unit_test(test_new),
        cmocka_unit_test(test_all_see),
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_empty_account),
        cmocka_unit_test_setup_teardown(test_rows, database_open, database_close),
    };
    return cmocka_run_group_tests_name("roster", tests, NULL, NULL);
}
