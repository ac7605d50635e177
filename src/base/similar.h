/* similar: of many names the one that somebody who mistyped a name has probably meant. Pure. */
#pragma once
#include "base/slice.h"

enum { SIMILAR_BYTES_MAX = 64 };

struct similar {
    slice wanted;
    slice best; /* ptr NULL: nothing is near enough */
    unsigned distance;
};

void similar_init(struct similar *s, slice wanted);
/* Names longer than SIMILAR_BYTES_MAX are never near. The name must outlive `s`. */
void similar_try(struct similar *s, slice name);
/* For the end of a sentence: "; did you mean NAME?", or "". At most SIMILAR_BYTES_MAX + 20 bytes.
 */
struct similar_text {
    char text[SIMILAR_BYTES_MAX + 32];
};
struct similar_text similar_text(const struct similar *s);
