#include "xmpp/delivery.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* needs the three above */

/* RFC 6121 §8.5.4, Table 1, one letter a cell: D to the resource, A to all, O kept, E error, S
 * silence (the table's "S" leaves silence or an error; here E where it is an error), b as if to the
 * bare JID, s the server answers. Columns: no account, no resource, only negative ones, some (full:
 * but another), the one asked for. */
static const struct {
    const char *what;
    enum stanza_kind kind;
    enum stanza_type type;
    const char *bare, *full;
} rows[] = {
    { "normal", STANZA_MESSAGE, TYPE_NORMAL, "EOOAA", "EEEED" },
    { "chat", STANZA_MESSAGE, TYPE_CHAT, "EOOAA", "EbbbD" },
    { "groupchat", STANZA_MESSAGE, TYPE_GROUPCHAT, "EEEEE", "EEEED" },
    { "headline", STANZA_MESSAGE, TYPE_HEADLINE, "SSSAA", "SSSSD" },
    { "message error", STANZA_MESSAGE, TYPE_ERROR, "SSSSS", "SSSSD" },
    { "available", STANZA_PRESENCE, TYPE_AVAILABLE, "SSAAA", "SSSSD" },
    { "unavailable", STANZA_PRESENCE, TYPE_UNAVAILABLE, "SSAAA", "SSSSD" },
    { "probe", STANZA_PRESENCE, TYPE_PROBE, "Sssss", "Sssss" },
    { "subscribe", STANZA_PRESENCE, TYPE_SUBSCRIBE, "Sssss", "Sbbbb" },
    { "subscribed", STANZA_PRESENCE, TYPE_SUBSCRIBED, "Sssss", "Sbbbb" },
    { "unsubscribe", STANZA_PRESENCE, TYPE_UNSUBSCRIBE, "Sssss", "Sbbbb" },
    { "unsubscribed", STANZA_PRESENCE, TYPE_UNSUBSCRIBED, "Sssss", "Sbbbb" },
    { "presence error", STANZA_PRESENCE, TYPE_ERROR, "SSSSS", "SSSSD" },
    { "get", STANZA_IQ, TYPE_GET, "Essss", "EEEED" },
    { "set", STANZA_IQ, TYPE_SET, "Essss", "EEEED" },
    { "result", STANZA_IQ, TYPE_RESULT, "SSSSS", "SSSSD" },
    { "iq error", STANZA_IQ, TYPE_ERROR, "SSSSS", "SSSSD" },
    { "invalid", STANZA_IQ, TYPE_INVALID, "SSSSS", "SSSSS" },
};

static char letter(enum delivery d)
{
    switch (d) {
    case DELIVER_NONE:
        return 'S';
    case DELIVER_ERROR:
        return 'E';
    case DELIVER_STORE:
        return 'O';
    case DELIVER_ALL:
        return 'A';
    case DELIVER_MATCH:
        return 'D';
    case DELIVER_AS_BARE:
        return 'b';
    case DELIVER_ACCOUNT:
        return 's';
    }
    return '?';
}

static void follows_the_table(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (unsigned have = HAVE_NO_ACCOUNT; have <= HAVE_MATCH; have++) {
            enum delivery_have h = (enum delivery_have)have;
            char bare = letter(delivery_rule(rows[i].kind, rows[i].type, TO_BARE, h));
            char full = letter(delivery_rule(rows[i].kind, rows[i].type, TO_FULL, h));
            if (bare != rows[i].bare[have] || full != rows[i].full[have])
                fail_msg("%s, column %u: bare %c, full %c", rows[i].what, have, bare, full);
        }
    }
}

/* What a full JID passes on to the bare one has an end. */
static void as_bare_never_repeats(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (unsigned have = HAVE_NO_ACCOUNT; have <= HAVE_MATCH; have++)
            assert_int_not_equal(
                delivery_rule(rows[i].kind, rows[i].type, TO_BARE, (enum delivery_have)have),
                DELIVER_AS_BARE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_table),
        cmocka_unit_test(as_bare_never_repeats),
    };
    return cmocka_run_group_tests_name("delivery", tests, NULL, NULL);
}
