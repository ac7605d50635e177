/* copies: stored messages that a session asked for (archive queries, offline retrieval), sent once
 * more as copies to it alone (session_deliver_copy()), in parts, as its client takes them (design
 * §4). Confined to the home of the account.
 *
 * Limits: a part ends at 16 messages or 64 KiB. */
#pragma once
#include "base/err.h"
#include "session/session.h"

struct copies {
    struct producer producer;
    struct account *account;    /* whose messages; its owner keeps it pinned until done() */
    uint64_t session;           /* id of one of its sessions */
    const uint64_t *ids;        /* archive ids in the order to send; the owner's until done() */
    uint32_t count, sent, rows; /* rows: that are read at a time */
    /* Makes the stanza that is sent for a stored one. NULL: nothing is. */
    struct stanza *(*wrap)(struct copies *c, const struct session *s, uint64_t id, uint64_t at_us,
                           slice text);
    /* OK: all were delivered, or the session has ended. Never from inside copies_send(). */
    void (*done)(struct copies *c, enum err e);
    bool late;    /* entries may be late rows (architecture §7): nobody read them before */
    bool settles; /* the owner has the message when the client has the copy (architecture §6) */
};

/* At least one id. The owner embeds c, and has set all but `sent`, `rows` and
 * `producer`. */
void copies_send(struct copies *c);
