/* announce: messages of the server to its users, from their domain. Any worker. */
#pragma once
#include "im/node.h"

enum { ANNOUNCE_BYTES_MAX = 16384 };

/* What such a message holds, as XML; subject may be empty. */
slice announce_content(struct arena *arena, slice subject, slice text);
/* To an account, stored until it is there. */
void announce_to(struct worker *w, slice bare, slice content);
/* A headline to every session that is available on this node: told once, kept by nobody. `done`,
 * which may be NULL, runs on `w` when it was said to all. */
void announce_online(struct worker *w, slice content, tour_fn *done, void *arg);
