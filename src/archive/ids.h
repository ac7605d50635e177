/* archive_ids: archive ids: they rise, and no owner gets one twice, not after a crash either. */
#pragma once
#include <stdint.h>

struct worker;

/* The next archive id of an owner, at its home; *last is the owner's highest id. */
uint64_t archive_mint(struct worker *w, uint64_t *last);
/* How far an archive id may be from the time of its message. Ids rise when the clock steps back,
 * and after a crash they begin above it; from then on they stay ahead until the clock is there. */
enum { ARCHIVE_SLACK_US = 60 * 1000000 }; /* at least */
uint64_t archive_slack_us(const struct worker *w);
