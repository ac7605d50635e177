#include "xmpp/retract.h"
#include "codec/xml_elem.h"
#include "xmpp/ns.h"
#include "xmpp/stanza.h"

#define NS_RETRACT_OLD "urn:xmpp:message-retract:0" /* until version 0.3, within <apply-to/> */

slice retract_target(const struct stanza *st, struct arena *tmp)
{
    struct elem e, inner;
    if (!stanza_has(st, KNOWN(PAYLOAD)))
        return (slice){ 0 };
    if (stanza_find(st, "retract", NS_RETRACT, &e) ||
        (stanza_find(st, "apply-to", NS_FASTEN, &e) &&
         elem_child(&e, "retract", NS_RETRACT_OLD, &inner)))
        return elem_attr(&e, "id", tmp);
    return (slice){ 0 };
}

bool retract_has_id(const struct stanza *st, slice id, struct arena *tmp)
{
    struct elem origin;
    return slice_eq(stanza_id(st), id) || (stanza_child(st, KNOWN_ORIGIN_ID, &origin) &&
                                           slice_eq(elem_attr(&origin, "id", tmp), id));
}
