#include "pubsub/pubsub_arrive.h"
#include "account/account.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "core/stage.h"
#include "home/router.h"
#include "session/session.h"
#include "session/session_queue.h"
#include "talk/message.h"
#include "xmpp/delivery.h"

struct setting ps_offline_bytes = {
    .name = "pubsub.offline-bytes",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 8 << 10,
    .min = 1 << 10,
    .max = 256 << 10,
    .doc =
        "The largest notification of type `normal` or `chat` that is stored for a subscriber who "
        "is not connected. Larger ones go to connected clients only, and the item stays at its "
        "node. Each subscriber has a copy of a stored one, so with a higher value one "
        "publication may take more disk.",
};

/* Stage BLOCK sees the service; behind it are those on whose behalf it speaks (XEP-0191 §3.3). */
static bool lets_in(struct account *a, const struct stanza *st, slice behalf)
{
    slice who;
    bool yes = stage_block(a, st, &(struct refusal){ 0 }) == PASS;
    while (yes && slice_cut(behalf, '\n', &who, &behalf)) {
        struct stanza *said = stanza_make(STANZA_MESSAGE, (enum stanza_type)st->type, who, a->jid,
                                          (slice){ 0 }, (slice){ 0 });
        yes = slice_eq(who, a->jid) || stage_block(a, said, &(struct refusal){ 0 }) == PASS;
        stanza_unref(&said);
    }
    return yes;
}

/* To the sessions that are there: all that receive, or the one of that resource. */
static void pubsub_arrive_give(struct account *a, struct stanza *st, slice resource)
{
    ensure(account_here(a) && st != NULL);
    SESSIONS_EACH (s, a) {
        bool mine =
            resource.len > 0 ? slice_eq(session_resource(s), resource) : session_gets_messages(s);
        if (mine && stage_takes(s, st))
            session_deliver_to(s, st, session_jid(s));
    }
}

/* One that is kept waits until the account is loaded: only then it is known who is blocked. If it
 * cannot be loaded, nothing is kept: the item stays at its node (XEP-0060 promises no more), and an
 * error would only tell the service what it cannot use. */
struct arrival {
    struct stanza *st;
    slice jid, behalf;
    char text[];
};

static void account_loaded(struct account *a, enum err e, void *arg)
{
    struct arrival *r = arg;
    ensure(account_here(a));
    if (e == OK && a->state == ACTOR_READY && lets_in(a, r->st, r->behalf))
        route_send(a->worker, stanza_readdress(r->st, (slice){ 0 }, r->jid));
    stanza_unref(&r->st);
    mem_free(&r);
}

static void pubsub_arrive_keep(struct worker *w, const struct jid *jid, struct stanza *st,
                               slice behalf)
{
    struct arrival *r = mem_alloc(sizeof *r + jid->full.len + behalf.len);
    *r = (struct arrival){ .st = stanza_ref(st),
                           .jid = { r->text, jid->full.len },
                           .behalf = { r->text + jid->full.len, behalf.len } };
    memcpy(r->text, jid->full.ptr, jid->full.len);
    if (behalf.len > 0)
        memcpy(r->text + jid->full.len, behalf.ptr, behalf.len);
    account_with(w, jid_bare(jid), account_loaded, r);
}

void ps_explicit_arrived(struct worker *w, slice address, uint32_t number, struct stanza *st,
                         slice tag)
{
    (void)number;
    struct jid jid = jid_split(address);
    slice behalf = slice_from(tag, 1);
    if (message_storable(st) && st->content_len <= setting_int(&ps_offline_bytes)) {
        pubsub_arrive_keep(w, &jid, st, behalf);
        return;
    }
    struct account *a = account_find(w, jid_bare(&jid)); /* those who are connected */
    if (a != NULL && lets_in(a, st, behalf))
        pubsub_arrive_give(a, st, jid.resource);
}
