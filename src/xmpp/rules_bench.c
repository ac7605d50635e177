/* Nanoseconds to look up who is on a block list and who is not: a short list and a long one. */
#include "base/clock.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "xmpp/rules.h"
#include <inttypes.h>
#include <stdio.h>

enum { ROUNDS = 2000000, NAME = 48 };

static void report(const char *what, uint32_t count, uint64_t took_us)
{
    printf("rules_%s_%" PRIu32 " %.1f ns\n", what, count, (double)took_us * 1000 / ROUNDS);
}

static void measure(uint32_t count)
{
    struct rules *r = rules_create(SLICE("x"));
    char(*names)[NAME] = mem_zalloc(count * sizeof *names);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(names[i], NAME, "spammer.%06" PRIu32 "@im.example.test", i);
        rules_put(r, &(struct rule){ slice_of(names[i]), rules_order_first(r), RULE_JID, RULE_DENY,
                                     RULE_ALL });
    }
    struct rule_peer stranger = { .jid = SLICE("a.friend@im.example.test/balcony") };
    uint64_t start = clock_mono_us();
    for (uint32_t i = 0; i < ROUNDS; i++)
        ensure(!rules_deny(r, &stranger, RULE_MESSAGE));
    report("pass", count, clock_mono_us() - start);

    start = clock_mono_us();
    for (uint32_t i = 0, at = 0; i < ROUNDS; i++, at = (at + 7919) % count) {
        struct rule_peer peer = { .jid = slice_of(names[at]) };
        ensure(rules_deny(r, &peer, RULE_MESSAGE));
    }
    report("deny", count, clock_mono_us() - start);
    rules_destroy(&r);
    mem_free(&names);
}

int main(void)
{
    measure(10);
    measure(100000);
    return 0;
}
