#include "xmpp/sasl2.h"
#include "base/ensure.h"
#include "xmpp/ns.h"

static const char *const tasks[SCRAM_HASH_COUNT] = {
    [SCRAM_SHA_1] = "UPGR-SCRAM-SHA-1",
    [SCRAM_SHA_256] = "UPGR-SCRAM-SHA-256",
    [SCRAM_SHA_512] = "UPGR-SCRAM-SHA-512",
};

const char *sasl2_task_name(enum scram_hash h)
{
    ensure((unsigned)h < SCRAM_HASH_COUNT);
    return tasks[h];
}

static enum err task_find(slice name, enum scram_hash *out)
{
    for (unsigned h = 0; h < SCRAM_HASH_COUNT; h++) {
        if (slice_is(name, tasks[h])) {
            *out = (enum scram_hash)h;
            return OK;
        }
    }
    return E_NOTFOUND;
}

static bool hex_digit(char c, unsigned *out)
{
    if (c >= '0' && c <= '9')
        *out = (unsigned)(c - '0');
    else if ((c | 32) >= 'a' && (c | 32) <= 'f')
        *out = (unsigned)((c | 32) - 'a') + 10;
    else
        return false;
    return true;
}

enum err device_id_parse(uint8_t out[DEVICE_ID_LEN], slice text)
{
    size_t at = 0;
    if (text.len != DEVICE_ID_TEXT - 1)
        return E_SYNTAX;
    for (unsigned i = 0; i < DEVICE_ID_LEN; i++) {
        unsigned high, low;
        if ((at == 8 || at == 13 || at == 18 || at == 23) && text.ptr[at++] != '-')
            return E_SYNTAX;
        if (!hex_digit(text.ptr[at], &high) || !hex_digit(text.ptr[at + 1], &low))
            return E_SYNTAX;
        out[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    return OK;
}

void device_id_format(char out[DEVICE_ID_TEXT], const uint8_t id[DEVICE_ID_LEN])
{
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;
    for (unsigned i = 0; i < DEVICE_ID_LEN; i++) {
        if (at == 8 || at == 13 || at == 18 || at == 23)
            out[at++] = '-';
        out[at++] = digits[id[i] >> 4];
        out[at++] = digits[id[i] & 15];
    }
    out[at] = '\0';
}

/* What is read, and what is wrong with it: the parts below return NULL, or a text for people. */

/* The nil UUID (RFC 9562 §5.9) is not allowed: here it means a session without an id. */
static bool is_nil(const uint8_t id[DEVICE_ID_LEN])
{
    uint8_t any = 0;
    for (unsigned i = 0; i < DEVICE_ID_LEN; i++)
        any |= id[i];
    return any == 0;
}

static const char *read_agent(struct sasl2_request *r, const struct elem *e, struct arena *tmp)
{
    struct elem part;
    slice id = elem_attr(e, "id", tmp);
    r->agent.has_id = id.ptr != NULL;
    if (r->agent.has_id && (device_id_parse(r->agent.id, id) != OK || is_nil(r->agent.id)))
        return "the id of the user agent must be a UUID";
    if (elem_child(e, "software", NS_SASL2, &part))
        r->agent.software = elem_text(&part, tmp);
    if (elem_child(e, "device", NS_SASL2, &part))
        r->agent.device = elem_text(&part, tmp);
    if (r->agent.software.len > SASL2_AGENT_MAX || r->agent.device.len > SASL2_AGENT_MAX)
        return "the name of the user agent is too long";
    return NULL;
}

static const char *read_bind(struct sasl2_request *r, const struct elem *e, struct arena *tmp)
{
    struct elem tag;
    r->bind = true;
    r->bind_elem = *e;
    if (elem_child(e, "tag", NS_BIND2, &tag))
        r->tag = elem_text(&tag, tmp);
    return r->tag.len > SASL2_TAG_MAX ? "the tag is too long" : NULL;
}

static const char *read_resume(struct sasl2_request *r, const struct elem *e, struct arena *tmp)
{
    int64_t h;
    r->resume = true;
    r->previd = elem_attr(e, "previd", tmp);
    bool count = slice_int(elem_attr(e, "h", tmp), &h) && h >= 0 && h <= UINT32_MAX;
    r->resume_bad = !count || r->previd.len == 0 || r->previd.len > SASL2_PREVID_MAX;
    r->h = count ? (uint32_t)h : 0;
    return NULL;
}

static const char *read_fast(struct sasl2_request *r, const struct elem *e, struct arena *tmp)
{
    slice count = elem_attr(e, "count", tmp), invalidate = elem_attr(e, "invalidate", tmp);
    r->fast = true;
    r->has_count = count.ptr != NULL;
    r->invalidate = slice_is(invalidate, "true") || slice_is(invalidate, "1");
    if (r->has_count && (!slice_int(count, &r->count) || r->count < 0))
        return "count must be a positive number";
    return NULL;
}

static const char *sasl2_read_request(struct sasl2_request *r, const struct elem *e,
                                      struct arena *tmp)
{
    r->wants_token = true;
    if (sasl_mech_find(elem_attr(e, "mechanism", tmp), &r->token_mech) != OK ||
        !sasl_mech_is_token(r->token_mech))
        return "there are no tokens for this mechanism";
    return NULL;
}

static const char *read_upgrade(struct sasl2_request *r, const struct elem *e, struct arena *tmp)
{
    enum scram_hash h;
    if (task_find(elem_text(e, tmp), &h) != OK)
        return "this upgrade was not offered";
    r->upgrades |= 1u << h;
    return NULL;
}

static const char *read_initial(struct sasl2_request *r, const struct elem *e, struct arena *tmp)
{
    r->has_initial = true;
    r->initial = elem_text(e, tmp);
    return NULL;
}

static const struct {
    const char *ns, *name;
    const char *(*read)(struct sasl2_request *r, const struct elem *e, struct arena *tmp);
    bool many;
} parts[] = {
    { NS_SASL2, "initial-response", read_initial, false },
    { NS_SASL2, "user-agent", read_agent, false },
    { NS_BIND2, "bind", read_bind, false },
    { NS_SM, "resume", read_resume, false },
    { NS_FAST, "fast", read_fast, false },
    { NS_FAST, "request-token", sasl2_read_request, false },
    { NS_SASL_UPGRADE, "upgrade", read_upgrade, true },
};
enum { PARTS = sizeof parts / sizeof parts[0] };

/* Unknown elements are ignored, as XEP-0388 §2.3 requires for extensions. */
static const char *sasl2_read_part(struct sasl2_request *r, const struct elem *e, struct arena *tmp,
                                   uint32_t *seen)
{
    for (unsigned i = 0; i < PARTS; i++) {
        if (!elem_is(e, parts[i].name, parts[i].ns))
            continue;
        if ((*seen >> i & 1) != 0 && !parts[i].many)
            return "an element that may stand once stands twice";
        *seen |= 1u << i;
        return parts[i].read(r, e, tmp);
    }
    return NULL;
}

enum err sasl2_read(struct sasl2_request *out, const struct elem *e, struct arena *tmp,
                    struct sasl2_refusal *why)
{
    struct elem child;
    uint32_t seen = 0;
    const char *wrong = NULL;
    *out = (struct sasl2_request){ .mechanism = elem_attr(e, "mechanism", tmp) };
    for (bool more = elem_first(e, &child); more && wrong == NULL; more = elem_next(&child, &child))
        wrong = sasl2_read_part(out, &child, tmp, &seen);
    out->bind_elem.parent = e;
    if (wrong == NULL && out->mechanism.len == 0)
        wrong = "the attribute mechanism is missing";
    *why = (struct sasl2_refusal){ SASL_MALFORMED_REQUEST, wrong };
    return wrong == NULL ? OK : E_SYNTAX;
}
