#include "home/fan.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "home/here.h"
#include "home/jids.h"
#include "home/message.h"
#include "home/router.h"
#include "home/slots.h"
#include <limits.h>

/* The buffer holds one address more. */
enum { FAN_FRAME_BYTES = 32 * 1024, FAN_BYTES_MAX = 64 * 1024 };

static fan_fn *fan_of_tag[UCHAR_MAX + 1]; /* by the first character of a tag */

void fans_clear(void) { memset(fan_of_tag, 0, sizeof fan_of_tag); }

void fans_add(const struct fan_tag *rows)
{
    for (const struct fan_tag *t = rows; t->run != NULL; t++) {
        ensure(t->first != '\0');
        fan_of_tag[(unsigned char)t->first] = t->run;
    }
}

static void arrive(struct worker *w, slice bare, uint32_t number, struct stanza *st, slice tag)
{
    if (tag.len == 0) {
        worker_node(w)->destinations->presence(w, bare, st);
        return;
    }
    fan_fn *run = fan_of_tag[(unsigned char)tag.ptr[0]];
    if (run != NULL)
        run(w, bare, number, st, tag);
}

struct fan_sent {
    struct stanza *st;
    slice tag, packed; /* home/jids.h */
};

static void fan_flush(struct fan *f, uint32_t node, unsigned worker, struct buf *b)
{
    struct fan_sent sent = { stanza_ref(f->st), f->tag, buf_slice(b) };
    home_send_to(f->worker, node, worker, &fan_message, &sent);
    buf_clear(b);
}

static void fan_pack(struct fan *f, unsigned worker, slice jid, uint32_t number)
{
    struct buf *b = &f->packed[worker];
    if (!f->used[worker])
        buf_init(b, FAN_BYTES_MAX);
    f->used[worker] = true;
    jids_add(b, jid, number);
    if (b->len >= FAN_FRAME_BYTES)
        fan_flush(f, 0, worker, b);
}

static struct fan_far *fan_far_of(struct fan *f, uint32_t node, unsigned worker)
{
    for (unsigned i = 0; i < f->fars; i++)
        if (f->far[i].node == node && f->far[i].worker == worker)
            return &f->far[i];
    f->far = mem_realloc(f->far, (f->fars + 1) * sizeof *f->far);
    struct fan_far *far = &f->far[f->fars++];
    ensure(node != worker_node(f->worker)->id);
    *far = (struct fan_far){ .node = node, .worker = worker };
    buf_init(&far->packed, FAN_BYTES_MAX);
    return far;
}

static void fan_pack_far(struct fan *f, uint32_t node, unsigned worker, slice jid, uint32_t number)
{
    struct fan_far *far = fan_far_of(f, node, worker);
    jids_add(&far->packed, jid, number);
    if (far->packed.len >= FAN_FRAME_BYTES)
        fan_flush(f, node, worker, &far->packed);
}

bool fan_is_local(const struct node *n, slice bare)
{
    slice local, domain;
    return slice_cut(bare, '@', &local, &domain) && node_serves(n, domain);
}

static void fan_add_one(struct fan *f, slice jid, slice bare, uint32_t number)
{
    struct worker *w = f->worker;
    uint32_t node;
    if (!fan_is_local(worker_node(w), bare)) {
        if (f->tag.len == 0)
            route_send(w, stanza_readdress(f->st, (slice){ 0 }, jid));
        return;
    }
    unsigned worker = node_home(worker_node(w), bare, &node);
    if (node != worker_node(w)->id) {
        fan_pack_far(f, node, worker, jid, number);
    } else if (worker == worker_index(w) && !slots_are_moving(w)) {
        arrive(w, jid, number, f->st, f->tag);
    } else {
        fan_pack(f, worker, jid, number);
    }
}

void fan_add(struct fan *f, slice bare) { fan_add_one(f, bare, bare, 0); }
void fan_add_with(struct fan *f, slice bare, uint32_t number)
{
    fan_add_one(f, bare, bare, number);
}
void fan_add_jid(struct fan *f, slice jid) { fan_add_one(f, jid, jid_bare_of(jid), 0); }

void fan_begin(struct fan *f, struct worker *w, struct stanza *st, slice tag)
{
    ensure((tag.len > 0 || st->kind == STANZA_PRESENCE) && tag.len <= FAN_TAG_MAX);
    f->worker = w;
    f->st = st;
    f->tag = tag;
    f->far = NULL;
    f->fars = 0;
    memset(f->used, 0, worker_node(w)->worker_count * sizeof f->used[0]);
}

void fan_end(struct fan *f)
{
    for (unsigned i = 0; i < worker_node(f->worker)->worker_count; i++) {
        if (!f->used[i])
            continue;
        if (f->packed[i].len > 0)
            fan_flush(f, 0, i, &f->packed[i]);
        buf_fini(&f->packed[i]);
    }
    for (unsigned i = 0; i < f->fars; i++) {
        struct fan_far *far = &f->far[i];
        if (far->packed.len > 0)
            fan_flush(f, far->node, far->worker, &far->packed);
        buf_fini(&far->packed);
    }
    mem_free(&f->far);
}

void fan_one(struct worker *w, struct stanza *st, slice tag, slice jid)
{
    struct fan f;
    fan_begin(&f, w, st, tag);
    fan_add_jid(&f, jid);
    fan_end(&f);
}

/* To one whose home is not here, or not yet: as a message for its slot (home/slots.h). */
static void fan_pass_on(struct worker *w, const struct fan_sent *sent, slice jid, uint32_t number)
{
    struct buf one;
    buf_init(&one, FAN_BYTES_MAX);
    jids_add(&one, jid, number);
    home_send(w, jid_bare_of(jid), &fan_message,
              &(struct fan_sent){ stanza_ref(sent->st), sent->tag, buf_fit(&one) });
    buf_fini(&one);
}

/* The slot of one address. */
static unsigned fan_slot(const void *message)
{
    const struct fan_sent *sent = message;
    slice jid, rest = sent->packed;
    uint32_t number;
    return jids_next(&rest, &jid, &number) && rest.len == 0 ? node_slot(jid_bare_of(jid))
                                                            : NODE_SLOTS;
}

static void fan_run(struct worker *w, void *message, const struct message_from *from)
{
    struct fan_sent *sent = message;
    uint32_t number;
    slice jid;
    bool moved =
        (from->node != worker_node(w)->id || slots_are_moving(w)) && fan_slot(sent) == NODE_SLOTS;
    while (jids_next(&sent->packed, &jid, &number)) {
        if (moved && slot_is_away(w, node_slot(jid_bare_of(jid))))
            fan_pass_on(w, sent, jid, number);
        else
            arrive(w, jid, number, sent->st, sent->tag);
    }
}

static const struct message_field fan_fields[] = {
    F_STANZA(struct fan_sent, st),
    F_BYTES(struct fan_sent, tag, FAN_TAG_MAX),
    F_JIDS(struct fan_sent, packed),
    { 0 },
};
const struct message_row fan_message = {
    .id = 8,
    .scope = MESSAGE_CLUSTER,
    .name = "fan",
    .size = sizeof(struct fan_sent),
    .fields = fan_fields,
    .run = fan_run,
    .slot = fan_slot,
};
