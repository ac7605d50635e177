/* Upgrades of passwords in a login of SASL2 (XEP-0480): the chain of tasks between the proof of the
 * password and <success/>. The client is this test; its account has keys of SCRAM-SHA-1 only. */
#include "base/base64.h"
#include "base/buf.h"
#include "gate/test_gate.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sqlite3.h>

#define HEADER                                                                                     \
    "<stream:stream xmlns='" NS_CLIENT "' xmlns:stream='" NS_STREAM                                \
    "' to='localhost' version='1.0'>"
#define ERROR(condition)   "<stream:error><" condition " xmlns='" NS_STREAM_ERROR "'/>"
#define FAILURE(condition) "<failure xmlns='" NS_SASL2 "'><" condition " xmlns='" NS_SASL "'/>"
#define CHALLENGE          "<challenge xmlns='" NS_SASL2 "'>"
#define CONTINUE           "<continue xmlns='" NS_SASL2 "'>"
#define SUCCESS            "<success xmlns='" NS_SASL2 "'>"
#define DATA               "<additional-data>"
#define TASK(name)         "<tasks><task>UPGR-SCRAM-" name "</task></tasks></continue>"
#define NEXT(name)         "<next xmlns='" NS_SASL2 "' task='UPGR-SCRAM-" name "'/>"
#define UPGRADE(name)      "<upgrade xmlns='" NS_SASL_UPGRADE "'>UPGR-SCRAM-" name "</upgrade>"
#define HASH(text)                                                                                 \
    "<task-data xmlns='" NS_SASL2 "'><hash xmlns='" NS_SCRAM_UPGRADE "'>" text "</hash></"         \
    "task-data>"
#define ABORT    "<abort xmlns='" NS_SASL2 "'/>"
#define PASSWORD "long-enough"
#define BARE     "n=alice,r=abcdefgh"

static int begin(void **state)
{
    struct test_node_account made = { 0 };
    int rc = gate_open(state);
    credentials_create(&gate.t.w->auth, SLICE("alice@localhost"), SLICE(PASSWORD),
                       test_node_created, &made);
    bed_run(gate.t.w->loop, test_node_is_created, &made);
    return rc;
}

/* Forgets all keys of the account but those of SCRAM-SHA-1. */
static int weaken(void **state)
{
    char path[64];
    sqlite3 *db;
    (void)state;
    snprintf(path, sizeof path, "%s/db", gate.t.dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_busy_timeout(db, 5000), SQLITE_OK); /* the node writes, too */
    assert_int_equal(sqlite3_exec(db, "DELETE FROM credential WHERE hash > 0", NULL, NULL, NULL),
                     SQLITE_OK);
    sqlite3_close(db);
    return 0;
}

/* What the client says and reads. */

static struct peer *login_begin(void)
{
    struct peer *p = peer_connect(gate.c2s_port);
    peer_send(p, HEADER);
    peer_await(p, "</stream:features>");
    return p;
}

static void say(struct peer *p, const char *text, const char *answer)
{
    peer_send(p, text);
    peer_await(p, answer);
}

static void fails(struct peer *p, const char *text, const char *error)
{
    peer_send(p, text);
    if (strstr(peer_end(p), error) == NULL)
        fail_msg("expected %s, got %s", error, p->text);
    assert_null(strstr(p->text, "<success"));
    peer_close(p);
}

/* The bytes of the base64 up to the next tag. */
static slice decoded(struct peer *p, struct buf *b)
{
    buf_init(b, 1024);
    assert_int_equal(base64_decode(b, (slice){ p->text, strcspn(p->text, "<") }), OK);
    return buf_slice(b);
}

static void encode(char *out, size_t cap, const void *bytes, size_t len)
{
    struct buf b;
    buf_init(&b, 1024);
    base64_encode(&b, (slice){ bytes, len });
    snprintf(out, cap, "%.*s", (int)b.len, b.ptr);
    buf_fini(&b);
}

static void hmac(unsigned char out[20], const unsigned char key[20], const char *text)
{
    HMAC(EVP_sha1(), key, 20, (const unsigned char *)text, strlen(text), out, NULL);
}

/* What follows that name in a message of SCRAM. */
static const char *part(const char *message, const char *name)
{
    const char *at = strstr(message, name);
    assert_non_null(at);
    return at + strlen(name);
}

/* The client's proof for a first message of the server (RFC 5802 §3). */
static void answer_challenge(char *out, size_t cap, slice first)
{
    char server[512], plain[1024], proof[64], final[512];
    unsigned char salted[20], key[20], stored[20], signature[20];
    struct buf salt;
    snprintf(server, sizeof server, "%.*s", SLICE_ARG(first));
    const char *nonce = part(server, "r="), *salt64 = part(server, ",s=");
    const int nonce_len = (int)strcspn(nonce, ",");
    const unsigned long iterations = strtoul(part(server, ",i="), NULL, 10);
    buf_init(&salt, 64);
    assert_int_equal(base64_decode(&salt, (slice){ salt64, strcspn(salt64, ",") }), OK);
    PKCS5_PBKDF2_HMAC(PASSWORD, -1, (unsigned char *)salt.ptr, (int)salt.len, (int)iterations,
                      EVP_sha1(), sizeof salted, salted);
    buf_fini(&salt);
    hmac(key, salted, "Client Key");
    EVP_Digest(key, sizeof key, stored, NULL, EVP_sha1(), NULL);
    snprintf(plain, sizeof plain, BARE ",%s,c=biws,r=%.*s", server, nonce_len, nonce);
    hmac(signature, stored, plain);
    for (unsigned i = 0; i < sizeof key; i++)
        key[i] ^= signature[i];
    encode(proof, sizeof proof, key, sizeof key);
    snprintf(plain, sizeof plain, "c=biws,r=%.*s,p=%s", nonce_len, nonce, proof);
    encode(final, sizeof final, plain, strlen(plain));
    snprintf(out, cap, "<response xmlns='" NS_SASL2 "'>%s</response>", final);
}

/* Logs in with the right password and those upgrades. */
static void prove(struct peer *p, const char *upgrades)
{
    char text[1024], first[64];
    struct buf b;
    encode(first, sizeof first, "n,," BARE, strlen("n,," BARE));
    snprintf(text, sizeof text,
             "<authenticate xmlns='" NS_SASL2 "' mechanism='SCRAM-SHA-1'><initial-response>%s"
             "</initial-response>%s</authenticate>",
             first, upgrades);
    say(p, text, CHALLENGE);
    answer_challenge(text, sizeof text, decoded(p, &b));
    buf_fini(&b);
    peer_send(p, text);
}

/* The server has proved that it knows the password, too, in the element that ends the mechanism. */
static void is_proved(struct peer *p, const char *element)
{
    struct buf b;
    peer_await(p, element);
    peer_await(p, DATA);
    assert_true(slice_starts(decoded(p, &b), SLICE("v=")));
    buf_fini(&b);
}

/* The task was begun: sends what it asks for. */
static void do_task(struct peer *p, const EVP_MD *md, const char *answer)
{
    char text[512], hash[256];
    unsigned char salted[EVP_MAX_MD_SIZE];
    struct buf salt;
    int size = EVP_MD_get_size(md);
    peer_await(p, "<salt xmlns='" NS_SCRAM_UPGRADE "' iterations='");
    const int iterations = (int)strtoul(p->text, NULL, 10);
    peer_await(p, ">");
    slice s = decoded(p, &salt);
    PKCS5_PBKDF2_HMAC(PASSWORD, -1, (const unsigned char *)s.ptr, (int)s.len, iterations, md, size,
                      salted);
    buf_fini(&salt);
    encode(hash, sizeof hash, salted, (size_t)size);
    snprintf(text, sizeof text, HASH("%s"), hash);
    say(p, text, answer);
}

static bool is_checked(void *arg) { return *(int *)arg >= 0; }

static void checked(void *arg, enum err e, const struct credentials *c)
{
    *(int *)arg = e == OK && c->account != 0;
}

/* Whether the account has keys of that hash, and they are of its password. */
static bool has_keys(enum scram_hash hash)
{
    int has = -1;
    credentials_get(&gate.t.w->auth, SLICE("alice@localhost"), hash, checked, &has);
    bed_run(gate.t.w->loop, is_checked, &has);
    return has == 1;
}

static bool has_password(void)
{
    int right = -1;
    struct throttle_try try = { 0 };
    const struct credentials_check check = { SLICE("alice@localhost"), SLICE(PASSWORD), &try };
    credentials_verify(&gate.t.w->auth, &check, checked, &right);
    bed_run(gate.t.w->loop, is_checked, &right);
    return right == 1;
}

/* The stream still takes a login, so that what came before has left nothing. */
static void logs_in(struct peer *p)
{
    prove(p, "");
    is_proved(p, SUCCESS);
    peer_await(p, "<bind xmlns='" NS_BIND "'/>");
    peer_close(p);
}

/* Tests. */

static void tasks_follow_each_other(void **state)
{
    (void)state;
    struct peer *p = login_begin();
    prove(p, UPGRADE("SHA-512") UPGRADE("SHA-256"));
    is_proved(p, CONTINUE);
    peer_await(p, TASK("SHA-256"));
    peer_send(p, NEXT("SHA-256"));
    do_task(p, EVP_sha256(), CONTINUE TASK("SHA-512"));
    assert_true(has_keys(SCRAM_SHA_256));
    assert_false(has_keys(SCRAM_SHA_512));
    peer_send(p, NEXT("SHA-512"));
    do_task(p, EVP_sha512(), SUCCESS "<authorization-identifier>alice@localhost");
    peer_await(p, "<bind xmlns='" NS_BIND "'/>");
    assert_true(has_keys(SCRAM_SHA_512));
    assert_true(has_password());
    peer_close(p);
}

static void a_hash_that_is_there_is_no_task(void **state)
{
    (void)state;
    struct peer *p = login_begin();
    prove(p, UPGRADE("SHA-256"));
    peer_await(p, TASK("SHA-256"));
    peer_send(p, NEXT("SHA-256"));
    do_task(p, EVP_sha256(), SUCCESS);
    peer_close(p);
    p = login_begin();
    prove(p, UPGRADE("SHA-256"));
    is_proved(p, SUCCESS);
    peer_close(p);
    p = login_begin();
    prove(p, UPGRADE("SHA-256") UPGRADE("SHA-512"));
    is_proved(p, CONTINUE);
    peer_await(p, TASK("SHA-512"));
    peer_close(p);
}

/* It is the login that fails; the next one is offered the task again. */
static void tasks_that_fail(void **state)
{
    static const struct {
        const char *begin, *say, *failure;
    } cases[] = {
        { NULL, NEXT("SHA-512"), FAILURE("malformed-request") },
        { NULL, "<next xmlns='" NS_SASL2 "'/>", FAILURE("malformed-request") },
        { NULL, ABORT, FAILURE("aborted") },
        { NEXT("SHA-256"), ABORT, FAILURE("aborted") },
        { NEXT("SHA-256"), "<task-data xmlns='" NS_SASL2 "'/>", FAILURE("malformed-request") },
        { NEXT("SHA-256"), HASH("*"), FAILURE("malformed-request") },
        { NEXT("SHA-256"), HASH("AAAA"), FAILURE("malformed-request") },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct peer *p = login_begin();
        prove(p, UPGRADE("SHA-256") UPGRADE("SHA-512"));
        peer_await(p, TASK("SHA-256"));
        if (cases[i].begin != NULL)
            say(p, cases[i].begin, "</task-data>");
        say(p, cases[i].say, cases[i].failure);
        assert_false(has_keys(SCRAM_SHA_256));
        prove(p, UPGRADE("SHA-256"));
        peer_await(p, TASK("SHA-256"));
        say(p, ABORT, FAILURE("aborted"));
        logs_in(p);
    }
}

/* XEP-0388 §2.4: what a task does not wait for. */
static void tasks_in_the_wrong_order(void **state)
{
    static const struct {
        const char *begin, *say;
    } cases[] = {
        { NULL, HASH("AAAA") },
        { NULL, "<response xmlns='" NS_SASL2 "'/>" },
        { NULL, "<authenticate xmlns='" NS_SASL2 "' mechanism='PLAIN'/>" },
        { NULL, "<auth xmlns='" NS_SASL "' mechanism='PLAIN'/>" },
        { NULL, "<presence/>" },
        { NULL, "<iq type='set' id='1'><bind xmlns='" NS_BIND "'/></iq>" },
        { NEXT("SHA-256"), NEXT("SHA-256") },
        { NEXT("SHA-256"), "<response xmlns='" NS_SASL2 "'/>" },
        { NEXT("SHA-256"), "<presence/>" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct peer *p = login_begin();
        prove(p, UPGRADE("SHA-256"));
        peer_await(p, TASK("SHA-256"));
        if (cases[i].begin != NULL)
            say(p, cases[i].begin, "</task-data>");
        fails(p, cases[i].say, ERROR("policy-violation"));
        assert_false(has_keys(SCRAM_SHA_256));
    }
}

/* The answer to a task is said once. */
static void a_task_is_done_once(void **state)
{
    (void)state;
    struct peer *p = login_begin();
    prove(p, UPGRADE("SHA-256") UPGRADE("SHA-512"));
    peer_await(p, TASK("SHA-256"));
    peer_send(p, NEXT("SHA-256"));
    do_task(p, EVP_sha256(), TASK("SHA-512"));
    fails(p, HASH("AAAA"), ERROR("policy-violation"));
    p = login_begin();
    prove(p, UPGRADE("SHA-256") UPGRADE("SHA-512"));
    peer_await(p, TASK("SHA-512"));
    say(p, NEXT("SHA-256"), FAILURE("malformed-request"));
    logs_in(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(tasks_follow_each_other, weaken),
        cmocka_unit_test_setup(a_hash_that_is_there_is_no_task, weaken),
        cmocka_unit_test_setup(tasks_that_fail, weaken),
        cmocka_unit_test_setup(tasks_in_the_wrong_order, weaken),
        cmocka_unit_test_setup(a_task_is_done_once, weaken),
    };
    return cmocka_run_group_tests(tests, begin, gate_close);
}
