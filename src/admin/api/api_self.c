/* The commands `admin password`, `admin totp` and `admin totp-confirm` do the work, with the name
 * of the session as argument; so they have their checks, their words and their entries in the audit
 * log. The password before it counts as a login: its failures lock the name.
 *
 * Limits: those of api_session.c. */
#include "admin/api/api_self.h"
#include "admin/api/api_private.h"
#include "admin/api/api_session.h"
#include "admin/control_json.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "core/feature.h"
#include "home/here.h"
#include "io/address.h"
#include "ops/audit_command.h"

enum { BODY_MAX = 16 << 10, ANSWER_BYTES_MAX = 4 << 10 };

const struct command api_self_password_row = {
    .name = "session password",
    .effect = COMMAND_CHANGES,
    .area = "console",
    .args = (const struct command_arg[]){ { .name = "password",
                                            .kind = ARG_SECRET,
                                            .type = PARAM_SECRET,
                                            .max = 1024,
                                            .doc = "the password of now" },
                                          { .name = "new",
                                            .kind = ARG_SECRET,
                                            .type = PARAM_SECRET,
                                            .max = 1024,
                                            .doc = "the new password" },
                                          { 0 } },
    .doc =
        "Changes the password of the administrator who asks. Their sessions end; the answer has a "
        "new one. The password of an account is changed with an XMPP client.",
};
const struct command api_self_totp_row = {
    .name = "session totp",
    .effect = COMMAND_CHANGES,
    .area = "console",
    .args = (const struct command_arg[]){ { 0 } },
    .doc = "Makes the secret of a second factor for who asks. It is not asked for before it was "
           "confirmed with a code.",
};
const struct command api_self_totp_confirm_row = {
    .name = "session totp-confirm",
    .effect = COMMAND_CHANGES,
    .area = "console",
    .args = (const struct command_arg[]){ { .name = "code",
                                            .kind = ARG_SECRET,
                                            .type = PARAM_SECRET,
                                            .max = 64,
                                            .doc = "the code that the app shows" },
                                          { 0 } },
    .doc = "Turns the second factor on with a first code. The answer has ten recovery codes, and a "
           "new session.",
};

struct self_job {
    struct http_request *r; /* NULL: its client has gone */
    struct arena *arena;
    struct worker *worker;
    struct command_call asked; /* of the row; its arguments */
    struct command_call act;   /* the command that does it */
    struct command_return ended;
    struct login login;
    union address peer;
    struct console_view view; /* of the session, its name in the arena */
    slice secret;             /* of the session */
};

static void self_free(struct self_job *j)
{
    struct arena *arena = j->arena;
    mem_wipe(j, sizeof *j);
    arena_destroy(&arena); /* the job is in it */
    api_jobs--;
}

static void self_problem(struct self_job *j, unsigned status, enum err e, const char *code,
                         const char *text)
{
    if (j->r != NULL)
        api_problem(j->r, &(struct api_problem){ .status = status,
                                                 .detail = slice_of(text),
                                                 .error = err_name(e),
                                                 .code = code });
}

/* With a new session, whose owner has perhaps more to do. */
static void answer_reopened(struct self_job *j)
{
    struct principal who = { 0 };
    int64_t generation;
    char secret[CONSOLE_SECRET_TEXT + 1];
    slice name = j->view.name;
    if (j->r == NULL)
        return;
    struct console_age age = console_age(name);
    bool may = console_role(name, j->arena, &who, &generation);
    struct console_login login = { .name = name,
                                   .host = j->r->host,
                                   .from = j->r->peer,
                                   .age = age,
                                   .must = may ? login_must(name, who.role) : 0 };
    struct api_session_answer a = { .status = 200, .codes = j->act.rows, .arena = j->arena };
    if (!may || !api_session_open(&login, j->secret, j->arena, &who, secret) ||
        !api_session_opened(j->r, secret, &a))
        self_problem(j, 401, E_AUTH, "session-ended", "this session has ended; log in again");
    mem_wipe(secret, sizeof secret);
}

static void answer_factor(struct self_job *j)
{
    struct buf out;
    if (j->r == NULL)
        return;
    buf_init(&out, ANSWER_BYTES_MAX);
    buf_lit(&out, "{\"secret\":");
    control_text(&out, command_row_text(j->act.rows, "secret"));
    buf_lit(&out, ",\"uri\":");
    control_text(&out, command_row_text(j->act.rows, "uri"));
    buf_lit(&out, "}\n");
    http_answer(j->r, &(struct http_answer){
                          .status = 200, .type = "application/json", .body = buf_fit(&out) });
    buf_fini(&out);
}

static void act_audited(struct worker *w, void *arg)
{
    struct self_job *j = arg;
    (void)w;
    if (j->act.err != OK) {
        if (j->r != NULL)
            api_problem(j->r, &(struct api_problem){ .status = api_status(j->act.err),
                                                     .detail = j->act.text,
                                                     .error = err_name(j->act.err) });
    } else if (j->asked.command == &api_self_totp_row) {
        answer_factor(j);
    } else {
        answer_reopened(j);
    }
    arena_destroy(&j->act.arena);
    self_free(j);
}

static void act_ended(struct command_return *r)
{
    struct self_job *j = CONTAINER_OF(r, struct self_job, ended);
    audit_command_then(&j->act, act_audited, j);
}

static void act_finished(struct command_call *call, void *arg)
{
    struct self_job *j = arg;
    (void)call;
    command_return(&j->ended, j->worker, act_ended);
}

/* `name` is the own name, so no permission is asked for. */
static void act_run(struct self_job *j, const char *command, const char *argument, slice value)
{
    struct why why;
    slice names[] = { SLICE("name"), slice_of(argument) }, values[] = { j->view.name, value };
    j->act = (struct command_call){ .command = command_find(slice_of(command)),
                                    .arena = arena_create(0),
                                    .worker = j->worker,
                                    .who = j->asked.who,
                                    .finished = act_finished,
                                    .arg = j };
    j->act.who.grants = SLICE("*");
    j->act.who.itself = true;
    enum err e = command_bind(&j->act, names, values, *argument == '\0' ? 1 : 2, &why);
    if (e == OK) {
        command_run(&j->act);
        return;
    }
    self_problem(j, 422, e, NULL, why.text);
    arena_destroy(&j->act.arena);
    self_free(j);
}

static void self_finished(struct command_call *call, void *arg) { (void)call, (void)arg; }

static void password_refused(struct worker *w, void *arg)
{
    struct self_job *j = arg;
    (void)w;
    if (j->r != NULL)
        api_login_problem(j->r, j->login.result);
    self_free(j);
}

static void password_compared(struct login *l)
{
    struct self_job *j = CONTAINER_OF(l, struct self_job, login);
    if (l->result == LOGIN_OK) {
        act_run(j, "admin password", "password", command_arg(&j->asked, "new"));
        return;
    }
    command_fail(&j->asked, l->result == LOGIN_LOCKED ? E_DENIED : E_AUTH, "%s", "");
    if (l->result == LOGIN_REFUSED)
        password_refused(j->worker, j);
    else
        audit_attempt_then(&j->asked, password_refused, j);
}

static void self_password(struct self_job *j)
{
    if (memchr(j->view.name.ptr, '@', j->view.name.len) != NULL) {
        self_problem(j, 409, E_UNSUPPORTED, NULL,
                     "this is the password of an account: change it with an XMPP client, or let "
                     "another administrator run `user password`");
        self_free(j);
        return;
    }
    if (command_arg(&j->asked, "new").len == 0) {
        api_problem(j->r, &(struct api_problem){ .status = 422,
                                                 .detail = SLICE("new: is missing"),
                                                 .error = err_name(E_SYNTAX),
                                                 .argument = "new" });
        self_free(j);
        return;
    }
    j->login = (struct login){ .worker = j->worker,
                               .arena = j->arena,
                               .name = j->view.name,
                               .password = command_arg(&j->asked, "password"),
                               .password_only = true,
                               .peer = &j->peer.any,
                               .done = password_compared };
    login_begin(&j->login);
}

/* A browser that was left alone makes no second factor, which would lock its user out. */
static bool is_proven(struct self_job *j)
{
    if (j->view.must != 0 || console_spend(j->secret))
        return true;
    self_problem(j, 403, E_AUTH, "confirm-password",
                 "this needs the password again: POST /api/v1/session/confirm");
    self_free(j);
    return false;
}

static bool bind_asked(struct self_job *j)
{
    struct why why;
    if (!api_is_json(http_header(j->r, "Content-Type"))) {
        self_problem(j, 415, E_SYNTAX, NULL, "found a body that is not application/json");
        return false;
    }
    enum err e = control_bind(slice_dup(j->arena, j->r->body), NULL, NULL, 0, &j->asked, &why);
    if (e == OK)
        return true;
    api_problem(j->r, &(struct api_problem){ .status = e == E_PROTO ? 400 : 422,
                                             .detail = slice_of(why.text),
                                             .error = err_name(e == E_PROTO ? E_SYNTAX : e),
                                             .argument = j->asked.culprit });
    return false;
}

static void self_run(struct http_request *r, const struct command *row, const struct principal *who,
                     const struct console_view *v)
{
    struct arena *arena = arena_create(0);
    struct self_job *j = arena_new(arena, struct self_job, 1);
    api_jobs++;
    *j = (struct self_job){ .r = r, .arena = arena, .worker = worker_here(), .view = *v };
    j->view.name = slice_dup(arena, v->name);
    j->secret = slice_dup(arena, api_session_secret(r));
    j->asked = (struct command_call){ .command = row,
                                      .arena = arena,
                                      .worker = j->worker,
                                      .who = principal_dup(who, arena),
                                      .finished = self_finished };
    if (!bind_asked(j)) {
        self_free(j);
        return;
    }
    r->data = j;
    api_session_peer(r, &j->peer);
    if (row == &api_self_password_row)
        self_password(j);
    else if (!is_proven(j))
        return;
    else if (row == &api_self_totp_row)
        act_run(j, "admin totp", "", (slice){ 0 });
    else
        act_run(j, "admin totp-confirm", "code", command_arg(&j->asked, "code"));
}

static void self_gone(struct http_request *r)
{
    struct self_job *j = r->data;
    if (j != NULL)
        j->r = NULL; /* what was begun goes on, and is audited */
}

static void self_handle(struct http_request *r)
{
    struct principal who;
    struct console_view v;
    r->data = NULL;
    if (!api_session_is(r)) {
        if (api_admit(r, &who))
            api_problem(r, &(struct api_problem){
                               .status = 409,
                               .detail = SLICE("an access token has neither a password nor a "
                                               "second factor; log in with POST /api/v1/session"),
                               .error = err_name(E_UNSUPPORTED) });
        return;
    }
    if (!api_guard(r) || !api_session_view(r, &who, &v) || !api_without_etag(r))
        return;
    self_run(r,
             slice_is(r->path, "/api/v1/session/password") ? &api_self_password_row
             : slice_is(r->path, "/api/v1/session/totp")   ? &api_self_totp_row
                                                           : &api_self_totp_confirm_row,
             &who, &v);
}

#define ROUTE                                                                                      \
    .group = "admin", .flags = HTTP_OWN_LISTENER | HTTP_PROBLEMS | HTTP_WHEN_CROWDED,              \
    .methods = HTTP_M_POST, .body_max = BODY_MAX, .handle = self_handle, .gone = self_gone
static const struct http_route routes[] = {
    { .path = "/api/v1/session/password", ROUTE },
    { .path = "/api/v1/session/totp", ROUTE },
    { .path = "/api/v1/session/totp/confirm", ROUTE },
    { 0 },
};

const struct feature api_self_feature = {
    .name = "api_self",
    .http = routes,
};
