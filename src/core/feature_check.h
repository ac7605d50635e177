/* feature_check: no two features have the same row: the order of the list must not decide who
 * answers. Nor has one feature the same row twice. Pure. */
#pragma once
#include "base/err.h"
#include <stdbool.h>

struct claims;
struct feature;

/* A NULL-terminated list. false: `why` names the row and both features. Looked at are names of
 * features, IQ rules by each kind of address, hosts, identities and forms of service discovery,
 * stream features (the whole text of their rows; functions are not looked at), elements that are no
 * stanzas, rules of Bind 2, tags of fans, pages over HTTP, schemas, statements, settings, commands,
 * metrics, alarms, areas of the log, what only one feature can have, and the rows that `claim` of a
 * feature knows. */
NODISCARD bool features_agree(const struct feature *const *list, struct why *why);
/* For struct feature.claim: the feature that is looked at has what these words say, and no other
 * may. Copies. */
__attribute__((format(printf, 2, 3))) void feature_claim(struct claims *c, const char *fmt, ...);
