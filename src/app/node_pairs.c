#include "app/node_pairs.h"
#include "app/node_file.h"
#include "base/arena.h"
#include "base/setting.h"

enum { VALUE_BYTES_MAX = 64 };

/* false: the file does not set it for all domains, or with a mistake. */
static bool pair_number(const struct node_settings *all, const struct param *of, int64_t *out)
{
    struct why why;
    for (size_t i = 0; i < all->count; i++) {
        const struct setting_fixed *s = &all->item[i];
        if (s->setting != NULL && &s->setting->param == of && s->domain.ptr == NULL)
            return s->value.ptr != NULL && param_check(of, s->value, out, &why) == OK;
    }
    return false;
}

const char *node_pair_wrong(const struct node_settings *all, size_t at, struct arena *arena)
{
    const struct setting *s = all->item[at].setting;
    char found[VALUE_BYTES_MAX], limit[VALUE_BYTES_MAX];
    int64_t low, high;
    if (s == NULL || s->not_above == NULL || !pair_number(all, &s->param, &low) ||
        !pair_number(all, s->not_above, &high) || low <= high)
        return NULL;
    param_format(&s->param, low, found, sizeof found);
    param_format(s->not_above, high, limit, sizeof limit);
    return arena_printf(arena, "%s': found %s, allowed at most settings.%s, which is %s", s->name,
                        found, s->not_above->name, limit);
}
