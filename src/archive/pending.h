/* pending: stored messages of ours for foreign domains that these have not confirmed (architecture
 * §7). The row of such a message has the sender's archive id as `pending_out`, and the bare JID of
 * its addressee as `remote`; 0 says that it is confirmed, or was answered with an error. So the
 * rows are the mailbox of the domain, in the order of each sender.
 *
 * A message that its sender does not archive has a row without entries, which is deleted then. So
 * have those of rooms, which are senders, too: private messages and invitations. */
#pragma once
#include "store/store.h"

/* What the partial index is over: the domain of `remote`. The function is that of the database for
 * the place of a text in another. */
#define PENDING_DOMAIN(place) "substr(remote, " place "(remote, '@') + 1)"

enum { PENDING_PAGE = 64, PENDING_SWEPT = 64 /* rows */ };

extern struct store_stmt pending_page_stmt, pending_old_stmt, pending_pairs_stmt, pending_has_stmt,
    pending_claim_stmt, pending_settle_stmt, pending_delete_stmt, pending_empty_stmt,
    pending_forget_stmt, pending_total_stmt, pending_totals_stmt, pending_all_stmt,
    pending_count_stmt, pending_sweep_stmt;

/* Adds a read: at most PENDING_PAGE rows for a domain, behind an id of a sender, by sender and id;
 * `before_us`: only those that were stored before. */
void archive_pending_read(struct store_batch *b, slice domain, int64_t sender, uint64_t id,
                          uint64_t before_us);
struct archive_pending {
    int64_t sender;
    uint64_t id; /* of `pending_out` */
    uint64_t at_us;
    bool taken_back; /* a tombstone has its place (XEP-0424) */
    bool unshown;
    slice stanza;
    slice from; /* bare JID of the sender; ptr NULL: that is no account, see the stanza */
};
struct archive_pending archive_pending_of(const struct store_batch *b, uint32_t row);

/* Adds a read: which senders have messages for which domains, behind one, at most PENDING_PAGE. */
void archive_pending_pairs(struct store_batch *b, slice domain, int64_t sender);
struct archive_pending_pair {
    slice domain, from; /* bare JID of the sender; ptr NULL: that is no account */
    slice stanza;       /* one of its messages then, which has the address */
    int64_t sender;
};
struct archive_pending_pair archive_pending_pair_of(const struct store_batch *b, uint32_t row);

/* Adds a read: how many there are for a domain, a row with a number; at most
 * `max`. */
void archive_pending_total(struct store_batch *b, slice domain, int64_t max);

/* Adds a read: the same of all domains together. It reads the partial index alone. */
void archive_pending_all(struct store_batch *b, int64_t max);

/* Adds a read: the same for each domain, of at most `max` in all: rows of a domain and a number, in
 * the order of the domains as the database has it. */
void archive_pending_totals(struct store_batch *b, int64_t max);

/* Adds a read: whether one is pending, a row. */
void archive_pending_has(struct store_batch *b, slice domain, int64_t sender, uint64_t id);
/* Adds: it is pending no longer. `once`: the batch is a conflict if it was not. Returns how many
 * statements that are, 3 at most; none changes a row if it was not pending. */
unsigned archive_pending_settle(struct store_batch *b, slice domain, int64_t sender, uint64_t id,
                                bool unshown, bool once);
/* Adds a read: how many messages of a sender are pending for a domain, of those with an id
 * below `before` (at most INT64_MAX); at most `max`. */
void archive_pending_count(struct store_batch *b, slice domain, int64_t sender, uint64_t before,
                           uint32_t max);
int64_t archive_pending_count_of(const struct store_batch *b);
/* Adds: some rows of the log that are empty are deleted, at most PENDING_SWEPT. Such a row was the
 * newest one when nobody had it any more (architecture §7). */
void archive_pending_sweep(struct store_batch *b);
/* Adds: nothing of this account is pending any more. */
void archive_pending_forget(struct store_batch *b, int64_t sender);
