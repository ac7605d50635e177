/* messages_portable: messages of accounts that come and go (im/portable.h): the archive as
 * <archive xmlns='urn:xmpp:pie:0#mam'/> of forwarded messages, and those that nobody has yet as
 * <offline-messages/>. A message that stands in both is stored once.
 *
 * Limits: PORT_MESSAGES_MAX messages of a user, the newest, since an account is one transaction;
 * mailbox.unsettled-max of them offline. */
#pragma once
#include "im/portable.h"

enum { PORT_MESSAGES_MAX = 1000 };

extern const struct portable_part messages_portable;
