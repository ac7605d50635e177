/* loop: one epoll loop, one thread. A tick: poll, timers, reads, posted work and frames, deferred
 * work, flush (architecture §9). Everything on a loop is confined to its thread but loop_post() and
 * loop_stop(). */
#pragma once
#include "base/err.h"
#include "base/list.h"
#include <stdint.h>

struct loop;
struct arena;
struct work_pool;

struct loop *loop_create(unsigned index); /* index: 0..; for logs and frames */
void loop_destroy(struct loop **loop);
/* For the thread of a loop: where it shares a processor, it begins at once when it wakes, and has
 * short turns for that (Linux 6.12; nothing before). It must not get a real-time priority: spinning
 * for a lock of OpenSSL, it would keep the helper that has the lock from the processor. */
void loop_short_turns(void);
void loop_run(struct loop *loop);  /* until loop_stop(); sets loop_here() */
void loop_stop(struct loop *loop); /* any thread */
/* Until loop_run() returns, no timer fires any more: for the end, when nobody is to begin anything.
 */
void loop_end_timers(struct loop *loop);
/* These threads make the steps of TLS handshakes of its connections; without them the loop does.
 * Set before its thread starts. The pool must end while the loop still runs. */
void loop_set_helpers(struct loop *loop, struct work_pool *helpers);
unsigned loop_index(const struct loop *loop);
struct loop *loop_here(void); /* of this thread; NULL on helper threads */

uint64_t loop_now_us(const struct loop *loop); /* monotonic, as of this tick's poll */
/* Wall clock, as of this tick's poll or, if later, of the newest frames of other workers. */
uint64_t loop_wall_us(const struct loop *loop);
/* Frames of other workers follow: what they led to is not to seem older than they are. */
void loop_renew_wall(struct loop *loop);
struct arena *loop_scratch(struct loop *loop); /* empty at the start of every callback */

/* Descriptors. The source is embedded in its owner; events are EPOLLIN | EPOLLOUT | EPOLLEXCLUSIVE,
 * level-triggered. */
struct loop_source {
    int fd;
    uint32_t events;
    void (*ready)(struct loop_source *s, uint32_t events);
};
NODISCARD enum err loop_add(struct loop *loop, struct loop_source *s);
void loop_change(struct loop *loop, struct loop_source *s, uint32_t events);
void loop_remove(struct loop *loop, struct loop_source *s); /* no callback comes afterwards */

/* Deferred: runs once later in this tick (before the flush); repeated defers are one. A deferred
 * call made from a deferred call runs in the same tick, at most 16 rounds, then in the next. */
struct loop_defer {
    struct list node;
    void (*fn)(struct loop_defer *d);
};
void loop_defer(struct loop *loop, struct loop_defer *d);
void loop_defer_cancel(struct loop_defer *d);

/* Flush: after deferred work, right before the next poll: where output is written. */
void loop_at_flush(struct loop *loop, struct loop_defer *d);

/* Post: from any thread; lock-free multi-producer queue; the loop is woken only if it sleeps. The
 * node belongs to the loop until fn runs: it must not be posted again before, which a debug build
 * ensures. Zeroed but for fn when it is posted first. Order is kept for one poster. */
struct loop_post {
    struct loop_post *next;
    void (*fn)(struct loop_post *p, struct loop *loop);
#ifdef MUSTER_DEBUG
    _Atomic bool queued;
#endif
};
void loop_post(struct loop *loop, struct loop_post *p);
/* The same, but a loop that sleeps goes on sleeping until loop_wake(), which must follow. */
void loop_post_quietly(struct loop *loop, struct loop_post *p);
void loop_wake(struct loop *loop);
/* Loops of one owner speak to each other by another way, in its order. So a debug build counts the
 * posts to a loop by the thread of another loop of its owner. Set before its thread starts. */
void loop_set_owner(struct loop *loop, const void *owner);
uint64_t loop_bypasses(const struct loop *loop); /* how many were counted */
