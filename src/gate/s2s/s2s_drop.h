/* s2s_drop: stanzas for other servers that are lost without anybody being told: an error is never
 * answered by an error, nor is the answer to a request (RFC 6120 §8.3.1). They are counted
 * (muster_s2s_dropped) and logged (s2s.dropped). Any thread. */
#pragma once

struct stanza;

enum s2s_drop {
    S2S_DROP_POLICY,     /* rules do not let it leave */
    S2S_DROP_QUEUE,      /* too much waits for its server */
    S2S_DROP_UNREACHABLE /* its server is not reached, or this one is being stopped */
};

/* It is given up. Others than those are ignored: their senders get an error. Borrows. */
void s2s_dropped(const struct stanza *st, enum s2s_drop reason);
extern struct metric s2s_drops;
