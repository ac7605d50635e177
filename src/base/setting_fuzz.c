/* Any text for a setting of each type: what is accepted is in range, and its formatted value is
 * accepted with the same result. */
#include "base/ensure.h"
#include "base/setting.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const words[] = { "one", "two", NULL };

static struct setting rows[] = {
    { .name = "fuzz.ms",
      .scope = SCOPE_CLUSTER,
      .type = PARAM_MS,
      .def = 5,
      .min = 5,
      .max = 900000000 },
    { .name = "fuzz.bytes",
      .scope = SCOPE_CLUSTER,
      .type = PARAM_BYTES,
      .max = SETTING_NONE,
      .allow_none = true },
    { .name = "fuzz.int",
      .scope = SCOPE_CLUSTER,
      .type = PARAM_INT,
      .min = -1000,
      .max = 1000,
      .allow_none = true },
    { .name = "fuzz.bool", .scope = SCOPE_CLUSTER, .type = PARAM_BOOL },
    { .name = "fuzz.choice", .scope = SCOPE_CLUSTER, .type = PARAM_CHOICE, .choices = words },
    { .name = "fuzz.string",
      .scope = SCOPE_CLUSTER,
      .type = PARAM_TEXT,
      .max = 100,
      .def_text = "" },
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static void check_round_trip(struct setting *s)
{
    char text[128], again[128];
    struct why why;
    int64_t value = setting_int(s);
    size_t len = setting_format(s, text, sizeof text);
    enum err e = setting_set(s, (slice){ text, len }, &why);
    ensure(e == OK && setting_int(s) == value);
    size_t len_again = setting_format(s, again, sizeof again);
    ensure(slice_eq((slice){ text, len }, (slice){ again, len_again }));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (rows[0].next == NULL) {
        for (int i = 0; i < ROWS; i++)
            setting_register(&rows[i]);
    }
    if (size == 0)
        return 0;
    struct setting *s = &rows[data[0] % ROWS];
    slice text = { (const char *)data + 1, size - 1 };
    struct why why = { "" };
    enum err e = setting_set(s, text, &why);
    ensure(e == OK || e == E_SYNTAX || e == E_LIMIT);
    ensure((e == OK) == (why.text[0] == '\0'));
    check_round_trip(s);
    setting_reset(s);
    return 0;
}
