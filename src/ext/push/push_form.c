#include "ext/push/push_form.h"
#include "xmpp/form.h"

enum { BODY_BYTES_MAX = 512 };

void push_open(struct xml_write *x, slice node)
{
    xml_open(x, "pubsub", NS_PUBSUB);
    xml_open_with(x, "publish", NULL, "node", node);
    xml_open(x, "item", NULL);
    xml_open(x, "notification", NS_PUSH);
}

/* Cut where a character ends. */
static slice shortened(slice text)
{
    if (text.len <= BODY_BYTES_MAX)
        return text;
    text.len = BODY_BYTES_MAX;
    while (text.len > 0 && ((unsigned char)text.ptr[text.len] & 0xc0) == 0x80)
        text.len--;
    return text;
}

void push_summary(struct xml_write *x, uint32_t messages, slice sender, slice body)
{
    form_open(x, FORM_SUBMIT, NS_PUSH_SUMMARY);
    if (messages > 0)
        form_put_int(x, "message-count", messages);
    if (sender.len > 0)
        form_put(x, "last-message-sender", sender);
    if (body.len > 0)
        form_put(x, "last-message-body", shortened(body));
    form_close(x);
}

void push_close(struct xml_write *x, slice options)
{
    for (unsigned i = 0; i < 3; i++)
        xml_close(x);
    if (options.len > 0) {
        xml_open(x, "publish-options", NULL);
        xml_raw(x, options);
        xml_close(x);
    }
    xml_close(x);
}
