/* web: HTTP as an edge, and the ways of clients over it, as features of their own. */
#pragma once
#include "base/setting.h"
#include "home/edge.h"

struct feature;

extern struct setting websocket_path, bosh_path;
extern const struct feature bosh_feature;      /* XEP-0124, XEP-0206 */
extern const struct feature websocket_feature; /* RFC 7395 */
extern const struct feature host_meta_feature; /* XEP-0156 */

extern const struct edge web_edge;  /* `own` is a struct http_server */
extern const struct edge bosh_edge; /* what BOSH has on each worker; behind c2s_edge. No `own` */
