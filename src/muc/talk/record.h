/* record: what is kept of a room's messages, and the last of them for those who enter (XEP-0045
 * §7.2.14). */
#pragma once
#include "home/router.h"

struct elem;
struct room;
struct room_post;
struct seat;

bool room_records(const struct room *r); /* messages are stored */
/* Keeps a message that was relayed; its id 0: it is not kept. */
enum routed room_record(struct room *r, const struct room_post *p, struct origin origin);
/* Sends the last messages to a session that enters. x: the <x/> that it entered with; NULL: none.
 */
void room_send_history(struct room *r, const struct seat *s, const struct elem *x);
