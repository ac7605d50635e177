/* admins: who may administer the server from a client. */
#pragma once
#include "base/setting.h"

extern struct setting admin_accounts; /* of users_feature */

/* Whether this bare JID is one of the setting admin.accounts. Any thread. That says nothing of who
 * sent a stanza with it: a domain that was ours may be of another server now. */
bool admins_has(slice bare);
