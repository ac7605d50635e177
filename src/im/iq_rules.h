/* iq_rules: the IQ rules of all features, sorted once at start, to be found by a request. */
#pragma once
#include "im/iq.h"

struct feature;

/* Two rules that would take the same requests. */
struct iq_clash {
    const char *first, *second; /* names of their features */
    const struct iq_rule *rule; /* of the first */
};

/* By features_set(). false: two rules clash, and *clash says which (the order of features must not
 * decide who answers). */
bool iq_rules_set(const struct feature *const *list, struct iq_clash *clash);

/* The rule for a request to this kind of address; NULL: none. */
const struct iq_rule *iq_rules_find(enum stanza_type type, slice ns, slice name,
                                    enum iq_target target);
