/* import_openfire: a <User/> of the plugin "User Import/Export" of Openfire as a <user/> of the
 * portable format (XEP-0227). Pure.
 *
 * Limits: PIE_ELEMENT_MAX bytes of the result. */
#pragma once
#include "base/slice.h"

struct arena;
struct elem;

/* Where the plugin cannot read a password, it writes the name of the user: such an account comes
 * without one. `note` says so; NULL: it has nothing to say. Empty: the result is too long. */
slice openfire_user(const struct elem *user, struct arena *tmp, const char **note);
