/* datagram, inside: for its test. */
#pragma once
#include "base/list.h"
#include "io/datagram.h"
#include "io/loop_private.h"

struct datagram {
    struct loop_source source;
    struct loop *loop;
    struct datagram_options options;
    sa_family_t family; /* AF_INET6 takes both */
    int port;
    struct list waiting; /* struct outgoing */
    size_t waiting_bytes;
    bool blocked; /* EPOLLOUT is awaited */
    bool running; /* in received() */
    bool closed;  /* meanwhile */
    char *buffer; /* DATAGRAM_BATCH of options.bytes_max */
};

void datagram_block(struct datagram *d); /* the socket is full */
