/* remote_contacts: the contacts on other servers and of components that accounts here are shown as
 * available. When their domain is lost, the accounts are sent unavailable presence in their name.
 * When it is back, contacts are probed (RFC 6121 §4.3) and sent the presence of the accounts that
 * they see, and requests without an answer are repeated. The same happens where a rule separates an
 * account from a domain or a single address, and lets them speak again.
 *
 * Presence that this server has sent for an account by itself, and that does not arrive, is lost:
 * the client hears of no error, and nothing is sent again before the domain is back.
 *
 * Only contacts in the list of an account, or that were sent directed presence by it, are
 * remembered, while the account has an available session. Confined to the home of the account.
 *
 * Limits: REMOTE_CONTACTS_MAX resources of contacts an account, others stay as they are shown;
 * REMOTE_BARRED_MAX contacts a worker that rules keep from accounts, others are not asked when a
 * rule lets them speak again. */
#pragma once

struct feature;

enum { REMOTE_CONTACTS_MAX = 5000, REMOTE_BARRED_MAX = 20000 };

extern const struct feature remote_contacts_feature;
