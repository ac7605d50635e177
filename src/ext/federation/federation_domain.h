/* federation_domain: foreign domains that administrators or reports have blocked. Each report of
 * spam or abuse (XEP-0377) counts for the domain of the reported address, once for each user who
 * reports: one user alone blocks no domain. Reports are kept for 30 days. Limit: 10,000 domains. */
#pragma once
#include "store/store.h"

struct account;
struct alarm;
struct command;
struct setting;

extern struct setting federation_reports_block;
extern struct alarm federation_reported_alarm;
extern struct command federation_block, federation_allow, federation_listed, federation_reports;
extern struct store_stmt *const federation_domain_stmts[];                /* NULL-terminated */
extern struct store_stmt federation_domains_all;                          /* reads them for: */
void federation_domains_read(const struct store_batch *b, unsigned stmt); /* into the book */
/* At the home of the account that has reported the address. */
void federation_domain_reported(struct account *a, slice jid);
