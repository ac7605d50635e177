/* users: accounts and sessions as the operator handles them (commands `user …` and `session …`),
 * and what in-band registration shares with that. */
#pragma once
#include "base/slice.h"
#include "home/node.h"
#include "session/session.h"

struct account;
struct command_call;
struct feature;
struct setting;
struct store_stmt;
struct worker;

/* For commands about an account. */
void users_fail_missing(struct command_call *call, slice jid);
/* With the address in front: see command_fail_cause(). */
void users_fail_cause(struct command_call *call, slice jid, enum err e);
void users_fail_disabled(struct command_call *call, slice jid);
/* For account_with(): whether there is such an account, disabled or not. false: the call has
 * failed.
 */
bool users_there(struct command_call *call, const struct account *a, enum err e);
/* What is in the page that the call asks for, by addresses: one more than its limit, which says
 * that there are others. */
struct first_few;
void users_page_begin(struct first_few *page, const struct command_call *call);
/* How many of those are in the page. */
uint32_t users_page_count(const struct command_call *call, const struct first_few *page);
/* Ends the call whose page it is: for lists whose call may have rows of another account already. */
void users_page_done(struct command_call *call, const struct first_few *page);
void users_add_time(struct command_call *call, const char *key, uint64_t wall_us);
/* The column of accounts and rooms whose domain the node does not serve; only such rows have it. */
#define USERS_UNSERVED_COLUMN                                                                      \
    {                                                                                              \
        .name = "unserved", .optional = true, .type = PARAM_BOOL,                                  \
        .doc = "yes: this node does not serve its domain; see the alarm domains.unserved"          \
    }
void users_add_unserved(struct command_call *call, slice jid);
/* The column of accounts that can do more than others, if the caller may not change them; only such
 * rows have it. It depends on the caller, so it is not compared when it is sent back. */
#define USERS_PROTECTED_COLUMN                                                                     \
    {                                                                                              \
        .name = "protected", .optional = true, .moves = true, .type = PARAM_BOOL,                  \
        .doc =                                                                                     \
            "yes: the account has a role, or administers group chat, and you may not change or "   \
            "delete it"                                                                            \
    }
/* The column of the account of the client, or of the session of the console, that asks; only that
 * row has it. */
#define USERS_OWN_COLUMN                                                                           \
    {                                                                                              \
        .name = "own", .optional = true, .moves = true, .type = PARAM_BOOL,                        \
        .doc = "yes: it is your account, and you cannot disable or delete it here, or change its " \
               "password"                                                                          \
    }
/* These columns, of one account. */
void users_add_marks(struct command_call *call, slice jid);
/* Whether the account is that of the client, or of the session of the console, that asks. */
bool users_is_self(const struct command_call *call, slice jid);

extern const struct feature users_feature;

/* Rows of the other files of this feature: ops/users_state.c, ops/users_info.c. */
extern struct store_stmt users_named;
extern struct command user_set, user_show;
extern struct store_stmt users_known, users_counts, users_stored, users_stored_by_jid;
extern struct store_stmt *const users_stmts[];
extern struct command user_disable, user_enable, user_count, user_online, user_stats;
extern struct setting users_idle_time;
extern const struct message_row enabled_message; /* feature.account_enabled, on each worker */
