#include "base/host_port.h"
#include <arpa/inet.h>
#include <string.h>

bool host_port_number(slice digits, uint16_t *port)
{
    int64_t number;
    if (digits.len == 0 || digits.ptr[0] < '1' || digits.ptr[0] > '9' ||
        !slice_int(digits, &number) || number > UINT16_MAX)
        return false;
    *port = (uint16_t)number;
    return true;
}

static bool host_port_is_digit(char c) { return c >= '0' && c <= '9'; }

static bool host_port_is_label(slice label, bool *number)
{
    *number = true;
    for (size_t i = 0; i < label.len; i++) {
        char c = label.ptr[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !host_port_is_digit(c) &&
            c != '-' && c != '_')
            return false;
        *number = *number && host_port_is_digit(c);
    }
    return label.len > 0 && label.len <= 63 && label.ptr[0] != '-';
}

bool host_port_is_name(slice text)
{
    bool number = true, more = true;
    slice label, rest = text;
    if (text.len == 0 || text.len > 253)
        return false;
    while (more && rest.len > 0) {
        more = slice_cut(rest, '.', &label, &rest);
        if (!host_port_is_label(label, &number))
            return false;
    }
    return !number;
}

bool host_port_is_number(slice text)
{
    size_t at = text.len;
    while (at > 0 && host_port_is_digit(text.ptr[at - 1]))
        at--;
    return at < text.len && (at == 0 || text.ptr[at - 1] == '.');
}

static bool host_port_is_numbers(int family, slice text)
{
    char address[INET6_ADDRSTRLEN];
    struct in6_addr ip;
    if (text.len == 0 || text.len >= sizeof address || memchr(text.ptr, '\0', text.len) != NULL)
        return false;
    memcpy(address, text.ptr, text.len);
    address[text.len] = '\0';
    return inet_pton(family, address, &ip) == 1;
}

bool host_port_is_ipv4(slice text) { return host_port_is_numbers(AF_INET, text); }
bool host_port_is_ipv6(slice text) { return host_port_is_numbers(AF_INET6, text); }

bool host_port_read(slice text, slice *host, uint16_t *port)
{
    slice rest;
    if (!slice_starts(text, SLICE("[")))
        return (!slice_cut(text, ':', host, &rest) || host_port_number(rest, port)) &&
               (host_port_is_name(*host) || host_port_is_ipv4(*host));
    if (!slice_cut(slice_from(text, 1), ']', host, &rest) || !host_port_is_ipv6(*host))
        return false;
    return rest.len == 0 || (rest.ptr[0] == ':' && host_port_number(slice_from(rest, 1), port));
}
