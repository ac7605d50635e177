#include "ops/outside_endpoint.h"
#include "base/arena.h"
#include "base/mem.h"
#include "base/rand.h"
#include "codec/xml_elem.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/host.h"
#include "home/node.h"
#include "home/router.h"

#define LABEL     "pushtest"
#define NS_PUBSUB "http://jabber.org/protocol/pubsub"
#define NS_PUSH   "urn:xmpp:push:0"

enum { NODE_RANDOM = 16 };

struct endpoint {
    char node[2 * NODE_RANDOM + 1];
    size_t from_len;
    char from[]; /* the domain that tests */
};
static unsigned endpoint_slot;

static struct endpoint **endpoint_of(const struct worker *w)
{
    return (struct endpoint **)(void *)worker_state(w, endpoint_slot);
}

void outside_endpoint_close(struct worker *w) { mem_free(endpoint_of(w)); }

slice outside_endpoint_domain(slice domain, struct arena *arena)
{
    return slice_of(arena_printf(arena, LABEL ".%.*s", SLICE_ARG(domain)));
}

bool outside_endpoint_open(struct worker *w, slice domain, struct arena *arena,
                           struct outside_endpoint *out)
{
    slice service = { 0 }, at_domain = outside_endpoint_domain(domain, arena);
    for (unsigned i = 0; i < 16 * NODE_SLOTS && service.len == 0; i++) {
        slice at = slice_of(arena_printf(arena, "%u@%.*s", i, SLICE_ARG(at_domain)));
        if (node_is_home(w, at))
            service = at;
    }
    if (service.len == 0)
        return false;
    outside_endpoint_close(w);
    struct endpoint *e = mem_zalloc(sizeof *e + domain.len);
    rand_hex(e->node, NODE_RANDOM);
    e->from_len = domain.len;
    memcpy(e->from, domain.ptr, domain.len);
    *endpoint_of(w) = e;
    *out = (struct outside_endpoint){ service, slice_dup(arena, slice_of(e->node)) };
    return true;
}

/* Whether it is the notification of the test that is under way. */
static bool endpoint_awaits(struct worker *w, const struct stanza *st)
{
    const struct endpoint *e = *endpoint_of(w);
    struct elem pubsub, publish, item, notification;
    return e != NULL && st->type == TYPE_SET &&
           slice_eq(stanza_from(st), (slice){ e->from, e->from_len }) &&
           stanza_payload(st, &pubsub) && elem_is(&pubsub, "pubsub", NS_PUBSUB) &&
           elem_child(&pubsub, "publish", NS_PUBSUB, &publish) &&
           slice_is(elem_attr(&publish, "node", loop_scratch(worker_loop(w))), e->node) &&
           elem_child(&publish, "item", NS_PUBSUB, &item) &&
           elem_child(&item, "notification", NS_PUSH, &notification);
}

/* Everybody else, and every other request, gets one and the same answer. */
static enum routed endpoint_receive(struct worker *w, const struct host *h, struct stanza *st,
                                    struct origin origin)
{
    bool request = stanza_is_request(st);
    (void)h, (void)origin;
    if (request && endpoint_awaits(w, st))
        route_send(w, stanza_make(STANZA_IQ, TYPE_RESULT, stanza_to(st), stanza_from(st),
                                  stanza_id(st), (slice){ 0 }));
    else if (request || (st->kind == STANZA_MESSAGE && stanza_has(st, KNOWN(BODY))))
        route_error(w, st, SE_ITEM_NOT_FOUND, (slice){ 0 });
    stanza_unref(&st);
    return ROUTED;
}

static const struct host hosts[] = {
    { .label = LABEL,
      .category = "pubsub",
      .type = "push",
      .name = "Test of Push Notifications",
      .disco = (const char *const[]){ NS_PUSH, NULL },
      .hidden = true,
      .receive = endpoint_receive },
    { 0 },
};

const struct feature outside_endpoint_feature = {
    .name = "pushtest",
    .hosts = hosts,
    .worker.slot = &endpoint_slot,
    .worker.ended = outside_endpoint_close,
};
