#include "gate/s2s/find/s2s_policy.h"
#include "base/arena.h"
#include "io/address.h"
#include "xmpp/jid.h"
#include <arpa/inet.h>

static bool policy_ends_with(slice text, slice end)
{
    return text.len >= end.len && slice_eq(slice_from(text, text.len - end.len), end);
}

bool s2s_pattern_read(slice text, struct arena *tmp, slice *pattern)
{
    bool below = slice_starts(text, SLICE("*."));
    slice domain;
    *pattern = text;
    if (slice_is(text, "*"))
        return true;
    if (jid_prep_domain(below ? slice_from(text, 2) : text, tmp, &domain) != OK ||
        (below && !jid_may_have_below(domain)))
        return false;
    *pattern = below ? slice_of(arena_printf(tmp, "*.%.*s", SLICE_ARG(domain))) : domain;
    return true;
}

static bool policy_matches(slice pattern, slice domain)
{
    if (slice_is(pattern, "*"))
        return true;
    if (!slice_starts(pattern, SLICE("*.")))
        return slice_eq(pattern, domain);
    slice below = slice_from(pattern, 1); /* with its dot */
    return domain.len > below.len && policy_ends_with(domain, below) && !jid_is_address(domain);
}

/* Whether it is as s2s_pattern_read() makes it, which is found out without that. */
static bool policy_is_plain(slice pattern)
{
    for (size_t i = 0; i < pattern.len; i++) {
        char c = pattern.ptr[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '.' && c != '*' &&
            (c != '-' || (i + 1 < pattern.len && pattern.ptr[i + 1] == '-')))
            return false;
    }
    return pattern.len > 0 && pattern.ptr[pattern.len - 1] != '.';
}

bool s2s_pattern_matches(slice pattern, slice domain)
{
    if (policy_matches(pattern, domain))
        return true;
    if (policy_is_plain(pattern))
        return false;
    struct arena *tmp = arena_create(0);
    bool matches = s2s_pattern_read(pattern, tmp, &pattern) && policy_matches(pattern, domain);
    arena_destroy(&tmp);
    return matches;
}

bool s2s_patterns_match(slice patterns, slice domain)
{
    slice one;
    while (slice_word(&patterns, &one))
        if (s2s_pattern_matches(one, domain))
            return true;
    return false;
}

static bool policy_pattern_ok(slice text, struct arena *tmp)
{
    slice pattern;
    return s2s_pattern_read(text, tmp, &pattern);
}

static bool policy_all(slice list, bool (*ok)(slice one, struct arena *tmp))
{
    struct arena *tmp = arena_create(0);
    bool right = true;
    slice one;
    while (right && slice_word(&list, &one))
        right = ok(one, tmp);
    arena_destroy(&tmp);
    return right;
}

bool s2s_pattern_ok(slice pattern)
{
    return memchr(pattern.ptr, ' ', pattern.len) == NULL &&
           policy_all(pattern, policy_pattern_ok) && pattern.len > 0;
}

bool s2s_patterns_ok(slice patterns) { return policy_all(patterns, policy_pattern_ok); }

/* "192.0.2.1", "192.0.2.1:53", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:53" */
static bool policy_server_ok(slice server)
{
    char text[INET6_ADDRSTRLEN];
    union address address;
    struct in6_addr ip;
    if (address_parse(server, &address))
        return address_port(&address) > 0;
    bool brackets = server.len > 2 && server.ptr[0] == '[' && server.ptr[server.len - 1] == ']';
    if (brackets)
        server = (slice){ server.ptr + 1, server.len - 2 };
    if (server.len >= sizeof text)
        return false;
    memcpy(text, server.ptr, server.len);
    text[server.len] = '\0';
    return (!brackets && inet_pton(AF_INET, text, &ip) == 1) || inet_pton(AF_INET6, text, &ip) == 1;
}

bool s2s_dns_servers_ok(slice servers)
{
    slice one, rest = servers;
    bool more = servers.len > 0;
    while (more) {
        more = slice_cut(rest, ',', &one, &rest);
        while (slice_starts(one, SLICE(" ")))
            one = slice_from(one, 1);
        if (!policy_server_ok(one))
            return false;
    }
    return true;
}
