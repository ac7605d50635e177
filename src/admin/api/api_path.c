/* api_path: what a path of the API names. Pure. */
#include "admin/api/api.h"
#include "base/arena.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/hex.h"
#include <ctype.h>
#include <stdio.h>

enum { QUERY_PART_MAX = 8192 };

static const struct {
    const char *name;
    enum http_verb method;
} verbs[] = { { "GET", HTTP_M_GET },
              { "POST", HTTP_M_POST },
              { "PUT", HTTP_M_PUT },
              { "DELETE", HTTP_M_DELETE },
              { "PATCH", HTTP_M_PATCH } };

static unsigned verb_place(enum http_verb method)
{
    unsigned place = 0;
    while (place < 4 && verbs[place].method != method)
        place++;
    return place;
}

const struct command *api_row(const struct api_target *t, enum http_verb method)
{
    return (t->methods & method) != 0 ? t->row[verb_place(method)] : NULL;
}

bool api_rest_next(slice *rest, enum http_verb *method, slice *path)
{
    slice one, verb;
    if (rest->len == 0)
        return false;
    slice_cut(*rest, ',', &one, rest);
    slice_word(&one, &verb);
    slice_word(&one, path);
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        if (slice_is(verb, verbs[i].name)) {
            *method = verbs[i].method;
            return true;
        }
    ensure(false);
    return false;
}

void api_name(char out[64], const struct command *c)
{
    snprintf(out, 64, "%s", c->name);
    for (char *at = out; *at != '\0'; at++)
        if (*at == ' ')
            *at = '-';
}

bool api_is_single(const struct command *c) { return c->record; }

bool api_has_pages(const struct command *c)
{
    return command_has_arg(c, "after") && command_has_arg(c, "limit");
}

bool api_finds(const struct command *c)
{
    ensure(!c->finds || (c->report && c->effect == COMMAND_READS));
    return c->finds;
}

bool api_requires(const struct command *c, const struct command_arg *a)
{
    return a->kind == ARG_POSITIONAL || (c->reasoned && strcmp(a->name, "reason") == 0);
}

bool api_is_thing(const struct api_target *t)
{
    const struct command *get = api_row(t, HTTP_M_GET);
    return get != NULL && (api_is_single(get) ||
                           (!api_has_pages(get) &&
                            (t->methods & (HTTP_M_PUT | HTTP_M_PATCH | HTTP_M_DELETE)) != 0));
}

/* RFC 3986 §2.1; `space`: what '+' stands for. */
static enum err decode(slice raw, char space, struct arena *tmp, slice *out)
{
    char *text = arena_alloc(tmp, raw.len + 1, 1);
    size_t len = 0;
    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.ptr[i];
        if (c == '%') {
            unsigned value = 0;
            for (unsigned k = 1; k <= 2; k++) {
                unsigned char digit = i + k < raw.len ? (unsigned char)raw.ptr[i + k] : 'z';
                if (!isxdigit(digit))
                    return E_SYNTAX;
                value = value * 16 +
                        (unsigned)(isdigit(digit) ? digit - '0' : tolower(digit) - 'a' + 10);
            }
            c = (char)value;
            i += 2;
        } else if (c == '+') {
            c = space;
        }
        text[len++] = c;
    }
    *out = (slice){ text, len };
    return OK;
}

static enum err parts_of(slice raw, struct arena *tmp, slice *parts, size_t *count)
{
    slice one, rest = slice_from(raw, 1);
    *count = 0;
    while (rest.len > 0 || *count == 0) {
        bool more = slice_cut(rest, '/', &one, &rest);
        if (*count == API_PARTS_MAX || decode(one, '+', tmp, &parts[*count]) != OK)
            return E_SYNTAX;
        (*count)++;
        if (more && rest.len == 0) { /* a slash at the end is an empty part */
            if (*count == API_PARTS_MAX)
                return E_SYNTAX;
            parts[(*count)++] = SLICE("");
        }
    }
    return OK;
}

static bool is_braced(slice part) { return part.len > 2 && part.ptr[0] == '{'; }

/* -1: it does not match; else a bit for each part that is no argument, the first one highest. */
static int match(slice path, const slice *parts, size_t count)
{
    slice one, rest = slice_from(path, 1);
    size_t i = 0;
    int literal = 0;
    for (; rest.len > 0; i++) {
        slice_cut(rest, '/', &one, &rest);
        bool braced = is_braced(one);
        if (i == count || (braced ? parts[i].len == 0 : !slice_eq(one, parts[i])))
            return -1;
        literal |= braced ? 0 : 1 << (API_PARTS_MAX - i);
    }
    return i == count ? literal : -1;
}

static void take_arguments(slice path, const slice *parts, struct api_target *out)
{
    slice one, rest = slice_from(path, 1);
    out->count = 0;
    for (size_t i = 0; rest.len > 0; i++) {
        slice_cut(rest, '/', &one, &rest);
        if (!is_braced(one))
            continue;
        out->names[out->count] = (slice){ one.ptr + 1, one.len - 2 };
        out->values[out->count++] = parts[i];
    }
}

static void find_resource(const slice *parts, size_t count, struct api_target *out)
{
    int best = -1;
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        slice path, rest = slice_of(c->rest);
        enum http_verb method;
        while (api_rest_next(&rest, &method, &path)) {
            int at = match(path, parts, count);
            if (at < 0 || at < best)
                continue;
            if (at > best)
                out->methods = 0;
            best = at;
            out->found = true;
            out->methods |= method;
            out->row[verb_place(method)] = c;
            take_arguments(path, parts, out);
        }
    }
}

enum err api_find(slice raw, struct arena *tmp, struct api_target *out)
{
    slice parts[API_PARTS_MAX];
    size_t count;
    *out = (struct api_target){ 0 };
    enum err e = parts_of(raw, tmp, parts, &count);
    if (e != OK)
        return e;
    if (count != 2 || !slice_is(parts[0], "commands")) {
        find_resource(parts, count, out);
        return OK;
    }
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        char name[64];
        api_name(name, c);
        if (!slice_is(parts[1], name))
            continue;
        out->found = out->by_name = true;
        out->methods = HTTP_M_POST;
        out->row[verb_place(HTTP_M_POST)] = c;
    }
    return OK;
}

enum err api_query(slice query, struct arena *tmp, slice *names, slice *values, size_t *count)
{
    size_t max = *count;
    *count = 0;
    while (query.len > 0) {
        slice one, name, value;
        slice_cut(query, '&', &one, &query);
        if (one.len == 0)
            continue;
        if (*count == max)
            return E_LIMIT;
        slice_cut(one, '=', &name, &value);
        if (one.len == name.len) /* a flag */
            value = SLICE("");
        if (one.len > QUERY_PART_MAX || decode(name, ' ', tmp, &names[*count]) != OK ||
            decode(value, ' ', tmp, &values[*count]) != OK)
            return E_SYNTAX;
        (*count)++;
    }
    return OK;
}

/* Hex: it needs no encoding in a query. */
slice api_cursor(slice after, struct arena *tmp)
{
    char *text = arena_alloc(tmp, 2 * after.len + 1, 1);
    hex_encode(text, after);
    return (slice){ text, 2 * after.len };
}

slice api_cursor_read(slice cursor, struct arena *tmp)
{
    size_t bytes = cursor.len / 2;
    char *text = arena_alloc(tmp, bytes + 1, 1);
    return cursor.len > 0 && hex_decode(text, bytes, cursor) ? (slice){ text, bytes }
                                                             : (slice){ 0 };
}
