/* privacy_blocking: the Blocking Command (XEP-0191) and reports with it (XEP-0377). The block list
 * is what the default privacy list denies wholly to an address (XEP-0191 §3); where there is no
 * default list, blocking makes one. */
#pragma once
#include "base/command.h"
#include "base/setting.h"
#include "store/store.h"

struct iq;

/* Reports that come with a block (XEP-0377). */
#define NS_REPORTING "urn:xmpp:reporting:1"
extern struct setting reports_max;
extern struct command report_list, report_drop, user_blocked;
extern struct store_stmt report_stmts[5];

void blocking_get(struct iq *iq);
void blocking_block(struct iq *iq);
void blocking_unblock(struct iq *iq);
