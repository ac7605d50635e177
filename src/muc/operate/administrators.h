/* administrators: administrators of group chat, who are owners of every room (commands
 * `room-admin …`). The list is in the database; a set of its addresses is in memory for all
 * workers, replaced as a whole when the list changes. Rooms in which somebody of it is hear of the
 * change at once.
 *
 * Limit: ADMINISTRATORS_MAX of them. */
#pragma once
#include "base/slice.h"

struct node;
struct setting;

enum { ADMINISTRATORS_MAX = 1000, ADMINISTRATOR_TEXT_MAX = 1000 };

/* Whether this bare JID is one of them, and setting muc.administrators-enabled is on. Any worker.
 */
bool muc_is_administrator(slice bare);
/* Whether this bare JID may make rooms (muc.create, muc.create-home). Any worker. */
bool muc_may_create(const struct node *n, slice bare);
/* The setting was turned: for its row. Any thread. */
void administrators_switched(const struct setting *s);
