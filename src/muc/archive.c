#include "muc/archive.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "im/node.h"
#include "im/worker.h"
#include "xmpp/ns.h"

enum { HISTORY_MAX = 100 };
struct history_item {
    struct stanza *st;
    uint64_t id;
};

void room_archive_init(struct room_archive *a, struct worker *w, int64_t owner, slice jid)
{
    *a = (struct room_archive){ .worker = w, .owner = owner, .jid = jid };
}
void room_archive_fini(struct room_archive *a) { (void)a; }
uint64_t room_archive_mint(struct room_archive *a)
{
    uint64_t now = loop_wall_us(a->worker->loop);
    a->last_id = now > a->last_id ? now : a->last_id + 1;
    return a->last_id;
}
bool room_archive_full(const struct room_archive *a)
{
    (void)a;
    return false;
}
enum routed room_archive_put(struct room_archive *a, const struct room_record *m)
{
    (void)a;
    (void)m;
    return ROUTED;
}
void room_archive_remove(struct worker *w, int64_t owner)
{
    (void)w;
    (void)owner;
}
void room_history_init(struct room_history *h) { *h = (struct room_history){ 0 }; }
void room_history_fini(struct room_history *h)
{
    for (uint32_t i = 0; i < h->len; i++)
        stanza_unref(&h->ring[(h->head + i) % h->cap].st);
    mem_free(&h->ring);
    *h = (struct room_history){ 0 };
}
void room_history_add(struct room_history *h, struct stanza *st, uint64_t id)
{
    if (h->ring == NULL) {
        h->ring = mem_zalloc(HISTORY_MAX * sizeof *h->ring);
        h->cap = HISTORY_MAX;
    }
    if (h->len == h->cap) {
        stanza_unref(&h->ring[h->head].st);
        h->head = (h->head + 1) % h->cap;
        h->len--;
    }
    h->ring[(h->head + h->len++) % h->cap] = (struct history_item){ stanza_ref(st), id };
}
void room_history_load(struct room_history *h, struct room_archive *a, room_history_fn *done,
                       void *arg)
{
    (void)h;
    done(a, arg);
}
void room_history_each(struct room_history *h, slice room, const struct history_limit *limit,
                       room_history_each_fn *fn, void *arg)
{
    uint32_t n = h->len < limit->stanzas ? h->len : limit->stanzas;
    for (uint32_t i = h->len - n; i < h->len; i++) {
        const struct history_item *it = &h->ring[(h->head + i) % h->cap];
        char stamp[CLOCK_STAMP_LEN];
        struct buf b;
        if (it->id < limit->since_us)
            continue;
        clock_stamp(stamp, it->id);
        buf_init(&b, 8192);
        buf_lit(&b, "<delay xmlns='" NS_DELAY "' from='");
        xml_escape(&b, room);
        buf_printf(&b, "' stamp='%s'/>", stamp);
        struct stanza *st = stanza_append(it->st, (slice){ "", 0 }, buf_slice(&b));
        fn(st, arg);
        stanza_unref(&st);
        buf_fini(&b);
    }
}
