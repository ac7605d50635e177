/* origin: where a stanza came from, for the ticket that its acknowledgement waits for (architecture
 * §6): the session, and the stanza's inbound count there.
 *
 * The id of a session begins with the slot of its account (home/node.h); the rest is drawn. So it
 * tells the way to the home of the session wherever that is now, also after a move, and no worker
 * or node is in it. What else gets tickets (home/ticket.h) has ids of the same form with one bit
 * that no session has. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct origin {
    uint64_t session; /* 0: nobody waits */
    uint32_t count;
};
enum { TICKET_REPORTS_MAX = 65535 }; /* that one stanza may wait for: 16 bits count them */
#define ORIGIN_NONE ((struct origin){ 0 })

enum { ORIGIN_SLOT_SHIFT = 48, ORIGIN_JOIN_SHIFT = 47 };

static inline unsigned origin_slot(uint64_t session)
{
    return (unsigned)(session >> ORIGIN_SLOT_SHIFT);
}
static inline bool origin_is_join(struct origin o) /* of a ticket_join() */
{
    return (o.session >> ORIGIN_JOIN_SHIFT & 1) != 0;
}
