#include "xmpp/addresses.h"
#include "base/arena.h"
#include "base/buf.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"

static const char *const types[] = { "to", "cc", "bcc", "replyto", "replyroom", "noreply" };

static bool xmpp_addresses_wrong(struct addresses *l, enum stanza_error e, slice text)
{
    l->error = e;
    l->text = text;
    return false;
}

static bool xmpp_addresses_read_type(slice text, enum address_type *out)
{
    for (unsigned i = 0; i < sizeof types / sizeof *types; i++)
        if (slice_is(text, types[i])) {
            *out = (enum address_type)i;
            return true;
        }
    return false;
}

static bool read_one(struct addresses *l, const struct elem *e, struct arena *tmp)
{
    struct address *a = &l->of[l->count];
    slice jid = elem_attr(e, "jid", tmp), delivered = elem_attr(e, "delivered", tmp);
    *a = (struct address){ .uri = elem_attr(e, "uri", tmp),
                           .node = elem_attr(e, "node", tmp),
                           .desc = elem_attr(e, "desc", tmp) };
    if (!xmpp_addresses_read_type(elem_attr(e, "type", tmp), &a->type))
        return xmpp_addresses_wrong(l, SE_BAD_REQUEST, SLICE("an address needs a type"));
    if (a->uri.len > 0 && (jid.len > 0 || a->node.len > 0)) /* §4.2 */
        return xmpp_addresses_wrong(l, SE_BAD_REQUEST,
                                    SLICE("an address has a uri, or a jid and node"));
    if (a->type != ADDRESS_NOREPLY && jid.len == 0 && a->uri.len == 0)
        return xmpp_addresses_wrong(l, SE_BAD_REQUEST, SLICE("an address needs a jid"));
    struct jid parsed;
    if (jid.len > 0 && jid_parse(&parsed, jid, tmp) != OK)
        return xmpp_addresses_wrong(l, SE_JID_MALFORMED, SLICE("an address is not a JID"));
    a->jid = jid.len > 0 ? parsed.full : (slice){ 0 };
    a->delivered = slice_is(delivered, "true") || slice_is(delivered, "1");
    l->count++;
    return true;
}

bool addresses_claim_origin(const struct elem *e, struct arena *tmp)
{
    struct elem child;
    if (!elem_is(e, "addresses", NS_ADDRESS))
        return false;
    for (bool more = elem_first(e, &child); more; more = elem_next(&child, &child))
        if (slice_is(elem_attr(&child, "type", tmp), "ofrom"))
            return true;
    return false;
}

bool addresses_read(struct addresses *out, const struct elem *e, struct arena *tmp)
{
    struct elem child;
    out->count = 0;
    out->error = SE_NONE;
    for (bool more = elem_first(e, &child); more; more = elem_next(&child, &child)) {
        if (!elem_is(&child, "address", NS_ADDRESS))
            continue; /* §4.7: ignored */
        if (out->count == ADDRESSES_MAX)
            return xmpp_addresses_wrong(out, SE_NOT_ACCEPTABLE, SLICE("too many addresses"));
        if (!read_one(out, &child, tmp))
            return false;
    }
    return out->count > 0 ||
           xmpp_addresses_wrong(out, SE_BAD_REQUEST, SLICE("there is no address"));
}

bool addresses_has(const struct addresses *l, slice jid)
{
    for (unsigned i = 0; i < l->count; i++)
        if (address_is_recipient(&l->of[i]) && slice_eq(l->of[i].jid, jid))
            return true;
    return false;
}

bool addresses_add(struct addresses *l, enum address_type type, slice jid)
{
    if (l->count == ADDRESSES_MAX || addresses_has(l, jid))
        return false;
    l->of[l->count++] = (struct address){ .type = type, .jid = jid };
    return true;
}

void addresses_write(struct xml_write *x, const struct addresses *l, unsigned to)
{
    xml_open(x, "addresses", NS_ADDRESS);
    for (unsigned i = 0; i < l->count; i++) {
        const struct address *a = &l->of[i];
        if (a->type == ADDRESS_BCC && i != to) /* §4.6.3 */
            continue;
        xml_open_with(x, "address", NULL, "type", slice_of(types[a->type]));
        xml_attr_some(x, "jid", a->jid);
        xml_attr_some(x, "uri", a->uri);
        xml_attr_some(x, "node", a->node);
        xml_attr_some(x, "desc", a->desc);
        if (address_is_recipient(a))
            xml_attr(x, "delivered", SLICE("true"));
        xml_close(x);
    }
    xml_close(x);
}
