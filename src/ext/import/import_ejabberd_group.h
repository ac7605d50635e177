/* import_ejabberd_group: shared roster groups of a dump: rows {sr_group, {NAME, HOST}, OPTIONS} and
 * {sr_user, {USER, HOST}, {NAME, HOST}}. The members of a group see those groups that it displays.
 * On a helper thread. */
#pragma once
#include "ext/import/import_ejabberd_rows.h"
#include "ext/import/import_group.h"

/* owners: those with rows of groups. E_LIMIT, E_SYNTAX: `r->why` says what is wrong. */
NODISCARD enum err ejabberd_groups(struct ejabberd_reader *r, const struct ejabberd_owner *owners,
                                   struct source_groups *out);
