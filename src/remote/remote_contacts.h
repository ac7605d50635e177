/* remote_contacts: the contacts on other servers and of components that accounts here are shown as
 * available. When their domain is lost, or a rule separates them, the accounts are sent unavailable
 * presence in their name. When it is back, contacts are probed (RFC 6121 §4.3) and sent presence,
 * and requests without an answer are repeated. Presence that this server has sent by itself and
 * that does not arrive is lost.
 *
 * Only contacts in the list of an account, or that were sent directed presence by it, are
 * remembered, while the account has an available session. Confined to the home of the account.
 * Limits: REMOTE_CONTACTS_MAX resources an account; REMOTE_BARRED_MAX barred contacts a worker. */
#pragma once

struct feature;

enum { REMOTE_CONTACTS_MAX = 5000, REMOTE_BARRED_MAX = 20000 };

extern const struct feature remote_contacts_feature;
