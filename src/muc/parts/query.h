/* query: permissions for the archive of a room (XEP-0313 §5.1.2). Users who are in the
 * room, or may enter it without approval, can read it. Only those who may see addresses can see the
 * addresses of authors. */
#pragma once
#include "im/iq.h"

struct disco_info;
struct room;

extern const struct iq_rule room_archive_rules[];
/* Adds the features of the archive to disco#info of the room. */
void room_archive_disco(struct disco_info *d, const struct room *r);
