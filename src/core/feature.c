#include "core/feature.h"
#include "archive/words.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "core/feature_check.h"
#include "home/host.h"
#include "home/message.h"
#include "talk/iq_rules.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* The lists of features_with(), one behind the other, each ended by NULL. Where each begins, by the
 * number of the member: all members are pointers. */
enum { MEMBERS = sizeof(struct feature) / sizeof(void *) };
static_assert(sizeof(struct feature) == MEMBERS * sizeof(void *), "a member is no pointer");
static const struct feature *nobody[1];
static const struct feature **having = nobody;
static unsigned having_from[MEMBERS], having_count[MEMBERS];

static bool feature_has(const struct feature *f, size_t member)
{
    const void *value;
    memcpy(&value, (const char *)f + member * sizeof value, sizeof value);
    return value != NULL;
}

/* Notes them in `into`, or, NULL, only counts. Returns how many pointers these are. */
static unsigned walk_members(const struct feature *const *list, const struct feature **into)
{
    unsigned n = 0;
    for (size_t member = 0; member < MEMBERS; member++) {
        having_from[member] = n;
        for (const struct feature *const *f = list; *f != NULL; f++) {
            if (!feature_has(*f, member))
                continue;
            if (into != NULL)
                into[n] = *f;
            n++;
        }
        having_count[member] = n - having_from[member];
        n++; /* NULL */
    }
    return n;
}

static void gather_members(const struct feature *const *list)
{
    if (having != nobody)
        mem_free(&having);
    having = mem_zalloc(walk_members(list, NULL) * sizeof *having);
    unsigned count = walk_members(list, having);
    ensure(having[count - 1] == NULL);
}

struct feature_tables feature_one;

/* Two that have the same one are refused later: check_rows(). */
static void gather_tables(const struct feature *const *list)
{
    enum { TABLES = sizeof feature_one / sizeof(void *) };
    const void *found[TABLES] = { 0 }, *has[TABLES];
    static_assert(sizeof found == sizeof feature_one, "a table is no pointer");
    for (; *list != NULL; list++) {
        memcpy(has, &(*list)->one, sizeof has);
        for (unsigned i = 0; i < TABLES; i++)
            found[i] = has[i] != NULL ? has[i] : found[i];
    }
    memcpy(&feature_one, found, sizeof found);
}

static void messages_ready(void)
{
    const struct message_row *rows[MESSAGE_IDS];
    struct why why;
    unsigned n = 0;
    FEATURES_EACH (f, messages)
        for (const struct message_row *const *m = f->messages; *m != NULL; m++) {
            ensure(n < MESSAGE_IDS);
            rows[n++] = *m;
        }
    if (messages_set(rows, n, &why))
        return;
    fprintf(stderr, "%s\n", why.text);
    abort();
}

static void number_slots(void)
{
    unsigned accounts = 0, sessions = 0, workers = 0;
    FEATURES_EACH (f, account.slot)
        *f->account.slot = accounts++;
    FEATURES_EACH (f, session.slot)
        *f->session.slot = sessions++;
    FEATURES_EACH (f, worker.slot)
        *f->worker.slot = workers++;
}

static void check_rows(const struct feature *const *list)
{
    struct why why;
    FEATURES_EACH (f, account.load)
        ensure(f->account.loaded != NULL);
    if (features_agree(list, &why))
        return;
    fprintf(stderr, "%s\n", why.text);
    abort();
}

void features_set(const struct feature *const *list)
{
    gather_members(list);
    gather_tables(list);
    number_slots();
    messages_ready();
    iq_rules_set();
    stages_set();
    hosts_clear();
    FEATURES_EACH (f, hosts)
        hosts_add(f->hosts);
    fans_clear();
    FEATURES_EACH (f, fans)
        fans_add(f->fans);
    archive_words_set(feature_one.words);
    FEATURES_EACH (f, start)
        f->start();
    check_rows(list); /* start() may gather statements */
}

const struct feature *const *features_with(size_t offset)
{
    ensure(offset < sizeof(struct feature));
    return having + having_from[offset / sizeof(void *)];
}

unsigned features_count(size_t offset) { return having_count[offset / sizeof(void *)]; }

bool nonza_find(slice ns, slice name, uint32_t *number)
{
    FEATURES_EACH (f, nonzas)
        for (const struct nonza *n = f->nonzas; n->ns != NULL; n++)
            if (slice_is(ns, n->ns) && slice_is(name, n->name)) {
                *number = n->number;
                return true;
            }
    return false;
}

void nonza_run(struct session *s, uint32_t number)
{
    FEATURES_EACH (f, nonzas)
        for (const struct nonza *n = f->nonzas; n->ns != NULL; n++)
            if (n->number == number)
                n->run(s);
}
