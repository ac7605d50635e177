#include "xmpp/scram_client.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

/* RFC 5802 §5 and RFC 7677 §3. */
static const struct vector {
    enum scram_hash hash;
    const char *nonce, *first, *challenge, *final, *success;
} vectors[] = {
    { SCRAM_SHA_1, "fyko+d2lbbFgONRv9qkxdawL", "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
      "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
      "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
      "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=" },
    { SCRAM_SHA_256, "rOprNGfwEbeRWgbNEkqO", "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
      "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
      "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
      "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
      "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" },
};

static bool said(slice text, const char *wanted) { return slice_is(text, wanted); }

static void keeps_to_the_rfcs_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        const struct vector *v = &vectors[i];
        struct scram_client *c =
            scram_client_create(v->hash, SLICE("user"), SLICE("pencil"), slice_of(v->nonce));
        assert_true(said(scram_client_first(c), v->first));
        assert_int_equal(scram_client_challenge(c, slice_of(v->challenge)), OK);
        scram_client_compute(c);
        assert_true(said(scram_client_final(c), v->final));
        assert_true(scram_client_is_proved(c, slice_of(v->success)));
        assert_false(scram_client_is_proved(c, SLICE("v=rmF9pqV8S7suAoZWja4dJRkFsKA=")));
        assert_false(scram_client_is_proved(c, SLICE("e=other-error")));
        scram_client_free(&c);
    }
}

static void refuses_other_challenges(void **state)
{
    static const struct {
        const char *text;
        enum err e;
    } rows[] = {
        { "", E_SYNTAX },
        { "r=abcX", E_SYNTAX },
        { "r=abc,s=QSXCR+Q6sek8bf92,i=4096", E_SYNTAX },   /* nothing of the server's */
        { "r=xabcX,s=QSXCR+Q6sek8bf92,i=4096", E_SYNTAX }, /* another nonce */
        { "m=ext,r=abcX,s=QSXCR+Q6sek8bf92,i=4096", E_SYNTAX },
        { "r=abcX,s=,i=4096", E_SYNTAX },
        { "r=abcX,s=!!,i=4096", E_SYNTAX },
        { "r=abcX,s=QSXCR+Q6sek8bf92,i=0", E_SYNTAX },
        { "r=abcX,s=QSXCR+Q6sek8bf92,i=4096x", E_SYNTAX },
        { "r=abcX,s=QSXCR+Q6sek8bf92,i=1000001", E_LIMIT },
        { "r=abcX,s=QSXCR+Q6sek8bf92,i=4096", OK },
        { "r=abcX,s=QSXCR+Q6sek8bf92,i=4096", E_LIMIT }, /* a second one */
    };
    struct scram_client *c =
        scram_client_create(SCRAM_SHA_1, SLICE("a,b=c"), SLICE("x"), SLICE("abc"));
    (void)state;
    assert_true(said(scram_client_first(c), "n,,n=a=2Cb=3Dc,r=abc"));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(scram_client_challenge(c, slice_of(rows[i].text)), rows[i].e);
    scram_client_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_to_the_rfcs_vectors),
        cmocka_unit_test(refuses_other_challenges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
