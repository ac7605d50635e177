/* ip: the IP address of a client, as 16 bytes: IPv4 as IPv4-mapped IPv6 (RFC 4291 §2.5.5.2). Zeros:
 * it is not known. A Unix socket has ff00::, which no client has. */
#pragma once
#include "base/slice.h"
#include <stdint.h>

struct ip {
    uint8_t bytes[16];
};
struct ip_text {
    char text[46];
};

/* IPv4 or IPv6 in numbers, or "local"; anything else becomes zeros. */
struct ip ip_parse(slice text);
/* For people: "192.0.2.1", "2001:db8::1", "local"; empty for zeros. */
struct ip_text ip_print(const struct ip *ip);
