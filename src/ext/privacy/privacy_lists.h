/* privacy_lists: Privacy Lists (XEP-0016). A list is replaced as a whole. Orders that blocking gave
 * (XEP-0191) are below nought; a client sees such a list numbered anew. */
#pragma once
#include "im/iq.h"

extern const struct iq_rule privacy_iq[]; /* of lists, blocking and policies */
