/* asks_first: a feature of debug builds that makes stages wait (core/stage_wait.h), for the
 * end-to-end tests. Where the environment variable MUSTER_ASKS_FIRST names a domain, it asks that
 * domain at CHECK about each message of a client: a result lets it pass, an error refuses it. The
 * one that MUSTER_ASKS_ARCHIVE names is asked at ARCHIVE: an error keeps a message out of that
 * archive. No answer within ten minutes is an error. */
#pragma once

extern const struct feature asks_first_feature; /* in debug builds */
