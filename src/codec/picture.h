/* picture: of which type an image is, and how large it is when it is drawn, by its first bytes and
 * not by what somebody says of it: PNG, JPEG and GIF. A few bytes may describe an image that takes
 * gigabytes of memory to draw, so who hands it on looks here first. Pure. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

struct picture {
    const char *type; /* media type: "image/png" */
    uint32_t width, height;
};

/* false: it is none of these, or is cut before it says how large it is. */
bool picture_read(struct picture *out, slice bytes);
