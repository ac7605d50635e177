/* owner: what the owner of a room asks of it by IQ (XEP-0045 §10.1, §10.2, §10.9): its
 * configuration as a form, an answer to that, the end of the room. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct room;
struct room_config;
struct room_delta;

/* Prepares a change that makes `next` the configuration of the room, and opens the room if it is
 * locked: sets `config` and `unlock` of the delta. false: not possible, for the reason in `why`. */
bool room_reconfigure(const struct room *r, const struct room_config *next, struct room_delta *d,
                      struct why *why);
