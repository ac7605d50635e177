/* push: Push Notifications (XEP-0357): a client names a push service and a node; while that client
 * is away, messages that would have reached it are announced there.
 *
 * A registration belongs to the resource that enabled it and is renewed by enabling it again. The
 * client is away when no session has that resource, or that session hibernates, or its client said
 * that it is inactive (XEP-0352). Registrations are loaded with the account; the count of errors in
 * a row lives in memory. A registration ends with the access of its client: with a new password, or
 * when its device is revoked.
 *
 * Limits: settings push.*; IN_FLIGHT_MAX announcements of one registration wait for their answers,
 * then one more follows for all that came meanwhile. */
#include "ext/push/push.h"
#include "account/account.h"
#include "auth/devices.h"
#include "auth/seal.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "ext/ext.h"
#include "ext/push/push_form.h"
#include "home/ask.h"
#include "home/here.h"
#include "home/node.h"
#include "home/trail.h"
#include "ops/users.h"
#include "presence/presence_pace.h"
#include "remote/foreign.h"
#include "session/session_queue.h"
#include "session/sessions.h"
#include "talk/message.h"
#include "xmpp/delivery.h"
#include "xmpp/form.h"
#include "xmpp/ns.h"
#include <stdio.h>

#define NS_PUBLISH_OPTIONS "http://jabber.org/protocol/pubsub#publish-options"

enum {
    OPTIONS_BYTES_MAX = SEAL_PLAIN_MAX,
    NODE_BYTES_MAX = 1024,
    IN_FLIGHT_MAX = 16,
    ANSWER_MS = 60000
};
static const uint64_t away_step_us = 3600ull * 1000000;
enum { PAYLOAD_SUMMARY, PAYLOAD_NONE };
static const char *const payloads[] = { "summary", "none", NULL };

struct setting push_enabled = {
    .name = "push.enabled",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Clients may have messages announced by push services while they are away (XEP-0357).",
};
static struct setting push_when_active = {
    .name = "push.when-active",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 0,
    .doc = "Messages are announced to clients that are away even while the user has an active "
           "client (session.active-time). Off: only the active client notifies the user.",
};
static struct setting push_payload = {
    .name = "push.payload",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_CHOICE,
    .choices = payloads,
    .doc =
        "What is sent to the push service: `summary` is the number of waiting messages (texts and "
        "calls; no receipts, markers, reactions or retractions) and the sender of the last one; "
        "`none` says only that there is a message.",
};
static struct setting push_body = {
    .name = "push.include-body",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 0,
    .doc =
        "A summary contains the text of the last message, too. It is sent through third parties.",
};
static struct setting push_services = {
    .name = "push.services",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_TEXT,
    .max = 4096,
    .def_text = "",
    .doc = "Domains of the push services that clients may use, separated by spaces; empty: any.",
};
static struct setting push_away = {
    .name = "push.show-away",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "While a client that has enabled push is away or in the background, its user is shown "
           "as away.",
};
static struct store_stmt push_above = {
    .name = "push.above",
    .sql = "SELECT count(*) FROM (SELECT owner FROM push GROUP BY owner HAVING count(*) > $1) v",
    .params = "i",
    .cols = "i",
};
static const struct setting_impact push_above_impact = { .stmt = &push_above,
                                                         .what = "users with more registrations" };
static struct setting push_max = {
    .name = "push.registrations-max",
    .impact = &push_above_impact,
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 20,
    .min = 1,
    .max = 1000,
    .unit = "registrations",
    .doc = "Push registrations of one account. A further one replaces the oldest.",
};
static struct setting push_errors_max = {
    .name = "push.errors-max",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 5,
    .min = 1,
    .max = 1000,
    .unit = "errors",
    .doc =
        "A registration is deleted when its push service has failed this many times in a row; the "
        "client enables it again when it returns. An unreachable service counts once an hour.",
};

static struct metric push_sent = { .name = "muster_push_sent",
                                   .kind = METRIC_COUNTER,
                                   .history = true,
                                   .help = "Announcements sent to push services; not those that "
                                           "no connection or rule lets leave." };
static struct metric push_errors = { .name = "muster_push_errors",
                                     .kind = METRIC_COUNTER,
                                     .help = "Announcements that push services refused or left "
                                             "without an answer, or that did not reach them." };
static struct metric push_dropped = { .name = "muster_push_dropped",
                                      .kind = METRIC_COUNTER,
                                      .help = "Push registrations dropped after errors." };
static struct log_area log_push = { .name = "push" };

static const struct store_migration push_migrations[] = {
    { 1,
      "CREATE TABLE push(owner INTEGER NOT NULL, service TEXT NOT NULL, node TEXT NOT NULL, "
      "resource TEXT NOT NULL, options TEXT NOT NULL, at_us INTEGER NOT NULL, "
      "PRIMARY KEY(owner, service, node)) WITHOUT ROWID",
      "CREATE TABLE push(owner BIGINT NOT NULL, service TEXT NOT NULL, node TEXT NOT NULL, "
      "resource TEXT NOT NULL, options TEXT NOT NULL, at_us BIGINT NOT NULL, "
      "PRIMARY KEY(owner, service, node))" },
    /* options are sealed since; clients register again at their next login */
    { 2, "DELETE FROM push", "DELETE FROM push" },
    { 3, "CREATE INDEX push_service ON push(service)",
      "CREATE INDEX push_service ON push(service)" },
    { 4, "ALTER TABLE push ADD COLUMN device TEXT NOT NULL DEFAULT ''",
      "ALTER TABLE push ADD COLUMN device TEXT NOT NULL DEFAULT ''" },
    { 0 },
};
static struct store_stmt push_put = {
    .name = "push.put",
    .sql = "INSERT INTO push(owner, service, node, resource, options, at_us, device) "
           "VALUES($1, $2, $3, $4, $5, $6, $7) ON CONFLICT(owner, service, node) DO UPDATE SET "
           "resource = excluded.resource, options = excluded.options, at_us = excluded.at_us, "
           "device = excluded.device",
    .params = "ittttit",
    .cols = "",
};
static struct store_stmt push_delete = {
    .name = "push.delete",
    .sql = "DELETE FROM push WHERE owner = $1 AND service = $2 AND node = $3",
    .params = "itt",
    .cols = "",
};
static struct store_stmt push_delete_all = {
    .name = "push.delete-all",
    .sql = "DELETE FROM push WHERE owner = $1",
    .params = "i",
    .cols = "",
};
/* '0' is the character after '/': these are the full addresses. */
static struct store_stmt push_delete_service = {
    .name = "push.delete-service",
    .sql = "DELETE FROM push WHERE service = $1 OR (service > $1 || '/' AND service < $1 || '0')",
    .params = "t",
    .cols = "",
};
static struct store_stmt push_load = {
    .name = "push.load",
    .sql = "SELECT service, node, resource, options, device FROM push WHERE owner = $1 "
           "ORDER BY at_us",
    .params = "i",
    .cols = "ttttt",
};
static const struct store_schema push_schema = {
    .feature = "push",
    .migrations = push_migrations,
    .addresses =
        (const struct store_address[]){
            { "push", "options", .kind = STORE_SEALED, .beside = "service", .reseal = seal_again,
              .context = "'push ' || owner || ' ' || ? || ' ' || node" }, /* options_context() */
            { "push", "service", .kind = STORE_JID, .beside = "owner node" },
            { 0 } },
    .stmts = (struct store_stmt *const[]){ &push_above, &push_put, &push_delete, &push_delete_all,
                                           &push_delete_service, &push_load, NULL },
};

/* The registrations of an account, oldest first. One block each, texts behind it. */
struct registration {
    struct registration *next;
    slice service, node, resource, options;
    uint8_t device[DEVICE_ID_LEN]; /* of its client (XEP-0388); zeros: not said */
    uint32_t errors, in_flight;
    bool again;       /* something came while IN_FLIGHT_MAX were under way */
    uint64_t away_us; /* when it was last counted that the service is not there; 0: never */
};
static unsigned slot, session_slot; /* the session's: see hibernating() */

/* Options hold what the service knows the client by (XEP-0357 §5), so they are sealed. */
static slice options_context(int64_t owner, slice service, slice node, struct arena *tmp)
{
    return slice_of(arena_printf(tmp, "push %lld %.*s %.*s", (long long)owner, SLICE_ARG(service),
                                 SLICE_ARG(node)));
}

static slice options_sealed(const struct account *a, const struct registration *r)
{
    struct arena *tmp = loop_scratch(worker_loop(a->worker));
    return r->options.len == 0
               ? SLICE("")
               : seal(r->options, options_context(a->id, r->service, r->node, tmp), tmp);
}

static struct registration **registrations(const struct account *a)
{
    ensure(account_here(a));
    return (struct registration **)(void *)&((struct account *)(uintptr_t)a)->state_of[slot];
}

static char *push_copy(char *at, slice *field, slice value)
{
    if (value.len > 0)
        memcpy(at, value.ptr, value.len);
    *field = (slice){ at, value.len };
    return at + value.len;
}

static struct registration *registration_create(const struct registration *like)
{
    size_t len = like->service.len + like->node.len + like->resource.len + like->options.len;
    struct registration *r = mem_zalloc(sizeof *r + len);
    char *at = (char *)(r + 1);
    memcpy(r->device, like->device, sizeof r->device);
    at = push_copy(at, &r->service, like->service);
    at = push_copy(at, &r->node, like->node);
    at = push_copy(at, &r->resource, like->resource);
    push_copy(at, &r->options, like->options);
    return r;
}

static struct registration **push_find(const struct account *a, slice service, slice node)
{
    struct registration **r = registrations(a);
    while (*r != NULL && !(slice_eq((*r)->service, service) && slice_eq((*r)->node, node)))
        r = &(*r)->next;
    return r;
}

static void unlink_registration(struct registration **at)
{
    struct registration *r = *at;
    ensure(*at != NULL);
    *at = r->next;
    mem_free(&r);
}

static void push_append(const struct account *a, struct registration *r)
{
    struct registration **at = registrations(a);
    while (*at != NULL)
        at = &(*at)->next;
    *at = r;
}

/* A change: prepare -> commit -> apply. */

enum change_kind { CHANGE_PUT, CHANGE_DELETE, CHANGE_DELETE_SERVICE };

struct change {
    struct actor_change base; /* first */
    enum change_kind kind;
    struct iq *iq;          /* held; NULL: nobody waits */
    struct registration *r; /* as it will be, or whose names are deleted */
};

static unsigned push_count(const struct account *a)
{
    unsigned n = 0;
    for (struct registration *r = *registrations(a); r != NULL; r = r->next)
        n++;
    return n;
}

static bool push_is_target(const struct change *c, const struct registration *r)
{
    return slice_eq(r->service, c->r->service) &&
           (c->kind == CHANGE_DELETE_SERVICE || slice_eq(r->node, c->r->node));
}

static void push_add_put(const struct account *a, const struct registration *r,
                         struct store_batch *b)
{
    char device[DEVICE_ID_TEXT] = "";
    if (device_is_known(r->device))
        device_id_format(device, r->device);
    STORE_ADD(b, &push_put, 1, SV_I(a->id), SV_T(r->service), SV_T(r->node), SV_T(r->resource),
              SV_T(options_sealed(a, r)), SV_I(loop_wall_us(worker_loop(a->worker))),
              SV_T(slice_of(device)));
    const struct registration *oldest = *registrations(a);
    if (*push_find(a, r->service, r->node) == NULL && push_count(a) >= setting_int(&push_max))
        STORE_ADD(b, &push_delete, STORE_ANY_ROWS, SV_I(a->id), SV_T(oldest->service),
                  SV_T(oldest->node));
}

static enum err push_change_prepare(struct actor_change *base)
{
    struct change *c = (struct change *)base;
    struct account *a = account_of(base->actor);
    if (a->state != ACTOR_READY)
        return E_NOTFOUND;
    base->batch = store_write(worker_store(a->worker), account_lane(a));
    if (c->kind == CHANGE_PUT) {
        push_add_put(a, c->r, base->batch);
        return OK;
    }
    bool any = false;
    for (const struct registration *r = *registrations(a); r != NULL; r = r->next) {
        if (!push_is_target(c, r))
            continue;
        STORE_ADD(base->batch, &push_delete, STORE_ANY_ROWS, SV_I(a->id), SV_T(r->service),
                  SV_T(r->node));
        any = true;
    }
    if (!any)
        store_drop(&base->batch);
    return OK;
}

static void change_memory(struct account *a, struct change *c)
{
    ensure(c->kind != CHANGE_PUT || c->r != NULL);
    for (struct registration **at = registrations(a); *at != NULL;) {
        if (push_is_target(c, *at))
            unlink_registration(at);
        else
            at = &(*at)->next;
    }
    if (c->kind != CHANGE_PUT)
        return;
    if (push_count(a) >= setting_int(&push_max))
        unlink_registration(registrations(a));
    push_append(a, c->r);
    c->r = NULL;
}

static void show_asleep(struct account *a);

static void push_change_apply(struct actor_change *base, enum err e)
{
    struct change *c = (struct change *)base;
    ensure(base->actor->pins > 0);
    if (e == OK) {
        change_memory(account_of(base->actor), c);
        show_asleep(account_of(base->actor));
    }
    if (c->iq != NULL && e == OK)
        iq_result(c->iq, (slice){ 0 });
    else if (c->iq != NULL)
        iq_error(c->iq, stanza_error_of(e), (slice){ 0 });
    mem_free(&c->r);
    mem_free(&c);
}

static void push_change(struct account *a, enum change_kind kind, const struct registration *like,
                        struct iq *iq)
{
    struct change *c = mem_new(struct change);
    c->base.prepare = push_change_prepare;
    c->base.apply = push_change_apply;
    c->kind = kind;
    c->r = registration_create(like);
    c->iq = iq == NULL ? NULL : iq_hold(iq);
    account_change(a, &c->base);
}

/* Requests (§5, §6). */

bool push_service_allowed(slice service)
{
    slice domain, rest = slice_of(setting_text(&push_services));
    if (rest.len == 0)
        return true;
    while (rest.len > 0) {
        slice_cut(rest, ' ', &domain, &rest);
        if (domain.len > 0 && slice_eq(domain, jid_split(service).domain))
            return true;
    }
    return false;
}

/* The service and node of a request; false: it was answered. */
static bool names_of(struct iq *iq, struct registration *r)
{
    struct jid jid;
    r->node = elem_attr(&iq->payload, "node", iq->tmp);
    if (jid_parse(&jid, elem_attr(&iq->payload, "jid", iq->tmp), iq->tmp) != OK) {
        iq_error(iq, SE_BAD_REQUEST, SLICE("`jid` is not the address of a push service"));
        return false;
    }
    if (r->node.len > NODE_BYTES_MAX) {
        iq_error(iq, SE_BAD_REQUEST, SLICE("`node` is too long"));
        return false;
    }
    r->service = jid.full;
    return true;
}

static void push_enable(struct iq *iq)
{
    struct registration r = { 0 };
    struct form f;
    struct elem x;
    struct buf options;
    struct jid from = jid_split(stanza_from(iq->st));
    if (!setting_bool(&push_enabled)) {
        iq_error(iq, SE_SERVICE_UNAVAILABLE, SLICE("push notifications are switched off"));
        return;
    }
    if (!names_of(iq, &r))
        return;
    if (!push_service_allowed(r.service)) {
        iq_error(iq, SE_NOT_ALLOWED, SLICE("this push service is not one of push.services"));
        return;
    }
    buf_init(&options, OPTIONS_BYTES_MAX);
    if (elem_child(&iq->payload, "x", NS_DATA, &x)) {
        if (form_parse(&f, &x, iq->tmp) && form_expect(&f, NS_PUBLISH_OPTIONS))
            elem_extract(&x, &options);
        if (f.error != SE_NONE || options.overflow) {
            iq_error(iq, f.error != SE_NONE ? f.error : SE_POLICY_VIOLATION,
                     f.error != SE_NONE ? f.text : SLICE("the publish options are too long"));
            buf_fini(&options);
            return;
        }
    }
    if (options.len > 0 && !seal_ready()) {
        iq_error(iq, SE_INTERNAL_SERVER_ERROR, SLICE("secrets cannot be stored now"));
        buf_fini(&options);
        return;
    }
    r.options = buf_slice(&options);
    r.resource = from.resource;
    const struct session *s = account_session(iq->account, from.resource);
    if (s != NULL)
        memcpy(r.device, s->device, sizeof r.device);
    push_change(iq->account, CHANGE_PUT, &r, iq);
    buf_fini(&options);
}

static void push_disable(struct iq *iq)
{
    struct registration r = { 0 };
    if (!names_of(iq, &r))
        return;
    bool all = elem_attr_raw(&iq->payload, "node").ptr == NULL;
    push_change(iq->account, all ? CHANGE_DELETE_SERVICE : CHANGE_DELETE, &r, iq);
}

/* Announcements (§7). */

struct announcement {
    struct account *account; /* pinned */
    struct stanza *of;       /* the message without its content, for its trail; NULL: several */
    size_t service_len, node_len;
    char names[];
};

static slice announcement_service(const struct announcement *n)
{
    return (slice){ n->names, n->service_len };
}

static void announcement_free(struct announcement *n)
{
    stanza_unref(&n->of);
    mem_free(&n);
}

static void push_announce(struct account *a, struct registration *r, const struct stanza *st);

/* Also where this server itself answers in place of another one, which it may not reach by a rule.
 */
static bool is_unreachable(const struct worker *w, const struct registration *r,
                           const struct stanza *reply)
{
    struct elem error, condition;
    return reply == NULL || (!reply->arrived && foreign_is(w, jid_split(r->service).domain)) ||
           (stanza_child(reply, KNOWN_ERROR, &error) &&
            (elem_child(&error, "remote-server-not-found", NS_STANZA_ERROR, &condition) ||
             elem_child(&error, "remote-server-timeout", NS_STANZA_ERROR, &condition)));
}

/* A service that is started again fails for all that is said meanwhile, to clients that sleep and
 * cannot enable it again. */
static bool is_counted(const struct worker *w, struct registration *r, const struct stanza *reply)
{
    uint64_t now_us = loop_now_us(worker_loop(w));
    if (!is_unreachable(w, r, reply))
        return true;
    if (r->away_us != 0 && now_us - r->away_us < away_step_us)
        return false;
    r->away_us = now_us;
    return true;
}

static void push_failed(struct account *a, struct registration *r, const struct stanza *reply)
{
    ensure(account_is_pinned(a));
    metric_add(&push_errors, 1);
    r->errors += is_counted(a->worker, r, reply);
    log_info(&log_push, LOG_EV("push.error"), LOG_S("jid", a->jid), LOG_S("service", r->service),
             LOG_I("errors", r->errors), LOG_C("answer", reply == NULL ? "none" : "error"));
    if (r->errors < setting_int(&push_errors_max))
        return;
    metric_add(&push_dropped, 1);
    log_warn(
        &log_push, LOG_EV("push.dropped"), LOG_S("jid", a->jid), LOG_S("service", r->service),
        LOG_C("hint",
              "the push service failed too often (push.errors-max); the client registers again"));
    push_change(a, CHANGE_DELETE, r, NULL);
}

static bool is_pushed(const struct stanza *reply)
{
    return reply != NULL && reply->type == TYPE_RESULT;
}

static void push_note_answer(const struct announcement *n, const struct stanza *reply)
{
    enum stanza_error e = reply == NULL ? SE_NONE : stanza_condition(reply);
    if (n->of == NULL)
        return;
    if (is_pushed(reply))
        trail_note(n->of, "pushed", "", announcement_service(n));
    else
        trail_note(n->of, "push failed",
                   reply == NULL ? "no answer"
                                 : stanza_error_name(e != SE_NONE ? e : SE_UNDEFINED_CONDITION),
                   announcement_service(n));
}

static void push_answered(struct worker *w, void *arg, const struct stanza *reply)
{
    struct announcement *n = arg;
    struct account *a = n->account;
    struct registration *r =
        *push_find(a, announcement_service(n), (slice){ n->names + n->service_len, n->node_len });
    (void)w;
    ensure(account_here(a) && account_is_pinned(a));
    push_note_answer(n, reply);
    if (r != NULL) {
        if (r->in_flight > 0)
            r->in_flight--;
        if (is_pushed(reply))
            r->errors = 0;
        else
            push_failed(a, r, reply);
        if (r->again) {
            r->again = false;
            push_announce(a, r, NULL);
        }
    }
    announcement_free(n);
    account_unpin(a);
}

/* Messages of rooms are not in the mailbox: they wait in their archives. */
static void write_summary(struct xml_write *x, const struct account *a, const struct stanza *st)
{
    slice sender = { 0 }, body = { 0 };
    if (st != NULL)
        sender = stanza_from(st);
    if (st != NULL && setting_bool(&push_body))
        body = stanza_child_text(st, KNOWN_BODY, loop_scratch(worker_loop(a->worker)));
    push_summary(x, mailbox_messages(a), sender, body);
}

static void drop_announcement(void *arg) { announcement_free(arg); }

static struct announcement *announcement_of(struct account *a, const struct registration *r,
                                            const struct stanza *st)
{
    struct announcement *n = mem_alloc(sizeof *n + r->service.len + r->node.len);
    *n = (struct announcement){ .account = a,
                                .service_len = r->service.len,
                                .node_len = r->node.len };
    if (trail_mine != NULL && st != NULL && st->kind == STANZA_MESSAGE)
        n->of = stanza_make(STANZA_MESSAGE, (enum stanza_type)st->type, stanza_from(st),
                            stanza_to(st), stanza_id(st), (slice){ 0 });
    memcpy(n->names, r->service.ptr, r->service.len);
    if (r->node.len > 0)
        memcpy(n->names + r->service.len, r->node.ptr, r->node.len);
    return n;
}

/* Says whether it leaves: for a component that is not connected, or for a domain that a rule keeps
 * away, it comes back at once. */
static bool push_has_way(struct account *a, slice service)
{
    slice domain = jid_split(service).domain;
    return (remote_known(a->worker, domain) || !remote_expected(a->worker, domain)) &&
           !foreign_separates(a->worker, jid_split(a->jid).domain, domain);
}

/* It may be answered, and the registration deleted, before this returns. Takes over n. */
static void announcement_send(struct account *a, struct announcement *n, slice xml)
{
    struct stanza *of = n->of == NULL ? NULL : stanza_ref(n->of);
    slice service = slice_dup(loop_scratch(worker_loop(a->worker)), announcement_service(n));
    struct ask_request ask = {
        TYPE_SET, a->jid, service, xml, ANSWER_MS, drop_announcement, { 0 }
    };
    bool way = push_has_way(a, service);
    account_pin(a);
    if (ask_send(a->worker, &ask, push_answered, n) == NULL) {
        struct registration *r =
            *push_find(a, service, (slice){ n->names + n->service_len, n->node_len });
        ensure(r != NULL && r->in_flight > 0);
        r->in_flight--;
        metric_add(&push_errors, 1);
        if (of != NULL)
            trail_note(of, "push failed", stanza_error_name(SE_RESOURCE_CONSTRAINT), service);
        announcement_free(n);
        account_unpin(a);
    } else if (way) {
        metric_add(&push_sent, 1);
        if (of != NULL) /* of steps at one time this one is the first: trail_rank() */
            trail_note(of, "push sent", "", service);
    }
    stanza_unref(&of);
}

static void push_announce(struct account *a, struct registration *r, const struct stanza *st)
{
    struct buf b;
    struct xml_write x;
    ensure(account_here(a) && r->in_flight <= IN_FLIGHT_MAX);
    if (!push_service_allowed(r->service))
        return;
    if (r->in_flight >= IN_FLIGHT_MAX) {
        r->again = true;
        return;
    }
    xml_begin(&x, &b, XML_STORED_MAX);
    push_open(&x, r->node);
    if (setting_int(&push_payload) == PAYLOAD_SUMMARY)
        write_summary(&x, a, st);
    push_close(&x, r->options);
    r->in_flight++;
    announcement_send(a, announcement_of(a, r, st), buf_fit(&b));
    buf_fini(&b);
}

static bool is_dormant(const struct account *a, const struct registration *r)
{
    const struct session *s = account_session(a, r->resource);
    return s != NULL && s->state == SESSION_HIBERNATING;
}

static bool is_away(const struct account *a, const struct registration *r)
{
    const struct session *s = account_session(a, r->resource);
    return s == NULL || is_dormant(a, r) || (session_is_quiet(s) && session_active(a) == NULL);
}

static bool push_is_wanted(const struct account *a, const struct stanza *st)
{
    return *registrations(a) != NULL && setting_bool(&push_enabled) && message_notifies(st) &&
           (setting_bool(&push_when_active) || session_active(a) == NULL) &&
           !slice_eq(stanza_from_bare(st), a->jid);
}

typedef bool push_whom_fn(const struct account *a, const struct registration *r);

/* `told`: the resource whose client knows of it already; NULL: none. */
static void announce_to(struct account *a, const struct stanza *st, push_whom_fn *whom,
                        const slice *told)
{
    struct registration *next;
    if (!push_is_wanted(a, st))
        return;
    for (struct registration *r = *registrations(a); r != NULL; r = next) {
        next = r->next;
        if (whom(a, r) && (told == NULL || !slice_eq(r->resource, *told)))
            push_announce(a, r, st);
    }
}

static void push_passed(struct account *a, const struct passage *p)
{
    announce_to(a, p->st, p->way == PASSAGE_DORMANT ? is_dormant : is_away, NULL);
}

static bool has_registration(const struct session *s)
{
    for (const struct registration *r = *registrations(s->account); r != NULL; r = r->next)
        if (slice_eq(r->resource, session_resource(s)))
            return true;
    return false;
}

static void fall_asleep(struct session *s)
{
    if (setting_bool(&push_enabled) && setting_bool(&push_away) && has_registration(s))
        presence_sleep(s);
}

static void quiet_changed(struct session *s)
{
    if (session_is_quiet(s))
        fall_asleep(s);
    else if (s->state == SESSION_ATTACHED)
        presence_wake(s);
}

/* Clients in the background may have begun or ended their registrations. */
static void show_asleep(struct account *a)
{
    SESSIONS_EACH (s, a) {
        if (s->state != SESSION_ATTACHED || !session_is_quiet(s))
            continue;
        if (has_registration(s))
            fall_asleep(s);
        else
            presence_wake(s);
    }
}

/* A session that sleeps keeps what was the last then, only to compare it. One that was connected
 * before a planned restart sleeps since, and its last was announced to nobody: that is marked. */
enum { UNTOLD = 1 };
static char nothing;

static void *last_then(const struct session *s, uintptr_t mark)
{
    const struct stanza *last = session_last_unacked(s);
    return last == NULL ? &nothing : (void *)((uintptr_t)last | mark);
}

/* Announces the last stanza that the client has not acknowledged: it may not have arrived before
 * the connection broke. Later stanzas are announced when they come. */
static void hibernating(struct session *s)
{
    struct account *a = s->account;
    ensure(session_here(s));
    fall_asleep(s);
    const struct stanza *last = session_last_unacked(s);
    s->state_of[session_slot] = last_then(s, 0);
    if (last == NULL || !setting_bool(&push_enabled) || !message_notifies(last))
        return;
    for (struct registration *r = *registrations(a); r != NULL; r = r->next)
        if (slice_eq(r->resource, session_resource(s)))
            push_announce(a, r, last);
}

static void push_resumed(struct session *s)
{
    s->state_of[session_slot] = NULL;
    presence_wake(s);
}

/* What the client has not taken is in the mailbox again, and was not announced when it came: the
 * session was there. The end of others leaves nothing there, or a client that is here. */
static void push_ended(struct session *s)
{
    bool to_mailbox = s->end_why == END_CLOSED || s->end_why == END_LOST ||
                      s->end_why == END_KICKED || s->end_why == END_BAD_ACK ||
                      s->end_why == END_SLOW || s->end_why == END_EXPIRED;
    const struct stanza *last = session_last_unacked(s);
    const void *then = s->state_of[session_slot];
    slice resource = session_resource(s);
    ensure(session_here(s));
    if (!to_mailbox || last == NULL)
        return;
    if (then == NULL || then == last_then(s, UNTOLD))
        announce_to(s->account, last, is_away, NULL);
    else if (then == last)
        announce_to(s->account, last, is_away, &resource);
}

static void push_save(const struct session *s, struct buf *out)
{
    const void *then = s->state_of[session_slot];
    if (then == NULL || then == last_then(s, UNTOLD))
        buf_lit(out, "untold");
    else if (then == last_then(s, 0))
        buf_lit(out, "told");
    else
        buf_lit(out, "later");
}

static void push_restore(struct session *s, slice saved)
{
    bool told = slice_is(saved, "told"), untold = slice_is(saved, "untold");
    s->state_of[session_slot] = told || untold ? last_then(s, untold ? UNTOLD : 0) : &nothing;
}

/* §8: the service says that it wants no more. */
static enum verdict from_service(struct account *a, const struct stanza *st, struct refusal *why)
{
    struct elem pubsub, affiliation;
    struct arena *tmp = loop_scratch(worker_loop(a->worker));
    (void)why;
    if (*registrations(a) == NULL || st->kind != STANZA_MESSAGE ||
        !stanza_find(st, "pubsub", NS_PUBSUB, &pubsub) ||
        !elem_child(&pubsub, "affiliation", NS_PUBSUB, &affiliation))
        return PASS;
    struct registration r = { .service = stanza_from(st), .node = elem_attr(&pubsub, "node", tmp) };
    struct registration *known = *push_find(a, r.service, r.node);
    if (known == NULL || !slice_is(elem_attr(&affiliation, "affiliation", tmp), "none"))
        return PASS;
    push_change(a, CHANGE_DELETE, &r, NULL);
    return DROP;
}

/* Events of the account. */

/* Who had the password, or the device, is told nothing any more. */
static void access_revoked(struct account *a, const struct session *keep, const uint8_t *device)
{
    for (const struct registration *r = *registrations(a); r != NULL; r = r->next) {
        bool ends = device == NULL ? keep == NULL || !slice_eq(r->resource, session_resource(keep))
                                   : memcmp(r->device, device, sizeof r->device) == 0;
        if (ends)
            push_change(a, CHANGE_DELETE, r, NULL);
    }
}

static void push_load_account(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &push_load, STORE_ANY_ROWS, SV_I(a->id));
}

static void push_loaded(struct account *a, const struct store_batch *b, unsigned first)
{
    struct arena *tmp = loop_scratch(worker_loop(a->worker));
    for (uint32_t i = 0; i < store_row_count(b, first); i++) {
        struct registration r = { .service = store_text(b, first, i, 0),
                                  .node = store_text(b, first, i, 1),
                                  .resource = store_text(b, first, i, 2) };
        slice sealed = store_text(b, first, i, 3), device = store_text(b, first, i, 4);
        if (device_id_parse(r.device, device) != OK)
            memset(r.device, 0, sizeof r.device);
        if (sealed.len == 0 ||
            unseal(&r.options, sealed, options_context(a->id, r.service, r.node, tmp), tmp))
            push_append(a, registration_create(&r));
    }
}

static void push_unload(struct account *a)
{
    while (*registrations(a) != NULL)
        unlink_registration(registrations(a));
}

static void push_remove_all(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &push_delete_all, STORE_ANY_ROWS, SV_I(a->id));
    STORE_ADD(b, &push_delete_service, STORE_ANY_ROWS, SV_T(a->jid));
}

/* An account was a push service: whoever gets its address is told nothing. */
static void forget_service(struct account *a, slice bare)
{
    for (const struct registration *r = *registrations(a); r != NULL; r = r->next) {
        struct jid service = jid_split(r->service);
        if (slice_eq(jid_bare(&service), bare))
            push_change(a, CHANGE_DELETE, r, NULL);
    }
}

static void push_account_deleted(struct worker *w, slice bare)
{
    accounts_each(w, forget_service, bare);
}

/* Commands. */

static void list_account(struct account *a, enum err e, void *arg)
{
    struct command_call *call = arg;
    ensure(account_here(a));
    if (!users_there(call, a, e))
        return;
    if (a->disabled) {
        users_fail_disabled(call, a->jid);
        return;
    }
    for (const struct registration *r = *registrations(a); r != NULL; r = r->next) {
        command_row(call);
        command_text(call, "service", r->service);
        command_text(call, "node", r->node);
        command_text(call, "resource", r->resource);
        command_bool(call, "away", is_away(a, r));
        command_int(call, "errors", r->errors);
    }
    command_done(call, "%s", "");
}

static void push_run_list(struct command_call *call)
{
    account_with(call->worker, command_arg(call, "jid"), list_account, call);
}

static struct command command_list = {
    .name = "push list",
    .rest = "GET /users/{jid}/push",
    .effect = COMMAND_READS,
    .area = "devices",
    .args =
        (const struct command_arg[]){
            { .name = "jid", .kind = ARG_POSITIONAL, .type = PARAM_USER, .doc = "the account" },
            { 0 },
        },
    .home = "jid",
    .run = push_run_list,
    .doc = "Lists the push services that an account's clients use.",
    .columns =
        (const struct command_column[]){
            { .name = "service", .type = PARAM_JID, .doc = "address of the push service" },
            { .name = "node", .doc = "where it sends" },
            { .name = "resource", .doc = "resource of the client" },
            { .name = "away", .type = PARAM_BOOL, .doc = "whether the client is away" },
            { .name = "errors", .type = PARAM_INT, .doc = "errors since the last success" },
            { 0 } },
};

static const struct iq_rule rules[] = {
    { TYPE_SET, NS_PUSH, "enable", IQ_TO_SELF, push_enable },
    { TYPE_SET, NS_PUSH, "disable", IQ_TO_SELF, push_disable },
    { 0 },
};

const struct feature push_feature = {
    .name = "push",
    .disco_account = (const char *const[]){ NS_PUSH, NULL },
    .iq = rules,
    .xeps =
        (const struct xep[]){
            { "0357", "0.2", "Push Notifications", "0.1.0", "services/test_push", NULL }, { 0 } },
    .schema = &push_schema,
    .settings = (struct setting *const[]){ &push_enabled, &push_payload, &push_body, &push_away,
                                           &push_when_active, &push_services, &push_max,
                                           &push_errors_max, NULL },
    .commands = (struct command *const[]){ &command_list, &pushtest_command, NULL },
    .metrics = (struct metric *const[]){ &push_sent, &push_errors, &push_dropped, NULL },
    .logs = (struct log_area *const[]){ &log_push, NULL },
    .account.slot = &slot,
    .session.slot = &session_slot,
    .account.load = push_load_account,
    .account.loaded = push_loaded,
    .account.unload = push_unload,
    .account.remove = push_remove_all,
    .account.deleted = push_account_deleted,
    .session.hibernates = hibernating,
    .session.resumed = push_resumed,
    .session.ended = push_ended,
    .session.save = push_save,
    .session.restore = push_restore,
    .account.access_revoked = access_revoked,
    .stage.block = from_service,
    .one.push = &(const struct push_part){ .passed = push_passed, .quiet = quiet_changed },
};
