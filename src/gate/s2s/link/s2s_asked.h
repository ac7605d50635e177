/* s2s_asked: questions to another server about what it has handled (XEP-0198 §4): at the end of a
 * tick if none is open, and behind each S2S_ASK_EACH stanzas, so that a server that reads slowly
 * has something to answer. It may answer each of them, or several at once. Confined to the worker
 * of the stream. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { S2S_ASK_EACH = 100 }; /* stanzas, at most, between two <r/> */

struct s2s_asked {
    uint32_t open;   /* <r/> without an answer */
    uint32_t at;     /* how many stanzas were sent before the last one, as h counts */
    uint32_t behind; /* sent since then */
};

static inline void s2s_asked_one(struct s2s_asked *a, uint32_t sent)
{
    *a = (struct s2s_asked){ .open = a->open + 1, .at = sent };
}

/* Whether the answers to come tell of all that was sent. If not, the end of a stream asks again. */
static inline bool s2s_asked_for_all(const struct s2s_asked *a)
{
    return a->open > 0 && a->behind == 0;
}

/* An answer. Whether none is open now. */
static inline bool s2s_asked_answered(struct s2s_asked *a, uint32_t h)
{
    a->open -= a->open > 0;
    if ((int32_t)(h - a->at) >= 0) /* counts wrap */
        a->open = 0;
    return a->open == 0;
}
