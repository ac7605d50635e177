/* What is kept of a room's messages, and the last of them for those who enter (XEP-0045 §7.2.14).
 */
#include "base/setting.h"
#include "im/server.h"
#include "im/worker.h"
#include "muc/private.h"

bool room_records(const struct room *r) { return r->stored && room_logs(&r->config); }

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
    const struct room_post post = { st, sender, id, loop_wall_us(r->worker->loop) };
    return room_archive_put(&r->archive, &post, waits);
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
    struct reader to = { r, s };
    struct history_ask ask = { .stanzas = UINT32_MAX, .chars = UINT64_MAX };
    if (x != NULL)
        history_ask_read(&ask, x, loop_wall_us(r->worker->loop));
    room_history_each(&r->history, &ask,
                      ask.many ? room_history_max(&r->config) : room_history(&r->config), send_one,
                      &to);
}
