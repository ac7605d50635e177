/* access: who has which role. Roles are lists of patterns (base/principal.h): those that are built
 * in, and those of operators (commands `role …`). Access tokens of programs (`token …`), and
 * accounts with a role (`admin …`, and the setting admin.accounts, whose accounts are
 * administrators).
 *
 * The rows are in the database; in memory there is one table for the process, which is replaced as
 * a whole when something changes, on all nodes before the command has ended. While it could not be
 * read again it is empty, so nobody gets what was taken away; it is read again when somebody asks.
 * Any worker. Changes are made at the home of DUTY_ACCESS.
 *
 * Limits: ACCESS_ROLES_MAX, ACCESS_TOKENS_MAX and ACCESS_ADMINS_MAX rows. */
#pragma once
#include "base/principal.h"

struct command_call;
struct feature;
struct worker;

enum { ACCESS_ROLES_MAX = 100, ACCESS_TOKENS_MAX = 1000, ACCESS_ADMINS_MAX = 1000 };
enum { ACCESS_NAME_MAX = 64, ACCESS_TOKEN_BYTES = 32 };
#define ACCESS_TOKEN_MARK                                                                          \
    "muster_" /* in front of a token, so that scanners for secrets find it                         \
               */

/* The principal of a token that a client has shown, as from this address; its texts are in the
 * arena. E_AUTH: there is no such token, or it has expired, and `why` does not say which; E_DOWN:
 * the table could not be read. Notes its use. At once, on a worker. */
NODISCARD enum err access_of_token(struct worker *w, slice token, slice from, struct arena *arena,
                                   struct principal *out, struct why *why);
/* Fills in role and grants of an account; empty: it has no role, or its domain is not served. */
void access_of_account(slice bare, struct arena *arena, struct principal *out);
bool access_has_role(slice bare);
bool access_is_disabled(slice bare); /* an account with a role */
/* Reads the table again: on this node; on all nodes, and then calls `done`. */
struct asker;
void access_read_again(struct worker *w);
void access_changed(struct worker *w, const struct asker *by);
/* The same for an administrator that is no account. false: there is no such one, or it is disabled.
 * `generation` is another one when its password, role or state changes. */
bool access_of_person(slice name, struct arena *arena, struct principal *out, int64_t *generation);
/* Whether the caller may take this account over, by a new password or by removing it to make
 * another, or change its state. If the account has a role, the caller needs admins.write and all
 * that the role grants; if it has more than others from a feature, the permission of that (struct
 * account_power). false: the call has failed. */
bool access_may_touch(struct command_call *call, slice bare);
/* Why access_may_touch() would refuse it, as a sentence without its subject, which is the account,
 * in the arena of the call; NULL: it would not. */
const char *access_above(const struct command_call *call, slice bare);
bool access_covers(const struct principal *who, slice grants); /* it may do all that these give */

extern const struct feature access_feature;
