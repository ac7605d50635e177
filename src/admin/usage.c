#include "admin/usage.h"
#include "base/buf.h"
#include "base/command.h"

const struct usage_own usage_own_commands[] = {
    { "help [COMMAND]",
      "Shows the commands, or explains one. `help user` explains all that begin with user, `help "
      "watch` what musterctl does itself." },
    { "completion bash|zsh|fish", "Prints a script for a shell. It completes commands, options, "
                                  "values, and names of the server." },
    { "names KIND PREFIX",
      "Prints up to 200 names that begin with a text. KIND is user, room, group, token, role, "
      "admin, template, domain, component, webhook or partner. A partner is the domain of another "
      "server that has streams or is blocked. The completion of shells asks for them." },
    { "schema", "Prints all rows as JSON Schema (draft 2020-12): settings, commands with arguments "
                "and results, metrics and alarms." },
    { "watch COMMAND [--every TIME]",
      "Runs a command again and again: one that only reads, until it is interrupted. On a terminal "
      "each answer takes the place of the one before. Elsewhere one follows the other, with --json "
      "as one line each." },
    { 0 },
};
const struct usage_own usage_own_options[] = {
    { "--socket PATH", "The control socket of the server." },
    { "--config FILE",
      "The node file that names the socket. The default is /etc/muster/muster.yaml." },
    { "--url URL",
      "Instead of a socket: the address https://HOST[:PORT]/ of the server's API. The default "
      "is the environment variable MUSTER_URL." },
    { "--token-file FILE",
      "The first line of the file, which others may not read, is the access token for the API. "
      "The default is the environment variable MUSTER_TOKEN." },
    { "--ca FILE",
      "The certificate of the API must lead to one in this file, in place of those that the "
      "system trusts. The default is the environment variable MUSTER_CA." },
    { "--json", "Prints the server's answer as it is." },
    { "--csv",
      "Prints rows as comma-separated values, below a line with the names of all columns." },
    { "--yes", "Does not ask before something is destroyed. Where standard input is no terminal, "
               "such a command is refused without it." },
    { "--every TIME", "Of watch: the time between two runs. The default is 2s." },
    { "--stdin", "Reads a password from standard input instead of asking for it." },
    { "--password-file FILE", "Reads it from the first line of a file." },
    { "--help", "Shows help, also of a command." },
    { "--version", "Shows the version." },
    { 0 },
};
const struct usage_own usage_exit_codes[] = {
    { "0", "Done." },
    { "1", "The command failed." },
    { "2", "It was written wrongly, or needs --yes." },
    { "3", "The server cannot be reached." },
    { "130", "Ctrl-C; work that takes long goes on at the server." },
    { 0 },
};

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
        add_upper(out, command_hyphened(a->name).text);
    for (size_t i = 0; choices != NULL && choices[i] != NULL; i++)
        buf_printf(out, "%s%s", i > 0 ? "|" : "", choices[i]);
}

void usage_arg(struct buf *out, const struct command_arg *a)
{
    if (a->kind == ARG_POSITIONAL || a->kind == ARG_OPTIONAL) {
        add_placeholder(out, a);
        return;
    }
    buf_printf(out, "--%s", command_hyphened(a->name).text);
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
    if (a->kind == ARG_SECRET_MADE && a->unmade)
        buf_lit(out, " (read with `--password-file FILE` or `--stdin`)");
    else if (a->kind == ARG_SECRET_MADE)
        buf_lit(out, " (made if missing; read with `--stdin`)");
    if (a->refers == REFERS_SETTING_VALUE)
        buf_lit(out, " (a secret is better read with `--stdin`)");
}

void usage_doc(struct buf *out, const struct command *c)
{
    buf_printf(out, "%s", c->doc);
    if (c->asks != NULL && c->asks_if != NULL)
        buf_printf(out, " With `--%s` it asks first; a script gives `--yes`.", c->asks_if);
    else if (c->asks != NULL)
        buf_lit(out, " Asks first; a script gives `--yes`.");
    if (c->job)
        buf_lit(out, " While it runs, `job list` shows how far it is.");
}
