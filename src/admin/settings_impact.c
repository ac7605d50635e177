#include "admin/settings_impact.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/ensure.h"
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

/* Items of a turn are counted one after the other. */
struct accepting {
    struct settings_turn *turn;
    size_t at;
};

static void accepting_go_on(struct accepting *a);

static void accepting_counted(void *arg, enum store_result result, const struct store_batch *b)
{
    struct accepting *a = arg;
    struct command_call *call = a->turn->call;
    const struct setting *s = a->turn->item[a->at].setting;
    bool known = result == STORE_OK && store_row_count(b, 0) == 1;
    int64_t count = known ? store_int(b, 0, 0, 0) : -1;
    ensure(worker_is_here(call->worker));
    if (count == 0) {
        a->at++;
        accepting_go_on(a);
        return;
    }
    command_fail(
        call, E_CONFLICT, "nothing was changed: %s would delete: %s; give --accept if it is meant",
        s->name,
        settings_impact_text(s->impact, count, "could not be counted in time", call->arena));
}

static void accepting_go_on(struct accepting *a)
{
    struct settings_turn *t = a->turn;
    struct why why;
    for (; a->at < t->count; a->at++) {
        const struct settings_item *item = &t->item[a->at];
        int64_t at;
        if (!settings_lowers(item) || !settings_impact_at(item->setting, item->value, &at) ||
            !settings_item_ok(t->call, item->setting, item->value, &why))
            continue; /* what is wrong is refused in its turn */
        struct store_batch *b = store_read(worker_store(t->call->worker), 0);
        store_read_long(b, 0, SETTINGS_COUNT_MS);
        STORE_ADD(b, item->setting->impact->stmt, STORE_ANY_ROWS, SV_I(at));
        store_submit(b, worker_loop(t->call->worker), 2 * SETTINGS_COUNT_MS, accepting_counted, a);
        return;
    }
    settings_turn_take(t);
}

void settings_turn_if_accepted(struct settings_turn *t)
{
    ensure(t->call != NULL);
    if (command_flag(t->call, "accept")) {
        settings_turn_take(t);
        return;
    }
    struct accepting *a = arena_new(t->arena, struct accepting, 1);
    *a = (struct accepting){ .turn = t };
    accepting_go_on(a);
}
