/* similar: finds the name that a mistyped name was probably meant to be. Pure. */
#pragma once
#include "base/slice.h"

enum { SIMILAR_BYTES_MAX = 64 };

struct similar {
    slice wanted;
    slice best; /* ptr NULL: none is similar enough */
    unsigned distance;
};

void similar_init(struct similar *s, slice wanted);
/* Names longer than SIMILAR_BYTES_MAX are never similar. The name must outlive `s`. */
void similar_try(struct similar *s, slice name);
/* For the end of a sentence: "; did you mean NAME?", or "". At most SIMILAR_BYTES_MAX + 20 bytes.
 */
struct similar_text {
    char text[SIMILAR_BYTES_MAX + 32];
};
struct similar_text similar_text(const struct similar *s);
