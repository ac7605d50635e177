#include "talk/inviter.h"
#include "codec/xml_elem.h"
#include "home/here.h"
#include "remote/foreign.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"
#include "xmpp/stanza.h"

slice inviter_find(const struct worker *w, const struct stanza *st, slice owner)
{
    struct arena *tmp = loop_scratch(worker_loop(w));
    struct elem x, e;
    struct jid jid;
    slice text = { 0 };
    if (st->kind != STANZA_MESSAGE || !stanza_child(st, KNOWN_MUC_USER, &x))
        return (slice){ 0 };
    if (!foreign_is(w, jid_split(stanza_from(st)).domain) &&
        stanza_find(st, "inviter", NS_ROOMS, &e))
        text = elem_attr(&e, "jid", tmp);
    else if (elem_child(&x, "invite", NS_MUC_USER, &e) ||
             elem_child(&x, "decline", NS_MUC_USER, &e))
        text = elem_attr(&e, "from", tmp);
    if (text.len == 0 || jid_parse(&jid, text, tmp) != OK || slice_eq(jid_bare(&jid), owner))
        return (slice){ 0 };
    return jid_bare(&jid);
}
