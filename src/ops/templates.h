/* templates: what new accounts are given. An administrator makes a template (`template add`), and
 * `user add --template` and imports apply it once, in the transaction that makes the account; the
 * account keeps its name. A later change of the template changes no account. Its profile is that of
 * account/account_life.h; what else it gives, features store (account.template).
 *
 * The rows are in the database, nothing is in memory. Limits: TEMPLATES_MAX; TEMPLATE_GROUPS_MAX
 * groups of a template. */
#pragma once
#include "account/account_life.h"

struct arena;
struct command_call;

enum { TEMPLATES_MAX = 1000, TEMPLATE_GROUPS_MAX = 20, TEMPLATE_NAME_MAX = 64 };

/* e OK: what it gives, in the arena. E_NOTFOUND: there is no such template. */
typedef void templates_fn(void *arg, enum err e, const struct account_template *t);
/* fn is called once, later. On the loop of the worker. */
void templates_read(struct worker *w, slice name, struct arena *arena, templates_fn *fn, void *arg);
/* Ends the call, whose argument `template` names it: it could not be read. */
void templates_fail(struct command_call *call, enum err e);
/* The batch names the template: it ends with STORE_CONFLICT if that was renamed or deleted since it
 * was read. */
void templates_hold(struct store_batch *b, slice name);
/* Adds what the template gives to a new account that has its row in the batch, but for its profile,
 * and holds it. When that is committed, templates_added(); if it ends with STORE_CONFLICT,
 * templates_refused(). Any worker. */
void templates_add(struct store_batch *b, slice jid, const struct account_template *t);
void templates_added(struct worker *w);
/* Calls fn once, later. OK: there is an account `jid`. E_NOTFOUND: the template is gone. E_LIMIT:
 * `text` says what is full. E_CONFLICT: what stood against it has changed since. On the loop of
 * the worker. */
typedef void templates_ask_fn(void *arg, enum err e, const char *text);
struct templates_ask {
    const struct account_template *template;
    slice jid;
    struct arena *arena; /* in which all of this lives */
    templates_ask_fn *fn;
    void *arg;
};
void templates_refused(struct worker *w, const struct templates_ask *r);
/* Calls fn once, perhaps at once, behind templates_added(): with a sentence about what the account
 * `jid`, the newest that was made, does not have although the template gives it; NULL: it has all,
 * or, with another `e` than OK, that is not known. On the loop of the worker. */
void templates_lacks(struct worker *w, const struct templates_ask *r);
/* Whether an account could be made from it: adds reads. Then, of what they have found from
 * statement `at` on: a sentence, if it could not, behind as many that are made from it as `more`
 * says. */
void templates_limits(struct store_batch *b, const struct account_template *t);
const char *templates_refusal(const struct store_batch *b, unsigned at,
                              const struct account_template *t, int64_t more, struct arena *arena);
/* Groups that it names and that are there no more, separated by commas; NULL: none. */
const char *templates_missing(const struct worker *w, slice groups, struct arena *arena);

extern const struct feature templates_feature;
