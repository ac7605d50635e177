#include "muc/room/makers.h"
#include "account/guest.h"
#include "base/mem.h"
#include "home/node.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/settings.h"
#include "store/store.h"
#include <pthread.h>

struct maker {
    slice jid; /* bare; in this block */
    int64_t rooms, bytes, history;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static struct map makers;

struct store_stmt room_makers = {
    .name = "room.makers",
    .sql = "SELECT creator, count(*) FROM room WHERE created_us < $1 GROUP BY creator",
    .params = "i",
    .cols = "ti",
};

static slice makers_key(const void *item) { return ((const struct maker *)item)->jid; }

/* NULL: nothing is known of the user, and nothing is added. */
static struct maker *makers_of(slice jid, int64_t by)
{
    if (makers.key == NULL)
        map_init(&makers, makers_key);
    struct maker *m = map_get(&makers, jid);
    if (m == NULL && by > 0) {
        m = mem_zalloc(sizeof *m + jid.len);
        m->jid = (slice){ (char *)(m + 1), jid.len };
        if (jid.len > 0)
            memcpy(m + 1, jid.ptr, jid.len);
        map_put(&makers, m);
    }
    return m;
}

static void maker_settle(struct maker *m)
{
    if (m->rooms > 0 || m->bytes > 0 || m->history > 0)
        return;
    map_del(&makers, m->jid);
    mem_free(&m);
}

static int64_t makers_count(slice jid, int64_t by)
{
    struct maker *m = makers_of(jid, by);
    if (m == NULL)
        return 0;
    m->rooms += by;
    int64_t rooms = m->rooms;
    maker_settle(m);
    return rooms;
}

static int64_t weight_of(const struct room *r)
{
    return (int64_t)(r->affiliate_bytes + r->part_bytes);
}

void room_makers_weigh(struct room *r)
{
    int64_t by = weight_of(r) - r->weighed;
    if (by == 0 || r->creator.len == 0)
        return;
    r->weighed += by;
    pthread_mutex_lock(&lock);
    struct maker *m = makers_of(r->creator, by);
    if (m != NULL) {
        m->bytes += by;
        maker_settle(m);
    }
    pthread_mutex_unlock(&lock);
}

int64_t room_makers_bytes(const struct room *r)
{
    int64_t bytes = weight_of(r);
    if (r->creator.len == 0 || muc_is_administrator(r->creator))
        return bytes;
    pthread_mutex_lock(&lock);
    const struct maker *m = makers_of(r->creator, 0);
    if (m != NULL)
        bytes = m->bytes + (bytes - r->weighed);
    pthread_mutex_unlock(&lock);
    return bytes;
}

/* All of that user's. */
static int64_t makers_count_history(struct room *r)
{
    int64_t by = (int64_t)r->history.bytes - r->history_weighed, all = 0;
    r->history_weighed += by;
    pthread_mutex_lock(&lock);
    struct maker *m = makers_of(r->creator, by);
    if (m != NULL) {
        m->history += by;
        all = m->history;
        maker_settle(m);
    }
    pthread_mutex_unlock(&lock);
    return all;
}

void room_makers_weigh_history(struct room *r)
{
    int64_t by = (int64_t)r->history.bytes - r->history_weighed;
    bool small = by < HISTORY_SMALL && by > -HISTORY_SMALL && r->history.bytes > 0;
    if (r->creator.len == 0 || by == 0 || small)
        return;
    if (makers_count_history(r) <= setting_int(&muc_history_bytes) ||
        muc_is_administrator(r->creator))
        return;
    room_history_trim(&r->history, HISTORY_SMALL);
    (void)makers_count_history(r);
}

void room_makers_count(slice jid, int64_t by)
{
    pthread_mutex_lock(&lock);
    (void)makers_count(jid, by);
    pthread_mutex_unlock(&lock);
}

bool muc_may_create(const struct node *n, slice bare)
{
    slice local, domain;
    bool ours = slice_cut(bare, '@', &local, &domain) && node_serves(n, domain);
    if (muc_is_administrator(bare))
        return true;
    if (ours && guest_is(bare)) /* who could not configure it, and would be its owner */
        return false;
    switch ((enum muc_creators)setting_int(&muc_create)) {
    case CREATE_ADMINISTRATORS:
        return false;
    case CREATE_ACCOUNTS:
        return ours;
    default:
        return ours || !setting_bool(&muc_create_home);
    }
}

bool room_maker_may(slice jid, struct why *why)
{
    int64_t most = setting_int(&muc_rooms_per_user);
    if (most == SETTING_NONE || muc_is_administrator(jid))
        return true;
    pthread_mutex_lock(&lock);
    int64_t rooms = makers_count(jid, 0);
    pthread_mutex_unlock(&lock);
    if (rooms < most)
        return true;
    why_set(why, "you have made %lld rooms that are still there, and more are not allowed",
            (long long)rooms);
    return false;
}

void room_makers_forget(void)
{
    struct maker *m;
    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; makers.key != NULL && (m = map_next(&makers, &i)) != NULL;)
        mem_free(&m);
    if (makers.key != NULL)
        map_fini(&makers);
    makers = (struct map){ 0 };
    pthread_mutex_unlock(&lock);
}
