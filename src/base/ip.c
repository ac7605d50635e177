#include "base/ip.h"
#include "base/ensure.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static const struct ip local = { { 0xff } };
static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

struct ip ip_parse(slice text)
{
    struct ip ip = { { 0 } };
    char number[sizeof(struct ip_text)];
    if (slice_is(text, "local"))
        return local;
    if (text.len >= sizeof number || memchr(text.ptr, '\0', text.len) != NULL)
        return ip;
    memcpy(number, text.ptr, text.len);
    number[text.len] = '\0';
    if (inet_pton(AF_INET, number, ip.bytes + sizeof mapped) == 1)
        memcpy(ip.bytes, mapped, sizeof mapped);
    else if (inet_pton(AF_INET6, number, ip.bytes) != 1)
        ip = (struct ip){ { 0 } };
    return ip;
}

struct ip_text ip_print(const struct ip *ip)
{
    static const uint8_t none[sizeof ip->bytes];
    struct ip_text out = { "" };
    bool v4 = memcmp(ip->bytes, mapped, sizeof mapped) == 0;
    const char *text = out.text;
    if (memcmp(ip->bytes, local.bytes, sizeof local.bytes) == 0)
        out = (struct ip_text){ "local" };
    else if (memcmp(ip->bytes, none, sizeof none) != 0)
        text = inet_ntop(v4 ? AF_INET : AF_INET6, ip->bytes + (v4 ? sizeof mapped : 0), out.text,
                         sizeof out.text);
    ensure(text != NULL); /* there is room for any address */
    return out;
}
