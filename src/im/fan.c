#include "im/fan.h"
#include "home/worker.h"
#include "im/feature.h"
#include "im/frames.h"
#include "im/presence.h"
#include "im/router.h"

/* The buffer holds one address more. */
enum { FAN_FRAME_BYTES = 32 * 1024, FAN_BYTES_MAX = 64 * 1024 };

static fan_fn *fans[FEATURES_MAX + 1];

void fans_set(const struct feature *const *list)
{
    unsigned n = 0;
    for (; *list != NULL; list++)
        if ((*list)->fan != NULL)
            fans[n++] = (*list)->fan;
    fans[n] = NULL;
}

static void arrive(struct worker *w, slice bare, uint32_t number, struct stanza *st, slice tag)
{
    if (tag.len == 0) {
        presence_arrive(w, bare, st);
        return;
    }
    for (fan_fn **fn = fans; *fn != NULL; fn++)
        (*fn)(w, bare, number, st, tag);
}

static void flush(struct fan *f, unsigned worker)
{
    struct buf *b = &f->packed[worker];
    frame_send_fan(f->worker, worker, f->st, f->tag, buf_slice(b));
    buf_clear(b);
}

static void pack(struct fan *f, unsigned worker, slice bare, uint32_t number)
{
    struct buf *b = &f->packed[worker];
    uint16_t len = (uint16_t)bare.len;
    if (!f->used[worker])
        buf_init(b, FAN_BYTES_MAX);
    f->used[worker] = true;
    buf_append(b, &number, sizeof number);
    buf_append(b, &len, sizeof len);
    buf_add(b, bare);
    if (b->len >= FAN_FRAME_BYTES)
        flush(f, worker);
}

bool fan_is_local(const struct node *n, slice bare)
{
    slice local, domain;
    return slice_cut(bare, '@', &local, &domain) && node_serves(n, domain);
}

static void add(struct fan *f, slice jid, slice bare, uint32_t number)
{
    struct worker *w = f->worker;
    uint32_t node;
    unsigned worker = node_home(w->node, bare, &node);
    if (node != w->node->id || !fan_is_local(w->node, bare)) {
        if (f->tag.len == 0)
            route_send(w, stanza_readdress(f->st, (slice){ 0 }, jid));
    } else if (worker == w->index) {
        arrive(w, jid, number, f->st, f->tag);
    } else {
        pack(f, worker, jid, number);
    }
}

void fan_add(struct fan *f, slice bare) { add(f, bare, bare, 0); }
void fan_add_with(struct fan *f, slice bare, uint32_t number) { add(f, bare, bare, number); }
void fan_add_jid(struct fan *f, slice jid) { add(f, jid, jid_bare_of(jid), 0); }

void fan_begin(struct fan *f, struct worker *w, struct stanza *st, slice tag)
{
    f->worker = w;
    f->st = st;
    f->tag = tag;
    memset(f->used, 0, w->node->worker_count * sizeof f->used[0]);
}

void fan_end(struct fan *f)
{
    for (unsigned i = 0; i < f->worker->node->worker_count; i++) {
        if (!f->used[i])
            continue;
        if (f->packed[i].len > 0)
            flush(f, i);
        buf_fini(&f->packed[i]);
    }
}

void fan_one(struct worker *w, struct stanza *st, slice tag, slice jid)
{
    struct fan f;
    fan_begin(&f, w, st, tag);
    fan_add_jid(&f, jid);
    fan_end(&f);
}

void fan_arrived(struct worker *w, struct stanza *st, slice tag, slice packed)
{
    uint32_t number;
    uint16_t len;
    while (packed.len >= sizeof number + sizeof len) {
        memcpy(&number, packed.ptr, sizeof number);
        memcpy(&len, packed.ptr + sizeof number, sizeof len);
        packed = slice_from(packed, sizeof number + sizeof len);
        slice bare = { packed.ptr, len < packed.len ? len : packed.len };
        packed = slice_from(packed, len);
        arrive(w, bare, number, st, tag);
    }
}
