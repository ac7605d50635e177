/* retract: messages that take back another one (XEP-0424). */
#pragma once
#include "base/slice.h"
#include <stdbool.h>

struct arena;
struct stanza;

/* The id of the message that this one takes back; empty: it takes back none. */
slice retract_target(const struct stanza *st, struct arena *tmp);
/* XEP-0424 §4: the id of the message, or its origin id. */
bool retract_has_id(const struct stanza *st, slice id, struct arena *tmp);
