/* unserved: accounts and rooms of domains that this node does not serve: a backup was restored on
 * another node, or a domain left `domains` of the node file. Nobody reaches them, so an alarm tells
 * of them, with what to do. They are counted at the start, and again while there are some. */
#pragma once
#include "base/slice.h"
#include <stdint.h>

struct alarm;
struct node;
struct store_batch;
struct store_stmt;
struct worker;

enum { UNSERVED_NAMES_BYTES = 96 };
struct unserved {
    int64_t accounts, rooms;
    char names[UNSERVED_NAMES_BYTES]; /* of the domains, as many as fit */
};

/* Adds the statement that counts the accounts; and adds up its result, statement `stmt`. */
void unserved_count(struct store_batch *b, const struct node *n);
void unserved_add_accounts(struct unserved *u, const struct store_batch *b, unsigned stmt);
/* At the start: the statement whose rows are domains of rooms, with how many each has; those of
 * LABEL.D are served where the domain D is. */
void unserved_rooms(const struct store_stmt *by_domain, const char *label);

/* Rows and events of the feature `users`. */
extern struct alarm unserved_alarm;
extern struct store_stmt unserved_accounts;
void unserved_start(struct worker *w);
void unserved_stop(struct worker *w);
void unserved_account_deleted(struct worker *w, slice bare);
