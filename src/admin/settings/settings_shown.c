#include "admin/settings/settings_shown.h"
#include "admin/settings/settings.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/setting.h"

const char *settings_who(slice actor, struct arena *tmp)
{
    slice via, rest, bare, resource;
    if (!slice_cut(actor, ':', &via, &rest))
        rest = actor;
    return slice_cstr(tmp, slice_cut(rest, '/', &bare, &resource) ? bare : rest);
}

const char *settings_from(slice actor, struct arena *tmp)
{
    slice via, rest, bare, resource;
    if (!slice_cut(actor, ':', &via, &rest))
        return "server";
    return slice_cut(rest, '/', &bare, &resource)
               ? arena_printf(tmp, "%.*s/%.*s", SLICE_ARG(via), SLICE_ARG(resource))
               : slice_cstr(tmp, via);
}

const char *settings_stamp_text(int64_t us, struct arena *tmp)
{
    char stamp[CLOCK_STAMP_LEN];
    clock_stamp(stamp, (uint64_t)us);
    return arena_printf(tmp, "%s", stamp);
}

void settings_stamp(struct command_call *call, const char *key, int64_t us)
{
    command_text(call, key, slice_of(settings_stamp_text(us, call->arena)));
}

slice settings_show(const struct setting *s, slice value, struct arena *tmp)
{
    char *text = arena_new(tmp, char, SETTING_BYTES_MAX);
    int64_t number;
    struct why why;
    if (s != NULL && setting_is_secret(s))
        return value.ptr == NULL ? SLICE("(default)") : SLICE(PARAM_SECRET_SHOWN);
    if (value.ptr == NULL && s != NULL && s->general != NULL)
        return SLICE("(as for all domains)");
    if (value.ptr == NULL)
        return SLICE("(default)");
    if (s == NULL || setting_is_text(s) || param_check(&s->param, value, &number, &why) != OK)
        return slice_dup(tmp, value);
    return (slice){ text, param_format(&s->param, number, text, SETTING_BYTES_MAX) };
}
