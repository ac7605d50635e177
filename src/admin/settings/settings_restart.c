#include "admin/settings/settings_restart.h"
#include "admin/settings/settings_private.h"
#include "base/alarm.h"
#include "base/ensure.h"
#include "base/mem.h"
#include <stdio.h>
#include <string.h>

struct running {
    struct running *next;
    const struct setting *setting;
    char value[SETTING_BYTES_MAX];
};

static struct running *running_first;

void settings_restart_begin(void)
{
    ensure(running_first == NULL);
    for (const struct setting *s = setting_first(); s != NULL; s = s->next) {
        if (s->restart == NULL)
            continue;
        struct running *r = mem_new(struct running);
        r->setting = s;
        setting_format(s, r->value, sizeof r->value);
        r->next = running_first;
        running_first = r;
    }
}

void settings_restart_end(void)
{
    while (running_first != NULL) {
        struct running *r = running_first;
        running_first = r->next;
        mem_free(&r);
    }
}

static bool differs(const struct running *r)
{
    char value[SETTING_BYTES_MAX];
    setting_format(r->setting, value, sizeof value);
    return strcmp(value, r->value) != 0;
}

bool settings_restart_waits(const struct setting *s)
{
    for (const struct running *r = running_first; r != NULL; r = r->next)
        if (r->setting == s)
            return differs(r);
    return false;
}

void settings_restart_look(void)
{
    char names[2 * ALARM_DETAIL_BYTES] = "";
    size_t len = 0;
    for (const struct running *r = running_first; r != NULL; r = r->next) {
        if (!differs(r) || len >= sizeof names)
            continue;
        int n = snprintf(names + len, sizeof names - len, "%s%s", len > 0 ? ", " : "",
                         r->setting->name);
        ensure(n > 0);
        len += (size_t)n;
    }
    if (len > 0)
        alarm_raise(&settings_restart_alarm, slice_of(names));
    else
        alarm_clear(&settings_restart_alarm);
}
