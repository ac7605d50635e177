#include "ops/lockout.h"
#include "base/ensure.h"
#include "base/hash.h"
#include <pthread.h>

struct setting lockout_failures = {
    .name = "admin.lock-failures",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 5,
    .min = 2,
    .max = 100,
    .allow_none = true,
    .unit = "failures",
    .doc = "Failed logins to the console with one name, within admin.lock-window, after which that "
           "name is refused for admin.lock-time, from every address. `none`: never.",
};
struct setting lockout_window = {
    .name = "admin.lock-window",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 15 * 60 * 1000,
    .min = 1000,
    .max = 24 * 3600 * 1000,
    .doc = "How long a failed login to the console counts.",
};
struct setting lockout_time = {
    .name = "admin.lock-time",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 15 * 60 * 1000,
    .min = 1000,
    .max = 24 * 3600 * 1000,
    .doc = "How long a name is refused at the console after admin.lock-failures. `admin unlock` "
           "ends it.",
};

struct lock {
    uint64_t key; /* 0: free */
    uint64_t first_us, until_us;
    int64_t failures; /* with attempts that are under way */
};
static struct lock locks[LOCKOUT_NAMES_MAX];
static pthread_mutex_t locks_lock = PTHREAD_MUTEX_INITIALIZER;

static struct lock *group_of(uint64_t key)
{
    return &locks[key % (LOCKOUT_NAMES_MAX / LOCKOUT_GROUP) * LOCKOUT_GROUP];
}

static struct lock *lock_find(slice name)
{
    uint64_t key = hash_keyed(name) | 1;
    struct lock *group = group_of(key);
    for (unsigned i = 0; i < LOCKOUT_GROUP; i++)
        if (group[i].key == key)
            return &group[i];
    return NULL;
}

/* It says nothing about its name any more. */
static bool lock_is_over(const struct lock *l, uint64_t now_us)
{
    uint64_t window_us = (uint64_t)setting_int(&lockout_window) * 1000;
    return now_us >= l->until_us && (l->until_us != 0 || now_us >= l->first_us + window_us);
}

/* Whether `a` gives way before `b`. */
static bool gives_way(const struct lock *a, const struct lock *b, uint64_t now_us)
{
    bool a_refused = a->until_us > now_us, b_refused = b->until_us > now_us;
    int64_t a_counts = lock_is_over(a, now_us) ? 0 : a->failures;
    int64_t b_counts = lock_is_over(b, now_us) ? 0 : b->failures;
    if (a_refused != b_refused)
        return b_refused;
    return a_counts == b_counts ? a->first_us < b->first_us : a_counts < b_counts;
}

static struct lock *lock_make(slice name, uint64_t now_us)
{
    uint64_t key = hash_keyed(name) | 1;
    struct lock *group = group_of(key), *found = lock_find(name), *weakest = group;
    for (unsigned i = 1; i < LOCKOUT_GROUP; i++)
        if (gives_way(&group[i], weakest, now_us))
            weakest = &group[i];
    ensure(weakest >= group && weakest < group + LOCKOUT_GROUP);
    if (found == NULL || lock_is_over(found, now_us)) {
        found = found == NULL ? weakest : found;
        *found = (struct lock){ .key = key, .first_us = now_us };
    }
    return found;
}

bool lockout_take(slice name, uint64_t now_us)
{
    int64_t limit = setting_int(&lockout_failures);
    pthread_mutex_lock(&locks_lock);
    struct lock *l = lock_make(name, now_us);
    bool may = now_us >= l->until_us && l->failures < limit;
    if (may)
        l->failures++;
    pthread_mutex_unlock(&locks_lock);
    return may;
}

bool lockout_failed(slice name, uint64_t now_us)
{
    pthread_mutex_lock(&locks_lock);
    struct lock *l = lock_find(name);
    bool refused = l != NULL && l->until_us == 0 && l->failures >= setting_int(&lockout_failures);
    if (refused)
        l->until_us = now_us + (uint64_t)setting_int(&lockout_time) * 1000;
    pthread_mutex_unlock(&locks_lock);
    return refused;
}

void lockout_passed(slice name)
{
    pthread_mutex_lock(&locks_lock);
    struct lock *l = lock_find(name);
    if (l != NULL)
        *l = (struct lock){ 0 };
    pthread_mutex_unlock(&locks_lock);
}

void lockout_void(slice name)
{
    pthread_mutex_lock(&locks_lock);
    struct lock *l = lock_find(name);
    if (l != NULL && l->failures > 0 && l->until_us == 0)
        l->failures--;
    pthread_mutex_unlock(&locks_lock);
}

bool lockout_is(slice name, uint64_t now_us)
{
    pthread_mutex_lock(&locks_lock);
    const struct lock *l = lock_find(name);
    bool refused = l != NULL && l->until_us > now_us;
    pthread_mutex_unlock(&locks_lock);
    return refused;
}

bool lockout_end(slice name, uint64_t now_us)
{
    bool refused = lockout_is(name, now_us);
    lockout_passed(name);
    return refused;
}
