/* admins: who may administer the server from a client. */
#pragma once
#include "base/slice.h"

/* Whether this bare JID is one of the setting admin.accounts. Any thread. */
bool admins_has(slice bare);
