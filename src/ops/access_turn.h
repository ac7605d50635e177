/* access_turn: changes of who has which right are decided one after the other: each when the one
 * before it is stored, and all nodes have read the table again (ops/access.h). So nobody gets a
 * role while that is deleted, and nobody makes anything by a right that is taken at that moment,
 * whichever of the two came first. On the worker of DUTY_ACCESS.
 *
 * Slow work, such as the key of a password, is done before the turn. Checks that were made before
 * it are made again in it. */
#pragma once
#include <stdbool.h>

struct command_call;
struct worker;

/* The function runs when it is the turn of the call, and ends in access_submit(), or the call has
 * failed. It fails before that if its actor has no longer what it was let in with. */
void access_in_turn(struct command_call *call, void (*run)(struct command_call *call));
void access_in_turn_with(struct command_call *call, void (*fn)(void *arg), void *arg);

/* By access_submit(): the turn ends with access_turn_over(), not with the function. */
void access_turn_keep(void);
void access_turn_over(void);
/* The check in front of each. false: the call has failed. */
void access_turns_begin(bool (*is_good)(struct command_call *call));
void access_turns_end(struct worker *w); /* the worker has ended */
