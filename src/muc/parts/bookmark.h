/* bookmark: bookmarks of registered members (setting muc.bookmark): users who register with a
 * persistent room get a bookmark, so that their clients enter it at login (XEP-0402). It is removed
 * with the registration. The room tells the home of the account by a fan. There the account sends
 * itself the requests that its client would send, so that any feature that serves bookmarks stores
 * them. A bookmark that is there already is left as it is. Only accounts of this server get
 * bookmarks. Tasks of one account and room run one after the other, because each first reads what
 * is there. */
#pragma once
#include "base/slice.h"

struct room;

/* Whether the user has a nickname registered here. */
enum registered { REGISTERED_NOT, REGISTERED };
enum registered room_registered(const struct room *r, slice bare);
/* After a change: adds or removes the bookmark if room_registered() differs from `was`, its value
 * before the change. */
void room_bookmark(struct room *r, slice bare, enum registered was);
