#include "base/arena.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "xmpp/jid.h"
#include <stdio.h>

enum { ROUNDS = 2000000, ROUNDS_ICU = 50000 };

static void measure(const char *name, slice text, int rounds)
{
    struct arena *tmp = arena_create(0);
    size_t seen = 0;
    uint64_t start = clock_mono_us();
    for (int i = 0; i < rounds; i++) {
        struct jid j;
        ensure(jid_parse(&j, text, tmp) == OK);
        seen += j.full.len;
        if (i % 64 == 0)
            arena_reset(tmp);
    }
    double ns = (double)(clock_mono_us() - start) * 1000 / rounds;
    ensure(seen > 0);
    printf("%s %.1f ns\n", name, ns);
    arena_destroy(&tmp);
}

int main(void)
{
    measure("jid.parse.bare", SLICE("alice@im.example.com"), ROUNDS);
    measure("jid.parse.30bytes", SLICE("juliet@im.example.com/balcony1"), ROUNDS);
    measure("jid.parse.upper", SLICE("Juliet@im.example.com/balcony1"), ROUNDS);
    measure("jid.parse.unicode", SLICE("fußball@bücher.example/König"), ROUNDS_ICU);
    return 0;
}
