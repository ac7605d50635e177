#include "admin/api/api_describe.h"
#include "admin/api/api_documents.h"
#include "admin/api/api_events.h"
#include "admin/api/api_private.h"
#include "admin/control_json.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/setting.h"
#include "core/feature.h"
#include "home/command_run.h"
#include "home/edge.h"
#include "home/here.h"
#include "http/parse.h"
#include "ops/audit_command.h"
#include "xmpp/jid.h"
#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define API_ROOT "/api/v1"
enum { ALLOW_BYTES_MAX = 256, HOST_BYTES_MAX = 253 + sizeof ":65535", PLACE_BYTES_MAX = 64 };

/* Changes of things whose ETag was compared: nobody else compares it before they have ended. */
static pthread_mutex_t busy_lock = PTHREAD_MUTEX_INITIALIZER;
static struct api_job *busy_jobs;

static bool same_thing(const struct api_job *a, const struct api_job *b)
{
    bool same = a->target.count == b->target.count;
    for (unsigned i = 0; i < 5; i++)
        same = same && a->target.row[i] == b->target.row[i];
    for (size_t i = 0; same && i < a->target.count; i++)
        same = slice_eq(a->places[i], b->places[i]);
    return same;
}

/* A value of the path as it is stored: "Alice@LOCALHOST" and "alice@localhost" are one user, and
 * "07" is 7. What cannot be read is refused later. */
static slice api_place(slice value, const struct param *p, struct arena *tmp)
{
    char text[PLACE_BYTES_MAX];
    struct jid jid;
    int64_t number;
    struct why why;
    if (!param_is_text(p) && param_check(p, value, &number, &why) == OK)
        return slice_dup(tmp, (slice){ text, param_format(p, number, text, sizeof text) });
    if (p->refers == REFERS_SETTING)
        return command_setting_name(value, tmp);
    return p->type >= PARAM_DOMAIN && jid_parse(&jid, value, tmp) == OK ? jid.full : value;
}

static void api_places(struct api_job *j)
{
    const struct command *c = api_row(&j->target, j->method);
    for (size_t i = 0; i < j->target.count; i++)
        for (const struct command_arg *a = c->args; a->name != NULL; a++)
            if (slice_is(j->target.names[i], a->name))
                j->places[i] = api_place(j->target.values[i], &a->param, j->arena);
}

static bool busy_enter(struct api_job *j)
{
    api_places(j);
    pthread_mutex_lock(&busy_lock);
    const struct api_job *at = busy_jobs;
    while (at != NULL && !same_thing(at, j))
        at = at->busy_next;
    if (at == NULL) {
        j->busy = true;
        j->busy_next = busy_jobs;
        busy_jobs = j;
    }
    pthread_mutex_unlock(&busy_lock);
    return at == NULL;
}

static void busy_leave(struct api_job *j)
{
    if (!j->busy)
        return;
    pthread_mutex_lock(&busy_lock);
    struct api_job **at = &busy_jobs;
    while (*at != j)
        at = &(*at)->busy_next;
    *at = j->busy_next;
    pthread_mutex_unlock(&busy_lock);
}

_Atomic unsigned api_jobs;

static void job_free(struct api_job *j)
{
    struct arena *arena = j->arena;
    busy_leave(j);
    arena_destroy(&j->call.arena);
    mem_free(&j);
    arena_destroy(&arena);
    api_jobs--;
}

static void job_refuse(struct api_job *j, const struct api_problem *p)
{
    api_problem(j->r, p);
    job_free(j);
}

/* Running a command. */

static void job_audited(struct worker *w, void *arg)
{
    struct api_job *j = arg;
    (void)w;
    if (j->r == NULL)
        job_free(j);
    else
        j->next(j);
}

static void on_ended(struct command_return *r)
{
    struct api_job *j = CONTAINER_OF(r, struct api_job, ended);
    command_late_over(&j->late);
    audit_command_then(&j->call, job_audited, j);
}

static void on_finished(struct command_call *call, void *arg)
{
    struct api_job *j = arg;
    (void)call;
    command_return(&j->ended, j->worker, on_ended);
}

/* Does not begin what the request asks for behind this call. */
static void api_late(struct command_late *late, const char *text)
{
    struct api_job *j = CONTAINER_OF(late, struct api_job, late);
    struct http_request *r = j->r;
    if (r == NULL)
        return;
    j->r = NULL;
    r->data = NULL;
    api_problem(r, &(struct api_problem){ .status = api_status(E_TIMEOUT),
                                          .detail = slice_of(text),
                                          .error = err_name(E_TIMEOUT) });
}

/* The principal that runs the row: what somebody changes and may not read is read by the server. */
static const struct principal *job_who(const struct api_job *j, const struct command *c)
{
    bool looks = j->blind && c == api_row(&j->target, HTTP_M_GET);
    return looks ? &principal_server : &j->who;
}

static bool job_may(const struct api_job *j, const struct command *c)
{
    struct why denied;
    return command_allowed(c, job_who(j, c), &denied) == OK;
}

/* A call of the row. */
static void job_call(struct api_job *j, const struct command *c)
{
    arena_destroy(&j->call.arena);
    j->call = (struct command_call){ .command = c,
                                     .arena = arena_create(0),
                                     .worker = j->worker,
                                     .who = *job_who(j, c),
                                     .finished = on_finished,
                                     .arg = j };
}

static void refuse_unproven(struct api_job *j)
{
    job_refuse(j, &(struct api_problem){ .status = 403,
                                         .detail = SLICE("this needs the password again: "
                                                         "POST /api/v1/session/confirm"),
                                         .error = err_name(E_AUTH),
                                         .code = "confirm-password" });
}

/* Refuses what it stands for, or that it stands for nothing. */
static void refuse_cursor(struct api_job *j)
{
    job_refuse(j, &(struct api_problem){ .status = 400,
                                         .detail = SLICE(API_CURSOR_WRONG),
                                         .error = err_name(E_SYNTAX),
                                         .argument = "cursor" });
}

/* With the first `count` arguments of the path and the query, and those of the body. */
static void job_run(struct api_job *j, const struct command *c, size_t count, slice body,
                    void (*next)(struct api_job *j))
{
    struct why why;
    if (!api_session_may(j->r, c, j->arena)) {
        refuse_unproven(j);
        return;
    }
    job_call(j, c);
    j->next = next;
    enum err e = control_bind(body, j->names, j->values, count, &j->call, &why);
    /* A refusal comes first, whatever the arguments are, and is audited there. */
    if (e == OK || !job_may(j, c)) {
        if (!api_session_spend(j->r, c)) { /* another request was faster */
            refuse_unproven(j);
            return;
        }
        command_late_watch(&j->late, &j->call, api_late);
        command_run(&j->call);
        return;
    }
    if (api_blames_cursor(j)) {
        refuse_cursor(j);
        return;
    }
    job_refuse(j, &(struct api_problem){ .status = e == E_PROTO ? 400 : 422,
                                         .detail = api_words(j, c, slice_of(why.text)),
                                         .error = err_name(e == E_PROTO ? E_SYNTAX : e),
                                         .argument = j->call.culprit });
}

static void refuse_etag(struct api_job *j, bool there)
{
    job_refuse(j, &(struct api_problem){
                      .status = 412,
                      .detail = there ? SLICE("it is not as If-Match or If-None-Match says; "
                                              "read it again")
                                      : SLICE("there is no such thing, and If-Match asks for "
                                              "one"),
                      .error = err_name(E_CONFLICT) });
}

/* Whether what a GET has read is what If-Match asks for (RFC 9110 §13.1.1). A command that failed
 * is answered as without it (§13.2.1). */
static bool is_as_asked(const struct api_job *j)
{
    char etag[API_ETAG_LEN + 1];
    if (j->method != HTTP_M_GET || j->if_match.ptr == NULL || j->call.err != OK)
        return true;
    if (!api_is_there(j))
        return false;
    api_etag(&j->call, etag);
    return api_etag_lets_change(j->if_match, etag);
}

static void answer(struct api_job *j)
{
    if (!is_as_asked(j)) {
        refuse_etag(j, api_is_there(j));
        return;
    }
    /* What only has to be there is there (RFC 9110 §9.2.2). */
    bool there = j->method == HTTP_M_PUT && j->call.err == E_EXISTS && slice_is(j->body, "{}") &&
                 j->call.culprit == NULL;
    bool found = api_finds(j->call.command) && j->call.rows != NULL;
    if (j->call.err != OK && !there && !found)
        api_failed(j);
    else
        api_succeeded(j);
    job_free(j);
}

/* Changes. */

static void change(struct api_job *j)
{
    job_run(j, api_row(&j->target, j->method), j->count, j->body, answer);
}

/* A PUT of something that exists, without members or with those that it has: there is nothing to
 * change. */
static bool is_nothing(const struct api_job *j, const struct command *c)
{
    bool empty = slice_is(j->body, "{}") && c == api_row(&j->target, HTTP_M_PATCH);
    return (j->same || (empty && j->method == HTTP_M_PUT)) && job_may(j, c);
}

static void answer_nothing(struct api_job *j)
{
    j->call.rows = NULL;
    j->call.text = SLICE("nothing to change");
    answer(j);
}

/* A PUT or PATCH of something that was read: PUT changes it as PATCH does, where there is one. */
static void change_there(struct api_job *j)
{
    const struct command *c = api_row(&j->target, HTTP_M_PATCH);
    struct why why;
    bool compares = c != NULL; /* the same PUT may have made it */
    if (c == NULL)
        c = api_row(&j->target, j->method);
    compares = compares || api_sends_back(j, c);
    if (job_may(j, c) && compares && api_same(j, c, &why) != OK) /* a denial first */
        job_refuse(j, &(struct api_problem){ .status = 422,
                                             .detail = api_words(j, c, slice_of(why.text)),
                                             .error = err_name(E_SYNTAX),
                                             .argument = j->call.culprit });
    else if (is_nothing(j, c))
        answer_nothing(j);
    else
        job_run(j, c, j->count, j->body, answer);
}

static void look(struct api_job *j);

/* The row that makes the thing found it, with the secrets of the body, or has made it just now:
 * what else the body has is then compared with what it is. */
static void secrets_ended(struct api_job *j)
{
    if (j->call.err == OK || (j->call.err == E_EXISTS && j->call.culprit == NULL))
        look(j);
    else
        answer(j);
}

/* A PUT that may have made what is there already: secrets that only its making takes are not set
 * again, but have to be those that it has. GET does not show them, so the row that makes it is
 * asked, which fails with E_EXISTS and names in `culprit` what is not so. */
static bool asks_secrets(struct api_job *j)
{
    const struct command *make = api_row(&j->target, HTTP_M_PUT);
    const struct command *c = api_row(&j->target, HTTP_M_PATCH);
    slice secrets;
    if (j->method != HTTP_M_PUT || c == NULL || !api_same_secrets(j, make, c, &secrets))
        return false;
    job_run(j, make, j->target.count, secrets, secrets_ended);
    return true;
}

/* The thing was read: whether it is as the client knows it, and, for PUT, whether it has to be
 * made or changed. */
static void look_ended(struct api_job *j)
{
    char etag[API_ETAG_LEN + 1];
    bool there = api_is_there(j);
    if (j->call.err != OK && j->call.err != E_NOTFOUND) {
        answer(j);
        return;
    }
    if (there)
        api_etag(&j->call, etag);
    if ((j->if_match.ptr != NULL && (!there || !api_etag_lets_change(j->if_match, etag))) ||
        (j->none_match.ptr != NULL && there && http_has_etag(j->none_match, slice_of(etag)))) {
        refuse_etag(j, there);
        return;
    }
    j->created = j->method == HTTP_M_PUT && !there && !j->blind;
    if (there && asks_secrets(j))
        return;
    if (there && (j->method == HTTP_M_PUT || j->method == HTTP_M_PATCH))
        change_there(j);
    else
        change(j);
}

/* Whether the thing is read before a PUT, which changes what is there by another command, or says
 * that it made it; before a PATCH, which may change nothing; or before a change that has more
 * members than are changed. Only the first cannot do without, for those who may not read. */
static bool asks_first(const struct api_job *j, const struct command *get)
{
    bool put = j->method == HTTP_M_PUT, patch = j->method == HTTP_M_PATCH;
    if (j->method == HTTP_M_DELETE || j->method == HTTP_M_POST)
        return false;
    return (put && (j->target.methods & HTTP_M_PATCH) != 0) ||
           (((put && (j->target.methods & HTTP_M_DELETE) != 0) || patch ||
             api_sends_back(j, api_row(&j->target, j->method))) &&
            job_may(j, get));
}

static void look(struct api_job *j)
{
    job_run(j, api_row(&j->target, HTTP_M_GET), j->target.count, (slice){ 0 }, look_ended);
}

static void begin_change(struct api_job *j)
{
    const struct command *get = api_row(&j->target, HTTP_M_GET);
    const struct command *c = api_row(&j->target, j->method);
    bool compares = j->if_match.ptr != NULL || j->none_match.ptr != NULL;
    bool looks = api_is_thing(&j->target) && (compares || asks_first(j, get));
    j->blind = looks && !job_may(j, get);
    if (!looks || (j->blind && !job_may(j, c))) {
        change(j);
    } else if ((compares || j->method == HTTP_M_PUT || api_sends_back(j, c)) && !busy_enter(j)) {
        job_refuse(j, &(struct api_problem){ .status = 409,
                                             .detail = SLICE("another client changes it now; read "
                                                             "it again"),
                                             .error = err_name(E_CONFLICT) });
    } else {
        look(j);
    }
}

/* Arguments of the query: for lists `cursor` stands for `after`, and pages are not long if nobody
 * says so. */
static bool bind_query(struct api_job *j, const struct command *c)
{
    size_t room = COMMAND_ARGS_MAX;
    bool limited = false;
    slice *names = &j->names[j->count], *values = &j->values[j->count];
    enum err e = api_query(j->r->query, j->arena, names, values, &room);
    for (size_t i = 0; e == OK && i < room; i++) {
        limited = limited || slice_is(names[i], "limit");
        if (!slice_is(names[i], "cursor") || !api_has_pages(c))
            continue;
        j->by_cursor = true;
        names[i] = SLICE("after");
        values[i] = api_cursor_read(values[i], j->arena);
        if (values[i].ptr == NULL) {
            refuse_cursor(j);
            return false;
        }
    }
    if (e != OK) {
        job_refuse(j,
                   &(struct api_problem){
                       .status = 400,
                       .detail = e == E_LIMIT ? SLICE("found more arguments than any command has")
                                              : SLICE("found a query that is wrongly encoded"),
                       .error = err_name(e) });
        return false;
    }
    j->count += room;
    if (api_has_pages(c) && !limited && room < COMMAND_ARGS_MAX) {
        j->names[j->count] = SLICE("limit");
        j->values[j->count++] = slice_of(arena_printf(j->arena, "%d", API_PAGE));
    }
    return true;
}

/* RFC 9110 §8.3: with or without parameters. */
bool api_is_json(slice type)
{
    slice name, rest;
    slice_cut(type, ';', &name, &rest);
    while (name.len > 0 && name.ptr[name.len - 1] == ' ')
        name.len--;
    return slice_eq_nocase(name, SLICE("application/json")) ||
           slice_eq_nocase(name, SLICE("application/merge-patch+json"));
}

static bool bind_body(struct api_job *j)
{
    struct api_problem p = { .error = err_name(E_SYNTAX) };
    slice body = j->r->body;
    if (j->r->query.len > 0) {
        p.status = 400;
        p.detail = SLICE("found a query; arguments of a change are members of its body");
    } else if (body.len > 0 && !api_is_json(http_header(j->r, "Content-Type"))) {
        p.status = 415;
        p.detail = SLICE("found a body that is not application/json");
    }
    if (p.status != 0) {
        job_refuse(j, &p);
        return false;
    }
    j->body = body.len > 0 ? slice_dup(j->arena, body) : SLICE("{}");
    return true;
}

static void api_refuse_unknown(struct http_request *r)
{
    api_problem(r, &(struct api_problem){ .status = 404,
                                          .detail = SLICE("there is no such resource; "
                                                          "/api/v1/openapi.json names all"),
                                          .error = err_name(E_NOTFOUND) });
}

/* The job that a request is, or NULL: it was answered. */
static struct api_job *job_new(struct http_request *r, slice rest)
{
    struct arena *arena = arena_create(0);
    struct api_job *j = mem_new(struct api_job);
    api_jobs++;
    j->r = r;
    j->arena = arena;
    j->worker = worker_here();
    j->method = r->method;
    j->typed = http_has_token(http_header(r, "Prefer"), "names=options"); /* RFC 7240 */
    if (api_find(rest, arena, &j->target) != OK || !j->target.found) {
        api_refuse_unknown(r);
        job_free(j);
        return NULL;
    }
    for (; j->count < j->target.count; j->count++) {
        j->names[j->count] = j->target.names[j->count];
        j->values[j->count] = j->target.values[j->count];
    }
    slice match = http_header(r, "If-Match"), none = http_header(r, "If-None-Match");
    j->if_match = slice_dup(arena, match);
    j->none_match = slice_dup(arena, none);
    return j;
}

/* Whether the path of the job has an ETag, or the request compares none; else it was refused. */
static bool can_compare(struct api_job *j, const struct command *c)
{
    if ((!j->target.by_name && api_is_thing(&j->target)) || !api_compares(j->r))
        return true;
    api_refuse_compare(j->r, c);
    job_free(j);
    return false;
}

static void serve(struct http_request *r, slice rest, const struct principal *who)
{
    struct api_job *j = job_new(r, rest);
    if (j == NULL)
        return;
    const struct command *c = api_row(&j->target, r->method);
    j->who = principal_dup(who, j->arena);
    if (c == NULL) {
        job_refuse(j, &(struct api_problem){ .status = 405,
                                             .detail = SLICE("it has no such method"),
                                             .error = err_name(E_UNSUPPORTED),
                                             .methods = j->target.methods });
    } else if (can_compare(j, c) &&
               (r->method == HTTP_M_GET || r->method == HTTP_M_DELETE ? bind_query(j, c)
                                                                      : bind_body(j))) {
        r->data = j;
        if (r->method == HTTP_M_GET || j->target.by_name)
            change(j);
        else
            begin_change(j);
    }
}

static void options(struct http_request *r, slice rest)
{
    struct api_target t;
    struct buf lines;
    if (api_find(rest, http_scratch(r), &t) != OK || !t.found) {
        api_refuse_unknown(r);
        return;
    }
    buf_init(&lines, ALLOW_BYTES_MAX);
    http_allow_line(&lines, t.methods);
    http_answer(r, &(struct http_answer){ .status = 204, .headers = buf_fit(&lines) });
    buf_fini(&lines);
}

static bool describes(slice rest)
{
    return api_is_document(rest) || slice_is(rest, "/description");
}

/* "http://127.0.0.1:5281/api/v1", as the request has it: a host is pasted into a shell by readers
 * of the page, so one that has other characters than names and addresses is not repeated. */
static slice own_base(const struct http_request *r)
{
    slice host = r->host;
    for (size_t i = 0; i < r->host.len; i++)
        if (!isalnum((unsigned char)host.ptr[i]) && strchr("-.:[]", host.ptr[i]) == NULL)
            host.len = 0;
    if (host.len == 0 || host.len > HOST_BYTES_MAX)
        host = SLICE("localhost");
    return slice_of(arena_printf(http_scratch(r), "%s://%.*s" API_ROOT,
                                 r->secure ? "https" : "http", SLICE_ARG(host)));
}

static void answer_description(struct http_request *r, const struct principal *who)
{
    struct buf out;
    if (!api_without_etag(r))
        return;
    buf_init(&out, API_ANSWER_MAX);
    api_describe(&out, who);
    http_answer(r, &(struct http_answer){
                       .status = 200, .type = "application/json", .body = buf_fit(&out) });
    buf_fini(&out);
}

static void describe(struct http_request *r, slice rest, const struct principal *who)
{
    if (r->method != HTTP_M_GET)
        api_problem(r, &(struct api_problem){ .status = 405,
                                              .detail = SLICE("it can only be read"),
                                              .error = err_name(E_UNSUPPORTED),
                                              .methods = HTTP_M_GET });
    else if (api_is_document(rest))
        api_document_answer(r, rest, own_base(r));
    else
        answer_description(r, who);
}

static void api_handle(struct http_request *r)
{
    struct principal who;
    slice rest = slice_from(r->raw, sizeof API_ROOT - 1);
    r->data = NULL;
    if (!api_admit(r, &who))
        return;
    if (describes(rest)) {
        describe(r, rest, &who);
        return;
    }
    if (!slice_starts(r->raw, SLICE(API_ROOT "/"))) /* the root was written in another way */
        api_refuse_unknown(r);
    else if (r->method == HTTP_M_OPTIONS)
        options(r, rest);
    else
        serve(r, rest, &who);
}

static void api_gone(struct http_request *r)
{
    struct api_job *j = r->data;
    if (j != NULL)
        j->r = NULL; /* its command goes on */
}

static const struct http_route routes[] = {
    { .path = API_ROOT "/",
      .group = "admin",
      .methods =
          HTTP_M_GET | HTTP_M_POST | HTTP_M_PUT | HTTP_M_DELETE | HTTP_M_PATCH | HTTP_M_OPTIONS,
      .flags = HTTP_OWN_LISTENER | HTTP_PROBLEMS | HTTP_WHEN_CROWDED,
      .body_max = API_BODY_MAX,
      .handle = api_handle,
      .gone = api_gone },
    { 0 },
};

/* A command whose client has gone still comes back to its worker. */
static bool api_idle(void *own, struct worker *w)
{
    (void)own, (void)w;
    return api_jobs == 0;
}

const struct edge api_edge = { .name = "api", .stop = api_events_stop, .idle = api_idle };

const struct feature api_feature = {
    .name = "api",
    .settings = (struct setting *const[]){ &api_tls_required, &api_requests_per_token,
                                           &api_requests_per_address, NULL },
    .http = routes,
};
