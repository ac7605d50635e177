#include "im/admins.h"
#include "base/arena.h"
#include "xmpp/jid.h"

static bool are_accounts(slice text)
{
    struct arena *tmp = arena_create(0);
    bool right = true;
    while (text.len > 0 && right) {
        struct jid jid;
        slice one;
        slice_cut(text, ' ', &one, &text);
        right = one.len == 0 || (jid_parse(&jid, one, tmp) == OK && jid.local.len > 0 &&
                                 jid.resource.len == 0 && slice_eq(jid.full, one));
    }
    arena_destroy(&tmp);
    return right;
}

struct setting admin_accounts = {
    .name = "admin.accounts",
    .type = SET_STRING,
    .max = 4096,
    .def_text = "",
    .check = are_accounts,
    .form = "addresses of accounts, lower case, separated by spaces",
    .doc = "Accounts, separated by spaces, that may run every command from their clients (ad-hoc "
           "commands, XEP-0050) as `musterctl` does.",
};

bool admins_has(slice bare)
{
    slice one, rest = slice_of(setting_text(&admin_accounts));
    while (rest.len > 0) {
        slice_cut(rest, ' ', &one, &rest);
        if (one.len > 0 && slice_eq(one, bare))
            return true;
    }
    return false;
}
