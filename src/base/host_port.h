/* host_port: hosts and ports as operators write them in settings and commands. Pure. */
#pragma once
#include "base/slice.h"
#include <stdint.h>

/* 1 to 65535, without a zero before it. */
bool host_port_number(slice digits, uint16_t *port);
/* A name of a host: labels of letters, digits, "-" and "_". Its last label is no number, or it
 * would be an address (RFC 1123 §2.1); one dot may follow it. */
bool host_port_is_name(slice text);
/* The last label is a number: such as "192.0.2.1", also if it is no address. */
bool host_port_is_number(slice text);
/* Without brackets. */
bool host_port_is_ipv4(slice text);
bool host_port_is_ipv6(slice text);
/* "relay.test", "192.0.2.1" and "[2001:db8::1]", with :PORT or without. host: without brackets.
 * port stays as it is if there is none. */
bool host_port_read(slice text, slice *host, uint16_t *port);
