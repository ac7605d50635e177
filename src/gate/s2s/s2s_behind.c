#include "gate/s2s/s2s_behind.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "gate/s2s/s2s_unacked.h"
#include "xmpp/stanza.h"

enum { KEPT_FIRST = 16 };

struct behind_pair {
    uint64_t pair;  /* its key */
    uint64_t entry; /* of the first message that is behind the inbox; UINT64_MAX: none is */
    uint64_t next;  /* of the first that came behind what is kept; 0: none did */
    bool keeps;     /* something of it is kept */
};

static slice behind_key(const void *item)
{
    const struct behind_pair *p = item;
    return (slice){ (const char *)&p->pair, sizeof p->pair };
}

static uint64_t behind_hash(const struct stanza *st)
{
    uint64_t to = hash_keyed(stanza_to_bare(st));
    return hash_keyed(stanza_from(st)) ^ (to << 1 | to >> 63); /* not 0 for an address to itself */
}

static struct behind_pair *behind_find(const struct s2s_behind *b, const struct stanza *st)
{
    if (b->pairs.count == 0)
        return NULL;
    uint64_t pair = behind_hash(st);
    return map_get(&b->pairs, (slice){ (const char *)&pair, sizeof pair });
}

static struct behind_pair *behind_new(struct s2s_behind *b, const struct stanza *st, uint64_t entry)
{
    struct behind_pair *p = mem_new(struct behind_pair);
    *p = (struct behind_pair){ .pair = behind_hash(st), .entry = entry };
    map_put(&b->pairs, p);
    return p;
}

void s2s_behind_init(struct s2s_behind *b)
{
    *b = (struct s2s_behind){ 0 };
    map_init(&b->pairs, behind_key);
}

void s2s_behind_fini(struct s2s_behind *b)
{
    struct behind_pair *p;
    while (b->count > 0) {
        struct s2s_sent s = s2s_behind_take(b);
        stanza_unref(&s.st);
    }
    mem_free(&b->kept);
    for (uint32_t i = 0; (p = map_next(&b->pairs, &i)) != NULL;)
        mem_free(&p);
    map_fini(&b->pairs);
}

bool s2s_behind_is_full(const struct s2s_behind *b, const struct stanza *st)
{
    return b->pairs.count >= BEHIND_MAX && behind_find(b, st) == NULL;
}

/* Another connection hands over newer ones first. */
void s2s_behind_add(struct s2s_behind *b, const struct stanza *st, uint64_t entry)
{
    struct behind_pair *p = behind_find(b, st);
    ensure(entry > 0);
    if (p == NULL)
        p = behind_new(b, st, entry);
    if (p->keeps && (p->next == 0 || entry < p->next))
        p->next = entry;
    else if (!p->keeps && entry < p->entry)
        p->entry = entry;
}

uint64_t s2s_behind_first(const struct s2s_behind *b, const struct stanza *st)
{
    const struct behind_pair *p = behind_find(b, st);
    return p == NULL || p->entry == UINT64_MAX ? 0 : p->entry;
}

bool s2s_behind_has(const struct s2s_behind *b, const struct stanza *st, unsigned connections)
{
    return behind_find(b, st) != NULL ||
           (b->shares != 0 && (b->shares >> outgoing_share_of(st, connections) & 1) != 0);
}

bool s2s_behind_keeps(struct s2s_behind *b, const struct s2s_sent *s, uint64_t version)
{
    struct behind_pair *p = behind_find(b, s->st);
    ensure(s->id.entry == 0);
    if (s2s_behind_is_full(b, s->st) || (p != NULL && p->next != 0))
        return false;
    if (p == NULL)
        p = behind_new(b, s->st, UINT64_MAX);
    p->keeps = true;
    if (b->count == 0)
        b->version = version;
    if (b->first + b->count == b->cap) {
        b->cap = b->cap == 0 ? KEPT_FIRST : 2 * b->cap;
        b->kept = mem_realloc(b->kept, b->cap * sizeof *b->kept);
    }
    b->kept[b->first + b->count++] = *s;
    return true;
}

bool s2s_behind_is(const struct s2s_behind *b, const struct stanza *st, uint64_t entry)
{
    const struct behind_pair *p = st == NULL ? NULL : behind_find(b, st);
    return p != NULL && entry >= p->entry;
}

void s2s_behind_ends(struct s2s_behind *b)
{
    struct behind_pair *p;
    b->shares = 0;
    for (uint32_t i = 0; (p = map_next(&b->pairs, &i)) != NULL;) {
        if (p->next == 0) {
            map_del(&b->pairs, behind_key(p));
            mem_free(&p);
            continue;
        }
        p->entry = p->next;
        p->next = 0;
        p->keeps = false;
    }
}

void s2s_behind_clear(struct s2s_behind *b)
{
    ensure(b->count == 0);
    s2s_behind_ends(b);
    s2s_behind_ends(b); /* and what came behind what was kept */
}

struct s2s_sent s2s_behind_take(struct s2s_behind *b)
{
    ensure(b->count > 0);
    struct s2s_sent s = b->kept[b->first++];
    if (--b->count == 0)
        b->first = 0;
    return s;
}
