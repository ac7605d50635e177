/* contacts_abroad: the contacts on other servers and of components that sessions here are shown as
 * available. When their domain is lost, their accounts here are sent unavailable presence in their
 * name; when it is back, they are probed again (RFC 6121 §4.3), and are told the presence of the
 * accounts here (im/contacts_errand.h). A contact that does not confirm after that to be available
 * is unavailable. The same happens where a rule separates domains, or keeps a single contact from
 * the account as a blocked address, and lets them speak again. What keeps them apart makes the
 * account unavailable to contacts that see it, and what ends repeats requests without an answer.
 *
 * Only those that are in the contact list of an account, or were sent directed presence by it, are
 * remembered, while the
 * account has an available session. Confined to the home of the account.
 *
 * Limits: CONTACTS_ABROAD_MAX resources of contacts an account, others stay as they are shown;
 * CONTACTS_PAIRS_MAX pairs of domains a worker, and as many single contacts; others are not asked
 * when a rule lets them speak again. */
#pragma once

struct feature;

enum { CONTACTS_ABROAD_MAX = 5000, CONTACTS_PAIRS_MAX = 20000 };

extern const struct feature contacts_abroad_feature;
