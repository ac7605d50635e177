#include "gate/s2s/s2s_pairs_up.h"
#include "base/ensure.h"
#include "base/mem.h"

struct pair_up {
    uint16_t up; /* a bit for each number; never 0 */
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

void s2s_pair_is_up(struct s2s_gate *g, slice pair, unsigned number)
{
    pthread_mutex_lock(&g->lock);
    struct pair_up *u = map_get(&g->pairs_up, pair);
    if (u == NULL) {
        u = mem_zalloc(sizeof *u + pair.len);
        u->len = (uint16_t)pair.len;
        memcpy(u->text, pair.ptr, pair.len);
        map_put(&g->pairs_up, u);
    }
    u->up |= pair_up_bit(number);
    pthread_mutex_unlock(&g->lock);
}

void s2s_pair_is_down(struct s2s_gate *g, slice pair, unsigned number)
{
    pthread_mutex_lock(&g->lock);
    struct pair_up *u = map_get(&g->pairs_up, pair);
    if (u != NULL)
        u->up &= (uint16_t)~pair_up_bit(number);
    if (u != NULL && u->up == 0) {
        map_del(&g->pairs_up, pair);
        mem_free(&u);
    }
    pthread_mutex_unlock(&g->lock);
}

bool s2s_pair_has_others_up(struct s2s_gate *g, slice pair, unsigned number)
{
    pthread_mutex_lock(&g->lock);
    const struct pair_up *u = map_get(&g->pairs_up, pair);
    bool any = u != NULL && (u->up & ~pair_up_bit(number)) != 0;
    pthread_mutex_unlock(&g->lock);
    return any;
}

void s2s_pairs_up_init(struct s2s_gate *g) { map_init(&g->pairs_up, pair_up_key); }

void s2s_pairs_up_fini(struct s2s_gate *g)
{
    struct pair_up *u;
    for (uint32_t i = 0; (u = map_next(&g->pairs_up, &i)) != NULL;)
        mem_free(&u);
    map_fini(&g->pairs_up);
}
