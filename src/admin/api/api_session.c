/* api_session: sessions of the console: login with a password, a cookie (RFC 6265), and a token
 * against forged requests (CSRF), which is not in the cookie. The cookie is __Host- (RFC 6265bis
 * §4.1.3.2): only for this host, only over TLS, for no script and no other site. Each login has a
 * new secret, and ends the session that the browser had.
 *
 * The bodies are arguments of rows that are no commands: so they are read, checked, documented and
 * audited like those.
 *
 * Limits: BODY_MAX for a body, the rates of api_guard(). */
#include "admin/api/api_session.h"
#include "admin/api/api_private.h"
#include "admin/api/api_self.h"
#include "admin/control_json.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/setting.h"
#include "base/utf8.h"
#include "codec/cookie.h"
#include "core/feature.h"
#include "home/here.h"
#include "io/address.h"
#include "ops/audit_command.h"
#include "ops/login.h"
#include "ops/second_factor.h"
#include <arpa/inet.h>
#include <openssl/crypto.h>
#include <pthread.h>

#define COOKIE_MARK "; Path=/; Secure; HttpOnly; SameSite=Strict"

enum {
    BODY_MAX = 16 << 10,
    ANSWER_BYTES_MAX = 64 << 10,
    LINE_BYTES_MAX = 512,
    NAME_SHOWN_MAX = 256
};

static const struct command login_row = {
    .name = "session login",
    .effect = COMMAND_CHANGES,
    .area = "console",
    .args =
        (const struct command_arg[]){
            { .name = "name",
              .kind = ARG_POSITIONAL,
              .min = 1,
              .max = CONSOLE_NAME_MAX,
              .doc = "an administrator, or an account that has a role: name@domain" },
            { .name = "password",
              .kind = ARG_SECRET,
              .type = PARAM_SECRET,
              .max = 1024,
              .doc = "its password" },
            { .name = "code",
              .kind = ARG_SECRET,
              .type = PARAM_SECRET,
              .max = 64,
              .doc = "of the second factor, or a recovery code" },
            { .name = "acknowledged",
              .kind = ARG_FLAG,
              .type = PARAM_BOOL,
              .doc = "the text of console.banner was read" },
            { 0 } },
    .doc = "Logs in to the console. The cookie of the answer is the session.",
};
static const struct command confirm_row = {
    .name = "session confirm",
    .effect = COMMAND_CHANGES,
    .area = "console",
    .args = (const struct command_arg[]){ { .name = "password",
                                            .kind = ARG_SECRET,
                                            .type = PARAM_SECRET,
                                            .max = 1024,
                                            .doc = "of the name that has the session" },
                                          { .name = "code",
                                            .kind = ARG_SECRET,
                                            .type = PARAM_SECRET,
                                            .max = 64,
                                            .doc = "of the second factor, if there is one" },
                                          { 0 } },
    .doc = "Gives the password again, before a command that destroys something.",
};
static const struct command logout_row = {
    .name = "session logout",
    .effect = COMMAND_CHANGES,
    .area = "console",
    .args = (const struct command_arg[]){ { 0 } },
    .doc = "Ends the session.",
};
static const struct command show_row = {
    .name = "session show",
    .effect = COMMAND_READS,
    .area = "console",
    .args = (const struct command_arg[]){ { 0 } },
    .doc = "Shows who asks, and what they may do.",
};
static const struct command banner_row = {
    .name = "session banner",
    .effect = COMMAND_READS,
    .area = "console",
    .args = (const struct command_arg[]){ { 0 } },
    .doc = "Shows what is to be read before the login. Open to all.",
};

const struct api_session_row api_session_rows[] = {
    { HTTP_M_GET, "/login", 200, true, API_SAYS_BANNER, &banner_row },
    { HTTP_M_POST, "/session", 201, true, API_SAYS_SESSION, &login_row },
    { HTTP_M_GET, "/session", 200, false, API_SAYS_SESSION, &show_row },
    { HTTP_M_DELETE, "/session", 204, false, API_SAYS_NOTHING, &logout_row },
    { HTTP_M_POST, "/session/confirm", 204, false, API_SAYS_NOTHING, &confirm_row },
    { HTTP_M_POST, "/session/password", 200, false, API_SAYS_SESSION, &api_self_password_row },
    { HTTP_M_POST, "/session/totp", 200, false, API_SAYS_FACTOR, &api_self_totp_row },
    { HTTP_M_POST, "/session/totp/confirm", 200, false, API_SAYS_SESSION,
      &api_self_totp_confirm_row },
    { 0 },
};

/* The secret of a request with a cookie. */

slice api_session_secret(const struct http_request *r)
{
    return cookie_find(http_header(r, "Cookie"), SLICE(API_COOKIE));
}

bool api_session_is(const struct http_request *r)
{
    return http_header(r, "Authorization").ptr == NULL && api_session_secret(r).ptr != NULL;
}

/* A page that asks by itself, with nobody at it, says so: that is no use of its session. */
static bool is_use(const struct http_request *r)
{
    return !slice_is(http_header(r, "X-Console-Idle"), "yes");
}

static bool csrf_is_right(const struct http_request *r, const struct console_view *v)
{
    slice given = http_header(r, "X-CSRF-Token");
    return r->method == HTTP_M_GET || r->method == HTTP_M_OPTIONS ||
           (given.len == CONSOLE_SECRET_TEXT &&
            CRYPTO_memcmp(given.ptr, v->csrf, CONSOLE_SECRET_TEXT) == 0);
}

bool api_session_view(struct http_request *r, struct principal *who, struct console_view *v)
{
    struct api_problem p = { .error = err_name(E_AUTH) };
    if (console_find(api_session_secret(r), r->host, http_scratch(r), is_use(r), who, v) != OK) {
        p.status = 401;
        p.detail = SLICE("this session has ended; log in again");
        p.code = "session-ended";
    } else if (!csrf_is_right(r, v)) {
        p.status = 403;
        p.detail = SLICE("found no header X-CSRF-Token with the `csrf` of the session");
        p.code = "csrf";
    } else {
        who->from = r->peer;
        return true;
    }
    api_problem(r, &p);
    return false;
}

/* It does not keep the session from being idle: a page that only shows is not used. */
enum err api_session_who(struct http_request *r, struct principal *who, struct why *why)
{
    struct console_view v;
    why_set(why, "this session has ended; log in again");
    enum err e = console_find(api_session_secret(r), r->host, http_scratch(r), false, who, &v);
    who->from = r->peer;
    return e;
}

/* Answers with what a limited session has to do first. */
static bool is_limited(struct http_request *r, const struct console_view *v)
{
    bool factor = (v->must & CONSOLE_MUST_FACTOR) != 0;
    if (v->must == 0)
        return false;
    api_problem(r, &(struct api_problem){
                       .status = 403,
                       .detail = factor ? SLICE("your role needs a second factor: POST "
                                                "/api/v1/session/totp makes it, "
                                                "/api/v1/session/totp/confirm turns it on")
                                        : SLICE("your password is too old: POST "
                                                "/api/v1/session/password changes it"),
                       .error = err_name(E_DENIED),
                       .code = factor ? "factor-required" : "password-expired" });
    return true;
}

bool api_session_admit(struct http_request *r, struct principal *who)
{
    struct console_view v;
    return api_session_view(r, who, &v) && !is_limited(r, &v);
}

/* A browser left alone does not destroy, nor change who may do what: through settings, or the
 * password of somebody with a role, either. */
static bool is_dangerous(const struct command *c)
{
    return c->effect == COMMAND_CHANGES &&
           (c->asks != NULL || strcmp(c->area, "admins") == 0 || strcmp(c->area, "settings") == 0 ||
            strcmp(c->name, "user password") == 0);
}

bool api_session_may(struct http_request *r, const struct command *c, struct arena *arena)
{
    struct console_view v;
    struct principal who;
    if (!is_dangerous(c) || !api_session_is(r))
        return true;
    return console_find(api_session_secret(r), r->host, arena, is_use(r), &who, &v) == OK &&
           v.proven;
}

bool api_session_spend(const struct http_request *r, const struct command *c)
{
    return !is_dangerous(c) || !api_session_is(r) || console_spend(api_session_secret(r));
}

/* Answers. */

/* Permissions that the commands need, each once, in the order of the commands. */
static char (*all_permissions)[COMMAND_PERMISSION_MAX];
static size_t permission_count;
static pthread_once_t permissions_once = PTHREAD_ONCE_INIT;

static void find_permissions(void)
{
    size_t commands = 0;
    for (const struct command *c = command_first(); c != NULL; c = c->next)
        commands++;
    all_permissions = mem_alloc(commands * sizeof all_permissions[0]);
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        char *one = all_permissions[permission_count];
        size_t i = 0;
        command_permission(c, one, COMMAND_PERMISSION_MAX);
        while (strcmp(all_permissions[i], one) != 0)
            i++;
        permission_count += i == permission_count;
    }
}

static void add_permissions(struct buf *out, const struct principal *who)
{
    bool any = false;
    (void)pthread_once(&permissions_once, find_permissions);
    for (size_t i = 0; i < permission_count; i++) {
        if (!principal_may(who, all_permissions[i]))
            continue;
        buf_printf(out, "%s\"%s\"", any ? "," : "", all_permissions[i]);
        any = true;
    }
}

static void add_must(struct buf *out, unsigned must)
{
    bool both = must == (CONSOLE_MUST_FACTOR | CONSOLE_MUST_PASSWORD);
    buf_printf(out, ",\"must\":[%s%s%s]", (must & CONSOLE_MUST_FACTOR) != 0 ? "\"totp\"" : "",
               both ? "," : "", (must & CONSOLE_MUST_PASSWORD) != 0 ? "\"password\"" : "");
}

/* v NULL: it is an access token, which has neither end nor CSRF token here. codes: recovery codes
 * that it shows; NULL: none. */
static void answer_session(struct http_request *r, const struct principal *who,
                           const struct console_view *v, const struct api_session_answer *a)
{
    struct buf out, lines;
    char stamp[CLOCK_STAMP_LEN];
    buf_init(&out, ANSWER_BYTES_MAX);
    buf_init(&lines, LINE_BYTES_MAX);
    buf_lit(&out, "{\"principal\":");
    control_text(&out, v != NULL ? v->name : who->actor);
    buf_lit(&out, ",\"role\":");
    control_text(&out, who->role);
    buf_lit(&out, ",\"permissions\":[");
    add_permissions(&out, who);
    buf_lit(&out, "]");
    add_must(&out, v != NULL ? v->must : 0);
    if (a->codes != NULL) {
        buf_lit(&out, ",\"recovery_codes\":[");
        for (const struct command_row *row = a->codes; row != NULL; row = row->next) {
            control_text(&out, command_row_text(row, "code"));
            buf_printf(&out, "%s", row->next != NULL ? "," : "]");
        }
    }
    if (v != NULL) {
        clock_stamp(stamp, v->expires_us);
        buf_printf(&out, ",\"csrf\":\"%s\",\"expires\":\"%s\"", v->csrf, stamp);
    }
    buf_lit(&out, "}\n");
    if (a->cookie.len > 0)
        http_header_line(&lines, "Set-Cookie", a->cookie);
    http_answer(r, &(struct http_answer){ .status = a->status,
                                          .type = "application/json",
                                          .headers = buf_fit(&lines),
                                          .body = buf_fit(&out) });
    buf_fini(&out);
    buf_fini(&lines);
}

static void answer_nothing(struct http_request *r, slice cookie)
{
    struct buf lines;
    buf_init(&lines, LINE_BYTES_MAX);
    if (cookie.len > 0)
        http_header_line(&lines, "Set-Cookie", cookie);
    http_answer(r, &(struct http_answer){ .status = 204, .headers = buf_fit(&lines) });
    buf_fini(&lines);
}

static void answer_banner(struct http_request *r)
{
    struct buf out;
    slice banner = slice_of(setting_text(&console_banner));
    buf_init(&out, ANSWER_BYTES_MAX);
    buf_lit(&out, "{\"banner\":");
    if (banner.len > 0)
        control_text(&out, banner);
    else
        buf_lit(&out, "null");
    buf_printf(&out, ",\"acknowledge\":%s}\n",
               banner.len > 0 && setting_bool(&console_acknowledge) ? "true" : "false");
    http_answer(r, &(struct http_answer){
                       .status = 200, .type = "application/json", .body = buf_fit(&out) });
    buf_fini(&out);
}

/* Login and confirmation. */

struct session_job {
    struct http_request *r; /* NULL: its client has gone */
    struct arena *arena;
    struct command_call call;
    struct login login;
    union address peer;
    slice secret; /* of the session that the request came with; empty: none */
    char opened[CONSOLE_SECRET_TEXT + 1]; /* of the one that it has opened; empty: none */
    enum login_result shown;              /* where the call has failed */
};

static void session_job_free(struct session_job *j)
{
    struct arena *arena = j->arena;
    mem_wipe(j, sizeof *j);
    arena_destroy(&arena); /* the job is in it */
    api_jobs--;
}

void api_session_peer(const struct http_request *r, union address *out)
{
    char text[INET6_ADDRSTRLEN];
    *out = (union address){ .any = { .sa_family = AF_UNSPEC } };
    snprintf(text, sizeof text, "%.*s", SLICE_ARG(r->peer));
    if (inet_pton(AF_INET, text, &out->v4.sin_addr) == 1)
        out->any.sa_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &out->v6.sin6_addr) == 1)
        out->any.sa_family = AF_INET6;
}

static void job_problem(struct session_job *j, enum err e, unsigned status, const char *code,
                        const char *text)
{
    if (j->r != NULL)
        api_problem(j->r, &(struct api_problem){ .status = status,
                                                 .detail = slice_of(text),
                                                 .error = err_name(e),
                                                 .code = code,
                                                 .retry_s = status == 503 ? 1 : 0 });
}

static const struct {
    enum err e;
    unsigned status;
    const char *code, *text;
} results[LOGIN_RESULTS] = {
    [LOGIN_WRONG] = { E_AUTH, 401, "wrong",
                      "name, password or code are wrong, or are refused for a time after failed "
                      "logins" },
    [LOGIN_CODE_NEEDED] = { E_AUTH, 401, "code-required",
                            "the code of the second factor is "
                            "needed" },
    [LOGIN_FACTOR_NEEDED] = { E_DENIED, 403, "factor-required",
                              "this role logs in with a second factor only, and this name has "
                              "none: another administrator makes one with `admin totp`, or sets "
                              "admin.totp-enrol" },
    [LOGIN_PASSWORD_OLD] = { E_DENIED, 403, "password-expired",
                             "this password is too old: log in again to change it" },
    [LOGIN_FACTOR_UNREAD] = { E_DOWN, 503, "factor-unreadable",
                              "the second factor of this name cannot be read (alarm secrets.key): "
                              "restore secrets.key on the server's host and restart, or let "
                              "another administrator remove the factor with `admin totp-remove`" },
    [LOGIN_AGAIN] = { E_AGAIN, 503, "again",
                      "the server cannot compare passwords now; try again "
                      "later" },
};

bool api_session_open(const struct console_login *login, slice before, struct arena *arena,
                      struct principal *who, char secret[CONSOLE_SECRET_TEXT + 1])
{
    struct console_view v;
    if (before.len > 0)
        console_end(before);
    return console_open(login, secret) &&
           console_find(slice_of(secret), login->host, arena, true, who, &v) == OK;
}

bool api_session_opened(struct http_request *r, const char *secret, struct api_session_answer *a)
{
    struct principal who;
    struct console_view v;
    if (console_find(slice_of(secret), r->host, a->arena, true, &who, &v) != OK)
        return false;
    char *cookie = arena_printf(a->arena, API_COOKIE "=%s" COOKIE_MARK, secret);
    a->cookie = slice_of(cookie);
    answer_session(r, &who, &v, a);
    OPENSSL_cleanse(cookie, strlen(cookie));
    return true;
}

static void session_open(struct session_job *j, unsigned must)
{
    struct principal who;
    struct console_login login = { .name = j->login.name, .age = j->login.age, .must = must };
    if (j->r != NULL) { /* which is gone when it is answered */
        login.host = j->r->host;
        login.from = slice_dup(j->arena, j->r->peer);
    }
    if (j->r == NULL || !api_session_open(&login, j->secret, j->arena, &who, j->opened)) {
        /* its client has gone, or its password or role changed meanwhile */
        command_fail(&j->call, E_CANCELED, "%s", "");
        j->opened[0] = '\0';
        return;
    }
    j->call.who = who;
    j->call.who.from = login.from;
    command_done(&j->call, "%s", "");
}

static void job_finished(struct command_call *call, void *arg) { (void)call, (void)arg; }

/* It opens a session for that; 0: it does not, or lacks nothing. */
static unsigned must_of(const struct login *l)
{
    struct principal who = { 0 };
    int64_t generation;
    bool lacks =
        l->result == LOGIN_PASSWORD_OLD || (l->result == LOGIN_FACTOR_NEEDED && factor_may_enrol());
    if (!lacks || !console_role(l->name, l->arena, &who, &generation))
        return 0;
    return login_must(l->name, who.role);
}

void api_login_problem(struct http_request *r, enum login_result result)
{
    enum login_result as = result == LOGIN_LOCKED || result == LOGIN_REFUSED ? LOGIN_WRONG : result;
    ensure(result != LOGIN_OK && result < LOGIN_RESULTS);
    api_problem(r, &(struct api_problem){ .status = results[as].status,
                                          .detail = slice_of(results[as].text),
                                          .error = err_name(results[as].e),
                                          .code = results[as].code,
                                          .retry_s = as == LOGIN_AGAIN ? 1 : 0 });
}

/* The entry of the audit log is stored. A session that nobody hears of ends: a browser that is
 * closed says no more than that it sends nothing. */
static void session_audited(struct worker *w, void *arg)
{
    struct session_job *j = arg;
    bool ok = j->call.err == OK;
    bool unheard = j->r == NULL || (j->opened[0] != '\0' && http_client_ended(j->r));
    (void)w;
    if (unheard)
        console_end(slice_of(j->opened));
    if (j->r == NULL) {
        session_job_free(j);
        return;
    }
    if (unheard)
        job_problem(j, E_CANCELED, 400, NULL,
                    "the client ended its side of the connection before the answer, so the new "
                    "session ended; keep the connection open until the answer has come");
    else if (!ok)
        api_login_problem(j->r, j->shown);
    else if (j->call.command == &logout_row)
        answer_nothing(j->r, SLICE(API_COOKIE "=; Max-Age=0" COOKIE_MARK));
    else if (j->call.command == &confirm_row)
        answer_nothing(j->r, (slice){ 0 });
    else if (!api_session_opened(j->r, j->opened,
                                 &(struct api_session_answer){ .status = 201, .arena = j->arena }))
        api_login_problem(j->r, LOGIN_WRONG); /* it was ended meanwhile */
    session_job_free(j);
}

static void login_ended(struct login *l)
{
    struct session_job *j = CONTAINER_OF(l, struct session_job, login);
    bool logs_in = j->call.command == &login_row;
    unsigned must = logs_in ? must_of(l) : 0;
    j->shown = l->result;
    if (l->result != LOGIN_OK && must == 0) {
        bool locked = l->result == LOGIN_LOCKED; /* which the audit log says, and nobody else */
        enum login_result as = locked || l->result == LOGIN_REFUSED ? LOGIN_WRONG : l->result;
        command_fail(&j->call, locked ? E_DENIED : results[as].e, "%s",
                     locked ? "the name is refused for a time now" : results[as].text);
    } else if (logs_in) {
        j->shown = LOGIN_WRONG;
        session_open(j, must);
    } else {
        console_prove(j->secret);
        command_done(&j->call, "%s", "");
    }
    if (l->result == LOGIN_REFUSED) /* guesses that are not made do not fill the audit log */
        session_audited(worker_here(), j);
    else
        audit_attempt_then(&j->call, session_audited, j);
}

static bool bind_job(struct session_job *j)
{
    struct why why;
    slice body = j->r->body;
    if (!api_is_json(http_header(j->r, "Content-Type"))) {
        job_problem(j, E_SYNTAX, 415, NULL, "found a body that is not application/json");
        return false;
    }
    enum err e = control_bind(slice_dup(j->arena, body), NULL, NULL, 0, &j->call, &why);
    if (e == OK)
        return true;
    api_problem(j->r, &(struct api_problem){ .status = e == E_PROTO ? 400 : 422,
                                             .detail = slice_of(why.text),
                                             .error = err_name(e == E_PROTO ? E_SYNTAX : e),
                                             .argument = j->call.culprit });
    return false;
}

static bool is_acknowledged(struct session_job *j)
{
    bool asked = setting_text(&console_banner)[0] != '\0' && setting_bool(&console_acknowledge);
    if (!asked || command_flag(&j->call, "acknowledged"))
        return true;
    job_problem(j, E_DENIED, 403, "acknowledge",
                "the text of console.banner must be acknowledged: GET /api/v1/login shows it");
    return false;
}

/* A name of a wrong form is nobody's: the audit log has it as an argument, short and on one line,
 * and not where the names of administrators stand. */
static slice login_actor(struct session_job *j, slice name)
{
    slice known, *shown = &j->call.args[0];
    ensure(strcmp(login_row.args[0].name, "name") == 0);
    if (console_name(name, j->arena, &known))
        return console_actor(j->arena, name, "");
    name = utf8_head(name, NAME_SHOWN_MAX);
    *shown = slice_dup(j->arena, name);
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] == '\r' || name.ptr[i] == '\n' || name.ptr[i] == '\t')
            ((char *)(uintptr_t)shown->ptr)[i] = ' ';
    return console_actor(j->arena, SLICE("?"), "");
}

static struct session_job *session_job_new(struct http_request *r, const struct command *row)
{
    struct arena *arena = arena_create(0);
    struct session_job *j = arena_new(arena, struct session_job, 1);
    api_jobs++;
    *j = (struct session_job){ .r = r,
                               .arena = arena,
                               .call = { .command = row,
                                         .arena = arena,
                                         .worker = worker_here(),
                                         .finished = job_finished } };
    return j;
}

/* who NULL: nobody yet. */
static void login_run(struct http_request *r, const struct command *row,
                      const struct principal *who, slice name)
{
    struct session_job *j = session_job_new(r, row);
    struct arena *arena = j->arena;
    if (!bind_job(j) || (who == NULL && !is_acknowledged(j))) {
        session_job_free(j);
        return;
    }
    r->data = j;
    api_session_peer(r, &j->peer);
    if (who != NULL)
        j->call.who = principal_dup(who, arena);
    else
        name = command_arg(&j->call, "name");
    if (who == NULL)
        j->call.who = (struct principal){ .kind = PRINCIPAL_ADMIN,
                                          .actor = login_actor(j, name),
                                          .from = slice_dup(arena, r->peer) };
    j->secret = slice_dup(arena, api_session_secret(r));
    j->login = (struct login){ .worker = worker_here(),
                               .arena = arena,
                               .name = slice_dup(arena, name),
                               .password = command_arg(&j->call, "password"),
                               .code = command_arg(&j->call, "code"),
                               .peer = &j->peer.any,
                               .done = login_ended };
    login_begin(&j->login);
}

static void session_job_gone(struct http_request *r)
{
    struct session_job *j = r->data;
    if (j != NULL)
        j->r = NULL; /* the comparison goes on, and is counted */
}

/* Requests. */

static void session_none(struct http_request *r)
{
    api_problem(r, &(struct api_problem){ .status = 409,
                                          .detail = SLICE("an access token has no session; "
                                                          "`token revoke` ends it"),
                                          .error = err_name(E_UNSUPPORTED) });
}

static void session_logout(struct http_request *r, const struct principal *who)
{
    struct session_job *j = session_job_new(r, &logout_row);
    j->call.who = principal_dup(who, j->arena);
    r->data = j;
    console_end(api_session_secret(r));
    command_done(&j->call, "%s", "");
    audit_attempt_then(&j->call, session_audited, j);
}

static void session_handle(struct http_request *r)
{
    struct principal who;
    struct console_view v;
    bool confirms = slice_is(r->path, "/api/v1/session/confirm");
    r->data = NULL;
    if (r->method == HTTP_M_POST && !confirms) {
        if (api_guard(r) && api_without_etag(r))
            login_run(r, &login_row, NULL, (slice){ 0 });
        return;
    }
    if (!api_session_is(r)) {
        if (!api_admit(r, &who) || !api_without_etag(r))
            return;
        if (r->method == HTTP_M_GET)
            answer_session(r, &who, NULL, &(struct api_session_answer){ .status = 200 });
        else
            session_none(r);
        return;
    }
    if (!api_guard(r) || !api_session_view(r, &who, &v) || !api_without_etag(r))
        return;
    if (confirms && is_limited(r, &v))
        return;
    if (confirms)
        login_run(r, &confirm_row, &who, v.name);
    else if (r->method == HTTP_M_GET)
        answer_session(r, &who, &v, &(struct api_session_answer){ .status = 200 });
    else
        session_logout(r, &who);
}

static void banner_handle(struct http_request *r)
{
    if (api_guard(r) && api_without_etag(r))
        answer_banner(r);
}

#define ROUTE .group = "admin", .flags = HTTP_OWN_LISTENER | HTTP_PROBLEMS | HTTP_WHEN_CROWDED
static const struct http_route routes[] = {
    { .path = "/api/v1/login", ROUTE, .methods = HTTP_M_GET, .handle = banner_handle },
    { .path = "/api/v1/session",
      ROUTE,
      .methods = HTTP_M_GET | HTTP_M_POST | HTTP_M_DELETE,
      .body_max = BODY_MAX,
      .handle = session_handle,
      .gone = session_job_gone },
    { .path = "/api/v1/session/confirm",
      ROUTE,
      .methods = HTTP_M_POST,
      .body_max = BODY_MAX,
      .handle = session_handle,
      .gone = session_job_gone },
    { 0 },
};

const struct feature api_session_feature = {
    .name = "api_session",
    .http = routes,
};
