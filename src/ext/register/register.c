/* register: In-Band Registration (XEP-0077): accounts made by clients before they authenticate (off
 * unless register.enabled is on), and password change and deletion of one's own account afterwards.
 *
 * Limit: register.per-address-per-hour new accounts (and attempts at names that exist). */
#include "account/account.h"
#include "account/account_life.h"
#include "auth/credentials.h"
#include "auth/throttle.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/setting.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "core/preauth.h"
#include "ext/ext.h"
#include "ext/quota.h"
#include "ext/register/register_invite.h"
#include "ext/register/register_names.h"
#include "home/here.h"
#include "ops/admins.h"
#include "ops/users.h"
#include "remote/foreign.h"
#include "session/session.h"
#include "xmpp/form.h"
#include "xmpp/ns.h"

#define INSTRUCTIONS "<instructions>Choose a user name and a password.</instructions>"

static struct setting register_enabled = {
    .name = "register.enabled",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_BOOL,
    .def = 0,
    .doc = "Whether clients may create accounts (XEP-0077). On: everybody who can reach a client "
           "listener can make one.",
};
static struct setting register_password_change = {
    .name = "register.password-change",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Whether users may change their password with their client (XEP-0077 §3.3).",
};
static struct setting register_remove = {
    .name = "register.remove",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_BOOL,
    .def = 1,
    .doc = "Whether users may delete their own account with their client (XEP-0077 §3.2).",
};
static struct setting register_ask_password = {
    .name = "register.ask-password",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_CHOICE,
    .local = true,
    .choices = (const char *const[]){ "token", "always", "never", NULL },
    .def = 1,
    .doc = "Which clients must give the current password before they change it or delete the "
           "account (XEP-0077 §3.2, §3.3). `always`: all. `token`: those that logged in with a "
           "token (XEP-0484) instead of the password. `never`: none. The client is asked by a "
           "form. So a stolen token (`token`), or a client that was left alone (`always`), is not "
           "enough to take over an account. Clients that do not show this form, as many do not, "
           "are refused: their users ask the operator (`musterctl user password`), or use another "
           "client. With `token` they can log in with the password instead.",
};
static struct setting register_password_min = {
    .name = "register.password-min",
    .scope = SCOPE_DOMAIN,
    .type = PARAM_INT,
    .def = 8,
    .min = 1,
    .max = 128,
    .unit = "characters",
    .doc = "The shortest password that a client may choose. It does not limit musterctl.",
};
static struct setting register_per_address = {
    .name = "register.per-address-per-hour",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_INT,
    .def = 20,
    .min = 1,
    .max = 1000000,
    .allow_none = true,
    .unit = "accounts",
    .doc = "How many accounts may be created from one address (IPv6: one /64) within an hour. "
           "Attempts at names that exist count, too.",
};
static struct setting *const register_settings[] = {
    &register_enabled,
    &register_password_change,
    &register_remove,
    &register_password_min,
    &register_per_address,
    &register_ask_password,
    &register_reserved_names,
    &invite_enabled,
    &invite_by_users,
    &invite_lifetime,
    &invite_max,
    NULL,
};

static struct metric register_created = {
    .name = "muster_register_accounts",
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

static slice register_field(const struct elem *query, const char *name, struct arena *tmp)
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

static struct register_refusal check_password(slice text, slice domain, struct arena *tmp,
                                              slice *out)
{
    int64_t min = setting_int_of(&register_password_min, domain);
    if (jid_prep_password(text, tmp, out) != OK)
        return (struct register_refusal){ SE_NOT_ACCEPTABLE,
                                          slice_of(arena_printf(tmp, "the password %s",
                                                                jid_password_problem(text, tmp))) };
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
    ensure(worker_is_here(s->worker) && s->reply != NULL);
    buf_init(&xml, XML_STANZA_MAX);
    stanza_store(&xml, st);
    stanza_unref(&st);
    s->reply(s->arg, buf_fit(&xml), s->note);
    buf_fini(&xml);
    struct arena *arena = s->arena;
    arena_destroy(&arena);
}

static void signup_refuse(struct signup *s, struct register_refusal why)
{
    struct buf xml;
    struct xml_write x;
    xml_begin(&x, &xml, XML_PART_MAX);
    stanza_error_write(&x, why.error, NULL, why.text);
    signup_answer(s, TYPE_ERROR, buf_fit(&xml));
    buf_fini(&xml);
}

static void signup_done(void *arg, enum err e, const struct credentials *c)
{
    struct signup *s = arg;
    (void)c;
    ensure(worker_is_here(s->worker));
    if (e == E_EXISTS) {
        signup_refuse(s, (struct register_refusal){ SE_CONFLICT, SLICE("the user name is taken") });
    } else if (e != OK) {
        signup_refuse(s, (struct register_refusal){ stanza_error_of(e), SLICE("") });
    } else {
        metric_add(&register_created, 1);
        log_info(&log_signup, LOG_EV("register.created"), LOG_S("jid", s->jid),
                 LOG_S("address", s->address));
        account_created(s->worker, s->jid, false);
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
    struct credentials_new n = {
        .jid = s->jid, .password = s->password, .add = signup_add, .unlike = true
    };
    credentials_create_with(worker_auth(s->worker), &n, signup_done, s);
}

static const struct register_refusal reserved = {
    SE_CONFLICT, SLICE_INIT("the user name is reserved; choose another")
};

static bool register_is_reserved(const struct signup *s)
{
    return register_name_reserved(jid_split(s->jid).local, s->domain, s->arena);
}

/* Other servers know somebody else by it. */
static bool register_is_known(const struct signup *s)
{
    return foreign_known_by(s->jid, s->arena).ptr != NULL;
}

/* The invitation that was shown before: its end is not looked at again (XEP-0445 §4). */
static void signup_invited(void *arg, enum err e, const struct invite *i)
{
    struct signup *s = arg;
    ensure(worker_is_here(s->worker));
    if (e != OK && e != E_NOTFOUND)
        signup_refuse(s, (struct register_refusal){ stanza_error_of(e), SLICE("") });
    else if (e == E_NOTFOUND || i->used)
        signup_refuse(s, (struct register_refusal){ SE_ITEM_NOT_FOUND,
                                                    SLICE("the invitation was used already") });
    else if (!slice_eq(i->domain, s->domain)) /* STARTTLS came in between, and another `to` */
        signup_refuse(s,
                      (struct register_refusal){ SE_NOT_ACCEPTABLE, SLICE("the invitation is for "
                                                                          "another domain") });
    else if (i->name.len == 0 && register_is_reserved(s))
        signup_refuse(s, reserved);
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
    slice user = register_field(query, "username", s->arena),
          secret = register_field(query, "password", s->arena);
    if (elem_child(query, "remove", NS_REGISTER, &e)) /* XEP-0077 §3.2, table */
        return (struct register_refusal){ SE_UNEXPECTED_REQUEST, SLICE("log in first") };
    if (user.len == 0 || secret.len == 0)
        return (struct register_refusal){ SE_NOT_ACCEPTABLE,
                                          SLICE("a user name and a password are needed") };
    if (jid_prep_local(user, s->arena, &local) != OK)
        return (struct register_refusal){
            SE_NOT_ACCEPTABLE, SLICE("the user name has characters that are not allowed")
        };
    why = check_password(secret, s->domain, s->arena, &password);
    if (why.error != SE_NONE)
        return why;
    if (!quota_take(&quota, s->address, setting_int(&register_per_address), clock_mono_us()))
        return (struct register_refusal){
            SE_NOT_ACCEPTABLE, /* §3.1.1 */
            SLICE("too many accounts from your address; try again later")
        };
    s->jid = slice_of(arena_printf(s->arena, "%.*s@%.*s", SLICE_ARG(local), SLICE_ARG(s->domain)));
    s->password = slice_dup(s->arena, password);
    if (admins_has(s->jid) || /* what this name may do is not for who comes first */
        register_is_known(s))
        return (struct register_refusal){ SE_CONFLICT, SLICE("the user name is taken") };
    if (s->token.len > 0) /* which may be for a name that is not for everybody */
        (void)invite_find(s->worker, s->token, signup_invited, s);
    else if (register_is_reserved(s))
        return reserved;
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
    if (!setting_bool_of(&invite_enabled, s->domain))
        return (struct register_refusal){ SE_SERVICE_UNAVAILABLE, SLICE("") };
    if (!quota_take(&quota, s->address, setting_int(&register_per_address), clock_mono_us()))
        return (struct register_refusal){ SE_NOT_ACCEPTABLE,
                                          SLICE("too many attempts from your address") };
    (void)invite_find(s->worker, elem_attr(preauth, "token", s->arena), token_found, s);
    return accepted;
}

static struct register_refusal register_closed(slice domain)
{
    return setting_bool_of(&invite_enabled, domain)
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
    else if (!setting_bool_of(&register_enabled, s->domain) && s->token.len == 0)
        why = register_closed(s->domain);
    else if (r->st->type == TYPE_SET)
        why = signup_start(s, &payload);
    else
        signup_answer(
            s, TYPE_RESULT,
            SLICE("<query xmlns='" NS_REGISTER "'>" INSTRUCTIONS "<username/><password/></query>"));
    if (why.error != SE_NONE)
        signup_refuse(s, why);
}

static bool preauth_feature(struct buf *out, slice domain, bool secure)
{
    bool invited = secure && setting_bool_of(&invite_enabled, domain);
    bool offered = secure && (invited || setting_bool_of(&register_enabled, domain));
    if (invited)
        buf_lit(out, "<register xmlns='" NS_IBR_TOKEN "'/>");
    if (offered)
        buf_lit(out, "<register xmlns='" NS_REGISTER_FEATURE "'/>");
    return offered;
}

static const struct preauth register_preauth = { preauth_feature, preauth_iq };

/* After authentication. The account is always the sender's own. */

static slice domain_of(const struct iq *iq) { return jid_split(iq->sender->jid).domain; }

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
    struct xml_write x;
    xml_begin(&x, &out, XML_PART_MAX);
    xml_open(&x, "query", NS_REGISTER);
    xml_raw(&x, SLICE("<registered/>" INSTRUCTIONS));
    xml_element(&x, "username", jid_split(a->jid).local);
    xml_empty(&x, "password", NULL);
    iq_result_xml(iq, &x);
}

/* Whoever changes the password or removes the account may have to say the current password: a token
 * or a client left alone is not the owner (XEP-0077 §3.2, §3.3). */

#define FORM_CHANGE "jabber:iq:register:changepassword"
#define FORM_CANCEL "jabber:iq:register:cancel"

/* What a user asks for; `old` is the current password, empty: not said. */
struct demand {
    struct iq *iq; /* held, while the password is checked */
    slice user, old, password;
    bool remove;
};

enum { ASK_TOKEN, ASK_ALWAYS, ASK_NEVER };

static void ask_for_password(struct iq *iq, bool remove)
{
    static const struct form_row user = {
        .var = "username", .type = FORM_TEXT_SINGLE, .label = "User name", .required = true
    };
    static const struct form_row rows[] = {
        { .var = "old_password", .label = "Current password" },
        { .var = "password", .label = "New password" },
        { .var = "password", .label = "Password" },
    };
    struct buf out;
    struct xml_write x;
    xml_begin(&x, &out, XML_PART_MAX);
    xml_open(&x, "query", NS_REGISTER);
    form_open_titled(&x, FORM_FORM, remove ? FORM_CANCEL : FORM_CHANGE,
                     remove ? "Delete the account" : "Change the password", NULL);
    form_ask_value(&x, &user, jid_split(iq->sender->jid).local);
    for (unsigned i = remove ? 2 : 0; i < (remove ? 3 : 2); i++) {
        struct form_row row = rows[i];
        row.type = FORM_TEXT_PRIVATE;
        row.required = true;
        form_ask(&x, &row);
    }
    form_close(&x);
    xml_close(&x);
    iq_error_form(iq, SE_NOT_AUTHORIZED,
                  setting_int_of(&register_ask_password, domain_of(iq)) == ASK_TOKEN
                      ? SLICE("the current password is needed: fill in the form, or log in with "
                              "the password")
                      : SLICE("the current password is needed: fill in the form, or ask the "
                              "operator of the server"),
                  buf_fit(&out));
    buf_fini(&out);
}

/* Reads a form, or, for a change, the elements that are older than forms. */
static bool demand_read(struct iq *iq, struct demand *d)
{
    struct form f;
    if (!form_parse_child(&f, &iq->payload, iq->tmp)) {
        if (f.error != SE_NONE) {
            iq_error(iq, f.error, f.text);
            return false;
        }
        d->user = register_field(&iq->payload, "username", iq->tmp);
        d->password = register_field(&iq->payload, "password", iq->tmp);
        return true;
    }
    d->remove = slice_is(f.form_type, FORM_CANCEL);
    bool read = form_expect(&f, d->remove ? FORM_CANCEL : FORM_CHANGE) &&
                form_text(&f, "username", &d->user) &&
                form_text(&f, d->remove ? "password" : "old_password", &d->old) &&
                (d->remove || form_text(&f, "password", &d->password));
    if (!read)
        iq_error(iq, f.error != SE_NONE ? f.error : SE_BAD_REQUEST,
                 f.error != SE_NONE ? f.text : SLICE("a field of the form is empty"));
    return read;
}

static bool must_say_password(const struct iq *iq)
{
    int64_t ask = setting_int_of(&register_ask_password, domain_of(iq));
    return ask == ASK_ALWAYS || (ask == ASK_TOKEN && !iq_by_password(iq));
}

static bool is_own_name(const struct account *a, slice user, struct arena *tmp)
{
    slice local;
    if (slice_eq(user, a->jid))
        return true;
    return jid_prep_local(user, tmp, &local) == OK && slice_eq(local, jid_split(a->jid).local);
}

static void register_removed(void *arg, enum err e)
{
    struct iq *iq = arg;
    ensure(iq->held);
    if (e == OK)
        iq_result(iq, (slice){ 0 });
    else
        iq_error(iq, stanza_error_of(e), (slice){ 0 });
}

static void register_changed(void *arg, enum err e, const struct credentials *c)
{
    struct iq *iq = arg;
    struct account *a = iq->sender;
    ensure(iq->held && account_is_pinned(a));
    if (e != OK) {
        iq_error(iq, stanza_error_of(e), (slice){ 0 });
        return;
    }
    /* sessions with the old password end, except the one that changed it */
    slice resource = slice_from(stanza_from(iq->st), iq->st->from_bare_len + 1u);
    account_password_changed(a, account_session(a, resource), c->generation);
    log_info(&log_signup, LOG_EV("register.password"), LOG_S("jid", a->jid));
    iq_result(iq, (slice){ 0 });
}

static void demand_do(struct demand *d)
{
    struct account *a = d->iq->sender;
    ensure(d->iq->held);
    if (d->remove) {
        log_info(&log_signup, LOG_EV("register.removed"), LOG_S("jid", a->jid));
        account_remove(a, REMOVING_DELETES, register_removed, NULL, d->iq);
    } else {
        credentials_set(worker_auth(d->iq->worker), a->jid, d->password, register_changed, d->iq);
    }
}

static void password_checked(void *arg, enum err e, const struct credentials *c)
{
    struct demand *d = arg;
    (void)c;
    ensure(d->iq->held);
    if (e == OK) {
        demand_do(d);
        return;
    }
    log_warn(&log_signup, LOG_EV("register.refused"), LOG_S("jid", d->iq->sender->jid),
             LOG_C("why", e == E_AUTH ? "the current password is wrong" : err_text(e)));
    if (e == E_AUTH)
        iq_error(d->iq, SE_NOT_AUTHORIZED, SLICE("the current password is wrong"));
    else if (e == E_DENIED)
        iq_error(d->iq, SE_RESOURCE_CONSTRAINT, SLICE("too many wrong passwords; try later"));
    else
        iq_error(d->iq, stanza_error_of(e), (slice){ 0 });
}

/* The answer comes later; wrong passwords are throttled by account. */
static void demand_begin(struct iq *iq, const struct demand *part)
{
    static const struct sockaddr nowhere = { .sa_family = AF_UNSPEC };
    struct iq *held = iq_hold(iq);
    struct demand *d = arena_new(held->tmp, struct demand, 1);
    struct throttle_try try;
    *d = *part;
    d->iq = held;
    d->password = slice_dup(held->tmp, part->password);
    if (part->old.len == 0) {
        demand_do(d);
        return;
    }
    throttle_try_init(&try, &nowhere, held->sender->jid, NULL);
    credentials_verify(worker_auth(held->worker),
                       &(struct credentials_check){ held->sender->jid, part->old, &try },
                       password_checked, d);
}

static void remove_account(struct iq *iq)
{
    struct elem first, second;
    if (!elem_first(&iq->payload, &first) || elem_next(&first, &second))
        iq_error(iq, SE_BAD_REQUEST, SLICE("<remove/> must stand alone")); /* §3.2 */
    else if (!setting_bool_of(&register_remove, domain_of(iq)))
        iq_error(iq, SE_NOT_ALLOWED, SLICE("accounts are not deleted by clients here"));
    else if (must_say_password(iq))
        ask_for_password(iq, true);
    else
        demand_begin(iq, &(struct demand){ .remove = true });
}

static void remove_by_form(struct iq *iq, struct demand *d)
{
    slice old;
    if (!is_own_name(iq->sender, d->user, iq->tmp)) {
        iq_error(iq, SE_NOT_ALLOWED, SLICE("an account is deleted by its owner only"));
    } else if (!setting_bool_of(&register_remove, domain_of(iq))) {
        iq_error(iq, SE_NOT_ALLOWED, SLICE("accounts are not deleted by clients here"));
    } else if (jid_prep_password_given(d->old, iq->tmp, &old) != OK) {
        iq_error(iq, SE_NOT_AUTHORIZED, SLICE("the current password is wrong"));
    } else {
        d->old = old;
        demand_begin(iq, d);
    }
}

static void change_password(struct iq *iq, struct demand *d)
{
    slice old = d->old;
    if (d->user.len == 0 || d->password.len == 0) { /* §3.3 */
        iq_error(iq, SE_BAD_REQUEST, SLICE("a user name and a password are needed"));
        return;
    }
    if (!is_own_name(iq->sender, d->user, iq->tmp)) {
        iq_error(iq, SE_NOT_ALLOWED, SLICE("the password is changed by its owner only"));
        return;
    }
    if (!setting_bool_of(&register_password_change, domain_of(iq))) {
        iq_error(iq, SE_NOT_ALLOWED, SLICE("passwords are not changed by clients here"));
        return;
    }
    struct register_refusal why = check_password(d->password, domain_of(iq), iq->tmp, &d->password);
    if (why.error != SE_NONE)
        iq_error(iq, why.error, why.text);
    else if (old.len == 0 && must_say_password(iq))
        ask_for_password(iq, false);
    else if (old.len > 0 && jid_prep_password_given(old, iq->tmp, &d->old) != OK)
        iq_error(iq, SE_NOT_AUTHORIZED, SLICE("the current password is wrong"));
    else
        demand_begin(iq, d);
}

static void register_set(struct iq *iq)
{
    struct elem e;
    struct demand d = { 0 };
    if (own_account(iq) == NULL)
        return;
    if (elem_child(&iq->payload, "remove", NS_REGISTER, &e))
        remove_account(iq);
    else if (!demand_read(iq, &d))
        return;
    else if (d.remove)
        remove_by_form(iq, &d);
    else
        change_password(iq, &d);
}

static const struct iq_rule register_rules[] = {
    { TYPE_GET, NS_REGISTER, "query", IQ_TO_SERVER | IQ_TO_SELF, register_get },
    { TYPE_SET, NS_REGISTER, "query", IQ_TO_SERVER | IQ_TO_SELF, register_set },
    { 0 },
};

/* Few invitations wait, and a step that is done is not done again: all are looked at. */
static void register_account_enabled(struct worker *w, slice bare)
{
    (void)bare;
    invite_replay(w);
}

const struct feature register_feature = {
    .name = "register",
    .xeps =
        (const struct xep[]){
            { "0077", "2.4", "In-Band Registration", "0.1.0", "services/test_services", NULL },
            { "0401", "0.6.0", "Ad-hoc Account Invitation Generation", "0.1.0",
              "services/test_invite", NULL },
            { "0445", "0.2.0", "Pre-Authenticated In-Band Registration", "0.1.0",
              "services/test_invite", NULL },
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
    .one.preauth = &register_preauth,
    .worker.start = invite_replay,
    .account.enabled = register_account_enabled,
    .account.remove = invite_remove,
    .messages = (const struct message_row *const[]){ &invite_welcome_message, NULL },
};
