#include "xmpp/form.h"
#include "base/arena.h"
#include "base/buf.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "xmpp/datetime.h"
#include "xmpp/jid.h"
#include "xmpp/ns.h"
#include <stdarg.h>

static const char *const kind_names[] = {
    [FORM_FORM] = "form",
    [FORM_SUBMIT] = "submit",
    [FORM_CANCEL] = "cancel",
    [FORM_RESULT] = "result",
};
static const char *const type_names[FORM_TYPE_COUNT] = {
    [FORM_TEXT_SINGLE] = "text-single",
    [FORM_TEXT_MULTI] = "text-multi",
    [FORM_TEXT_PRIVATE] = "text-private",
    [FORM_BOOLEAN] = "boolean",
    [FORM_LIST_SINGLE] = "list-single",
    [FORM_LIST_MULTI] = "list-multi",
    [FORM_JID_SINGLE] = "jid-single",
    [FORM_JID_MULTI] = "jid-multi",
    [FORM_HIDDEN] = "hidden",
    [FORM_FIXED] = "fixed",
};

bool form_wrong(struct form *f, enum stanza_error error, const char *fmt, ...)
{
    if (f->error != SE_NONE)
        return false;
    va_list ap;
    va_start(ap, fmt);
    f->error = error;
    f->text = slice_of(arena_vprintf(f->tmp, fmt, ap));
    va_end(ap);
    return false;
}

/* A name for our sentences, not too long, and cut between two characters. */
static slice form_short_name(slice var)
{
    enum { NAME_MAX = 100 };
    size_t len = var.len;
    if (len > NAME_MAX) {
        len = NAME_MAX;
        while (len > 0 && ((uint8_t)var.ptr[len] & 0xc0) == 0x80)
            len--;
    }
    return (slice){ var.ptr, len };
}

static bool wrong_field(struct form *f, slice var, const char *what)
{
    slice name = form_short_name(var);
    return form_wrong(f, SE_NOT_ACCEPTABLE, "the field '%.*s' %s", SLICE_ARG(name), what);
}

/* Reading. */

static bool read_kind(struct form *f, const struct elem *x)
{
    slice kind = elem_attr(x, "type", f->tmp);
    for (unsigned i = 0; i < sizeof kind_names / sizeof kind_names[0]; i++) {
        if (slice_is(kind, kind_names[i])) {
            f->kind = (enum form_kind)i;
            return true;
        }
    }
    return form_wrong(f, SE_BAD_REQUEST, "the form has no type, or one that is not known");
}

static enum form_type form_read_type(const struct elem *e, struct arena *tmp)
{
    slice type = elem_attr(e, "type", tmp);
    for (unsigned i = 0; i < FORM_TYPE_COUNT; i++) {
        if (slice_is(type, type_names[i]))
            return (enum form_type)i;
    }
    return FORM_TEXT_SINGLE;
}

static unsigned count_children(const struct elem *parent, const char *name)
{
    struct elem e;
    unsigned n = 0;
    for (bool more = elem_first(parent, &e); more; more = elem_next(&e, &e))
        n += elem_is(&e, name, NS_DATA);
    return n;
}

static void read_values(struct form_field *to, const struct elem *field, struct arena *tmp)
{
    struct elem e;
    slice *values = arena_new(tmp, slice, to->value_count);
    unsigned n = 0;
    for (bool more = elem_first(field, &e); more; more = elem_next(&e, &e)) {
        if (elem_is(&e, "value", NS_DATA))
            values[n++] = elem_text(&e, tmp);
    }
    to->value = values;
}

static bool is_new(const struct form *f, slice var)
{
    for (unsigned i = 0; i < f->field_count; i++) {
        if (slice_eq(f->field[i].var, var))
            return false;
    }
    return true;
}

/* `values`: how many there may still be. */
static bool form_read_field(struct form *f, struct form_field *to, const struct elem *e,
                            unsigned *values)
{
    *to = (struct form_field){ .var = elem_attr(e, "var", f->tmp),
                               .type = form_read_type(e, f->tmp) };
    if (to->var.len == 0) /* §3.2: only a fixed field does without */
        return to->type == FORM_FIXED ||
               form_wrong(f, SE_BAD_REQUEST, "a field of the form has no 'var'");
    if (!is_new(f, to->var))
        return form_wrong(f, SE_BAD_REQUEST, "a field of the form is there twice");
    to->value_count = count_children(e, "value");
    if (to->value_count > *values)
        return form_wrong(f, SE_BAD_REQUEST, "the form has more than %d values", FORM_VALUES_MAX);
    *values -= to->value_count;
    read_values(to, e, f->tmp);
    if (slice_is(to->var, "FORM_TYPE") && to->value_count > 0)
        f->form_type = to->value[0];
    f->field_count++;
    return true;
}

bool form_parse(struct form *out, const struct elem *x, struct arena *tmp)
{
    struct elem e;
    *out = (struct form){ .tmp = tmp, .error = SE_NONE };
    if (!elem_is(x, "x", NS_DATA))
        return form_wrong(out, SE_BAD_REQUEST, "this is not a form");
    if (!read_kind(out, x))
        return false;
    unsigned count = count_children(x, "field"), values = FORM_VALUES_MAX;
    if (count > FORM_FIELDS_MAX)
        return form_wrong(out, SE_BAD_REQUEST, "the form has more than %d fields", FORM_FIELDS_MAX);
    struct form_field *fields = arena_new(tmp, struct form_field, count);
    out->field = fields;
    for (bool more = elem_first(x, &e); more; more = elem_next(&e, &e)) {
        if (elem_is(&e, "field", NS_DATA) &&
            !form_read_field(out, &fields[out->field_count], &e, &values))
            return false;
    }
    return true;
}

bool form_parse_child(struct form *out, const struct elem *parent, struct arena *tmp)
{
    struct elem x;
    *out = (struct form){ .tmp = tmp, .error = SE_NONE };
    return elem_child(parent, "x", NS_DATA, &x) && form_parse(out, &x, tmp);
}

bool form_expect(struct form *f, const char *form_type)
{
    if (f->kind != FORM_SUBMIT)
        return form_wrong(f, SE_BAD_REQUEST, "the form has to be of type 'submit'");
    return slice_is(f->form_type, form_type) ||
           form_wrong(f, SE_BAD_REQUEST, "the FORM_TYPE has to be '%s'", form_type);
}

static bool form_is_listed(const char *const *list, slice text)
{
    for (; *list != NULL; list++) {
        if (slice_is(text, *list))
            return true;
    }
    return false;
}

bool form_only(struct form *f, const char *const *vars, enum stanza_error error)
{
    for (unsigned i = 0; i < f->field_count; i++) {
        slice var = f->field[i].var, name = form_short_name(var);
        if (!slice_is(var, "FORM_TYPE") && !form_is_listed(vars, var))
            return form_wrong(f, error, "the field '%.*s' is not known here", SLICE_ARG(name));
    }
    return true;
}

const struct form_field *form_field(const struct form *f, const char *var)
{
    for (unsigned i = 0; i < f->field_count; i++) {
        if (slice_is(f->field[i].var, var))
            return &f->field[i];
    }
    return NULL;
}

/* Getters. */

bool form_text(struct form *f, const char *var, slice *out)
{
    const struct form_field *field = form_field(f, var);
    if (field == NULL || field->value_count == 0)
        return false;
    if (field->value_count > 1) /* §3.2: only some types have more */
        return wrong_field(f, field->var, "can have one value only");
    *out = field->value[0];
    return true;
}

bool form_lines(struct form *f, const char *var, slice *out)
{
    const struct form_field *field = form_field(f, var);
    size_t len = 0;
    if (field == NULL || field->value_count == 0)
        return false;
    for (unsigned i = 0; i < field->value_count; i++)
        len += field->value[i].len + 1;
    char *text = arena_alloc_raw(f->tmp, len);
    size_t at = 0;
    for (unsigned i = 0; i < field->value_count; i++) {
        if (i > 0)
            text[at++] = '\n';
        if (field->value[i].len > 0)
            memcpy(text + at, field->value[i].ptr, field->value[i].len);
        at += field->value[i].len;
    }
    *out = (slice){ text, at };
    return true;
}

bool form_bool(struct form *f, const char *var, bool *out)
{
    slice text = { 0 };
    if (!form_text(f, var, &text))
        return false;
    bool yes = slice_is(text, "1") || slice_is(text, "true");
    if (!yes && !slice_is(text, "0") && !slice_is(text, "false"))
        return wrong_field(f, slice_of(var), "has to be 'true' or 'false'");
    *out = yes;
    return true;
}

bool form_int(struct form *f, const char *var, int64_t min, int64_t max, int64_t *out)
{
    slice text = { 0 };
    int64_t n;
    if (!form_text(f, var, &text))
        return false;
    if (!slice_int(text, &n) || n < min || n > max)
        return form_wrong(f, SE_NOT_ACCEPTABLE,
                          "the field '%s' has to be a number from %lld to %lld", var,
                          (long long)min, (long long)max);
    *out = n;
    return true;
}

bool form_jid(struct form *f, const char *var, struct jid *out)
{
    slice text = { 0 };
    struct jid j;
    if (!form_text(f, var, &text))
        return false;
    if (jid_parse(&j, text, f->tmp) != OK)
        return wrong_field(f, slice_of(var), "is not an address");
    *out = j;
    return true;
}

bool form_time(struct form *f, const char *var, int64_t *us)
{
    slice text = { 0 };
    if (!form_text(f, var, &text))
        return false;
    return datetime_parse(text, us) ||
           wrong_field(f, slice_of(var), "is not a date and time as of XEP-0082");
}

static bool find_choice(const char *const *options, slice text, unsigned *out)
{
    for (unsigned i = 0; options[i] != NULL; i++) {
        if (slice_is(text, options[i])) {
            *out = i;
            return true;
        }
    }
    return false;
}

bool form_choice(struct form *f, const char *var, const char *const *options, unsigned *out)
{
    slice text = { 0 };
    if (!form_text(f, var, &text))
        return false;
    return find_choice(options, text, out) ||
           wrong_field(f, slice_of(var), "has a value that cannot be chosen");
}

bool form_choices(struct form *f, const char *var, const char *const *options, uint32_t *out)
{
    const struct form_field *field = form_field(f, var);
    uint32_t set = 0;
    if (field == NULL)
        return false;
    for (unsigned i = 0; i < field->value_count; i++) {
        unsigned option;
        if (!find_choice(options, field->value[i], &option) || option >= 32)
            return wrong_field(f, field->var, "has a value that cannot be chosen");
        set |= 1u << option;
    }
    *out = set;
    return true;
}

bool form_values(struct form *f, const char *var, const slice **out, unsigned *count)
{
    const struct form_field *field = form_field(f, var);
    if (field == NULL)
        return false;
    *out = field->value;
    *count = field->value_count;
    return true;
}

static bool is_among(const slice *list, unsigned count, slice text)
{
    for (unsigned i = 0; i < count; i++) {
        if (slice_eq(list[i], text))
            return true;
    }
    return false;
}

bool form_jids(struct form *f, const char *var, const slice **out, unsigned *count)
{
    const struct form_field *field = form_field(f, var);
    if (field == NULL)
        return false;
    slice *jids = arena_new(f->tmp, slice, field->value_count);
    unsigned n = 0;
    for (unsigned i = 0; i < field->value_count; i++) {
        struct jid j;
        if (jid_parse(&j, field->value[i], f->tmp) != OK)
            return wrong_field(f, field->var, "has a value that is not an address");
        if (!is_among(jids, n, j.full))
            jids[n++] = j.full;
    }
    *out = jids;
    *count = n;
    return true;
}

/* Writing. */

static void put_open(struct xml_write *x, const char *var, const char *type)
{
    xml_open(x, "field", NULL);
    xml_attr_some(x, "var", slice_of(var));
    xml_attr_some(x, "type", slice_of(type));
}

static void form_add_child(struct xml_write *x, const char *name, const char *text)
{
    if (text != NULL)
        xml_element(x, name, slice_of(text));
}

void form_open_titled(struct xml_write *x, enum form_kind kind, const char *form_type,
                      const char *title, const char *instructions)
{
    xml_open_with(x, "x", NS_DATA, "type", slice_of(kind_names[kind]));
    form_add_child(x, "title", title);
    form_add_child(x, "instructions", instructions);
    if (form_type == NULL)
        return;
    put_open(x, "FORM_TYPE", "hidden");
    form_value(x, slice_of(form_type));
    form_field_close(x);
}

void form_open(struct xml_write *x, enum form_kind kind, const char *form_type)
{
    form_open_titled(x, kind, form_type, NULL, NULL);
}

static void field_start(struct xml_write *x, const struct form_row *row)
{
    put_open(x, row->var, type_names[row->type]);
    xml_attr_some(x, "label", slice_of(row->label));
}

void form_ask_open(struct xml_write *x, const struct form_row *row)
{
    field_start(x, row);
    form_add_child(x, "desc", row->desc);
    if (row->required)
        xml_empty(x, "required", NULL);
    for (const struct form_option *o = row->options; o != NULL && o->value != NULL; o++) {
        xml_open(x, "option", NULL);
        xml_attr_some(x, "label", slice_of(o->label));
        form_value(x, slice_of(o->value));
        xml_close(x);
    }
    if (row->extra != NULL)
        xml_raw(x, slice_of(row->extra));
}

void form_ask(struct xml_write *x, const struct form_row *row)
{
    form_ask_open(x, row);
    form_field_close(x);
}

void form_ask_value(struct xml_write *x, const struct form_row *row, slice value)
{
    form_ask_open(x, row);
    form_value(x, value);
    form_field_close(x);
}

void form_put_open(struct xml_write *x, const char *var, enum form_type type)
{
    put_open(x, var, type_names[type]);
}

void form_put(struct xml_write *x, const char *var, slice value)
{
    put_open(x, var, NULL);
    form_value(x, value);
    form_field_close(x);
}

void form_put_int(struct xml_write *x, const char *var, int64_t value)
{
    put_open(x, var, NULL);
    xml_element_int(x, "value", value);
    form_field_close(x);
}

void form_value(struct xml_write *x, slice value) { xml_element(x, "value", value); }

void form_field_close(struct xml_write *x) { xml_close(x); }

void form_reported(struct xml_write *x, const struct form_row *columns, unsigned count)
{
    xml_open(x, "reported", NULL);
    for (unsigned i = 0; i < count; i++) {
        field_start(x, &columns[i]);
        form_field_close(x);
    }
    xml_close(x);
}

void form_item_open(struct xml_write *x) { xml_open(x, "item", NULL); }

void form_item_close(struct xml_write *x) { xml_close(x); }

void form_close(struct xml_write *x) { xml_close(x); }
