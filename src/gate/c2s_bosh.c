#include "gate/c2s_bosh.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "gate/bosh_body.h"
#include "gate/bosh_private.h"
#include "gate/bosh_session.h"
#include "gate/c2s.h"
#include "gate/c2s_stream.h"
#include "gate/web.h"
#include "home/message.h"
#include "home/node.h"
#include "http/forms.h"
#include "http/server.h"
#include "io/conn.h"
#include "xmpp/ns.h"

static bool bosh_is_path(slice text)
{
    return http_is_path(text) && http_path_is_free(text, &bosh_path);
}

struct setting bosh_path = {
    .name = "bosh.path",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_TEXT,
    .def_text = "/http-bind",
    .max = 256,
    .check = bosh_is_path,
    .form = HTTP_FORM_PATH ", where no other page is",
    .doc = "Where BOSH clients send their requests (XEP-0124), beside /bosh. Empty: only there.",
};
struct setting bosh_wait_max = {
    .name = "bosh.wait-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 60000,
    .min = 1000,
    .max = 600000,
    .doc = "The longest time for which a request of a BOSH client is held; the client may ask for "
           "less. The timeout of proxies must be longer.",
};
struct setting bosh_inactivity = {
    .name = "bosh.inactivity",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 60000,
    .min = 1000,
    .max = 600000,
    .doc =
        "A BOSH session ends after this time without a request; one that polls has twice the time.",
};
struct setting bosh_pause_max = {
    .name = "bosh.pause-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 120000,
    .min = 1000,
    .max = 3600000,
    .doc = "The longest pause of a BOSH client.",
};
struct metric bosh_sessions = { .name = "muster_bosh_sessions",
                                .kind = METRIC_GAUGE,
                                .help = "Sessions over BOSH." };

/* The table of sids, for all workers. */

static slice sid_key(const void *item) { return slice_of(((const struct bosh *)item)->sid); }

static struct c2s *c2s_of(const struct worker *w) { return edge_own(worker_node(w), &c2s_edge); }

void bosh_add(struct bosh *b)
{
    struct c2s *c = c2s_of(b->worker);
    pthread_mutex_lock(&c->lock);
    if (c->boshes.key == NULL)
        map_init(&c->boshes, sid_key);
    map_put(&c->boshes, b);
    pthread_mutex_unlock(&c->lock);
}

void bosh_remove(struct bosh *b)
{
    struct c2s *c = c2s_of(b->worker);
    pthread_mutex_lock(&c->lock);
    map_del(&c->boshes, slice_of(b->sid));
    pthread_mutex_unlock(&c->lock);
}

/* The session, which only its own worker may touch, and that worker. */
static struct bosh *bosh_find(const struct worker *w, slice sid, struct worker **home)
{
    struct c2s *c = c2s_of(w);
    struct bosh *b = NULL;
    pthread_mutex_lock(&c->lock);
    if (c->boshes.key != NULL)
        b = map_get(&c->boshes, sid);
    *home = b != NULL ? b->worker : NULL;
    pthread_mutex_unlock(&c->lock);
    return b;
}

/* Answers. */

static void request_free(struct bosh_request *q)
{
    struct gate_worker *g = *worker_gate(q->from);
    ensure(g->bosh_requests > 0);
    g->bosh_requests--;
    buf_fini(&q->answer);
    buf_fini(&q->text);
    arena_destroy(&q->arena);
    mem_free(&q);
}

static void bosh_reply_here(struct bosh_request *q)
{
    ensure(worker_is_here(q->from));
    if (q->http != NULL)
        http_answer(q->http, &(struct http_answer){ .status = q->status,
                                                    .type = q->content,
                                                    .body = buf_fit(&q->answer) });
    request_free(q);
}

/* A request on its way to the worker of its session, and back. */
struct bosh_moved {
    void *request; /* struct bosh_request */
};
static const struct message_field bosh_moved_fields[] = {
    F_LOCAL(struct bosh_moved, request),
    { 0 },
};

static void bosh_reply_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)w, (void)from;
    bosh_reply_here(((const struct bosh_moved *)message)->request);
}

static const struct message_row bosh_reply_message = {
    .id = 61,
    .scope = MESSAGE_PROCESS,
    .name = "bosh-reply",
    .size = sizeof(struct bosh_moved),
    .fields = bosh_moved_fields,
    .run = bosh_reply_run,
};

void bosh_reply(struct worker *w, struct bosh_request *q)
{
    if (q->status == 0)
        q->status = 200;
    if (q->content[0] == '\0')
        memcpy(q->content, "text/xml; charset=utf-8", sizeof "text/xml; charset=utf-8");
    if (q->from == w)
        bosh_reply_here(q);
    else
        home_send_to(w, 0, worker_index(q->from), &bosh_reply_message, &(struct bosh_moved){ q });
}

void bosh_reply_error(struct worker *w, struct bosh_request *q, const char *condition,
                      unsigned legacy_status)
{
    struct xml_write x;
    xml_write_to(&x, &q->answer);
    xml_open_with(&x, "body", NS_HTTPBIND, "type", SLICE("terminate"));
    xml_attr(&x, "condition", slice_of(condition));
    xml_close(&x);
    q->status = legacy_status;
    bosh_reply(w, q);
}

/* Requests. */

static void bosh_arrived(struct worker *w, struct bosh_request *q)
{
    struct worker *home;
    struct bosh *b = bosh_find(w, slice_of(q->sid), &home);
    if (b == NULL || home != w || (b->secure && !q->secure)) /* it has ended, or it is forged */
        bosh_reply_error(w, q, "item-not-found", 200);
    else
        bosh_receive(b, q);
}

static void bosh_request_run(struct worker *w, void *message, const struct message_from *from)
{
    (void)from;
    bosh_arrived(w, ((const struct bosh_moved *)message)->request);
}

static const struct message_row bosh_request_message = {
    .id = 60,
    .scope = MESSAGE_PROCESS,
    .name = "bosh-request",
    .size = sizeof(struct bosh_moved),
    .fields = bosh_moved_fields,
    .run = bosh_request_run,
};

static void peer_of_request(const struct http_request *r, struct conn_info *out)
{
    char text[46] = "";
    memcpy(text, r->peer.ptr, r->peer.len < sizeof text ? r->peer.len : 0);
    conn_info_parse(out, text);
}

static void c2s_bosh_handle(struct http_request *r)
{
    struct worker *w = worker_here(), *home;
    struct gate_worker *g = *worker_gate(w);
    ensure(g != NULL);
    if (r->method == HTTP_M_GET) {
        http_answer_text(r, 200, SLICE("Clients speak BOSH (XEP-0124) here, with POST.\n"));
        return;
    }
    struct bosh_request *q = mem_new(struct bosh_request);
    g->bosh_requests++;
    q->http = r;
    q->from = w;
    q->secure = r->secure;
    q->arena = arena_create(512);
    http_take_body(r, &q->text);
    buf_init(&q->answer, SIZE_MAX / 8);
    peer_of_request(r, &q->peer);
    r->data = q;
    if (g->streams.stopped) {
        bosh_reply_error(w, q, "system-shutdown", 200);
    } else if (!bosh_body_read(&q->body, buf_slice(&q->text), worker_xml(w), q->arena)) {
        bosh_reply_error(w, q, "bad-request", 200);
    } else if (q->body.sid.ptr == NULL) {
        bosh_create(w, q);
    } else if (bosh_find(w, q->body.sid, &home) == NULL) {
        bosh_reply_error(w, q, "item-not-found", 200);
    } else {
        memcpy(q->sid, q->body.sid.ptr, q->body.sid.len); /* a found sid has the right length */
        home_send_to(w, 0, worker_index(home), &bosh_request_message, &(struct bosh_moved){ q });
    }
}

/* The connection is gone, the request goes on: its answer is kept for a repeat. */
static void c2s_bosh_gone(struct http_request *r) { ((struct bosh_request *)r->data)->http = NULL; }

/* The client has pipelined its next request behind this one (XEP-0124 §16): a held request must be
 * answered now. */
struct nudge {
    slice sid;
    int64_t rid;
};

static void nudge_run(struct worker *w, void *message, const struct message_from *from)
{
    const struct nudge *n = message;
    struct worker *home;
    struct bosh *b = bosh_find(w, n->sid, &home);
    (void)from;
    if (b != NULL && home == w)
        bosh_hurry(b, n->rid);
}

static const struct message_field nudge_fields[] = {
    F_BYTES(struct nudge, sid, 64),
    F_I64(struct nudge, rid),
    { 0 },
};
static const struct message_row nudge_message = {
    .id = 62,
    .scope = MESSAGE_PROCESS,
    .name = "bosh-nudge",
    .size = sizeof(struct nudge),
    .fields = nudge_fields,
    .run = nudge_run,
};

static void followed(struct http_request *r)
{
    const struct bosh_request *q = r->data;
    struct worker *home;
    if (bosh_find(q->from, slice_of(q->sid), &home) != NULL)
        home_send_to(q->from, 0, worker_index(home), &nudge_message,
                     &(struct nudge){ slice_of(q->sid), q->body.rid });
}

/* Nothing of it waits for an answer. */
static bool bosh_idle(void *own, struct worker *w)
{
    const struct gate_worker *g = *worker_gate(w);
    (void)own;
    return g->bosh_requests == 0;
}

static void c2s_bosh_end(void *own, struct worker *w)
{
    (void)own;
    if (*worker_gate(w) != NULL)
        bosh_worker_end(w);
}

const struct edge bosh_edge = { .name = "bosh", .idle = bosh_idle, .end = c2s_bosh_end };

static const struct http_route routes[] = {
    { .path_from = &bosh_path,
      .group = "bosh",
      .methods = HTTP_M_GET | HTTP_M_POST,
      .flags = HTTP_CORS | HTTP_WHEN_CROWDED | HTTP_LONG_POLL,
      .body_max = BOSH_BODY_MAX,
      .handle = c2s_bosh_handle,
      .gone = c2s_bosh_gone,
      .followed = followed },
    { .path = "/bosh",
      .group = "bosh",
      .methods = HTTP_M_GET | HTTP_M_POST,
      .flags = HTTP_CORS | HTTP_WHEN_CROWDED | HTTP_LONG_POLL,
      .body_max = BOSH_BODY_MAX,
      .handle = c2s_bosh_handle,
      .gone = c2s_bosh_gone,
      .followed = followed },
    { 0 },
};

const struct feature bosh_feature = {
    .name = "bosh",
    .parts = PART_ALL,
    .xeps =
        (const struct xep[]){
            { "0124", "1.11", "Bidirectional-streams Over Synchronous HTTP (BOSH)", "0.1.0",
              "stream/test_bosh", "one stream a session; no content encodings" },
            { "0206", "1.1", "XMPP Over BOSH", "0.1.0", "stream/test_bosh",
              "with xmpp:restartlogic of later versions" },
            { 0 },
        },
    .http = routes,
    .settings = (struct setting *const[]){ &bosh_path, &bosh_wait_max, &bosh_inactivity,
                                           &bosh_pause_max, NULL },
    .metrics = (struct metric *const[]){ &bosh_sessions, NULL },
    .messages = (const struct message_row *const[]){ &bosh_request_message, &bosh_reply_message,
                                                     &nudge_message, NULL },
};
