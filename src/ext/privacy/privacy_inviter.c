#include "ext/privacy/privacy_inviter.h"
#include "codec/xml_elem.h"
#include "home/here.h"
#include "im/account.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"

static slice privacy_inviter_named(const struct account *a, slice text)
{
    struct arena *tmp = loop_scratch(worker_loop(a->worker));
    struct jid jid;
    if (text.len == 0 || jid_parse(&jid, text, tmp) != OK || slice_eq(jid_bare(&jid), a->jid))
        return (slice){ 0 };
    return jid_bare(&jid);
}

slice privacy_inviter(const struct account *a, const struct stanza *st)
{
    struct arena *tmp = loop_scratch(worker_loop(a->worker));
    struct elem x, e;
    if (st->kind != STANZA_MESSAGE || !stanza_child(st, KNOWN_MUC_USER, &x))
        return (slice){ 0 };
    if (stanza_find(st, "inviter", NS_ROOMS, &e))
        return privacy_inviter_named(a, elem_attr(&e, "jid", tmp));
    if (elem_child(&x, "invite", NS_MUC_USER, &e) || elem_child(&x, "decline", NS_MUC_USER, &e))
        return privacy_inviter_named(a, elem_attr(&e, "from", tmp));
    return (slice){ 0 };
}
