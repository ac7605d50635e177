/* register: In-Band Registration (XEP-0077): accounts made by clients before they authenticate (off
 * unless register.enabled is on), and password change and deletion of one's own account afterwards.
 *
 * Limit: register.per-address-per-hour new accounts (and attempts at names that exist). */
#include "auth/credentials.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "ext/ext.h"
#include "ext/quota.h"
#include "ext/register_invite.h"
#include "im/account.h"
#include "im/admins.h"
#include "im/feature.h"
#include "im/preauth.h"
#include "im/users.h"
#include "im/worker.h"
#include "xmpp/ns.h"

#define INSTRUCTIONS "<instructions>Choose a user name and a password.</instructions>"

enum { ANSWER_BYTES_MAX = 16384 };

static struct setting register_enabled = {
    .name = "register.enabled",
    .type = SET_BOOL,
    .def = 0,
    .doc =
        "Whether clients may create accounts by themselves (XEP-0077). On, everybody who reaches "
        "a client listener can.",
};
static struct setting register_password_change = {
    .name = "register.password-change",
    .type = SET_BOOL,
    .def = 1,
    .doc = "Whether users may change their password with their client (XEP-0077 §3.3).",
};
static struct setting register_remove = {
    .name = "register.remove",
    .type = SET_BOOL,
    .def = 1,
    .doc = "Whether users may delete their own account with their client (XEP-0077 §3.2).",
};
static struct setting register_password_min = {
    .name = "register.password-min",
    .type = SET_INT,
    .def = 8,
    .min = 1,
    .max = 128,
    .unit = "characters",
    .doc = "The shortest password that a client may choose. musterctl is not bound by it.",
};
static struct setting register_per_address = {
    .name = "register.per-address-per-hour",
    .type = SET_INT,
    .def = 20,
    .min = 1,
    .max = 1000000,
    .allow_none = true,
    .unit = "accounts",
    .doc = "How many accounts may be created from one address (IPv6: one /64) within an hour. "
           "Attempts at names that exist count, too.",
};
static struct setting *const register_settings[] = {
    &register_enabled,     &register_password_change,
    &register_remove,      &register_password_min,
    &register_per_address, &invite_enabled,
    &invite_by_users,      &invite_lifetime,
    &invite_max,           NULL,
};

static struct metric register_created = {
    .name = "muster_register_accounts_total",
    .kind = METRIC_COUNTER,
    .help = "Accounts created by clients",
};
static struct metric *const register_metrics[] = { &register_created, NULL };
static struct log_area log_signup = { .name = "register" };
static struct log_area *const register_logs[] = { &log_signup, NULL };

static struct quota quota = QUOTA_INIT;

/* What is wrong with a request; SE_NONE: nothing. */
struct register_refusal {
    enum stanza_error error;
    slice text;
};
static const struct register_refusal accepted = { SE_NONE, { "", 0 } };

static slice field(const struct elem *query, const char *name, struct arena *tmp)
{
    struct elem e;
    return elem_child(query, name, NS_REGISTER, &e) ? elem_text(&e, tmp) : SLICE("");
}

static int64_t count_characters(slice text)
{
    int64_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += ((uint8_t)text.ptr[i] & 0xc0) != 0x80;
    return n;
}

static struct register_refusal check_password(slice text, struct arena *tmp, slice *out)
{
    int64_t min = setting_int(&register_password_min);
    if (jid_prep_password(text, tmp, out) != OK)
        return (struct register_refusal){
            SE_NOT_ACCEPTABLE, SLICE("the password has characters that are not allowed")
        };
    if (count_characters(*out) >= min)
        return accepted;
    return (struct register_refusal){
        SE_NOT_ACCEPTABLE,
        slice_of(arena_printf(tmp, "the password needs %d characters at least", (int)min)),
    };
}

/* Before authentication. */

struct signup {
    struct arena *arena; /* holds this, too */
    struct worker *worker;
    slice id, domain, address, jid;
    slice token; /* of an invitation (XEP-0445); empty: none */
    slice password;
    slice note; /* of the answer */
    preauth_reply_fn *reply;
    void *arg;
};

/* The stream has no JID yet, so the answer has no `to` (XEP-0077 §3.1). */
static void signup_answer(struct signup *s, enum stanza_type type, slice content)
{
    struct buf xml;
    struct stanza *st = stanza_make(STANZA_IQ, type, s->domain, (slice){ 0 }, s->id, content);
    buf_init(&xml, 2 * ANSWER_BYTES_MAX);
    stanza_store(&xml, st);
    stanza_unref(&st);
    s->reply(s->arg, buf_slice(&xml), s->note);
    buf_fini(&xml);
    struct arena *arena = s->arena;
    arena_destroy(&arena);
}

static void signup_refuse(struct signup *s, struct register_refusal why)
{
    struct buf xml;
    buf_init(&xml, ANSWER_BYTES_MAX);
    stanza_error_write(&xml, why.error, NULL, why.text);
    signup_answer(s, TYPE_ERROR, buf_slice(&xml));
    buf_fini(&xml);
}

static void signup_done(void *arg, enum err e, const struct credentials *c)
{
    struct signup *s = arg;
    (void)c;
    if (e == E_EXISTS) {
        signup_refuse(s, (struct register_refusal){ SE_CONFLICT, SLICE("the user name is taken") });
    } else if (e != OK) {
        signup_refuse(s, (struct register_refusal){ stanza_error_of(e), SLICE("") });
    } else {
        metric_add(&register_created, 1);
        log_info(&log_signup, LOG_EV("register.created"), LOG_S("jid", s->jid),
                 LOG_S("address", s->address));
        users_created(s->worker, s->jid, NULL);
        if (s->token.len > 0)
            invite_welcome(s->worker, s->token, s->jid);
        s->note = SLICE(""); /* it is used */
        signup_answer(s, TYPE_RESULT, (slice){ 0 });
    }
}

static void signup_add(struct store_batch *b, void *arg)
{
    const struct signup *s = arg;
    invite_add_use(b, s->token, s->jid, clock_wall_us());
}

static void signup_create(struct signup *s)
{
    struct credentials_new n = { .jid = s->jid, .password = s->password, .add = signup_add };
    credentials_create_with(&s->worker->auth, &n, signup_done, s);
}

/* The invitation that was shown before: its end is not looked at again (XEP-0445 §4). */
static void signup_invited(void *arg, enum err e, const struct invite *i)
{
    struct signup *s = arg;
    if (e != OK && e != E_NOTFOUND)
        signup_refuse(s, (struct register_refusal){ stanza_error_of(e), SLICE("") });
    else if (e == E_NOTFOUND || i->used)
        signup_refuse(s, (struct register_refusal){ SE_ITEM_NOT_FOUND,
                                                    SLICE("the invitation was used already") });
    else if (i->name.len > 0 && !slice_eq(i->name, jid_split(s->jid).local))
        signup_refuse(s, (struct register_refusal){ SE_NOT_ACCEPTABLE,
                                                    SLICE("the invitation is for another name") });
    else
        signup_create(s);
}

static struct register_refusal signup_start(struct signup *s, const struct elem *query)
{
    struct elem e;
    struct register_refusal why;
    slice local, password;
    slice user = field(query, "username", s->arena), secret = field(query, "password", s->arena);
    if (elem_child(query, "remove", NS_REGISTER, &e)) /* XEP-0077 §3.2, table */
        return (struct register_refusal){ SE_UNEXPECTED_REQUEST, SLICE("log in first") };
    if (user.len == 0 || secret.len == 0)
        return (struct register_refusal){ SE_NOT_ACCEPTABLE,
                                          SLICE("a user name and a password are needed") };
    if (jid_prep_local(user, s->arena, &local) != OK)
        return (struct register_refusal){
            SE_NOT_ACCEPTABLE, SLICE("the user name has characters that are not allowed")
        };
    why = check_password(secret, s->arena, &password);
    if (why.error != SE_NONE)
        return why;
    if (!quota_take(&quota, s->address, setting_int(&register_per_address), clock_mono_us()))
        return (struct register_refusal){
            SE_NOT_ACCEPTABLE, /* §3.1.1 */
            SLICE("too many accounts from your address; try again later")
        };
    s->jid = slice_of(arena_printf(s->arena, "%.*s@%.*s", SLICE_ARG(local), SLICE_ARG(s->domain)));
    s->password = slice_dup(s->arena, password);
    if (admins_has(s->jid)) /* what this name may do is not for who comes first */
        return (struct register_refusal){ SE_CONFLICT, SLICE("the user name is taken") };
    if (s->token.len > 0)
        (void)invite_find(s->worker, s->token, signup_invited, s);
    else
        signup_create(s);
    return accepted;
}

/* An invitation is shown (XEP-0445 §4). */

static void token_found(void *arg, enum err e, const struct invite *i)
{
    struct signup *s = arg;
    if (e != OK && e != E_NOTFOUND) {
        signup_refuse(s, (struct register_refusal){ stanza_error_of(e), SLICE("") });
    } else if (e == E_NOTFOUND || i->used || i->expires_us <= clock_wall_us() ||
               !slice_eq(i->domain, s->domain)) {
        signup_refuse(
            s, (struct register_refusal){ SE_ITEM_NOT_FOUND,
                                          SLICE("The provided token is invalid or expired") });
    } else {
        s->note = slice_dup(s->arena, i->token);
        signup_answer(s, TYPE_RESULT, (slice){ 0 });
    }
}

static struct register_refusal token_shown(struct signup *s, const struct elem *preauth)
{
    if (!setting_bool(&invite_enabled))
        return (struct register_refusal){ SE_SERVICE_UNAVAILABLE, SLICE("") };
    if (!quota_take(&quota, s->address, setting_int(&register_per_address), clock_mono_us()))
        return (struct register_refusal){ SE_NOT_ACCEPTABLE,
                                          SLICE("too many attempts from your address") };
    (void)invite_find(s->worker, elem_attr(preauth, "token", s->arena), token_found, s);
    return accepted;
}

static struct register_refusal register_closed(void)
{
    return setting_bool(&invite_enabled)
               ? (struct register_refusal){ SE_NOT_ALLOWED, SLICE("an invitation is needed") }
               : (struct register_refusal){ SE_SERVICE_UNAVAILABLE, SLICE("") };
}

static void preauth_iq(const struct preauth_request *r, preauth_reply_fn *reply, void *arg)
{
    struct arena *arena = arena_create(0);
    struct signup *s = arena_new(arena, struct signup, 1);
    *s = (struct signup){
        .arena = arena,
        .worker = r->worker,
        .id = slice_dup(arena, stanza_id(r->st)),
        .domain = slice_dup(arena, r->domain),
        .address = slice_dup(arena, r->address),
        .token = slice_dup(arena, r->note),
        .reply = reply,
        .arg = arg,
    };
    struct elem payload;
    struct register_refusal why = accepted;
    bool any = stanza_payload(r->st, &payload);
    if (any && elem_is(&payload, "preauth", NS_PARS) && r->st->type == TYPE_SET)
        why = token_shown(s, &payload);
    else if (!any || !elem_is(&payload, "query", NS_REGISTER))
        why = (struct register_refusal){ SE_NOT_AUTHORIZED, SLICE("log in first") };
    else if (!setting_bool(&register_enabled) && s->token.len == 0)
        why = register_closed();
    else if (r->st->type == TYPE_SET)
        why = signup_start(s, &payload);
    else
        signup_answer(
            s, TYPE_RESULT,
            SLICE("<query xmlns='" NS_REGISTER "'>" INSTRUCTIONS "<username/><password/></query>"));
    if (why.error != SE_NONE)
        signup_refuse(s, why);
}

static bool preauth_feature(struct buf *out, bool secure)
{
    bool invited = secure && setting_bool(&invite_enabled);
    bool offered = secure && (invited || setting_bool(&register_enabled));
    if (invited)
        buf_lit(out, "<register xmlns='" NS_IBR_TOKEN "'/>");
    if (offered)
        buf_lit(out, "<register xmlns='" NS_REGISTER_FEATURE "'/>");
    return offered;
}

static const struct preauth register_preauth = { preauth_feature, preauth_iq };

static void register_start(void) { preauth_hook = &register_preauth; }

/* After authentication. The account is always the sender's own. */

/* Registration is with the sender's own domain; NULL: refused. */
static struct account *own_account(struct iq *iq)
{
    slice domain = iq->sender == NULL ? (slice){ 0 } : jid_split(iq->sender->jid).domain;
    if (iq->sender != NULL && (iq->target == IQ_TO_SELF || slice_eq(stanza_to(iq->st), domain)))
        return iq->sender;
    iq_error(iq, SE_SERVICE_UNAVAILABLE, (slice){ 0 });
    return NULL;
}

static void register_get(struct iq *iq)
{
    const struct account *a = own_account(iq);
    if (a == NULL)
        return;
    struct buf out;
    buf_init(&out, ANSWER_BYTES_MAX);
    buf_lit(&out, "<query xmlns='" NS_REGISTER "'><registered/>" INSTRUCTIONS "<username>");
    xml_escape(&out, jid_split(a->jid).local);
    buf_lit(&out, "</username><password/></query>");
    iq_result(iq, buf_slice(&out));
    buf_fini(&out);
}

static void removed(void *arg, enum err e)
{
    struct iq *iq = arg;
    if (e == OK)
        iq_result(iq, (slice){ 0 });
    else
        iq_error(iq, stanza_error_of(e), (slice){ 0 });
}

static void remove_account(struct iq *iq, struct account *a)
{
    struct elem first, second;
    if (!elem_first(&iq->payload, &first) || elem_next(&first, &second)) {
        iq_error(iq, SE_BAD_REQUEST, SLICE("<remove/> must stand alone")); /* §3.2 */
    } else if (!setting_bool(&register_remove)) {
        iq_error(iq, SE_NOT_ALLOWED, SLICE("accounts are not deleted by clients here"));
    } else {
        log_info(&log_signup, LOG_EV("register.removed"), LOG_S("jid", a->jid));
        account_remove(a, removed, iq_hold(iq));
    }
}

static void changed(void *arg, enum err e, const struct credentials *c)
{
    struct iq *iq = arg;
    struct account *a = iq->sender;
    if (e != OK) {
        iq_error(iq, stanza_error_of(e), (slice){ 0 });
        return;
    }
    /* whoever knew the old password is out; the session that asked stays */
    slice resource = slice_from(stanza_from(iq->st), iq->st->from_bare_len + 1u);
    users_password_changed(a, account_session(a, resource), c->generation);
    log_info(&log_signup, LOG_EV("register.password"), LOG_S("jid", a->jid));
    iq_result(iq, (slice){ 0 });
}

static void change_password(struct iq *iq, struct account *a)
{
    slice local, password;
    slice user = field(&iq->payload, "username", iq->tmp);
    slice secret = field(&iq->payload, "password", iq->tmp);
    if (user.len == 0 || secret.len == 0) { /* §3.3 */
        iq_error(iq, SE_BAD_REQUEST, SLICE("a user name and a password are needed"));
        return;
    }
    if (jid_prep_local(user, iq->tmp, &local) != OK || !slice_eq(local, jid_split(a->jid).local)) {
        iq_error(iq, SE_NOT_ALLOWED, SLICE("the password is changed by its owner only"));
        return;
    }
    if (!setting_bool(&register_password_change)) {
        iq_error(iq, SE_NOT_ALLOWED, SLICE("passwords are not changed by clients here"));
        return;
    }
    struct register_refusal why = check_password(secret, iq->tmp, &password);
    if (why.error != SE_NONE) {
        iq_error(iq, why.error, why.text);
        return;
    }
    struct iq *held = iq_hold(iq);
    credentials_set(&held->worker->auth, a->jid, password, changed, held);
}

static void register_set(struct iq *iq)
{
    struct elem e;
    struct account *a = own_account(iq);
    if (a == NULL)
        return;
    if (elem_child(&iq->payload, "remove", NS_REGISTER, &e))
        remove_account(iq, a);
    else
        change_password(iq, a);
}

static const struct iq_rule register_rules[] = {
    { TYPE_GET, NS_REGISTER, "query", IQ_TO_SERVER | IQ_TO_SELF, register_get },
    { TYPE_SET, NS_REGISTER, "query", IQ_TO_SERVER | IQ_TO_SELF, register_set },
    { 0 },
};

const struct feature register_feature = {
    .name = "register",
    .xeps =
        (const struct xep[]){
            { "0077", "2.4", "In-Band Registration", "0.1.0", "test_services", NULL },
            { "0401", "0.6.0", "Ad-hoc Account Invitation Generation", "0.1.0", "test_invite",
              NULL },
            { "0445", "0.2.0", "Pre-Authenticated In-Band Registration", "0.1.0", "test_invite",
              NULL },
            { 0 },
        },
    .disco = (const char *const[]){ NS_REGISTER, NULL },
    .iq = register_rules,
    .schema = &invite_schema,
    .commands = invite_commands,
    .http = invite_routes,
    .settings = register_settings,
    .metrics = register_metrics,
    .logs = register_logs,
    .start = register_start,
    .worker_start = invite_replay,
    .remove = invite_remove,
};
