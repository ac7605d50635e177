/* api_openapi: the API as a document (OpenAPI 3.1), made from the rows. admin/api/api_reference.c
 * makes the page for people from that document. */
#include "admin/api/api_events.h"
#include "admin/api/api_example.h"
#include "admin/api/api_private.h"
#include "admin/api/api_session.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define PROBLEM "#/components/responses/problem"

enum { TEXT_BYTES_MAX = 512, DOC_BYTES_MAX = 4096 };

/* Each kind of refusal. docs/api.md says the same. */
static const struct problem_row {
    unsigned status; /* 0: those without a row of their own */
    const char *when;
    enum err also[2]; /* codes that refusals of this status have besides those of api_status() */
} problem_rows[] = {
    { 400, "The body, the query or the path cannot be read.", { E_SYNTAX, E_NOTFOUND } },
    { 401, "There is no valid token or session.", { E_AUTH } },
    { 403, "It is not permitted, or only `musterctl` on the server's host may do it.", { OK } },
    { 404, "There is no such resource, or no such thing.", { OK } },
    { 405, "The resource does not have this method.", { E_UNSUPPORTED } },
    { 409,
      "It exists already, its state or a setting of this server forbids it, another client "
      "is changing it, or a part was done and the rest was refused.",
      { E_CANCELED } },
    { 412,
      "It is not as `If-Match` or `If-None-Match` says, or has no ETag.",
      { E_CONFLICT, E_UNSUPPORTED } },
    { 413, "The body is longer than 256 KiB.", { E_LIMIT } },
    { 415, "The body is not `application/json`.", { E_SYNTAX, E_UNSUPPORTED } },
    { 422,
      "An argument is missing, unknown or not allowed, or names another thing that is not "
      "there; or the answer would be longer than 16 MiB.",
      { E_NOTFOUND } },
    { 429,
      "There are too many requests: `api.requests-per-token`, `api.requests-per-address`, "
      "`http.request-rate`. `Retry-After` says when to try again.",
      { E_LIMIT } },
    { 502, "Another server failed, refused or cannot be reached.", { OK } },
    { 503,
      "Something that is needed is away, such as the database. `Retry-After` says when to "
      "try again.",
      { E_LIMIT } },
    { 0,
      "Something else is wrong: 500, a fault of this server; 504, an answer came too late; 507, "
      "the disk is full.",
      { OK } },
};
enum { PROBLEM_ROWS = sizeof problem_rows / sizeof problem_rows[0] };

static void put_text(json_t *to, const char *key, const char *text)
{
    if (text != NULL && *text != '\0')
        json_object_set_new(to, key, json_string(text));
}

/* A text of a row of the command. */
static void put_doc(json_t *to, const char *key, const struct command *c, slice doc)
{
    struct buf out;
    buf_init(&out, DOC_BYTES_MAX);
    api_members_named(&out, c, doc);
    ensure(!out.overflow); /* all of it is in the program */
    json_object_set_new(to, key, json_stringn(out.ptr, out.len));
    buf_fini(&out);
}

static json_t *words_of(const char *const *words)
{
    json_t *list = json_array();
    for (; words != NULL && *words != NULL; words++)
        json_array_append_new(list, json_string(*words));
    return list;
}

static json_t *type_of(const char *type) { return json_pack("{s:s}", "type", type); }

/* A value as members of JSON have it: times and sizes are texts. */
static json_t *value_of(const struct param *p, int64_t value)
{
    char text[TEXT_BYTES_MAX];
    if (p->type == PARAM_INT && !p->allow_none)
        return json_integer(value);
    param_format(p, value, text, sizeof text);
    return json_string(text);
}

/* What a value may be, where type and limits do not say all of it; and where it counts as one if it
 * is left out. */
static void put_allowed(json_t *to, const struct param *p)
{
    char range[TEXT_BYTES_MAX];
    bool any = param_is_text(p) && p->max == 0 && p->form == NULL;
    param_range(p, range, sizeof range);
    if (!any && p->type != PARAM_BOOL && p->type != PARAM_CHOICE)
        put_text(to, "x-allowed", range);
    if (p->def != 0 && !param_is_text(p) && p->type != PARAM_BOOL)
        json_object_set_new(to, "default", value_of(p, p->def));
}

/* What an argument may be: numbers and flags may be texts, too, as in a query. Whether a text is
 * right, the server says. */
static json_t *argument_schema(const struct command *c, const struct command_arg *a)
{
    const char *type = a->type == PARAM_BOOL  ? "boolean"
                       : a->type == PARAM_INT ? "integer"
                                              : "string";
    json_t *one = a->allow_none && strcmp(type, "string") != 0
                      ? json_pack("{s:[s,s]}", "type", type, "string")
                      : type_of(type);
    if (a->type == PARAM_INT && !a->allow_none && a->min < a->max) {
        json_object_set_new(one, "minimum", json_integer(a->min));
        if (a->max < PARAM_NONE)
            json_object_set_new(one, "maximum", json_integer(a->max));
    }
    if (a->type == PARAM_CHOICE)
        json_object_set_new(one, "enum", words_of(a->choices));
    if (command_arg_is_secret(a))
        json_object_set_new(one, "writeOnly", json_true());
    if (a->many || a->listed)
        one = json_pack("{s:[o,{s:s,s:{s:s}}]}", "anyOf", one, "type", "array", "items", "type",
                        "string");
    put_doc(one, "description", c, slice_of(a->doc));
    put_text(one, "x-unit", a->unit);
    put_text(one, "x-type", param_type_name(a->type));
    put_allowed(one, &a->param);
    json_t *example = api_example(a);
    if (example != NULL)
        json_object_set_new(one, "examples", json_pack("[o]", example));
    return one;
}

static json_t *column_schema(const struct command *c, const struct command_column *at)
{
    json_t *one = at->type == PARAM_BOOL  ? type_of("boolean")
                  : at->type == PARAM_INT ? type_of("integer")
                                          : type_of("string");
    if (at->type == PARAM_INT && at->choices != NULL)
        one = json_pack("{s:[o,{s:o}]}", "anyOf", one, "enum", words_of(at->choices));
    put_doc(one, "description", c, slice_of(at->doc));
    put_text(one, "x-unit", at->unit);
    put_text(one, "x-type", param_type_name(at->type));
    return one;
}

static json_t *row_schema(const struct command *c)
{
    json_t *all = json_object(), *required = json_array();
    for (const struct command_column *at = c->columns; at != NULL && at->name != NULL; at++) {
        json_object_set_new(all, at->name, column_schema(c, at));
        if (!at->optional)
            json_array_append_new(required, json_string(at->name));
    }
    return json_pack("{s:s,s:o,s:o,s:b}", "type", "object", "properties", all, "required", required,
                     "additionalProperties", 0);
}

static json_t *rows_schema(const struct command *c)
{
    return json_pack("{s:s,s:o}", "type", "array", "items", row_schema(c));
}

static json_t *content(json_t *schema)
{
    return json_pack("{s:{s:o}}", "application/json", "schema", schema);
}

static json_t *incomplete_schema(void)
{
    return json_pack("{s:s,s:s}", "type", "boolean", "description",
                     "true: a node did not answer, and what it has is missing");
}

static json_t *record_schema(const struct command *c)
{
    json_t *one = row_schema(c);
    if (c->runs_at == COMMAND_EACH)
        json_object_set_new(json_object_get(one, "properties"), "incomplete", incomplete_schema());
    return one;
}

static json_t *described_schema(json_t *schema, const char *doc)
{
    put_text(schema, "description", doc);
    return schema;
}

/* The members that each answer with a list of rows may have. */
static json_t *list_members(const struct command *c, const char *rows)
{
    json_t *all = json_object();
    json_object_set_new(all, rows, described_schema(rows_schema(c), "what was found or done"));
    json_object_set_new(all, "text",
                        described_schema(type_of("string"), "a sentence for a person"));
    json_object_set_new(all, "incomplete", incomplete_schema());
    return all;
}

/* The answer where all went well. */
static json_t *answer_schema(const struct command *c, enum http_verb method)
{
    bool get = method == HTTP_M_GET;
    if (get && api_is_single(c))
        return record_schema(c);
    json_t *all = list_members(c, get ? "items" : "rows");
    json_t *required = get ? json_pack("[s]", "items") : json_pack("[s,s]", "text", "rows");
    json_object_set_new(
        all, "next",
        described_schema(type_of("string"), get ? "there is another page: its `cursor`"
                                                : "there is another page: its argument `after`"));
    if (!get && api_finds(c))
        json_object_set_new(
            all, "error",
            described_schema(type_of("string"), "it has found something that is wrong"));
    return json_pack("{s:s,s:o,s:o,s:b}", "type", "object", "properties", all, "required", required,
                     "additionalProperties", 0);
}

/* Whether a PUT of the path can tell that it made the thing (asks_first() of api.c). */
static bool tells_of_making(enum http_verb method, const char *path, struct arena *tmp)
{
    struct api_target t;
    ensure(path == NULL || *path == '/');
    return method == HTTP_M_PUT && path != NULL && api_find(slice_of(path), tmp, &t) == OK &&
           api_is_thing(&t) && (t.methods & (HTTP_M_PATCH | HTTP_M_DELETE)) != 0;
}

/* c NULL: of what is no command, those where it went wrong. makes: it may say that it made it. */
static json_t *answers(const struct command *c, enum http_verb method, bool makes)
{
    json_t *all = json_object();
    if (c != NULL)
        json_object_set_new(all, "200",
                            json_pack("{s:s,s:o}", "description", "Done.", "content",
                                      content(answer_schema(c, method))));
    if (makes)
        json_object_set_new(all, "201",
                            json_pack("{s:s,s:o}", "description", "It was made.", "content",
                                      content(answer_schema(c, method))));
    for (size_t i = 0; i < PROBLEM_ROWS; i++) {
        char status[8], at[sizeof PROBLEM + 8];
        snprintf(status, sizeof status, "%u", problem_rows[i].status);
        snprintf(at, sizeof at, PROBLEM "-%s", status);
        if (problem_rows[i].status == 0)
            json_object_set_new(all, "default", json_pack("{s:s}", "$ref", PROBLEM));
        else
            json_object_set_new(all, status, json_pack("{s:s}", "$ref", at));
    }
    return all;
}

static bool in_path(const char *path, const char *name, struct arena *tmp)
{
    return path != NULL && strstr(path, arena_printf(tmp, "{%s}", name)) != NULL;
}

/* Whether an example has it. What makes a thing may need its secrets; a change of some of a thing
 * has what its row says. */
static bool is_in_example(const struct command *c, enum http_verb method,
                          const struct command_arg *a)
{
    return api_requires(c, a) || a->example != NULL ||
           (command_arg_is_secret(a) && method != HTTP_M_PATCH);
}

/* The value of an example: NULL: there is none. */
static json_t *example_in(json_t *schema)
{
    return json_array_get(json_object_get(schema, "examples"), 0);
}

/* A list that is asked for with GET is not long if nobody says so. */
static void put_page(json_t *schema, const struct command *c, const struct command_arg *a)
{
    if (api_has_pages(c) && strcmp(a->name, "limit") == 0)
        json_object_set_new(schema, "default", json_integer(API_PAGE));
}

static void add_parameter(json_t *to, const struct command *c, const struct command_arg *a,
                          const char *where)
{
    json_t *one = json_pack("{s:s,s:s,s:b,s:o}", "name", a->name, "in", where, "required",
                            strcmp(where, "path") == 0 || api_requires(c, a), "schema",
                            argument_schema(c, a));
    put_doc(one, "description", c, slice_of(a->doc));
    json_t *schema = json_object_get(one, "schema"), *example = example_in(schema);
    if (example != NULL && (is_in_example(c, HTTP_M_GET, a) || strcmp(where, "path") == 0))
        json_object_set(one, "example", example);
    put_page(schema, c, a);
    if (a->many && strcmp(where, "query") == 0) { /* one value, whose words spaces separate */
        json_object_set_new(one, "style", json_string("spaceDelimited"));
        json_object_set_new(one, "explode", json_false());
    }
    json_array_append_new(to, one);
}

/* What GET shows and the change does not take: it may be sent back as it is. So of a member that
 * GET does not show only what makes the thing knows whether it is needed. */
static void add_shown(json_t *members, json_t *required, const struct command *c, const char *path,
                      struct arena *tmp)
{
    struct api_target t;
    const char *name;
    json_t *one, *shown = json_object();
    if (api_find(slice_of(path), tmp, &t) == OK && api_is_thing(&t)) {
        const struct command *get = api_row(&t, HTTP_M_GET);
        for (const struct command_column *at = get->columns; at->name != NULL; at++)
            if (api_is_single(get))
                json_object_set_new(shown, at->name, column_schema(get, at));
        if (!api_is_single(get))
            json_object_set_new(shown, API_SAME_LIST, rows_schema(get));
        for (size_t i = json_array_size(required); i-- > 0;)
            if (json_object_get(shown, json_string_value(json_array_get(required, i))) == NULL)
                json_array_remove(required, i);
    }
    json_object_foreach(shown, name, one)
    {
        json_object_set_new(one, "readOnly", json_true());
        if (!api_takes(&t, c, name))
            json_object_set(members, name, one);
    }
    json_decref(shown);
}

static void add_member(json_t *members, json_t *required, const struct command *c,
                       const struct command_arg *a)
{
    json_object_set_new(members, a->name, argument_schema(c, a));
    if (api_requires(c, a))
        json_array_append_new(required, json_string(a->name));
}

/* A body that can be sent: a change of some of a thing has at least one member. */
static void add_to_example(json_t *example, enum http_verb method, const struct command *c,
                           const struct command_arg *a)
{
    json_t *value = api_example(a);
    bool first = method == HTTP_M_PATCH && json_object_size(example) == 0;
    if (value != NULL && (first || is_in_example(c, method, a)))
        json_object_set(example, a->name, value);
    json_decref(value);
}

static json_t *operation(const struct command *c, enum http_verb method, const char *path,
                         struct arena *tmp)
{
    static const struct command_arg cursor = { .name = "cursor",
                                               .kind = ARG_OPTION,
                                               .doc = "`next` of the page before" };
    char id[64], permission[COMMAND_PERMISSION_MAX];
    json_t *parameters = json_array(), *members = json_object(), *required = json_array();
    json_t *example = json_object();
    bool query = method == HTTP_M_GET || method == HTTP_M_DELETE;
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
        if (in_path(path, a->name, tmp)) {
            add_parameter(parameters, c, a, "path");
        } else if (query) {
            add_parameter(parameters, c, a, "query");
        } else {
            add_member(members, required, c, a);
            add_to_example(example, method, c, a);
        }
    }
    if (path != NULL && (method == HTTP_M_PUT || method == HTTP_M_PATCH))
        add_shown(members, required, c, path, tmp);
    if (method == HTTP_M_GET && api_has_pages(c))
        add_parameter(parameters, c, &cursor, "query");
    api_name(id, c);
    command_permission(c, permission, sizeof permission);
    json_t *op =
        json_pack("{s:s,s:[s],s:o,s:o}", "x-permission", permission, "tags", c->area, "parameters",
                  parameters, "responses", answers(c, method, tells_of_making(method, path, tmp)));
    put_doc(op, "summary", c, command_brief(c->doc));
    put_doc(op, "description", c, slice_of(c->doc));
    put_text(op, "x-command", c->name);
    put_text(op, "x-also-permission", c->also_permission);
    put_text(op, "x-file", c->file);
    put_text(op, "x-access", c->access == COMMAND_LOCAL ? "local" : NULL);
    json_object_set_new(op, "operationId",
                        json_string(path == NULL ? arena_printf(tmp, "command-%s", id)
                                                 : arena_printf(tmp, "%s:%s", id, path)));
    json_t *body =
        json_pack("{s:b,s:o}", "required", json_array_size(required) > 0, "content",
                  content(json_pack("{s:s,s:o,s:o,s:b}", "type", "object", "properties", members,
                                    "required", required, "additionalProperties", 0)));
    json_object_set_new(json_object_get(json_object_get(body, "content"), "application/json"),
                        "example", example);
    if (query)
        json_decref(body);
    else
        json_object_set_new(op, "requestBody", body);
    return op;
}

/* Adds the answers of a thing with an ETag. */
static void add_unchanged(json_t *op, const char *path, struct arena *tmp)
{
    struct api_target t;
    if (api_find(slice_of(path), tmp, &t) == OK && api_is_thing(&t))
        json_object_set_new(json_object_get(op, "responses"), "304",
                            json_pack("{s:s}", "description", "It is as If-None-Match says."));
}

static const char *verb_name(enum http_verb method)
{
    return method == HTTP_M_GET      ? "get"
           : method == HTTP_M_POST   ? "post"
           : method == HTTP_M_PUT    ? "put"
           : method == HTTP_M_DELETE ? "delete"
                                     : "patch";
}

/* Paths with the same arguments under other names are one: the names of the first row stand. */
static void add_operation(json_t *paths, const char *path, enum http_verb method, json_t *op)
{
    json_t *at = json_object_get(paths, path);
    if (at == NULL) {
        at = json_object();
        json_object_set_new(paths, path, at);
    }
    json_object_set_new(at, verb_name(method), op);
}

/* The resources of sessions: their bodies are rows, their answers are not. */

static json_t *session_answer(const struct api_session_row *r)
{
    json_t *one = json_pack("{s:s}", "description", "Done.");
    json_t *session = json_pack(
        "{s:s,s:{s:{s:s},s:{s:s},s:{s:s,s:{s:s}},s:{s:s,s:{s:[s,s]}},s:{s:s,s:{s:s}},s:{s:s},"
        "s:{s:s}},s:[s,s,s,s],s:b}",
        "type", "object", "properties", "principal", "type", "string", "role", "type", "string",
        "permissions", "type", "array", "items", "type", "string", "must", "type", "array", "items",
        "enum", "totp", "password", "recovery_codes", "type", "array", "items", "type", "string",
        "csrf", "type", "string", "expires", "type", "string", "required", "principal", "role",
        "permissions", "must", "additionalProperties", 0);
    json_t *factor = json_pack("{s:s,s:{s:{s:s},s:{s:s}},s:[s,s],s:b}", "type", "object",
                               "properties", "secret", "type", "string", "uri", "type", "string",
                               "required", "secret", "uri", "additionalProperties", 0);
    json_t *banner = json_pack("{s:s,s:{s:{s:[{s:s},{s:s}]},s:{s:s}},s:[s,s],s:b}", "type",
                               "object", "properties", "banner", "anyOf", "type", "string", "type",
                               "null", "acknowledge", "type", "boolean", "required", "banner",
                               "acknowledge", "additionalProperties", 0);
    if (r->says == API_SAYS_SESSION)
        json_object_set_new(one, "content", content(json_incref(session)));
    if (r->says == API_SAYS_BANNER)
        json_object_set_new(one, "content", content(json_incref(banner)));
    if (r->says == API_SAYS_FACTOR)
        json_object_set_new(one, "content", content(json_incref(factor)));
    json_decref(session);
    json_decref(banner);
    json_decref(factor);
    return one;
}

static void openapi_sessions(json_t *paths, struct arena *tmp)
{
    for (const struct api_session_row *r = api_session_rows; r->method != 0; r++) {
        json_t *op = operation(r->row, r->method, r->path, tmp);
        json_t *all = json_object_get(op, "responses");
        json_object_del(all, "200");
        json_object_set_new(all, arena_printf(tmp, "%u", r->status), session_answer(r));
        json_object_del(op, "x-permission"); /* they are about who asks */
        if (r->open)
            json_object_set_new(op, "security", json_array());
        add_operation(paths, r->path, r->method, op);
    }
}

/* The one resource that is no command. */
static json_t *events_path(void)
{
    json_t *topics =
        json_pack("{s:s,s:s,s:b,s:s,s:{s:s,s:[s]},s:s}", "name", "topics", "in", "query",
                  "required", 1, "description", API_EVENTS_TOPICS, "schema", "type", "string",
                  "examples", "alarms,audit", "example", "alarms,audit");
    json_t *last = json_pack("{s:s,s:s,s:b,s:s,s:{s:s}}", "name", "Last-Event-ID", "in", "header",
                             "required", 0, "description",
                             "`id` of the last event that came: the stream goes on behind it.",
                             "schema", "type", "string");
    json_t *all = answers(NULL, HTTP_M_GET, false);
    json_object_set_new(all, "200",
                        json_pack("{s:s,s:{s:{s:{s:s}}}}", "description",
                                  "Events, until the client or the server ends it.", "content",
                                  "text/event-stream", "schema", "type", "string"));
    json_t *get = json_pack("{s:s,s:s,s:s,s:[s],s:[o,o],s:o}", "summary", "Events as they happen",
                            "description", API_EVENTS_DOC, "operationId", "events", "tags",
                            "server", "parameters", topics, last, "responses", all);
    return json_pack("{s:o}", "get", get);
}

static json_t *paths_of_rows(struct arena *tmp)
{
    json_t *paths = json_object();
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        slice path, rest = slice_of(c->rest);
        enum http_verb method;
        char name[64];
        while (api_rest_next(&rest, &method, &path)) {
            const char *text = slice_cstr(tmp, path);
            json_t *op = operation(c, method, text, tmp);
            if (method == HTTP_M_GET)
                add_unchanged(op, text, tmp);
            add_operation(paths, text, method, op);
        }
        api_name(name, c);
        add_operation(paths, arena_printf(tmp, "/commands/%s", name), HTTP_M_POST,
                      operation(c, HTTP_M_POST, NULL, tmp));
    }
    openapi_sessions(paths, tmp);
    json_object_set_new(paths, "/events", events_path());
    return paths;
}

/* The codes of commands that fail with this status, and that of the API itself. */
static json_t *codes_of(const struct problem_row *row)
{
    json_t *all = json_array();
    for (enum err e = OK + 1; e < ERR_COUNT; e++)
        if (api_status(e) == row->status || row->also[0] == e || row->also[1] == e)
            json_array_append_new(all, json_string(err_name(e)));
    return all;
}

static json_t *problem_schema(void)
{
    static const struct {
        const char *name, *type, *doc;
    } rows[] = {
        { "type", "string", "always `about:blank`: `status` and `error` say what kind it is" },
        { "title", "string", "the words of the status" },
        { "status", "integer", "the status of the answer" },
        { "detail", "string", "a sentence for a person: what was found, and what is allowed" },
        { "error", "string", "a code for programs, as the control socket has it" },
        { "argument", "string", "the argument that was refused" },
        { "code", "string", "what a page that has logged in does next, such as `session-ended`" },
    };
    json_t *all = json_object();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        json_object_set_new(
            all, rows[i].name,
            json_pack("{s:s,s:s}", "type", rows[i].type, "description", rows[i].doc));
    json_object_set_new(all, "rows",
                        json_pack("{s:s,s:{s:s,s:{}},s:s}", "type", "array", "items", "type",
                                  "object", "properties", "description",
                                  "what a command that failed has found or done until then"));
    return json_pack("{s:s,s:o,s:[s,s,s],s:b}", "type", "object", "properties", all, "required",
                     "type", "title", "status", "additionalProperties", 0);
}

static json_t *components(void)
{
    json_t *problems = json_object(), *schema = problem_schema();
    for (size_t i = 0; i < PROBLEM_ROWS; i++) {
        char name[sizeof "problem-" + 8];
        snprintf(name, sizeof name, "problem-%u", problem_rows[i].status);
        json_object_set_new(problems, problem_rows[i].status == 0 ? "problem" : name,
                            json_pack("{s:s,s:o,s:{s:{s:O}}}", "description", problem_rows[i].when,
                                      "x-errors", codes_of(&problem_rows[i]), "content",
                                      "application/problem+json", "schema", schema));
    }
    json_decref(schema);
    return json_pack("{s:o,s:{s:{s:s,s:s},s:{s:s,s:s,s:s}}}", "responses", problems,
                     "securitySchemes", "token", "type", "http", "scheme", "bearer", "cookie",
                     "type", "apiKey", "in", "cookie", "name", API_COOKIE);
}

static int document_part(const char *part, size_t len, void *out)
{
    buf_append(out, part, len);
    return 0;
}

json_t *api_document(void)
{
    struct arena *tmp = arena_create(0);
    json_t *all = json_pack(
        "{s:s,s:{s:s,s:s,s:s},s:[{s:s}],s:[{s:[]},{s:[]}],s:o,s:o}", "openapi", "3.1.0", "info",
        "title", "Muster", "version", MUSTER_VERSION, "description",
        "Every command of musterctl, by its name and as resources. docs/api.md explains it.",
        "servers", "url", "/api/v1", "security", "token", "cookie", "paths", paths_of_rows(tmp),
        "components", components());
    arena_destroy(&tmp);
    return all;
}

void api_openapi(struct buf *out)
{
    json_t *all = api_document();
    json_dump_callback(all, document_part, out, JSON_INDENT(1) | JSON_SORT_KEYS);
    buf_lit(out, "\n");
    json_decref(all);
}
