/* messaging: whether instant messages are delivered here at all (im.enabled). Messages are asked
 * about where a client of ours sends them, at the home of an account, and in rooms, which other
 * servers and components reach as well. */
#pragma once
#include "base/setting.h"
#include "core/stage.h"

extern struct setting messaging_enabled;

/* Whether it is a message between people, not one of a service or device. */
bool messaging_is_im(const struct stanza *st);
/* PASS; REFUSE; or DROP: messages without text, such as typing notifications, get no error. */
enum verdict messaging_takes(const struct stanza *st, struct refusal *why);
/* Whether somebody who is not in a room may enter it. */
enum verdict messaging_takes_entry(struct refusal *why);
