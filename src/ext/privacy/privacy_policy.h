/* privacy_policy: who may see a user's availability, and who needs no approval. The user's own
 * policy, with rules for users and domains, overrides the settings of the server. Users set theirs
 * with urn:muster:policy:0 (docs/policy.md), operators with commands. */
#pragma once
#include "account/account.h"
#include "base/command.h"
#include "base/setting.h"
#include "core/stage.h"

struct iq;
struct privacy;
struct rule;
struct worker;

extern struct setting presence_sharing, presence_approval;
extern struct command policy_show, policy_set;
extern const char *const privacy_share_names[], *const privacy_others_names[];

/* What the policy says about a stanza to the account. from: its sender, or who is behind it. */
enum verdict policy_block(struct account *a, const struct stanza *st, slice from,
                          struct refusal *why);
bool policy_view(const struct account *a, const struct privacy *p, slice contact);
/* A command about one account, at its home. */
struct privacy_task {
    struct command_call *call;
    slice bare; /* argument `user` */
    account_fn *fn;
};
void privacy_task_run(struct command_call *call, account_fn *fn); /* fn's arg: the task */
bool privacy_task_ready(const struct privacy_task *t, const struct account *a,
                        enum err e); /* false: the call has failed */
bool policy_permit(const struct account *a, slice contact);
bool policy_shares(const struct privacy *p);
/* The rule of the policy for a contact; false: none. */
bool policy_rule(const struct privacy *p, slice contact, struct rule *out);

void policy_get(struct iq *iq);
void policy_edit(struct iq *iq);
/* The rule for an address whose account was deleted goes, from memory: its row is gone. */
void policy_forget(struct account *a, slice bare);
extern unsigned policy_refresh_slot; /* of workers */
void policy_worker_ended(struct worker *w);
