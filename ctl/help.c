#include "ctl/help.h"
#include "admin/usage.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/log.h"
#include "base/setting.h"

enum { LINE_BYTES_MAX = 4096, USAGE_WIDTH = 44, ARG_WIDTH = 28 };

static const char own_options[] =
    "Options:\n"
    "  --socket PATH   control socket of the server\n"
    "  --config FILE   node file that names the socket (default /etc/muster/muster.yaml)\n"
    "  --json          print the server's reply as it is\n"
    "  --csv           print rows as comma-separated values\n"
    "  --stdin         read a password from standard input instead of asking for it\n"
    "  --help          show help, also of a command\n"
    "  --version       show the version\n"
    "\n"
    "Exit status: 0 done, 1 the command failed, 2 it was written wrongly,\n"
    "3 the server cannot be reached.\n";

void help_all(FILE *out)
{
    fprintf(out, "musterctl commands a running Muster server over its control socket.\n\n"
                 "Usage: musterctl [OPTION]... COMMAND [ARGUMENT]...\n\nCommands:\n");
    struct buf line;
    buf_init(&line, LINE_BYTES_MAX);
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        buf_clear(&line);
        usage_line(&line, c);
        fprintf(out, "  %.*s\n", SLICE_ARG(buf_slice(&line)));
    }
    buf_fini(&line);
    fprintf(out, "  help [COMMAND]\n  completion bash\n\n%s", own_options);
}

static const char *arg_note(const struct command_arg *a)
{
    return a->kind == ARG_SECRET ? " (asked for if missing, or read with --stdin)" : "";
}

void help_command(FILE *out, const struct command *c)
{
    struct buf line;
    buf_init(&line, LINE_BYTES_MAX);
    usage_line(&line, c);
    fprintf(out, "Usage: musterctl %.*s\n\n%s\n", SLICE_ARG(buf_slice(&line)), c->doc);
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
        buf_clear(&line);
        usage_arg(&line, a);
        fprintf(out, "%s  %-*.*s %s%s\n", a == c->args ? "\n" : "", ARG_WIDTH,
                SLICE_ARG(buf_slice(&line)), a->doc, arg_note(a));
    }
    buf_fini(&line);
}

bool help_group(FILE *out, const char *word)
{
    bool found = false;
    struct buf line;
    buf_init(&line, LINE_BYTES_MAX);
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        slice first, rest;
        slice_cut(slice_of(c->name), ' ', &first, &rest);
        if (!slice_is(first, word))
            continue;
        buf_clear(&line);
        usage_line(&line, c);
        fprintf(out, "%smusterctl %.*s\n    %s\n", found ? "\n" : "", SLICE_ARG(buf_slice(&line)),
                c->doc);
        found = true;
    }
    buf_fini(&line);
    return found;
}

/* The words that may follow a command: options, choices, and settings or parts of the log for an
 * argument so called. */
static void completion_words(FILE *out, const struct command *c)
{
    fprintf(out, "    '%s') words='", c->name);
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
        if (a->kind != ARG_POSITIONAL && a->kind != ARG_OPTIONAL)
            fprintf(out, "--%s ", a->name);
        for (size_t i = 0; a->choices != NULL && a->choices[i] != NULL; i++)
            fprintf(out, "%s ", a->choices[i]);
        if (strcmp(a->name, "setting") == 0) {
            for (const struct setting *s = setting_first(); s != NULL; s = s->next)
                fprintf(out, "%s ", s->name);
        }
        if (strcmp(a->name, "area") == 0) {
            fprintf(out, "all ");
            for (const struct log_area *l = log_first(); l != NULL; l = l->next)
                fprintf(out, "%s ", l->name);
        }
        if (a->kind == ARG_SECRET)
            fprintf(out, "--stdin ");
    }
    fprintf(out, "--json --csv' ;;\n");
}

/* First words, and for each first word its second words. */
static void completion_commands(FILE *out)
{
    slice last = { 0 };
    fprintf(out, "    '') words='help completion --socket --config --json --csv --help --version");
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        slice first, second;
        slice_cut(slice_of(c->name), ' ', &first, &second);
        if (!slice_eq(first, last))
            fprintf(out, " %.*s", SLICE_ARG(first));
        last = first;
    }
    fprintf(out, "' ;;\n    completion) words=bash ;;\n");
    last = (slice){ 0 };
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        slice first, second;
        if (!slice_cut(slice_of(c->name), ' ', &first, &second))
            continue;
        if (!slice_eq(first, last))
            fprintf(out, "%s    %.*s) words='", last.ptr != NULL ? "' ;;\n" : "", SLICE_ARG(first));
        fprintf(out, "%.*s ", SLICE_ARG(second));
        last = first;
    }
    fprintf(out, "%s", last.ptr != NULL ? "' ;;\n" : "");
}

void help_completion(FILE *out)
{
    fprintf(out, "# bash completion for musterctl, printed by `musterctl completion bash`\n"
                 "_musterctl() {\n"
                 "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
                 "    local words='' at typed=()\n"
                 "    case $prev in --socket | --config) COMPREPLY=($(compgen -f -- \"$cur\"))\n"
                 "        return ;;\n"
                 "    esac\n"
                 "    for ((at = 1; at < COMP_CWORD; at++)); do\n"
                 "        case ${COMP_WORDS[at]} in\n"
                 "        --socket | --config) at=$((at + 1)) ;;\n"
                 "        -*) ;;\n"
                 "        *) typed+=(\"${COMP_WORDS[at]}\") ;;\n"
                 "        esac\n"
                 "    done\n"
                 "    [ \"${typed[0]}\" = help ] && typed=(\"${typed[@]:1}\")\n"
                 "    case \"${typed[*]:0:2}\" in\n");
    completion_commands(out);
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        if (strchr(c->name, ' ') != NULL)
            completion_words(out, c);
    }
    fprintf(out, "    esac\n"
                 "    [ -n \"$words\" ] || case \"${typed[0]}\" in\n");
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        if (strchr(c->name, ' ') == NULL)
            completion_words(out, c);
    }
    fprintf(out, "    esac\n"
                 "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                 "}\n"
                 "complete -F _musterctl musterctl\n");
}
