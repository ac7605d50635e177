/* mam_retract: retraction (XEP-0424): a message that its author retracts becomes a tombstone in the
 * archives of both sides (§5): its content gives way to <retracted/>, and its words leave the
 * index. The retraction itself is archived like any message, so a client that catches up learns of
 * it.
 *
 * The text of a message is stored once, so one change is for both sides. The home of the addressee
 * makes it. It looks for the message in the archive of the addressee, then in that of the author.
 * If the addressee refuses the retraction, as one who has blocked the author, a message that the
 * addressee has stays as it is. If the addressee has no account in this database, the home of the
 * author makes the change.
 *
 * The retraction is acknowledged when the tombstone is committed. No session of the addressee is
 * sent the old words after that, except in carbons that are queued already. If the tombstone cannot
 * be committed, the sender gets one error, and a repeat of the retraction looks again.
 *
 * An author has one search under way at each worker; what else the author retracts waits behind it,
 * in order.
 *
 * Limits: RETRACTIONS_MAX of an author wait at a worker, at most one more when they have
 * RETRACTIONS_BYTES_MAX together; beyond: resource-constraint. TRIES times, if the message is
 * changed meanwhile. Those of mam_talk.h. */
#pragma once
#include "core/stage.h"

extern unsigned mam_retract_slot;                             /* of workers */
bool mam_retract(struct account *a, const struct passage *p); /* as archive_part.kept */
void mam_retract_stop(struct worker *w);                      /* memory only */
