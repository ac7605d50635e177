/* s2s_unproved: servers that have connected to us and could not prove their domain by their
 * certificate, where nothing else would: for the log, and the last one of each domain for `s2s
 * show` and `s2s list`, until that domain is proved. The peer is told no more than that it is not
 * authorized. Any thread.
 *
 * Limits: S2S_UNPROVED_MAX domains in a process; the oldest makes room. Anybody can name any
 * domain. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

enum {
    S2S_UNPROVED_MAX = 128,
    S2S_UNPROVED_DOMAIN = 256, /* with its end; longer ones are in the log only */
    S2S_UNPROVED_WHY = 512,
    S2S_UNPROVED_PEER = 64
};

struct s2s_unproved {
    uint64_t at_us; /* wall clock */
    char local[S2S_UNPROVED_DOMAIN];
    char peer[S2S_UNPROVED_PEER]; /* its address */
    char why[S2S_UNPROVED_WHY];   /* what is wrong with its certificate */
};

/* The foreign domain, the one of ours that it speaks to, the address of the peer, and why. */
void s2s_unproved(slice domain, slice local, const char *peer, const char *why);
void s2s_unproved_forget(slice domain);
bool s2s_unproved_of(slice domain, struct s2s_unproved *out); /* false: none is known */
/* All of them. Nothing here is called from inside. */
typedef void s2s_unproved_fn(slice domain, const struct s2s_unproved *last, void *arg);
void s2s_unproved_each(s2s_unproved_fn *fn, void *arg);
