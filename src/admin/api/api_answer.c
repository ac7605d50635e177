/* api_answer: what the API says: rows as JSON, and problems (RFC 9457). */
#include "admin/api/api_private.h"
#include "admin/control_json.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command_options.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "codec/http_read.h"
#include "codec/json_text.h"
#include "home/here.h"
#include "http/parse.h"
#include <openssl/evp.h>
#include <string.h>

enum { PROBLEM_BYTES_MAX = 64 << 10, LINES_BYTES_MAX = 8192, ETAG_BYTES = 12 };

unsigned api_status(enum err e)
{
    static const unsigned table[ERR_COUNT] = {
        [OK] = 200,         [E_AGAIN] = 503,       [E_EOF] = 502,      [E_LIMIT] = 422,
        [E_PROTO] = 502,    [E_SYNTAX] = 422,      [E_AUTH] = 403,     [E_DENIED] = 403,
        [E_NOTFOUND] = 404, [E_EXISTS] = 409,      [E_CONFLICT] = 409, [E_TIMEOUT] = 504,
        [E_CANCELED] = 503, [E_IO] = 500,          [E_FULL] = 507,     [E_DOWN] = 503,
        [E_CORRUPT] = 500,  [E_UNSUPPORTED] = 409, [E_INTERNAL] = 500, [E_OUTSIDE] = 502,
        [E_PART] = 409,
    };
    return table[e];
}

void api_problem(struct http_request *r, const struct api_problem *p)
{
    struct buf body, lines;
    buf_init(&body, p->report != NULL ? API_ANSWER_MAX : PROBLEM_BYTES_MAX);
    buf_init(&lines, LINES_BYTES_MAX);
    buf_printf(&body, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u",
               http_status_text(p->status), p->status);
    if (p->detail.len > 0) {
        buf_lit(&body, ",\"detail\":");
        control_text(&body, p->detail);
    }
    if (p->error != NULL)
        buf_printf(&body, ",\"error\":\"%s\"", p->error);
    if (p->argument != NULL) {
        buf_lit(&body, ",\"argument\":");
        control_text(&body, slice_of(p->argument));
    }
    if (p->code != NULL)
        buf_printf(&body, ",\"code\":\"%s\"", p->code);
    size_t before = body.len;
    if (p->report != NULL) {
        buf_lit(&body, ",\"rows\":");
        control_rows(&body, p->report);
    }
    if (body.overflow) { /* without its rows */
        body.overflow = false;
        body.len = before;
    }
    buf_lit(&body, "}\n");
    if (p->status == 401) /* RFC 6750 §3 */
        http_header_line(&lines, "WWW-Authenticate", SLICE("Bearer realm=\"muster\""));
    if (p->status == 405)
        http_allow_line(&lines, p->methods | HTTP_M_OPTIONS);
    if (p->retry_s > 0)
        buf_printf(&lines, "Retry-After: %u\r\n", p->retry_s);
    http_answer(r, &(struct http_answer){ .status = p->status,
                                          .type = "application/problem+json",
                                          .headers = buf_fit(&lines),
                                          .body = buf_fit(&body) });
    buf_fini(&body);
    buf_fini(&lines);
}

bool api_compares(const struct http_request *r)
{
    return http_header(r, "If-Match").ptr != NULL ||
           (r->method != HTTP_M_GET && http_header(r, "If-None-Match").ptr != NULL);
}

/* The first resource of the command that has an ETag: "PATCH", "/users/{jid}". */
static bool resource_with_etag(const struct command *c, struct arena *tmp, slice *verb, slice *path)
{
    struct api_target t;
    slice one, rest = slice_of(c->rest);
    while (rest.len > 0) {
        slice_cut(rest, ',', &one, &rest);
        slice_word(&one, verb);
        slice_word(&one, path);
        if (api_find(*path, tmp, &t) == OK && api_is_thing(&t))
            return true;
    }
    return false;
}

void api_refuse_compare(struct http_request *r, const struct command *c)
{
    const char *found = http_header(r, "If-Match").ptr != NULL ? "If-Match" : "If-None-Match";
    struct arena *tmp = http_scratch(r);
    const char *where = "";
    slice verb, path;
    if (c != NULL && resource_with_etag(c, tmp, &verb, &path))
        where = arena_printf(tmp, ", or use %.*s %.*s, which compares one", SLICE_ARG(verb),
                             SLICE_ARG(path));
    slice detail = slice_of(arena_printf(
        tmp, "found %s, and this path has no ETag to compare; send it without%s", found, where));
    api_problem(r, &(struct api_problem){
                       .status = 412, .detail = detail, .error = err_name(E_UNSUPPORTED) });
}

bool api_without_etag(struct http_request *r)
{
    if (!api_compares(r))
        return true;
    api_refuse_compare(r, NULL);
    return false;
}

/* Whether an argument names the thing that is missing, not the path. */
static bool api_names_another(const struct api_job *j)
{
    const char *argument = j->call.culprit;
    if (j->call.err != E_NOTFOUND || argument == NULL || j->target.by_name)
        return false;
    for (size_t i = 0; i < j->target.count; i++)
        if (slice_is(j->target.names[i], argument))
            return false;
    return true;
}

static void api_name_option(struct buf *out, const struct command_arg *a)
{
    buf_printf(out, "`%s`", a->name);
}

void api_members_named(struct buf *out, const struct command *c, slice text)
{
    command_options_named(out, c, text, api_name_option);
}

bool api_blames_cursor(const struct api_job *j)
{
    const char *argument = j->call.culprit;
    return j->by_cursor && argument != NULL && strcmp(argument, "after") == 0;
}

slice api_words(const struct api_job *j, const struct command *c, slice text)
{
    struct buf out;
    if (j->typed || text.len == 0)
        return text;
    buf_init(&out, PROBLEM_BYTES_MAX);
    api_members_named(&out, c, text);
    if (!out.overflow)
        text = slice_dup(j->arena, buf_fit(&out));
    buf_fini(&out);
    return text;
}

void api_failed(struct api_job *j)
{
    enum err e = j->call.err;
    ensure(e != OK);
    bool cursor = api_blames_cursor(j);
    unsigned status = api_names_another(j) ? 422 : api_status(e);
    if (cursor && !j->typed) { /* of another list, or its place is gone */
        status = 400;
        e = E_SYNTAX;
    }
    if (e == E_CANCELED && j->call.command->job && !worker_stopping(j->worker))
        status = 409; /* somebody wanted it so: not to be tried again */
    slice words =
        cursor && !j->typed ? SLICE(API_CURSOR_WRONG) : api_words(j, j->call.command, j->call.text);
    api_problem(j->r, &(struct api_problem){ .status = status,
                                             .detail = words,
                                             .error = err_name(e),
                                             .argument = cursor ? "cursor" : j->call.culprit,
                                             .retry_s = status == 503 ? 1 : 0,
                                             .report = j->call.command->report ? &j->call : NULL });
}

/* Adds a thing: its row, or all its rows. */
static void add_thing(struct buf *out, const struct command_call *call)
{
    if (api_is_single(call->command) && call->rows != NULL)
        control_record(out, call);
    else
        control_rows(out, call);
}

bool api_is_there(const struct api_job *j)
{
    const struct command *get = j->call.command;
    return j->call.err == OK && api_is_thing(&j->target) &&
           (api_is_single(get) || j->call.rows != NULL);
}

/* The digest of its rows, in hexadecimal digits; if `still`, of the members that do not move. */
static void etag_half(const struct command_call *call, bool still, char out[ETAG_BYTES * 2 + 1])
{
    unsigned char digest[EVP_MAX_MD_SIZE] = { 0 };
    struct buf text;
    buf_init(&text, API_ANSWER_MAX);
    for (const struct command_row *row = call->rows; row != NULL; row = row->next) {
        for (uint32_t i = 0; i < row->count; i++) {
            if (still && api_moves(call->command, row->fields[i].key))
                continue;
            control_text(&text, slice_of(row->fields[i].key));
            control_text(&text, row->fields[i].str);
        }
        buf_lit(&text, "\n");
    }
    EVP_Digest(text.ptr, text.len, digest, NULL, EVP_sha256(), NULL);
    buf_fini(&text);
    hex_encode(out, (slice){ (const char *)digest, ETAG_BYTES });
}

void api_etag(const struct command_call *call, char out[API_ETAG_LEN + 1])
{
    char still[ETAG_BYTES * 2 + 1], all[ETAG_BYTES * 2 + 1];
    etag_half(call, true, still);
    etag_half(call, false, all);
    snprintf(out, API_ETAG_LEN + 1, "\"%s-%s\"", still, all);
}

/* A weak tag does not suit: it begins with another byte. */
bool api_etag_lets_change(slice list, const char *etag)
{
    slice one;
    while (list.len > 0) {
        slice_cut(list, ',', &one, &list);
        one = http_trim(one);
        bool ends = one.len == strlen(etag) && one.ptr[one.len - 1] == '"';
        if (slice_is(one, "*") || (ends && memcmp(one.ptr, etag, 1 + ETAG_BYTES * 2) == 0))
            return true;
    }
    return false;
}

static void add_list(struct buf *out, struct api_job *j)
{
    slice next = j->call.next;
    control_page(out, &j->call, next.ptr != NULL ? api_cursor(next, j->arena) : next);
}

static void add_result(struct buf *out, const struct command_call *call)
{
    buf_lit(out, "{");
    if (call->err != OK && api_finds(call->command)) /* it has found something */
        buf_printf(out, "\"error\":\"%s\",", err_name(call->err));
    buf_lit(out, "\"text\":");
    control_text(out, call->text);
    buf_lit(out, ",\"rows\":");
    control_rows(out, call);
    if (call->next.ptr != NULL) {
        buf_lit(out, ",\"next\":");
        json_text(out, call->next);
    }
    control_incomplete(out, call);
    buf_lit(out, "}");
}

void api_succeeded(struct api_job *j)
{
    struct buf out, lines;
    char etag[API_ETAG_LEN + 1];
    bool get = j->method == HTTP_M_GET;
    struct http_answer a = { .status = j->created ? 201 : 200, .type = "application/json" };
    buf_init(&out, API_ANSWER_MAX);
    buf_init(&lines, LINES_BYTES_MAX);
    slice text = j->call.text;
    if (text.len > 0 &&
        memchr(text.ptr, '\n', text.len) == NULL) /* else it is what was asked for */
        j->call.text = api_words(j, j->call.command, text);
    if (get && api_is_there(j)) {
        api_etag(&j->call, etag);
        http_header_line(&lines, "ETag", slice_of(etag));
        a.status = http_has_etag(j->none_match, slice_of(etag)) ? 304 : 200;
    }
    if (get && api_is_single(j->call.command)) {
        add_thing(&out, &j->call);
    } else if (get) {
        add_list(&out, j);
    } else {
        add_result(&out, &j->call);
    }
    buf_lit(&out, "\n");
    a.headers = buf_fit(&lines);
    if (out.overflow) {
        api_problem(j->r, &(struct api_problem){
                              .status = 422,
                              .detail = SLICE("the answer is longer than 16 MiB; ask for less"),
                              .error = err_name(E_LIMIT) });
    } else {
        a.body = buf_slice(&out);
        http_answer(j->r, &a);
    }
    buf_fini(&out);
    buf_fini(&lines);
}
