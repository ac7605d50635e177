/* asks_first: a feature of debug builds that makes stage CHECK wait (im/stage_wait.h), for the
 * end-to-end tests. Where the environment variable MUSTER_ASKS_FIRST names a domain, it asks that
 * domain about each message of a client: a result lets it pass, an error refuses it. If nobody
 * answers within ten minutes it is refused. */
#pragma once

extern const struct feature asks_first_feature; /* in debug builds */
