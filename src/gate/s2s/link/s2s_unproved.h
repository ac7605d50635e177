/* s2s_unproved: servers that have connected to us and could not prove their domain, or did not get
 * a further one: for the log, and the last one of each domain for `s2s show` and `s2s list`, until
 * that domain is proved. The home of the foreign domain remembers it: all functions are for that
 * worker, except s2s_unproved().
 *
 * Limits: a ring of S2S_UNPROVED_MAX domains in a process, each for S2S_UNPROVED_US. */
#pragma once
#include "gate/s2s/s2s_stage.h"
#include <stdbool.h>
#include <stdint.h>

struct worker;

enum {
    S2S_UNPROVED_MAX = 128,
    S2S_UNPROVED_DOMAIN = 256, /* with its end; longer ones are in the log only */
    S2S_UNPROVED_WHY = 512,
    S2S_UNPROVED_PEER = 64
};

#define S2S_UNPROVED_US (24ull * 3600 * 1000000)

struct s2s_unproved {
    uint64_t at_us; /* wall clock */
    char local[S2S_UNPROVED_DOMAIN];
    char peer[S2S_UNPROVED_PEER]; /* its address */
    char why[S2S_UNPROVED_WHY];   /* what is wrong: with its certificate, if that is the stage */
    enum s2s_stage stage;
};

struct s2s_unproved_news {
    slice remote, local, peer, why;
    enum s2s_stage stage;
};
void s2s_unproved(struct worker *w, struct s2s_unproved_news *news); /* logs and keeps it */
void s2s_unproved_keep(const struct s2s_unproved_news *news, uint64_t now_us);
void s2s_unproved_forget(slice domain);
/* false: none is known. */
bool s2s_unproved_of(slice domain, uint64_t now_us, struct s2s_unproved *out);
/* Those of this process. Nothing here is called from inside. */
typedef void s2s_unproved_fn(slice domain, const struct s2s_unproved *last, void *arg);
void s2s_unproved_each(uint64_t now_us, s2s_unproved_fn *fn, void *arg);
