/* privacy_portable: rules of accounts that come and go (core/portable.h): privacy lists, of which
 * the default one has the blocks, as <query xmlns='jabber:iq:privacy'/>. A <blocklist/> (XEP-0191)
 * comes before the rules of the default list. */
#pragma once
#include "core/portable.h"

extern const struct portable_part privacy_portable;
