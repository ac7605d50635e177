#include "session/behind.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "xmpp/stanza.h"

struct place {
    uint64_t sender; /* hash of a bare JID */
    uint64_t id;     /* archive id: it goes when all up to it have been delivered */
    struct queued q; /* st NULL: it is the stored message of that id */
};

struct behind {
    uint64_t looked;
    struct place *places; /* in the order in which they came; NULL: none */
    uint32_t len, cap, bytes;
};

struct behind *behind_new(void) { return mem_new(struct behind); }

void behind_free(struct behind **pb)
{
    struct behind *b = *pb;
    *pb = NULL;
    for (uint32_t i = 0; i < b->len; i++)
        stanza_unref(&b->places[i].q.st);
    mem_free(&b->places);
    mem_free(&b);
}

void behind_looked(struct behind *b, uint64_t id) { b->looked = id; }

static struct place *behind_push(struct behind *b, uint64_t sender, uint64_t id)
{
    if (b->len == b->cap) {
        b->cap = b->cap == 0 ? 16 : 2 * b->cap;
        b->places = mem_realloc(b->places, b->cap * sizeof *b->places);
    }
    struct place *p = &b->places[b->len++];
    *p = (struct place){ .sender = sender, .id = id };
    return p;
}

void behind_owes(struct behind *b, const struct stanza *st, uint64_t id)
{
    if (b->len < BEHIND_MAX)
        behind_push(b, hash_keyed(stanza_from_bare(st)), id);
}

/* The place of the last one from that sender; 0: there is none. */
static uint64_t behind_last_of(const struct behind *b, uint64_t sender)
{
    for (uint32_t i = b->len; i-- > 0;)
        if (b->places[i].sender == sender)
            return b->places[i].id;
    return 0;
}

enum behind_says behind_hold(struct behind *b, struct stanza *st, enum queued_to to,
                             uint64_t delay_us, uint64_t stored)
{
    uint64_t sender = hash_keyed(stanza_from_bare(st)), id = behind_last_of(b, sender);
    if (id < stored)
        id = stored;
    ensure(to <= QUEUED_BARE);
    if (id <= b->looked)
        return BEHIND_PASSES;
    if (b->len == BEHIND_MAX || b->bytes + st->bytes > BEHIND_BYTES)
        return BEHIND_IS_FULL;
    behind_push(b, sender, id)->q =
        (struct queued){ .st = stanza_ref(st), .at_us = delay_us, .to = (uint8_t)to };
    b->bytes += st->bytes;
    return BEHIND_WAITS;
}

void behind_take(struct behind *b, uint64_t to, behind_fn *fn, struct session *s)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < b->len; i++) {
        struct place p = b->places[i];
        if (p.id > to) {
            b->places[kept++] = p;
            continue;
        }
        if (p.q.st == NULL)
            continue;
        b->bytes -= p.q.st->bytes;
        fn(s, &p.q);
        stanza_unref(&p.q.st);
    }
    b->len = kept;
}

const struct queued *behind_next(const struct behind *b, uint32_t *i)
{
    while (*i < b->len)
        if (b->places[(*i)++].q.st != NULL)
            return &b->places[*i - 1].q;
    return NULL;
}
