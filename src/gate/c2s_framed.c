#include "gate/c2s_framed.h"
#include "base/buf.h"
#include "codec/xml_elem.h"
#include "gate/c2s_stream.h"
#include "xmpp/ns.h"

struct framed framed_split(slice element)
{
    static const struct {
        slice tag, xmlns;
    } table[] = {
        { SLICE_INIT("<stream:"), SLICE_INIT(" xmlns:stream='" NS_STREAM "'") },
        { SLICE_INIT("<iq"), SLICE_INIT(" xmlns='" NS_CLIENT "'") },
        { SLICE_INIT("<message"), SLICE_INIT(" xmlns='" NS_CLIENT "'") },
        { SLICE_INIT("<presence"), SLICE_INIT(" xmlns='" NS_CLIENT "'") },
    };
    size_t n = 1;
    while (n < element.len && strchr(" \t\r\n/>", element.ptr[n]) == NULL)
        n++;
    struct framed f = { { element.ptr, n }, { "", 0 }, slice_from(element, n) };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (i == 0 ? slice_starts(f.tag, table[i].tag) : slice_eq(f.tag, table[i].tag))
            f.xmlns = table[i].xmlns;
    return f;
}

static void attr(struct buf *b, const char *name, slice value)
{
    if (value.ptr == NULL)
        return;
    buf_printf(b, " %s='", name);
    xml_escape(b, value);
    buf_lit(b, "'");
}

void framed_open(struct stream *s, const struct framed_header *h)
{
    int32_t stanzas = 0;
    struct buf b;
    if (!xstream_header_due(&s->x)) /* to the reader it would be a child */
        return;
    buf_init(&b, 65536);
    buf_lit(&b, "<stream:stream xmlns='" NS_CLIENT "' xmlns:stream='" NS_STREAM "'");
    attr(&b, "to", h->to);
    attr(&b, "from", h->from);
    attr(&b, "version", h->version);
    attr(&b, "xml:lang", h->lang);
    buf_lit(&b, ">");
    if (b.overflow)
        xstream_fail(&s->x, XE_POLICY_VIOLATION, SLICE("the header is too long"));
    else
        (void)xstream_read(&s->x, buf_slice(&b), &stanzas);
    buf_fini(&b);
}

bool framed_read(struct stream *s, slice element, int32_t *stanzas)
{
    struct xstreams *among = s->x.among;
    among->moved = false;
    size_t used = xstream_read(&s->x, element, stanzas);
    if (among->moved)
        return false;
    while (used > 0 && used < element.len && strchr(" \t\r\n", element.ptr[used]) != NULL)
        used++;
    if (s->x.state != STREAM_CLOSED && used < element.len)
        xstream_fail(&s->x, XE_NOT_WELL_FORMED, SLICE("one whole element must come at a time"));
    return s->x.state != STREAM_CLOSED;
}
