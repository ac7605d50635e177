/* displayed: Message Displayed Synchronization (XEP-0490) needs only a PEP node. This is the
 * optional help of the server (§4.4): a <displayed/> in a message of a client is removed and
 * published to the node. */
#include "account/account.h"
#include "base/buf.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "pubsub/pubsub.h"
#include "xmpp/ns.h"

#define NS_MDS "urn:xmpp:mds:displayed:0"

static bool is_displayed(enum known_child known, const struct elem *e, void *unused)
{
    (void)known;
    (void)unused;
    return elem_is(e, "displayed", NS_MDS);
}

/* §5.2: a node that is made by this keeps all, for the account alone, and sends nothing again. */
static void displayed_publish(struct account *a, slice chat, const struct elem *displayed)
{
    struct buf xml;
    struct xml_write x;
    xml_begin(&x, &xml, XML_STORED_MAX);
    xml_open(&x, "pubsub", NS_PUBSUB);
    xml_open_with(&x, "publish", NULL, "node", SLICE(NS_MDS));
    xml_open_with(&x, "item", NULL, "id", chat);
    elem_extract(displayed, xml_content(&x));
    xml_close(&x);
    xml_close(&x);
    xml_raw(&x, SLICE("<publish-options><x xmlns='jabber:x:data' type='submit'>"
                      "<field var='FORM_TYPE'><value>" NS_PUBSUB "#publish-options</value></field>"
                      "<field var='pubsub#persist_items'><value>true</value></field>"
                      "<field var='pubsub#max_items'><value>max</value></field>"
                      "<field var='pubsub#send_last_published_item'><value>never</value></field>"
                      "<field var='pubsub#access_model'><value>whitelist</value></field>"
                      "</x></publish-options>"));
    xml_close(&x);
    ps_own_buf(a, &xml, NULL, NULL);
}

static enum verdict displayed_check(struct session *s, struct stanza **st, struct refusal *why)
{
    struct elem displayed;
    (void)why;
    if ((*st)->kind != STANZA_MESSAGE || (*st)->to_len == 0 || (*st)->bad_to ||
        !stanza_find(*st, "displayed", NS_MDS, &displayed))
        return PASS;
    displayed_publish(s->account, stanza_to(*st), &displayed);
    *st = stanza_without(*st, (*st)->known, is_displayed, NULL);
    return PASS;
}

const struct feature displayed_feature = {
    .name = "displayed",
    .xeps = (const struct xep[]){ { "0490", "1.0.0", "Message Displayed Synchronization", "0.1.0",
                                    "services/test_bookmarks", NULL },
                                  { 0 } },
    .disco_account = (const char *const[]){ "urn:xmpp:mds:server-assist:0", NULL },
    .stage.check = displayed_check,
};
