/* ping: XMPP Ping (XEP-0199). */
#include "core/feature.h"
#include "ext/ext.h"
#include "talk/access.h"
#include "xmpp/ns.h"

/* A ping to a bare JID is answered for the account (§4.4), but tells strangers nothing about it. */
static void ping_get(struct iq *iq)
{
    if (iq->target == IQ_TO_SERVER || iq->target == IQ_TO_HOST || access_presence(iq))
        iq_result(iq, (slice){ 0 });
    else
        iq_error(iq, SE_SERVICE_UNAVAILABLE, (slice){ 0 });
}

static const struct iq_rule ping_rules[] = {
    { TYPE_GET, NS_PING, "ping", IQ_TO_SERVER | IQ_TO_SELF | IQ_TO_ACCOUNT | IQ_TO_HOST, ping_get },
    { 0 },
};

static const char *const ping_disco[] = { NS_PING, NULL };

const struct feature ping_feature = {
    .name = "ping",
    .xeps =
        (const struct xep[]){
            { "0199", "2.0.1", "XMPP Ping", "0.1.0", "services/test_services", NULL },
            { 0 },
        },
    .disco = ping_disco,
    .disco_account = ping_disco,
    .iq = ping_rules,
};
