/* here: what a worker gives to the code that runs on it: its loop, store, helpers, and the node.
 * The whole of it is in home/worker.h, which only home/ and those that make workers need.
 */
#pragma once
#include "io/loop.h"
#include <stdbool.h>

struct actors;
struct auth;
struct core;
struct node;
struct store;
struct work_pool;
struct worker;
struct xml_work;

/* The begin of each struct worker. Read it by the functions below; only the node writes it. */
#define WORKER_HEAD                                                                                \
    struct node *node;                                                                             \
    struct loop *loop;                                                                             \
    struct store *store;                                                                           \
    struct work_pool *work;                                                                        \
    struct xml_work *xml; /* scratch of the readers on this worker */                              \
    struct core *core;    /* of core/core.h */                                                     \
    void *gate;           /* of the gate on this worker */                                         \
    unsigned index;                                                                                \
    bool pressure; /* an outbox of the mesh is not empty: connections do not read */               \
    bool stopping;                                                                                 \
    bool threaded;  /* its thread runs: before and after, and in tests, any thread plays it */     \
    void **state_of /* of features: worker.slot of struct feature */

struct worker_head {
    WORKER_HEAD;
};

static inline struct worker_head *worker_head(const struct worker *w)
{
    return (struct worker_head *)(uintptr_t)w;
}
static inline struct node *worker_node(const struct worker *w) { return worker_head(w)->node; }
static inline struct loop *worker_loop(const struct worker *w) { return worker_head(w)->loop; }
static inline struct store *worker_store(const struct worker *w) { return worker_head(w)->store; }
static inline struct work_pool *worker_work(const struct worker *w) { return worker_head(w)->work; }
static inline struct xml_work *worker_xml(const struct worker *w) { return worker_head(w)->xml; }
static inline void **worker_gate(const struct worker *w) { return &worker_head(w)->gate; }
static inline unsigned worker_index(const struct worker *w) { return worker_head(w)->index; }
static inline bool worker_pressure(const struct worker *w) { return worker_head(w)->pressure; }
static inline bool worker_stopping(const struct worker *w) { return worker_head(w)->stopping; }
static inline void **worker_state(const struct worker *w, unsigned slot)
{
    return &worker_head(w)->state_of[slot];
}
/* The same store, helpers and loop for auth/. */
const struct auth *worker_auth(const struct worker *w);

extern _Thread_local struct worker *worker_of_thread;
static inline struct worker *worker_here(void) /* of this thread; NULL elsewhere */
{
    return worker_of_thread;
}
/* For ensure(): whether this thread may touch what has its home on w. */
static inline bool worker_is_here(const struct worker *w)
{
    return w == worker_here() || !worker_head(w)->threaded;
}
