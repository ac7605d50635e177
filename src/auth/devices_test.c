#include "auth/devices.h"
#include "auth/seal.h"
#include "base/log.h"
#include "io/loop.h"
#include "io/work.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* needs the three above */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char dir[32], path[64];
static struct auth auth;
static struct {
    enum err err;
    struct credentials found;
    struct device_tokens tokens;
    char secret[DEVICE_TOKENS_MAX][DEVICE_SECRET_MAX + 1];
    struct device_row last;
    uint32_t rows;
    int64_t generation;
} answer;

static void over(enum err e)
{
    answer.err = e;
    loop_stop(auth.loop);
}

static void on_credentials(void *arg, enum err e, const struct credentials *c)
{
    (void)arg;
    answer.found = c != NULL ? *c : (struct credentials){ 0 };
    over(e);
}
static void on_tokens(void *arg, enum err e, const struct device_tokens *t)
{
    (void)arg;
    answer.tokens = t != NULL ? *t : (struct device_tokens){ 0 };
    for (unsigned i = 0; i < answer.tokens.count; i++)
        snprintf(answer.secret[i], sizeof answer.secret[i], "%.*s", SLICE_ARG(t->token[i].secret));
    over(e);
}
static void on_done(void *arg, enum err e)
{
    (void)arg;
    over(e);
}
static void on_list(void *arg, enum err e, const struct device_row *rows, uint32_t count)
{
    (void)arg;
    answer.rows = count;
    if (count > 0)
        answer.last = rows[count - 1];
    over(e);
}
static void on_revoked(void *arg, enum err e, int64_t generation)
{
    (void)arg;
    answer.generation = generation;
    over(e);
}

static enum err wait_for(const void *op)
{
    assert_non_null(op);
    loop_run(auth.loop);
    return answer.err;
}

static struct sasl2_agent agent = {
    .has_id = true, .id = { 1, 2, 3 }, .software = SLICE_INIT("soft"), .device = SLICE_INIT("hard")
};
static const slice alice = SLICE_INIT("alice@a.b");

static struct device_login login_of(void)
{
    assert_int_equal(wait_for(credentials_get(&auth, alice, SCRAM_SHA_256, on_credentials, NULL)),
                     OK);
    return (struct device_login){ .jid = alice,
                                  .account = answer.found.account,
                                  .generation = answer.found.generation,
                                  .agent = &agent,
                                  .address = SLICE("192.0.2.1") };
}

static enum err keep(const struct device_login *l)
{
    return wait_for(device_login(&auth, l, on_done, NULL));
}

static unsigned tokens(void)
{
    assert_int_equal(wait_for(device_tokens_get(&auth, alice, agent.id, on_tokens, NULL)), OK);
    return answer.tokens.count;
}

static void issue(const char *secret)
{
    struct device_login l = login_of();
    l.issue = slice_of(secret);
    l.issue_mech = SASL_HT_SHA_256_NONE;
    l.expires_us = 77;
    assert_int_equal(keep(&l), OK);
}

static void gives_out_tokens(void **state)
{
    (void)state;
    assert_int_equal(tokens(), 0);
    issue("one");
    assert_int_equal(tokens(), 1);
    assert_string_equal(answer.secret[0], "one");
    assert_true(answer.tokens.token[0].fresh);
    assert_int_equal(answer.tokens.token[0].mech, SASL_HT_SHA_256_NONE);
    assert_int_equal(answer.tokens.token[0].expires_us, 77);
    issue("two"); /* one that was not used is replaced */
    assert_int_equal(tokens(), 1);
    assert_string_equal(answer.secret[0], "two");
}

static void the_newer_replaces_the_older_when_it_is_used(void **state)
{
    (void)state;
    struct device_login l = login_of();
    l.used = SLICE("two");
    l.was_fresh = true;
    assert_int_equal(keep(&l), OK);
    issue("three");
    assert_int_equal(tokens(), 2);
    assert_string_equal(answer.secret[0], "two");
    assert_string_equal(answer.secret[1], "three");
    l.used = SLICE("three");
    assert_int_equal(keep(&l), OK);
    assert_int_equal(tokens(), 1);
    assert_string_equal(answer.secret[0], "three");
    assert_false(answer.tokens.token[0].fresh);
    assert_int_equal(keep(&l), OK); /* a second login that began beside the first */
    assert_int_equal(tokens(), 1);
    assert_string_equal(answer.secret[0], "three");
    l.used = SLICE("two");
    assert_int_equal(keep(&l), E_CONFLICT);
    assert_int_equal(tokens(), 1);
}

static void counts_rise(void **state)
{
    (void)state;
    struct device_login l = login_of();
    l.used = SLICE("three");
    l.has_count = true;
    l.count = 0;
    assert_int_equal(keep(&l), OK);
    assert_int_equal(keep(&l), E_CONFLICT);
    l.count = 7;
    assert_int_equal(keep(&l), OK);
    l.count = 6;
    assert_int_equal(keep(&l), E_CONFLICT);
}

static void remembers_what_was_kept(void **state)
{
    (void)state;
    struct device_login l = login_of();
    l.address = SLICE("192.0.2.9");
    assert_false(device_kept(&l, 1));
    assert_int_equal(keep(&l), OK);
    uint64_t now = loop_wall_us(auth.loop);
    assert_true(device_kept(&l, now));
    assert_false(device_kept(&l, now + 3600000000));
    l.has_count = true;
    assert_false(device_kept(&l, now));
    l.has_count = false;
    l.generation++;
    assert_false(device_kept(&l, now));
}

static void gives_tokens_back(void **state)
{
    (void)state;
    struct device_login l = login_of();
    l.used = SLICE("three");
    l.invalidate = true;
    assert_int_equal(keep(&l), OK);
    assert_int_equal(tokens(), 0);
    assert_int_equal(keep(&l), E_CONFLICT);
}

static void passwords_end_tokens(void **state)
{
    (void)state;
    issue("four");
    struct device_login old = login_of();
    assert_int_equal(wait_for(credentials_set(&auth, alice, SLICE("new"), on_credentials, NULL)),
                     OK);
    assert_int_equal(tokens(), 0);
    old.issue = SLICE("five"); /* a login that began before */
    old.issue_mech = SASL_HT_SHA_256_NONE;
    assert_int_equal(keep(&old), E_CONFLICT);
    assert_int_equal(tokens(), 0);
}

static void lists_and_revokes(void **state)
{
    (void)state;
    issue("six");
    assert_int_equal(wait_for(device_list(&auth, alice, on_list, NULL)), OK);
    assert_int_equal(answer.rows, 1);
    assert_memory_equal(answer.last.id, agent.id, DEVICE_ID_LEN);
    assert_int_equal(answer.last.expires_us, 77);
    struct device_login old = login_of();
    assert_int_equal(wait_for(device_revoke(&auth, alice, agent.id, on_revoked, NULL)), OK);
    assert_int_equal(answer.generation, old.generation + 1);
    assert_int_equal(keep(&old), E_CONFLICT); /* it was under way */
    assert_int_equal(tokens(), 0);
    assert_int_equal(wait_for(device_revoke(&auth, alice, agent.id, on_revoked, NULL)), E_NOTFOUND);
}

static void keeps_the_latest_devices(void **state)
{
    (void)state;
    for (unsigned i = 0; i < DEVICES_MAX + 3; i++) {
        agent.id[15] = (uint8_t)i;
        issue("many");
    }
    assert_int_equal(wait_for(device_list(&auth, alice, on_list, NULL)), OK);
    assert_int_equal(answer.rows, DEVICES_MAX);
    agent.id[15] = 0;
    assert_int_equal(tokens(), 0); /* it went with its device */
}

static void knows_no_strangers(void **state)
{
    (void)state;
    assert_int_equal(
        wait_for(device_tokens_get(&auth, SLICE("bob@a.b"), agent.id, on_tokens, NULL)), OK);
    assert_int_equal(answer.tokens.account, 0);
    assert_int_equal(answer.tokens.count, 0);
    struct device_login l = login_of();
    l.account++;
    assert_int_equal(keep(&l), E_CONFLICT);
}

static int setup(void **state)
{
    static const unsigned char key[SEAL_KEY_BYTES] = { 7 };
    seal_use(key);
    (void)state;
    static const struct store_schema *const schemas[] = { &auth_schema, NULL };
    struct why why;
    char url[128];
    for (unsigned i = 0; auth_settings[i] != NULL; i++)
        setting_register(auth_settings[i]);
    if (setting_set(&auth_scram_iterations, SLICE("4096"), &why) != OK)
        return -1;
    log_set_level(&log_store, LOG_ERROR);
    snprintf(dir, sizeof dir, "/tmp/muster-device-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/t.db", dir);
    snprintf(url, sizeof url, "sqlite:%s", path);
    struct store_conf conf = { .url = url, .schemas = schemas };
    if (store_open(&auth.store, &conf, &why) != OK)
        return -1;
    auth.pool = work_pool_create(1, 16);
    auth.loop = loop_create(0);
    return wait_for(credentials_create(&auth, alice, SLICE("secret"), on_credentials, NULL)) == OK
               ? 0
               : -1;
}

static int teardown(void **state)
{
    (void)state;
    work_pool_destroy(&auth.pool);
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
        cmocka_unit_test(gives_out_tokens),
        cmocka_unit_test(the_newer_replaces_the_older_when_it_is_used),
        cmocka_unit_test(counts_rise),
        cmocka_unit_test(remembers_what_was_kept),
        cmocka_unit_test(gives_tokens_back),
        cmocka_unit_test(passwords_end_tokens),
        cmocka_unit_test(lists_and_revokes),
        cmocka_unit_test(keeps_the_latest_devices),
        cmocka_unit_test(knows_no_strangers),
    };
    return cmocka_run_group_tests_name("devices", tests, setup, teardown);
}
