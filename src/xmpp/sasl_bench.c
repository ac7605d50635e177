#include "base/arena.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "xmpp/sasl.h"
#include <stdio.h>

enum { ROUNDS = 50000, ROUNDS_DERIVE = 50 };

static const slice first = { "n,,n=user,r=rOprNGfwEbeRWgbNEkqO", 32 };
static const slice last = { "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                            "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                            106 };

/* The server's part of one login with the vectors of RFC 7677 §3, without look-up and transport. */
static void login(const struct scram_keys *keys)
{
    struct sasl *s = sasl_create(SASL_SCRAM_SHA_256, NULL, SLICE("example.com"),
                                 SLICE("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"));
    ensure(sasl_feed(s, first) == SASL_NEED_KEYS);
    ensure(sasl_keys(s, keys) == SASL_SEND);
    ensure(sasl_feed(s, last) == SASL_SUCCESS);
    sasl_destroy(&s);
}

int main(void)
{
    static const char salt[] = "\x5b\x6d\x99\x68\x9d\x12\x35\x8e\xec\xa0\x4b\x14\x12\x36\xfa\x81";
    struct scram_keys keys;
    scram_derive(&keys, SCRAM_SHA_256, SLICE("pencil"), (slice){ salt, 16 }, 4096);
    login(&keys); /* the first one fetches the algorithms */
    uint64_t start = clock_mono_us();
    for (int i = 0; i < ROUNDS; i++)
        login(&keys);
    printf("sasl.scram-sha-256 %.2f us\n", (double)(clock_mono_us() - start) / ROUNDS);
    start = clock_mono_us();
    for (int i = 0; i < ROUNDS_DERIVE; i++)
        ensure(scram_verify(&keys, SCRAM_SHA_256, SLICE("pencil")));
    printf("scram.verify.4096 %.0f us\n", (double)(clock_mono_us() - start) / ROUNDS_DERIVE);
    return 0;
}
