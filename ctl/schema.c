#include "ctl/schema.h"
#include "base/alarm.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/metric.h"
#include "base/setting.h"
#include "home/duty.h"
#include <jansson.h>
#include <stdbool.h>

enum { VALUE_BYTES_MAX = 512 };

static void ctl_schema_set_text(json_t *schema, const char *key, const char *text)
{
    if (text != NULL && *text != '\0')
        json_object_set_new(schema, key, json_string(text));
}

static json_t *words_of(const char *const *words)
{
    json_t *list = json_array();
    for (; words != NULL && *words != NULL; words++)
        json_array_append_new(list, json_string(*words));
    return list;
}

static json_t *number_of(const struct param *p, bool limits)
{
    json_t *schema = json_pack("{s:s}", "type", "integer");
    if (limits && p->min < p->max && p->max < PARAM_NONE)
        json_object_set_new(schema, "maximum", json_integer(p->max));
    if (limits && p->min < p->max)
        json_object_set_new(schema, "minimum", json_integer(p->min));
    return schema;
}

/* The schema of a value in JSON. Times and sizes have units, so they are texts. */
static json_t *ctl_schema_value_of(const struct param *p, bool limits)
{
    if (p->type == PARAM_BOOL)
        return json_pack("{s:s}", "type", "boolean");
    if (p->type == PARAM_INT)
        return number_of(p, limits);
    if (p->type == PARAM_CHOICE)
        return json_pack("{s:o}", "enum", words_of(p->choices));
    return json_pack("{s:s}", "type", "string");
}

static json_t *schema_of(const struct param *p, bool limits)
{
    json_t *schema = ctl_schema_value_of(p, limits);
    bool words = p->type == PARAM_INT && p->choices != NULL;
    if (p->allow_none || words) {
        json_t *other = words ? words_of(p->choices) : json_pack("[s]", "none");
        schema = json_pack("{s:[o,{s:o}]}", "anyOf", schema, "enum", other);
    }
    ctl_schema_set_text(schema, "description", p->doc);
    ctl_schema_set_text(schema, "x-type", param_type_name(p->type));
    ctl_schema_set_text(schema, "x-unit", p->unit);
    if (p->many)
        json_object_set_new(schema, "x-many", json_true());
    return schema;
}

static void add_range(json_t *schema, const struct param *p)
{
    char range[VALUE_BYTES_MAX];
    param_range(p, range, sizeof range);
    ctl_schema_set_text(schema, "x-allowed", range);
}

static json_t *object_of(json_t *properties, json_t *required)
{
    return json_pack("{s:s,s:o,s:o,s:b}", "type", "object", "properties", properties, "required",
                     required, "additionalProperties", 0);
}

static json_t *settings_schema(void)
{
    json_t *all = json_object();
    for (const struct setting *s = setting_first(); s != NULL; s = s->next) {
        char def[VALUE_BYTES_MAX];
        json_t *one = schema_of(&s->param, true);
        setting_format(s, def, sizeof def); /* no value was set: the default */
        add_range(one, &s->param);
        json_object_set_new(one, "x-default", json_string(def));
        ctl_schema_set_text(one, "x-restart", s->restart);
        ctl_schema_set_text(one, "x-scope", setting_scope_name(s));
        json_object_set_new(all, s->name, one);
    }
    return object_of(all, json_array());
}

static json_t *arguments_schema(const struct command *c)
{
    json_t *all = json_object(), *required = json_array();
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
        static const char *const kinds[] = { "positional", "optional", "option",
                                             "flag",       "secret",   "made secret" };
        json_t *one = schema_of(&a->param, true);
        add_range(one, &a->param);
        ctl_schema_set_text(one, "x-kind", kinds[a->kind]);
        json_object_set_new(all, a->name, one);
        if (a->kind == ARG_POSITIONAL)
            json_array_append_new(required, json_string(a->name));
    }
    return object_of(all, required);
}

static json_t *rows_schema(const struct command *c)
{
    json_t *all = json_object(), *required = json_array();
    const struct command_column *at = c->columns;
    for (; at != NULL && at->name != NULL; at++) {
        json_object_set_new(all, at->name, schema_of(&at->param, false));
        if (!at->optional)
            json_array_append_new(required, json_string(at->name));
    }
    json_t *rows = json_pack("{s:s,s:o}", "type", "array", "items", object_of(all, required));
    if (c->columns == NULL)
        json_object_set_new(rows, "maxItems", json_integer(0));
    return rows;
}

static json_t *command_schema(const struct command *c)
{
    static const char *const places[] = { "here", "each", "duty" };
    static const char *const access[] = { "admin", "own", "local" };
    char permission[COMMAND_PERMISSION_MAX];
    json_t *one = object_of(
        json_pack("{s:o,s:o}", "args", arguments_schema(c), "rows", rows_schema(c)), json_array());
    ctl_schema_set_text(one, "description", c->doc);
    ctl_schema_set_text(one, "x-effect", c->effect == COMMAND_READS ? "reads" : "changes");
    ctl_schema_set_text(one, "x-access", access[c->access]);
    command_permission(c, permission, sizeof permission);
    ctl_schema_set_text(one, "x-permission", permission);
    ctl_schema_set_text(one, "x-also-permission", c->also_permission);
    ctl_schema_set_text(one, "x-asks", c->asks);
    ctl_schema_set_text(one, "x-asks-if", c->asks_if);
    ctl_schema_set_text(one, "x-loses", c->loses);
    if (c->job)
        json_object_set_new(one, "x-job", json_true());
    ctl_schema_set_text(one, "x-node", c->node);
    ctl_schema_set_text(one, "x-runs-at", places[c->runs_at]);
    ctl_schema_set_text(one, "x-home", c->home);
    ctl_schema_set_text(one, "x-duty", c->duty != DUTY_NONE ? duty_name((enum duty)c->duty) : NULL);
    return one;
}

static json_t *commands_schema(void)
{
    json_t *all = json_object();
    for (const struct command *c = command_first(); c != NULL; c = c->next)
        json_object_set_new(all, c->name, command_schema(c));
    return object_of(all, json_array());
}

static json_t *numbers_of(const int64_t *numbers)
{
    json_t *list = json_array();
    for (; *numbers != 0; numbers++)
        json_array_append_new(list, json_integer(*numbers));
    return list;
}

static json_t *metrics_schema(void)
{
    json_t *all = json_object();
    static const char *const kinds[] = { "counter", "gauge", "histogram" };
    for (const struct metric *m = metric_first(); m != NULL; m = m->next) {
        json_t *one = json_pack("{s:s,s:s,s:s}", "type", "integer", "description", m->help,
                                "x-kind", kinds[m->kind]);
        ctl_schema_set_text(one, "x-label", m->label);
        if (m->label != NULL)
            json_object_set_new(one, "x-values", words_of(m->values));
        if (m->buckets != NULL)
            json_object_set_new(one, "x-buckets", numbers_of(m->buckets));
        json_object_set_new(all, m->name, one);
    }
    return object_of(all, json_array());
}

static json_t *alarms_schema(void)
{
    json_t *all = json_object();
    for (const struct alarm *a = alarm_first(); a != NULL; a = a->next)
        json_object_set_new(all, a->name,
                            json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "type", "boolean",
                                      "description", a->text, "x-severity", alarm_severity_name(a),
                                      "x-action", a->action, "x-explanation", a->explanation,
                                      "x-raised-when", a->raised_when, "x-cleared-when",
                                      a->cleared_when));
    return object_of(all, json_array());
}

void schema_print(FILE *out)
{
    json_t *all =
        json_pack("{s:o,s:o,s:o,s:o}", "settings", settings_schema(), "commands", commands_schema(),
                  "metrics", metrics_schema(), "alarms", alarms_schema());
    json_t *schema = object_of(all, json_array());
    json_object_set_new(schema, "$schema",
                        json_string("https://json-schema.org/draft/2020-12/schema"));
    ctl_schema_set_text(schema, "title", "Muster " MUSTER_VERSION);
    int failed = json_dumpf(schema, out, JSON_INDENT(1));
    ensure(failed == 0);
    fputc('\n', out);
    json_decref(schema);
}
