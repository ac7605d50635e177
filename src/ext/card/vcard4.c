/* vcard4: vCard4 over XMPP (XEP-0292): the card is the item of the account's node urn:xmpp:vcard4;
 * requests by IQ (§4.1) read and publish it. Who may read it says the node; one that is made here
 * is open to all, as cards are. */
#include "account/account.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "ext/card/cards.h"
#include "ext/ext.h"
#include "pubsub/pubsub.h"
#include "xmpp/ns.h"

static void vcard4_found(void *arg, enum stanza_error e, const struct ps_item *items,
                         unsigned count)
{
    struct iq *iq = arg;
    if (e != SE_NONE)
        iq_error(iq, e, (slice){ 0 });
    else if (count > 0 && items[0].xml.len > 0)
        iq_result(iq, items[0].xml);
    else
        iq_result(iq, SLICE("<vcard xmlns='" NS_VCARD4 "'/>")); /* §4.1.1 */
}

static void vcard4_card_get(struct iq *iq)
{
    if (iq->account == NULL) {
        vcard4_found(iq, SE_NONE, NULL, 0);
        return;
    }
    struct iq *held = iq_hold(iq);
    ps_own_items(held->account, SLICE(VCARD_NODE), stanza_from(held->st), vcard4_found, held);
}

static void published(void *arg, enum stanza_error e)
{
    if (e == SE_NONE)
        iq_result(arg, (slice){ 0 });
    else
        iq_error(arg, e, (slice){ 0 });
}

/* The node is there now, or was. */
static void vcard4_made(void *arg, enum stanza_error e)
{
    struct iq *iq = arg;
    struct buf xml;
    struct xml_write x;
    ensure(iq->held && iq->account != NULL);
    if (e != SE_NONE && e != SE_CONFLICT) {
        iq_error(iq, e, (slice){ 0 });
        return;
    }
    xml_begin(&x, &xml, XML_STANZA_MAX);
    xml_open(&x, "pubsub", NS_PUBSUB);
    xml_open_with(&x, "publish", NULL, "node", SLICE(VCARD_NODE));
    xml_open_with(&x, "item", NULL, "id", SLICE("current"));
    elem_extract(&iq->payload, xml_content(&x));
    xml_close_all(&x);
    ps_own_buf(iq->account, &xml, published, iq);
}

static void vcard4_card_set(struct iq *iq)
{
    static const slice create = SLICE_INIT(
        "<pubsub xmlns='" NS_PUBSUB "'><create node='" VCARD_NODE "'/><configure>"
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>" NS_PUBSUB
        "#node_config</value></field><field var='pubsub#access_model'><value>open</value></field>"
        "</x></configure></pubsub>");
    if (iq->target != IQ_TO_SELF) {
        iq_error(iq, SE_FORBIDDEN, SLICE("a vCard is changed by its owner only"));
        return;
    }
    struct iq *held = iq_hold(iq);
    ps_own(held->account, create, vcard4_made, held);
}

static const struct iq_rule rules[] = {
    { TYPE_GET, NS_VCARD4, "vcard", IQ_TO_SELF | IQ_TO_ACCOUNT, vcard4_card_get },
    { TYPE_SET, NS_VCARD4, "vcard", IQ_TO_SELF | IQ_TO_ACCOUNT | IQ_TO_SERVER, vcard4_card_set },
    { 0 },
};

const struct feature vcard4_feature = {
    .name = "vcard4",
    .xeps = (const struct xep[]){ { "0292", "0.12.1", "vCard4 Over XMPP", "0.1.0",
                                    "services/test_avatar", NULL },
                                  { 0 } },
    .disco_account = (const char *const[]){ NS_VCARD4, NULL },
    .iq = rules,
};
