#include "im/recent.h"
#include "base/hash.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "im/account.h"
#include "im/archive.h"
#include "xmpp/stanza.h"

struct recent {
    uint32_t next;
    struct {
        int64_t origin;
        uint64_t at_us; /* received: its archive id, which is its time, too */
    } seen[RECENT_MAX];
};
/* What was sent has another address each; the `id` is what an error for it says. */
struct recent_sent {
    struct recent ring;
    uint32_t ids[RECENT_MAX];
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

static void put(struct recent *r, int64_t origin, uint64_t at_us)
{
    r->seen[r->next % RECENT_MAX].origin = origin;
    r->seen[r->next++ % RECENT_MAX].at_us = at_us;
}

static uint64_t find(const struct recent *r, int64_t origin, uint64_t now_us)
{
    for (unsigned i = 0; origin != 0 && r != NULL && i < RECENT_MAX; i++)
        if (r->seen[i].origin == origin && (int64_t)(now_us - r->seen[i].at_us) < RECENT_US)
            return r->seen[i].at_us;
    return 0;
}

uint64_t recent_find(const struct account *a, int64_t origin, uint64_t now_us)
{
    return find(a->recent, origin, now_us);
}

void recent_put(struct account *a, int64_t origin, uint64_t archive_id)
{
    if (a->recent == NULL)
        a->recent = mem_new(struct recent);
    put(a->recent, origin, archive_id);
}

void recent_drop(struct account *a, int64_t origin)
{
    for (unsigned i = 0; origin != 0 && a->recent != NULL && i < RECENT_MAX; i++)
        if (a->recent->seen[i].origin == origin)
            a->recent->seen[i].origin = 0;
}

/* Sent. */

static int64_t origin_to(int64_t origin, slice to)
{
    return origin ^ (int64_t)(hash_with(&key, to) >> 1 << 1); /* stays odd */
}

static uint32_t id_of(const struct stanza *st) { return (uint32_t)hash_with(&key, stanza_id(st)); }

static void put_sent(struct account *a, int64_t origin, uint64_t at_us, uint32_t id)
{
    if (a->sent == NULL)
        a->sent = mem_new(struct recent_sent);
    a->sent->ids[a->sent->ring.next % RECENT_MAX] = id;
    put(&a->sent->ring, origin, at_us);
}

bool recent_said(struct account *a, const struct stanza *st, int64_t origin, uint64_t now_us)
{
    if (origin == 0 || st->id_len == 0)
        return false; /* nobody could tell that it was refused */
    int64_t said = origin_to(origin, stanza_to_bare(st));
    if (a->sent != NULL && find(&a->sent->ring, said, now_us) != 0)
        return true;
    put_sent(a, said, now_us, id_of(st));
    return false;
}

/* Its hash is enough: at worst a repeat counts as the first copy. */
void recent_refused(struct account *a, const struct stanza *error)
{
    uint32_t id = a->sent == NULL ? 0 : id_of(error);
    for (unsigned i = 0; a->sent != NULL && i < RECENT_MAX; i++)
        if (a->sent->ids[i] == id)
            a->sent->ring.seen[i].origin = 0;
}

/* What the archive says. */

void recent_load(struct account *a, struct store_batch *b, uint64_t now_us)
{
    STORE_ADD(b, &archive_recent, STORE_ANY_ROWS, SV_I(a->id), SV_I(now_us - RECENT_US));
}

void recent_loaded(struct account *a, const struct store_batch *b, unsigned first)
{
    for (uint32_t i = store_row_count(b, first); i-- > 0;) {
        int64_t origin = store_int(b, first, i, 0);
        uint64_t id = (uint64_t)store_int(b, first, i, 1);
        slice to = store_text(b, first, i, 2);
        if (to.len == 0)
            recent_put(a, origin, id);
        else
            put_sent(a, origin_to(origin, to), id, 0);
    }
}

void recent_free(struct account *a)
{
    mem_free(&a->recent);
    mem_free(&a->sent);
}
