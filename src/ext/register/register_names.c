#include "ext/register/register_names.h"
#include "base/arena.h"
#include "xmpp/jid.h"
#include "xmpp/nickname.h"

struct setting register_reserved_names = {
    .name = "register.reserved-names",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_TEXT,
    .max = 2000,
    .def_text = "abuse admin administrator administration bot daemon ftp help helpdesk hostmaster "
                "info list mailer-daemon marketing moderator news nobody noc noreply official "
                "operator owner postmaster root sales security server service staff support "
                "sysadmin sysop system team usenet uucp webmaster www xmpp jabber",
    .doc = "User names that clients cannot register, separated by spaces: those of offices, which "
           "others trust. Names that look like one of them, with or without hyphens, dots and "
           "underscores, the name of the domain and names that begin with guest- cannot be "
           "registered either. Operators can still add such accounts "
           "with `user add` and invite somebody to one with `user invite --username`.",
};

/* For comparing with reserved names: what a name looks like, without punctuation, and with i and l
 * as one letter, because a 1 stands for both: "adm1n", "no-reply", "support.". */
static slice reserved_look(slice name, struct arena *tmp)
{
    slice look = nickname_skeleton(name, tmp);
    char *out = arena_alloc_raw(tmp, look.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < look.len; i++)
        if (memchr(".-_", look.ptr[i], 3) == NULL)
            out[len++] = look.ptr[i];
    for (size_t i = 0; i < len; i++)
        out[i] = out[i] == 'i' ? 'l' : out[i];
    return (slice){ out, len };
}

static bool looks_like(slice look, slice name, struct arena *tmp)
{
    return name.len > 0 && slice_eq(look, reserved_look(name, tmp));
}

bool register_name_reserved(slice local, slice domain, struct arena *tmp)
{
    slice look = reserved_look(local, tmp),
          rest = setting_text_of(&register_reserved_names, domain);
    slice label = domain, word;
    (void)slice_cut(domain, '.', &label, &(slice){ 0 });
    if (looks_like(look, domain, tmp) || looks_like(look, label, tmp) ||
        slice_starts(nickname_skeleton(local, tmp), nickname_skeleton(SLICE("guest-"), tmp)))
        return true;
    while (slice_word(&rest, &word))
        if (looks_like(look, word, tmp))
            return true;
    return false;
}
