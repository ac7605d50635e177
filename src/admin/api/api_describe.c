#include "admin/api/api_describe.h"
#include "admin/api/api_private.h"
#include "admin/control_json.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "base/setting.h"
#include <jansson.h>
#include <pthread.h>
#include <string.h>

/* It is a shorter form of the OpenAPI document, with what a form and a dialog need and that does
 * not say: what a command asks before it runs, and what its columns are called. */

enum { TEXT_BYTES_MAX = 16384 };

static void put(json_t *to, const char *key, const char *text)
{
    if (text != NULL && *text != '\0')
        json_object_set_new(to, key, json_string(text));
}

static void put_flag(json_t *to, const char *key, bool on)
{
    if (on)
        json_object_set_new(to, key, json_true());
}

static void put_words(json_t *to, const char *key, const char *const *words)
{
    json_t *list = json_array();
    for (; words != NULL && *words != NULL; words++)
        json_array_append_new(list, json_string(*words));
    if (json_array_size(list) > 0)
        json_object_set_new(to, key, list);
    else
        json_decref(list);
}

/* A text of a row of the command, which names members. */
static void put_members(json_t *to, const char *key, const struct command *c, slice text)
{
    struct buf out;
    buf_init(&out, TEXT_BYTES_MAX);
    api_members_named(&out, c, text);
    ensure(!out.overflow); /* all of it is in the program */
    if (out.len > 0)
        json_object_set_new(to, key, json_stringn(out.ptr, out.len));
    buf_fini(&out);
}

static json_t *described(const struct param *p)
{
    static const char *const refers[REFERS_KINDS] = {
        [REFERS_SETTING] = "setting",     [REFERS_LOG_AREA] = "area",
        [REFERS_ALARM] = "alarm",         [REFERS_GROUP] = "group",
        [REFERS_TOKEN] = "token",         [REFERS_ROLE] = "role",
        [REFERS_TEMPLATE] = "template",   [REFERS_ADMIN] = "admin",
        [REFERS_WEBHOOK] = "webhook",     [REFERS_PARTNER] = "partner",
        [REFERS_COMPONENT] = "component", [REFERS_SERVED_DOMAIN] = "served-domain",
        [REFERS_HOSTED] = "hosted",       [REFERS_SETTING_VALUE] = "value",
    };
    char range[512];
    json_t *one = json_pack("{s:s,s:s,s:s}", "name", p->name, "type", param_type_name(p->type),
                            "doc", p->doc);
    param_range(p, range, sizeof range);
    put(one, "allowed", p->form != NULL ? p->form : range);
    put(one, "unit", p->unit);
    put(one, "refers", refers[p->refers]);
    put_words(one, "choices", param_choices(p));
    put_flag(one, "many", p->many);
    put_flag(one, "lines", p->lines);
    put_flag(one, "long",
             p->type == PARAM_TEXT && p->form == NULL && p->choices == NULL && !p->many);
    return one;
}

static const char *kind_name(enum command_arg_kind kind)
{
    static const char *const names[] = {
        [ARG_POSITIONAL] = "required", [ARG_OPTIONAL] = "optional", [ARG_OPTION] = "option",
        [ARG_FLAG] = "flag",           [ARG_SECRET] = "secret",     [ARG_SECRET_MADE] = "made",
    };
    return names[kind];
}

static json_t *command_json(const struct command *c)
{
    json_t *args = json_array(), *columns = json_array();
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
        json_t *one = described(&a->param);
        put_members(one, "doc", c, slice_of(a->doc));
        put(one, "kind", kind_name(a->kind));
        put_flag(one, "needed", api_requires(c, a));
        json_array_append_new(args, one);
    }
    for (const struct command_column *at = c->columns; at != NULL && at->name != NULL; at++) {
        json_t *one = described(&at->param);
        put_members(one, "doc", c, slice_of(at->doc));
        put(one, "title", at->title);
        put_flag(one, "wide", at->wide);
        put_flag(one, "apart", at->apart);
        put_flag(one, "exact", at->exact);
        json_array_append_new(columns, one);
    }
    json_t *all = json_pack("{s:s,s:s,s:o,s:o}", "name", c->name, "area", c->area, "args", args,
                            "columns", columns);
    put_members(all, "doc", c, slice_of(c->doc));
    put_members(all, "brief", c, command_brief(c->doc));
    put_members(all, "asks", c, c->asks != NULL ? slice_of(c->asks) : (slice){ 0 });
    put(all, "loses", c->loses);
    put(all, "file", c->file);
    put_flag(all, "reads", c->effect == COMMAND_READS);
    put_flag(all, "audited", c->audited);
    put_flag(all, "record", c->record);
    put_flag(all, "report", c->report);
    put_flag(all, "job", c->job);
    put_flag(all, "pages", api_has_pages(c));
    return all;
}

/* Of these the caller learns the name only, so that a page can say where it is done. */
static json_t *local_json(const struct command *c)
{
    slice brief = command_brief(c->doc);
    return json_pack("{s:s,s:s,s:s%}", "name", c->name, "area", c->area, "brief", brief.ptr,
                     brief.len);
}

static json_t *setting_json(const struct setting *s)
{
    json_t *one = described(&s->param);
    put(one, "scope", setting_scope_name(s));
    put(one, "restart", s->restart);
    put_flag(one, "local", setting_is_local(s));
    return one;
}

/* Keeps as text what the rows say, each made once. */
struct described_row {
    const struct command *command; /* NULL: a setting */
    struct buf text;
};
static struct described_row *rows;
static size_t row_count;
static pthread_once_t rows_once = PTHREAD_ONCE_INIT;

static int part(const char *text, size_t len, void *out)
{
    buf_append(out, text, len);
    return 0;
}

static void add_row(const struct command *c, json_t *json)
{
    struct described_row *row = &rows[row_count++];
    row->command = c;
    buf_init(&row->text, API_ANSWER_MAX);
    json_dump_callback(json, part, &row->text, JSON_COMPACT);
    ensure(!row->text.overflow && row->text.len > 0); /* all of it is in the program */
    json_decref(json);
}

static void make_rows(void)
{
    size_t count = 0;
    for (const struct command *c = command_first(); c != NULL; c = c->next)
        count++;
    for (const struct setting *s = setting_first(); s != NULL; s = s->next)
        count += s->general == NULL;
    rows = mem_alloc(count * sizeof rows[0]);
    for (const struct command *c = command_first(); c != NULL; c = c->next)
        add_row(c, c->access == COMMAND_LOCAL ? local_json(c) : command_json(c));
    for (const struct setting *s = setting_first(); s != NULL; s = s->next)
        if (s->general == NULL)
            add_row(NULL, setting_json(s));
}

static bool describes_to(const struct principal *who, const struct command *c)
{
    char permission[COMMAND_PERMISSION_MAX];
    if (c == NULL)
        return principal_may(who, "settings.read");
    command_permission(c, permission, sizeof permission);
    return principal_may(who, permission) &&
           (c->also_permission == NULL || principal_may(who, c->also_permission));
}

enum described_kind { DESCRIBED_COMMAND, DESCRIBED_LOCAL, DESCRIBED_SETTING };

static enum described_kind kind_of(const struct command *c)
{
    return c == NULL                    ? DESCRIBED_SETTING
           : c->access == COMMAND_LOCAL ? DESCRIBED_LOCAL
                                        : DESCRIBED_COMMAND;
}

static void add_rows(struct buf *out, const char *name, enum described_kind kind,
                     const struct principal *who)
{
    bool any = false;
    buf_printf(out, ",\"%s\":[", name);
    for (size_t i = 0; i < row_count; i++) {
        if (kind_of(rows[i].command) != kind || !describes_to(who, rows[i].command))
            continue;
        if (any)
            buf_lit(out, ",");
        buf_add(out, buf_slice(&rows[i].text));
        any = true;
    }
    buf_lit(out, "]");
}

void api_describe(struct buf *out, const struct principal *who)
{
    (void)pthread_once(&rows_once, make_rows);
    buf_printf(out, "{\"version\":\"%s\"", MUSTER_VERSION);
    add_rows(out, "commands", DESCRIBED_COMMAND, who);
    add_rows(out, "local", DESCRIBED_LOCAL, who);
    add_rows(out, "settings", DESCRIBED_SETTING, who);
    buf_lit(out, ",\"who\":{\"actor\":");
    control_text(out, who->actor);
    buf_lit(out, ",\"role\":");
    control_text(out, who->role);
    buf_lit(out, "}}");
}
