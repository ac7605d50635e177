#include "admin/control_json.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/utf8.h"
#include <inttypes.h>
#include <jansson.h>

/* One more than is allowed, so that command_bind() can name the superfluous argument. */
enum { PAIRS_MAX = COMMAND_ARGS_MAX + 1, NUMBER_BYTES_MAX = 24, COMMAND_SHOWN_MAX = 64 };

struct pairs {
    slice names[PAIRS_MAX], values[PAIRS_MAX];
    size_t count;
    char numbers[PAIRS_MAX][NUMBER_BYTES_MAX];
};

static slice json_slice(const json_t *string)
{
    return (slice){ json_string_value(string), json_string_length(string) };
}

static enum err add_pair(struct pairs *p, const char *name, const json_t *value, struct why *why)
{
    if (p->count == PAIRS_MAX) {
        why_set(why, "found more than %d arguments, allowed at most that", COMMAND_ARGS_MAX);
        return E_LIMIT;
    }
    slice text;
    if (json_is_string(value)) {
        text = json_slice(value);
    } else if (json_is_integer(value)) {
        char *number = p->numbers[p->count];
        int len =
            snprintf(number, NUMBER_BYTES_MAX, "%" PRId64, (int64_t)json_integer_value(value));
        text = (slice){ number, (size_t)len };
    } else if (json_is_boolean(value)) {
        text = json_is_true(value) ? SLICE("true") : SLICE("false");
    } else {
        why_set(why, "%.64s: found a value that is no text, number, true or false", name);
        return E_SYNTAX;
    }
    p->names[p->count] = slice_of(name);
    p->values[p->count] = text;
    p->count++;
    return OK;
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
    const char *key;
    json_t *value;
    json_object_foreach(args, key, value)
    {
        enum err e = add_pair(&pairs, key, value, why);
        if (e != OK)
            return e;
    }
    return command_bind(call, pairs.names, pairs.values, pairs.count, why);
}

enum err control_parse(slice line, struct command_call *call, struct why *why)
{
    json_error_t error;
    json_t *request = json_loadb(line.ptr, line.len, JSON_REJECT_DUPLICATES, &error);
    if (request == NULL) {
        why_set(why, "found a line that is not JSON: %s", error.text);
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
static void add_string(struct buf *out, slice text)
{
    buf_lit(out, "\"");
    while (text.len > 0) {
        size_t plain = 0, valid = utf8_valid_len(text);
        while (plain < valid && (unsigned char)text.ptr[plain] >= ' ' && text.ptr[plain] != '"' &&
               text.ptr[plain] != '\\')
            plain++;
        buf_append(out, text.ptr, plain);
        if (plain < valid)
            add_escaped(out, (unsigned char)text.ptr[plain]);
        else if (plain < text.len)
            buf_lit(out, "\xef\xbf\xbd");
        text = slice_from(text, plain + 1);
    }
    buf_lit(out, "\"");
}

static void control_json_add_row(struct buf *out, const struct command_row *row)
{
    buf_lit(out, "{");
    for (uint32_t i = 0; i < row->count; i++) {
        const struct command_field *f = &row->fields[i];
        if (i > 0)
            buf_lit(out, ",");
        add_string(out, slice_of(f->key));
        buf_lit(out, ":");
        if (f->kind == FIELD_TEXT)
            add_string(out, f->str);
        else
            buf_add(out, f->str);
    }
    buf_lit(out, "}");
}

void control_refuse(struct buf *out, enum err e, slice text)
{
    buf_printf(out, "{\"ok\":false,\"error\":\"%s\",\"text\":", err_name(e));
    add_string(out, text);
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
    add_string(out, call->text);
    buf_lit(out, ",\"rows\":[");
    for (const struct command_row *row = call->rows; row != NULL; row = row->next) {
        if (row != call->rows)
            buf_lit(out, ",");
        control_json_add_row(out, row);
    }
    buf_lit(out, "]}\n");
}
