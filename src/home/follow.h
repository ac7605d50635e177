/* follow: users whose stanzas are logged for a while (`trace jid`), as lines of the area `trace` at
 * LOG_INFO, with what they say masked (codec/xml_mask.h); or, with the text of messages, of the
 * area `trace-bodies`, which no log has: they are in memory only (log_area.unwritten). While nobody
 * is followed, a stanza costs one load. At most FOLLOW_MAX users at the same time. Any thread. */
#pragma once
#include "base/slice.h"
#include "codec/xml_mask.h"
#include <stdatomic.h>
#include <stdint.h>

struct log_area;
struct stanza;

enum { FOLLOW_MAX = 16, FOLLOW_SHOWN_MAX = 4096 };

struct followed {
    slice bare;  /* borrowed */
    slice owner; /* who began it: ops/owner.h; borrowed */
    uint64_t until_us;
    enum xml_mask how;
};

/* Once more for the same user: the newer word holds. false: there are too many. */
bool follow_begin(const struct followed *one, uint64_t now_us);
bool follow_end(slice bare); /* false: nobody follows that user */
/* Ends those that are to be kept no longer. */
void follow_sweep(bool (*keeps)(const struct followed *one, void *arg), void *arg);
/* Calls fn for each that is followed now. */
void follow_each(uint64_t now_us, void (*fn)(const struct followed *one, void *arg), void *arg);

extern _Atomic unsigned follow_count;
void follow_log(slice jid, const char *event, const struct stanza *st, uint64_t now_us);
/* A stanza of the session with this full JID: "trace.in" or "trace.out". */
static inline void follow(slice jid, const char *event, const struct stanza *st, uint64_t now_us)
{
    if (atomic_load_explicit(&follow_count, memory_order_relaxed) > 0)
        follow_log(jid, event, st, now_us);
}

extern struct log_area log_follow, log_follow_bodies;
