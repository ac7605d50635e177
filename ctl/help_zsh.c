#include "ctl/help_zsh.h"
#include "admin/usage.h"
#include "base/alarm.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/setting.h"
#include "ctl/help_parts.h"
#include <string.h>

/* `typed`: the words of the line that are no options and no values of options, without `help` and
 * `watch`. `own`: the options by which a server is found. `place`: which argument of the command
 * the word is; `before`: the word before it. Functions below see these. */
static const char zsh_begin[] =
    "#compdef musterctl\n"
    "# zsh completion for musterctl, printed by `musterctl completion zsh`\n"
    "_musterctl_names() {\n"
    "    local -a found=(\"${(@f)$(musterctl \"${own[@]}\" names $1 \"${(Q)PREFIX}\" "
    "2>/dev/null)}\")\n"
    "    compadd - ${found:#}\n"
    "}\n";

static const char zsh_main[] =
    "_musterctl() {\n"
    "    local -a typed own options\n"
    "    local at=2 place word before=${words[CURRENT-1]}\n"
    "    while ((at < CURRENT)); do\n"
    "        word=${(Q)words[at]}\n"
    "        case $word in\n"
    "        --socket | --config | --url | --token-file | --ca)\n"
    "            own+=($word \"${(Q)words[at+1]}\")\n"
    "            ((at += 1)) ;;\n"
    "        --socket=* | --config=* | --url=* | --token-file=* | --ca=*) own+=($word) ;;\n"
    "        -*) _musterctl_takes_value $word && ((at += 1)) ;;\n"
    "        *) typed+=(\"$word\") ;;\n"
    "        esac\n"
    "        ((at += 1))\n"
    "    done\n"
    "    [[ ${typed[1]} = (help|watch) ]] && shift typed\n"
    "    _musterctl_join\n"
    "    case $PREFIX in\n"
    "    --socket=* | --config=* | --token-file=* | --ca=* | --password-file=*)\n"
    "        compset -P 1 '*='\n"
    "        before=${IPREFIX%=} ;;\n"
    "    esac\n"
    "    case $before in\n"
    "    --socket | --config | --token-file | --ca | --password-file) _files; return ;;\n"
    "    --url | --every) return 1 ;;\n"
    "    esac\n"
    "    if (($#typed == 0)); then\n"
    "        [[ $PREFIX = -* ]] || _musterctl_first\n"
    "    else\n"
    "        (($#typed == 1)) && [[ $PREFIX != -* ]] && _musterctl_second\n"
    "        place=$(($#typed - 1))\n"
    "        _musterctl_of_two || { place=$#typed; _musterctl_of_one }\n"
    "    fi\n"
    "    [[ $PREFIX = -* ]] && _musterctl_options\n"
    "    (($compstate[nmatches]))\n"
    "}\n"
    "# Loaded by the first completion, the file has to answer that one itself.\n"
    "if [[ $funcstack[1] = _musterctl ]]; then _musterctl \"$@\"; else compdef _musterctl "
    "musterctl; "
    "fi\n";

/* 'NAME:WHAT IT IS', as _describe takes it. */
static void zsh_described(FILE *out, const char *dashes, slice name, slice doc)
{
    char text[512];
    ensure(memchr(name.ptr, ':', name.len) == NULL);
    int len = snprintf(text, sizeof text, "%s%.*s:%.*s", dashes, SLICE_ARG(name), SLICE_ARG(doc));
    ensure(len > 0 && (size_t)len < sizeof text);
    fputs("        ", out);
    help_put_quoted(out, (slice){ text, (size_t)len });
    fputc('\n', out);
}

static void zsh_list_begin(FILE *out, const char *function)
{
    fprintf(out, "%s() {\n    local -a found=(\n", function);
}

static void zsh_list_end(FILE *out, const char *what)
{
    fprintf(out, "    )\n    _describe %s found\n}\n", what);
}

/* Names of settings, areas of the log and alarms. */
static void zsh_lists(FILE *out)
{
    zsh_list_begin(out, "_musterctl_settings");
    for (const struct setting *s = setting_first(); s != NULL; s = s->next)
        zsh_described(out, "", slice_of(s->name), command_brief(s->doc));
    zsh_list_end(out, "setting");
    zsh_list_begin(out, "_musterctl_alarms");
    for (const struct alarm *a = alarm_first(); a != NULL; a = a->next)
        zsh_described(out, "", slice_of(a->name), command_brief(a->text));
    zsh_list_end(out, "alarm");
    fprintf(out, "_musterctl_areas() {\n    compadd - all");
    for (const struct log_area *l = log_first(); l != NULL; l = l->next)
        fprintf(out, " %s", l->name);
    fprintf(out, "\n}\n");
}

/* Options of musterctl itself, which may follow each command, and those of that command. */
static void zsh_options(FILE *out)
{
    fprintf(out, "_musterctl_options() {\n    options+=(\n");
    for (const struct usage_own *o = usage_own_options; o->syntax != NULL; o++)
        zsh_described(out, "", help_own_name(o), command_brief(o->doc));
    fprintf(out, "    )\n    _describe -o option options\n}\n");
}

/* The second words of a first word, for one line. */
static slice zsh_seconds(const struct command *c, char *out, size_t cap)
{
    size_t len = 0;
    slice group = help_group_of(c);
    for (; c != NULL && slice_eq(help_group_of(c), group); c = c->next) {
        const char *second = strchr(c->name, ' ');
        if (second != NULL && len + 2 + strlen(second) < cap)
            len += (size_t)snprintf(out + len, cap - len, "%s%s", len > 0 ? ", " : "", second + 1);
    }
    return (slice){ out, len };
}

static void zsh_first(FILE *out)
{
    slice last = { 0 };
    zsh_list_begin(out, "_musterctl_first");
    for (const struct usage_own *o = usage_own_commands; o->syntax != NULL; o++)
        zsh_described(out, "", help_own_name(o), command_brief(o->doc));
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        char seconds[256];
        slice group = help_group_of(c);
        bool alone = strchr(c->name, ' ') == NULL;
        if (!slice_eq(group, last))
            zsh_described(out, "", group,
                          alone ? command_brief(c->doc) : zsh_seconds(c, seconds, sizeof seconds));
        last = group;
    }
    zsh_list_end(out, "command");
}

/* The second halves of the names of groups that begin with this word. */
static void zsh_halves(FILE *out, slice word)
{
    slice first, second;
    char seconds[256];
    const struct command *c = NULL;
    while ((c = help_next_parted(c, &first, &second)) != NULL)
        if (slice_eq(first, word))
            zsh_described(out, "", second, zsh_seconds(c, seconds, sizeof seconds));
}

static void zsh_second(FILE *out)
{
    slice last = { 0 };
    fprintf(out, "_musterctl_second() {\n    local -a found\n    case ${typed[1]} in\n"
                 "    completion) compadd - bash zsh fish; return ;;\n");
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        slice group = help_group_of(c), name = slice_of(c->name);
        if (name.len == group.len)
            continue;
        if (!slice_eq(group, last)) {
            fprintf(out, "%s    %.*s) found=(\n", last.ptr != NULL ? "    ) ;;\n" : "",
                    SLICE_ARG(group));
            zsh_halves(out, group);
        }
        zsh_described(out, "", slice_from(name, group.len + 1), command_brief(c->doc));
        last = group;
    }
    fprintf(out, "    ) ;;\n    *) return ;;\n    esac\n    _describe command found\n}\n");
}

static void zsh_words(FILE *out, const char *const *words)
{
    fprintf(out, "compadd -");
    for (; *words != NULL; words++)
        fprintf(out, " %s", *words);
}

/* Behind `set NAME`: the values of that setting, if they are known. */
static void zsh_setting_values(FILE *out)
{
    fprintf(out, "_musterctl_setting_values() {\n    case ${typed[-1]%%%%@*} in\n");
    for (const struct setting *s = setting_first(); s != NULL; s = s->next) {
        const char *const *choices = param_choices(&s->param);
        if (choices == NULL || setting_is_open(s))
            continue;
        fprintf(out, "    %s) ", s->name);
        zsh_words(out, choices);
        fprintf(out, " ;;\n");
    }
    fprintf(out, "    esac\n}\n");
}

static void zsh_value(FILE *out, const struct command_arg *a)
{
    const char *names = help_names_of(a);
    const char *const *choices = param_choices(&a->param);
    if (choices != NULL)
        zsh_words(out, choices);
    else if (names != NULL)
        fprintf(out, "_musterctl_names %s", names);
    else if (a->type == PARAM_PATH)
        fprintf(out, "_files");
    else if (a->refers == REFERS_SETTING)
        fprintf(out, "_musterctl_settings");
    else if (a->refers == REFERS_LOG_AREA)
        fprintf(out, "_musterctl_areas");
    else if (a->refers == REFERS_ALARM)
        fprintf(out, "_musterctl_alarms");
    else if (a->refers == REFERS_SETTING_VALUE)
        fprintf(out, "_musterctl_setting_values");
    else
        fprintf(out, ":");
}

/* The options of a command, and what is at the place of the word. */
static void zsh_command(FILE *out, const struct command *c)
{
    unsigned place = 0;
    fprintf(out, "    '%s')\n        options=(\n", c->name);
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++)
        if (help_is_option(a))
            zsh_described(out, "--", slice_of(command_hyphened(a->name).text),
                          command_brief(a->doc));
    fprintf(out, "        )\n        [[ $PREFIX = -* ]] || case $before:$place in\n");
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++)
        if (help_is_option(a) && a->kind != ARG_FLAG) {
            fprintf(out, "        --%s:*) ", command_hyphened(a->name).text);
            zsh_value(out, a);
            fprintf(out, " ;;\n");
        }
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
        if (help_is_option(a))
            continue;
        if (a->many)
            fprintf(out, "        *) ");
        else
            fprintf(out, "        *:%u) ", ++place);
        zsh_value(out, a);
        fprintf(out, " ;;\n");
    }
    fprintf(out, "        esac ;;\n");
}

static void zsh_commands(FILE *out, const char *function, const char *of, bool two)
{
    fprintf(out, "%s() {\n    case %s in\n", function, of);
    for (const struct command *c = command_first(); c != NULL; c = c->next)
        if ((strchr(c->name, ' ') != NULL) == two)
            zsh_command(out, c);
    fprintf(out, "    *) return 1 ;;\n    esac\n    return 0\n}\n");
}

static bool zsh_is_flag(const char *name)
{
    for (const struct command *c = command_first(); c != NULL; c = c->next)
        for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++)
            if (a->kind == ARG_FLAG && strcmp(a->name, name) == 0)
                return true;
    return false;
}

/* Options that take a word with them; one that is a flag of another command is not known as such.
 */
static void zsh_takes_value(FILE *out)
{
    fprintf(out, "_musterctl_takes_value() {\n    case $1 in\n    --password-file | --every) ;;\n");
    for (const struct command *c = command_first(); c != NULL; c = c->next)
        for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++)
            if (help_is_option(a) && a->kind != ARG_FLAG && !zsh_is_flag(a->name))
                fprintf(out, "    --%s) ;;\n", command_hyphened(a->name).text);
    fprintf(out, "    *) return 1 ;;\n    esac\n}\n");
}

void help_completion_zsh(FILE *out)
{
    fputs(zsh_begin, out);
    zsh_lists(out);
    zsh_setting_values(out);
    zsh_takes_value(out);
    zsh_options(out);
    zsh_first(out);
    zsh_second(out);
    fprintf(out, "_musterctl_join() {\n");
    help_put_join(out, "${typed[1]} ${typed[2]}");
    fprintf(out, "}\n");
    zsh_commands(out, "_musterctl_of_two", "\"${typed[1]} ${typed[2]}\"", true);
    zsh_commands(out, "_musterctl_of_one", "${typed[1]}", false);
    fputs(zsh_main, out);
}
