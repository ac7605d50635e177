/* feature_check: no two features have the same row: the order of the list must not decide who
 * answers. Nor has one feature the same row twice. Pure. */
#pragma once
#include "base/err.h"
#include <stdbool.h>

struct feature;

/* A NULL-terminated list. false: `why` names the row and both features. Looked at are names of
 * features, IQ rules by each kind of address, hosts, identities and forms of service discovery,
 * stream features (the whole text of their rows; functions are not looked at), elements that are no
 * stanzas, rules of Bind 2, tags of fans, pages over HTTP, schemas, statements, settings, commands,
 * metrics, alarms, areas of the log, ad-hoc commands, and the tables that only one can have. */
NODISCARD bool features_agree(const struct feature *const *list, struct why *why);
