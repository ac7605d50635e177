/* web: the ways into the gate over HTTP, as features of their own. */
#pragma once
#include "base/setting.h"

struct feature;

extern struct setting websocket_path, bosh_path;
extern const struct feature bosh_feature;      /* XEP-0124, XEP-0206 */
extern const struct feature websocket_feature; /* RFC 7395 */
extern const struct feature host_meta_feature; /* XEP-0156 */
