/* c2s_hashes: the SCRAM hashes that clients of a domain are offered: those of c2s.scram-hashes for
 * which all its accounts have keys (auth/hashes.h). If there is none, clients are left with PLAIN,
 * and an alarm is raised. One worker reads the sums again when accounts have changed, within
 * HASHES_LOOK_MS. */
#pragma once
#include "base/slice.h"

struct alarm;
struct arena;
struct node;
struct worker;

unsigned c2s_hashes(slice domain); /* a bit each; any thread */
/* The domains whose accounts lack keys, for `doctor`; NULL: there is none. */
const char *c2s_hashes_missing(const struct node *n, struct arena *arena);

void c2s_hashes_start(struct worker *w);
void c2s_hashes_stop(struct worker *w);
void c2s_hashes_account(struct worker *w, slice jid); /* it is enabled, or deleted */

extern struct alarm c2s_hashes_alarm;
