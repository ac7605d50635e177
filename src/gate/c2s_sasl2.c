#include "gate/c2s_sasl2.h"
#include "auth/devices.h"
#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "core/gate.h"
#include "gate/c2s_bound.h"
#include "gate/c2s_negotiate.h"
#include "gate/c2s_rows.h"
#include "gate/c2s_sasl.h"
#include "gate/c2s_stream.h"
#include "session/session.h"
#include "xmpp/ns.h"

enum { SALTED_BYTES_MAX = 1024, ARENA_BYTES = 1024, SECRET_BYTES = 24 };

enum task { TASK_NONE, TASK_OFFERED, TASK_BEGUN };

/* From <authenticate/> until <success/> or <failure/>. */
struct sasl2 {
    struct arena *arena;
    struct sasl2_request req; /* its slices are in the arena; bind_elem is not used */
    slice bind;               /* <bind/> as text of its own */
    slice data;               /* of the mechanism, for the answer that ends it */
    bool done;                /* with the mechanism */
    struct device_token tokens[DEVICE_TOKENS_MAX];
    const struct device_token *used;
    slice issued; /* a new token */
    uint64_t expires_us;
    slice resumption;  /* <failed/> */
    uint32_t upgrades; /* to do */
    enum task task;
    enum scram_hash hash;   /* of the task */
    struct scram_keys keys; /* its salt and iterations */
};

/* What is offered. */

static void offer_inline_features(struct xml_write *x)
{
    slice last = { "", 0 };
    FEATURES_EACH (f, bind2) {
        for (const struct bind2_rule *r = f->bind2; r->ns != NULL; r++) {
            if (slice_is(last, r->ns) || /* rules of one namespace are adjacent */
                (r->offered_if != NULL && !setting_bool(r->offered_if)))
                continue;
            last = slice_of(r->ns);
            xml_empty_with(x, "feature", NULL, "var", last);
        }
    }
}

static uint32_t upgrades_offered(void)
{
    static const uint32_t choices[] = { 0, 1u << SCRAM_SHA_256, 1u << SCRAM_SHA_512,
                                        1u << SCRAM_SHA_256 | 1u << SCRAM_SHA_512 };
    return choices[setting_int(&c2s_upgrades)];
}

void sasl2_offer(struct buf *b, slice mechanisms, uint32_t tokens)
{
    uint32_t upgrades = upgrades_offered();
    struct xml_write x;
    xml_write_to(&x, b);
    xml_open(&x, "authentication", NS_SASL2);
    xml_raw(&x, mechanisms);
    xml_open(&x, "inline", NULL);
    if (setting_bool(&sm_enabled))
        xml_empty(&x, "sm", NS_SM);
    xml_open(&x, "bind", NS_BIND2);
    xml_open(&x, "inline", NULL);
    offer_inline_features(&x);
    xml_close(&x);
    xml_close(&x);
    if (tokens != 0) {
        xml_open(&x, "fast", NS_FAST);
        for (unsigned m = 0; m < SASL_MECH_COUNT; m++)
            if ((tokens >> m & 1) != 0)
                xml_element(&x, "mechanism", slice_of(sasl_mech_name((enum sasl_mech)m)));
        xml_close(&x);
    }
    xml_close(&x);
    for (unsigned h = 0; h < SCRAM_HASH_COUNT; h++) {
        if ((upgrades >> h & 1) == 0)
            continue;
        xml_open(&x, "upgrade", NS_SASL_UPGRADE);
        xml_text(&x, slice_of(sasl2_task_name((enum scram_hash)h)));
        xml_close(&x);
    }
    xml_close(&x);
}

/* The profile. */

/* Ends the buffer. */
static void c2s_sasl2_say(struct stream *s, const char *element, struct buf *content)
{
    struct buf b;
    struct xml_write x;
    xml_begin(&x, &b, XML_STANZA_MAX);
    xml_open(&x, element, NS_SASL2);
    xml_raw(&x, buf_slice(content));
    xml_close(&x);
    b.overflow |= content->overflow;
    buf_fini(content);
    xstream_write_buf(&s->x, &b);
}

static void challenge(struct stream *s)
{
    struct buf b;
    buf_init(&b, XML_PART_MAX);
    base64_encode(&b, sasl_out(s->auth->sasl));
    c2s_sasl2_say(s, "challenge", &b);
}

static void sasl2_free(struct stream_auth *a)
{
    struct sasl2 *two = a->two;
    a->two = NULL;
    if (two == NULL)
        return;
    arena_destroy(&two->arena);
    mem_wipe(two, sizeof *two);
    mem_free(&two);
}

static void failure(struct stream *s, enum sasl_failure f, const char *text)
{
    struct buf b;
    struct xml_write x;
    sasl2_free(s->auth);
    xstream_now(&s->x, STREAM_REFUSED);
    xml_begin(&x, &b, XML_PART_MAX);
    xml_empty(&x, sasl_failure_name(f), NS_SASL);
    xml_element_some(&x, "text", slice_of(text));
    c2s_sasl2_say(s, "failure", &b);
}

static void mechanism_done(struct stream *s);
static void sasl2_answered(struct stream *s, const struct down *d);

static const struct sasl_profile profile = { challenge, mechanism_done, failure, sasl2_answered,
                                             sasl2_free };

const uint8_t *sasl2_device(const struct stream *s)
{
    return s->auth->two->req.agent.has_id ? s->auth->two->req.agent.id : NULL;
}

enum sasl_step sasl2_tokens(struct stream *s, const struct device_tokens *t)
{
    struct stream_auth *a = s->auth;
    struct sasl2 *two = a->two;
    struct sasl_token tried[DEVICE_TOKENS_MAX];
    uint64_t now = loop_wall_us(worker_loop(s->x.worker));
    ensure(t->count <= DEVICE_TOKENS_MAX);
    a->account = t->account;
    a->disabled = t->disabled;
    a->generation = t->generation;
    for (unsigned i = 0; i < t->count; i++) {
        const struct device_token *k = &t->token[i];
        two->tokens[i] = *k;
        two->tokens[i].secret = slice_dup(two->arena, k->secret);
        tried[i] = (struct sasl_token){ k->mech, k->secret, k->expires_us <= now };
    }
    enum sasl_step step = sasl_tokens(a->sasl, tried, t->count);
    if (step == SASL_SUCCESS)
        two->used = &two->tokens[sasl_token_used(a->sasl)];
    return step;
}

/* <authenticate/> */

static void c2s_sasl2_keep(struct sasl2 *two, const struct sasl2_request *req)
{
    struct buf b;
    two->req = *req;
    two->req.agent.software = slice_dup(two->arena, req->agent.software);
    two->req.agent.device = slice_dup(two->arena, req->agent.device);
    two->req.tag = slice_dup(two->arena, req->tag);
    two->req.previd = slice_dup(two->arena, req->previd);
    two->req.mechanism = two->req.initial = (slice){ 0 };
    two->upgrades = req->upgrades;
    if (!req->bind)
        return;
    buf_init(&b, BIND2_BYTES_MAX);
    elem_extract(&req->bind_elem, &b);
    two->bind = slice_dup(two->arena, buf_fit(&b));
    buf_fini(&b);
}

/* The first part of a valid request that was not offered; NULL: none. */
static const char *not_offered(struct stream *s, const struct sasl2 *two, bool token_mech)
{
    const struct sasl2_request *r = &two->req;
    if (r->bind && two->bind.len == 0)
        return "too much is asked for in the bind request";
    if (token_mech != r->fast)
        return "tokens are used by their mechanisms with the element fast";
    if ((r->fast || r->wants_token) && !r->agent.has_id) /* XEP-0484 §5.1 */
        return "tokens need the id of the user agent";
    if (r->wants_token && (sasl_tokens_offered(s) >> r->token_mech & 1) == 0)
        return "there are no tokens for this mechanism";
    if ((r->upgrades & ~upgrades_offered()) != 0)
        return "this upgrade was not offered";
    return NULL;
}

static void authenticate(struct stream *s, const struct elem *e)
{
    struct stream_auth *a = s->auth;
    struct sasl2_request req;
    struct sasl2_refusal why;
    enum sasl_mech mech = SASL_PLAIN;
    ensure(a->two == NULL);
    a->profile = &profile;
    if (sasl2_read(&req, e, loop_scratch(worker_loop(s->x.worker)), &why) != OK) {
        sasl_failed(s, why.failure, why.text);
        return;
    }
    bool token_mech = sasl_mech_find(req.mechanism, &mech) == OK && sasl_mech_is_token(mech);
    a->two = mem_new(struct sasl2);
    a->two->arena = arena_create(ARENA_BYTES);
    xstream_now(&s->x, STREAM_BEGIN_SASL2);
    c2s_sasl2_keep(a->two, &req);
    const char *text = not_offered(s, a->two, token_mech);
    if (text != NULL)
        sasl_failed(s, SASL_MALFORMED_REQUEST, text);
    else
        sasl_begin(s, &(struct sasl_start){ .profile = &profile,
                                            .mechanism = req.mechanism,
                                            .message = req.initial,
                                            .has_message = req.has_initial,
                                            .token = req.fast });
}

/* Upgrades (XEP-0480). */

static void additional_data(struct sasl2 *two, struct buf *b)
{
    if (two->data.len == 0)
        return;
    struct xml_write x;
    xml_write_to(&x, b);
    xml_open(&x, "additional-data", NULL);
    base64_encode(xml_content(&x), two->data);
    xml_close(&x);
    two->data = (slice){ 0 };
}

static void go_home(struct stream *s);
static void next_task(struct stream *s);

static void offer_task(struct stream *s)
{
    struct sasl2 *two = s->auth->two;
    struct buf b;
    struct xml_write x;
    ensure(two->task == TASK_NONE && two->done);
    two->task = TASK_OFFERED;
    xml_begin(&x, &b, XML_PART_MAX);
    additional_data(two, &b);
    xml_open(&x, "tasks", NULL);
    xml_element(&x, "task", slice_of(sasl2_task_name(two->hash)));
    xml_close(&x);
    c2s_sasl2_say(s, "continue", &b);
}

/* An account that has the hash already has nothing to do; its keys stay. */
static void hash_looked_up(void *arg, enum err e, const struct credentials *c)
{
    struct stream *s = arg;
    s->auth->op = NULL;
    xstream_go(&s->x);
    if (e == OK && c->account == 0)
        offer_task(s);
    else
        next_task(s);
}

static void next_task(struct stream *s)
{
    struct sasl2 *two = s->auth->two;
    two->task = TASK_NONE;
    for (unsigned h = 0; h < SCRAM_HASH_COUNT; h++) {
        if ((two->upgrades >> h & 1) == 0)
            continue;
        two->upgrades &= ~(1u << h);
        two->hash = (enum scram_hash)h;
        xstream_wait(&s->x);
        s->auth->op =
            credentials_get(worker_auth(s->x.worker), s->auth->bare, two->hash, hash_looked_up, s);
        return;
    }
    go_home(s);
}

static void begin_task(struct stream *s, const struct elem *e)
{
    struct sasl2 *two = s->auth->two;
    struct buf b;
    struct xml_write x;
    if (!slice_is(elem_attr(e, "task", loop_scratch(worker_loop(s->x.worker))),
                  sasl2_task_name(two->hash))) {
        sasl_failed(s, SASL_MALFORMED_REQUEST, "this task was not offered");
        return;
    }
    two->task = TASK_BEGUN;
    two->keys = (struct scram_keys){ .salt_len = SCRAM_SALT_LEN,
                                     .iterations = (uint32_t)setting_int(&auth_scram_iterations) };
    rand_bytes(two->keys.salt, SCRAM_SALT_LEN);
    xml_begin(&x, &b, XML_PART_MAX);
    xml_open(&x, "salt", NS_SCRAM_UPGRADE);
    xml_attr_int(&x, "iterations", two->keys.iterations);
    base64_encode(xml_content(&x), (slice){ (const char *)two->keys.salt, SCRAM_SALT_LEN });
    xml_close(&x);
    c2s_sasl2_say(s, "task-data", &b);
}

static void hash_added(void *arg, enum err e, const struct credentials *c)
{
    struct stream *s = arg;
    (void)c;
    s->auth->op = NULL;
    xstream_go(&s->x);
    if (e == OK)
        next_task(s);
    else
        sasl_failed(s, SASL_TEMPORARY_AUTH_FAILURE, "the upgrade could not be stored");
}

static void end_task(struct stream *s, const struct elem *e)
{
    struct stream_auth *a = s->auth;
    struct sasl2 *two = a->two;
    struct elem hash;
    struct buf salted;
    buf_init(&salted, SALTED_BYTES_MAX);
    bool read =
        elem_child(e, "hash", NS_SCRAM_UPGRADE, &hash) &&
        base64_decode(&salted, elem_text(&hash, loop_scratch(worker_loop(s->x.worker)))) == OK &&
        salted.len == scram_hash_len(two->hash);
    if (read) {
        struct scram_keys keys;
        scram_from_salted(&keys, two->hash, buf_fit(&salted),
                          (slice){ (const char *)two->keys.salt, two->keys.salt_len },
                          two->keys.iterations);
        xstream_wait(&s->x);
        a->op = credentials_add_hash(worker_auth(s->x.worker), a->account, two->hash, &keys,
                                     hash_added, s);
        mem_wipe(&keys, sizeof keys);
    }
    mem_wipe(salted.ptr, salted.cap);
    buf_fini(&salted);
    if (!read)
        sasl_failed(s, SASL_MALFORMED_REQUEST, "this is not a salted password");
}

/* After the mechanism. */

static void mechanism_done(struct stream *s)
{
    struct stream_auth *a = s->auth;
    struct sasl2 *two = a->two;
    ensure(two != NULL && !two->done);
    /* XEP-0388 §2.3 */
    if (sasl_authzid(a->sasl).len > 0 && a->from.len > 0 && !slice_eq(a->from, a->bare)) {
        sasl_failed(s, SASL_INVALID_AUTHZID, "the stream was opened by another");
        return;
    }
    two->done = true;
    two->data = slice_dup(two->arena, sasl_out(a->sasl));
    sasl_destroy(&a->sasl);
    if (two->used != NULL || a->account < 0 || a->mech == SASL_EXTERNAL)
        two->upgrades = 0; /* neither a token, a guest nor a certificate knows a password */
    next_task(s);
}

static void c2s_sasl2_go_on(struct stream *s);

static void go_home(struct stream *s)
{
    xstream_now(&s->x, STREAM_PASSED_ON);
    stream_limits(s);
    xstream_wait(&s->x);
    if (!stream_migrate(s))
        c2s_sasl2_go_on(s);
}

/* A token is due when it is asked for, or the one that was used is old; not when the client gives
 * its token back (XEP-0484 §4.5, §4.6), nor for a certificate, which a token would outlive. */
static bool token_due(const struct stream *s, enum sasl_mech *mech)
{
    const struct sasl2 *two = s->auth->two;
    uint64_t old = (uint64_t)setting_int(&fast_rotation) * 1000;
    *mech = two->req.wants_token ? two->req.token_mech
            : two->used != NULL  ? two->used->mech
                                 : SASL_MECH_COUNT;
    if (s->auth->mech == SASL_EXTERNAL)
        return false;
    return two->req.wants_token ||
           (two->used != NULL && !two->req.invalidate &&
            loop_wall_us(worker_loop(s->x.worker)) - two->used->created_us >= old);
}

static void ask_resume(struct stream *s);

static void device_written(void *arg, enum err e)
{
    struct stream *s = arg;
    s->auth->device_op = NULL;
    if (e == OK) {
        ask_resume(s);
        return;
    }
    xstream_go(&s->x);
    if (e == E_CONFLICT) /* a count that was used before, a token or a password that is gone */
        sasl_failed(s, SASL_NOT_AUTHORIZED, "this login is not valid any more");
    else
        sasl_failed(s, SASL_TEMPORARY_AUTH_FAILURE, NULL);
}

static void c2s_sasl2_go_on(struct stream *s)
{
    struct stream_auth *a = s->auth;
    struct sasl2 *two = a->two;
    char secret[2 * SECRET_BYTES + 1];
    ensure(two->done && a->device_op == NULL);
    if (two->req.agent.has_id)
        memcpy(a->device, two->req.agent.id, sizeof a->device);
    if (!two->req.agent.has_id || a->account < 0) { /* nothing of a guest is kept */
        ask_resume(s);
        return;
    }
    struct ip_text address = stream_address(s);
    struct device_login l = { .jid = a->bare,
                              .account = a->account,
                              .agent = &two->req.agent,
                              .address = slice_of(address.text),
                              .invalidate = two->used != NULL && two->req.invalidate,
                              .has_count = two->used != NULL && two->req.has_count,
                              .count = two->req.count,
                              .generation = a->generation };
    if (two->used != NULL) {
        l.used = two->used->secret;
        l.was_fresh = two->used->fresh;
    }
    if (token_due(s, &l.issue_mech)) {
        rand_hex(secret, SECRET_BYTES);
        two->issued = l.issue = slice_dup(two->arena, slice_of(secret));
        two->expires_us = l.expires_us =
            loop_wall_us(worker_loop(s->x.worker)) + (uint64_t)setting_int(&fast_lifetime) * 1000;
    }
    if (device_kept(&l, loop_wall_us(worker_loop(s->x.worker)))) {
        ask_resume(s);
        return;
    }
    a->device_op = device_login(worker_auth(s->x.worker), &l, device_written, s);
}

void sasl2_arrived(struct stream *s) { c2s_sasl2_go_on(s); }

static void ask_bind(struct stream *s);

static void not_resumed(struct stream *s, enum stanza_error e)
{
    struct sasl2 *two = s->auth->two;
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_PART_MAX);
    xml_open(&x, "failed", NS_SM);
    xml_open(&x, stanza_error_name(e), NS_STANZA_ERROR);
    xml_close_all(&x);
    two->resumption = slice_dup(two->arena, buf_fit(&out));
    buf_fini(&out);
    ask_bind(s);
}

static void ask_resume(struct stream *s)
{
    const struct sasl2_request *r = &s->auth->two->req;
    struct bind_request ask = { .resource = r->previd, .h = r->h, .resume = true };
    if (!r->resume)
        ask_bind(s);
    else if (r->resume_bad)
        not_resumed(s, SE_BAD_REQUEST);
    else
        bound_ask(s, &ask);
}

static void succeed(struct stream *s, slice identity, slice more);

/* XEP-0386 §4.2.1: the client's tag, and a part that makes it unique. */
static void ask_bind(struct stream *s)
{
    struct arena *tmp = loop_scratch(worker_loop(s->x.worker));
    struct sasl2 *two = s->auth->two;
    struct bind_request ask = { .bind2 = two->bind };
    char unique[17];
    if (!two->req.bind) {
        xstream_now(&s->x, STREAM_UNBOUND);
        succeed(s, s->auth->bare, (slice){ "", 0 });
        return;
    }
    rand_hex(unique, 8);
    ask.resource = slice_of(unique);
    if (two->req.tag.len > 0) {
        slice both = slice_of(arena_printf(tmp, "%.*s/%s", SLICE_ARG(two->req.tag), unique));
        if (jid_prep_resource(both, tmp, &ask.resource) != OK)
            ask.resource = slice_of(unique);
    }
    bound_ask(s, &ask);
}

static void write_token(struct xml_write *x, const struct sasl2 *two)
{
    char stamp[CLOCK_STAMP_LEN];
    if (two->issued.len == 0)
        return;
    clock_stamp(stamp, two->expires_us);
    xml_open_with(x, "token", NS_FAST, "expiry", slice_of(stamp));
    xml_attr(x, "token", two->issued);
    xml_close(x);
}

/* XEP-0388 §2.6.1: no stream is restarted; the features follow at once. */
static void succeed(struct stream *s, slice identity, slice more)
{
    struct sasl2 *two = s->auth->two;
    struct buf b;
    struct xml_write x;
    xml_begin(&x, &b, XML_STANZA_MAX);
    additional_data(two, &b);
    xml_element(&x, "authorization-identifier", identity);
    buf_add(&b, two->resumption);
    buf_add(&b, more);
    write_token(&x, two);
    c2s_sasl2_say(s, "success", &b);
    sasl2_free(s->auth);
    if (s->x.state == STREAM_BOUND)
        stream_auth_free(s);
    negotiate_features(s);
    xstream_go(&s->x);
}

static void c2s_sasl2_bound(struct stream *s, const struct down *d)
{
    struct buf b;
    struct xml_write x;
    bound_here(s, d);
    s->sm_enabled = d->num != 0;
    xml_begin(&x, &b, XML_STANZA_MAX);
    xml_open(&x, "bound", NS_BIND2);
    xml_raw(&x, d->more);
    xml_close(&x);
    succeed(s, s->jid, buf_fit(&b));
    buf_fini(&b);
}

static void c2s_sasl2_resumed(struct stream *s, const struct down *d)
{
    struct buf b;
    bound_here(s, d);
    s->sm_enabled = true;
    buf_init(&b, XML_PART_MAX);
    bound_resumed_write(&b, s->auth->two->req.previd, d->num);
    succeed(s, s->jid, buf_fit(&b));
    buf_fini(&b);
}

/* Without a resource the login has failed: the client may try again on the stream. */
static void c2s_sasl2_refused(struct stream *s, const struct down *d)
{
    const char *text =
        arena_printf(loop_scratch(worker_loop(s->x.worker)), "%.*s", SLICE_ARG(d->text));
    xstream_go(&s->x);
    sasl_failed(s, SASL_TEMPORARY_AUTH_FAILURE, text);
}

static void sasl2_answered(struct stream *s, const struct down *d)
{
    switch (d->kind) {
    case DOWN_BOUND:
        c2s_sasl2_bound(s, d);
        break;
    case DOWN_RESUMED:
        c2s_sasl2_resumed(s, d);
        break;
    case DOWN_NOT_RESUMED:
        not_resumed(s, d->error);
        break;
    default:
        c2s_sasl2_refused(s, d);
        break;
    }
}

/* Elements. */

void sasl2_unit(struct stream *s, const struct elem *e)
{
    struct stream_auth *a = stream_auth_of(s);
    struct sasl2 *two = a->two;
    bool exchange = two != NULL && !two->done;
    bool old = two == NULL && a->sasl != NULL;
    if (slice_is(e->name, "authenticate") && two == NULL && !old) {
        authenticate(s, e);
    } else if (slice_is(e->name, "abort") && two != NULL) {
        sasl_failed(s, SASL_ABORTED, NULL);
    } else if (slice_is(e->name, "response") && exchange) {
        sasl_message(s, elem_text(e, loop_scratch(worker_loop(s->x.worker))));
    } else if (slice_is(e->name, "next") && two != NULL && two->task == TASK_OFFERED) {
        begin_task(s, e);
    } else if (slice_is(e->name, "task-data") && two != NULL && two->task == TASK_BEGUN) {
        end_task(s, e);
    } else if (two != NULL || old) { /* XEP-0388 §2.4 */
        xstream_fail(&s->x, XE_POLICY_VIOLATION,
                     SLICE("this is not what the authentication waits for"));
    } else {
        a->profile = &profile;
        sasl_failed(s, SASL_MALFORMED_REQUEST, NULL);
    }
}
