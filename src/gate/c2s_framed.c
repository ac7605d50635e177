#include "gate/c2s_framed.h"
#include "base/buf.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "gate/c2s_stream.h"
#include "xmpp/ns.h"

/* A header comes before anybody is known. */
enum { HEADER_BYTES_MAX = 65536 };

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

static void framed_attr(struct xml_write *x, const char *name, slice value)
{
    if (value.ptr != NULL)
        xml_attr(x, name, value);
}

void framed_open(struct stream *s, const struct framed_header *h)
{
    int32_t stanzas = 0;
    struct buf b;
    struct xml_write x;
    if (!xstream_header_due(&s->x)) /* to the reader it would be a child */
        return;
    xml_begin(&x, &b, HEADER_BYTES_MAX);
    xml_open_with(&x, "stream:stream", NS_CLIENT, "xmlns:stream", SLICE(NS_STREAM));
    framed_attr(&x, "to", h->to);
    framed_attr(&x, "from", h->from);
    framed_attr(&x, "version", h->version);
    framed_attr(&x, "xml:lang", h->lang);
    xml_content(&x);
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
