#include "home/duty.h"
#include "base/ensure.h"
#include "home/here.h"
#include "home/message.h"
#include "home/node.h"

static const struct {
    const char *name;
    unsigned worker;
} duties[DUTIES] = {
    [DUTY_SETTINGS] = { "settings", 0 }, [DUTY_LIFECYCLE] = { "lifecycle", 0 },
    [DUTY_CONTROL] = { "control", 0 },   [DUTY_BACKUP] = { "backup", 0 },
    [DUTY_CERTS] = { "certs", 0 },       [DUTY_METRICS] = { "metrics", 0 },
    [DUTY_CAPACITY] = { "capacity", 0 }, [DUTY_ANNOUNCE] = { "announce", 0 },
    [DUTY_ARCHIVE] = { "archive", 0 },   [DUTY_UPLOADS] = { "uploads", 0 },
    [DUTY_ROOMS] = { "rooms", 0 },       [DUTY_ACCOUNTS] = { "accounts", 0 },
    [DUTY_LINKS] = { "links", 0 },       [DUTY_TESTS] = { "tests", 0 },
    [DUTY_ACCESS] = { "access", 0 },     [DUTY_AUDIT] = { "audit", 0 },
    [DUTY_ALARMS] = { "alarms", 0 },     [DUTY_WEBHOOKS] = { "webhooks", 0 },
    [DUTY_GROUPS] = { "groups", 0 },
};

const char *duty_name(enum duty duty) { return duties[duty].name; }

unsigned duty_home(const struct node *n, enum duty duty, uint32_t *node)
{
    ensure(duty > DUTY_NONE && duty < DUTIES);
    *node = n->bus == NULL ? n->id : n->bus->ops->duties(n->bus);
    return duties[duty].worker < node_workers(n, *node) ? duties[duty].worker : 0;
}

void duty_send(struct worker *w, enum duty duty, const struct message_row *row, void *message)
{
    uint32_t node;
    unsigned worker = duty_home(worker_node(w), duty, &node);
    home_send_to(w, node, worker, row, message);
}

bool duty_is_here(const struct worker *w, enum duty duty)
{
    uint32_t node;
    return worker_index(w) == duty_home(worker_node(w), duty, &node) && node == worker_node(w)->id;
}
