#include "admin/usage.h"
#include "base/buf.h"
#include "base/command.h"

static void add_upper(struct buf *out, const char *name)
{
    for (; *name != '\0'; name++) {
        char c = *name >= 'a' && *name <= 'z' ? (char)(*name - 'a' + 'A') : *name;
        buf_append(out, &c, 1);
    }
}

/* "JID", or the choices "on|off" if they are short enough. */
static void add_placeholder(struct buf *out, const struct command_arg *a)
{
    const char *const *choices = param_choices(&a->param);
    if (choices == NULL)
        add_upper(out, a->name);
    for (size_t i = 0; choices != NULL && choices[i] != NULL; i++)
        buf_printf(out, "%s%s", i > 0 ? "|" : "", choices[i]);
}

void usage_arg(struct buf *out, const struct command_arg *a)
{
    if (a->kind == ARG_POSITIONAL || a->kind == ARG_OPTIONAL) {
        add_placeholder(out, a);
        return;
    }
    buf_printf(out, "--%s", a->name);
    if (a->kind != ARG_FLAG) {
        buf_lit(out, " ");
        add_placeholder(out, a);
    }
}

void usage_part(struct buf *out, const struct command_arg *a)
{
    bool required = a->kind == ARG_POSITIONAL;
    buf_printf(out, "%s", required ? "" : "[");
    usage_arg(out, a);
    buf_printf(out, "%s", required ? "" : "]");
}

void usage_line(struct buf *out, const struct command *c)
{
    buf_printf(out, "%s", c->name);
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
        buf_lit(out, " ");
        usage_part(out, a);
    }
}

void usage_note(struct buf *out, const struct command_arg *a)
{
    enum { RANGE_BYTES_MAX = 160 };
    char range[RANGE_BYTES_MAX];
    bool number = a->type == PARAM_INT || a->type == PARAM_MS || a->type == PARAM_BYTES;
    buf_printf(out, "%s", a->doc);
    if (number && a->max < PARAM_NONE) {
        param_range(&a->param, range, sizeof range);
        buf_printf(out, " (%s)", range);
    }
    if (a->kind == ARG_SECRET)
        buf_lit(out, " (asked for if missing, or read with `--stdin`)");
    if (a->kind == ARG_SECRET_MADE)
        buf_lit(out, " (made if missing; read with `--stdin`)");
}
