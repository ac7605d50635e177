/* link_private: the messages of im/link.h, which link.c sends and link_up.c runs. */
#pragma once
#include "home/here.h"
#include "im/link.h"

/* Ids of sessions and streams have the number of their worker in the low bits. */
static inline bool link_id_is_of(uint64_t id, const struct worker *w)
{
    return (id & 0xffff) == worker_index(w);
}

/* A bind request, to the home of the account. */
struct bind {
    struct bind_request req; /* without a local stream */
    slice device;            /* of DEVICE_ID_LEN bytes, or none */
};

/* From a stream to the home of its session. */
struct up_sent {
    uint64_t session, stream;
    uint8_t kind; /* enum up_kind */
    uint32_t num;
    struct stanza *st;
};
