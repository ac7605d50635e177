#include "component/privilege.h"
#include "account/account.h"
#include "account/guest.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "component/component_watch.h"
#include "core/feature.h"
#include "core/stage.h"
#include "home/ask.h"
#include "home/here.h"
#include "home/router.h"
#include "talk/message_out.h"
#include "xmpp/ns.h"

enum { PRIVILEGE_MS = 60000 };

struct privileged {
    struct stanza *st, *inner; /* inner NULL: it is `st` itself */
};

static void privileged_free(struct privileged *p)
{
    stanza_unref(&p->st);
    stanza_unref(&p->inner);
    mem_free(&p);
}

static void privileged_drop(void *arg) { privileged_free(arg); }

/* XEP-0356 §6.4: the answer as the user would get it, inside the one that the component gets. */
static void privilege_wrap(struct buf *out, const struct privileged *p, const struct stanza *reply)
{
    struct xml_write x;
    struct stanza *inner =
        stanza_change(reply, &(struct stanza_change){ .id = stanza_id(p->inner) });
    xml_begin(&x, out, XML_STANZA_MAX);
    xml_open(&x, "privilege", NS_PRIVILEGE);
    xml_open(&x, "forwarded", NS_FORWARD);
    stanza_forward(xml_content(&x), inner, NULL);
    xml_close_all(&x);
    stanza_unref(&inner);
}

static void privilege_answered(struct worker *w, void *arg, const struct stanza *reply)
{
    struct privileged *p = arg;
    const struct stanza *st = p->st;
    struct buf out = { 0 };
    if (reply == NULL) {
        route_error(w, st, SE_REMOTE_SERVER_TIMEOUT, SLICE("there was no answer"));
    } else if (p->inner == NULL) {
        route_send(w, stanza_change(reply, &(struct stanza_change){ .from = stanza_to(st),
                                                                    .to = stanza_from(st),
                                                                    .id = stanza_id(st) }));
    } else {
        privilege_wrap(&out, p, reply);
        struct stanza *answer = stanza_make_buf(STANZA_IQ, TYPE_RESULT, stanza_to(st),
                                                stanza_from(st), stanza_id(st), &out);
        if (answer == NULL)
            route_error(w, st, SE_RESOURCE_CONSTRAINT, SLICE("the answer is too long to be sent"));
        route_send(w, answer);
    }
    privileged_free(p);
}

static void privilege_ask(struct account *a, struct privileged *p)
{
    const struct stanza *st = p->inner != NULL ? p->inner : p->st;
    struct elem payload;
    struct buf xml;
    ensure(account_here(a) && account_stays(a));
    buf_init(&xml, XML_STANZA_MAX);
    if (stanza_payload(st, &payload))
        elem_extract(&payload, &xml);
    const struct ask_request ask = { .type = (enum stanza_type)st->type,
                                     .from = a->jid,
                                     .to = st->to_len > 0 ? stanza_to(st) : a->jid,
                                     .payload = buf_fit(&xml),
                                     .timeout_ms = PRIVILEGE_MS,
                                     .drop = privileged_drop };
    if (xml.overflow || ask_send(a->worker, &ask, privilege_answered, p) == NULL) {
        route_error(a->worker, p->st, SE_RESOURCE_CONSTRAINT, SLICE("too many requests wait"));
        privileged_free(p);
    }
    buf_fini(&xml);
}

static void privilege_account(struct account *a, enum err e, void *arg)
{
    struct privileged *p = arg;
    struct stanza *inner = p->inner;
    struct worker *w = worker_here();
    ensure(w != NULL && (inner != NULL || p->st->kind == STANZA_IQ));
    if (e != OK) {
        route_error(w, p->st, SE_RESOURCE_CONSTRAINT, SLICE("the account cannot be read now"));
    } else if (!account_stays(a) || account_is_guest(a)) {
        route_error(w, p->st, SE_FORBIDDEN, SLICE("there is no such user"));
    } else if (inner != NULL && inner->to_len > 0 && !stage_sends(a, inner)) {
        route_error(w, p->st, SE_NOT_ACCEPTABLE,
                    SLICE("the user has blocked the addressee, or may not write to it"));
    } else if (p->st->kind == STANZA_IQ) {
        privilege_ask(a, p);
        return;
    } else {
        p->inner = NULL;
        message_in_name(a, inner);
    }
    privileged_free(p);
}

static slice privileged_user(const struct privileged *p)
{
    return p->inner != NULL ? stanza_from_bare(p->inner) : stanza_to_bare(p->st);
}

static unsigned privileged_slot(const void *message) { return node_slot(privileged_user(message)); }

static void privileged_unplaced(struct worker *w, void *message)
{
    const struct privileged *p = message;
    route_error(w, p->st, SE_RESOURCE_CONSTRAINT, SLICE("the home of the account is moving"));
}

static void privileged_run(struct worker *w, void *message, const struct message_from *from)
{
    struct privileged *sent = message, *p = mem_new(struct privileged);
    (void)from;
    *p = *sent;
    *sent = (struct privileged){ NULL, NULL };
    account_with(w, privileged_user(p), privilege_account, p);
}

static bool privileged_is_sound(struct worker *w, const void *message,
                                const struct message_from *from)
{
    const struct privileged *p = message;
    const struct stanza *st = p->inner != NULL ? p->inner : p->st;
    (void)w, (void)from;
    bool request = stanza_is_request(st);
    return p->st->from_len > 0 && p->st->to_len > 0 && st->kind == p->st->kind &&
           (st->kind == STANZA_IQ ? request : p->inner != NULL && st->kind == STANZA_MESSAGE) &&
           st->from_len > 0 && (st->to_len > 0 || st->kind == STANZA_IQ);
}

static const struct message_field privileged_fields[] = {
    F_STANZA(struct privileged, st),
    F_STANZA_OR_NONE(struct privileged, inner),
    { 0 },
};
static const struct message_row privileged_message = {
    .id = 37,
    .scope = MESSAGE_CLUSTER,
    .name = "privileged",
    .size = sizeof(struct privileged),
    .fields = privileged_fields,
    .run = privileged_run,
    .sound = privileged_is_sound,
    .slot = privileged_slot,
    .unplaced = privileged_unplaced,
};

void privilege_send(struct worker *w, struct stanza *st, struct stanza *inner)
{
    struct privileged p = { st, inner };
    slice user = privileged_user(&p);
    ensure(user.len > 0 && st->from_len > 0);
    home_send(w, user, &privileged_message, &p);
}

const struct feature privilege_feature = {
    .name = "privilege",
    .parts = PART_MESSAGE | PART_REQUEST,
    .xeps = (const struct xep[]){ { "0356", "0.4.1", "Privileged Entity", "0.1.0",
                                    "services/test_privilege",
                                    "the same presence may come several times; when a component "
                                    "connects, contacts of users without a client are not asked" },
                                  { 0 } },
    .session.presence = component_watch_presence,
    .worker.slot = &component_watch_slot,
    .worker.ended = component_watch_forget,
    .messages = (const struct message_row *const[]){ &privileged_message,
                                                     &component_watches_message, NULL },
};
