#include "talk/iq_rules.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "core/feature.h"

/* A rule is at the place that its hash names, or behind it, before a gap. At most half is used. */
static const struct iq_rule **iq_table;
static size_t iq_mask;

static size_t iq_place(slice ns, slice name) { return hash_keyed(ns) + 3 * hash_keyed(name); }

static void iq_table_put(const struct iq_rule *r)
{
    size_t at = iq_place(slice_of(r->ns), slice_of(r->name)) & iq_mask;
    while (iq_table[at] != NULL)
        at = (at + 1) & iq_mask;
    iq_table[at] = r;
}

void iq_rules_set(void)
{
    size_t count = 1, size = 2;
    FEATURES_EACH (f, iq)
        for (const struct iq_rule *r = f->iq; r->run != NULL; r++)
            count++;
    while (size < 2 * count)
        size *= 2;
    mem_free(&iq_table);
    iq_table = mem_zalloc(size * sizeof *iq_table);
    iq_mask = size - 1;
    FEATURES_EACH (f, iq)
        for (const struct iq_rule *r = f->iq; r->run != NULL; r++)
            iq_table_put(r);
}

const struct iq_rule *iq_rules_find(enum stanza_type type, slice ns, slice name,
                                    enum iq_target target)
{
    const struct iq_rule *r;
    ensure(iq_table != NULL);
    for (size_t at = iq_place(ns, name); (r = iq_table[at & iq_mask]) != NULL; at++)
        if (r->type == type && (r->to & target) != 0 && slice_is(name, r->name) &&
            slice_is(ns, r->ns))
            return r;
    return NULL;
}
