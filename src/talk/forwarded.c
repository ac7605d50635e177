#include "talk/forwarded.h"
#include "base/buf.h"
#include "codec/xml_elem.h"
#include "codec/xml_read.h"
#include "codec/xml_write.h"
#include "home/here.h"
#include "xmpp/ns.h"

struct stanza *forwarded_as_stanza(struct worker *w, const struct elem *e)
{
    /* it has passed the limits of a stream, and grows by declarations of its surroundings */
    static const struct xml_limits limits = {
        .unit_bytes = 1u << 20, .depth = UINT16_MAX, .attrs = UINT16_MAX, .name_bytes = 4096
    };
    const char *ns = slice_is(e->ns_uri, NS_COMPONENT) ? NS_COMPONENT : NS_CLIENT;
    struct stanza *st = NULL;
    struct buf text;
    buf_init(&text, XML_STANZA_MAX);
    elem_extract(e, &text);
    slice unit = buf_fit(&text);
    struct stanza_source src = { .unit = unit, .work = worker_xml(w) };
    if (!text.overflow && slice_is(e->ns_uri, ns) &&
        xml_read_element(worker_xml(w), unit, slice_of(ns), &limits) == OK &&
        stanza_read(&st, &src, loop_scratch(worker_loop(w))) != OK)
        st = NULL;
    buf_fini(&text);
    return st;
}

struct stanza *forwarded_stanza(struct worker *w, const struct elem *wrapper)
{
    struct elem forwarded, e, other;
    if (!elem_child(wrapper, "forwarded", NS_FORWARD, &forwarded))
        return NULL;
    for (bool any = elem_first(&forwarded, &e); any; any = elem_next(&e, &e))
        if (!elem_is(&e, "delay", NS_DELAY))
            return elem_next(&e, &other) ? NULL : forwarded_as_stanza(w, &e);
    return NULL;
}
