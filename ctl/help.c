#include "ctl/help.h"
#include "admin/usage.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/log.h"
#include "base/setting.h"
#include "ctl/help_parts.h"
#include "ctl/words.h"
#include "ctl/wrap.h"

enum {
    PART_BYTES_MAX = 512,
    DOC_BYTES_MAX = 8192,
    NAME_WIDTH = 19,
    ARG_WIDTH = 28,
    LINE_WIDTH = 80
};

slice help_group_of(const struct command *c)
{
    slice first, rest;
    slice_cut(slice_of(c->name), ' ', &first, &rest);
    return first;
}

const struct command *help_next_parted(const struct command *c, slice *first, slice *second)
{
    slice last = c != NULL ? help_group_of(c) : (slice){ 0 };
    for (c = c != NULL ? c->next : command_first(); c != NULL; c = c->next)
        if (!slice_eq(help_group_of(c), last) && words_of_group(help_group_of(c), first, second))
            return c;
    return NULL;
}

slice help_own_name(const struct usage_own *o)
{
    slice name, rest;
    slice_cut(slice_of(o->syntax), ' ', &name, &rest);
    return name;
}

static void print_own(FILE *out, const char *title, const struct usage_own *rows)
{
    enum { SYNTAX_WIDTH = 22, INDENT = 2 + SYNTAX_WIDTH };
    fputs(title, out);
    for (; rows->syntax != NULL; rows++) {
        fprintf(out, "  %-*s", SYNTAX_WIDTH, rows->syntax);
        wrap_print(out, rows->doc, INDENT, LINE_WIDTH);
    }
}

void help_all(FILE *out)
{
    fprintf(out, "musterctl commands a running Muster server over its control socket.\n\n"
                 "Usage: musterctl [OPTION]... COMMAND [ARGUMENT]...\n\n"
                 "`musterctl help COMMAND` explains one, `musterctl help user` all of a group.\n");
    slice last = { 0 };
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        slice group = help_group_of(c);
        if (!slice_eq(group, last))
            fputc('\n', out);
        last = group;
        fprintf(out, "  %-*s  %.*s\n", NAME_WIDTH, c->name, SLICE_ARG(command_brief(c->doc)));
    }
    fputc('\n', out);
    for (const struct usage_own *o = usage_own_commands; o->syntax != NULL; o++)
        fprintf(out, "  %-*.*s  %.*s\n", NAME_WIDTH, SLICE_ARG(help_own_name(o)),
                SLICE_ARG(command_brief(o->doc)));
    print_own(out, "\nOptions:\n", usage_own_options);
    print_own(out, "\nExit status:\n", usage_exit_codes);
}

/* The syntax in lines that fit; no argument is broken. */
static void print_usage(FILE *out, const char *before, const struct command *c)
{
    enum { INDENT = 4 };
    struct buf part;
    buf_init(&part, PART_BYTES_MAX);
    size_t at = (size_t)fprintf(out, "%smusterctl %s", before, c->name);
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
        buf_clear(&part);
        usage_part(&part, a);
        bool fits = at + 1 + part.len <= LINE_WIDTH;
        fprintf(out, fits ? " %.*s" : "\n    %.*s", SLICE_ARG(buf_fit(&part)));
        at = (fits ? at + 1 : INDENT) + part.len;
    }
    fputc('\n', out);
    buf_fini(&part);
}

/* An argument and what it means, which begins in the next line if the argument is long. */
static void print_arg(FILE *out, const struct command_arg *a, struct arena *arena)
{
    enum { INDENT = 2 + ARG_WIDTH + 1 };
    struct buf name;
    buf_init(&name, PART_BYTES_MAX);
    usage_arg(&name, a);
    fprintf(out, "  %-*.*s", ARG_WIDTH + 1, SLICE_ARG(buf_fit(&name)));
    if (name.len > ARG_WIDTH)
        fprintf(out, "\n%*s", INDENT, "");
    buf_clear(&name);
    usage_note(&name, a);
    wrap_print(out, slice_cstr(arena, buf_fit(&name)), INDENT, LINE_WIDTH);
    buf_fini(&name);
}

static void print_doc(FILE *out, const struct command *c, size_t indent)
{
    struct arena *arena = arena_create(0);
    struct buf doc;
    buf_init(&doc, DOC_BYTES_MAX);
    usage_doc(&doc, c);
    wrap_print(out, slice_cstr(arena, buf_fit(&doc)), indent, LINE_WIDTH);
    buf_fini(&doc);
    arena_destroy(&arena);
}

void help_command(FILE *out, const struct command *c)
{
    struct arena *arena = arena_create(0);
    print_usage(out, "Usage: ", c);
    fputc('\n', out);
    print_doc(out, c, 0);
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
        fputs(a == c->args ? "\n" : "", out);
        print_arg(out, a, arena);
    }
    arena_destroy(&arena);
}

bool help_own(FILE *out, const char *word)
{
    for (const struct usage_own *o = usage_own_commands; o->syntax != NULL; o++) {
        if (!slice_is(help_own_name(o), word))
            continue;
        fprintf(out, "Usage: musterctl %s\n\n", o->syntax);
        wrap_print(out, o->doc, 0, LINE_WIDTH);
        return true;
    }
    return false;
}

bool help_group(FILE *out, const char *word)
{
    enum { INDENT = 4 };
    bool found = false;
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        if (!slice_is(help_group_of(c), word))
            continue;
        fputs(found ? "\n" : "", out);
        print_usage(out, "", c);
        fprintf(out, "%*s", INDENT, "");
        print_doc(out, c, INDENT);
        found = true;
    }
    return found;
}

/* The values of an argument that are known: its choices, or the names of what it refers to. */
static void put_values(FILE *out, const struct command_arg *a)
{
    const char *const *choices = a->kind != ARG_FLAG ? param_choices(&a->param) : NULL;
    for (size_t i = 0; choices != NULL && choices[i] != NULL; i++)
        fprintf(out, "%s ", choices[i]);
    if (a->refers == REFERS_SETTING) {
        for (const struct setting *s = setting_first(); s != NULL; s = s->next)
            fprintf(out, "%s ", s->name);
    }
    if (a->refers == REFERS_LOG_AREA) {
        fprintf(out, "all ");
        for (const struct log_area *l = log_first(); l != NULL; l = l->next)
            fprintf(out, "%s ", l->name);
    }
    if (a->refers == REFERS_ALARM) {
        for (const struct alarm *alarm = alarm_first(); alarm != NULL; alarm = alarm->next)
            fprintf(out, "%s ", alarm->name);
    }
}

static bool help_takes_setting_value(const struct command *c)
{
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
        if (a->refers == REFERS_SETTING_VALUE)
            return true;
    }
    return false;
}

/* Behind `set NAME`: the values of that setting, if they are known. */
static void completion_setting_values(FILE *out, const struct command *c)
{
    fprintf(out, "    '%s') case \"${typed[1]%%@*}\" in\n", c->name);
    for (const struct setting *s = setting_first(); s != NULL; s = s->next) {
        const char *const *choices = param_choices(&s->param);
        if (choices == NULL || setting_is_open(s))
            continue;
        fprintf(out, "        %s) words='", s->name);
        for (size_t i = 0; choices[i] != NULL; i++)
            fprintf(out, "%s ", choices[i]);
        fprintf(out, "--default' ;;\n");
    }
    fprintf(out, "        ?*) words='--default --json --csv' ;;\n        esac ;;\n");
}

const struct help_names help_names[] = {
    { "user", { "user" } },
    { "room", { "room" } },
    { "group", { "group" } },
    { "token", { "token" } },
    { "role", { "role" } },
    { "admin", { "admin" } },
    { "template", { "template" } },
    { "domain", { "domain" } },
    { "component", { "component" } },
    { "webhook", { "webhook" } },
    { "partner", { "s2s", "federation" } },
    { NULL, { NULL } },
};

const char *help_names_of(const struct command_arg *a)
{
    bool user = a->type == PARAM_USER || a->type == PARAM_SESSION || a->type == PARAM_BARE ||
                a->type == PARAM_JID;
    bool domain = a->type == PARAM_HOME_DOMAIN || a->refers == REFERS_SERVED_DOMAIN ||
                  a->refers == REFERS_HOSTED;
    return user                            ? "user"
           : domain                        ? "domain"
           : a->type == PARAM_ROOM         ? "room"
           : a->refers == REFERS_GROUP     ? "group"
           : a->refers == REFERS_TOKEN     ? "token"
           : a->refers == REFERS_ROLE      ? "role"
           : a->refers == REFERS_ADMIN     ? "admin"
           : a->refers == REFERS_TEMPLATE  ? "template"
           : a->refers == REFERS_COMPONENT ? "component"
           : a->refers == REFERS_PARTNER   ? "partner"
           : a->refers == REFERS_WEBHOOK   ? "webhook"
                                           : NULL;
}

bool help_is_option(const struct command_arg *a)
{
    return a->kind != ARG_POSITIONAL && a->kind != ARG_OPTIONAL;
}

/* Whether an argument that is not an option has names of this kind. */
static bool help_has_names(const struct command *c, const char *kind)
{
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
        const char *names = help_names_of(a);
        if (names != NULL && !help_is_option(a) && strcmp(names, kind) == 0)
            return true;
    }
    return false;
}

static void completion_names(FILE *out, const struct command *c)
{
    const char *before = " names='";
    for (const struct help_names *n = help_names; n->name != NULL; n++) {
        if (!help_has_names(c, n->name))
            continue;
        fprintf(out, "%s%s", before, n->name);
        before = " ";
    }
    if (*before == ' ' && before[1] == '\0')
        fputc('\'', out);
}

/* Not by an option: see completion_option_values(). */
static bool help_takes_files(const struct command *c)
{
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
        if (a->type == PARAM_PATH && !help_is_option(a))
            return true;
    }
    return false;
}

/* Behind an option that takes a value: that. A blank is no word, but more than nothing. */
static void completion_option_values(FILE *out, const struct command *c)
{
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
        const char *names = help_names_of(a);
        if (!help_is_option(a) || a->kind == ARG_FLAG)
            continue;
        fprintf(out, "        --%s) words=' ", command_hyphened(a->name).text);
        put_values(out, a);
        fprintf(out, "'");
        if (names != NULL)
            fprintf(out, " names=%s", names);
        if (a->type == PARAM_PATH)
            fprintf(out, " files=yes");
        fprintf(out, " ;;\n");
    }
}

/* The words that may follow a command: options and values. */
static void completion_words(FILE *out, const struct command *c)
{
    fprintf(out, "    '%s') case $prev in\n", c->name);
    completion_option_values(out, c);
    fprintf(out, "        *) words='");
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
        if (help_is_option(a))
            fprintf(out, "--%s ", command_hyphened(a->name).text);
        else
            put_values(out, a);
        if (command_arg_may_be_piped(a))
            fprintf(out, "--stdin ");
    }
    fprintf(out, "--json --csv'");
    completion_names(out, c);
    if (help_takes_files(c))
        fprintf(out, " files=yes");
    fprintf(out, " ;;\n        esac ;;\n");
}

static void put_own(FILE *out, const struct usage_own *rows)
{
    for (; rows->syntax != NULL; rows++)
        fprintf(out, "%.*s ", SLICE_ARG(help_own_name(rows)));
}

void help_put_join(FILE *out, const char *two)
{
    slice first, second;
    const struct command *c = NULL;
    fprintf(out, "    case \"%s\" in\n", two);
    while ((c = help_next_parted(c, &first, &second)) != NULL)
        fprintf(out, "    '%.*s %.*s') typed=(%.*s \"${typed[@]:2}\") ;;\n", SLICE_ARG(first),
                SLICE_ARG(second), SLICE_ARG(help_group_of(c)));
    fprintf(out, "    esac\n");
}

/* The second halves of the names of groups that begin with this word. */
static void completion_halves(FILE *out, slice word)
{
    slice first, second;
    const struct command *c = NULL;
    while ((c = help_next_parted(c, &first, &second)) != NULL)
        if (slice_eq(first, word))
            fprintf(out, "%.*s ", SLICE_ARG(second));
}

/* First words, and for each first word its second words. */
static void completion_commands(FILE *out)
{
    slice last = { 0 };
    fprintf(out, "    '') words='");
    put_own(out, usage_own_commands);
    put_own(out, usage_own_options);
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        slice first, second;
        slice_cut(slice_of(c->name), ' ', &first, &second);
        if (!slice_eq(first, last))
            fprintf(out, "%.*s ", SLICE_ARG(first));
        last = first;
    }
    fprintf(out, "' ;;\n    completion) words='bash zsh fish' ;;\n");
    last = (slice){ 0 };
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        slice first, second;
        if (!slice_cut(slice_of(c->name), ' ', &first, &second))
            continue;
        if (!slice_eq(first, last)) {
            fprintf(out, "%s    %.*s) case $prev in\n",
                    last.ptr != NULL ? "' ;;\n        esac ;;\n" : "", SLICE_ARG(first));
            if (command_find(first) != NULL) /* "metrics", beside "metrics history" */
                completion_option_values(out, command_find(first));
            fprintf(out, "        *) words='");
            completion_halves(out, first);
        }
        fprintf(out, "%.*s ", SLICE_ARG(second));
        last = first;
    }
    fprintf(out, "%s", last.ptr != NULL ? "' ;;\n        esac ;;\n" : "");
}

/* Names are text of users: they are quoted, and never expanded as compgen does it. */
static const char bash_end[] =
    "    esac\n"
    "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
    "    COMPREPLY=(\"${COMPREPLY[@]#\"$kept\"}\")\n"
    "    case $cur in -*) return ;; esac\n"
    "    if [ -n \"$files\" ]; then\n"
    "        COMPREPLY+=($(compgen -f -- \"$cur\"))\n"
    "        COMPREPLY=(\"${COMPREPLY[@]#\"$kept\"}\")\n"
    "        compopt -o filenames 2>/dev/null\n"
    "    fi\n"
    "    for at in $names; do\n"
    "        while read -r name; do\n"
    "            COMPREPLY+=(\"$(printf %q \"${name#\"$kept\"}\")\")\n"
    "        done < <(musterctl \"${own[@]}\" names $at \"$cur\" 2>/dev/null)\n"
    "    done\n"
    "}\n"
    "complete -F _musterctl musterctl\n";

/* bash divides a word at what COMP_WORDBREAKS has, such as the @ of an address, and replaces only
 * what is behind it, and an @ too: `parts` are the words as they are typed, and `kept` is what
 * stands before that place. zsh divides nothing. */
static const char bash_begin[] =
    "    local words='' names='' files='' name at typed=() own=()\n"
    "    local parts=() last=-1 line=$COMP_LINE blank part kept\n"
    "    for ((at = 0; at <= COMP_CWORD; at++)); do\n"
    "        part=${COMP_WORDS[at]}\n"
    "        blank=${line%%[! ]*}\n"
    "        line=${line#\"$blank\"}\n"
    "        if [[ $at -gt 0 && -z $blank && -n $line && $line = \"$part\"* ]]; then\n"
    "            parts[last]=${parts[last]}$part\n"
    "        else\n"
    "            last=$((last + 1))\n"
    "            parts[last]=$part\n"
    "        fi\n"
    "        line=${line#\"$part\"}\n"
    "    done\n"
    "    local cur=${parts[last]} prev=''\n"
    "    ((last > 0)) && prev=${parts[last-1]}\n"
    "    part=$cur\n"
    "    for at in @ : =; do\n"
    "        [[ $COMP_WORDBREAKS = *$at* ]] && part=${part##*$at}\n"
    "    done\n"
    "    kept=${cur%\"$part\"}\n"
    "    kept=${kept%@}\n";

void help_completion(FILE *out)
{
    fprintf(out,
            "# bash completion for musterctl, printed by `musterctl completion bash`\n"
            "_musterctl() {\n%s"
            "    case $prev in --socket | --config | --token-file | --ca | --password-file)\n"
            "        COMPREPLY=($(compgen -f -- \"$cur\"))\n"
            "        COMPREPLY=(\"${COMPREPLY[@]#\"$kept\"}\")\n"
            "        compopt -o filenames 2>/dev/null\n"
            "        return ;;\n"
            "    esac\n"
            "    for ((at = 1; at < last; at++)); do\n"
            "        case ${parts[at]} in\n"
            "        --socket | --config | --url | --token-file | --ca)\n"
            "            own+=(\"${parts[at]}\" \"${parts[at+1]}\")\n"
            "            at=$((at + 1)) ;;\n"
            "        -*) ;;\n"
            "        *) typed+=(\"${parts[at]}\") ;;\n"
            "        esac\n"
            "    done\n"
            "    [[ ${typed[0]} = help || ${typed[0]} = watch ]] && typed=(\"${typed[@]:1}\")\n",
            bash_begin);
    help_put_join(out, "${typed[*]:0:2}");
    fprintf(out, "    case \"${typed[*]:0:2}\" in\n");
    completion_commands(out);
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        if (strchr(c->name, ' ') != NULL)
            completion_words(out, c);
    }
    fprintf(out, "    esac\n"
                 "    [ -n \"$words\" ] || case \"${typed[0]}\" in\n");
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        if (help_takes_setting_value(c))
            completion_setting_values(out, c);
    }
    fprintf(out, "    esac\n"
                 "    [ -n \"$words\" ] || case \"${typed[0]}\" in\n");
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        if (strchr(c->name, ' ') == NULL)
            completion_words(out, c);
    }
    fputs(bash_end, out);
}

void help_put_quoted(FILE *out, slice text)
{
    fputc('\'', out);
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\'')
            fputs("'\\''", out);
        else
            fputc(text.ptr[i], out);
    }
    fputc('\'', out);
}

/* The words of the line without options, `help` and `watch`; whether they begin with these, and
 * whether they are these. Names of the server, asked with the options of the line. */
static const char fish_functions[] =
    "function __musterctl_typed\n"
    "    set -l words (commandline -opc)\n"
    "    set -l typed\n"
    "    set -l skip 1\n"
    "    for word in $words\n"
    "        if test $skip -eq 1\n"
    "            set skip 0\n"
    "        else if contains -- $word --socket --config --url --token-file --ca\n"
    "            set skip 1\n"
    "        else if not string match -q -- '-*' $word\n"
    "            set -a typed $word\n"
    "        end\n"
    "    end\n"
    "    contains -- \"$typed[1]\" help watch; and set -e typed[1]\n"
    "    set -l group (__musterctl_group \"$typed[1..2]\")\n"
    "    test -n \"$group\"; and set -e typed[1]; and set typed[1] $group\n"
    "    string join \\n -- $typed\n"
    "end\n"
    "function __musterctl_behind\n"
    "    set -l typed (__musterctl_typed)\n"
    "    set -l count (count $argv)\n"
    "    test (count $typed) -ge $count; and test \"$typed[1..$count]\" = \"$argv\"\n"
    "end\n"
    "function __musterctl_at\n"
    "    set -l typed (__musterctl_typed)\n"
    "    set -l words $argv[2..-1]\n"
    "    set -l count (count $words)\n"
    "    test (count $typed) -eq (math $count + $argv[1]); and test \"$typed[1..$count]\" = "
    "\"$words\"\n"
    "end\n"
    "function __musterctl_setting\n"
    "    set -l typed (__musterctl_typed)\n"
    "    test (count $typed) -eq 2; and test \"$typed[1]\" = $argv[1]\n"
    "    and test (string replace -r '@.*' '' -- \"$typed[2]\") = $argv[2]\n"
    "end\n"
    "function __musterctl_next\n"
    "    set -l typed (__musterctl_typed)\n"
    "    test \"$typed\" = \"$argv\"\n"
    "end\n"
    "function __musterctl_names\n"
    "    set -l own\n"
    "    set -l words (commandline -opc)\n"
    "    for i in (seq (count $words))\n"
    "        if test $i -lt (count $words); and contains -- $words[$i] --socket --config --url "
    "--token-file --ca\n"
    "            set -a own $words[$i] $words[(math $i + 1)]\n"
    "        end\n"
    "    end\n"
    "    musterctl $own names $argv[1] (commandline -ct) 2>/dev/null\n"
    "end\n";

/* Value of a positional argument; the last one may be several. */
static void fish_value(FILE *out, const struct command *c, unsigned place,
                       const struct command_arg *a)
{
    const char *names = help_names_of(a);
    if (a->many)
        fprintf(out, "complete -c musterctl -n '__musterctl_behind %s' -a '", c->name);
    else
        fprintf(out, "complete -c musterctl -n '__musterctl_at %u %s' -a '", place, c->name);
    put_values(out, a);
    if (names != NULL)
        fprintf(out, "(__musterctl_names %s)", names);
    fprintf(out, "'%s\n", a->type == PARAM_PATH ? " -F" : "");
}

/* Behind `set NAME`: the values of that setting, if they are known. */
static void fish_setting_values(FILE *out, const struct command *c)
{
    for (const struct setting *s = setting_first(); s != NULL; s = s->next) {
        const char *const *choices = param_choices(&s->param);
        if (choices == NULL || setting_is_open(s))
            continue;
        fprintf(out, "complete -c musterctl -n '__musterctl_setting %s %s' -a '", c->name, s->name);
        for (size_t i = 0; choices[i] != NULL; i++)
            fprintf(out, "%s ", choices[i]);
        fprintf(out, "'\n");
    }
}

static void fish_option(FILE *out, const char *condition, const struct command_arg *a)
{
    fprintf(out, "complete -c musterctl -n '%s' -l %s", condition, command_hyphened(a->name).text);
    if (a->kind != ARG_FLAG)
        fprintf(out, a->type == PARAM_PATH ? " -r -F" : " -x");
    const char *names = a->kind != ARG_FLAG ? help_names_of(a) : NULL;
    if (names != NULL || (a->kind != ARG_FLAG && param_choices(&a->param) != NULL)) {
        fprintf(out, " -a '");
        put_values(out, a);
        if (names != NULL)
            fprintf(out, "(__musterctl_names %s)", names);
        fprintf(out, "'");
    }
    fprintf(out, " -d ");
    help_put_quoted(out, command_brief(a->doc));
    fputc('\n', out);
}

static void fish_args(FILE *out, const struct command *c, const char *condition)
{
    unsigned place = 0;
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
        if (help_is_option(a))
            fish_option(out, condition, a);
        else if (a->refers == REFERS_SETTING_VALUE)
            fish_setting_values(out, c);
        else
            fish_value(out, c, place, a);
        place += !help_is_option(a);
    }
}

/* The group that two words stand for; and the second word behind its first. */
static void fish_groups(FILE *out)
{
    slice first, second;
    const struct command *c = NULL;
    fprintf(out, "function __musterctl_group\n    switch $argv[1]\n");
    while ((c = help_next_parted(c, &first, &second)) != NULL)
        fprintf(out, "    case '%.*s %.*s'\n        echo %.*s\n", SLICE_ARG(first),
                SLICE_ARG(second), SLICE_ARG(help_group_of(c)));
    fprintf(out, "    end\nend\n");
    while ((c = help_next_parted(c, &first, &second)) != NULL)
        fprintf(out, "complete -c musterctl -n '__musterctl_next %.*s' -a %.*s\n", SLICE_ARG(first),
                SLICE_ARG(second));
}

/* First words, second words behind their first, and the options of each command. */
void help_completion_fish(FILE *out)
{
    slice last = { 0 };
    fprintf(out, "# fish completion for musterctl, printed by `musterctl completion fish`\n");
    fish_groups(out);
    fprintf(out,
            "%s"
            "complete -c musterctl -f\n"
            "complete -c musterctl -l socket -r -F\ncomplete -c musterctl -l config -r -F\n"
            "complete -c musterctl -l token-file -r -F\ncomplete -c musterctl -l ca -r -F\n"
            "complete -c musterctl -l url -x\n"
            "complete -c musterctl -l json\ncomplete -c musterctl -l csv\n"
            "complete -c musterctl -l yes\n"
            "complete -c musterctl -l password-file -r -F\n"
            "complete -c musterctl -n '__musterctl_next completion' -a 'bash zsh fish'\n"
            "complete -c musterctl -n __musterctl_next -a '",
            fish_functions);
    put_own(out, usage_own_commands);
    fprintf(out, "'\n");
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        slice group = help_group_of(c), rest = slice_from(slice_of(c->name), group.len);
        char condition[160];
        if (!slice_eq(group, last)) {
            fprintf(out, "complete -c musterctl -n __musterctl_next -a %.*s", SLICE_ARG(group));
            if (rest.len == 0) {
                fprintf(out, " -d ");
                help_put_quoted(out, command_brief(c->doc));
            }
            fputc('\n', out);
        }
        last = group;
        snprintf(condition, sizeof condition, "__musterctl_behind %s", c->name);
        if (rest.len > 0) {
            fprintf(out, "complete -c musterctl -n '__musterctl_next %.*s' -a %s -d ",
                    SLICE_ARG(group), rest.ptr + 1);
            help_put_quoted(out, command_brief(c->doc));
            fputc('\n', out);
        }
        fish_args(out, c, condition);
    }
}
