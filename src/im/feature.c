#include "im/feature.h"
#include "base/ensure.h"
#include "home/message.h"
#include "im/archive_words.h"
#include "im/host.h"
#include "im/iq_rules.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* The lists of features_with(), one behind the other. Where each begins, by the number of the
 * member: all members are pointers. */
enum { MEMBERS = sizeof(struct feature) / sizeof(void *), HAVING_MAX = 2048 };
static_assert(sizeof(struct feature) == MEMBERS * sizeof(void *), "a member is no pointer");
static const struct feature *having[HAVING_MAX];
static uint16_t having_from[MEMBERS]; /* at most HAVING_MAX */

static const struct nonza *nonzas[NONZAS_MAX];
static uint32_t nonza_count;

static void gather_nonzas(const struct nonza *row)
{
    for (; row != NULL && row->ns != NULL; row++) {
        ensure(nonza_count < NONZAS_MAX);
        nonzas[nonza_count++] = row;
    }
}

static bool feature_has(const struct feature *f, size_t member)
{
    const void *value;
    memcpy(&value, (const char *)f + member * sizeof value, sizeof value);
    return value != NULL;
}

static void gather_members(const struct feature *const *list)
{
    unsigned n = 0;
    for (size_t member = 0; member < MEMBERS; member++) {
        having_from[member] = (uint16_t)n;
        for (const struct feature *const *f = list; *f != NULL; f++) {
            if (!feature_has(*f, member))
                continue;
            ensure(n < HAVING_MAX - 1);
            having[n++] = *f;
        }
        ensure(n < HAVING_MAX);
        having[n++] = NULL;
    }
}

static void iq_rules_ready(const struct feature *const *list)
{
    struct iq_clash c;
    if (iq_rules_set(list, &c))
        return;
    fprintf(stderr, "features %s and %s both answer <%s xmlns='%s'/>\n", c.first, c.second,
            c.rule->name, c.rule->ns);
    abort();
}

static void messages_ready(const struct feature *const *list)
{
    const struct message_row *rows[MESSAGE_IDS];
    struct why why;
    unsigned n = 0;
    for (; *list != NULL; list++)
        for (const struct message_row *const *m = (*list)->messages; m != NULL && *m != NULL; m++) {
            ensure(n < MESSAGE_IDS);
            rows[n++] = *m;
        }
    if (messages_set(rows, n, &why))
        return;
    fprintf(stderr, "%s\n", why.text);
    abort();
}

void features_set(const struct feature *const *list)
{
    unsigned n = 0;
    while (list[n] != NULL)
        n++;
    ensure(n <= FEATURES_MAX);
    gather_members(list);
    iq_rules_ready(list);
    messages_ready(list);
    stages_set(list);
    hosts_set(list);
    fans_set(list);
    archive_words_set(list);
    nonza_count = 0;
    for (unsigned i = 0; i < n; i++)
        gather_nonzas(list[i]->nonzas);
    for (unsigned i = 0; i < n; i++) {
        ensure(list[i]->load == NULL || list[i]->loaded != NULL);
        ensure(list[i]->bind2_load == NULL || list[i]->bind2_loaded != NULL);
    }
    for (unsigned i = 0; i < n; i++)
        if (list[i]->start != NULL)
            list[i]->start();
}

const struct feature *const *features_with(size_t offset)
{
    return having + having_from[offset / sizeof(void *)];
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
