/* archive_answer: answers to requests (IQ) about an archive, of an account or a room, whose sender
 * may see it (XEP-0313). */
#pragma once
#include "base/err.h"
#include <stdint.h>

struct iq;

/* A held request whose archive could not be read, or not completely: e is not OK. */
void archive_unread(struct iq *iq, enum err e);
/* The metadata (§4.4), later; the form (§4.1). */
void archive_ends_answer(struct iq *iq, int64_t owner, uint64_t lane);
void archive_form_answer(struct iq *iq);
