/* router: brings a stanza to the home of its addressee: a call, or a frame where the home is
 * another worker or node. Order between two homes is that of the calls (architecture §4). */
#pragma once
#include "home/origin.h"
#include "xmpp/stanza.h"

struct message_row;
struct session;
struct worker;

/* How many times ticket_done(origin) will follow. */
enum routed {
    ROUTED, /* handled as far as its acknowledgement is concerned (architecture §6) */
    ROUTE_PENDING,
    ROUTE_PENDING_TWO /* this node and another commit */
};

/* Takes over the reference. `to` must be set. archive_id: the sender's own id for it (0: none),
 * with the sender's account id. */
enum routed route(struct worker *w, struct stanza *st, struct origin origin, uint64_t archive_id,
                  int64_t sender_id);
/* The same at the home of the addressee: for what comes in a frame. */
enum routed route_arrived(struct worker *w, struct stanza *st, struct origin origin,
                          uint64_t archive_id, int64_t sender_id);
/* A stanza of the server or of an account on its behalf: nobody waits. */
void route_send(struct worker *w, struct stanza *st);
/* Sends the error reply for st to its sender, if there may be one. Does not take over st. */
void route_error(struct worker *w, const struct stanza *st, enum stanza_error e, slice text);

extern const struct message_row route_message; /* a stanza, to the home of its addressee */
