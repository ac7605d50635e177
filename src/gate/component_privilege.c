#include "gate/component_privilege.h"
#include "base/ensure.h"
#include "codec/xml_elem.h"
#include "component/component_rights.h"
#include "component/privilege.h"
#include "home/here.h"
#include "home/node.h"
#include "home/router.h"
#include "session/session_input.h"
#include "talk/forwarded.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"

static void privilege_refuse(struct worker *w, struct stanza *st, slice text)
{
    route_error(w, st, SE_FORBIDDEN, text);
    stanza_unref(&st);
}

static void privilege_malformed(struct worker *w, struct stanza *st, const struct stanza *inner)
{
    route_error(w, st, SE_JID_MALFORMED, stanza_bad_address(inner));
    stanza_unref(&st);
}

/* Not somebody behind it. */
static bool is_component_itself(const struct stanza *st)
{
    return memchr(stanza_from(st).ptr, '@', st->from_len) == NULL &&
           st->from_len == st->from_bare_len;
}

/* XEP-0356 §5.1: from the domain or from a user of it, never from a client. */
static bool speaks_for(const struct stanza *inner, slice host)
{
    return inner->from_len > 0 && inner->from_len == inner->from_bare_len &&
           slice_eq(jid_split(stanza_from(inner)).domain, host);
}

static void privileged_message_in(struct worker *w, const struct component_rights *r,
                                  struct stanza *st, const struct elem *privilege)
{
    slice host = stanza_to(st);
    struct stanza *inner = r->message ? forwarded_stanza(w, privilege) : NULL;
    if (!r->message)
        privilege_refuse(w, st, SLICE("the component may not send messages for this domain"));
    else if (inner != NULL && (inner->bad_from || inner->bad_to))
        privilege_malformed(w, st, inner);
    else if (inner == NULL || inner->kind != STANZA_MESSAGE || !speaks_for(inner, host))
        privilege_refuse(w, st, SLICE("not a message from a user of this domain"));
    else if (inner->to_len == 0)
        privilege_refuse(w, st, SLICE("the message has no valid addressee"));
    else if (node_serves(worker_node(w), jid_split(stanza_to(inner)).domain) &&
             memchr(stanza_to_bare(inner).ptr, '@', stanza_to_bare(inner).len) == NULL) {
        route_error(w, st, SE_NOT_ACCEPTABLE,
                    SLICE("messages to the server itself cannot be sent for others"));
        stanza_unref(&st);
    } else if (slice_eq(stanza_from(inner), host)) {
        route_send(w, session_input_without_claims(w, stanza_ref(inner)));
        stanza_unref(&st);
    } else
        privilege_send(w, st, session_input_without_claims(w, stanza_ref(inner)));
    stanza_unref(&inner);
}

static void privileged_roster_in(struct worker *w, const struct component_rights *r,
                                 struct stanza *st)
{
    unsigned needed = st->type == TYPE_GET ? RIGHT_GET : RIGHT_SET;
    if (!is_component_itself(st) || (r->roster & needed) == 0)
        privilege_refuse(w, st, SLICE("the component may not do this with contact lists here"));
    else
        privilege_send(w, st, NULL);
}

static void privileged_iq_in(struct worker *w, const struct component_rights *r, struct stanza *st,
                             const struct elem *wrapper)
{
    struct elem e, payload;
    struct stanza *inner = elem_first(wrapper, &e) ? forwarded_as_stanza(w, &e) : NULL;
    if (!is_component_itself(st))
        privilege_refuse(w, st, SLICE("only the domain of the component has this right"));
    else if (inner != NULL && (inner->bad_from || inner->bad_to))
        privilege_malformed(w, st, inner);
    else if (inner == NULL || inner->kind != STANZA_IQ || inner->type != st->type ||
             inner->id_len == 0 || !slice_eq(stanza_from(inner), stanza_to(st)) ||
             inner->child_count != 1 || !stanza_payload(inner, &payload))
        privilege_refuse(w, st, SLICE("not a request from this user"));
    else if (!component_may_ask(r, payload.ns_uri, (enum stanza_type)st->type))
        privilege_refuse(w, st, SLICE("the component may not send such requests here"));
    else
        privilege_send(w, st, stanza_ref(inner));
    stanza_unref(&inner);
}

bool component_privilege_takes(struct worker *w, slice component, struct stanza *st)
{
    const slice to = stanza_to(st), host = jid_split(to).domain;
    const bool domain = host.len == to.len;
    const bool request = stanza_is_request(st);
    struct component_rights rights;
    struct elem e;
    ensure(component.len > 0 && slice_eq(jid_split(stanza_from(st)).domain, component));
    if (!stanza_has(st, KNOWN(PAYLOAD)) || st->type == TYPE_ERROR || !stanza_to_is_bare(st) ||
        !node_serves(worker_node(w), host))
        return false;
    if (domain && st->kind == STANZA_MESSAGE && stanza_find(st, "privilege", NS_PRIVILEGE, &e)) {
        (void)component_rights(host, component, &rights);
        privileged_message_in(w, &rights, st, &e);
        return true;
    }
    if (domain || !request || st->id_len == 0 || !stanza_payload(st, &e))
        return false;
    if (elem_is(&e, "query", NS_ROSTER)) {
        (void)component_rights(host, component, &rights);
        privileged_roster_in(w, &rights, st);
        return true;
    }
    if (!elem_is(&e, "privileged_iq", NS_PRIVILEGE))
        return false;
    (void)component_rights(host, component, &rights);
    privileged_iq_in(w, &rights, st, &e);
    return true;
}
