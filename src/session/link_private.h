/* link_private: the messages of session/link.h, which link.c sends and link_up.c runs. */
#pragma once
#include "session/link.h"

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
    uint32_t node; /* of the stream */
};
