/* service_lists: with whom the users of this server may communicate at all: a blacklist and a
 * whitelist of addresses and domains, for both directions (XEP-0133 §4.11, §4.12).
 *
 * What is ours (domains served here, and the services below them) is on no list: the blacklist
 * stops single accounts of ours only, and the whitelist is about others. An entry is an address
 * with or without resource, or a domain (XEP-0016 §2.1: each form that a JID has there). */
#include "account/account.h"
#include "base/setting.h"
#include "core/command_form.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "home/host.h"
#include "home/node.h"

static bool are_addresses(slice text) { return jid_words_suit(text, NULL); }

static struct setting blacklist_setting = {
    .name = "service.blacklist",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_TEXT,
    .max = 4000,
    .def_text = "",
    .check = are_addresses,
    .form = "addresses and domains, lower case, separated by spaces",
    .doc = "Addresses and domains with which users cannot communicate: stanzas from and to them "
           "are refused. It may contain single accounts of this server, but not its domains.",
};
static struct setting whitelist_setting = {
    .name = "service.whitelist",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_TEXT,
    .max = 4000,
    .def_text = "",
    .check = are_addresses,
    .form = "addresses and domains, lower case, separated by spaces",
    .doc = "If it is not empty, users can communicate only with these addresses and domains, and "
           "with those of this server.",
};

/* Whether an entry of the list means this address: itself, its bare form, its domain, or its domain
 * with that resource. */
static bool service_lists_is_listed(slice list, const struct jid *jid)
{
    slice one, bare = jid_bare(jid);
    while (slice_word(&list, &one)) {
        if (slice_eq(one, jid->full) || slice_eq(one, bare) || slice_eq(one, jid->domain))
            return true;
        slice domain, resource;
        if (slice_cut(one, '/', &domain, &resource) && slice_eq(domain, jid->domain) &&
            slice_eq(resource, jid->resource))
            return true;
    }
    return false;
}

static bool is_listed_account(slice list, const struct jid *jid)
{
    slice one, bare = jid_bare(jid);
    while (slice_word(&list, &one))
        if (slice_eq(one, jid->full) || slice_eq(one, bare))
            return true;
    return false;
}

static bool service_lists_is_ours(const struct node *n, slice domain)
{
    slice parent;
    return node_serves(n, domain) || host_find(n, domain, &parent) != NULL;
}

static bool service_lists_is_refused(const struct node *n, slice address)
{
    const char *blacklist = setting_text(&blacklist_setting);
    const char *whitelist = setting_text(&whitelist_setting);
    if ((*blacklist == '\0' && *whitelist == '\0') || address.len == 0)
        return false;
    slice black = slice_of(blacklist), white = slice_of(whitelist);
    struct jid jid = jid_split(address);
    bool ours = service_lists_is_ours(n, jid.domain);
    if (ours && jid.local.len == 0)
        return false;
    if (ours) /* only itself, not its domain */
        return is_listed_account(black, &jid);
    return service_lists_is_listed(black, &jid) ||
           (white.len > 0 && !service_lists_is_listed(white, &jid));
}

static enum verdict service_lists_refuse(const struct stanza *st, struct refusal *why)
{
    why->error = SE_POLICY_VIOLATION;
    why->text = SLICE("the server does not communicate with this address");
    return st->type == TYPE_ERROR || st->type == TYPE_RESULT ? DROP : REFUSE;
}

static enum verdict service_lists_check(struct session *s, struct stanza **st, struct refusal *why)
{
    const struct node *n = account_node(s->account);
    return service_lists_is_refused(n, stanza_to(*st)) ? service_lists_refuse(*st, why) : PASS;
}

static enum verdict service_lists_block(struct account *a, const struct stanza *st,
                                        struct refusal *why)
{
    if (!service_lists_is_refused(account_node(a), stanza_from(st)))
        return PASS;
    /* An answer to presence would only tell that there is an account. */
    return st->kind == STANZA_PRESENCE ? DROP : service_lists_refuse(st, why);
}

static const struct command_ask blacklist[] = {
    COMMAND_ASK("blacklistjids", FORM_JID_MULTI, "The blacklist", .use = USE_WORDS, .arg = "value",
                .setting = "service.blacklist"),
    COMMAND_ASK_END,
};
static const struct command_ask whitelist[] = {
    COMMAND_ASK("whitelistjids", FORM_JID_MULTI, "The whitelist", .use = USE_WORDS, .arg = "value",
                .setting = "service.whitelist"),
    COMMAND_ASK_END,
};
static const struct command_form forms[] = {
    { ADMIN_NODE("edit-blacklist"), .title = "Editing the Blacklist",
      .instructions = "With these addresses and domains nobody here communicates.",
      .command = "set", .fixed = COMMAND_FIXED("setting", "service.blacklist"),
      .fields = blacklist },
    { ADMIN_NODE("edit-whitelist"), .title = "Editing the Whitelist",
      .instructions = "Beside each other, users here communicate with these addresses and domains "
                      "only. An empty list means everybody.",
      .command = "set", .fixed = COMMAND_FIXED("setting", "service.whitelist"),
      .fields = whitelist },
    { 0 },
};

const struct feature service_lists_feature = {
    .name = "service_lists",
    .settings = (struct setting *const[]){ &blacklist_setting, &whitelist_setting, NULL },
    .command_forms = forms,
    .stage.check = service_lists_check,
    .stage.block = service_lists_block,
};
