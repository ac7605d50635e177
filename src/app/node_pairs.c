#include "app/node_pairs.h"
#include "app/node_file.h"
#include "base/arena.h"
#include "base/setting.h"
#include "xmpp/jid.h"

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

const char *node_setting_twice(const struct node_settings *all, size_t at, struct arena *arena)
{
    const struct setting_fixed *s = &all->item[at];
    for (size_t i = 0; i < at && s->setting != NULL; i++)
        if (all->item[i].setting == s->setting && slice_eq(all->item[i].domain, s->domain))
            return arena_printf(arena, "%s@%.*s': found twice, in two writings; allowed once",
                                s->setting->name, SLICE_ARG(s->domain));
    return NULL;
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

static bool node_pairs_has(const struct node_domains *domains, slice domain)
{
    for (size_t i = 0; i < domains->count; i++)
        if (slice_is(domain, domains->name[i]))
            return true;
    return false;
}

const char *node_account_wrong(const struct node_file *f, size_t at)
{
    const struct setting *s = f->settings.item[at].setting;
    slice jid, list = f->settings.item[at].value;
    struct why why;
    if (s == NULL || !setting_has_accounts(s) || list.ptr == NULL ||
        setting_check(s, list, &why) != OK)
        return NULL;
    while (slice_word(&list, &jid))
        if (!node_pairs_has(&f->domains, jid_split(jid).domain))
            return arena_printf(f->arena,
                                "%s': found %.*s, which is of another server, allowed: accounts "
                                "of `domains`",
                                s->name, SLICE_ARG(jid));
    return NULL;
}
