/* farewell: what contacts on other servers are told when an account is deleted, or gets another
 * address: `unsubscribe`, and that it is unavailable and `unsubscribed`, as far as there were
 * subscriptions (RFC 6121 §3.2, §3.3). Else whoever has the address next would have its
 * subscriptions there. Accounts of ours are told by im/roster_out.h.
 *
 * Rows of table farewell, which the transaction that removes the account writes. Behind the words
 * goes a ping of the contact's bare JID (XEP-0199), in the same queue: the answer says that its
 * server has had them, and the row is deleted. Without one they are said again, after a pause that
 * doubles up to FAREWELL_MAX_MS, after a start, and when the domain is back. Rows that are older
 * than FAREWELL_DAYS are given up, also those of domains that are not served any more, after a day
 * where there was only a request of the account. Of an
 * account that is emptied and keeps its address nothing is said for FAREWELL_EMPTIED_MINUTES, or
 * until it is enabled or an import has filled it again.
 *
 * A contact that knew the account by its mail address (im/contact_name.h) is told under that one,
 * which the row has: others may not know any more whose it was. If another account gets that
 * address as its own, these words are in a row of that.
 *
 * As long as there is a row, the words go before what the next account of the address sends to the
 * contact on another server; a component hears them when it is their turn. A direction of a
 * subscription that this account has with the contact by then is not ended; if it has all that the
 * row would end, the row is obsolete. Its open requests stay: its own is said again behind the
 * words, that of the contact is not refused by them.
 *
 * Confined to the home worker of the address. Limits: rows are read in rounds, FAREWELL_PAGE at a
 * time with a pause between, as long as no more than FAREWELL_UNANSWERED words of the round have no
 * answer; what is left for a domain that has not answered, one of FAREWELL_SILENT, waits for the
 * next round. Beside the round of all, FAREWELL_ROUNDS of deleted accounts. FAREWELL_HOLDS contacts
 * of one account whose words go before what it sends. */
#pragma once

struct feature;

enum {
    FAREWELL_PAGE = 64,
    FAREWELL_UNANSWERED = 256,
    FAREWELL_SILENT = 1000,
    FAREWELL_ROUNDS = 64,
    FAREWELL_HOLDS = 1000,
    FAREWELL_MIN_MS = 5000,
    FAREWELL_MAX_MS = 10 * 60 * 1000,
    FAREWELL_DAYS = 90,
    FAREWELL_EMPTIED_MINUTES = 10
};

extern const struct feature farewell_feature;
