#include "gate/s2s/s2s_stage.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h> /* needs the three above */

/* No address, port, setting, command or answer of the DNS. */
static void words_are_for_users(void **s)
{
    static const enum stanza_error errors[] = { SE_NOT_ALLOWED, SE_REMOTE_SERVER_NOT_FOUND,
                                                SE_REMOTE_SERVER_TIMEOUT, SE_SERVICE_UNAVAILABLE };
    (void)s;
    for (int stage = S2S_AT_NONE; stage < S2S_STAGES; stage++)
        for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
            slice words = s2s_stage_words((enum s2s_stage)stage, errors[i]);
            assert_true(words.len > 20 && words.len < 100);
            for (size_t at = 0; at < words.len; at++)
                if (strchr("abcdefghijklmnopqrstuvwxyz ,:", words.ptr[at]) == NULL)
                    fail_msg("%d: %.*s", stage, SLICE_ARG(words));
        }
}

static void words_say_what_failed(void **s)
{
    (void)s;
#define SAYS(stage, error, words) assert_true(slice_is(s2s_stage_words(stage, error), words))
    SAYS(S2S_AT_TCP, SE_REMOTE_SERVER_TIMEOUT, "the server of that domain cannot be reached");
    SAYS(S2S_AT_TCP, SE_REMOTE_SERVER_NOT_FOUND, "no server of that domain was found");
    SAYS(S2S_AT_ROUTE, SE_NOT_ALLOWED, "this server does not communicate with that domain");
    SAYS(S2S_AT_POLICY, SE_REMOTE_SERVER_TIMEOUT, "this server is being stopped");
    SAYS(S2S_AT_POLICY, SE_SERVICE_UNAVAILABLE,
         "this server did not serve the domain of the sender for a time");
    SAYS(S2S_AT_LINK, SE_REMOTE_SERVER_TIMEOUT,
         "the connection to the server of that domain has ended");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(words_are_for_users),
                                        cmocka_unit_test(words_say_what_failed) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
