#include "im/crossing.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "home/here.h"
#include "im/account.h"
#include <stdatomic.h>
#include <string.h>

enum { CROSSINGS_MIN = 4, CROSSINGS_MAX = 16384 };
enum { ASKED_US = 30 * 1000000, KEPT_US = 60 * 1000000 };

struct crossing {
    uint64_t contact;      /* hash of its address */
    uint64_t asked, heard; /* numbers; 0: none */
    uint64_t asked_us, at_us;
};
struct crossings {
    uint32_t len, cap;
    struct crossing each[];
};

uint64_t crossing_number(const struct account *a)
{
    static _Atomic uint64_t last;
    uint64_t now = loop_wall_us(worker_loop(a->worker)), was = atomic_load(&last), next;
    do
        next = now > was ? now : was + 1;
    while (!atomic_compare_exchange_weak(&last, &was, next));
    return next;
}

static struct crossing *crossing_find(const struct account *a, slice contact)
{
    struct crossings *c = a->crossings;
    uint64_t hash = hash_keyed(contact);
    for (uint32_t i = 0; c != NULL && i < c->len; i++)
        if (c->each[i].contact == hash)
            return &c->each[i];
    return NULL;
}

static void forget_old(struct crossings *c, uint64_t now)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < c->len; i++)
        if (now < c->each[i].at_us + KEPT_US)
            c->each[kept++] = c->each[i];
    c->len = kept;
}

static void crossing_make_room(struct account *a, uint64_t now)
{
    struct crossings *c = a->crossings;
    if (c != NULL)
        forget_old(c, now);
    uint32_t len = c == NULL ? 0 : c->len;
    if (len == CROSSINGS_MAX) { /* they were added in the order of time */
        memmove(&c->each[0], &c->each[1], (len - 1) * sizeof c->each[0]);
        c->len--;
        return;
    }
    uint32_t cap = len < CROSSINGS_MIN / 2 ? CROSSINGS_MIN : 2 * len;
    cap = cap < CROSSINGS_MAX ? cap : CROSSINGS_MAX;
    a->crossings = c = mem_realloc(c, sizeof *c + cap * sizeof c->each[0]);
    c->len = len;
    c->cap = cap;
}

static struct crossing *entry(struct account *a, slice contact)
{
    uint64_t now = loop_now_us(worker_loop(a->worker));
    struct crossing *x = crossing_find(a, contact);
    if (x == NULL) {
        if (a->crossings == NULL || a->crossings->len == a->crossings->cap)
            crossing_make_room(a, now);
        x = &a->crossings->each[a->crossings->len++];
        *x = (struct crossing){ .contact = hash_keyed(contact) };
    }
    x->at_us = now;
    return x;
}

void crossing_asked(struct account *a, slice contact, uint64_t number)
{
    struct crossing *x = entry(a, contact);
    x->asked = number > x->asked ? number : x->asked;
    x->asked_us = x->at_us;
}

void crossing_heard(struct account *a, slice contact, uint64_t number)
{
    ensure(number != 0);
    entry(a, contact)->heard = number;
}

bool crossing_is_repeat(const struct account *a, slice contact, uint64_t number)
{
    const struct crossing *x = crossing_find(a, contact);
    return x != NULL && number <= x->heard &&
           loop_now_us(worker_loop(a->worker)) < x->at_us + KEPT_US;
}

uint64_t crossing_last_heard(const struct account *a, slice contact)
{
    const struct crossing *x = crossing_find(a, contact);
    return x == NULL ? 0 : x->heard;
}

bool crossing_is_stale(const struct account *a, slice contact, uint64_t heard)
{
    const struct crossing *x = crossing_find(a, contact);
    return x != NULL && heard < x->asked &&
           loop_now_us(worker_loop(a->worker)) < x->asked_us + ASKED_US;
}

bool crossing_is_fresh(const struct account *a)
{
    uint64_t now = loop_now_us(worker_loop(a->worker));
    ensure(a->crossings == NULL || a->crossings->len <= a->crossings->cap);
    for (uint32_t i = 0; a->crossings != NULL && i < a->crossings->len; i++)
        if (now < a->crossings->each[i].at_us + KEPT_US)
            return true;
    return false;
}

void crossing_free(struct account *a) { mem_free(&a->crossings); }
