#include "admin/settings/settings_impact.h"
#include "base/arena.h"
#include "base/clock.h"
#include "home/here.h"

bool settings_impact_at(const struct setting *s, slice value, int64_t *at)
{
    struct why why;
    const struct setting_impact *impact = s->impact;
    *at = s->def;
    if (impact == NULL || setting_is_text(s) ||
        (value.ptr != NULL && param_check(&s->param, value, at, &why) != OK))
        return false;
    if (impact->unit_us > 0 && *at >= SETTING_NONE)
        *at = INT64_MIN;
    else if (impact->unit_us > 0)
        *at = (int64_t)clock_wall_us() - *at * impact->unit_us;
    return true;
}

const char *settings_impact_text(const struct setting_impact *impact, int64_t count,
                                 const char *unknown, struct arena *arena)
{
    return count >= 0 ? arena_printf(arena, "%s: %lld", impact->what, (long long)count)
                      : arena_printf(arena, "%s: %s", impact->what, unknown);
}

void settings_impact_count(struct worker *w, const struct setting *s, int64_t at,
                           store_done_fn *done, void *arg)
{
    struct store_batch *b = store_read(worker_store(w), 0);
    store_read_long(b, 0, SETTINGS_COUNT_MS);
    STORE_ADD(b, s->impact->stmt, STORE_ANY_ROWS, SV_I(at));
    store_submit(b, worker_loop(w), 2 * SETTINGS_COUNT_MS, done, arg);
}

const char *settings_impact_refusal(const struct setting *s, const char *text, struct arena *arena)
{
    return arena_printf(arena,
                        "nothing was changed: %s would delete: %s; use --accept if it is meant",
                        s->name, text);
}

bool settings_lowers(const struct settings_item *item)
{
    struct why why;
    const struct setting *s = item->setting;
    int64_t value = s->def;
    if (s->impact == NULL || !s->impact->deletes || setting_is_text(s))
        return false;
    return (item->value.ptr == NULL || param_check(&s->param, item->value, &value, &why) == OK) &&
           value < setting_int(s);
}
