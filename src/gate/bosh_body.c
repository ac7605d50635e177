#include "gate/bosh_body.h"
#include "codec/xml_read.h"
#include "xmpp/ns.h"

enum { WAIT_MAX = 1 << 20 /* seconds, or requests: what is above is no number that we take */ };

static bool bosh_body_number(const struct elem *e, const char *name, struct arena *tmp,
                             int64_t *out)
{
    slice text = elem_attr(e, name, tmp);
    *out = -1;
    return text.ptr == NULL || (slice_int(text, out) && *out >= 0 && *out <= WAIT_MAX);
}

static bool is_true(slice text) { return slice_is(text, "true") || slice_is(text, "1"); }

/* xmlns:name in the start tag, other than those that every stream has or no child uses. */
static bool declares_prefixes(slice start_tag)
{
    static const slice xmlns = SLICE_INIT("xmlns:");
    while (start_tag.len > 0) {
        const char *at = memmem(start_tag.ptr, start_tag.len, xmlns.ptr, xmlns.len);
        if (at == NULL)
            return false;
        start_tag = slice_from(start_tag, (size_t)(at - start_tag.ptr) + xmlns.len);
        if (!slice_starts(start_tag, SLICE("xmpp=")) && !slice_starts(start_tag, SLICE("stream=")))
            return true;
    }
    return false;
}

bool bosh_body_read(struct bosh_body *out, slice text, struct xml_work *work, struct arena *tmp)
{
    /* a stanza's depth is limited by its stream, below this; the rate of stanzas, too */
    const struct xml_limits limits = { .unit_bytes = BOSH_BODY_MAX,
                                       .depth = 256,
                                       .attrs = 64,
                                       .name_bytes = 256,
                                       .many_children = true };
    struct elem *e = &out->elem;
    *out = (struct bosh_body){ 0 };
    while (text.len > 0 && strchr(" \t\r\n", text.ptr[0]) != NULL)
        text = slice_from(text, 1);
    if (text.len == 0 || xml_read_element(work, text, (slice){ "", 0 }, &limits) != OK ||
        !elem_parse(e, text, (slice){ "", 0 }) || !elem_is(e, "body", NS_HTTPBIND))
        return false;
    out->sid = elem_attr(e, "sid", tmp);
    out->to = elem_attr(e, "to", tmp);
    out->from = elem_attr(e, "from", tmp);
    out->lang = elem_attr(e, "xml:lang", tmp);
    out->version = elem_attr(e, "xmpp:version", tmp);
    out->ver = elem_attr(e, "ver", tmp);
    out->content = elem_attr(e, "content", tmp);
    out->key = elem_attr(e, "key", tmp);
    out->newkey = elem_attr(e, "newkey", tmp);
    out->terminate = slice_is(elem_attr(e, "type", tmp), "terminate");
    out->restart = is_true(elem_attr(e, "xmpp:restart", tmp));
    out->own_prefixes = declares_prefixes(e->start_tag);
    slice ack = elem_attr(e, "ack", tmp);
    out->ack = -1;
    return slice_int(elem_attr(e, "rid", tmp), &out->rid) && out->rid > 0 &&
           out->rid <= BOSH_RID_MAX && bosh_body_number(e, "wait", tmp, &out->wait) &&
           bosh_body_number(e, "hold", tmp, &out->hold) &&
           bosh_body_number(e, "pause", tmp, &out->pause) &&
           (ack.ptr == NULL ||
            (slice_int(ack, &out->ack) && out->ack >= 0 && out->ack <= BOSH_RID_MAX));
}
