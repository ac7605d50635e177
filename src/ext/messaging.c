/* messaging: settings for instant messaging as a whole, and requests to clients. Both are announced
 * in a form of disco#info (docs/messaging.md). */
#include "talk/messaging.h"
#include "account/account.h"
#include "base/setting.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "home/host.h"
#include "home/node.h"
#include "presence/presence.h"

#define NS_MESSAGING "urn:muster:messaging:0"

static struct setting im_offline = {
    .name = "im.offline-messages",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Messages to offline users are stored until they log in. Off: these are refused with "
           "service-unavailable.",
};
static struct setting im_client_history = {
    .name = "im.client-history",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Clients may keep a history of instant messages on their device. This is announced to "
           "clients; it works only with clients that support it.",
};
static struct setting im_cut_paste = {
    .name = "im.cut-paste",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Clients may offer cut and paste in instant messages. This is announced to clients; it "
           "works only with clients that support it.",
};

static const struct disco_form messaging_form = {
    NS_MESSAGING,
    (const struct disco_form_field[]){ { "enabled", &messaging_enabled },
                                       { "offline-messages", &im_offline },
                                       { "client-history", &im_client_history },
                                       { "cut-paste", &im_cut_paste },
                                       { 0 } },
};

/* Into a room that the session is not in: it would hear nothing there, nor be heard. */
static bool enters_room(const struct session *s, const struct stanza *st)
{
    if (st->kind != STANZA_PRESENCE || st->type != TYPE_AVAILABLE || st->to_len == 0 ||
        presence_is_sent(s, stanza_to(st)))
        return false;
    struct jid to = jid_split(stanza_to(st));
    const struct node *n = account_node(s->account);
    return stanza_has(st, KNOWN(MUC)) ||
           (!node_serves(n, to.domain) && host_find(n, to.domain, &(slice){ 0 }) != NULL);
}

static enum verdict messaging_check(struct session *s, struct stanza **st, struct refusal *why)
{
    if (setting_bool(&messaging_enabled))
        return PASS;
    return enters_room(s, *st) ? messaging_takes_entry(why) : messaging_takes(*st, why);
}

/* In the name of an account: what its own client would be refused. */
static bool messaging_sends(const struct account *a, const struct stanza *st)
{
    struct refusal why;
    (void)a;
    return messaging_takes(st, &why) == PASS;
}

static bool messaging_is_there(const struct account *a, const struct stanza *st)
{
    if (st->to_len == 0) /* of a room that a session is in (core/audience.h) */
        return true;
    if (!stanza_to_is_bare(st) &&
        account_session(a, slice_from(stanza_to(st), st->to_bare_len + 1u)) != NULL)
        return true;
    return account_receivers(a) > 0;
}

static enum verdict messaging_block(struct account *a, const struct stanza *st, struct refusal *why)
{
    if (!messaging_is_im(st)) /* headlines are of services, too */
        return PASS;
    enum verdict all = messaging_takes(st, why);
    if (all != PASS)
        return all;
    if (setting_bool(&im_offline) || st->type == TYPE_GROUPCHAT /* refused from all accounts */ ||
        messaging_is_there(a, st))
        return PASS;
    if (!stanza_has(st, KNOWN(BODY) | KNOWN(ENCRYPTED)))
        return DROP; /* receipts and the like: nobody waits for an answer */
    why->error = SE_SERVICE_UNAVAILABLE;
    why->text = SLICE("the user is offline, and messages are not kept here");
    why->not_strangers = true;
    return REFUSE;
}

const struct feature messaging_feature = {
    .name = "messaging",
    .form = &messaging_form,
    .settings = (struct setting *const[]){ &messaging_enabled, &im_offline, &im_client_history,
                                           &im_cut_paste, NULL },
    .stage.check = messaging_check,
    .stage.block = messaging_block,
    .stage.sends = messaging_sends,
};
