#include "admin/control_json.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/utf8.h"
#include "home/here.h"
#include "home/node.h"
#include <inttypes.h>
#include <jansson.h>

/* One more than is allowed, so that command_bind() can name the superfluous argument. */
enum { PAIRS_MAX = COMMAND_ARGS_MAX + 1, COMMAND_SHOWN_MAX = 64 };

struct pairs {
    slice names[PAIRS_MAX], values[PAIRS_MAX];
    size_t count;
};

static slice json_slice(const json_t *string)
{
    return (slice){ json_string_value(string), json_string_length(string) };
}

const struct command_arg *control_arg(const struct command *c, const char *name)
{
    const struct command_arg *a = c->args;
    while (a != NULL && a->name != NULL && strcmp(a->name, name) != 0)
        a++;
    return a == NULL || a->name == NULL ? NULL : a;
}

slice control_list(struct arena *arena, const struct command_arg *a, const json_t *list)
{
    ensure(json_is_array(list));
    bool spaces = a != NULL && a->listed && !a->many;
    size_t i, len = 0;
    const json_t *one;
    json_array_foreach(list, i, one)
    {
        if (!json_is_string(one) || (!spaces && strpbrk(json_string_value(one), " \t\r\n") != NULL))
            return (slice){ 0 };
        len += json_string_length(one) + 1;
    }
    char *text = arena_alloc(arena, len + 1, 1), *at = text;
    json_array_foreach(list, i, one)
    {
        slice_lay(&at, i > 0 ? SLICE(" ") : SLICE(""));
        slice_lay(&at, json_slice(one));
    }
    return (slice){ text, (size_t)(at - text) };
}

static slice pair_text(struct command_call *call, const struct command_arg *a, const json_t *value)
{
    if (json_is_string(value))
        return json_slice(value);
    if (json_is_integer(value))
        return slice_of(arena_printf(call->arena, "%" PRId64, (int64_t)json_integer_value(value)));
    if (json_is_boolean(value))
        return json_is_true(value) ? SLICE("true") : SLICE("false");
    return json_is_array(value) ? control_list(call->arena, a, value) : (slice){ 0 };
}

/* What the argument may have instead of a value of that type, as the document of the API says
 * (api_openapi.c). Each may be a text, as on a command line. NULL: it may have it. */
static const char *pair_wants(const struct command_arg *a, const json_t *value)
{
    bool number = a->type == PARAM_INT, flag = a->type == PARAM_BOOL;
    bool list = a->many || a->listed;
    if ((json_is_integer(value) && !number) || (json_is_boolean(value) && !flag) ||
        (json_is_array(value) && !list))
        return number ? "a number"
               : flag ? "true or false"
               : list ? "a text or a list of texts"
                      : "a text";
    return NULL;
}

static const char *pair_type(const json_t *value)
{
    return json_is_array(value) ? "a list" : json_is_integer(value) ? "a number" : "true or false";
}

static enum err add_pair(struct pairs *p, struct command_call *call, const char *name,
                         const json_t *value, struct why *why)
{
    const struct command_arg *a = control_arg(call->command, name);
    const char *wants = a == NULL ? NULL : pair_wants(a, value);
    slice text = pair_text(call, a, value);
    if (p->count == PAIRS_MAX) {
        why_set(why, "found more than %d arguments, allowed at most that", COMMAND_ARGS_MAX);
        return E_LIMIT;
    }
    if (text.ptr == NULL) {
        why_set(why, "%.64s: found a value that is no text, number, true, false or list of words",
                name);
        call->culprit = slice_cstr(call->arena, slice_of(name));
        return E_SYNTAX;
    }
    if (wants != NULL) {
        why_set(why, "%.64s: found %s, allowed %s", name, pair_type(value), wants);
        call->culprit = a->name;
        return E_SYNTAX;
    }
    p->names[p->count] = slice_of(name);
    p->values[p->count] = text;
    p->count++;
    return OK;
}

static enum err bind_pairs(json_t *args, struct pairs *pairs, struct command_call *call,
                           struct why *why)
{
    const char *key;
    json_t *value;
    json_object_foreach(args, key, value)
    {
        enum err e = add_pair(pairs, call, key, value, why);
        if (e != OK)
            return e;
    }
    return command_bind(call, pairs->names, pairs->values, pairs->count, why);
}

/* In our words: those of the library are about its functions. */
static void json_explain(const char *what, const json_error_t *error, struct why *why)
{
    static const struct {
        enum json_error_code code;
        const char *text;
    } texts[] = {
        { json_error_null_character, "a NUL (\\u0000) in a text, which no argument may have" },
        { json_error_duplicate_key, "a name that is given twice" },
        { json_error_invalid_utf8, "bytes that are not UTF-8" },
        { json_error_premature_end_of_input, "the end before all that was begun is closed" },
        { json_error_numeric_overflow, "a number that is too large" },
        { json_error_stack_overflow, "lists and objects in each other that are too deep" },
        { json_error_null_byte_in_key, "a NUL (\\u0000) in a name" },
        { json_error_end_of_input_expected, "something behind its end" },
    };
    const char *found = "a mistake in its syntax";
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (json_error_code(error) == texts[i].code)
            found = texts[i].text;
    why_set(why, "found a %s that is not JSON as it is allowed: %s, at byte %d", what, found,
            error->position);
}

enum err control_bind(slice object, const slice *names, const slice *values, size_t count,
                      struct command_call *call, struct why *why)
{
    json_error_t error;
    json_t *args = NULL;
    struct pairs pairs = { .count = count < PAIRS_MAX ? count : PAIRS_MAX };
    for (size_t i = 0; i < pairs.count; i++) {
        pairs.names[i] = names[i];
        pairs.values[i] = values[i];
    }
    if (object.len > 0) {
        args = json_loadb(object.ptr, object.len, JSON_REJECT_DUPLICATES, &error);
        if (!json_is_object(args)) {
            if (args != NULL)
                why_set(why, "found JSON that is no object, allowed {\"NAME\": VALUE, ...}");
            else
                json_explain("body", &error, why);
            json_decref(args);
            return E_PROTO;
        }
    }
    enum err e = bind_pairs(args, &pairs, call, why);
    json_decref(args);
    return e;
}

static enum err bind_request(json_t *request, struct command_call *call, struct why *why)
{
    const json_t *name = json_object_get(request, "command");
    json_t *args = json_object_get(request, "args");
    if (!json_is_string(name) || (args != NULL && !json_is_object(args))) {
        why_set(why, "found a line without a command, allowed "
                     "{\"command\":\"NAME\",\"args\":{\"NAME\":\"VALUE\"}}");
        return E_SYNTAX;
    }
    call->command = command_find(json_slice(name));
    if (call->command == NULL) {
        why_set(why, "%.*s: no such command", COMMAND_SHOWN_MAX, json_string_value(name));
        return E_NOTFOUND;
    }
    struct pairs pairs = { .count = 0 };
    return bind_pairs(args, &pairs, call, why);
}

enum err control_parse(slice line, struct command_call *call, struct why *why)
{
    json_error_t error;
    json_t *request = json_loadb(line.ptr, line.len, JSON_REJECT_DUPLICATES, &error);
    if (request == NULL) {
        json_explain("line", &error, why);
        return E_SYNTAX;
    }
    enum err e = bind_request(request, call, why);
    json_decref(request);
    return e;
}

static void add_escaped(struct buf *out, unsigned char c)
{
    switch (c) {
    case '"':
        buf_lit(out, "\\\"");
        break;
    case '\\':
        buf_lit(out, "\\\\");
        break;
    case '\n':
        buf_lit(out, "\\n");
        break;
    default:
        buf_printf(out, "\\u%04x", c);
    }
}

/* Malformed UTF-8 (a damaged row of the database) becomes U+FFFD, byte by byte. */
void control_text(struct buf *out, slice text)
{
    size_t valid = 0; /* bytes at the head of what is left that are known to be UTF-8 */
    buf_lit(out, "\"");
    while (text.len > 0) {
        size_t plain = 0;
        valid = valid > 0 ? valid : utf8_valid_len(text);
        while (plain < valid && (unsigned char)text.ptr[plain] >= ' ' && text.ptr[plain] != '"' &&
               text.ptr[plain] != '\\')
            plain++;
        buf_append(out, text.ptr, plain);
        if (plain < valid)
            add_escaped(out, (unsigned char)text.ptr[plain]);
        else if (plain < text.len)
            buf_lit(out, "\xef\xbf\xbd");
        text = slice_from(text, plain + 1);
        valid = plain < valid ? valid - plain - 1 : 0;
    }
    buf_lit(out, "\"");
}

static void control_fields(struct buf *out, const struct command_row *row)
{
    for (uint32_t i = 0; i < row->count; i++) {
        const struct command_field *f = &row->fields[i];
        if (i > 0)
            buf_lit(out, ",");
        control_text(out, slice_of(f->key));
        buf_lit(out, ":");
        if (f->kind == FIELD_TEXT)
            control_text(out, f->str);
        else
            buf_add(out, f->str);
    }
}

void control_row(struct buf *out, const struct command_row *row)
{
    buf_lit(out, "{");
    control_fields(out, row);
    buf_lit(out, "}");
}

void control_rows(struct buf *out, const struct command_call *call)
{
    buf_lit(out, "[");
    for (const struct command_row *row = call->rows; row != NULL; row = row->next) {
        if (row != call->rows)
            buf_lit(out, ",\n");
        control_row(out, row);
    }
    buf_lit(out, "]");
}

void control_incomplete(struct buf *out, const struct command_call *call)
{
    if (call->incomplete)
        buf_lit(out, ",\"incomplete\":true");
}

/* While there are several, tables name the node of each row. */
static void control_nodes(struct buf *out, const struct command_call *call)
{
    uint32_t nodes[BUS_NODES_MAX];
    const struct command_column *at = call->command->columns;
    const struct worker *w = call->worker; /* NULL: no server runs */
    while (at != NULL && at->name != NULL && !at->apart)
        at++;
    bool named = at != NULL && at->name != NULL && w != NULL;
    unsigned count = named ? node_all(worker_node(w), nodes) : 1;
    if (count > 1)
        buf_printf(out, ",\"nodes\":%u", count);
}

void control_record(struct buf *out, const struct command_call *call)
{
    ensure(call->rows != NULL && call->rows->count > 0);
    buf_lit(out, "{");
    control_fields(out, call->rows);
    control_incomplete(out, call);
    buf_lit(out, "}");
}

/* That there are more rows, and how musterctl gets them, is not said beside `next`. */
void control_page(struct buf *out, const struct command_call *call, slice next)
{
    slice text = call->text;
    if (next.ptr != NULL)
        text = call->incomplete ? SLICE(COMMAND_INCOMPLETE) : SLICE("");
    buf_lit(out, "{\"items\":");
    control_rows(out, call);
    if (next.ptr != NULL) {
        buf_lit(out, ",\"next\":");
        control_text(out, next);
    }
    if (text.len > 0) {
        buf_lit(out, ",\"text\":");
        control_text(out, text);
    }
    control_incomplete(out, call);
    buf_lit(out, "}");
}

void control_refuse(struct buf *out, enum err e, slice text)
{
    buf_printf(out, "{\"ok\":false,\"error\":\"%s\",\"text\":", err_name(e));
    control_text(out, text);
    buf_lit(out, "}\n");
}

void control_reply(struct buf *out, const struct command_call *call)
{
    if (call->err != OK && !call->command->report) {
        control_refuse(out, call->err, call->text);
        return;
    }
    if (call->err != OK)
        buf_printf(out, "{\"ok\":false,\"error\":\"%s\",\"text\":", err_name(call->err));
    else
        buf_lit(out, "{\"ok\":true,\"text\":");
    control_text(out, call->text);
    control_incomplete(out, call);
    control_nodes(out, call);
    buf_lit(out, ",\"rows\":[");
    for (const struct command_row *row = call->rows; row != NULL; row = row->next) {
        if (row != call->rows)
            buf_lit(out, ",");
        control_row(out, row);
    }
    buf_lit(out, "]");
    if (call->next.ptr != NULL) {
        buf_lit(out, ",\"next\":");
        control_text(out, call->next);
    }
    buf_lit(out, "}\n");
}
