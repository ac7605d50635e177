#include "convert/lua.h"
#include "base/arena.h"
#include "base/ensure.h"

struct lua_reader {
    const char *at, *end, *begin;
    struct arena *tmp;
    struct why *why;
    unsigned fields;
};

static bool lua_fail(const struct lua_reader *r, const char *what)
{
    size_t line = 1;
    for (const char *c = r->begin; c < r->at; c++)
        line += *c == '\n';
    why_set(r->why, "line %zu: %s", line, what);
    return false;
}

static void lua_skip(struct lua_reader *r)
{
    for (;;) {
        while (r->at < r->end &&
               (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
            r->at++;
        if (r->end - r->at < 2 || r->at[0] != '-' || r->at[1] != '-')
            return;
        while (r->at < r->end && *r->at != '\n')
            r->at++;
    }
}

static bool lua_take(struct lua_reader *r, char c)
{
    lua_skip(r);
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

static bool lua_is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static slice lua_word(struct lua_reader *r)
{
    lua_skip(r);
    const char *from = r->at;
    while (r->at < r->end && lua_is_word(*r->at))
        r->at++;
    return (slice){ from, (size_t)(r->at - from) };
}

static int lua_hex_digit(char c)
{
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

/* Lua 5.4 §3.1, without \u and \z, which nothing writes. The backslash is behind us. */
static bool lua_escape(struct lua_reader *r, char *out)
{
    static const char names[] = "abfnrtv\\\"'\n", bytes[] = "\a\b\f\n\r\t\v\\\"'\n";
    const char *name = *r->at == '\0' ? NULL : strchr(names, *r->at);
    if (name != NULL) {
        *out = bytes[name - names];
        r->at++;
        return true;
    }
    if (*r->at == 'x' && r->end - r->at > 2 && lua_hex_digit(r->at[1]) >= 0 &&
        lua_hex_digit(r->at[2]) >= 0) {
        *out = (char)(lua_hex_digit(r->at[1]) * 16 + lua_hex_digit(r->at[2]));
        r->at += 3;
        return true;
    }
    int value = 0, digits = 0;
    while (digits < 3 && r->at < r->end && *r->at >= '0' && *r->at <= '9') {
        value = value * 10 + (*r->at++ - '0');
        digits++;
    }
    *out = (char)value;
    return digits > 0 && value <= 255;
}

static bool lua_string(struct lua_reader *r, slice *out)
{
    ensure(r->at < r->end);
    char quote = *r->at++;
    const char *from = r->at;
    while (r->at < r->end && *r->at != quote && *r->at != '\\' && *r->at != '\n')
        r->at++;
    size_t n = (size_t)(r->at - from);
    *out = (slice){ from, n };
    if (r->at < r->end && *r->at == quote) {
        r->at++;
        return true;
    }
    /* the text has escapes: it is not longer than what is left */
    const char *close = r->at;
    while (close < r->end && *close != quote && *close != '\n')
        close += *close == '\\' && r->end - close > 1 ? 2 : 1;
    if (close >= r->end || *close != quote)
        return lua_fail(r, "a string does not end");
    char *text = arena_alloc_raw(r->tmp, (size_t)(close - from) + 1);
    memcpy(text, from, n);
    while (r->at < close) {
        char c = *r->at++;
        if (c == '\\' && !lua_escape(r, &c))
            return lua_fail(r, "a string has an escape that is none");
        text[n++] = c;
    }
    ensure(r->at == close && n <= (size_t)(close - from));
    r->at = close + 1;
    *out = (slice){ text, n };
    return true;
}

static bool lua_value(struct lua_reader *r, struct lua_value *out, unsigned depth);

/* NULL: there are too many. */
static struct lua_field *lua_field_new(struct lua_reader *r)
{
    if (r->fields++ < LUA_FIELDS_MAX)
        return arena_new(r->tmp, struct lua_field, 1);
    lua_fail(r, "found too many fields");
    return NULL;
}

/* Names, or values in brackets; without either the next number. */
static bool lua_key(struct lua_reader *r, struct lua_value *key, int64_t next, unsigned depth)
{
    if (lua_take(r, '[')) {
        if (!lua_value(r, key, depth + 1))
            return false;
        if (key->type == LUA_TABLE || key->type == LUA_NIL || !lua_take(r, ']') ||
            !lua_take(r, '='))
            return lua_fail(r, "a key in brackets is wrong");
        return true;
    }
    lua_skip(r);
    const char *before = r->at;
    slice name = lua_word(r);
    if (name.len > 0 && (name.ptr[0] < '0' || name.ptr[0] > '9') && lua_take(r, '=')) {
        *key = (struct lua_value){ .type = LUA_STRING, .text = name };
        return true;
    }
    r->at = before;
    *key = (struct lua_value){ .type = LUA_NUMBER,
                               .text = slice_of(arena_printf(r->tmp, "%lld", (long long)next)) };
    return true;
}

static bool lua_table(struct lua_reader *r, struct lua_value *out, unsigned depth)
{
    struct lua_field **last = &out->first;
    int64_t next = 1;
    out->type = LUA_TABLE;
    if (depth > LUA_DEPTH_MAX)
        return lua_fail(r, "found too many tables inside each other");
    while (!lua_take(r, '}')) {
        struct lua_field *f = lua_field_new(r);
        if (f == NULL || !lua_key(r, &f->key, next, depth) || !lua_value(r, &f->value, depth + 1))
            return false;
        next += f->key.type == LUA_NUMBER;
        *last = f;
        last = &f->next;
        if (lua_take(r, ';') || lua_take(r, ','))
            continue;
        if (!lua_take(r, '}'))
            return lua_fail(r, "a table does not end");
        return true;
    }
    return true;
}

static bool lua_value(struct lua_reader *r, struct lua_value *out, unsigned depth)
{
    *out = (struct lua_value){ .type = LUA_NIL };
    if (lua_take(r, '{'))
        return lua_table(r, out, depth);
    if (r->at < r->end && (*r->at == '"' || *r->at == '\'')) {
        out->type = LUA_STRING;
        return lua_string(r, &out->text);
    }
    const char *from = r->at;
    bool minus = lua_take(r, '-');
    slice word = lua_word(r);
    if (!minus && slice_is(word, "nil"))
        return true;
    if (!minus && (slice_is(word, "true") || slice_is(word, "false"))) {
        out->type = LUA_BOOLEAN;
        out->truth = slice_is(word, "true");
        return true;
    }
    if (word.len == 0 || word.ptr[0] < '0' || word.ptr[0] > '9')
        return lua_fail(r, "found what is no constant");
    while (r->at < r->end &&
           (lua_is_word(*r->at) || *r->at == '.' || *r->at == '+' || *r->at == '-')) /* 1.5e+10 */
        r->at++;
    out->type = LUA_NUMBER;
    out->text = (slice){ from, (size_t)(r->at - from) };
    return true;
}

/* One `item({…});` of a list that is not at its end. */
static bool lua_item(struct lua_reader *r, struct lua_value *out)
{
    if (!slice_is(lua_word(r), "item") || !lua_take(r, '('))
        return lua_fail(r, "found no `item(`");
    if (!lua_value(r, out, 1))
        return false;
    if (!lua_take(r, ')'))
        return lua_fail(r, "an item does not end");
    (void)lua_take(r, ';');
    return true;
}

enum err lua_read(struct lua_value *out, slice text, struct arena *tmp, struct why *why)
{
    *out = (struct lua_value){ .type = LUA_NIL };
    if (text.len == 0)
        return OK;
    struct lua_reader r = { text.ptr, text.ptr + text.len, text.ptr, tmp, why, 0 };
    lua_skip(&r);
    if (r.at == r.end)
        return OK;
    if (!slice_is(lua_word(&r), "return")) {
        (void)lua_fail(&r, "found no `return`");
        return E_SYNTAX;
    }
    if (!lua_value(&r, out, 1))
        return E_SYNTAX;
    (void)lua_take(&r, ';');
    lua_skip(&r);
    if (r.at < r.end) {
        (void)lua_fail(&r, "there is something behind its end");
        return E_SYNTAX;
    }
    return OK;
}

enum err lua_each(slice text, struct arena *tmp, lua_item_fn *fn, void *arg, struct why *why)
{
    ensure(fn != NULL);
    if (text.len == 0)
        return OK;
    struct lua_reader r = { text.ptr, text.ptr + text.len, text.ptr, tmp, why, 0 };
    for (;;) {
        struct lua_value v = { .type = LUA_NIL };
        arena_reset(tmp);
        r.fields = 0;
        lua_skip(&r);
        if (r.at == r.end)
            return OK;
        if (!lua_item(&r, &v))
            return E_SYNTAX;
        fn(arg, &v);
    }
    return OK;
}

const struct lua_value *lua_get(const struct lua_value *table, const char *key)
{
    if (table == NULL || table->type != LUA_TABLE)
        return NULL;
    for (const struct lua_field *f = table->first; f != NULL; f = f->next)
        if (f->key.type == LUA_STRING && slice_is(f->key.text, key))
            return &f->value;
    return NULL;
}

slice lua_text(const struct lua_value *table, const char *key)
{
    const struct lua_value *v = lua_get(table, key);
    return v != NULL && (v->type == LUA_STRING || v->type == LUA_NUMBER) ? v->text : (slice){ 0 };
}
