#include "home/duty.h"
#include "base/ensure.h"
#include "home/node.h"
#include "home/worker.h"

static const struct {
    const char *name;
    unsigned worker;
} duties[DUTIES] = {
    [DUTY_SETTINGS] = { "settings", 0 }, [DUTY_LIFECYCLE] = { "lifecycle", 0 },
    [DUTY_CONTROL] = { "control", 0 },   [DUTY_BACKUP] = { "backup", 0 },
    [DUTY_CERTS] = { "certs", 0 },       [DUTY_METRICS] = { "metrics", 0 },
    [DUTY_CAPACITY] = { "capacity", 0 }, [DUTY_ANNOUNCE] = { "announce", 0 },
    [DUTY_ARCHIVE] = { "archive", 0 },   [DUTY_UPLOADS] = { "uploads", 0 },
    [DUTY_ROOMS] = { "rooms", 0 },
};

const char *duty_name(enum duty duty) { return duties[duty].name; }

unsigned duty_home(const struct node *n, enum duty duty)
{
    ensure(duty > DUTY_NONE && duty < DUTIES);
    return duties[duty].worker < n->worker_count ? duties[duty].worker : 0;
}

bool duty_is_here(const struct worker *w, enum duty duty)
{
    return w->index == duty_home(w->node, duty);
}
