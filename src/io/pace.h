/* pace: how often something may begin that costs a loop time and that comes in crowds: PACE_AT_ONCE
 * at once, then one each `every_us`, so that traffic is served in between. Who is refused waits, in
 * a line of the owner's, until room() is called.
 *
 * A descriptor (timerfd) from the first refusal on: timers of the loop are coarser. Confined to its
 * loop. */
#pragma once
#include "io/loop.h"
#include <stdbool.h>

enum { PACE_AT_ONCE = 8 };

struct pace {
    struct loop_source source; /* fd -1: none yet */
    struct loop *loop;
    uint32_t every_us;
    uint64_t full_us; /* loop time at which all may begin at once again */
    bool waited;      /* room() is to come */
    void (*room)(struct pace *p);
};

void pace_init(struct pace *p, struct loop *loop, uint32_t every_us, void (*room)(struct pace *p));
/* Whether one may begin now. While room() is to come, none may: nobody overtakes those who wait.
 * Without a descriptor there is no pace: what would begin needs one, too. */
bool pace_take(struct pace *p);
void pace_end(struct pace *p); /* room() is not called any more; all zero: fine */
