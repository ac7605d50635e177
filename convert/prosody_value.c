#include "convert/prosody_value.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "codec/xml_elem.h"
#include "codec/xml_read.h"
#include <jansson.h>

/* A table that grows at its end. */
struct growing {
    struct lua_field **last;
    int64_t next; /* number of the next item of its list */
    unsigned fields;
    struct arena *tmp;
};

static bool grow(struct growing *g, struct lua_value key, struct lua_value value)
{
    if (++g->fields > LUA_FIELDS_MAX)
        return false;
    *g->last = arena_new(g->tmp, struct lua_field, 1);
    **g->last = (struct lua_field){ .key = key, .value = value };
    g->last = &(*g->last)->next;
    return true;
}

static struct lua_value string_value(slice text)
{
    return (struct lua_value){ .type = LUA_STRING, .text = text };
}

static bool grow_list(struct growing *g, struct lua_value value)
{
    slice number = slice_of(arena_printf(g->tmp, "%lld", (long long)g->next++));
    return grow(g, (struct lua_value){ .type = LUA_NUMBER, .text = number }, value);
}

void prosody_value_put(struct lua_value *table, const char *name, struct lua_value value,
                       struct arena *tmp)
{
    ensure(table->type == LUA_TABLE);
    struct lua_field *f = arena_new(tmp, struct lua_field, 1);
    *f = (struct lua_field){ table->first, string_value(slice_of(name)), value };
    table->first = f;
}

/* JSON, as Prosody's util.json writes tables: keys that are no strings are in `__hash`, a list of
 * key and value in turn, and what is a list beside keys is in `__array`. */

static bool of_json(struct lua_value *out, json_t *v, struct growing *all, unsigned depth);

static bool list_of_json(struct growing *g, json_t *list, struct growing *all, unsigned depth)
{
    json_t *v;
    size_t i;
    json_array_foreach(list, i, v)
    {
        struct lua_value item;
        if (!of_json(&item, v, all, depth + 1) || !grow_list(g, item))
            return false;
    }
    return true;
}

static bool hash_of_json(struct growing *g, json_t *list, struct growing *all, unsigned depth)
{
    for (size_t i = 0; i + 1 < json_array_size(list); i += 2) {
        struct lua_value key, value;
        if (!of_json(&key, json_array_get(list, i), all, depth + 1) ||
            !of_json(&value, json_array_get(list, i + 1), all, depth + 1))
            return false;
        if (key.type != LUA_TABLE && key.type != LUA_NIL && !grow(g, key, value))
            return false;
    }
    return true;
}

static bool table_of_json(struct lua_value *out, json_t *v, struct growing *all, unsigned depth)
{
    struct growing g = { .last = &out->first, .next = 1, .tmp = all->tmp };
    json_t *member;
    const char *name;
    size_t len;
    out->type = LUA_TABLE;
    if (depth > LUA_DEPTH_MAX)
        return false;
    if (json_is_array(v))
        return list_of_json(&g, v, all, depth);
    json_object_keylen_foreach(v, name, len, member)
    {
        slice key = { name, len };
        struct lua_value value;
        bool fine = slice_is(key, "__array") ? list_of_json(&g, member, all, depth)
                    : slice_is(key, "__hash")
                        ? hash_of_json(&g, member, all, depth)
                        : of_json(&value, member, all, depth + 1) &&
                              grow(&g, string_value(slice_dup(g.tmp, key)), value);
        if (!fine)
            return false;
    }
    return true;
}

/* all: counts values. false: there are too many, or too deep. */
static bool of_json(struct lua_value *out, json_t *v, struct growing *all, unsigned depth)
{
    *out = (struct lua_value){ .type = LUA_NIL };
    if (++all->fields > LUA_FIELDS_MAX)
        return false;
    if (json_is_object(v) || json_is_array(v))
        return table_of_json(out, v, all, depth);
    if (json_is_string(v)) {
        *out = string_value(
            slice_dup(all->tmp, (slice){ json_string_value(v), json_string_length(v) }));
    } else if (json_is_boolean(v)) {
        *out = (struct lua_value){ .type = LUA_BOOLEAN, .truth = json_is_true(v) };
    } else if (json_is_number(v)) {
        out->type = LUA_NUMBER;
        out->text = slice_of(json_is_integer(v)
                                 ? arena_printf(all->tmp, "%lld", (long long)json_integer_value(v))
                                 : arena_printf(all->tmp, "%.6f", json_real_value(v)));
    }
    return true;
}

static enum err value_of_json(struct lua_value *out, slice text, struct arena *tmp, struct why *why)
{
    struct growing all = { .tmp = tmp };
    json_error_t error;
    json_t *v = json_loadb(text.ptr, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (v == NULL) {
        why_set(why, "found no JSON: %s", error.text);
        return E_SYNTAX;
    }
    bool fine = of_json(out, v, &all, 1);
    json_decref(v);
    if (fine)
        return OK;
    why_set(why, "found too many fields, or too many tables inside each other");
    return E_LIMIT;
}

/* XML: a table with name, attr, and children as its list. Prefixes are resolved; of attributes only
 * those of XML itself keep theirs. */

static bool is_xml_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* The next attribute of a start tag that was checked. false: there is none. */
static bool next_attr(slice *rest, slice *name, slice *value)
{
    const char *at = rest->ptr, *end = at + rest->len;
    while (at < end && is_xml_space(*at))
        at++;
    const char *from = at;
    while (at < end && *at != '=' && !is_xml_space(*at))
        at++;
    *name = (slice){ from, (size_t)(at - from) };
    while (at < end && *at != '"' && *at != '\'')
        at++;
    const char *close = end - at > 1 ? memchr(at + 1, *at, (size_t)(end - at) - 1) : NULL;
    if (close == NULL)
        return false;
    *value = (slice){ at + 1, (size_t)(close - at) - 1 };
    *rest = (slice){ close + 1, (size_t)(end - close) - 1 };
    return true;
}

/* ns: of the element around it. */
static struct lua_value attrs_value(const struct elem *e, slice ns, struct arena *tmp)
{
    struct lua_value out = { .type = LUA_TABLE };
    slice name, value, rest = slice_from(e->start_tag, 1);
    while (rest.len > 0 && !is_xml_space(*rest.ptr)) /* the name of the element */
        rest = slice_from(rest, 1);
    struct growing g = { .last = &out.first, .tmp = tmp };
    if (!slice_eq(e->ns_uri, ns))
        (void)grow(&g, string_value(SLICE("xmlns")),
                   string_value(xml_unescape_attr(e->ns_uri, tmp)));
    while (next_attr(&rest, &name, &value)) {
        bool prefixed = name.len > 0 && memchr(name.ptr, ':', name.len) != NULL;
        if (!slice_is(name, "xmlns") && (!prefixed || slice_starts(name, SLICE("xml:"))))
            (void)grow(&g, string_value(name), string_value(xml_unescape_attr(value, tmp)));
    }
    return out;
}

static bool of_elem(struct lua_value *out, const struct elem *e, slice ns, struct growing *all);

static bool text_of_elem(struct growing *g, const char *from, const char *to)
{
    return from == to ||
           grow_list(g,
                     string_value(xml_unescape_text((slice){ from, (size_t)(to - from) }, g->tmp)));
}

static bool children_of(struct lua_value *out, const struct elem *e, struct growing *all)
{
    struct growing g = { .last = &out->first, .next = 1, .tmp = all->tmp };
    const char *at = e->content.ptr, *end = at + e->content.len;
    struct elem child;
    for (bool more = elem_first(e, &child); more; more = elem_next(&child, &child)) {
        struct lua_value v;
        if (!text_of_elem(&g, at, child.whole.ptr) || !of_elem(&v, &child, e->ns_uri, all) ||
            !grow_list(&g, v))
            return false;
        at = child.whole.ptr + child.whole.len;
    }
    return e->content.len == 0 || text_of_elem(&g, at, end);
}

static bool of_elem(struct lua_value *out, const struct elem *e, slice ns, struct growing *all)
{
    *out = (struct lua_value){ .type = LUA_TABLE };
    if (++all->fields > LUA_FIELDS_MAX || !children_of(out, e, all))
        return false;
    prosody_value_put(out, "attr", attrs_value(e, ns, all->tmp), all->tmp);
    prosody_value_put(out, "name", string_value(e->name), all->tmp);
    return true;
}

static enum err value_of_xml(struct lua_value *out, slice text, struct xml_work *xml,
                             struct arena *tmp, struct why *why)
{
    static const struct xml_limits limits = { .unit_bytes = PROSODY_VALUE_MAX,
                                              .depth = LUA_DEPTH_MAX,
                                              .attrs = 64,
                                              .name_bytes = 1024,
                                              .many_children = true };
    struct growing all = { .tmp = tmp };
    struct elem e;
    enum err error = xml_read_element(xml, text, SLICE(""), &limits);
    if (error == OK && elem_parse(&e, text, SLICE("")))
        error = of_elem(out, &e, SLICE(""), &all) ? OK : E_LIMIT;
    else if (error == OK)
        error = E_SYNTAX;
    if (error == E_LIMIT)
        why_set(why, "found too many elements, or too many inside each other");
    else if (error != OK)
        why_set(why, "found no well-formed XML");
    return error;
}

enum err prosody_value(struct lua_value *out, slice type, slice text, struct xml_work *xml,
                       struct arena *tmp, struct why *why)
{
    *out = (struct lua_value){ .type = LUA_NIL };
    if (slice_is(type, "json"))
        return value_of_json(out, text, tmp, why);
    if (slice_is(type, "xml"))
        return value_of_xml(out, text, xml, tmp, why);
    out->text = text;
    if (slice_is(type, "string")) {
        out->type = LUA_STRING;
    } else if (slice_is(type, "number")) {
        out->type = LUA_NUMBER;
    } else if (slice_is(type, "boolean")) {
        *out = (struct lua_value){ .type = LUA_BOOLEAN, .truth = slice_is(text, "true") };
    } else {
        why_set(why, "found a value of an unknown type");
        return E_SYNTAX;
    }
    return OK;
}
