#include "admin/api/api_reference.h"
#include "admin/api/api_private.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "codec/xml_write.h"
#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { CURL_BYTES_MAX = 4096, NAME_BYTES_MAX = 256, LIMITS_BYTES_MAX = 2048 };

/* The page that is being written, and the document that it is made from. */
struct page {
    struct xml_write x;
    json_t *document;
    slice base; /* "http://127.0.0.1:5281/api/v1" */
};

struct shown {
    const char *path, *verb;
    json_t *op;
};

static slice text_in(json_t *of, const char *name)
{
    return slice_of(json_string_value(json_object_get(of, name)));
}

static json_t *inside(json_t *of, const char *const *names)
{
    for (; *names != NULL; names++)
        of = json_object_get(of, *names);
    return of;
}
#define INSIDE(of, ...) inside(of, (const char *const[]){ __VA_ARGS__, NULL })

/* The schema of a body; NULL: it has none that is JSON. */
static json_t *schema_in(json_t *content)
{
    return INSIDE(content, "content", "application/json", "schema");
}

/* A link to an element of the page: what a template has in braces would have to be encoded. */
static void anchor(const struct shown *s, char out[NAME_BYTES_MAX])
{
    size_t len = 0;
    slice id = text_in(s->op, "operationId");
    ensure(id.len > 0);
    for (size_t i = 0; i < id.len && len + 1 < NAME_BYTES_MAX; i++)
        if (id.ptr[i] != '{' && id.ptr[i] != '}')
            out[len++] = id.ptr[i];
    out[len] = '\0';
}

/* An empty element, too, has a start tag and an end tag in HTML. */
static void page_element(struct page *p, const char *name, slice text)
{
    xml_open(&p->x, name, NULL);
    xml_text(&p->x, text);
    xml_close(&p->x);
}

/* A sentence of a row, with `words` of programs between backticks. */
static void page_doc(struct page *p, const char *around, slice doc)
{
    slice part;
    bool code = false;
    xml_open(&p->x, around, NULL);
    xml_text(&p->x, SLICE(""));
    for (; doc.len > 0; code = !code) {
        slice_cut(doc, '`', &part, &doc);
        if (code)
            page_element(p, "code", part);
        else
            xml_text(&p->x, part);
    }
    xml_close(&p->x);
}

static void page_link(struct page *p, const char *to, slice text)
{
    xml_open_with(&p->x, "a", NULL, "href", slice_of(to));
    xml_text(&p->x, text);
    xml_close(&p->x);
}

static void page_cells(struct page *p, const char *const *titles)
{
    xml_open(&p->x, "thead", NULL);
    xml_open(&p->x, "tr", NULL);
    for (; *titles != NULL; titles++) {
        xml_open_with(&p->x, "th", NULL, "scope", SLICE("col"));
        xml_text(&p->x, slice_of(*titles));
        xml_close(&p->x);
    }
    xml_close(&p->x);
    xml_close(&p->x);
}

static void page_code(struct page *p, const char *around, slice text)
{
    xml_open(&p->x, around, NULL);
    page_element(p, "code", text);
    xml_close(&p->x);
}

/* The type of a value. */

static slice type_word(json_t *schema)
{
    slice type = text_in(schema, "type"), own = text_in(schema, "x-type");
    bool plain =
        own.len == 0 || slice_is(own, "int") || slice_is(own, "bool") || slice_is(own, "string");
    return plain ? type : own;
}

static void choices_words(struct buf *out, json_t *list)
{
    json_t *one;
    size_t i;
    json_array_foreach(list, i, one)
        buf_printf(out, "%s%s", i > 0 ? ", " : "", json_string_value(one));
}

static void add_scalar(struct buf *out, json_t *value)
{
    if (json_is_string(value))
        buf_printf(out, "%s", json_string_value(value));
    else if (json_is_integer(value))
        buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else
        buf_printf(out, "%s", json_is_true(value) ? "true" : "false");
}

static const char *allowed_gap(const struct buf *out) { return out->len > 0 ? "; " : ""; }

/* "1 to 100", "one of: a, b", "default 7", "never shown". */
static void add_allowed(struct buf *out, json_t *schema)
{
    json_t *words = json_object_get(schema, "enum"), *def = json_object_get(schema, "default");
    slice allowed = text_in(schema, "x-allowed"), unit = text_in(schema, "x-unit");
    if (words != NULL) {
        buf_printf(out, "%sone of: ", allowed_gap(out));
        choices_words(out, words);
    }
    if (allowed.len > 0)
        buf_printf(out, "%s%.*s", allowed_gap(out), SLICE_ARG(allowed));
    if (unit.len > 0)
        buf_printf(out, "%s%.*s", allowed_gap(out), SLICE_ARG(unit));
    if (def != NULL) {
        buf_printf(out, "%sdefault: ", allowed_gap(out));
        add_scalar(out, def);
    }
    if (json_is_true(json_object_get(schema, "readOnly")))
        buf_printf(out, "%scannot be changed, and may be sent as it is", allowed_gap(out));
    if (json_is_true(json_object_get(schema, "writeOnly")))
        buf_printf(out, "%snever shown", allowed_gap(out));
}

static void schema_words(json_t *schema, struct buf *type, struct buf *allowed)
{
    json_t *one, *any = json_object_get(schema, "anyOf");
    size_t i;
    if (any == NULL)
        buf_add(type, type_word(schema));
    json_array_foreach(any, i, one)
    {
        slice word = type_word(one);
        if (word.len > 0)
            buf_printf(type, "%s%.*s", type->len > 0 ? " or " : "", SLICE_ARG(word));
        add_allowed(allowed, one);
    }
    add_allowed(allowed, schema);
}

/* A row of a table: "items[].jid", its type, limits, meaning. `required` NULL: not said. */
static void page_row(struct page *p, const char *name, json_t *schema, const char *required,
                     slice doc)
{
    struct buf type, allowed;
    buf_init(&type, LIMITS_BYTES_MAX);
    buf_init(&allowed, LIMITS_BYTES_MAX);
    schema_words(schema, &type, &allowed);
    ensure(!type.overflow && !allowed.overflow); /* all of it is in the program */
    xml_open(&p->x, "tr", NULL);
    xml_open_with(&p->x, "th", NULL, "scope", SLICE("row"));
    page_element(p, "code", slice_of(name));
    if (required != NULL) {
        xml_text(&p->x, SLICE(" "));
        page_element(p, "small", slice_of(required));
    }
    xml_close(&p->x);
    page_element(p, "td", buf_fit(&type));
    page_element(p, "td", buf_fit(&allowed));
    page_doc(p, "td", doc);
    xml_close(&p->x);
    buf_fini(&type);
    buf_fini(&allowed);
}

static bool is_in(json_t *list, const char *name)
{
    json_t *one;
    size_t i;
    json_array_foreach(list, i, one) if (strcmp(json_string_value(one), name) == 0) return true;
    return false;
}

/* Words for members that are always there, and for the others; NULL: none. */
struct said {
    const char *must, *may;
};

static void page_members(struct page *p, json_t *schema, const char *before, struct said said)
{
    json_t *required = json_object_get(schema, "required"), *one;
    const char *name;
    json_object_foreach(json_object_get(schema, "properties"), name, one)
    {
        char whole[NAME_BYTES_MAX];
        json_t *items = json_object_get(one, "items");
        bool list = json_object_get(items, "properties") != NULL;
        snprintf(whole, sizeof whole, "%s%s%s", before, name, list ? "[]" : "");
        page_row(p, whole, one, is_in(required, name) ? said.must : said.may,
                 text_in(one, "description"));
        snprintf(whole, sizeof whole, "%s%s[].", before, name);
        if (list)
            page_members(p, items, whole, said);
    }
}

static void table_open(struct page *p, const char *title)
{
    page_element(p, "h3", slice_of(title));
    xml_open(&p->x, "table", NULL);
    page_cells(p, (const char *const[]){ "name", "type", "allowed", "meaning", NULL });
    xml_open(&p->x, "tbody", NULL);
}

static void table_close(struct page *p)
{
    xml_close(&p->x);
    xml_close(&p->x);
}

static void page_parameters(struct page *p, json_t *op)
{
    json_t *all = json_object_get(op, "parameters"), *one;
    size_t i;
    if (json_array_size(all) == 0)
        return;
    table_open(p, "Parameters");
    json_array_foreach(all, i, one)
    {
        char where[NAME_BYTES_MAX];
        snprintf(where, sizeof where, "%s%s", json_string_value(json_object_get(one, "in")),
                 json_is_true(json_object_get(one, "required")) ? ", required" : "");
        page_row(p, json_string_value(json_object_get(one, "name")), json_object_get(one, "schema"),
                 where, text_in(one, "description"));
    }
    table_close(p);
}

static void page_schema(struct page *p, const char *title, json_t *schema, struct said said)
{
    if (json_object_size(json_object_get(schema, "properties")) == 0)
        return;
    table_open(p, title);
    page_members(p, schema, "", said);
    table_close(p);
}

/* The example: a command line as it can be pasted, with the token in a variable. */

static void curl_encoded(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 128 && (isalnum(c) || strchr("-._~@", c) != NULL))
            buf_append(out, text, 1);
        else
            buf_printf(out, "%%%02X", c);
    }
}

static void curl_example(struct buf *out, json_t *parameter)
{
    struct buf value;
    json_t *known = json_object_get(parameter, "example");
    if (known == NULL)
        return;
    buf_init(&value, NAME_BYTES_MAX);
    add_scalar(&value, known);
    buf_append(&value, "", 1);
    curl_encoded(out, buf_fit(&value).ptr);
    buf_fini(&value);
}

static json_t *parameter_named(json_t *all, slice name)
{
    json_t *one;
    size_t i;
    json_array_foreach(all, i, one)
    {
        if (slice_eq(text_in(one, "name"), name))
            return one;
    }
    return NULL;
}

static void curl_path(struct buf *out, const char *path, json_t *parameters)
{
    const char *end;
    for (; *path != '\0'; path++) {
        if (*path == '{' && (end = strchr(path, '}')) != NULL) {
            slice name = { path + 1, (size_t)(end - path) - 1 };
            json_t *parameter = parameter_named(parameters, name);
            ensure(parameter != NULL);
            curl_example(out, parameter);
            path = end;
        } else {
            buf_append(out, path, 1);
        }
    }
}

static void curl_query(struct buf *out, json_t *parameters)
{
    const char *before = "?";
    json_t *one;
    size_t i;
    json_array_foreach(parameters, i, one)
    {
        if (!slice_is(text_in(one, "in"), "query") || json_object_get(one, "example") == NULL)
            continue;
        buf_printf(out, "%s%s=", before, json_string_value(json_object_get(one, "name")));
        curl_example(out, one);
        before = "&";
    }
}

static int example_part(const char *text, size_t len, void *out)
{
    buf_append(out, text, len);
    return 0;
}

static void curl_body(struct buf *out, const struct shown *s)
{
    json_t *body = INSIDE(s->op, "requestBody", "content", "application/json", "example");
    if (json_object_size(body) > 0) {
        buf_lit(out, " \\\n  -H 'Content-Type: application/json' -d '");
        json_dump_callback(body, example_part, out, JSON_ENSURE_ASCII);
        buf_lit(out, "'");
    }
}

static bool needs_nothing(json_t *op)
{
    json_t *security = json_object_get(op, "security");
    return security != NULL && json_array_size(security) == 0;
}

static void verb_letters(struct buf *out, const char *verb)
{
    for (; *verb != '\0'; verb++) {
        char c = (char)toupper((unsigned char)*verb);
        buf_append(out, &c, 1);
    }
}

static void page_example(struct page *p, const struct shown *s)
{
    struct buf line;
    json_t *parameters = json_object_get(s->op, "parameters");
    buf_init(&line, CURL_BYTES_MAX);
    buf_lit(&line, "curl");
    if (INSIDE(s->op, "responses", "200", "content", "text/event-stream") != NULL)
        buf_lit(&line, " -N");
    if (strcmp(s->verb, "get") != 0) {
        buf_lit(&line, " -X ");
        verb_letters(&line, s->verb);
    }
    if (!needs_nothing(s->op))
        buf_lit(&line, " -H \"Authorization: Bearer $TOKEN\"");
    buf_printf(&line, " '%.*s", SLICE_ARG(p->base));
    curl_path(&line, s->path, parameters);
    curl_query(&line, parameters);
    buf_lit(&line, "'");
    curl_body(&line, s);
    ensure(!line.overflow);
    page_element(p, "h3", SLICE("Example"));
    page_code(p, "pre", buf_fit(&line));
    buf_fini(&line);
}

/* The answers. */

static void page_answers(struct page *p, json_t *op)
{
    static const struct said said = { .may = "not always" };
    json_t *one, *before = NULL;
    const char *status;
    json_object_foreach(json_object_get(op, "responses"), status, one)
    {
        char title[NAME_BYTES_MAX];
        json_t *schema = schema_in(one);
        if (json_object_get(one, "$ref") != NULL)
            continue;
        snprintf(title, sizeof title, "Answer %s: %s", status,
                 json_string_value(json_object_get(one, "description")));
        if (schema != NULL && !json_equal(schema, before))
            page_schema(p, title, schema, said);
        else
            page_element(p, "h3", slice_of(title));
        before = schema;
    }
}

/* Names the kinds of problems, which have a table of their own. */
static void page_problems_of(struct page *p, json_t *op)
{
    json_t *one;
    const char *status;
    page_element(p, "h3", SLICE("Problems"));
    xml_open(&p->x, "p", NULL);
    json_object_foreach(json_object_get(op, "responses"), status, one)
    {
        slice to = text_in(one, "$ref");
        const char *name = strrchr(to.len > 0 ? to.ptr : "", '/');
        char at[NAME_BYTES_MAX];
        if (name == NULL)
            continue;
        snprintf(at, sizeof at, "#%s", name + 1);
        page_link(p, at, slice_of(status));
        xml_text(&p->x, SLICE(" "));
    }
    xml_close(&p->x);
}

/* One operation. */

static void page_fact(struct page *p, const char *name, slice value)
{
    if (value.len == 0)
        return;
    page_element(p, "dt", slice_of(name));
    page_code(p, "dd", value);
}

static void page_facts(struct page *p, const struct shown *s, const char *id)
{
    char to[NAME_BYTES_MAX + 1];
    slice permission = text_in(s->op, "x-permission");
    xml_open_with(&p->x, "dl", NULL, "class", SLICE("facts"));
    page_fact(p, "Permission", permission);
    page_fact(p, "And", text_in(s->op, "x-also-permission"));
    if (permission.len == 0) {
        page_element(p, "dt", SLICE("Permission"));
        page_element(p, "dd",
                     needs_nothing(s->op) ? SLICE("none: it is open to all")
                                          : SLICE("none: each token and each session may"));
    }
    page_fact(p, "Command of musterctl", text_in(s->op, "x-command"));
    if (text_in(s->op, "x-access").len > 0) {
        page_element(p, "dt", SLICE("Where"));
        page_element(p, "dd",
                     SLICE("only musterctl on the server's host may do it: the API answers 403"));
    }
    page_element(p, "dt", SLICE("Link"));
    xml_open(&p->x, "dd", NULL);
    snprintf(to, sizeof to, "#%s", id);
    page_link(p, to, slice_of(id));
    xml_close(&p->x);
    xml_close(&p->x);
}

static void page_operation(struct page *p, const struct shown *s)
{
    static const struct said said = { .must = "required" };
    char id[NAME_BYTES_MAX];
    struct buf verb;
    anchor(s, id);
    buf_init(&verb, NAME_BYTES_MAX);
    verb_letters(&verb, s->verb);
    xml_open_with(&p->x, "details", NULL, "id", slice_of(id));
    xml_open(&p->x, "summary", NULL);
    page_element(p, "b", buf_fit(&verb));
    xml_text(&p->x, SLICE(" "));
    page_element(p, "code", slice_of(s->path));
    xml_text(&p->x, SLICE(" "));
    page_element(p, "span", text_in(s->op, "summary"));
    xml_close(&p->x);
    page_doc(p, "p", text_in(s->op, "description"));
    page_facts(p, s, id);
    page_parameters(p, s->op);
    page_schema(p, "Body", schema_in(json_object_get(s->op, "requestBody")), said);
    page_example(p, s);
    page_answers(p, s->op);
    page_problems_of(p, s->op);
    xml_close(&p->x);
    buf_fini(&verb);
}

/* Parts of the page: what is about the same, resources before commands by their names. */

static bool by_name(const char *path) { return strncmp(path, "/commands/", 10) == 0; }

static void page_part(struct page *p, const char *tag, const char *title)
{
    json_t *ops, *op;
    struct shown s;
    xml_open_with(&p->x, "section", NULL, "id", slice_of(tag));
    page_element(p, "h2", slice_of(title));
    for (int names = 0; names < 2; names++) {
        json_object_foreach(json_object_get(p->document, "paths"), s.path, ops)
        {
            if (by_name(s.path) != (names == 1))
                continue;
            json_object_foreach(ops, s.verb, op)
            {
                s.op = op;
                if (is_in(json_object_get(op, "tags"), title))
                    page_operation(p, &s);
            }
        }
    }
    xml_close(&p->x);
}

/* The kinds of problems. */
static void page_problems(struct page *p)
{
    json_t *one, *all = INSIDE(p->document, "components", "responses");
    const char *name;
    xml_open_with(&p->x, "section", NULL, "id", SLICE("problems"));
    page_element(p, "h2", SLICE("Problems"));
    page_element(p, "p", SLICE("A refusal is application/problem+json (RFC 9457):"));
    page_schema(
        p, "Members",
        INSIDE(json_object_get(all, "problem"), "content", "application/problem+json", "schema"),
        (struct said){ .may = "not always" });
    xml_open(&p->x, "table", NULL);
    page_cells(p, (const char *const[]){ "status", "when", "error", NULL });
    xml_open(&p->x, "tbody", NULL);
    json_object_foreach(all, name, one)
    {
        struct buf codes;
        const char *status = strchr(name, '-');
        buf_init(&codes, LIMITS_BYTES_MAX);
        choices_words(&codes, json_object_get(one, "x-errors"));
        xml_open_with(&p->x, "tr", NULL, "id", slice_of(name));
        xml_open_with(&p->x, "th", NULL, "scope", SLICE("row"));
        xml_text(&p->x, status != NULL ? slice_of(status + 1) : SLICE("default"));
        xml_close(&p->x);
        page_doc(p, "td", text_in(one, "description"));
        page_code(p, "td", buf_fit(&codes));
        xml_close(&p->x);
        buf_fini(&codes);
    }
    table_close(p);
    xml_close(&p->x);
}

/* The whole. */

static void page_head(struct page *p)
{
    xml_open(&p->x, "head", NULL);
    xml_empty_with(&p->x, "meta", NULL, "charset", SLICE("utf-8"));
    xml_open_with(&p->x, "meta", NULL, "name", SLICE("viewport"));
    xml_attr(&p->x, "content", SLICE("width=device-width, initial-scale=1"));
    xml_close(&p->x);
    page_element(p, "title", SLICE("Muster: API"));
    xml_open_with(&p->x, "link", NULL, "rel", SLICE("icon"));
    xml_attr(&p->x, "href", SLICE("../../admin/icon.svg"));
    xml_close(&p->x);
    xml_open_with(&p->x, "link", NULL, "rel", SLICE("stylesheet"));
    xml_attr(&p->x, "href", SLICE("../../admin/reference.css"));
    xml_close(&p->x);
    xml_open_with(&p->x, "script", NULL, "src", SLICE("../../admin/reference.js"));
    xml_attr(&p->x, "defer", SLICE(""));
    xml_text(&p->x, SLICE("")); /* HTML has no empty tags of scripts */
    xml_close(&p->x);
    xml_close(&p->x);
}

/* It does nothing without the script, which shows it. */
static void page_filter(struct page *p)
{
    xml_open_with(&p->x, "p", NULL, "id", SLICE("filter"));
    xml_attr(&p->x, "hidden", SLICE(""));
    xml_open_with(&p->x, "label", NULL, "for", SLICE("words"));
    xml_text(&p->x, SLICE("Filter"));
    xml_close(&p->x);
    xml_open_with(&p->x, "input", NULL, "id", SLICE("words"));
    xml_attr(&p->x, "type", SLICE("search"));
    xml_attr(&p->x, "autocomplete", SLICE("off"));
    xml_close(&p->x);
    xml_open_with(&p->x, "output", NULL, "for", SLICE("words"));
    xml_text(&p->x, SLICE(""));
    xml_close(&p->x);
    xml_close(&p->x);
}

static void page_words(struct page *p)
{
    json_t *info = json_object_get(p->document, "info");
    xml_open(&p->x, "h1", NULL);
    xml_text(&p->x, SLICE("API of "));
    xml_text(&p->x, text_in(info, "title"));
    xml_text(&p->x, SLICE(" "));
    xml_text(&p->x, text_in(info, "version"));
    xml_close(&p->x);
    page_element(p, "p", text_in(info, "description"));
    xml_open(&p->x, "p", NULL);
    xml_text(&p->x, SLICE("Programs read all of this from "));
    page_link(p, "openapi.json", SLICE("openapi.json"));
    xml_text(&p->x, SLICE(". The examples have the access token in a variable:"));
    xml_close(&p->x);
    page_code(p, "pre", SLICE("export TOKEN=…"));
}

/* The tags of operations, each once, in the order of the alphabet. */
static json_t *tags_of(json_t *document)
{
    json_t *ops, *op, *tag, *found = json_object();
    const char *path, *verb;
    size_t i;
    json_object_foreach(json_object_get(document, "paths"), path, ops)
    {
        json_object_foreach(ops, verb, op)
        {
            json_array_foreach(json_object_get(op, "tags"), i, tag)
                json_object_set_new(found, json_string_value(tag), json_true());
        }
    }
    return found;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void page_parts(struct page *p, struct arena *tmp)
{
    json_t *found = tags_of(p->document), *one;
    size_t count = 0, max = json_object_size(found);
    const char **tags = arena_new(tmp, const char *, max), *tag;
    json_object_foreach(found, tag, one) tags[count++] = tag;
    ensure(count == max);
    qsort(tags, count, sizeof tags[0], by_text);
    xml_open_with(&p->x, "nav", NULL, "aria-label", SLICE("Parts"));
    for (size_t i = 0; i < count; i++)
        page_link(p, arena_printf(tmp, "#part-%s", tags[i]), slice_of(tags[i]));
    page_link(p, "#problems", SLICE("problems"));
    xml_close(&p->x);
    for (size_t i = 0; i < count; i++)
        page_part(p, arena_printf(tmp, "part-%s", tags[i]), tags[i]);
    json_decref(found);
}

void api_page(struct buf *out, slice base)
{
    struct arena *tmp = arena_create(0);
    json_t *document = api_document();
    ensure(base.len > 0);
    struct page p = { .document = document, .base = base };
    buf_add(out, SLICE("<!DOCTYPE html>\n"));
    xml_write_to(&p.x, out);
    xml_open_with(&p.x, "html", NULL, "lang", SLICE("en"));
    page_head(&p);
    xml_open(&p.x, "body", NULL);
    xml_open(&p.x, "main", NULL);
    page_words(&p);
    page_filter(&p);
    page_parts(&p, tmp);
    page_problems(&p);
    xml_close_all(&p.x);
    json_decref(document);
    arena_destroy(&tmp);
}
