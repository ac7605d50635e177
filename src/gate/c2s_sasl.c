#include "gate/c2s_sasl.h"
#include "account/guest.h"
#include "auth/devices.h"
#include "auth/hashes.h"
#include "auth/seal.h"
#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/latency.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "gate/c2s_attempts.h"
#include "gate/c2s_external.h"
#include "gate/c2s_hashes.h"
#include "gate/c2s_rows.h"
#include "gate/c2s_sasl2.h"
#include "gate/c2s_stream.h"
#include "io/conn.h"
#include "io/timer.h"
#include "xmpp/ns.h"

enum { SASL_BYTES_MAX = 16384, REFUSALS_MAX = 12 /* mechanisms that were tried and not begun */ };

/* What this connection can be bound to (RFC 5929, RFC 9266), if the operator wants it. */
static struct sasl_binding binding_of(struct stream *s)
{
    struct sasl_binding b = { 0 };
    if (!setting_bool(&c2s_channel_binding) || s->x.conn == NULL)
        return b;
    if (conn_channel_binding(s->x.conn, CONN_TLS_EXPORTER, (char *)b.exporter, &b.exporter_len) !=
        OK)
        b.exporter_len = 0;
    if (conn_channel_binding(s->x.conn, CONN_TLS_SERVER_END_POINT, (char *)b.end_point,
                             &b.end_point_len) != OK)
        b.end_point_len = 0;
    if (conn_channel_binding(s->x.conn, CONN_TLS_UNIQUE, (char *)b.unique, &b.unique_len) != OK)
        b.unique_len = 0;
    b.plus_offered = b.exporter_len > 0 || b.end_point_len > 0;
    return b;
}

static bool external_offered(struct stream *s)
{
    struct external_names names;
    enum sasl_failure ignored;
    struct why why;
    return external_find(s, &names, &ignored, &why);
}

/* Those of the list, a bit each. */
static uint32_t mechs_offered(struct stream *s, const struct sasl_binding *binding)
{
    uint32_t bits = guest_allowed(stream_domain(s)) ? 1u << SASL_ANONYMOUS : 0;
    unsigned hashes = c2s_hashes(stream_domain(s));
    for (unsigned m = 0; m <= SASL_PLAIN; m++)
        if ((!sasl_mech_is_plus((enum sasl_mech)m) || binding->plus_offered) &&
            (m == SASL_PLAIN || (hashes >> sasl_mech_hash((enum sasl_mech)m) & 1) != 0))
            bits |= 1u << m;
    return external_offered(s) ? bits | 1u << SASL_EXTERNAL : bits;
}

static uint32_t tokens_offered(const struct stream *s, const struct sasl_binding *binding)
{
    uint32_t bits = 0;
    if (!s->x.secure || !setting_bool(&fast_enabled) || !seal_ready()) /* XEP-0484 §7: over TLS */
        return 0;
    for (unsigned m = SASL_HT_SHA_256_EXPR; m <= SASL_HT_SHA_256_NONE; m++)
        if (sasl_token_fits((enum sasl_mech)m, binding))
            bits |= 1u << m;
    return bits;
}

uint32_t sasl_tokens_offered(struct stream *s)
{
    struct sasl_binding binding = binding_of(s);
    return tokens_offered(s, &binding);
}

void sasl_offer(struct stream *s, struct buf *b)
{
    struct sasl_binding binding = binding_of(s);
    bool exporter = binding.exporter_len > 0, end_point = binding.end_point_len > 0;
    uint32_t bits = mechs_offered(s, &binding);
    struct buf list;
    struct xml_write x;
    xml_begin(&x, &list, XML_PART_MAX);
    if ((bits >> SASL_EXTERNAL & 1) != 0) /* XEP-0178 §2: what the client should prefer */
        xml_element(&x, "mechanism", slice_of(sasl_mech_name(SASL_EXTERNAL)));
    for (unsigned m = 0; m < SASL_EXTERNAL; m++)
        if ((bits >> m & 1) != 0)
            xml_element(&x, "mechanism", slice_of(sasl_mech_name((enum sasl_mech)m)));
    xml_write_to(&x, b);
    xml_open(&x, "mechanisms", NS_SASL);
    xml_raw(&x, buf_fit(&list));
    xml_close(&x);
    sasl2_offer(b, buf_fit(&list), tokens_offered(s, &binding));
    buf_fini(&list);
    if (!exporter && !end_point)
        return;
    xml_open(&x, "sasl-channel-binding", NS_SASL_CB); /* XEP-0440 */
    if (exporter)
        xml_raw(&x, SLICE("<channel-binding type='tls-exporter'/>"));
    if (end_point)
        xml_raw(&x, SLICE("<channel-binding type='tls-server-end-point'/>"));
    xml_close(&x);
}

/* An exchange. */

static const struct sockaddr *c2s_sasl_peer_of(const struct stream *s)
{
    return &xstream_peer(&s->x)->peer.any;
}

static slice sasl_account(struct stream *s, struct arena *arena)
{
    slice user = sasl_user(s->auth->sasl), domain = stream_domain(s);
    return slice_of(arena_printf(arena, "%.*s@%.*s", SLICE_ARG(user), SLICE_ARG(domain)));
}

/* The id of the user agent, for the log. */
static const char *device_text(const struct stream *s, char out[DEVICE_ID_TEXT])
{
    const uint8_t *id = s->auth->two == NULL ? NULL : sasl2_device(s);
    if (id == NULL)
        return "";
    device_id_format(out, id);
    return out;
}

static const char *tls_text(const struct stream *s)
{
    const char *version = s->x.conn != NULL ? conn_tls_version(s->x.conn) : NULL;
    return version != NULL ? version : s->x.secure ? "yes" : "none";
}

static void note_failed(struct stream *s, enum sasl_failure f, const char *text)
{
    struct stream_auth *a = s->auth;
    char device[DEVICE_ID_TEXT];
    bool named = a->sasl != NULL && sasl_user(a->sasl).len > 0;
    struct arena *tmp = loop_scratch(worker_loop(s->x.worker));
    if (text == NULL && a->sasl != NULL)
        text = sasl_note(a->sasl);
    if (text == NULL && a->unkeyed && f == SASL_NOT_AUTHORIZED)
        text = arena_printf(tmp,
                            "the account has no keys for %s: it needs a login with PLAIN, or "
                            "`musterctl user password`",
                            hashes_names(1u << sasl_mech_hash(a->mech), tmp));
    attempts_add(s, &(struct auth_attempt){ .failure = f,
                                            .text = text == NULL ? sasl_failure_text(f) : text,
                                            .mech = a->sasl == NULL ? "" : sasl_mech_name(a->mech),
                                            .tls = tls_text(s),
                                            .device = device_text(s, device),
                                            .jid = named ? sasl_account(s, tmp) : a->bare });
}

void sasl_failed(struct stream *s, enum sasl_failure f, const char *text)
{
    struct stream_auth *a = s->auth;
    ensure(a->profile != NULL);
    /* Only wrong passwords count: a client whose channel binding is unknown tries the next
     * mechanism. */
    bool guess = a->guessed && f == SASL_NOT_AUTHORIZED;
    a->failures += guess;
    a->refusals += !guess;
    if (guess)
        auth_count(a->mech, AUTH_FAILED);
    note_failed(s, f, text);
    a->guessed = false;
    sasl_destroy(&a->sasl);
    a->bare = (slice){ 0 };
    a->profile->failure(s, f, text);
    if (a->failures < setting_int(&c2s_auth_attempts) && a->refusals < REFUSALS_MAX)
        return;
    attempts_failed(s);
    xstream_fail(&s->x, XE_POLICY_VIOLATION, SLICE("too many failed logins"));
}

static void sasl_do(struct stream *s, enum sasl_step step);

static void refuse_for_now(struct stream *s)
{
    metric_add(&auth_throttled, 1);
    sasl_failed(s, SASL_TEMPORARY_AUTH_FAILURE,
                "too many wrong passwords were tried; try again in a minute");
}

/* After a comparison on this thread, which had its turn. */
static enum sasl_step compared(struct stream *s, enum sasl_step step)
{
    struct throttle *t = worker_auth(s->x.worker)->throttle;
    struct stream_auth *a = s->auth;
    uint64_t now = loop_now_us(worker_loop(s->x.worker));
    a->guessed = step == SASL_FAIL && sasl_why(a->sasl) == SASL_NOT_AUTHORIZED;
    if (step == SASL_SUCCESS)
        throttle_passed(t, &a->try, now);
    else if (a->guessed)
        throttle_failed(t, &a->try, now);
    else
        throttle_void(t, &a->try);
    return step;
}

/* The answer to a look-up; the stream was waiting, so nothing has happened to it since. */
static void c2s_sasl_looked_up(void *arg, enum err e, const struct credentials *c)
{
    struct stream *s = arg;
    struct stream_auth *a = s->auth;
    enum sasl_step step;
    ensure(a->sasl != NULL && a->op != NULL);
    a->op = NULL;
    if (e == E_AUTH) {
        a->guessed = true;
        step = sasl_verdict(a->sasl, SASL_NOT_AUTHORIZED, false);
    } else if (e == E_DENIED) {
        xstream_go(&s->x);
        refuse_for_now(s);
        return;
    } else if (e != OK) {
        step = sasl_verdict(a->sasl, SASL_TEMPORARY_AUTH_FAILURE, false);
    } else {
        a->account = c->account;
        a->disabled = c->disabled;
        a->unkeyed = c->unkeyed;
        a->generation = c->generation;
        a->keyed = a->mech != SASL_PLAIN;
        step = a->keyed ? sasl_keys(a->sasl, &c->keys)
                        : sasl_verdict(a->sasl, SASL_NOT_AUTHORIZED, true);
    }
    xstream_go(&s->x);
    sasl_do(s, step);
}

static void tokens_found(void *arg, enum err e, const struct device_tokens *t)
{
    struct stream *s = arg;
    struct stream_auth *a = s->auth;
    ensure(a->sasl != NULL && a->two != NULL);
    a->device_op = NULL;
    enum sasl_step step =
        e == OK ? sasl2_tokens(s, t) : sasl_verdict(a->sasl, SASL_TEMPORARY_AUTH_FAILURE, false);
    xstream_go(&s->x);
    sasl_do(s, compared(s, step));
}

static void c2s_sasl_look_up(struct stream *s)
{
    struct stream_auth *a = s->auth;
    struct worker *w = s->x.worker;
    ensure(a->op == NULL && a->device_op == NULL);
    xstream_wait(&s->x);
    if (a->step == SASL_NEED_TOKENS)
        a->device_op =
            device_tokens_get(worker_auth(w), a->try.jid, sasl2_device(s), tokens_found, s);
    else if (a->step == SASL_NEED_KEYS)
        a->op = credentials_get(worker_auth(w), a->try.jid, sasl_mech_hash(a->mech),
                                c2s_sasl_looked_up, s);
    else
        a->op = credentials_verify(worker_auth(w),
                                   &(struct credentials_check){ .jid = a->try.jid,
                                                                .password = sasl_password(a->sasl),
                                                                .try = &a->try },
                                   c2s_sasl_looked_up, s);
}

static void admit(struct stream *s);

/* A certificate cannot be guessed: nothing is counted. */
static void external_found(void *arg, enum err e, const struct credentials *c)
{
    struct stream *s = arg;
    struct stream_auth *a = s->auth;
    ensure(a->sasl != NULL && a->op != NULL);
    a->op = NULL;
    bool there = e == OK && c->account != 0;
    s->certified = there;
    if (there) {
        a->account = c->account;
        a->disabled = c->disabled;
        a->generation = c->generation;
    } else if (e == OK) {
        auth_count(a->mech, AUTH_FAILED);
    }
    xstream_go(&s->x);
    sasl_do(s, sasl_verdict(a->sasl, e == OK ? SASL_NOT_AUTHORIZED : SASL_TEMPORARY_AUTH_FAILURE,
                            there));
}

static void external_look_up(struct stream *s)
{
    struct stream_auth *a = s->auth;
    ensure(a->op == NULL && a->device_op == NULL);
    xstream_wait(&s->x);
    a->op = credentials_get(worker_auth(s->x.worker), sasl_account(s, a->arena), SCRAM_SHA_256,
                            external_found, s);
}

/* Whether the attempt probably comes from the owner: from a known device or address. */
static void devices_found(void *arg, enum err e, const struct device_row *rows, uint32_t count)
{
    struct stream *s = arg;
    struct stream_auth *a = s->auth;
    const uint8_t *id = a->two == NULL ? NULL : sasl2_device(s);
    (void)e; /* without an answer no device is known */
    a->device_op = NULL;
    for (uint32_t i = 0; i < count; i++) {
        struct conn_info seen;
        conn_info_parse(&seen, arena_printf(loop_scratch(worker_loop(s->x.worker)), "%.*s",
                                            SLICE_ARG(rows[i].address)));
        if (id != NULL && memcmp(rows[i].id, id, DEVICE_ID_LEN) == 0)
            a->try.trust = TRUST_DEVICE;
        else if (a->try.trust == TRUST_NONE && throttle_is_near(&a->try, &seen.peer.any))
            a->try.trust = TRUST_ADDRESS;
    }
    xstream_go(&s->x);
    admit(s);
}

static void turn_begins(struct stream *s)
{
    struct stream_auth *a = s->auth;
    ensure(a->sasl != NULL);
    if (a->proof.ptr != NULL)
        sasl_do(s, compared(s, sasl_feed(a->sasl, a->proof)));
    else
        c2s_sasl_look_up(s);
}

static void sasl_turn_came(struct timer *t, struct loop *loop)
{
    struct stream *s = CONTAINER_OF(t, struct stream_auth, turn)->stream;
    (void)loop;
    xstream_go(&s->x);
    turn_begins(s);
}

/* Credentials that are compared on this thread wait for their turn in the throttle. */
static void take_turn(struct stream *s)
{
    struct stream_auth *a = s->auth;
    struct worker *w = s->x.worker;
    uint32_t wait_ms;
    if (throttle_take(worker_auth(w)->throttle, &a->try, loop_now_us(worker_loop(w)), &wait_ms) !=
        OK) {
        refuse_for_now(s);
    } else if (wait_ms > 0) {
        xstream_wait(&s->x);
        a->turn.fn = sasl_turn_came;
        timer_set(worker_loop(w), &a->turn, wait_ms);
    } else {
        turn_begins(s);
    }
}

/* Goes on with an attempt, or refuses it (auth/throttle.h). */
static void admit(struct stream *s)
{
    struct stream_auth *a = s->auth;
    struct worker *w = s->x.worker;
    enum throttle_answer answer =
        throttle_ask(worker_auth(w)->throttle, &a->try, loop_now_us(worker_loop(w)));
    if (answer != THROTTLE_GO && !a->devices_seen) {
        a->devices_seen = true;
        xstream_wait(&s->x);
        a->device_op = device_list(worker_auth(w), a->try.jid, devices_found, s);
    } else if (answer == THROTTLE_REFUSE) {
        refuse_for_now(s);
    } else if (a->step == SASL_NEED_TOKENS || a->proof.ptr != NULL) {
        take_turn(s);
    } else {
        c2s_sasl_look_up(
            s); /* a password takes its turn when it is verified, SCRAM with the proof */
    }
}

static void attempt(struct stream *s, enum sasl_step step)
{
    struct stream_auth *a = s->auth;
    a->step = step;
    a->proof = (slice){ 0 };
    a->devices_seen = false;
    throttle_try_init(&a->try, c2s_sasl_peer_of(s), sasl_account(s, a->arena),
                      a->two == NULL ? NULL : sasl2_device(s));
    admit(s);
}

/* RFC 4505: makes a guest with a new name and id. */
static void be_guest(struct stream *s)
{
    struct stream_auth *a = s->auth;
    slice domain = stream_domain(s);
    char name[33];
    guest_name(name);
    a->bare = slice_of(arena_printf(a->arena, "%s@%.*s", name, SLICE_ARG(domain)));
    a->account = guest_id();
    a->generation = 0;
}

static void sasl_succeeded(struct stream *s)
{
    struct stream_auth *a = s->auth;
    char device[DEVICE_ID_TEXT];
    ensure(a->sasl != NULL);
    if (a->disabled) { /* only a client with the right password learns that */
        sasl_failed(s, SASL_ACCOUNT_DISABLED, NULL);
        return;
    }
    if (a->mech == SASL_ANONYMOUS) {
        if (!guest_room()) {
            auth_count(a->mech, AUTH_FAILED);
            sasl_failed(s, SASL_TEMPORARY_AUTH_FAILURE, "too many guests are here");
            return;
        }
        be_guest(s);
    } else {
        a->bare = sasl_account(s, a->arena);
    }
    auth_count(a->mech, AUTH_OK);
    latency_observe(LATENCY_LOGIN, a->begun_us, loop_now_us(worker_loop(s->x.worker)));
    attempts_passed(s);
    log_info(&log_c2s, LOG_EV("auth.ok"), LOG_S("jid", a->bare),
             LOG_C("mech", sasl_mech_name(a->mech)), LOG_C("peer", stream_address(s).text),
             LOG_C("tls", tls_text(s)), LOG_C("device", device_text(s, device)));
    a->profile->success(s);
}

static void sasl_do(struct stream *s, enum sasl_step step)
{
    switch (step) {
    case SASL_SEND:
        s->auth->profile->challenge(s);
        break;
    case SASL_NEED_KEYS:
    case SASL_NEED_TOKENS:
    case SASL_CHECK_PASSWORD:
        attempt(s, step);
        break;
    case SASL_NEED_ACCOUNT:
        external_look_up(s);
        break;
    case SASL_SUCCESS:
        sasl_succeeded(s);
        break;
    case SASL_FAIL:
        sasl_failed(s, sasl_why(s->auth->sasl), NULL);
        break;
    }
}

/* The proof of SCRAM. Each exchange is counted here, however many are in progress. */
static void sasl_final(struct stream *s, slice message)
{
    s->auth->keyed = false;
    s->auth->proof = message.len > 0 ? slice_dup(s->auth->arena, message) : SLICE("");
    admit(s);
}

void sasl_message(struct stream *s, slice text)
{
    struct buf b;
    ensure(s->auth->sasl != NULL);
    buf_init(&b, SASL_BYTES_MAX);
    if (base64_decode(&b, text) != OK)
        sasl_failed(s, SASL_INCORRECT_ENCODING, NULL);
    else if (s->auth->keyed)
        sasl_final(s, buf_fit(&b));
    else
        sasl_do(s, sasl_feed(s->auth->sasl, buf_fit(&b)));
    mem_wipe(b.ptr, b.cap);
    buf_fini(&b);
}

/* The machine for the mechanism, or why not. */
static enum sasl_failure machine_make(struct stream *s, const struct sasl_start *start)
{
    struct stream_auth *a = s->auth;
    struct sasl_binding binding = binding_of(s);
    uint32_t offered = mechs_offered(s, &binding);
    uint32_t allowed = start->token ? tokens_offered(s, &binding) : offered;
    char nonce[37];
    if (sasl_mech_find(start->mechanism, &a->mech) != OK || (allowed >> a->mech & 1) == 0)
        return SASL_INVALID_MECHANISM;
    rand_hex(nonce, 18);
    a->begun_us = loop_now_us(worker_loop(s->x.worker));
    a->sasl = sasl_create(a->mech, &binding, stream_domain(s), slice_of(nonce));
    if (setting_bool(&c2s_downgrade_protection)) {
        struct buf list;
        buf_init(&list, SASL_BYTES_MAX);
        sasl_offered(&list, offered, &binding);
        sasl_protect(a->sasl, buf_fit(&list));
        buf_fini(&list);
    }
    return SASL_ABORTED; /* no failure */
}

static void machine_feed(struct stream *s, const struct sasl_start *start)
{
    if (start->has_message)
        sasl_message(s, start->message);
    else
        sasl_do(s, sasl_feed_none(s->auth->sasl));
}

/* The client keeps to a mechanism that it found here before, or that its user has set. */
static const char *why_not_offered(const struct stream *s, slice mechanism)
{
    enum sasl_mech mech;
    if (sasl_mech_find(mechanism, &mech) != OK || mech >= SASL_PLAIN ||
        (hashes_complete(stream_domain(s)) >> sasl_mech_hash(mech) & 1) != 0)
        return NULL;
    return "accounts of this domain have no keys for this mechanism, so it is not offered";
}

/* A client whose certificate does not fit is not offered this; one that tries it is told why. */
static void external_begin(struct stream *s, const struct sasl_start *start)
{
    struct stream_auth *a = s->auth;
    struct external_names names;
    enum sasl_failure f = SASL_MALFORMED_REQUEST;
    struct why why = { "" };
    if (start->token || !external_find(s, &names, &f, &why) || !external_holds(s, &f, &why)) {
        a->mech = SASL_EXTERNAL;
        sasl_failed(s, f, why.text[0] != '\0' ? why.text : NULL);
        return;
    }
    if (machine_make(s, start) != SASL_ABORTED) {
        sasl_failed(s, SASL_INVALID_MECHANISM, NULL);
        return;
    }
    sasl_prove(a->sasl, names.jid, names.count);
    machine_feed(s, start);
}

void sasl_begin(struct stream *s, const struct sasl_start *start)
{
    struct stream_auth *a = s->auth;
    a->profile = start->profile;
    s->certified = false;
    a->keyed = a->guessed = a->disabled = a->unkeyed = false;
    memset(a->device, 0, sizeof a->device);
    if (!s->x.secure && setting_bool(&c2s_tls_required)) {
        sasl_failed(s, SASL_ENCRYPTION_REQUIRED, NULL);
        return;
    }
    if (slice_is(start->mechanism, sasl_mech_name(SASL_EXTERNAL))) {
        external_begin(s, start);
        return;
    }
    enum sasl_failure f = machine_make(s, start);
    if (f != SASL_ABORTED)
        sasl_failed(s, f, why_not_offered(s, start->mechanism));
    else
        machine_feed(s, start);
}

void sasl_cancel(struct stream *s)
{
    timer_cancel(&s->auth->turn);
    if (s->auth->try.taken) /* its client left before the comparison */
        throttle_failed(worker_auth(s->x.worker)->throttle, &s->auth->try,
                        loop_now_us(worker_loop(s->x.worker)));
    if (s->auth->op != NULL)
        auth_cancel(&s->auth->op);
    if (s->auth->device_op != NULL)
        device_cancel(&s->auth->device_op);
}

/* The profile of RFC 6120 §6. */

static void c2s_sasl_say(struct stream *s, const char *element)
{
    struct buf b;
    struct xml_write x;
    slice out = sasl_out(s->auth->sasl);
    xml_begin(&x, &b, XML_PART_MAX);
    xml_open(&x, element, NS_SASL);
    base64_encode(xml_content(&x), out);
    xml_close(&x);
    xstream_write_buf(&s->x, &b);
}

static void old_challenge(struct stream *s) { c2s_sasl_say(s, "challenge"); }

static void old_success(struct stream *s)
{
    struct stream_auth *a = s->auth;
    if (sasl_out(a->sasl).len > 0)
        c2s_sasl_say(s, "success");
    else
        xstream_write(&s->x, SLICE("<success xmlns='" NS_SASL "'/>"));
    sasl_destroy(&a->sasl);
    xstream_now(&s->x, STREAM_PASSED);
    xstream_restart(&s->x);
    stream_limits(s);
    (void)stream_migrate(s);
}

static void old_failure(struct stream *s, enum sasl_failure f, const char *text)
{
    struct buf b;
    struct xml_write x;
    xml_begin(&x, &b, XML_PART_MAX);
    xml_open(&x, "failure", NS_SASL);
    xml_empty(&x, sasl_failure_name(f), NULL);
    if (text != NULL) { /* RFC 6120 §6.4.5 */
        xml_open_with(&x, "text", NULL, "xml:lang", SLICE("en"));
        xml_text(&x, slice_of(text));
    }
    xml_close_all(&x);
    xstream_write_buf(&s->x, &b);
}

static const struct sasl_profile old_profile = { .challenge = old_challenge,
                                                 .success = old_success,
                                                 .failure = old_failure };

/* "=" is present and empty (RFC 6120 §6.4.2). */
static slice old_text(slice text) { return slice_is(text, "=") ? SLICE("") : text; }

void sasl_unit(struct stream *s, const struct elem *e)
{
    struct stream_auth *a = stream_auth_of(s);
    struct arena *tmp = loop_scratch(worker_loop(s->x.worker));
    bool busy = a->sasl != NULL;
    if (!busy)
        a->profile = &old_profile;
    if (slice_is(e->name, "auth") && !busy) {
        slice text = elem_text(e, tmp); /* without text there is no initial response */
        sasl_begin(s, &(struct sasl_start){ .profile = &old_profile,
                                            .mechanism = elem_attr(e, "mechanism", tmp),
                                            .message = old_text(text),
                                            .has_message = text.len > 0 });
    } else if (slice_is(e->name, "abort") && busy) {
        sasl_failed(s, SASL_ABORTED, NULL);
    } else if (slice_is(e->name, "response") && busy) {
        sasl_message(s, old_text(elem_text(e, tmp)));
    } else {
        sasl_failed(s, SASL_MALFORMED_REQUEST, NULL);
    }
}
