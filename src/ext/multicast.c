/* multicast: Extended Stanza Addressing (XEP-0033): a client sends one message or presence to the
 * domain, with a list of who shall get it. Each recipient gets its own, as if the client had sent
 * it to that one: it is stored, copied to other devices and refused like any other, and
 * acknowledged when all of them are.
 *
 * An address with the uri "urn:muster:roster-group:NAME" (percent-encoded) stands for the sender's
 * contacts in that group of the roster (docs/messaging.md).
 *
 * Limits: settings multicast.*; all recipients: RECIPIENTS_MAX, as many as a ticket can await. */
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "home/here.h"
#include "home/router.h"
#include "presence/roster.h"
#include "session/session_input.h"
#include "session/sessions.h"
#include "xmpp/addresses.h"
#include "xmpp/ns.h"
#include <assert.h>

enum { RECIPIENTS_MAX = 500 };

static_assert(RECIPIENTS_MAX * (ROUTE_PENDING_TWO + 1) <= TICKET_REPORTS_MAX,
              "a ticket awaits them");

static struct setting multicast_allowed = {
    .name = "multicast.allowed",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Users may send one message to many addresses at once (XEP-0033). Off: forbidden.",
};
static struct setting multicast_addresses = {
    .name = "multicast.addresses-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 50,
    .min = 1,
    .max = 99,
    .unit = "addresses",
    .doc = "How many recipients a message to many addresses (XEP-0033) may list. More are refused "
           "with not-acceptable.",
};
static struct setting multicast_recipients = {
    .name = "multicast.recipients-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 250,
    .min = 1,
    .max = RECIPIENTS_MAX,
    .unit = "recipients",
    .doc = "How many users may get one message to many addresses (XEP-0033), including the "
           "contacts of roster groups that it names. Each is sent a message with the whole list. "
           "With fewer than roster.contacts-max, a user cannot write to a group of all contacts. "
           "More are refused with not-acceptable.",
};

static bool multicast_wrong(struct addresses *l, enum stanza_error e, slice text)
{
    l->error = e;
    l->text = text;
    return false;
}

/* Roster groups. */

static int multicast_hex(char c)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *d = c == '\0' ? NULL : strchr(digits, c);
    return d == NULL ? -1 : (int)(d - digits) % 16;
}

/* The name of a roster group; false: another or a malformed URI. */
static bool multicast_group_of(slice uri, struct arena *tmp, slice *out)
{
    slice prefix = SLICE("urn:muster:roster-group:");
    if (!slice_starts(uri, prefix) || uri.len == prefix.len)
        return false;
    slice raw = slice_from(uri, prefix.len);
    char *name = arena_alloc_raw(tmp, raw.len);
    size_t len = 0;
    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.ptr[i];
        if (c == '%') {
            if (raw.len - i < 3 || multicast_hex(raw.ptr[i + 1]) < 0 ||
                multicast_hex(raw.ptr[i + 2]) < 0)
                return false;
            c = (char)(multicast_hex(raw.ptr[i + 1]) << 4 | multicast_hex(raw.ptr[i + 2]));
            i += 2;
        }
        name[len++] = c;
    }
    *out = (slice){ name, len };
    return true;
}

static bool is_in_group(const struct roster_item *item, slice group)
{
    slice rest = roster_item_groups(item), name;
    while (rest.len > 0) {
        slice_cut(rest, '\0', &name, &rest);
        if (slice_eq(name, group))
            return true;
    }
    return false;
}

/* taken: which contacts of the roster are in the list because of an earlier group. */
static bool expand(struct addresses *l, const struct roster *r, const struct address *group,
                   bool *taken, struct arena *tmp)
{
    unsigned found = 0;
    slice name;
    if (!multicast_group_of(group->uri, tmp, &name))
        return multicast_wrong(l, SE_JID_MALFORMED, SLICE("this uri is not known here"));
    for (uint32_t i = 0; r != NULL && i < r->count; i++) {
        const struct roster_item *item = r->items[i];
        if ((item->flags & ROSTER_LISTED) == 0 || (taken[i] && found > 0) ||
            !is_in_group(item, name))
            continue;
        found++;
        slice jid = roster_item_jid(item);
        if (!taken[i] && !addresses_add(l, group->type, jid) && !addresses_has(l, jid))
            return multicast_wrong(l, SE_NOT_ACCEPTABLE, SLICE("too many recipients"));
        taken[i] = true;
    }
    return found > 0 ||
           multicast_wrong(l, SE_ITEM_NOT_FOUND, SLICE("nobody is in this roster group"));
}

/* Who has not got it yet. */
static unsigned recipients_of(const struct addresses *l)
{
    unsigned n = 0;
    for (unsigned i = 0; i < l->count; i++)
        n += address_is_recipient(&l->of[i]) && !l->of[i].delivered;
    return n;
}

static bool multicast_allows(struct addresses *l, unsigned found, const char *what,
                             const struct setting *most, struct arena *tmp)
{
    return found <= setting_int(most) ||
           multicast_wrong(l, SE_NOT_ACCEPTABLE, /* §9 */
                           slice_of(arena_printf(tmp, "found %u %s; allowed are %lld (%s)", found,
                                                 what, (long long)setting_int(most), most->name)));
}

/* The list with groups replaced by their contacts, each recipient once. Listed recipients are
 * counted before a group is looked up: that costs as many steps as the roster has contacts. */
static bool multicast_resolve(struct addresses *out, const struct addresses *in,
                              const struct account *a, struct arena *tmp)
{
    const struct roster *r = a->roster;
    bool *taken = arena_new(tmp, bool, r == NULL ? 0 : r->count);
    *out = (struct addresses){ 0 };
    if (!multicast_allows(out, recipients_of(in), "listed recipients", &multicast_addresses, tmp))
        return false;
    for (unsigned i = 0; i < in->count; i++) {
        const struct address *address = &in->of[i];
        bool group = address->uri.len > 0;
        if (!address_is_recipient(address) || (group && address->delivered)) { /* as it is */
            if (out->count == ADDRESSES_MAX)
                return multicast_wrong(out, SE_NOT_ACCEPTABLE, SLICE("too many addresses"));
            out->of[out->count++] = *address;
        } else if (group) {
            if (!expand(out, r, address, taken, tmp))
                return false;
        } else if (addresses_add(out, address->type, address->jid)) {
            out->of[out->count - 1] = *address;
        } else if (!addresses_has(out, address->jid)) {
            return multicast_wrong(out, SE_NOT_ACCEPTABLE, SLICE("too many recipients"));
        }
    }
    return multicast_allows(out, recipients_of(out), "recipients", &multicast_recipients, tmp);
}

static bool is_addresses(enum known_child known, const struct elem *e, void *arg)
{
    (void)known;
    (void)arg;
    return elem_is(e, "addresses", NS_ADDRESS);
}

/* §6: one for each, with the list as that one may see it. The copies count as sent by the client.
 */
static unsigned multicast_send_all(struct session *s, const struct stanza *st,
                                   const struct addresses *l, struct origin o)
{
    struct worker *w = s->account->worker;
    unsigned awaited = 0, sent = 0;
    struct buf common, own;
    struct xml_write x;
    ensure(session_here(s) && l->count <= ADDRESSES_MAX);
    xml_begin(&x, &common, XML_STANZA_MAX);
    buf_init(&own, XML_STANZA_MAX);
    addresses_write(&x, l, ADDRESSES_MAX);
    xml_write_to(&x, &own);
    for (unsigned i = 0; i < l->count; i++) {
        const struct address *to = &l->of[i];
        if (!address_is_recipient(to) || to->delivered || session_find(w, o.session) != s)
            continue;
        buf_clear(&own);
        if (to->type == ADDRESS_BCC)
            addresses_write(&x, l, i);
        slice list = buf_fit(to->type == ADDRESS_BCC ? &own : &common);
        awaited += session_said(s, stanza_append_to(st, to->jid, list), o);
        sent++;
    }
    if (sent > 1)
        session_charge(w, stanza_from(st), (uint64_t)(sent - 1) * (st->bytes + common.len));
    buf_fini(&common);
    buf_fini(&own);
    return awaited;
}

static void multicast_refuse(struct session *s, struct stanza *st, enum stanza_error e, slice text)
{
    route_error(s->account->worker, st, e, text);
    stanza_unref(&st);
}

static bool multicast_to_server(struct session *s, struct stanza *st, struct origin o,
                                unsigned *awaited)
{
    struct arena *tmp = loop_scratch(worker_loop(s->account->worker));
    struct addresses *in, *out;
    struct elem e;
    bool known = st->kind == STANZA_MESSAGE || st->type <= TYPE_UNAVAILABLE;
    ensure(session_here(s));
    if (st->type == TYPE_ERROR || !known || !stanza_find(st, "addresses", NS_ADDRESS, &e))
        return false;
    *awaited = 0;
    if (!setting_bool(&multicast_allowed)) {
        multicast_refuse(s, st, SE_FORBIDDEN, SLICE("nobody may send to many addresses here"));
        return true;
    }
    in = arena_new(tmp, struct addresses, 1);
    out = arena_new(tmp, struct addresses, 1);
    if (!addresses_read(in, &e, tmp)) {
        multicast_refuse(s, st, in->error, in->text);
    } else if (!multicast_resolve(out, in, s->account, tmp)) {
        multicast_refuse(s, st, out->error, out->text);
    } else if (recipients_of(out) == 0) {
        return false; /* it is for the domain itself */
    } else {
        /* the list points into st */
        struct stanza *bare = stanza_without(stanza_ref(st), KNOWN(PAYLOAD), is_addresses, NULL);
        *awaited = multicast_send_all(s, bare, out, o);
        stanza_unref(&bare);
        stanza_unref(&st);
    }
    return true;
}

const struct feature multicast_feature = {
    .name = "multicast",
    .parts = PART_PRESENCE,
    .disco = (const char *const[]){ NS_ADDRESS, NULL },
    .xeps = (const struct xep[]){ { "0033", "1.1", "Extended Stanza Addressing", "0.1.0",
                                    "im/test_multicast", NULL },
                                  { 0 } },
    .settings = (struct setting *const[]){ &multicast_allowed, &multicast_addresses,
                                           &multicast_recipients, NULL },
    .session.to_server = multicast_to_server,
};
