/* admin: requests of XEP-0045 §8 and §9 (muc#admin): lists by affiliation or role, and changes of
 * either. A request with several changes does all of them or none. */
#pragma once
#include "base/err.h"

struct iq;

/* Answers a request for a change with what became of it: the result of room_commit(). */
void room_answer(struct iq *iq, enum err e);
