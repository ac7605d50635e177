/* reach: how commands of operators come to a room, at its home, in order with the stanzas to it. */
#pragma once
#include "base/command.h"
#include "base/err.h"

struct room;
struct worker;

/* Runs fn unless one of the users, separated by spaces, would be one of ours and has no account:
 * then the call fails. A name that was mistyped would get its rights with the account that takes
 * it. The text lives as long as the call. */
typedef void operate_known_fn(void *arg);
void operate_with_known(struct command_call *call, slice users, operate_known_fn *fn, void *arg);

/* Runs fn with the room of the argument `room`, at whose home the command runs; if there is none,
 * or it cannot be loaded, the call fails. */
typedef void operate_fn(struct room *r, void *arg);
void operate_visit(struct command_call *call, operate_fn *fn, void *arg);
void operate_fail_missing(struct command_call *call, slice room); /* there is none */
/* Also if there is no such room (ACTOR_ABSENT). */
void operate_visit_anyhow(struct command_call *call, operate_fn *fn, void *arg);
/* The same for those who have no call, on the worker that is the home of the room. e: OK, or why it
 * could not be reached; then r may be NULL. */
typedef void operate_room_fn(struct room *r, enum err e, void *arg);
void operate_reach(struct worker *w, slice jid, operate_room_fn *fn, void *arg);
