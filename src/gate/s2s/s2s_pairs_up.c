#include "gate/s2s/s2s_pairs_up.h"
#include "base/ensure.h"
#include "base/mem.h"

struct pair_up {
    uint16_t up, carry; /* a bit for each number; never both 0 between two calls */
    uint16_t len;
    char text[]; /* "remote/local" */
};

static slice pair_up_key(const void *item)
{
    const struct pair_up *u = item;
    return (slice){ u->text, u->len };
}

static uint16_t pair_up_bit(unsigned number)
{
    ensure(number < S2S_CONNECTIONS_MAX);
    return (uint16_t)(1u << number);
}

/* Under the lock, as the next one. */
static struct pair_up *pair_up_make(struct s2s_gate *g, slice pair)
{
    struct pair_up *u = map_get(&g->pairs_up, pair);
    if (u != NULL)
        return u;
    u = mem_zalloc(sizeof *u + pair.len);
    u->len = (uint16_t)pair.len;
    memcpy(u->text, pair.ptr, pair.len);
    map_put(&g->pairs_up, u);
    return u;
}

static void pair_up_check(struct s2s_gate *g, struct pair_up *u)
{
    if (u->up != 0 || u->carry != 0)
        return;
    map_del(&g->pairs_up, pair_up_key(u));
    mem_free(&u);
}

void s2s_pair_is_up(struct s2s_gate *g, slice pair, unsigned number)
{
    pthread_mutex_lock(&g->lock);
    pair_up_make(g, pair)->up |= pair_up_bit(number);
    pthread_mutex_unlock(&g->lock);
}

void s2s_pair_is_down(struct s2s_gate *g, slice pair, unsigned number)
{
    pthread_mutex_lock(&g->lock);
    struct pair_up *u = map_get(&g->pairs_up, pair);
    if (u != NULL) {
        u->up &= (uint16_t)~pair_up_bit(number);
        pair_up_check(g, u);
    }
    pthread_mutex_unlock(&g->lock);
}

bool s2s_pair_other_up(struct s2s_gate *g, slice pair, unsigned number, unsigned *other)
{
    pthread_mutex_lock(&g->lock);
    const struct pair_up *u = map_get(&g->pairs_up, pair);
    unsigned others = u == NULL ? 0 : u->up & ~(unsigned)pair_up_bit(number);
    pthread_mutex_unlock(&g->lock);
    *other = others == 0 ? 0 : (unsigned)__builtin_ctz(others);
    return others != 0;
}

void s2s_pair_carries(struct s2s_gate *g, slice pair, unsigned number, bool on)
{
    pthread_mutex_lock(&g->lock);
    struct pair_up *u = pair_up_make(g, pair);
    if (on)
        u->carry |= pair_up_bit(number);
    else
        u->carry &= (uint16_t)~pair_up_bit(number);
    pair_up_check(g, u);
    pthread_mutex_unlock(&g->lock);
}

bool s2s_pair_is_carried(struct s2s_gate *g, slice pair, unsigned number)
{
    pthread_mutex_lock(&g->lock);
    const struct pair_up *u = map_get(&g->pairs_up, pair);
    bool is = u != NULL && (u->carry & pair_up_bit(number)) != 0;
    pthread_mutex_unlock(&g->lock);
    return is;
}

void s2s_pairs_up_init(struct s2s_gate *g) { map_init(&g->pairs_up, pair_up_key); }

void s2s_pairs_up_fini(struct s2s_gate *g)
{
    struct pair_up *u;
    for (uint32_t i = 0; (u = map_next(&g->pairs_up, &i)) != NULL;)
        mem_free(&u);
    map_fini(&g->pairs_up);
}
