#include "muc/room/occupant_id.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* needs the three above */

/* Computed by Python: urlsafe_b64encode(hmac.digest(key, jid, "sha256")).rstrip(b"=") */
static void known_answers(void **state)
{
    (void)state;
    static const struct {
        uint8_t first, step; /* of the bytes of the secret */
        const char *bare, *id;
    } rows[] = {
        { 0, 1, "hag66@shakespeare.lit", "a1eF3utcePTqUySe5Rn5UZ_KIaZn3XpvsE9sqJ_2344" },
        { 0, 1, "crone1@shakespeare.lit", "I2yIkqtyqRrX7RsyfCHlkm4QEl6kJSS7ZBdEejcsfh8" },
        { 0, 1, "\u0436@\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444",
          "hXyUKIWXbKyTS2U4DFYlMYi1jguFT0_KEe6qfYWzPmE" },
        { 0xa5, 0, "hag66@shakespeare.lit", "TAw5NsBoLgm53Bff8-vfqlDpkquHMrrbcTZdTFMRHN8" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t secret[OCCUPANT_SECRET_LEN];
        for (unsigned b = 0; b < sizeof secret; b++)
            secret[b] = (uint8_t)(rows[i].first + b * rows[i].step);
        char out[OCCUPANT_ID_LEN + 1];
        slice id = occupant_id(out, secret, slice_of(rows[i].bare));
        assert_string_equal(out, rows[i].id);
        assert_true(slice_is(id, rows[i].id));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(known_answers) };
    return cmocka_run_group_tests_name("occupant_id", tests, NULL, NULL);
}
