#include "im/feature.h"
#include "base/ensure.h"
#include "im/archive_words.h"
#include "im/host.h"

static const struct feature *const *all;
static const struct nonza *nonzas[NONZAS_MAX];
static uint32_t nonza_count;

static void gather_nonzas(const struct nonza *row)
{
    for (; row != NULL && row->ns != NULL; row++) {
        ensure(nonza_count < NONZAS_MAX);
        nonzas[nonza_count++] = row;
    }
}

void features_set(const struct feature *const *list)
{
    unsigned n = 0;
    while (list[n] != NULL)
        n++;
    ensure(n <= FEATURES_MAX);
    all = list;
    stages_set(list);
    hosts_set(list);
    fans_set(list);
    archive_words_set(list);
    nonza_count = 0;
    for (unsigned i = 0; i < n; i++)
        gather_nonzas(list[i]->nonzas);
    for (unsigned i = 0; i < n; i++)
        if (list[i]->start != NULL)
            list[i]->start();
}

const struct feature *const *features_all(void)
{
    ensure(all != NULL);
    return all;
}

bool nonza_find(slice ns, slice name, uint32_t *number)
{
    for (uint32_t i = 0; i < nonza_count; i++)
        if (slice_is(ns, nonzas[i]->ns) && slice_is(name, nonzas[i]->name)) {
            *number = i;
            return true;
        }
    return false;
}

void nonza_run(struct session *s, uint32_t number)
{
    if (number < nonza_count)
        nonzas[number]->run(s);
}
