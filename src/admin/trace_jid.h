/* trace_jid: the commands `trace jid`, `trace bodies`, `trace stop` and `trace list`: the stanzas
 * of one user in the log for a limited time (home/follow.h). */
#pragma once

struct feature;

extern const struct feature trace_jid_feature;
