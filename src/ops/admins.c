#include "ops/admins.h"
#include "xmpp/jid.h"

static bool is_account(const struct jid *j) { return j->local.len > 0 && jid_is_bare(j); }

static bool are_accounts(slice text) { return jid_words_suit(text, is_account); }

struct setting admin_accounts = {
    .name = "admin.accounts",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BARE,
    .max = 4096,
    .def_text = "",
    .check = are_accounts,
    .many = true,
    .form = "addresses of accounts, lower case, separated by spaces",
    .doc = "Accounts of this server, separated by spaces, that may run every command from their "
           "clients (ad-hoc "
           "commands, XEP-0050) as `musterctl` does. An account that is deleted is "
           "taken out. A client that logged in with a token (XEP-0484) instead of the password "
           "cannot change this list.",
};

bool admins_has(slice bare)
{
    slice one, rest = slice_of(setting_text(&admin_accounts));
    while (slice_word(&rest, &one))
        if (slice_eq(one, bare))
            return true;
    return false;
}
