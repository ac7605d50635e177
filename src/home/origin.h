/* origin: where a stanza came from, for the ticket that its acknowledgement waits for (architecture
 * §6): session id (unique on its node, the worker in its low 16 bits) and the stanza's inbound
 * count. */
#pragma once
#include <stdint.h>

struct origin {
    uint64_t session; /* 0: nobody waits */
    uint32_t node;
    uint32_t count;
};
enum { TICKET_REPORTS_MAX = 65535 }; /* that one stanza may wait for: 16 bits count them */
#define ORIGIN_NONE ((struct origin){ 0 })
