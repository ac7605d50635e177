#include "auth/credentials.h"
#include "auth/throttle.h"
#include "base/log.h"
#include "io/loop.h"
#include "io/work.h"
#include "store/store.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* needs the three above */
#include <pthread.h>
#include <semaphore.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct auth auth;
static char dir[64], path[96];

/* The answer to the operation in flight; the loop runs until it is there. */
static struct {
    enum err err;
    struct credentials found;
    uint32_t count;
    char last[64]; /* JID of the last row of a page */
    int calls;
} answer;

static void on_credentials(void *arg, enum err e, const struct credentials *c)
{
    (void)arg;
    answer.err = e;
    answer.found = c != NULL ? *c : (struct credentials){ 0 };
    answer.calls++;
    loop_stop(auth.loop);
}

static void on_list(void *arg, enum err e, const struct credentials_row *rows, uint32_t count)
{
    (void)arg;
    answer.err = e;
    answer.count = count;
    if (count > 0)
        snprintf(answer.last, sizeof answer.last, "%.*s", SLICE_ARG(rows[count - 1].jid));
    answer.calls++;
    loop_stop(auth.loop);
}

static enum err wait_for(struct auth_op *op)
{
    assert_non_null(op);
    int before = answer.calls;
    loop_run(auth.loop);
    assert_int_equal(answer.calls, before + 1);
    return answer.err;
}

static enum err create(const char *jid, const char *password)
{
    return wait_for(
        credentials_create(&auth, slice_of(jid), slice_of(password), on_credentials, NULL));
}

static enum err get(const char *jid, enum scram_hash h)
{
    return wait_for(credentials_get(&auth, slice_of(jid), h, on_credentials, NULL));
}

static struct auth_op *begin_verify(const char *jid, const char *password)
{
    struct sockaddr nowhere = { .sa_family = AF_UNIX };
    struct throttle_try try;
    throttle_try_init(&try, &nowhere, slice_of(jid), NULL);
    struct credentials_check check = { slice_of(jid), slice_of(password), &try };
    return credentials_verify(&auth, &check, on_credentials, NULL);
}

static enum err verify(const char *jid, const char *password)
{
    return wait_for(begin_verify(jid, password));
}

static enum err set(const char *jid, const char *password)
{
    return wait_for(
        credentials_set(&auth, slice_of(jid), slice_of(password), on_credentials, NULL));
}

static void creates_accounts_with_all_keys(void **state)
{
    (void)state;
    assert_int_equal(create("alice@a.b", "secret"), OK);
    uint8_t salts[SCRAM_HASH_COUNT][32];
    for (enum scram_hash h = 0; h < SCRAM_HASH_COUNT; h++) {
        assert_int_equal(get("alice@a.b", h), OK);
        assert_int_not_equal(answer.found.account, 0);
        assert_false(answer.found.disabled);
        assert_int_equal(answer.found.keys.salt_len, SCRAM_SALT_LEN);
        assert_int_equal(answer.found.keys.iterations, 4096);
        assert_true(scram_verify(&answer.found.keys, h, SLICE("secret")));
        assert_false(scram_verify(&answer.found.keys, h, SLICE("Secret")));
        memcpy(salts[h], answer.found.keys.salt, 32);
    }
    assert_memory_not_equal(salts[0], salts[1], SCRAM_SALT_LEN);
    assert_int_equal(create("alice@a.b", "other"), E_EXISTS);
    assert_int_equal(verify("alice@a.b", "secret"), OK); /* and it changed nothing */
}

static void verifies_passwords(void **state)
{
    (void)state;
    assert_int_equal(create("bob@a.b", "pencil"), OK);
    assert_int_equal(verify("bob@a.b", "pencil"), OK);
    assert_int_not_equal(answer.found.account, 0);
    assert_int_equal(verify("bob@a.b", "pencil1"), E_AUTH);
    assert_int_equal(answer.found.account, 0);
    assert_int_equal(verify("bob@b.b", "pencil"), E_AUTH);
}

static void counts_wrong_passwords(void **state)
{
    (void)state;
    struct why why;
    assert_int_equal(create("guessed@a.b", "right"), OK);
    assert_int_equal(setting_set(&auth_failures_per_account, SLICE("2"), &why), OK);
    assert_int_equal(verify("guessed@a.b", "wrong"), E_AUTH);
    assert_int_equal(verify("guessed@a.b", "right"), OK); /* from here it starts again */
    assert_int_equal(verify("guessed@a.b", "wrong"), E_AUTH);
    assert_int_equal(verify("guessed@a.b", "wrong"), E_AUTH);
    assert_int_equal(verify("guessed@a.b", "right"), E_DENIED);
    assert_int_equal(verify("unknown@a.b", "wrong"), E_AUTH);
    assert_int_equal(verify("unknown@a.b", "wrong"), E_AUTH);
    assert_int_equal(verify("unknown@a.b", "wrong"), E_DENIED);
    setting_reset(&auth_failures_per_account);
}

static void changes_passwords(void **state)
{
    (void)state;
    assert_int_equal(create("carol@a.b", "one"), OK);
    assert_int_equal(get("carol@a.b", SCRAM_SHA_1), OK);
    int64_t account = answer.found.account;
    assert_int_equal(set("carol@a.b", "two"), OK);
    assert_int_equal(verify("carol@a.b", "one"), E_AUTH);
    assert_int_equal(verify("carol@a.b", "two"), OK);
    assert_int_equal(answer.found.account, account);
    assert_int_equal(set("nobody@a.b", "two"), E_NOTFOUND);
    assert_int_equal(verify("nobody@a.b", "two"), E_AUTH);
}

static void fakes_keys_of_unknown_users(void **state)
{
    (void)state;
    assert_int_equal(get("ghost@a.b", SCRAM_SHA_256), OK);
    assert_int_equal(answer.found.account, 0);
    struct scram_keys first = answer.found.keys;
    assert_int_equal(first.salt_len, SCRAM_SALT_LEN);
    assert_int_equal(first.iterations, 4096);
    assert_int_equal(get("ghost@a.b", SCRAM_SHA_256), OK);
    assert_memory_equal(&first, &answer.found.keys, sizeof first);
    assert_int_equal(get("ghost2@a.b", SCRAM_SHA_256), OK);
    assert_memory_not_equal(first.salt, answer.found.keys.salt, SCRAM_SALT_LEN);
    /* another work factor for new passwords tells nothing of who is here */
    struct why why;
    assert_int_equal(setting_set(&auth_scram_iterations, SLICE("8192"), &why), OK);
    assert_int_equal(get("ghost@a.b", SCRAM_SHA_256), OK);
    assert_memory_equal(&first, &answer.found.keys, sizeof first);
    assert_int_equal(setting_set(&auth_scram_iterations, SLICE("4096"), &why), OK);
}

/* The iteration counts seen for 400 names without an account. */
struct seen {
    uint32_t iterations;
    uint8_t salt[SCRAM_SALT_LEN];
};
enum { NAMES = 400 };

static unsigned look_at_all(struct seen out[NAMES])
{
    unsigned newer = 0;
    for (int i = 0; i < NAMES; i++) {
        char name[32];
        snprintf(name, sizeof name, "ghost%d@a.b", i);
        assert_int_equal(get(name, SCRAM_SHA_256), OK);
        assert_int_equal(answer.found.account, 0);
        out[i].iterations = answer.found.keys.iterations;
        memcpy(out[i].salt, answer.found.keys.salt, SCRAM_SALT_LEN);
        newer += out[i].iterations == 5000;
    }
    return newer;
}

static void set_factors(const char *text)
{
    char line[256];
    sqlite3 *db = NULL;
    snprintf(line, sizeof line, "UPDATE auth_secret SET factor=4096, factors='%s'", text);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    assert_int_equal(sqlite3_exec(db, line, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* After a change of the setting the names without an account say what they said, whatever comes and
 * goes among accounts: those who make accounts and look again learn nothing. */
static void unknown_names_do_not_follow_accounts(void **state)
{
    (void)state;
    static struct seen before[NAMES], then[NAMES];
    struct why why;
    set_factors(" 1:4096");
    assert_int_equal(create("counted@a.b", "x"), OK);
    look_at_all(before);
    assert_int_equal(setting_set(&auth_scram_iterations, SLICE("5000"), &why), OK);
    for (unsigned step = 0; step < 30; step++) {
        char name[32];
        snprintf(name, sizeof name, "counted%u@a.b", step);
        assert_int_equal(create(name, "x"), OK);
        assert_int_equal(set(name, "y"), OK);
    }
    unsigned moved = 0;
    look_at_all(then);
    for (int n = 0; n < NAMES; n++)
        moved += memcmp(&before[n], &then[n], sizeof then[n]) != 0;
    assert_in_range(moved, 0, 3); /* 0.01 % are due in the first second */
    assert_int_equal(setting_set(&auth_scram_iterations, SLICE("4096"), &why), OK);
    set_factors(" 1:4096");
}

/* Users who come or change their password: names move one by one in the years after, with their
 * salts. Changes that older versions wrote down have a third number. */
static void unknown_names_follow_the_factor_slowly(void **state)
{
    (void)state;
    static struct seen first[NAMES], then[NAMES];
    struct why why;
    assert_int_equal(create("before@a.b", "x"), OK);
    assert_int_equal(look_at_all(first), 0);
    assert_int_equal(setting_set(&auth_scram_iterations, SLICE("5000"), &why), OK);
    assert_int_equal(set("before@a.b", "y"), OK);
    assert_int_equal(get("before@a.b", SCRAM_SHA_256), OK);
    assert_int_equal(answer.found.keys.iterations, 5000);
    assert_in_range(look_at_all(then), 0, 3); /* 0.01 % of 400 are due */
    uint64_t now = loop_wall_us(auth.loop);
    char line[96];
    static const struct {
        int days, least, most;
    } steps[] = { { 1, 0, 23 }, { 30, 23, 77 }, { 1460, 160, 240 } }; /* 4 sigma */
    for (unsigned i = 0; i < 3; i++) {
        uint64_t since = now - (uint64_t)steps[i].days * 86400 * 1000000;
        snprintf(line, sizeof line, " %llu:4096:0 %llu:5000", (unsigned long long)since - 1,
                 (unsigned long long)since);
        set_factors(line);
        assert_in_range(look_at_all(then), steps[i].least, steps[i].most);
        for (int n = 0; n < NAMES; n++)
            assert_int_equal(memcmp(first[n].salt, then[n].salt, SCRAM_SALT_LEN) == 0,
                             then[n].iterations == 4096);
    }
    assert_int_equal(setting_set(&auth_scram_iterations, SLICE("4096"), &why), OK);
}

static void ignore_result(void *arg, enum store_result r, const struct store_batch *b)
{
    (void)b;
    *(enum store_result *)arg = r;
}

static void never_uses_an_id_again(void **state)
{
    (void)state;
    assert_int_equal(create("dave@a.b", "x"), OK);
    assert_int_equal(get("dave@a.b", SCRAM_SHA_1), OK);
    int64_t account = answer.found.account;
    struct store_batch *b = store_write(auth.store, credentials_lane(SLICE("dave@a.b")));
    credentials_add_delete(b, account);
    enum store_result r = STORE_DOWN;
    assert_int_equal(store_run(b, ignore_result, &r), STORE_OK);
    assert_int_equal(get("dave@a.b", SCRAM_SHA_1), OK);
    assert_int_equal(answer.found.account, 0);
    assert_int_equal(create("dave@a.b", "x"), OK);
    assert_int_equal(get("dave@a.b", SCRAM_SHA_1), OK);
    assert_true(answer.found.account > account);
}

static enum err list(const char *domain, const char *after)
{
    return wait_for(credentials_list(&auth, slice_of(domain), slice_of(after), on_list, NULL));
}

static void lists_accounts_by_domain(void **state)
{
    (void)state;
    assert_int_equal(create("b@list.test", "x"), OK);
    assert_int_equal(create("a@list.test", "x"), OK);
    assert_int_equal(create("c@sub.list.test", "x"), OK);
    assert_int_equal(list("list.test", ""), OK);
    assert_int_equal(answer.count, 2);
    assert_string_equal(answer.last, "b@list.test");
    assert_int_equal(list("list.test", "a@list.test"), OK);
    assert_int_equal(answer.count, 1);
    assert_int_equal(list("list.test", "b@list.test"), OK);
    assert_int_equal(answer.count, 0);
    assert_int_equal(list("none.test", ""), OK);
    assert_int_equal(answer.count, 0);
    assert_int_equal(list("", ""), OK);
    assert_true(answer.count >= 3);
}

/* Cancelled at each of their waits: no callback, nothing leaks, and later ones work. */
static void cancels(void **state)
{
    (void)state;
    int before = answer.calls;
    struct auth_op *op =
        credentials_get(&auth, SLICE("alice@a.b"), SCRAM_SHA_1, on_credentials, NULL);
    auth_cancel(&op);
    assert_null(op);
    op = credentials_create(&auth, SLICE("eve@a.b"), SLICE("x"), on_credentials, NULL);
    auth_cancel(&op);
    op = begin_verify("alice@a.b", "x");
    auth_cancel(&op);
    auth_cancel(&op); /* NULL is fine */
    assert_int_equal(answer.calls, before);
    assert_int_equal(verify("alice@a.b", "secret"),
                     OK);                              /* by then the helper thread gave it back */
    assert_int_equal(get("eve@a.b", SCRAM_SHA_1), OK); /* it was given up before it was written */
    assert_int_equal(answer.found.account, 0);
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static int gated;

static sem_t begun; /* once for each hold() */

static void hold(struct work *w)
{
    (void)w;
    sem_post(&begun);
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
}

static void held(struct work *w)
{
    (void)w;
    gated--;
}

/* The one helper thread is busy and its queue of one is full: the answer is E_AGAIN, and comes
 * later. */
static void says_when_it_is_too_busy(void **state)
{
    (void)state;
    struct auth busy = auth;
    struct work blocks[3] = { 0 };
    busy.pool = work_pool_create(1, 1);
    pthread_mutex_lock(&gate);
    for (size_t i = 0; i < 3; i++) {
        blocks[i] = (struct work){ .run = hold, .done = held };
        gated += work_submit(busy.pool, auth.loop, &blocks[i]) == OK ? 1 : 0;
    }
    assert_in_range(gated, 1, 2);
    int before = answer.calls;
    struct auth_op *op =
        credentials_create(&busy, SLICE("busy@a.b"), SLICE("x"), on_credentials, NULL);
    assert_int_equal(answer.calls, before);
    auth_cancel(&op);
    op = credentials_create(&busy, SLICE("busy@a.b"), SLICE("x"), on_credentials, NULL);
    assert_int_equal(wait_for(op), E_AGAIN);
    pthread_mutex_unlock(&gate);
    work_pool_destroy(&busy.pool);
    assert_int_equal(get("alice@a.b", SCRAM_SHA_1), OK); /* the loop runs, so `blocks` can end */
    while (gated > 0)
        assert_int_equal(get("alice@a.b", SCRAM_SHA_1), OK);
}

/* One account that changes its password again and again waits for its own turns only. */
static void new_passwords_of_an_account_wait_in_a_lane(void **state)
{
    (void)state;
    static struct auth_op *ops[WORK_LANE_MAX];
    struct auth busy = auth;
    struct work block = { .run = hold, .done = held };
    busy.pool = work_pool_create(1, 1);
    assert_int_equal(create("other@a.b", "x"), OK);
    pthread_mutex_lock(&gate);
    gated = 1;
    sem_init(&begun, 0, 0);
    assert_int_equal(work_submit(busy.pool, auth.loop, &block), OK);
    while (sem_wait(&begun) != 0) /* else the thread may take what follows first */
        ;
    for (unsigned i = 0; i < WORK_LANE_MAX; i++)
        ops[i] = credentials_set(&busy, SLICE("alice@a.b"), SLICE("x"), on_credentials, NULL);
    assert_int_equal(
        wait_for(credentials_set(&busy, SLICE("alice@a.b"), SLICE("x"), on_credentials, NULL)),
        E_AGAIN);
    struct auth_op *other =
        credentials_set(&busy, SLICE("other@a.b"), SLICE("y"), on_credentials, NULL);
    for (unsigned i = 0; i < WORK_LANE_MAX; i++)
        auth_cancel(&ops[i]);
    pthread_mutex_unlock(&gate);
    assert_int_equal(wait_for(other), OK);
    work_pool_destroy(&busy.pool);
    while (gated > 0)
        assert_int_equal(get("alice@a.b", SCRAM_SHA_1), OK);
}

static int setup(void **state)
{
    (void)state;
    static const struct store_schema *const schemas[] = { &auth_schema, NULL };
    struct why why;
    char url[128];
    for (unsigned i = 0; auth_settings[i] != NULL; i++)
        setting_register(auth_settings[i]);
    if (setting_set(&auth_scram_iterations, SLICE("4096"), &why) != OK) /* quicker */
        return -1;
    log_set_level(&log_store, LOG_ERROR);
    snprintf(dir, sizeof dir, "/tmp/muster-auth-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/t.db", dir);
    snprintf(url, sizeof url, "sqlite:%s", path);
    struct store_conf conf = { .url = url, .schemas = schemas };
    if (store_open(&auth.store, &conf, &why) != OK) {
        print_error("%s\n", why.text);
        return -1;
    }
    auth.pool = work_pool_create(1, 16);
    auth.loop = loop_create(0);
    auth.throttle = throttle_create();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    work_pool_destroy(&auth.pool);
    throttle_destroy(&auth.throttle);
    store_close(&auth.store);
    loop_destroy(&auth.loop);
    static const char *const suffixes[] = { "", "-wal", "-shm" };
    for (size_t i = 0; i < 3; i++) {
        char file[128];
        snprintf(file, sizeof file, "%s%s", path, suffixes[i]);
        unlink(file);
    }
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(creates_accounts_with_all_keys),
        cmocka_unit_test(verifies_passwords),
        cmocka_unit_test(counts_wrong_passwords),
        cmocka_unit_test(changes_passwords),
        cmocka_unit_test(fakes_keys_of_unknown_users),
        cmocka_unit_test(unknown_names_do_not_follow_accounts),
        cmocka_unit_test(unknown_names_follow_the_factor_slowly),
        cmocka_unit_test(never_uses_an_id_again),
        cmocka_unit_test(lists_accounts_by_domain),
        cmocka_unit_test(cancels),
        cmocka_unit_test(says_when_it_is_too_busy),
        cmocka_unit_test(new_passwords_of_an_account_wait_in_a_lane),
    };
    return cmocka_run_group_tests_name("credentials", tests, setup, teardown);
}
