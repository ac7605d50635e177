/* clock: the two clocks. Code below `io` gets time as a parameter and never calls these. */
#pragma once
#include <stdint.h>

uint64_t clock_mono_us(void); /* since boot; never goes back */
uint64_t clock_wall_us(void); /* since 1970 UTC; may step */

#define CLOCK_STAMP_LEN 28 /* "2026-11-20T09:15:36.123456Z" and NUL */
void clock_stamp(char out[CLOCK_STAMP_LEN], uint64_t wall_us); /* XEP-0082 DateTime, UTC */
