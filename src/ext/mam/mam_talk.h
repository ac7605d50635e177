/* mam_talk: an earlier message of the same author in the same conversation of an archive, which a
 * correction (XEP-0308) or a retraction (XEP-0424) names by its id. An account of ours has its
 * messages with one contact together; those with all other addresses, and all messages of a room,
 * are together under peer 0 and told apart by the address. So both the statements and
 * mam_same_talk() compare addresses.
 *
 * Limits: among the last messages of the conversation (MAM_LOOK_BACK), of those with addresses that
 * are no accounts together; at most MAM_CANDIDATES that have the id in them. */
#pragma once
#include "archive/archive.h"
#include "xmpp/stanza.h"

struct worker;

enum { MAM_LOOK_BACK = 2000, MAM_CANDIDATES = 16 };

/* Entries `e` of the conversation, newest first: $1 the owner, $2 the address of the other side (in
 * a room: of the author), $3 only entries with lower archive ids, $4 MAM_LOOK_BACK. Behind it, the
 * row of the log `m` has MAM_TALK_IS. A deleted account has had two: its own, and none. */
#define MAM_TALK_PART(index, peer)                                                                 \
    "SELECT * FROM (SELECT peer, msg FROM entry" index " WHERE owner = $1 AND peer = " peer        \
    " AND id < $3 ORDER BY id DESC LIMIT $4) AS part"
#define MAM_TALK(index)                                                                            \
    "(" MAM_TALK_PART(                                                                             \
        index,                                                                                     \
        "coalesce((SELECT id FROM account WHERE jid = $2),"                                        \
        " (SELECT max(id) FROM former WHERE jid = $2))") " UNION ALL " MAM_TALK_PART(index,        \
                                                                                     "(SELECT "    \
                                                                                     "CASE WHEN "  \
                                                                                     "$1 < "       \
                                                                                     "10995116277" \
                                                                                     "76 AND"      \
                                                                                     " EXISTS "    \
                                                                                     "(SELECT 1 "  \
                                                                                     "FROM "       \
                                                                                     "account "    \
                                                                                     "WHERE jid "  \
                                                                                     "= $2) THEN " \
                                                                                     "-1 ELSE 0 "  \
                                                                                     "END)") ") e"
#define MAM_TALK_IS "(e.peer <> 0 OR m.remote = $2)"

/* XEP-0424 §4: the id of the message, or its origin id. */
bool mam_has_id(const struct stanza *st, slice id, struct arena *tmp);
/* Whether both are of one author and for one address, in the archive of an account that `sent` or
 * received them. An address is a bare JID, but the full one of an occupant of a room: the others
 * there are somebody else. Who has the nickname later has another occupant id (XEP-0421), and is
 * not the author. */
bool mam_same_talk(const struct worker *w, const struct stanza *st, const struct stanza *earlier,
                   bool sent);
