/* iq_rules: the IQ rules of all features, gathered once at start in a hash by namespace and name.
 */
#pragma once
#include "talk/iq.h"

void iq_rules_set(void); /* by features_set() */

/* The rule for a request to this kind of address; NULL: none. */
const struct iq_rule *iq_rules_find(enum stanza_type type, slice ns, slice name,
                                    enum iq_target target);
