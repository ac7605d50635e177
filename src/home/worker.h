/* worker: one loop and all that has its home there. Confined to its thread. What runs on it sees
 * home/here.h; this is for home/ itself and for those that make and end workers.
 */
#pragma once
#include "auth/credentials.h"
#include "base/map.h"
#include "home/here.h"

struct mesh_port;
struct slot_move;

struct worker {
    union {
        struct worker_head head;
        struct {
            WORKER_HEAD;
        };
    };
    struct mesh_port *port;
    struct auth auth;
    struct map asks;         /* of home/ask.c: requests of the server that wait for answers */
    struct map joins;        /* of home/ticket.c: by id */
    unsigned ticket_slot;    /* of home/ticket.c: where the search for a slot goes on */
    struct map questions;    /* of home/question.c: by id (4 bytes) */
    struct map remotes;      /* of home/remote.c: domains of components */
    struct map expected;     /* of home/remote.c: slices, domains that components may serve */
    struct slot_move *moves; /* of home/slots.c: of slots that come or go; NULL: none */
    uint32_t question;       /* the last id */
    uint64_t delivered;      /* messages of other workers of this process */
    uint64_t next_id;        /* of home/connection.h, home/ticket.c */
    uint32_t settings_seen;  /* setting_changes() of which this worker was told */
};
