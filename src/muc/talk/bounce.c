#include "muc/talk/bounce.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "muc/people/occupant.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "remote/foreign.h"
#include "remote/remote_domains.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"
#include "xmpp/stanza_error.h"

bool room_bounce_is_gone(const struct room *r, const struct stanza *st)
{
    switch (stanza_condition(st)) {
    case SE_GONE:
    case SE_ITEM_NOT_FOUND:
    case SE_RECIPIENT_UNAVAILABLE:
    case SE_REDIRECT:
    case SE_JID_MALFORMED:
        return true;
    case SE_REMOTE_SERVER_NOT_FOUND:
    case SE_REMOTE_SERVER_TIMEOUT: /* this server says so of one that it does not reach */
        return !foreign_is(r->worker, jid_split(stanza_from(st)).domain);
    default:
        return false;
    }
}

/* Rings: errors of seats here come at once, those of others may take minutes. */
struct room_privates {
    struct ring {
        uint64_t of[PRIVATES_MAX];
        uint32_t next;
    } here, away;
};

static struct ring *privates_ring(struct room_privates *p, const struct seat *s)
{
    return list_linked(&s->away) ? &p->away : &p->here;
}

static uint64_t private_of(slice jid, const struct stanza *st)
{
    return hash_keyed(stanza_id(st)) ^ hash_keyed(jid);
}

static bool privates_have(const struct ring *ring, uint64_t of)
{
    for (unsigned i = 0; i < PRIVATES_MAX; i++)
        if (ring->of[i] == of)
            return true;
    return false;
}

void room_private_sent(struct room *r, const struct seat *to, const struct stanza *st)
{
    if (r->privates == NULL)
        r->privates = mem_new(struct room_privates);
    struct ring *ring = privates_ring(r->privates, to);
    ring->of[ring->next++ % PRIVATES_MAX] = private_of(to->jid, st);
}

bool room_private_back(const struct room *r, const struct seat *s, const struct stanza *error)
{
    return r->privates != NULL && error->kind == STANZA_MESSAGE &&
           privates_have(privates_ring(r->privates, s), private_of(s->jid, error));
}

bool room_private_late(const struct room *r, const struct stanza *error)
{
    return r->privates != NULL && error->kind == STANZA_MESSAGE &&
           privates_have(&r->privates->away, private_of(stanza_from(error), error));
}

/* This server could not send it in time, did not find the other one, or its queue was full. */
static bool is_unsent_presence(const struct stanza *st)
{
    enum stanza_error error = stanza_condition(st);
    return st->kind == STANZA_PRESENCE && !stanza_to_is_bare(st) &&
           (error == SE_RESOURCE_CONSTRAINT || error == SE_REMOTE_SERVER_TIMEOUT ||
            error == SE_REMOTE_SERVER_NOT_FOUND);
}

/* The server of a session that does not exist answers with an error (RFC 6121 §8.5.3.2.1), others
 * do not answer. An error to a ping could be that of a client. */
#define NOTHING "<no-store xmlns='" NS_HINTS "'/>"
static const slice ask_id = SLICE_INIT("still there?");

void room_ask_remote(const struct room *r, const struct seat *s)
{
    ensure(list_linked(&s->away));
    route_send(r->worker,
               stanza_make(STANZA_MESSAGE, TYPE_GROUPCHAT, r->jid, s->jid, ask_id, SLICE(NOTHING)));
}

static bool is_unsent_question(const struct room *r, const struct stanza *error)
{
    return error->kind == STANZA_MESSAGE && slice_eq(stanza_id(error), ask_id) &&
           remote_domain_is_unsent(r->worker, error);
}

/* service-unavailable is also what an account says to those whom it blocks (XEP-0191 §3.4), so of a
 * session of this node, whose end is told by itself, it says nothing; nor in answer to a private
 * message, which comes from the nickname that is blocked. */
void room_bounced(struct room *r, struct seat *s, const struct stanza *st)
{
    if (s == NULL)
        return;
    bool away = stanza_condition(st) == SE_SERVICE_UNAVAILABLE && list_linked(&s->away) &&
                !room_private_back(r, s, st);
    if (away || room_bounce_is_gone(r, st))
        room_seat_gone(r, s);
    else if (list_linked(&s->away) && is_unsent_presence(st))
        ROOM_EMIT(unsent, r, s, slice_from(stanza_to(st), st->to_bare_len + 1u),
                  st->refused_kind == REFUSED_UNAVAILABLE);
    else if (list_linked(&s->away) && is_unsent_question(r, st))
        ROOM_EMIT(unsent, r, s, (slice){ 0 }, false);
}
