/* abroad: occupants of other servers leave when their server is lost (im/abroad.h), with status 333
 * (XEP-0045 §18.1). When it is back after a failure, it may have forgotten where its users are: all
 * its occupants are sent an empty message, and those that do not exist any more leave as well. */
#include "im/abroad.h"
#include "base/ensure.h"
#include "home/router.h"
#include "im/feature.h"
#include "muc/muc.h"
#include "muc/parts.h"
#include "muc/people/occupant.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/rooms.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"

/* A message without content. The server of a session that does not exist answers with an error (RFC
 * 6121 §8.5.3.2.1), others do not answer. An error to a ping could be that of a client. */
#define NOTHING "<no-store xmlns='" NS_HINTS "'/>"

static slice seat_domain(const struct seat *s) { return jid_split(s->jid).domain; }
static slice room_domain(const struct room *r) { return jid_split(r->jid).domain; }

struct lost {
    slice domain, local; /* local empty: all rooms */
};

static void abroad_seated(struct room *r, struct seat *s, bool back)
{
    (void)back;
    ensure(room_here(r));
    if (list_linked(&s->away))
        abroad_hold(r->worker, seat_domain(s), room_domain(r));
}

static void abroad_leaves(struct room *r, const struct seat *s, bool ends)
{
    (void)ends;
    if (list_linked(&s->away))
        abroad_release(r->worker, seat_domain(s), room_domain(r));
}

static void room_lost(struct room *r, void *arg)
{
    const struct lost *l = arg;
    if (l->local.len > 0 && !slice_eq(l->local, room_domain(r)))
        return;
    LIST_EACH (it, &r->away) {
        struct seat *s = CONTAINER_OF(it, struct seat, away);
        if (slice_eq(seat_domain(s), l->domain))
            room_seat_gone(r, s);
    }
}

static void room_back(struct room *r, void *arg)
{
    const slice *domain = arg;
    LIST_EACH (it, &r->away) {
        struct seat *s = CONTAINER_OF(it, struct seat, away);
        if (slice_eq(seat_domain(s), *domain))
            route_send(r->worker, stanza_make(STANZA_MESSAGE, TYPE_GROUPCHAT, r->jid, s->jid,
                                              (slice){ 0 }, SLICE(NOTHING)));
    }
}

static void rooms_domain_lost(struct worker *w, slice domain, slice local)
{
    if (abroad_is_held(w, domain))
        rooms_each(w, room_lost, &(struct lost){ domain, local });
}

static void rooms_domain_back(struct worker *w, slice domain)
{
    if (abroad_is_held(w, domain))
        rooms_each(w, room_back, &domain);
}

const struct room_part abroad_part = {
    .name = "abroad",
    .seated = abroad_seated,
    .leaves = abroad_leaves,
};

const struct feature muc_abroad_feature = {
    .name = "muc_abroad",
    .parts = PART_ROOM,
    .worker.domain_lost = rooms_domain_lost,
    .worker.domain_back = rooms_domain_back,
};
