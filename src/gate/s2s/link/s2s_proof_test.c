#include "base/arena.h"
#include "codec/xml_elem.h"
#include "gate/s2s/link/s2s_proof.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define FAILURE "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
#define REFUSES "it refuses our certificate "
#define FAILS   "it answers EXTERNAL with a failure "
#define TEN     "aaaaaaaaaa"

/* RFC 6120 §6.5 */
static void says_what_the_server_says(void **state)
{
    static const struct {
        const char *inside, *said;
        enum s2s_external how;
    } rows[] = {
        { "<not-authorized/>", REFUSES "(not-authorized)", EXTERNAL_REFUSED },
        { "<invalid-authzid/>", REFUSES "(invalid-authzid)", EXTERNAL_REFUSED },
        { "<text>Who?</text><not-authorized/>", REFUSES "(not-authorized: Who?)",
          EXTERNAL_REFUSED },
        { "<temporary-auth-failure/><text>later</text>", FAILS "(temporary-auth-failure: later)",
          EXTERNAL_LATER },
        { "<aborted/>", FAILS "(aborted)", EXTERNAL_LATER },
        { "<account-disabled/>", FAILS "(account-disabled)", EXTERNAL_LATER },
        { "<credentials-expired/>", FAILS "(credentials-expired)", EXTERNAL_FAILED },
        { "<encryption-required/>", FAILS "(encryption-required)", EXTERNAL_FAILED },
        { "<mechanism-too-weak/>", FAILS "(mechanism-too-weak)", EXTERNAL_FAILED },
        { "", FAILS "(failure)", EXTERNAL_FAILED },
        { "<" TEN TEN TEN TEN "a/><text>" TEN TEN TEN TEN "bbb\xc3\xa4</text>",
          FAILS "(" TEN TEN TEN TEN ": " TEN TEN TEN TEN "bbb)", EXTERNAL_FAILED },
    };
    (void)state;
    struct arena *tmp = arena_create(0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct elem e;
        char said[EXTERNAL_SAID_MAX];
        const char *text = arena_printf(tmp, FAILURE "%s</failure>", rows[i].inside);
        assert_true(elem_parse(&e, slice_of(text), (slice){ 0 }));
        assert_int_equal(rows[i].how, s2s_external_failed(said, &e, tmp));
        assert_string_equal(rows[i].said, said);
    }
    arena_destroy(&tmp);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(says_what_the_server_says) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
