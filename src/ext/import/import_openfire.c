#include "ext/import/import_openfire.h"
#include "base/arena.h"
#include "base/buf.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "ext/import/import_pie.h"
#include "xmpp/ns.h"

/* Values of substatus and recvstatus, as its RosterItem has them; -1: none. */
enum { SUB_NONE, SUB_TO, SUB_FROM, SUB_BOTH, ASK_SUBSCRIBE = 0, RECV_SUBSCRIBE = 1 };

static slice child_text(const struct elem *e, const char *name, struct arena *tmp)
{
    struct elem child;
    return elem_child(e, name, NS_PIE, &child) ? elem_text(&child, tmp) : (slice){ 0 };
}

/* false: it is no number. */
static bool openfire_status(const struct elem *item, const char *name, int64_t *out,
                            struct arena *tmp)
{
    return slice_int(elem_attr(item, name, tmp), out);
}

static void write_item(struct xml_write *x, const struct elem *item, struct arena *tmp)
{
    static const char *const subscriptions[] = { "none", "to", "from", "both" };
    struct elem group;
    int64_t status = SUB_NONE, ask = -1, asked = -1;
    if (openfire_status(item, "substatus", &status, tmp) &&
        (status < SUB_NONE || status > SUB_BOTH))
        return; /* -1: to be removed */
    (void)openfire_status(item, "askstatus", &ask, tmp);
    (void)openfire_status(item, "recvstatus", &asked, tmp);
    if (status == SUB_NONE && ask != ASK_SUBSCRIBE && asked == RECV_SUBSCRIBE)
        return; /* only a request, which is no contact: write_requests() */
    xml_open_with(x, "item", NULL, "jid", elem_attr(item, "jid", tmp));
    xml_attr_some(x, "name", elem_attr(item, "name", tmp));
    xml_attr(x, "subscription", slice_of(subscriptions[status]));
    if (ask == ASK_SUBSCRIBE)
        xml_attr(x, "ask", SLICE("subscribe"));
    for (bool more = elem_first(item, &group); more; more = elem_next(&group, &group))
        if (elem_is(&group, "Group", NS_PIE))
            xml_element_some(x, "group", elem_text(&group, tmp));
    xml_close(x);
}

static void write_requests(struct xml_write *x, const struct elem *roster, struct arena *tmp)
{
    struct elem item;
    int64_t status;
    for (bool more = elem_first(roster, &item); more; more = elem_next(&item, &item)) {
        if (!elem_is(&item, "Item", NS_PIE) ||
            !openfire_status(&item, "recvstatus", &status, tmp) || status != RECV_SUBSCRIBE)
            continue;
        xml_open_with(x, "presence", NS_CLIENT, "from", elem_attr(&item, "jid", tmp));
        xml_attr(x, "type", SLICE("subscribe"));
        xml_close(x);
    }
}

static void openfire_roster(struct xml_write *x, const struct elem *user, struct arena *tmp)
{
    struct elem roster, item;
    if (!elem_child(user, "Roster", NS_PIE, &roster))
        return;
    xml_open(x, "query", NS_ROSTER);
    for (bool more = elem_first(&roster, &item); more; more = elem_next(&item, &item))
        if (elem_is(&item, "Item", NS_PIE))
            write_item(x, &item, tmp);
    xml_close(x);
    write_requests(x, &roster, tmp);
}

/* It has a name and an address for mail beside the vCard, which is not in the file. */
static void write_card(struct xml_write *x, slice name, slice mail)
{
    if (name.len == 0 && mail.len == 0)
        return;
    xml_open(x, "vCard", NS_VCARD);
    xml_element_some(x, "FN", name);
    if (mail.len > 0) {
        xml_open(x, "EMAIL", NULL);
        xml_empty(x, "INTERNET", NULL);
        xml_element(x, "USERID", mail);
        xml_close(x);
    }
    xml_close(x);
}

slice openfire_user(const struct elem *user, struct arena *tmp, const char **note)
{
    struct buf out;
    struct xml_write x;
    slice name = child_text(user, "Username", tmp), password = child_text(user, "Password", tmp);
    *note = NULL;
    if (password.len > 0 && slice_eq(password, name)) {
        *note = "a password that is the name of the user, which the plugin writes for passwords "
                "that it cannot read";
        password = (slice){ 0 };
    }
    xml_begin(&x, &out, PIE_ELEMENT_MAX);
    xml_open_with(&x, "user", NULL, "name", name);
    xml_attr_some(&x, "password", password);
    openfire_roster(&x, user, tmp);
    write_card(&x, child_text(user, "Name", tmp), child_text(user, "Email", tmp));
    xml_close(&x);
    slice text = out.overflow ? (slice){ 0 } : slice_dup(tmp, buf_fit(&out));
    buf_fini(&out);
    return text;
}
