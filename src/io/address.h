/* address: an IP address with a port, or the path of a Unix socket, as a value and as text. */
#pragma once
#include "base/slice.h"
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

/* Without room for a path: each connection has one. Of a Unix socket it has the family alone. */
union ip_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

enum { ADDRESS_TEXT_BYTES = INET6_ADDRSTRLEN + 8 };

/* "[::1]:5222", "127.0.0.1:5222", "unix:/run/x.sock". false: none of these. */
bool address_parse(slice text, union address *out);
/* Of IPv4 or IPv6, and IPv4 in IPv6 as IPv4: one form for each address. Others become AF_UNSPEC. */
void address_set(union address *out, const struct sockaddr *from);
/* As bind() and connect() want it; 0: of no family. */
socklen_t address_bytes(const union address *a);
int address_port(const union address *a); /* 0: it has none */
/* In the form that address_parse() reads; a path is "local", no family "none". */
void address_print(const union address *a, char out[ADDRESS_TEXT_BYTES]);
/* It leads to this machine or its link: loopback, link-local (RFC 3927, RFC 4291 §2.5.6), of no
 * host at all ("0.0.0.0", "::"), or a Unix socket. */
bool address_is_local(const union address *a);
/* An interface of this machine has it now. If that cannot be found out, it is so. */
bool address_is_own(const union address *a);
