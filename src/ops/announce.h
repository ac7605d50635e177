/* announce: messages of the server to its users, from their domain. Any worker. */
#pragma once
#include "home/origin.h"
#include "home/question.h"

enum { ANNOUNCE_BYTES_MAX = 16384 };

/* The content of such a message, as XML; subject may be empty. */
slice announce_content(struct arena *arena, slice subject, slice text);
/* To an account, stored until it is there. `part`: of a join (home/ticket.h) that ends when it is
 * stored; or none. */
void announce_to(struct worker *w, slice bare, slice content, struct origin part);
/* Sends a headline to every available session of this node; it is not stored. `done`, which may be
 * NULL, runs on `w` when all have it. */
void announce_online(struct worker *w, slice content, gathered_fn *done, void *arg);
extern const struct message_row headline_message;
