#include "im/iq_rules.h"
#include "base/ensure.h"
#include "im/feature.h"
#include <stdlib.h>

enum { RULES_MAX = 512 };

struct sorted {
    const struct iq_rule *rule;
    const char *feature;
};

static struct sorted rules[RULES_MAX];
static size_t rule_count;

static int iq_rules_compare(slice a, slice b)
{
    int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_key(const struct iq_rule *r, enum stanza_type type, slice ns, slice name)
{
    int order = iq_rules_compare(slice_of(r->ns), ns);
    if (order == 0)
        order = iq_rules_compare(slice_of(r->name), name);
    return order != 0 ? order : ((int)r->type > (int)type) - ((int)r->type < (int)type);
}

static int by_key(const void *a, const void *b)
{
    const struct iq_rule *r = ((const struct sorted *)b)->rule;
    return compare_key(((const struct sorted *)a)->rule, r->type, slice_of(r->ns),
                       slice_of(r->name));
}

static void gather_rules(const struct feature *f)
{
    for (const struct iq_rule *r = f->iq; r != NULL && r->run != NULL; r++) {
        ensure(rule_count < RULES_MAX);
        rules[rule_count++] = (struct sorted){ r, f->name };
    }
}

bool iq_rules_set(const struct feature *const *list, struct iq_clash *clash)
{
    rule_count = 0;
    for (; *list != NULL; list++)
        gather_rules(*list);
    qsort(rules, rule_count, sizeof rules[0], by_key);
    for (size_t i = 0; i < rule_count; i++)
        for (size_t j = i + 1; j < rule_count && by_key(&rules[i], &rules[j]) == 0; j++)
            if ((rules[i].rule->to & rules[j].rule->to) != 0) {
                *clash = (struct iq_clash){ rules[i].feature, rules[j].feature, rules[i].rule };
                return false;
            }
    return true;
}

const struct iq_rule *iq_rules_find(enum stanza_type type, slice ns, slice name,
                                    enum iq_target target)
{
    size_t from = 0, to = rule_count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (compare_key(rules[middle].rule, type, ns, name) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    for (; from < rule_count && compare_key(rules[from].rule, type, ns, name) == 0; from++)
        if ((rules[from].rule->to & target) != 0)
            return rules[from].rule;
    return NULL;
}
