/* outside_users: which accounts are marked as those that tests log in with (`test user-add`). They
 * are in no list and no count of users or sessions, and get no announcements.
 *
 * The marks are in memory, one set for the process. Worker 0 of each node reads them: the first
 * time before its loop runs, then when they have changed. Limit: OUTSIDE_USERS_MAX. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

enum { OUTSIDE_USERS_MAX = 100 };

struct account;
struct message_row;
struct session;
struct store_stmt;
struct worker;

bool outside_is_test(const struct account *a); /* any thread that may read `a` */
uint32_t outside_user_count(void);             /* any thread */
/* Sessions of such accounts on this worker. */
uint32_t outside_sessions(const struct worker *w);

extern struct store_stmt outside_users_all;
extern const struct message_row outside_users_message, outside_marked_message;
void outside_session_began(struct session *s); /* session.began */
void outside_session_freed(struct session *s); /* session.freed */
void outside_users_start(struct worker *w);    /* the loop does not run yet */
void outside_users_stop(struct worker *w);
void outside_users_ended(struct worker *w);               /* no message comes any more */
extern unsigned outside_users_slot;                       /* of what it keeps on a worker */
void outside_users_deleted(struct worker *w, slice bare); /* account.deleted */
void outside_users_changed(struct worker *w); /* in the database: all nodes read them again */
