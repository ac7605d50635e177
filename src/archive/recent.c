#include "archive/recent.h"
#include "archive/archive.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "xmpp/stanza.h"

/* A set of origins, by open addressing; one that was dropped keeps its place. */
enum { EMPTY = 0, DROPPED = 2 /* origins are odd */, CAP_MIN = 16 };
struct seen {
    int64_t origin;
    uint64_t at_us; /* received: its archive id, which is its time, too */
    uint64_t more;  /* sent: hash of its `id`, which is what an error for it says; received: its
                       join */
};
struct seen_set {
    uint32_t cap, used; /* cap: a power of two, or 0; used: at most three quarters of it */
    struct seen *slot;
};
/* The older set is forgotten when the newer one is full, or as old as anything may become. */
struct recent {
    uint64_t began_us;
    struct seen_set newer, older;
};

static const struct hash_key key = { 0x6f726967696e2d69ull,
                                     0x642d6d7573746572ull }; /* kept on disk */

int64_t recent_origin(const struct stanza *st, struct arena *tmp)
{
    struct elem e;
    if (!stanza_has(st, KNOWN(ORIGIN_ID)) || !stanza_child(st, KNOWN_ORIGIN_ID, &e))
        return 0;
    slice id = elem_attr(&e, "id", tmp);
    if (id.len == 0)
        return 0;
    struct hash_key of = { key.k0, key.k1 ^ hash_with(&key, stanza_from_bare(st)) };
    return (int64_t)(hash_with(&of, id) >> 1 | 1);
}

/* Where it is, or where it would be put. NULL: there is no room. */
static struct seen *recent_place(const struct seen_set *set, int64_t origin)
{
    uint64_t h = set->cap == 0 ? 0 : hash_keyed((slice){ (const char *)&origin, sizeof origin });
    for (uint32_t i = 0; i < set->cap; i++) {
        struct seen *s = &set->slot[(h + i) & (set->cap - 1)];
        if (s->origin == origin || s->origin == EMPTY)
            return s;
    }
    return NULL;
}

static struct seen *recent_find_in(const struct seen_set *set, int64_t origin)
{
    struct seen *s = recent_place(set, origin);
    return s != NULL && s->origin == origin ? s : NULL;
}

static void recent_grow(struct seen_set *set)
{
    struct seen_set more = { .cap = set->cap == 0 ? CAP_MIN : set->cap * 2 };
    more.slot = mem_zalloc(more.cap * sizeof *more.slot);
    for (uint32_t i = 0; i < set->cap; i++) {
        if (set->slot[i].origin == EMPTY || set->slot[i].origin == DROPPED)
            continue;
        *recent_place(&more, set->slot[i].origin) = set->slot[i];
        more.used++;
    }
    mem_free(&set->slot);
    *set = more;
}

static void recent_put_seen(struct recent **at, struct seen what)
{
    struct recent *r = *at;
    if (r == NULL)
        r = *at = mem_new(struct recent);
    if (r->newer.used >= RECENT_MAX || (int64_t)(what.at_us - r->began_us) >= RECENT_US) {
        mem_free(&r->older.slot);
        r->older = r->newer;
        r->newer = (struct seen_set){ 0 };
        r->began_us = what.at_us;
    }
    if (r->newer.used >= r->newer.cap / 4 * 3)
        recent_grow(&r->newer);
    struct seen *s = recent_place(&r->newer, what.origin);
    r->newer.used += s->origin == EMPTY;
    *s = what;
}

static struct seen *recent_find_seen(const struct recent *r, int64_t origin)
{
    struct seen *s = origin == 0 || r == NULL ? NULL : recent_find_in(&r->newer, origin);
    return s != NULL || origin == 0 || r == NULL ? s : recent_find_in(&r->older, origin);
}

static uint64_t find_time(const struct recent *r, int64_t origin, uint64_t now_us)
{
    const struct seen *s = recent_find_seen(r, origin);
    return s != NULL && (int64_t)(now_us - s->at_us) < RECENT_US ? s->at_us : 0;
}

uint64_t recent_find(const struct recents *r, int64_t origin, uint64_t now_us)
{
    return find_time(r->received, origin, now_us);
}

void recent_put(struct recents *r, int64_t origin, uint64_t archive_id)
{
    ensure(origin != 0);
    recent_put_seen(&r->received, (struct seen){ .origin = origin, .at_us = archive_id });
}

void recent_join(struct recents *r, int64_t origin, uint64_t join)
{
    struct seen *s = recent_find_seen(r->received, origin);
    ensure(s != NULL);
    s->more = join;
}

uint64_t recent_join_of(const struct recents *r, int64_t origin)
{
    const struct seen *s = recent_find_seen(r->received, origin);
    return s != NULL ? s->more : 0;
}

static void recent_drop_seen(struct seen_set *set, int64_t origin)
{
    struct seen *s = recent_find_in(set, origin);
    if (s != NULL)
        s->origin = DROPPED;
}

void recent_drop(struct recents *r, int64_t origin)
{
    if (origin == 0 || r->received == NULL)
        return;
    recent_drop_seen(&r->received->newer, origin);
    recent_drop_seen(&r->received->older, origin);
}

/* Sent. */

static int64_t origin_to(int64_t origin, slice to)
{
    return origin ^ (int64_t)(hash_with(&key, to) >> 1 << 1); /* stays odd */
}

static uint32_t recent_id_of(const struct stanza *st)
{
    return (uint32_t)hash_with(&key, stanza_id(st));
}

bool recent_said(struct recents *r, const struct stanza *st, int64_t origin, uint64_t now_us)
{
    if (origin == 0 || st->id_len == 0)
        return false; /* nobody could tell that it was refused */
    int64_t said = origin_to(origin, stanza_to_bare(st));
    if (find_time(r->sent, said, now_us) != 0)
        return true;
    recent_put_seen(&r->sent, (struct seen){ said, now_us, recent_id_of(st) });
    return false;
}

/* Its hash is enough: at worst a repeat counts as the first copy. */
static void drop_id(struct seen_set *set, uint32_t id)
{
    for (uint32_t i = 0; i < set->cap; i++)
        if (set->slot[i].more == id && set->slot[i].origin != EMPTY)
            set->slot[i].origin = DROPPED;
}

void recent_refused(struct recents *r, const struct stanza *error)
{
    if (r->sent == NULL)
        return;
    drop_id(&r->sent->newer, recent_id_of(error));
    drop_id(&r->sent->older, recent_id_of(error));
}

/* Knowledge of the archive. */

void recent_load(struct store_batch *b, int64_t owner, uint64_t now_us)
{
    STORE_ADD(b, &archive_recent, STORE_ANY_ROWS, SV_I(owner), SV_I(now_us - RECENT_US));
}

void recent_loaded(struct recents *r, const struct store_batch *b, unsigned first)
{
    for (uint32_t i = store_row_count(b, first); i-- > 0;) {
        int64_t origin = store_int(b, first, i, 0);
        uint64_t id = (uint64_t)store_int(b, first, i, 1);
        slice to = store_text(b, first, i, 2);
        if (to.len == 0)
            recent_put(r, origin, id);
        else
            recent_put_seen(&r->sent, (struct seen){ origin_to(origin, to), id, 0 });
    }
}

static void recent_forget(struct recent **at)
{
    if (*at == NULL)
        return;
    mem_free(&(*at)->newer.slot);
    mem_free(&(*at)->older.slot);
    mem_free(at);
}

void recent_free(struct recents *r)
{
    recent_forget(&r->received);
    recent_forget(&r->sent);
}
