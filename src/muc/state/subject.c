#include "muc/state/subject.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "home/router.h"
#include "home/ticket.h"
#include "io/timer.h"
#include "muc/archive/history.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "muc/state/store.h"
#include "store/store.h"
#include "talk/message.h"
#include "xmpp/archive_id.h"

enum { SUBJECT_BYTES_MAX = 1 << 20, SUBJECTS_MAX = 32, RETRY_MS = 1000 };

/* Pins its room. */
struct room_subject {
    struct room *room;
    int64_t owner;
    struct timer timer;
    bool writing, again; /* again: it is another since it went to the store */
    uint32_t count, written;
    struct origin waits[SUBJECTS_MAX]; /* the first `written` for what is with the store */
};

static void subject_put(struct room_subject *d);

static void subject_timer_due(struct timer *t, struct loop *loop)
{
    (void)loop;
    subject_put(CONTAINER_OF(t, struct room_subject, timer));
}

static void subject_tell(struct room_subject *d, uint32_t count)
{
    ensure(count <= d->count && d->count <= SUBJECTS_MAX);
    for (uint32_t i = 0; i < count; i++)
        ticket_done(d->room->worker, d->waits[i]);
    memmove(d->waits, d->waits + count, (d->count - count) * sizeof *d->waits);
    d->count -= count;
}

static void subject_end(struct room_subject *d)
{
    struct room *r = d->room;
    ensure(room_is_pinned(r));
    subject_tell(d, d->count);
    if (r->subject_due == d)
        r->subject_due = NULL;
    mem_free(&d);
    room_unpin(r);
}

static void subject_written(void *arg, enum store_result result, const struct store_batch *b)
{
    struct room_subject *d = arg;
    struct room *r = d->room;
    bool here = r->subject_due == d && room_is(r, d->owner) && r->stored;
    (void)b;
    d->writing = false;
    if (!here || room_is_stopping(r)) {
        subject_end(d);
    } else if (result != STORE_OK && result != STORE_CONFLICT) {
        d->timer.fn = subject_timer_due;
        timer_set(room_loop(r), &d->timer, RETRY_MS);
    } else {
        subject_tell(d, d->written);
        if (d->again)
            subject_put(d);
        else
            subject_end(d);
    }
}

static void subject_put(struct room_subject *d)
{
    struct room *r = d->room;
    struct buf text;
    struct store_batch *b = store_write(room_store(r), (uint64_t)r->id);
    ensure(!d->writing && room_is_pinned(r));
    buf_init(&text, SUBJECT_BYTES_MAX);
    if (r->subject != NULL)
        stanza_store(&text, r->subject);
    STORE_ADD(b, &room_subject_put, STORE_ANY_ROWS, SV_I(r->id),
              SV_T(text.len > 0 ? buf_fit(&text) : SLICE("")));
    buf_fini(&text);
    d->writing = true;
    d->again = false;
    d->written = d->count;
    store_submit(b, room_loop(r), 0, subject_written, d);
}

/* The room stays until it is stored: else it might be read again without it. */
static enum routed store(struct room *r, struct origin origin)
{
    struct room_subject *d = r->subject_due;
    bool waits = origin.session != 0 && setting_bool(&im_durable_ack);
    ensure(r->stored && (d == NULL || d->owner == r->id));
    if (d == NULL) {
        d = r->subject_due = mem_new(struct room_subject);
        d->room = r;
        d->owner = r->id;
        room_pin(r);
    }
    waits = waits && d->count < SUBJECTS_MAX;
    if (waits)
        d->waits[d->count++] = origin;
    if (d->writing)
        d->again = true;
    else if (!timer_is_set(&d->timer))
        subject_put(d);
    return waits ? ROUTE_PENDING : ROUTED;
}

bool room_subject_waits(const struct room *r)
{
    return r->subject_due != NULL && r->subject_due->count == SUBJECTS_MAX;
}

enum routed room_subject_set(struct room *r, struct stanza *st, struct origin origin)
{
    const struct room_post post = { .st = st, .at_us = loop_wall_us(room_loop(r)) };
    ensure(room_here(r));
    stanza_unref(&r->subject);
    r->subject = room_stamped(&post, r->jid);
    r->beside = true;
    return r->stored ? store(r, origin) : ROUTED;
}

void room_subject_store(struct room *r)
{
    if (r->subject != NULL)
        (void)store(r, ORIGIN_NONE);
}

/* The id that the room gave it (XEP-0359). */
static bool is_numbered(const struct room *r, uint64_t id)
{
    struct arena *tmp = room_scratch(r);
    struct elem e;
    uint64_t is;
    return stanza_child(r->subject, KNOWN_STANZA_ID, &e) &&
           slice_eq(elem_attr(&e, "by", tmp), r->jid) &&
           archive_id_read(elem_attr(&e, "id", tmp), &is) && is == id;
}

bool room_subject_bury(struct room *r, uint64_t id, slice occupant)
{
    struct arena *tmp = room_scratch(r);
    struct elem e;
    if (r->subject == NULL || !is_numbered(r, id))
        return false;
    if (occupant.len > 0 && !(stanza_child(r->subject, KNOWN_OCCUPANT_ID, &e) &&
                              slice_eq(elem_attr(&e, "id", tmp), occupant)))
        return false;
    stanza_unref(&r->subject);
    r->beside = true;
    if (r->stored)
        (void)store(r, ORIGIN_NONE);
    return true;
}

void room_subject_drop(struct room *r)
{
    struct room_subject *d = r->subject_due;
    r->subject_due = NULL;
    if (d == NULL || (d->writing && !room_is_stopping(r))) /* its completion ends it */
        return;
    timer_cancel(&d->timer);
    if (!room_is_stopping(r))
        subject_tell(d, d->count);
    mem_free(&d);
    if (!room_is_stopping(r))
        room_unpin(r);
}

/* §7.2.14: a client learns from it that it has everything; it is sent even if there is none. */
void room_send_subject(struct room *r, const struct seat *s)
{
    struct stanza *st = r->subject != NULL
                            ? stanza_ref(r->subject)
                            : stanza_make(STANZA_MESSAGE, TYPE_GROUPCHAT, r->jid, (slice){ "", 0 },
                                          (slice){ 0 }, SLICE("<subject/>"));
    audience_tell(&r->audience, s->jid, st);
    stanza_unref(&st);
}
