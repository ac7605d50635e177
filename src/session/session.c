#include "session/session.h"
#include "account/account.h"
#include "account/guest.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/rand.h"
#include "base/setting.h"
#include "codec/xml_write.h"
#include "core/budget.h"
#include "core/core.h"
#include "core/feature.h"
#include "core/rows.h"
#include "home/here.h"
#include "home/node.h"
#include "home/router.h"
#include "home/slots.h"
#include "presence/presence.h"
#include "presence/presence_pace.h"
#include "session/link.h"
#include "session/session_input.h"
#include "session/session_queue.h"
#include "session/session_repeats.h"
#include "session/session_struct.h"
#include "session/session_wait.h"
#include "talk/message.h"
#include "talk/offline.h"
#include "xmpp/ns.h"
#include <assert.h>
#include <openssl/crypto.h>
#include <stdio.h>

enum conflict_policy { CONFLICT_REPLACE, CONFLICT_RENAME, CONFLICT_REFUSE };

static const char *const conflict_choices[] = { "replace", "rename", "refuse", NULL };
static const char *const expiry_choices[] = { "deliver", "bounce", NULL };

static struct setting session_conflict = {
    .name = "c2s.resource-conflict",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_CHOICE,
    .choices = conflict_choices,
    .doc = "What happens if a client binds a resource that is already connected: the old session "
           "is replaced (stream error conflict), the new one gets another resource, or the new one "
           "is refused.",
};
static struct setting session_max = {
    .name = "session.per-account-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 32,
    .min = 1,
    .max = 1000,
    .unit = "sessions",
    .doc = "How many sessions one account may have, including hibernating ones.",
};
struct setting sm_enabled = {
    .name = "sm.enabled",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc =
        "Offers stream management (XEP-0198): clients acknowledge what they get and resume a lost "
        "session. Off: it is not offered, and no session can enable it; those that have it keep it "
        "and can be resumed. Turn it off only to find the cause of a problem with clients.",
};
static struct setting sm_hibernate_time = {
    .name = "sm.hibernate-time",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 60000,
    .min = 30000,
    .max = 90000,
    .doc = "How long a session whose connection was lost can be resumed (XEP-0198).",
};
struct setting sm_hibernate_buffer = {
    .name = "sm.hibernate-buffer",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 100,
    .min = 5,
    .max = 150,
    .unit = "stanzas",
    .doc = "Unacknowledged stanzas kept for a session that waits to be resumed, including those "
           "sent before its connection was lost. With more, the session ends; its messages go to "
           "other sessions or stay in the mailbox.",
};
struct setting sm_hibernate_bytes = {
    .name = "sm.hibernate-bytes",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 1 << 20,
    .min = 64 << 10,
    .max = 64 << 20,
    .doc =
        "Unacknowledged data kept for a session that waits to be resumed. With more, the session "
        "ends. Raise it if clients that receive large stanzas often lose their sessions.",
};
struct setting sm_ack_every = {
    .name = "sm.ack-every",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 5,
    .min = 1,
    .max = 64,
    .unit = "stanzas",
    .doc = "The server asks for an acknowledgement after this many stanzas.",
};
struct setting sm_ack_after = {
    .name = "sm.ack-after",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 1000,
    .min = 100,
    .max = 60000,
    .doc = "The server asks for an acknowledgement of a stored message that long after it was "
           "sent, if sm.ack-every has not done so before. A client that ends without having been "
           "asked gets the message again at its next login.",
};
struct setting sm_queue_max = {
    .name = "sm.queue-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 10000,
    .min = 200,
    .max = 1000000,
    .unit = "stanzas",
    .doc = "Unacknowledged stanzas of a connected session. With more, the stream is closed with "
           "policy-violation. This concerns clients that read but never acknowledge.",
};
struct setting sm_queue_bytes = {
    .name = "sm.queue-bytes",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BYTES,
    .def = 8 << 20,
    .min = 512 << 10,
    .max = 1 << 30,
    .doc = "Unacknowledged data of a connected session, including stanzas that are kept back for a "
           "client in the background. With more, the stream is closed with policy-violation; the "
           "messages stay in the mailbox. The longest stanza, such as a large contact list, does "
           "not count.",
};
static struct setting session_clear = {
    .name = "session.bind2-clears-offline",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "A client that binds by Bind 2 (XEP-0386) reads what it missed from the archive. So the "
           "messages that waited for the user count as delivered, and no client gets them at "
           "login. Turn it off for clients that use Bind 2, but not the archive.",
};
struct setting session_pause_buffer = {
    .name = "session.pause-buffer",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 100,
    .min = 5,
    .max = 1000,
    .unit = "stanzas",
    .doc = "Stanzas that are kept back for a connected client that is in the background or reads "
           "too slowly. When there are this many, all are sent.",
};
struct setting session_active_time = {
    .name = "session.active-time",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 300000,
    .min = 1000,
    .max = 86400000,
    .doc = "The active client of a user is the one that was last to send available presence or a "
           "message within this time; with none, all are addressed alike (multiple device "
           "messaging).",
};
static struct setting sm_on_expiry = {
    .name = "sm.on-expiry",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_CHOICE,
    .choices = expiry_choices,
    .doc = "Unacknowledged messages of a session that was not resumed in time: deliver them to the "
           "account's other sessions or its mailbox, or bounce them to their senders as errors.",
};
struct setting *const session_settings[] = {
    &session_conflict,    &session_max,        &sm_enabled,   &sm_hibernate_time,
    &sm_hibernate_buffer, &sm_hibernate_bytes, &sm_ack_every, &sm_ack_after,
    &sm_queue_max,        &sm_queue_bytes,     &sm_on_expiry, &session_pause_buffer,
    &session_active_time, &session_clear,      NULL
};

struct metric session_count = {
    .name = "muster_sessions",
    .kind = METRIC_GAUGE,
    .history = true,
    .help = "Sessions, hibernating ones included, without those of test users.",
    .also = "ActiveJsmSessions JsmClientSessionsActive JsmSessionsClient",
};
static struct metric hibernating_now = {
    .name = "muster_sessions_hibernating",
    .kind = METRIC_GAUGE,
    .help = "Sessions without a connection that wait to be resumed.",
    .also = "JsmPhantomSessionsActive",
};
static struct metric resumed = { .name = "muster_sessions_resumed",
                                 .kind = METRIC_COUNTER,
                                 .help = "Sessions that were resumed (XEP-0198)." };
static struct metric expired = { .name = "muster_sessions_expired",
                                 .kind = METRIC_COUNTER,
                                 .help = "Sessions that were not resumed in time." };
struct metric session_flushes = {
    .name = "muster_mdm_buffer_flushes",
    .kind = METRIC_COUNTER,
    .help = "How often stanzas kept back for a connected client were sent.",
    .also = "MDMBufferFlushes",
};
struct metric session_flushes_limit = {
    .name = "muster_mdm_buffer_flushes_limit_reached",
    .kind = METRIC_COUNTER,
    .help = "Flushes because session.pause-buffer was reached.",
    .also = "MDMBufferFlushesLimitReached",
};
struct metric session_flush_stanzas = {
    .name = "muster_mdm_buffer_flush_packets",
    .kind = METRIC_COUNTER,
    .help = "Stanzas sent by these flushes.",
    .also_period = "MDMBufferFlushPacketCount",
};
struct metric session_flush_waited = {
    .name = "muster_mdm_buffer_queued_ms",
    .kind = METRIC_COUNTER,
    .help = "Total waiting time of these stanzas.",
    .also_mean = "MDMBufferAvgQueuedTime",
    .per = &session_flush_stanzas,
};
struct metric *const session_metrics[] = {
    &session_count,
    &hibernating_now,
    &resumed,
    &expired,
    &sessions_shed,
    &session_flushes,
    &session_flushes_limit,
    &session_flush_stanzas,
    &session_flush_waited,
    NULL,
};

struct log_area log_session = { .name = "session" };
struct log_area *const session_logs[] = { &log_session, NULL };

/* Without the slots of features, of which both together have some 20. */
#ifndef MUSTER_DEBUG
static_assert(sizeof(struct session) + sizeof(struct account) <= 712, "an idle user is small");
#endif

/* No other session that may still be spoken to has it. */
static uint64_t session_new_id(const struct account *a)
{
    uint64_t id, slot = node_slot(a->jid);
    do
        id = slot << ORIGIN_SLOT_SHIFT | rand_u64() >> (64 - ORIGIN_JOIN_SHIFT);
    while (id == 0 || session_find(a->worker, id) != NULL);
    ensure(origin_slot(id) == slot);
    return id;
}

/* The block has the full JID behind it. */
struct session *session_create(struct account *a, slice resource)
{
    struct worker *w = a->worker;
    size_t len = a->jid.len + 1 + resource.len;
    unsigned slots = FEATURES_COUNT(session.slot);
    ensure(account_here(a) && resource.len > 0);
    ensure(resource.len > 0);
    struct session *s = mem_zalloc(sizeof *s + slots * sizeof s->state_of[0] + len);
    char *text = (char *)(s->state_of + slots);
    memcpy(text, a->jid.ptr, a->jid.len);
    text[a->jid.len] = '/';
    memcpy(text + a->jid.len + 1, resource.ptr, resource.len);
    s->account = a;
    s->jid = (slice){ text, len };
    s->bare_len = (uint16_t)a->jid.len;
    s->id = session_new_id(a);
    s->since_us = loop_wall_us(worker_loop(w));
    s->active_us = loop_now_us(worker_loop(w));
    list_append(&a->sessions, &s->node);
    map_put(&core_of(w)->sessions, s);
    metric_add(&session_count, 1);
    guest_began(s);
    EMIT(session.began, s);
    actor_touch(&a->actor);
    return s;
}

void session_take_id(struct session *s, uint64_t id)
{
    struct core *core = core_of(s->account->worker);
    ensure(origin_slot(id) == node_slot(s->account->jid) &&
           session_find(s->account->worker, id) == NULL);
    map_del(&core->sessions, (slice){ (const char *)&s->id, sizeof s->id });
    s->id = id;
    map_put(&core->sessions, s);
}

void session_moved(struct session *s)
{
    if (s->state == SESSION_HIBERNATING)
        metric_add(&hibernating_now, -1);
    else if (s->link.local != NULL)
        session_down(s, &(struct down){ .kind = DOWN_MOVED, .text = s->jid, .session = s->id });
    session_free(s);
}

void session_free(struct session *s)
{
    struct worker *w = s->account->worker;
    EMIT(session.freed, s);
    offline_cancel(s);
    session_produce(s, NULL);
    session_wait_drop(s);
    timer_cancel(&s->timer);
    list_remove(&s->ack_node);
    list_remove(&s->end_node);
    list_remove(&s->node);
    map_del(&core_of(w)->sessions, (slice){ (const char *)&s->id, sizeof s->id });
    session_queue_free(s);
    mem_free(&s->tickets);
    mem_free(&s->repeats);
    presence_session_forget(s);
    metric_add(&session_count, -1);
    guest_ended(s);
    mem_free(&s);
}

/* The hand-over of what the client did not acknowledge (architecture §6), in order. */
static void session_hand_over(struct session *s, struct queued *q, enum session_end why)
{
    struct account *a = s->account;
    struct worker *w = a->worker;
    struct stanza *st = q->st;
    bool bounce = (why == END_EXPIRED || why == END_FULL) && setting_int(&sm_on_expiry) == 1;

    if (q->to == QUEUED_COPY || queued_is_carbon(q))
        message_copy_lost(a, s, q->archive_id);
    if (q->to != QUEUED_OWN)
        return;
    if (st->kind == STANZA_MESSAGE) {
        if (bounce) {
            message_bounce(a, s, st, q->archive_id, q->at_us);
        } else {
            message_hand_over(a, s, st, q->archive_id, q->at_us);
        }
    } else if (stanza_is_request(st) && !q->answered) {
        route_error(w, st, SE_RECIPIENT_UNAVAILABLE, (slice){ 0 });
    }
}

static const char *const reasons[] = {
    [END_CLOSED] = "closed by the client",
    [END_LOST] = "connection lost",
    [END_REPLACED] = "replaced by another of this resource",
    [END_KICKED] = "ended by an operator",
    [END_PASSWORD] = "password changed",
    [END_REMOVED] = "account deleted",
    [END_DISABLED] = "account disabled",
    [END_REVOKED] = "device revoked",
    [END_BAD_ACK] = "acknowledged what was not sent",
    [END_SLOW] = "did not read its output",
    [END_EXPIRED] = "not resumed in time",
    [END_FULL] = "too much waited to be resumed",
    [END_SHUTDOWN] = "server stopped",
};

void session_end(struct session *s, enum session_end why)
{
    struct account *a = s->account;
    if (s->state == SESSION_ENDED)
        return;
    s->end_why = (uint8_t)why;
    if (s->state == SESSION_HIBERNATING)
        metric_add(&hibernating_now, -1);
    if (s->state == SESSION_ATTACHED && why != END_CLOSED && why != END_LOST)
        session_down(s, &(struct down){ .kind = DOWN_CLOSE, .end = why });
    if (why == END_EXPIRED || why == END_FULL)
        metric_add(&expired, 1);
    s->state = SESSION_ENDED;
    log_info(&log_session, LOG_EV("session.end"), LOG_S("jid", s->jid),
             LOG_C("reason", reasons[why]), LOG_C("peer", ip_print(&s->peer).text));
    account_pin(a);
    list_remove(&s->node);
    offline_cancel(s);
    session_produce(s, NULL);
    for (uint32_t i = 0; i < s->queue_len; i++)
        session_hand_over(s, session_queue_at(s, i), why);
    LIST_EACH (it, &a->sessions) { /* what it had not been sent yet, or nobody could take now */
        struct session *other = CONTAINER_OF(it, struct session, node);
        if (other->available && other->priority >= 0)
            offline_again(other);
    }
    presence_session_ended(s);
    EMIT(session.ended, s);
    session_free(s);
    account_unpin(a);
}

void sessions_end_waiting(struct loop_defer *d)
{
    struct core *core = CONTAINER_OF(d, struct core, end_defer);
    struct list *it;
    while ((it = list_pop(&core->endings)) != NULL) {
        struct session *s = CONTAINER_OF(it, struct session, end_node);
        session_end(s, (enum session_end)s->end_why);
    }
}

/* Binding (RFC 6120 §7). */

struct binding {
    struct bind_request req;
    struct worker *worker;
    struct account *account;        /* while reads of Bind 2 are under way: pinned */
    const struct store_batch *read; /* their results; NULL: none */
    char texts[];                   /* what the slices point to */
};

void session_bind_refuse(struct worker *w, const struct bind_request *req, enum stanza_error e,
                         slice text)
{
    if (req->resume)
        session_link_down(w, &req->link, &(struct down){ .kind = DOWN_NOT_RESUMED, .error = e });
    else
        session_link_down(w, &req->link,
                          &(struct down){ .kind = DOWN_REFUSED, .error = e, .text = text });
}

static void session_refuse(const struct binding *b, enum stanza_error e, slice text)
{
    session_bind_refuse(b->worker, &b->req, e, text);
}

static void attach(struct session *s, const struct bind_request *req)
{
    ensure(session_here(s));
    s->link = req->link;
    s->state = SESSION_ATTACHED;
    s->secure = req->secure;
    s->by_token = req->by_token;
    s->holds = s->paused = 0;
    s->output_bytes = 0;
    if (device_is_known(req->device)) /* one who resumes may not say it again */
        memcpy(s->device, req->device, sizeof s->device);
    s->peer = ip_parse(req->peer);
}

/* Its client has closed the stream in order, and what it said before waits to be checked. */
static bool session_still_says(const struct session *s) { return s->leaving && s->waits; }

/* The resource to use, or len 0 where the policy refuses. The server may choose another than the
 * client wants (RFC 6120 §7.7.2.2): it does so where the old session has something to say still. */
static slice settle_conflict(struct account *a, slice wanted, char chosen[33])
{
    struct session *old = wanted.len == 0 ? NULL : account_session(a, wanted);
    if (wanted.len > 0 && old == NULL)
        return wanted;
    int64_t policy = setting_int(&session_conflict);
    /* one that hibernates is not connected: its client has come back without its token */
    bool says = old != NULL && session_still_says(old);
    bool replace =
        old != NULL && !says && (policy == CONFLICT_REPLACE || old->state == SESSION_HIBERNATING);
    if (old != NULL && !replace && !says && policy == CONFLICT_REFUSE)
        return (slice){ 0 };
    if (replace) {
        session_end(old, END_REPLACED);
        return wanted;
    }
    rand_hex(chosen, 8);
    return slice_of(chosen);
}

/* XEP-0386 §4.2: the client has come back, so its earlier sessions are over. */
static void replace_device(struct account *a, const uint8_t device[16])
{
    struct list *at = a->sessions.next;
    while (device_is_known(device) && at != &a->sessions) {
        struct session *s = CONTAINER_OF(at, struct session, node);
        bool same = memcmp(s->device, device, sizeof s->device) == 0 && !session_still_says(s);
        if (same)
            session_end(s, END_REPLACED); /* what it hands over may end others: begin again */
        at = same ? a->sessions.next : at->next;
    }
}

static void bind2_rules(struct session *s, const struct elem *e, struct buf *bound)
{
    FEATURES_EACH (f, bind2)
        for (const struct bind2_rule *r = f->bind2; r->ns != NULL; r++)
            if (elem_is(e, r->name, r->ns))
                r->run(s, e, bound);
}

/* XEP-0386 §4.2: what waits for the user is not delivered to a client that reads the archive. What
 * is not in there still is. */
static void bind2_clear(struct account *a)
{
    if (setting_bool(&session_clear))
        mailbox_settle_archived(a);
}

/* What is asked for inside <bind/>; the answers go into <bound/>. */
static void bind2_run(struct session *s, const struct binding *b, struct buf *bound)
{
    struct elem e, child;
    if (elem_parse(&e, b->req.bind2, SLICE(NS_BIND2)))
        for (bool more = elem_first(&e, &child); more; more = elem_next(&child, &child))
            bind2_rules(s, &child, bound);
    if (feature_one.archive == NULL)
        return;
    feature_one.archive->bind2_loaded(s, b->read, bound);
    if (b->read != NULL)
        bind2_clear(s->account);
}

static void bind_now(struct account *a, struct binding *b)
{
    char chosen[33];
    unsigned n = 0;
    if (b->req.bind2.len > 0)
        replace_device(a, b->req.device);
    slice resource = settle_conflict(a, b->req.resource, chosen);
    LIST_EACH (it, &a->sessions)
        n++;
    if (resource.len == 0) {
        session_refuse(b, SE_CONFLICT, SLICE("this resource is connected already"));
        return;
    }
    if (account_is_guest(a) && !guest_room()) {
        session_refuse(b, SE_RESOURCE_CONSTRAINT, SLICE("too many guests are here: see guest.max"));
        return;
    }
    if (n >= setting_int(&session_max)) {
        session_refuse(b, SE_RESOURCE_CONSTRAINT,
                       SLICE("too many sessions: see session.per-account-max"));
        return;
    }
    struct session *s = session_create(a, resource);
    attach(s, &b->req);
    log_debug(&log_session, LOG_EV("session.bind"), LOG_S("jid", s->jid),
              LOG_S("peer", b->req.peer));
    struct buf bound;
    buf_init(&bound, BIND2_BYTES_MAX);
    if (b->req.bind2.len > 0)
        bind2_run(s, b, &bound);
    session_down(s, &(struct down){ .kind = DOWN_BOUND,
                                    .num = s->sm != 0,
                                    .text = s->jid,
                                    .more = buf_fit(&bound),
                                    .session = s->id,
                                    .local = s->link.local == NULL ? NULL : s });
    buf_fini(&bound);
}

/* Resumption (XEP-0198 §5). */

static struct session *by_token(struct account *a, slice text)
{
    uint8_t token[16];
    if (!hex_decode(token, sizeof token, text))
        return NULL;
    LIST_EACH (it, &a->sessions) {
        struct session *s = CONTAINER_OF(it, struct session, node);
        if (s->sm == 2 && CRYPTO_memcmp(s->token, token, sizeof token) == 0)
            return s;
    }
    return NULL;
}

/* Whether the stream that resumes it is still there: what is said to one of this worker is a call,
 * and a client that does not wait may have left. */
static bool session_is_carried(const struct session *s, struct worker *w, uint64_t id)
{
    return session_find(w, id) == s && s->state == SESSION_ATTACHED;
}

static void resume_now(struct account *a, struct binding *b)
{
    struct session *s = by_token(a, b->req.resource);
    if (s == NULL || !session_acked(s, b->req.h)) {
        session_refuse(b, SE_ITEM_NOT_FOUND, (slice){ 0 });
        return;
    }
    if (s->state == SESSION_ATTACHED) {
        session_down(s, &(struct down){ .kind = DOWN_CLOSE, .end = END_REPLACED });
    } else {
        metric_add(&hibernating_now, -1);
        timer_cancel(&s->timer);
    }
    metric_add(&resumed, 1);
    attach(s, &b->req);
    repeats_begin(s);
    s->h_told = s->h_asked = s->h;
    uint64_t id = s->id;
    session_down(s, &(struct down){ .kind = DOWN_RESUMED,
                                    .text = s->jid,
                                    .num = session_handled(s),
                                    .session = s->id,
                                    .local = s->link.local == NULL ? NULL : s });
    if (!session_is_carried(s, a->worker, id))
        return;
    session_queue_resend(s);
    EMIT(session.resumed, s);
    session_flow(s);
    if (s->producers != NULL && session_took(s))
        session_produce(s, s);
    if (s->available && s->priority >= 0)
        offline_flush(s);
}

/* An account made anew under the same name, and one whose password was changed in between, are not
 * what the client authenticated as. 0: it did not say (a client of another feature). */
static bool still_authentic(struct account *a, const struct bind_request *req)
{
    if (req->account_id == 0)
        return true;
    if (req->account_id != a->id || req->generation < a->generation)
        return false;
    a->generation = req->generation; /* a login may know of a change before its home is told */
    return true;
}

static void bind2_read(void *arg, enum store_result result, const struct store_batch *b);

/* Reads what <bound/> says of the archive. false: nothing. */
static bool bind2_ask(struct account *a, struct binding *b)
{
    if (feature_one.archive == NULL)
        return false;
    struct store_batch *batch = store_read(worker_store(a->worker), account_lane(a));
    feature_one.archive->bind2_load(a, batch);
    if (store_stmt_count(batch) == 0) {
        store_drop(&batch);
        return false;
    }
    account_pin(a);
    b->account = a;
    store_submit(batch, worker_loop(a->worker), 0, bind2_read, b);
    return true;
}

static void bind_ready(struct account *a, enum err e, void *arg)
{
    struct binding *b = arg;
    const struct link *link = &b->req.link;
    bool left =
        link->local != NULL && map_get(&core_of(b->worker)->streams,
                                       (slice){ (const char *)&link->id, sizeof link->id }) == NULL;
    ensure(account_here(a));
    if (left) { /* the client did not wait; a stream elsewhere is asked by DOWN_BOUND
                   (session/link.c) */
        mem_free(&b);
        return;
    }
    if (e != OK)
        session_refuse(b, stanza_error_of(e), (slice){ 0 });
    else if (a->state != ACTOR_READY || a->admitted || !still_authentic(a, &b->req))
        session_refuse(b, SE_NOT_ALLOWED, SLICE("the account does not exist any more"));
    else if (b->req.resume)
        resume_now(a, b);
    else if (b->req.bind2.len > 0 && b->account == NULL && bind2_ask(a, b))
        return;
    else
        bind_now(a, b);
    mem_free(&b);
}

/* What may have changed meanwhile is looked at again. */
static void bind2_read(void *arg, enum store_result result, const struct store_batch *batch)
{
    struct binding *b = arg;
    struct account *a = b->account;
    b->read = result == STORE_OK ? batch : NULL;
    bind_ready(a, OK, b);
    account_unpin(a);
}

void session_bind(struct worker *w, const struct bind_request *req)
{
    uint32_t node;
    unsigned home = node_home(worker_node(w), req->bare, &node);
    if (home != worker_index(w) || node != worker_node(w)->id || slots_are_moving(w))
        link_send_bind(w, req);
    else
        session_bind_here(w, req);
}

void session_bind_here(struct worker *w, const struct bind_request *req)
{
    struct binding *b =
        mem_zalloc(sizeof *b + req->bare.len + req->resource.len + req->peer.len + req->bind2.len);
    char *at = b->texts;
    b->worker = w;
    b->req = *req;
    slice *const texts[] = { &b->req.bare, &b->req.resource, &b->req.peer, &b->req.bind2 };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (texts[i]->len > 0)
            memcpy(at, texts[i]->ptr, texts[i]->len);
        texts[i]->ptr = at;
        at += texts[i]->len;
    }
    account_with_id(w, b->req.bare, b->req.account_id, bind_ready, b);
}

/* Hibernation. */

static void hibernation_over(struct timer *t, struct loop *loop)
{
    enum { STOPPING_MS = 1000 };
    struct session *s = CONTAINER_OF(t, struct session, timer);
    ensure(session_here(s));
    if (worker_stopping(s->account->worker))
        timer_set(loop, t, STOPPING_MS); /* it may be saved already */
    else if (s->available && !presence_pace_take(s->account->worker))
        timer_set(loop, t, PRESENCE_PACE_MS); /* its contacts are told in turn */
    else
        session_end(s, s->leaving ? (enum session_end)s->end_why : END_EXPIRED);
}

bool session_expires(const struct session *s)
{
    return timer_is_set(&s->timer) && s->timer.fn == hibernation_over;
}

void session_hibernate(struct session *s, uint64_t ms)
{
    ensure(session_here(s));
    s->state = SESSION_HIBERNATING;
    s->link = (struct link){ 0 };
    s->timer.fn = hibernation_over;
    timer_set(worker_loop(s->account->worker), &s->timer, ms);
    metric_add(&hibernating_now, 1);
}

static void lost(struct session *s)
{
    session_hibernate(s, session_resumable_ms(s));
    EMIT(session.hibernates, s);
    if (!session_queue_fits(s))
        session_end(s, END_FULL);
}

/* It ends when what it said has been checked and handled, and cannot be resumed. */
static void session_leave(struct session *s, enum session_end why)
{
    s->leaving = true;
    s->end_why = (uint8_t)why;
    s->sm = s->sm == 0 ? 0 : 1;
    session_hibernate(s, (uint64_t)setting_int(&sm_hibernate_time));
}

static void session_gone(struct session *s, enum session_end why)
{
    if (worker_stopping(s->account->worker)) {
        /* kept as it is: it is saved, and all but components are told after the next start, unless
         * it resumes (planned restart; restart_tell_components()) */
        s->state = SESSION_HIBERNATING;
        s->link = (struct link){ 0 };
        timer_cancel(&s->timer);
        return;
    }
    /* END_SHUTDOWN: the node of the stream ends, and this one does not */
    if ((why == END_LOST || why == END_SHUTDOWN) && s->sm == 2)
        lost(s);
    else if (s->waits)
        session_leave(s, why);
    else
        session_end(s, why);
}

void sm_enabled_write(struct buf *out, slice id, uint32_t max_s)
{
    struct xml_write x;
    xml_write_to(&x, out);
    xml_open(&x, "enabled", NS_SM);
    if (id.len > 0) {
        xml_attr(&x, "resume", SLICE("true"));
        xml_attr(&x, "id", id);
        xml_attr_int(&x, "max", max_s);
    }
    xml_close(&x);
}

uint64_t session_resumable_ms(const struct session *s)
{
    uint64_t most = (uint64_t)setting_int(&sm_hibernate_time), wanted = s->resume_max_s * 1000ull;
    return wanted < most ? wanted : most;
}

uint32_t sm_resume_wanted(const struct elem *e, struct arena *tmp)
{
    int64_t max = RESUME_MAX_S;
    slice resume = elem_attr(e, "resume", tmp), text = elem_attr(e, "max", tmp);
    if (!slice_is(resume, "true") && !slice_is(resume, "1"))
        return 0;
    if (text.len > 0 && (!slice_int(text, &max) || max < 0 || max > RESUME_MAX_S))
        max = RESUME_MAX_S;
    return (uint32_t)max;
}

/* Counting starts here. The id for resumption is in `id`, empty: not resumable. max_s: the longest
 * that the client wants (XEP-0198 §3), 0: none. */
static slice session_enable(struct session *s, uint32_t max_s, char id[33])
{
    session_queue_flush(s); /* what is counted comes behind <enabled/> */
    bool resumable =
        max_s > 0 && !account_is_guest(s->account); /* who comes back is another guest */
    s->sm = resumable ? 2 : 1;
    s->resume_max_s = (uint8_t)(max_s < RESUME_MAX_S ? max_s : RESUME_MAX_S);
    s->in_base = s->in_count;
    s->out_base = s->out_acked = s->out_asked = s->out_count;
    if (!resumable)
        return (slice){ id, 0 };
    rand_bytes(s->token, sizeof s->token);
    hex_encode(id, (slice){ (const char *)s->token, sizeof s->token });
    return slice_of(id);
}

static uint32_t resumable_s(const struct session *s)
{
    return (uint32_t)(session_resumable_ms(s) / 1000);
}

static void enable_asked(struct session *s, uint32_t max_s)
{
    char id[33];
    slice text = session_enable(s, max_s, id);
    session_down(s, &(struct down){ .kind = DOWN_ENABLED, .text = text, .num = resumable_s(s) });
}

/* XEP-0198 §6.2: inside <bind/>. */
static void enable_inline(struct session *s, const struct elem *e, struct buf *bound)
{
    char id[33];
    if (!setting_bool(&sm_enabled)) {
        buf_lit(bound, "<failed xmlns='" NS_SM "'><service-unavailable xmlns='" NS_STANZA_ERROR
                       "'/></failed>");
    } else if (s->sm == 0) {
        uint32_t max_s = sm_resume_wanted(e, loop_scratch(worker_loop(s->account->worker)));
        slice text = session_enable(s, max_s, id);
        sm_enabled_write(bound, text, resumable_s(s));
    }
}
const struct bind2_rule session_bind2[] = {
    { NS_SM, "enable", enable_inline, .offered_if = &sm_enabled },
    { 0 },
};

slice sm_bad_ack(char text[static SM_BAD_ACK_BYTES], uint32_t h, uint32_t sent)
{
    int n = snprintf(text, SM_BAD_ACK_BYTES,
                     "<handled-count-too-high xmlns='" NS_SM "' h='%u' send-count='%u'/>", h, sent);
    return (slice){ text, (size_t)n };
}

static void bad_ack(struct session *s, uint32_t h)
{
    char text[SM_BAD_ACK_BYTES];
    session_down(s, &(struct down){ .kind = DOWN_CLOSE,
                                    .end = END_BAD_ACK,
                                    .text = sm_bad_ack(text, h, s->out_count - s->out_base) });
    session_end(s, END_CLOSED);
}

void session_up(struct session *s, const struct up *up)
{
    actor_mark(&s->account->actor);
    switch (up->kind) {
    case UP_STANZA:
        session_input(s, up->st);
        break;
    case UP_ACK:
        if (!session_acked(s, up->num))
            bad_ack(s, up->num);
        break;
    case UP_REQUEST:
        session_asked(s);
        break;
    case UP_ENABLE:
        enable_asked(s, up->num);
        break;
    case UP_WRITTEN:
        session_written(s, up->num);
        break;
    case UP_SLOW:
        if (up->num != 0) {
            session_pause(s, PAUSE_SLOW);
            budget_weigh(s->account); /* its output counts from now on */
        } else {
            s->long_output = 0;
            session_unpause(s, PAUSE_SLOW);
        }
        break;
    case UP_OUTPUT:
        s->output_bytes = up->num;
        budget_weigh(s->account);
        break;
    case UP_NONZA:
        session_nonza(s, up->num);
        break;
    case UP_GONE:
        session_gone(s, (enum session_end)up->num);
        break;
    }
}
