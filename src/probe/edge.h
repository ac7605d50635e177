/* edge: opens a stream to a host of this server as another server would: looks it up, connects,
 * and goes as far as the features behind TLS. For fedtest and pushtest. Confined to its worker. */
#pragma once
#include "ops/outside.h"

struct edge_try;

/* As outside_edge_open(); the handle is valid until `done`. NULL: this server is being stopped. */
struct edge_try *edge_open(const struct outside_edge *want, struct outside_result *result);
void edge_cancel(struct edge_try **t); /* no callback comes afterwards; NULL is fine */
bool edge_start(const struct outside_edge *want, struct outside_result *result);
