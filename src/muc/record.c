/* What is kept of a room's messages, and the last of them for those who enter (XEP-0045 §7.2.14).
 */
#include "base/arena.h"
#include "base/setting.h"
#include "im/server.h"
#include "im/worker.h"
#include "muc/private.h"
#include "muc/settings.h"
#include "xmpp/datetime.h"
#include "xmpp/ns.h"

bool room_records(const struct room *r)
{
    return r->stored && r->config.archive && setting_bool(&muc_archive);
}

/* The subject is a row of the room; what stands behind it on the room's lane is committed later. */
static void subject_stored(void *arg, enum store_result result, const struct store_batch *b)
{
    struct room *r = arg;
    (void)result;
    (void)b;
    room_unpin(r);
}

enum routed room_record(struct room *r, slice sender, struct stanza *st, uint64_t id,
                        struct origin origin)
{
    if (!r->stored)
        return ROUTED;
    if (st == r->subject) {
        room_pin(r);
        room_store_subject(r, subject_stored, r);
    }
    if (id == 0 || !room_records(r))
        return ROUTED;
    /* with im.durable-ack off acknowledged means relayed */
    const struct origin waits = setting_bool(&im_durable_ack) ? origin : ORIGIN_NONE;
    const struct room_record record = { st, id, sender, waits };
    return room_archive_put(&r->archive, &record);
}

static void limit_number(const struct elem *history, const char *name, uint32_t *limit)
{
    int64_t n;
    if (slice_int(elem_attr_raw(history, name), &n) && n >= 0 && n < *limit)
        *limit = (uint32_t)n;
}

struct reader {
    struct room *room;
    const struct seat *seat;
};

static void send_one(struct stanza *st, void *arg)
{
    const struct reader *to = arg;
    audience_tell(&to->room->audience, to->seat->jid, st);
}

void room_send_history(struct room *r, const struct seat *s, const struct elem *x)
{
    struct arena *tmp = loop_scratch(r->worker->loop);
    struct history_limit limit = { .stanzas = room_history(&r->config), .chars = UINT32_MAX };
    struct elem history;
    struct reader to = { r, s };
    uint32_t seconds = UINT32_MAX;
    int64_t since_us;

    if (x != NULL && elem_child(x, "history", NS_MUC, &history)) {
        slice since = elem_attr(&history, "since", tmp);
        limit.stanzas = elem_attr_raw(&history, "maxstanzas").ptr != NULL ||
                                elem_attr_raw(&history, "seconds").ptr != NULL || since.len > 0
                            ? room_history_max(&r->config)
                            : limit.stanzas;
        limit_number(&history, "maxstanzas", &limit.stanzas);
        limit_number(&history, "maxchars", &limit.chars);
        limit_number(&history, "seconds", &seconds);
        if (since.len > 0 && datetime_parse(since, &since_us) && since_us > 0)
            limit.since_us = (uint64_t)since_us;
    }
    uint64_t now = loop_wall_us(r->worker->loop);
    if (seconds != UINT32_MAX && now - seconds * 1000000ull > limit.since_us)
        limit.since_us = now - seconds * 1000000ull;
    room_history_each(&r->history, r->jid, &limit, send_one, &to);
}
