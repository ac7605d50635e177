#include "admin/api/api_example.h"
#include "base/alarm.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/param.h"
#include "base/setting.h"
#include <jansson.h>
#include <string.h>

enum { EXAMPLE_BYTES_MAX = 64 }; /* of numbers */

static const char *referred(enum param_refers refers)
{
    ensure(refers < REFERS_KINDS);
    return refers == REFERS_SETTING    ? setting_first()->name
           : refers == REFERS_LOG_AREA ? log_first()->name
           : refers == REFERS_ALARM    ? alarm_first()->name
           : refers == REFERS_GROUP    ? "team"
           : refers == REFERS_TOKEN    ? "backup"
           : refers == REFERS_ROLE     ? "viewer"
           : refers == REFERS_TEMPLATE ? "staff"
                                       : NULL;
}

static bool example_fits(const struct param *p, const char *text)
{
    struct why why;
    int64_t value;
    return param_check(p, slice_of(text), &value, &why) == OK;
}

/* The first of some words that has the form of the row, and is what the form names. */
static const char *example_word(const struct param *p)
{
    static const struct {
        const char *named, *text;
    } words[] = {
        { ":PORT", "example.org:5269" },
        { "DOMAIN", "example.org" },
        { "domain", "example.org" },
        { "", "example" },
        { "", "1" },
        { "", "192.0.2.1" },
        { "", "1h" },
        { "", "https://example.org/" },
        { "", "2026-11-20T12:00:00Z" },
        { "", "*.read" },
        { "", "user.*" },
        { "", "members" },
        { "", "department=Sales" },
        { "", "0123456789abcdef" },
        { "", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" },
    };
    const char *form = p->form != NULL ? p->form : "";
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strstr(form, words[i].named) != NULL && example_fits(p, words[i].text))
            return words[i].text;
    return NULL;
}

static const char *example_text(const struct param *p)
{
    static const char *const texts[PARAM_TYPES] = {
        [PARAM_BYTES] = "1MiB",
        [PARAM_MS] = "1h",
        [PARAM_SECRET] = "a long and secret text",
        [PARAM_PATH] = "/var/lib/muster/example",
        [PARAM_STAMP] = "2026-11-20T12:00:00Z",
        [PARAM_DOMAIN] = "example.org",
        [PARAM_HOME_DOMAIN] = "example.org",
        [PARAM_JID] = "bob@example.org",
        [PARAM_BARE] = "alice@example.org",
        [PARAM_USER] = "alice@example.org",
        [PARAM_SESSION] = "alice@example.org",
        [PARAM_ROOM] = "hall@conference.example.org",
    };
    ensure(p->type < PARAM_TYPES);
    const char *known = referred(p->refers) != NULL ? referred(p->refers) : texts[p->type];
    if (p->type == PARAM_CHOICE)
        return p->choices[0];
    return known != NULL && example_fits(p, known) ? known : example_word(p);
}

json_t *api_example(const struct command_arg *a)
{
    const struct param *p = &a->param;
    char text[EXAMPLE_BYTES_MAX];
    struct why why;
    int64_t number = p->min > 0 ? p->min : 1;
    ensure(a->example == NULL || param_check(p, slice_of(a->example), &number, &why) == OK);
    if (p->type == PARAM_BOOL && !p->allow_none)
        return json_true();
    if (p->type == PARAM_INT && !p->allow_none)
        return json_integer(number);
    const char *known = a->example != NULL ? a->example : example_text(p);
    if (known == NULL && !param_is_text(p)) {
        param_format(p, p->min, text, sizeof text);
        known = text;
    }
    return known != NULL ? json_string(known) : NULL;
}
