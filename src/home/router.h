/* router: brings a stanza to the home of its addressee: a call, or a frame where the home is
 * another worker or node. Order between two homes is that of the calls (architecture §4). */
#pragma once
#include "home/origin.h"
#include "xmpp/stanza.h"

struct host;
struct message_row;
struct worker;

/* How many times ticket_done(origin) will follow. */
enum routed {
    ROUTED, /* handled as far as its acknowledgement is concerned (architecture §6) */
    ROUTE_PENDING,
    ROUTE_PENDING_TWO /* two databases commit, or this node and a service */
};

/* How the home of a sender keeps a message that goes elsewhere (architecture §7). */
enum sent_how {
    SENT_KEPT,    /* in the sender's archive */
    SENT_PENDING, /* also until the server of its addressee has confirmed it */
    SENT_UNSHOWN  /* only until then: the sender does not archive it */
};

/* What stands behind the addresses of a node: of the core, which is above. In struct node, set
 * before its workers run. Those that take a stanza take over the reference. */
struct destinations {
    /* An account, at its home. */
    enum routed (*account)(struct worker *w, struct stanza *st, struct origin origin,
                           uint64_t sender_entry, int64_t sender_id);
    /* A domain of ours: any worker. */
    enum routed (*server)(struct worker *w, struct stanza *st, struct origin origin);
    /* A service (home/host.h), at the home of the address. */
    enum routed (*service)(struct worker *w, const struct host *h, struct stanza *st,
                           struct origin origin);
    /* Presence of a fan (home/fan.h), at the home of one of those that it goes to. Borrows. */
    void (*presence)(struct worker *w, slice jid, struct stanza *st);
    /* Keeps the sender's entry of a message that goes elsewhere; ticket_done(origin) when it is
     * committed. Borrows. */
    void (*keep_sent)(struct worker *w, struct stanza *st, struct origin origin, uint64_t entry,
                      int64_t sender_id, enum sent_how how);
    /* Whether one more message of this account may wait for a foreign domain. Borrows. */
    bool (*sent_has_room)(struct worker *w, const struct stanza *st, int64_t sender_id);
    /* A stanza of a session whose home is here is handled. false: there is no such session. */
    bool (*ticket)(struct worker *w, struct origin origin);
};

/* Takes over the reference. `to` must be set. archive_id: the sender's own id for it (0: none),
 * with the sender's account id. */
enum routed route(struct worker *w, struct stanza *st, struct origin origin, uint64_t archive_id,
                  int64_t sender_id);
/* Whether it is for another server, by an edge: that has it stored until it is confirmed, if it
 * lets it go. */
bool route_is_foreign(struct worker *w, const struct stanza *st);
/* route() for one of these whose sender does not archive it: the id is for the time until then. */
enum routed route_unshown(struct worker *w, struct stanza *st, struct origin origin, uint64_t id,
                          int64_t sender_id);
/* Whether the home of the addressee keeps what concerns the archives of both sides. */
bool route_keeps_both(struct worker *w, const struct stanza *st);
/* route() at the home of the addressee: for what comes in a frame. */
enum routed route_arrived(struct worker *w, struct stanza *st, struct origin origin,
                          uint64_t archive_id, int64_t sender_id);
/* A stanza of the server or of an account on its behalf: nobody waits. */
void route_send(struct worker *w, struct stanza *st);
/* Sends the error reply for st to its sender, if there may be one. Does not take over st. */
void route_error(struct worker *w, const struct stanza *st, enum stanza_error e, slice text);

extern const struct message_row route_message; /* a stanza, to the home of its addressee */
