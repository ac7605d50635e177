/* messages_portable: messages of accounts that come and go (core/portable.h): the archive as
 * <archive xmlns='urn:xmpp:pie:0#mam'/> of forwarded messages, and those that nobody has yet as
 * <offline-messages/>. A message that stands in both is stored once.
 *
 * Limits: mailbox.unsettled-max messages offline. More than PORT_BATCH_ROWS messages, or
 * PORT_BATCH_BYTES, are stored by transactions before the one of the account. A message that is
 * longer than PORT_MESSAGE_BYTES does not come along. */
#pragma once
#include "core/portable.h"

enum {
    PORT_BATCH_ROWS = 500,
    PORT_BATCH_BYTES = 2 << 20,
    PORT_MESSAGE_BYTES = (16 << 20) - (64 << 10) /* what else a transaction has is shorter */
};

extern const struct portable_part messages_portable;
