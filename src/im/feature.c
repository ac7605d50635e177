#include "im/feature.h"
#include "base/ensure.h"

static const struct feature *const *all;

void features_set(const struct feature *const *list)
{
    unsigned n = 0;
    while (list[n] != NULL)
        n++;
    ensure(n <= FEATURES_MAX);
    all = list;
    stages_set(list);
    fans_set(list);
    for (unsigned i = 0; i < n; i++)
        if (list[i]->start != NULL)
            list[i]->start();
}

const struct feature *const *features_all(void)
{
    ensure(all != NULL);
    return all;
}
