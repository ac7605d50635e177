/* privacy_state: the rules of an account in memory and in the database, and how they change. */
#pragma once
#include "base/setting.h"
#include "ext/privacy/privacy.h"

struct iq;
struct session;

extern struct setting privacy_lists_max, privacy_rules_max;

/* Pure. A list without rules is gone: it is returned, for the caller to destroy. */
struct rules *privacy_apply(struct privacy *p, const struct privacy_delta *d);
void privacy_fini(struct privacy *p);
struct rules *privacy_list(const struct privacy *p, slice name); /* NULL: none; p may be NULL */
uint32_t privacy_rules(const struct privacy *p);                 /* in all lists */
uint32_t privacy_lists(const struct privacy *p);

/* As they are stored: a change of an account whose state is p (NULL: empty), and reading all. What
 * privacy_rows() returns ends with privacy_fini(). */
void privacy_delta_store(struct store_batch *b, int64_t owner, const struct privacy *p,
                         const struct privacy_delta *d);
void privacy_rows_read(struct store_batch *b, int64_t owner); /* two statements */
struct privacy privacy_rows(const struct store_batch *b, unsigned first);

struct privacy *privacy_of(const struct account *a);              /* NULL: no rules */
struct privacy_session *privacy_session(const struct session *s); /* NULL: nothing */
struct privacy_session *privacy_session_new(struct session *s);   /* made on demand */
void privacy_activate(struct session *s, struct rules *list);     /* NULL: none; tells contacts */

struct privacy_change *privacy_change_new(struct iq *iq); /* holds it; NULL: a command's */
void privacy_change_run(struct account *a, struct privacy_change *c);
void privacy_change_end(struct privacy_change *c);
void privacy_change_answer(struct privacy_change *c, enum err e); /* the IQ, then ends */
/* Refuses a plan that would leave more rules than the setting allows. */
bool privacy_has_room(struct privacy_change *c, const struct privacy *p, uint32_t more,
                      uint32_t fewer);
