/* trace_jid: the commands `trace jid`, `trace bodies`, `trace texts`, `trace stop` and `trace
 * list`: the stanzas of one user, for a limited time (home/follow.h). */
#pragma once

struct feature;

extern const struct feature trace_jid_feature;
