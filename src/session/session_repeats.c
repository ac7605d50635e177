#include "session/session_repeats.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "session/session_struct.h"
#include <assert.h>
#include <endian.h>

#define MARK_MASK ((1ull << 45) - 1)

/* One that the client may send again. */
struct repeat {
    struct ticket t; /* as it was received; awaited: still */
    uint32_t count;  /* inbound, rising */
    uint32_t again;  /* inbound count of the repeat */
    bool taken;      /* it was repeated */
    bool anew;       /* it was not handled before a planned restart: its repeat is */
};

struct repeats {
    uint32_t len, open;
    uint32_t next; /* where the next repeat is expected */
    uint32_t came; /* stanzas since the resumption */
    bool in_order; /* all of them were repeats */
    struct repeat each[];
};

static void mix(struct hash_key *key, slice bytes)
{
    uint64_t hash = hash_with(key, bytes);
    key->k0 ^= hash;
    key->k1 += hash;
}

/* The key is the session's own, which outlives a planned restart. */
struct ticket repeat_ticket(const struct session *s, const struct stanza *st)
{
    struct hash_key key;
    char kinds[2] = { (char)st->kind, (char)st->type };
    const bool get = st->kind == STANZA_IQ && st->type == TYPE_GET;
    if (s->sm != 2)
        return (struct ticket){ .get = get };
    static_assert(sizeof key == sizeof s->token, "a token is a key");
    memcpy(&key, s->token, sizeof key);
    mix(&key, (slice){ kinds, sizeof kinds });
    mix(&key, stanza_to(st));
    mix(&key, stanza_id(st));
    for (unsigned i = 0; i < st->child_count; i++)
        if (st->child[i].known != KNOWN_DELAY)
            mix(&key, (slice){ st->content + st->child[i].at, st->child[i].len });
    return (struct ticket){ .mark = (key.k0 & MARK_MASK) | 1, .get = get, .named = st->id_len > 0 };
}

static struct repeats *session_repeats_create(uint32_t cap)
{
    struct repeats *r = mem_zalloc(sizeof *r + cap * sizeof r->each[0]);
    r->in_order = true;
    return r;
}

static void session_repeats_add(struct repeats *r, struct ticket t, uint32_t count)
{
    r->each[r->len++] = (struct repeat){ .t = t, .count = count };
    r->open += t.awaited > 0;
}

/* Stanzas that are not handled stay: flow control counts them. */
static void session_repeats_trim(struct repeats *r)
{
    uint32_t over = r->len > REPEATS_MAX ? r->len - REPEATS_MAX : 0, kept = 0;
    for (uint32_t i = 0; i < r->len; i++) {
        if (over > 0 && r->each[i].t.awaited == 0)
            over--;
        else
            r->each[kept++] = r->each[i];
    }
    r->len = kept;
}

/* Those of an earlier resumption first: their counts are lower. A repeat that h covers by now is
 * not repeated again. */
static struct repeats *session_repeats_gather(const struct session *s)
{
    const struct repeats *old = s->repeats;
    struct repeats *r = session_repeats_create((old == NULL ? 0 : old->len) + s->in_count - s->h);
    for (uint32_t i = 0; old != NULL && i < old->len; i++)
        if (!old->each[i].taken ||
            (!old->each[i].anew && (int32_t)(old->each[i].again - s->h) > 0)) {
            session_repeats_add(r, old->each[i].t, old->each[i].count);
            r->each[r->len - 1].anew = old->each[i].anew;
        }
    for (uint32_t n = s->h + 1; n != s->in_count + 1; n++) {
        struct ticket t = s->tickets[n & (s->ticket_cap - 1)];
        if (!t.again && (int32_t)(n - s->in_base) > 0)
            session_repeats_add(r, t, n);
    }
    session_repeats_trim(r);
    return r;
}

static void session_repeats_set(struct session *s, struct repeats *r)
{
    mem_free(&s->repeats);
    s->repeats = r;
    if (r->len == 0)
        mem_free(&s->repeats);
}

/* What the client counts goes on from h, and so does it here: the numbers in between are those of
 * the first copies. */
void repeats_begin(struct session *s)
{
    session_repeats_set(s, session_repeats_gather(s));
    uint32_t told = session_handled(s);
    s->h = s->in_count;
    s->gets = 0;
    s->in_base = s->in_count - told;
}

/* Nobody repeats any more, and nobody waits. */
static void forget_if_done(struct session *s)
{
    struct repeats *r = s->repeats;
    if (r->came <= 2 * r->len)
        return;
    for (uint32_t i = 0; i < r->len; i++)
        if (r->each[i].t.awaited > 0)
            return;
    mem_free(&s->repeats);
}

bool repeats_take(struct session *s, const struct stanza *st, struct ticket *t)
{
    struct repeats *r = s->repeats;
    if (r->came > 2 * r->len) {
        forget_if_done(s);
        return false;
    }
    r->came++;
    struct ticket mine = repeat_ticket(s, st);
    for (uint32_t i = 0; i < r->len; i++) {
        struct repeat *e = &r->each[(r->next + i) % r->len];
        if (e->taken || e->t.mark != mine.mark || !(e->t.named || r->in_order))
            continue;
        e->taken = true;
        e->again = s->in_count;
        r->next = (r->next + i + 1) % r->len;
        if (e->anew)
            return false;
        *t = e->t;
        t->awaited = e->t.awaited > 0;
        t->again = true;
        return true;
    }
    r->in_order = false;
    return false;
}

static struct repeat *session_repeats_find(struct repeats *r, uint32_t count)
{
    uint32_t low = 0, high = r->len;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (r->each[mid].count == count)
            return &r->each[mid];
        if ((int32_t)(r->each[mid].count - count) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

bool repeats_reported(struct session *s, uint32_t count, uint32_t *again)
{
    struct repeat *e = s->repeats == NULL ? NULL : session_repeats_find(s->repeats, count);
    if (e == NULL || e->t.awaited == 0 || --e->t.awaited > 0)
        return false;
    s->repeats->open--;
    *again = e->again;
    return e->taken;
}

struct ticket *repeats_ticket(const struct session *s, uint32_t count)
{
    struct repeat *e = s->repeats == NULL ? NULL : session_repeats_find(s->repeats, count);
    return e == NULL ? NULL : &e->t;
}

uint32_t repeats_open(const struct session *s) { return s->repeats == NULL ? 0 : s->repeats->open; }

/* All marks are odd. One that is not handled has an even one, which repeats nothing. */
void repeats_save(const struct session *s, struct buf *out)
{
    struct repeats *r = session_repeats_gather(s);
    for (uint32_t i = 0; i < r->len; i++) {
        const struct ticket t = r->each[i].t;
        bool handled = t.awaited == 0 && !r->each[i].anew;
        uint64_t bytes = htole64((t.mark ^ (uint64_t)!handled) << 1 | t.named);
        buf_append(out, &bytes, REPEAT_BYTES);
    }
    mem_free(&r);
}

static void session_repeats_add_saved(struct repeats *r, uint64_t bytes, uint32_t count)
{
    bool handled = (bytes >> 1 & 1) != 0;
    session_repeats_add(
        r, (struct ticket){ .mark = (bytes >> 1 | 1) & MARK_MASK, .named = bytes & 1 }, count);
    r->each[r->len - 1].anew = !handled;
}

void repeats_restore(struct session *s, slice saved)
{
    if (saved.len > REPEATS_MAX * REPEAT_BYTES)
        saved = slice_from(saved, saved.len - REPEATS_MAX * REPEAT_BYTES);
    uint32_t count = (uint32_t)(saved.len / REPEAT_BYTES);
    struct repeats *r = session_repeats_create(count);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t bytes;
        memcpy(&bytes, saved.ptr + i * REPEAT_BYTES, REPEAT_BYTES);
        session_repeats_add_saved(r, le64toh(bytes), s->in_count - count + i + 1);
    }
    session_repeats_set(s, r);
}

enum { PACKED_HEAD = 9, PACKED_EACH = 18 };

static void repeats_put(struct buf *out, uint64_t n, size_t bytes)
{
    n = htole64(n);
    buf_append(out, &n, bytes);
}

static uint64_t repeats_get(slice *packed, size_t bytes)
{
    uint64_t n = 0;
    memcpy(&n, packed->ptr, bytes);
    *packed = slice_from(*packed, bytes);
    return le64toh(n);
}

void repeats_pack(const struct session *s, struct buf *out)
{
    const struct repeats *r = s->repeats;
    if (r == NULL)
        return;
    repeats_put(out, r->next, 4);
    repeats_put(out, r->came, 4);
    repeats_put(out, r->in_order, 1);
    for (uint32_t i = 0; i < r->len; i++) {
        repeats_put(out, ticket_number(r->each[i].t), 8);
        repeats_put(out, r->each[i].count, 4);
        repeats_put(out, r->each[i].again, 4);
        repeats_put(out, r->each[i].taken, 1);
        repeats_put(out, r->each[i].anew, 1);
    }
}

bool repeats_are_packed(slice packed)
{
    return packed.len == 0 ||
           (packed.len > PACKED_HEAD && (packed.len - PACKED_HEAD) % PACKED_EACH == 0);
}

void repeats_unpack(struct session *s, slice packed)
{
    ensure(repeats_are_packed(packed));
    mem_free(&s->repeats);
    if (packed.len == 0)
        return;
    struct repeats *r =
        session_repeats_create((uint32_t)((packed.len - PACKED_HEAD) / PACKED_EACH));
    r->next = (uint32_t)repeats_get(&packed, 4);
    r->came = (uint32_t)repeats_get(&packed, 4);
    r->in_order = repeats_get(&packed, 1) != 0;
    while (packed.len > 0) {
        struct ticket t = ticket_of_number(repeats_get(&packed, 8));
        session_repeats_add(r, t, (uint32_t)repeats_get(&packed, 4));
        struct repeat *e = &r->each[r->len - 1];
        e->again = (uint32_t)repeats_get(&packed, 4);
        e->taken = repeats_get(&packed, 1) != 0;
        e->anew = repeats_get(&packed, 1) != 0;
    }
    r->next %= r->len;
    session_repeats_set(s, r);
}
