#include "im/component_watch.h"
#include "base/ensure.h"
#include "bus/bus.h"
#include "home/message.h"
#include "home/node.h"
#include "home/remote.h"
#include "home/router.h"
#include "im/account.h"
#include "im/component_rights.h"
#include "im/sessions.h"
#include "xmpp/jid.h"

/* Nobody waits for a component that is not there: its presence comes when it does. */
static void watch_send(struct worker *w, const struct stanza *st, slice component)
{
    if (remote_known(w, component))
        route_send(w, stanza_readdress(st, (slice){ 0 }, component));
}

static slice watch_host(const struct account *a) { return jid_split(a->jid).domain; }

/* Who is invisible (XEP-0186 §3.1) is that to components, too. */
void component_watch_presence(struct session *s, struct stanza *st)
{
    struct component_rights r;
    slice component;
    if (!component_watchers_any() || s->hidden != SESSION_SHOWN)
        return;
    slice list = component_rights_list(watch_host(s->account));
    while (component_rights_next(&list, &component, &r))
        if (r.presence)
            watch_send(s->account->worker, st, component);
}

void component_watch_roster(struct account *a, const struct stanza *push)
{
    struct component_rights r;
    slice component;
    ensure(account_here(a));
    ensure(push->kind == STANZA_IQ && push->to_len == 0);
    if (!component_watchers_any())
        return;
    slice list = component_rights_list(watch_host(a));
    while (component_rights_next(&list, &component, &r))
        if (r.push && remote_known(a->worker, component))
            route_send(a->worker, stanza_change(push, &(struct stanza_change){ .from = a->jid,
                                                                               .to = component }));
}

/* What there is when a component comes. */

struct watch_began {
    slice component;
};

static void watch_began_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct watch_began *m = message;
    struct component_rights r;
    const struct session *s;
    (void)from;
    for (uint32_t i = 0; (s = sessions_next(w, &i)) != NULL;)
        if (s->available && s->hidden == SESSION_SHOWN && s->presence != NULL &&
            component_rights(watch_host(s->account), m->component, &r) && r.presence)
            watch_send(w, s->presence, m->component);
}

static const struct message_field watch_began_fields[] = {
    F_BARE(struct watch_began, component),
    { 0 },
};
const struct message_row component_watches_message = {
    .id = 39,
    .scope = MESSAGE_CLUSTER,
    .name = "component-watches",
    .size = sizeof(struct watch_began),
    .fields = watch_began_fields,
    .run = watch_began_run,
};

void component_watch_begins(struct worker *w, slice component)
{
    uint32_t nodes[BUS_NODES_MAX];
    const struct node *n = worker_node(w);
    if (!component_watchers_any())
        return;
    unsigned count = node_all(n, nodes);
    for (unsigned i = 0; i < count; i++)
        for (unsigned k = 0; k < node_workers(n, nodes[i]); k++)
            home_send_to(w, nodes[i], k, &component_watches_message,
                         &(struct watch_began){ component });
}
