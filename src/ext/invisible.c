/* invisible: Invisible Command (XEP-0186): a session that its client uses and nobody sees. The
 * state is session.hidden of the core: it costs nothing, and it ends with the session. */
#include "account/account.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "presence/presence.h"

#define NS_INVISIBLE "urn:xmpp:invisible:0"

static void set_invisible(struct iq *iq)
{
    if (iq->session == NULL) {
        iq_error(iq, SE_UNEXPECTED_REQUEST, SLICE("invisibility belongs to a session"));
        return;
    }
    presence_vanish(iq->session);
    iq_result(iq, (slice){ 0 });
}

static void set_visible(struct iq *iq)
{
    if (iq->session == NULL) {
        iq_error(iq, SE_UNEXPECTED_REQUEST, SLICE("invisibility belongs to a session"));
        return;
    }
    presence_appear(iq->session);
    iq_result(iq, (slice){ 0 });
}

static const struct iq_rule invisible_rules[] = {
    { TYPE_SET, NS_INVISIBLE, "invisible", IQ_TO_SELF, set_invisible },
    { TYPE_SET, NS_INVISIBLE, "visible", IQ_TO_SELF, set_visible },
    { 0 },
};
static const struct xep invisible_xeps[] = {
    { "0186", "0.11", "Invisible Command", "0.1.0", "im/test_invisible", NULL },
    { 0 },
};

const struct feature invisible_feature = {
    .name = "invisible",
    .parts = PART_PRESENCE | PART_SESSION,
    .disco = (const char *const[]){ NS_INVISIBLE, NULL },
    .iq = invisible_rules,
    .xeps = invisible_xeps,
};
