#include "ctl/words.h"
#include "admin/usage.h"
#include "base/arena.h"
#include "base/mem.h"
#include "base/setting.h"
#include "base/similar.h"
#include "base/utf8.h"
#include "xmpp/jid.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

enum {
    SECRET_BYTES_MAX = 1024,
    LINES_BYTES_MAX = 256 * 1024,
    VALUE_BYTES_MAX = 64 * 1024 /* the server takes no request that is longer */
};

static const struct command *find_command(char **argv, size_t count, struct arena *arena,
                                          size_t *used)
{
    const struct command *c = NULL;
    *used = 2;
    if (count >= 2)
        c = command_find(slice_of(arena_printf(arena, "%s %s", argv[0], argv[1])));
    if (c == NULL && count >= 1) {
        *used = 1;
        c = command_find(slice_of(argv[0]));
    }
    return c;
}

static slice first_word(const struct command *c)
{
    slice first, rest;
    slice_cut(slice_of(c->name), ' ', &first, &rest);
    return first;
}

bool words_of_group(slice group, slice *first, slice *second)
{
    return slice_cut(group, '-', first, second) && command_find(group) == NULL &&
           command_find(*first) == NULL;
}

void words_join_group(char ***argv, size_t *count, struct arena *arena)
{
    slice first, second;
    if (*count < 2 ||
        command_find(slice_of(arena_printf(arena, "%s %s", (*argv)[0], (*argv)[1]))) != NULL)
        return;
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        slice group = first_word(c);
        if (!words_of_group(group, &first, &second) || !slice_is(first, (*argv)[0]) ||
            !slice_is(second, (*argv)[1]))
            continue;
        (*argv)[1] = slice_cstr(arena, group);
        ++*argv;
        --*count;
        return;
    }
}

static bool words_has_option(const struct command *c, const char *option)
{
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++)
        if (a->kind != ARG_POSITIONAL && a->kind != ARG_OPTIONAL &&
            strcmp(command_hyphened(a->name).text, option) == 0)
            return true;
    return false;
}

/* The command behind an option in front of it, with a value or without, which takes that option;
 * NULL: none. */
static const struct command *command_behind(char **argv, size_t count, struct arena *arena)
{
    size_t used;
    for (size_t i = 1; i < count && i <= 2; i++) {
        const struct command *c = find_command(argv + i, count - i, arena, &used);
        if (c != NULL && words_has_option(c, argv[0] + 2))
            return c;
    }
    return NULL;
}

static enum err unknown_own_option(char **argv, size_t count, struct arena *arena, struct why *why)
{
    const char *found = argv[0];
    const struct command *behind = command_behind(argv, count, arena);
    if (behind != NULL) {
        why_set(why, "found %.64s in front of its command; write it behind: musterctl %s %.64s",
                found, behind->name, found);
        return E_SYNTAX;
    }
    struct similar similar;
    similar_init(&similar, slice_of(found));
    for (const struct usage_own *o = usage_own_options; o->syntax != NULL; o++) {
        slice name, value;
        slice_cut(slice_of(o->syntax), ' ', &name, &value);
        similar_try(&similar, name);
    }
    why_set(why, "found the unknown option %.64s; `musterctl help` lists the options%s", found,
            similar_text(&similar).text);
    return E_SYNTAX;
}

/* How many of the words are the beginning of a command's name if "-" and " " mean the same; *whole:
 * they are all of it. */
static size_t words_shared(const char *name, char **argv, size_t count, bool *whole)
{
    size_t used = 0;
    *whole = false;
    while (used < count && *name != '\0') {
        size_t len = strlen(argv[used]);
        for (size_t i = 0; i < len; i++) {
            if (name[i] != argv[used][i] && !(name[i] == ' ' && argv[used][i] == '-'))
                return used;
        }
        if (name[len] != '\0' && name[len] != ' ' && name[len] != '-')
            return used;
        *whole = name[len] == '\0';
        name += len + !*whole;
        used++;
    }
    return used;
}

/* The commands that begin with these words, and the one whose name they are with other blanks. */
struct shared {
    size_t words;
    const char *names;          /* "room-alias add, room-alias del" */
    const struct command *same; /* NULL: none */
};

static struct shared find_shared(char **argv, size_t count, struct arena *arena)
{
    struct shared s = { 1, "", NULL };
    for (const struct command *c = command_first(); c != NULL; c = c->next) {
        bool whole, first = count > 0 && slice_is(first_word(c), argv[0]);
        size_t words = words_shared(c->name, argv, count, &whole);
        if (words > s.words)
            s = (struct shared){ words, "", NULL };
        if (whole && words == s.words)
            s.same = c;
        if (words == s.words && (words > 1 || first))
            s.names = arena_printf(arena, "%s%s%s", s.names, *s.names != '\0' ? ", " : "", c->name);
    }
    return s;
}

/* What the words have in common with the names of commands: those that begin with the same words,
 * and the one that was probably meant. */
static enum err no_command(char **argv, size_t count, struct arena *arena, struct why *why)
{
    const char *found = count == 0   ? "nothing"
                        : count == 1 ? argv[0]
                                     : arena_printf(arena, "%s %s", argv[0], argv[1]);
    struct similar two, one, joined;
    if (count > 0 && strncmp(argv[0], "--", 2) == 0)
        return unknown_own_option(argv, count, arena, why);
    if (count > 0 && setting_find(slice_of(argv[0])) != NULL) {
        why_set(why, "found the setting %s, allowed a command; see `musterctl get %s`", argv[0],
                argv[0]);
        return E_SYNTAX;
    }
    struct shared shared = find_shared(argv, count, arena);
    if (shared.same != NULL) {
        why_set(why, "found \"%.64s\"; did you mean %s?", found, shared.same->name);
        return E_SYNTAX;
    }
    similar_init(&two, slice_of(found));
    similar_init(&one, slice_of(count > 0 ? argv[0] : ""));
    similar_init(&joined,
                 slice_of(count > 1 ? arena_printf(arena, "%s-%s", argv[0], argv[1]) : ""));
    for (const struct command *c = command_first(); count > 0 && c != NULL; c = c->next) {
        similar_try(&two, slice_of(c->name));
        similar_try(&one, first_word(c));
        similar_try(&joined, first_word(c));
    }
    if (joined.best.ptr != NULL && (two.best.ptr == NULL || joined.distance < two.distance))
        two = joined; /* "room allias" was meant for the group "room-alias" */
    bool group = *shared.names != '\0';
    if (two.best.ptr == NULL && !group)
        two = one;
    if (group && count == shared.words) /* all that begin with it are named */
        similar_init(&two, (slice){ 0 });
    why_set(why, "found \"%.64s\", allowed %s%s", found,
            group ? shared.names : "a command; `musterctl help` lists them",
            similar_text(&two).text);
    return E_SYNTAX;
}

static bool is_positional(const struct command_arg *a)
{
    return a->kind == ARG_POSITIONAL || a->kind == ARG_OPTIONAL;
}

static enum err unknown_option(const struct command *c, slice name, struct arena *arena,
                               struct why *why)
{
    struct similar similar;
    similar_init(&similar, name);
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
        if (!is_positional(a))
            similar_try(&similar, slice_dup(arena, slice_of(command_hyphened(a->name).text)));
    }
    why_set(why, "%s: found the unknown option --%.*s; see `musterctl help %s`%s", c->name,
            SLICE_ARG(name), c->name, similar_text(&similar).text);
    return E_SYNTAX;
}

static const struct command_arg *find_option(const struct command *c, slice name)
{
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
        if (slice_is(name, command_hyphened(a->name).text) && !is_positional(a))
            return a;
    }
    return NULL;
}

/* The positional argument of that number; NULL: there are fewer. */
static const struct command_arg *find_positional(const struct command *c, size_t number)
{
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++) {
        if (is_positional(a) && number-- == 0)
            return a;
    }
    return NULL;
}

static enum err ctl_words_add(struct words *w, const struct command_arg *a, slice value,
                              struct why *why)
{
    if (w->count == COMMAND_ARGS_MAX) {
        why_set(why, "%s: found too many arguments", w->command->name);
        return E_SYNTAX;
    }
    if (!utf8_valid(value)) {
        why_set(why, "%s: %s: found text that is not UTF-8", w->command->name,
                command_hyphened(a->name).text);
        return E_SYNTAX;
    }
    w->names[w->count] = slice_of(a->name);
    w->values[w->count++] = value;
    return OK;
}

/* The server has another working directory, so a path is made absolute here. A folder that the row
 * wants to be absolute stays, to be refused. */
static slice absolute(const struct command_arg *a, const char *value, struct arena *arena)
{
    char folder[PATH_MAX];
    bool relative = strcmp(a->name, "file") == 0 || (a->type == PARAM_PATH && a->check == NULL);
    if (!relative || *value == '\0' || *value == '/' || getcwd(folder, sizeof folder) == NULL)
        return slice_of(value);
    return slice_of(arena_printf(arena, "%s/%s", folder, value));
}

/* Whether further words belong to it: `set NAME 10 MiB`, or addresses that need no quotes. */
static bool is_joined(const struct command_arg *a)
{
    return a->refers == REFERS_SETTING_VALUE || a->many;
}

/* One more word of a value, which is that of the last positional argument; E_NOTFOUND: the command
 * has no such argument. */
static enum err joined(struct words *w, slice word, struct arena *arena, struct why *why)
{
    const struct command_arg *a = NULL, *next;
    size_t v = 0;
    for (size_t i = 0; (next = find_positional(w->command, i)) != NULL; i++)
        a = next;
    while (a != NULL && v < w->count && !slice_is(w->names[v], a->name))
        v++;
    if (a == NULL || !is_joined(a) || v == w->count)
        return E_NOTFOUND;
    if (!utf8_valid(word)) {
        why_set(why, "%s: %s: found text that is not UTF-8", w->command->name,
                command_hyphened(a->name).text);
        return E_SYNTAX;
    }
    if (w->values[v].len + word.len >= VALUE_BYTES_MAX) {
        why_set(why, "%s: %s: found more than %d KiB, allowed at most that", w->command->name,
                command_hyphened(a->name).text, VALUE_BYTES_MAX / 1024);
        return E_SYNTAX;
    }
    if (w->joined == NULL) {
        w->joined = arena_alloc_raw(arena, VALUE_BYTES_MAX);
        memcpy(w->joined, w->values[v].ptr, w->values[v].len);
    }
    size_t len = w->values[v].len;
    w->joined[len] = ' ';
    memcpy(w->joined + len + 1, word.ptr, word.len);
    w->values[v] = (slice){ w->joined, len + 1 + word.len };
    return OK;
}

static enum err add_positional(struct words *w, size_t number, const char *value,
                               struct arena *arena, struct why *why)
{
    const struct command_arg *a = find_positional(w->command, number);
    enum err e = a == NULL ? joined(w, slice_of(value), arena, why) : OK;
    if (a == NULL && e != E_NOTFOUND)
        return e;
    if (a == NULL) {
        why_set(why, "%s: found one argument too many: \"%.64s\"%s", w->command->name, value,
                w->meant != NULL ? arena_printf(arena, "; did you mean %s?", w->meant) : "");
        return E_SYNTAX;
    }
    return ctl_words_add(w, a, absolute(a, value, arena), why);
}

static bool ctl_words_read_line(int fd, char out[SECRET_BYTES_MAX], size_t *len);

/* The first line of a file of whoever runs musterctl; NULL: none was named. */
static enum err secret_of_file(struct words *w, const struct command_arg *a, const char *path,
                               struct arena *arena, struct why *why)
{
    char secret[SECRET_BYTES_MAX];
    size_t len = 0;
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    enum err e = OK;
    if (path == NULL) {
        why_set(why, "%s: --password-file needs a value", w->command->name);
        return E_SYNTAX;
    }
    if (fd < 0) {
        why_set(why, "--password-file: %s: %s", path, strerror(errno));
        return E_SYNTAX;
    }
    if (!ctl_words_read_line(fd, secret, &len)) {
        why_set(why, "--password-file: %s: found no line of less than %d bytes", path,
                SECRET_BYTES_MAX);
        e = E_SYNTAX;
    } else {
        e = ctl_words_add(w, a, slice_dup(arena, (slice){ secret, len }), why);
    }
    mem_wipe(secret, sizeof secret);
    close(fd);
    return e;
}

static bool words_may_pipe(const struct command *c)
{
    for (const struct command_arg *a = c->args; a != NULL && a->name != NULL; a++)
        if (command_arg_may_be_piped(a))
            return true;
    return false;
}

/* "--name VALUE", "--name=VALUE" or "--name"; `next` is the word behind it, or NULL. */
static enum err add_option(struct words *w, const char *word, const char *next, size_t *used,
                           struct arena *arena, struct why *why)
{
    slice name, value;
    bool inlined = slice_cut(slice_of(word + 2), '=', &name, &value);
    const struct command_arg *a = find_option(w->command, name);
    *used = 1;
    if (a == NULL && slice_is(name, "stdin") && !inlined && words_may_pipe(w->command)) {
        w->secret_from_stdin = true;
        return OK;
    }
    if (a == NULL && slice_is(name, "password-file") &&
        (a = find_option(w->command, SLICE("password"))) != NULL) {
        *used = inlined ? 1 : 2;
        return secret_of_file(w, a, inlined ? value.ptr : next, arena, why);
    }
    if (a == NULL)
        return unknown_option(w->command, name, arena, why);
    if (a->kind == ARG_FLAG && !inlined)
        return ctl_words_add(w, a, SLICE("true"), why);
    if (!inlined && next == NULL) {
        why_set(why, "%s: --%s needs a value", w->command->name, command_hyphened(a->name).text);
        return E_SYNTAX;
    }
    if (!inlined) {
        value = slice_of(next);
        *used = 2;
    }
    return ctl_words_add(w, a, absolute(a, value.ptr, arena), why);
}

enum err words_parse(struct words *w, char **argv, size_t count, struct arena *arena,
                     struct why *why)
{
    size_t at, positional = 0;
    bool options = true;
    words_join_group(&argv, &count, arena);
    *w = (struct words){ .command = find_command(argv, count, arena, &at) };
    if (w->command == NULL)
        return no_command(argv, count, arena, why);
    const struct command *same = find_shared(argv, count, arena).same;
    w->meant = same != NULL && same != w->command ? same->name : NULL;
    while (at < count) {
        const char *word = argv[at];
        size_t used = 1;
        enum err e = OK;
        if (options && strcmp(word, "--") == 0)
            options = false;
        else if (options && strncmp(word, "--", 2) == 0)
            e = add_option(w, word, at + 1 < count ? argv[at + 1] : NULL, &used, arena, why);
        else
            e = add_positional(w, positional++, word, arena, why);
        if (e != OK)
            return e;
        at += used;
    }
    struct command_call call = { .command = w->command, .arena = arena, .typed = true };
    return command_bind(&call, w->names, w->values, w->count, why);
}

/* One line without its end; false: there is none, or it is too long. */
static bool ctl_words_read_line(int fd, char out[SECRET_BYTES_MAX], size_t *len)
{
    *len = 0;
    while (*len < SECRET_BYTES_MAX) {
        ssize_t got = read(fd, out + *len, 1); /* byte by byte: what follows is not ours */
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0 || out[*len] == '\n')
            return got > 0 || *len > 0;
        ++*len;
    }
    return false;
}

/* Asks on the terminal itself, so that output may be redirected. */
static bool ctl_words_ask(const char *prompt, char out[SECRET_BYTES_MAX], size_t *len)
{
    struct termios was, quiet;
    if (tcgetattr(STDIN_FILENO, &was) != 0)
        return false;
    quiet = was;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet); /* drops what was typed before, so it comes first */
    fprintf(stderr, "%s: ", prompt);
    bool fine = ctl_words_read_line(STDIN_FILENO, out, len);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &was);
    fprintf(stderr, "\n");
    return fine;
}

static enum err ask_twice(const char *name, char out[SECRET_BYTES_MAX], size_t *len,
                          struct arena *arena, struct why *why)
{
    char again[SECRET_BYTES_MAX];
    size_t again_len = 0;
    bool fine = ctl_words_ask(arena_printf(arena, "New %s", name), out, len) &&
                ctl_words_ask(arena_printf(arena, "The same %s again", name), again, &again_len);
    bool same = fine && slice_eq((slice){ out, *len }, (slice){ again, again_len });
    mem_wipe(again, sizeof again);
    if (!same)
        why_set(why, fine ? "the two inputs differ" : "no %s was given", name);
    return same ? OK : E_SYNTAX;
}

/* All of standard input. */
static enum err words_get_lines(struct words *w, const struct command_arg *a, struct arena *arena,
                                struct why *why)
{
    char *text = arena_alloc(arena, LINES_BYTES_MAX, 1);
    size_t len = 0;
    ssize_t got = 1;
    if (!w->secret_from_stdin) {
        why_set(why, "%s: missing --stdin: the %s is read from standard input", w->command->name,
                command_hyphened(a->name).text);
        return E_SYNTAX;
    }
    while (len < LINES_BYTES_MAX && got != 0) {
        got = read(STDIN_FILENO, text + len, LINES_BYTES_MAX - len);
        if (got < 0 && errno != EINTR)
            break;
        len += got > 0 ? (size_t)got : 0;
    }
    if (got != 0) {
        why_set(why, "found more than %d KiB on standard input, or nothing that can be read",
                LINES_BYTES_MAX / 1024);
        return E_SYNTAX;
    }
    return ctl_words_add(w, a, (slice){ text, len }, why);
}

static enum err ctl_words_get_secret(struct words *w, const struct command_arg *a,
                                     struct arena *arena, struct why *why)
{
    char secret[SECRET_BYTES_MAX];
    size_t len = 0;
    enum err e = OK;
    if (a->lines)
        return words_get_lines(w, a, arena, why);
    if (w->secret_from_stdin) {
        if (!ctl_words_read_line(STDIN_FILENO, secret, &len)) {
            why_set(why, "found no line of less than %d bytes on standard input", SECRET_BYTES_MAX);
            e = E_SYNTAX;
        }
    } else if (isatty(STDIN_FILENO)) {
        e = ask_twice(command_hyphened(a->name).text, secret, &len, arena, why);
    } else {
        why_set(why, "%s: give --%s, or --stdin, or run it on a terminal", w->command->name,
                command_hyphened(a->name).text);
        e = E_SYNTAX;
    }
    if (e == OK)
        e = ctl_words_add(w, a, slice_dup(arena, (slice){ secret, len }), why);
    mem_wipe(secret, sizeof secret);
    return e;
}

static bool words_have(const struct words *w, const char *name)
{
    for (size_t i = 0; i < w->count; i++) {
        if (slice_is(w->names[i], name))
            return true;
    }
    return false;
}

/* The server checks all arguments; nobody is asked for a secret for an address that cannot be. */
static enum err check_users(const struct words *w, struct arena *arena, struct why *why)
{
    for (size_t i = 0; i < w->count; i++) {
        struct jid jid;
        const struct command_arg *a = w->command->args;
        while (!slice_is(w->names[i], a->name))
            a++;
        if (a->type != PARAM_USER || a->many ||
            (jid_parse(&jid, w->values[i], arena) == OK && !jid_is_domain(&jid) &&
             jid_is_bare(&jid)))
            continue;
        why_set(why, "%s: found %.*s, allowed: an address such as alice@example.org",
                w->command->name, (int)(w->values[i].len < 64 ? w->values[i].len : 64),
                w->values[i].ptr);
        return E_SYNTAX;
    }
    return OK;
}

enum err words_secrets(struct words *w, struct arena *arena, struct why *why)
{
    for (const struct command_arg *a = w->command->args; a != NULL && a->name != NULL; a++) {
        bool piped = w->secret_from_stdin && command_arg_may_be_piped(a);
        bool wanted = a->kind == ARG_SECRET || piped;
        if (!wanted || words_have(w, a->name))
            continue;
        enum err e = check_users(w, arena, why);
        if (e == OK)
            e = ctl_words_get_secret(w, a, arena, why);
        if (e != OK)
            return e;
    }
    return OK;
}

bool words_ask(const struct words *w)
{
    const struct command *c = w->command;
    return c->asks != NULL && (c->asks_if == NULL || words_have(w, c->asks_if)) &&
           !words_have(w, "dry_run");
}

/* Shows the command with its arguments: "user del alice@example.test: … Go on? [y/N]". A dry run
 * destroys nothing, so nothing is asked. */
enum err words_confirm(const struct words *w, struct why *why)
{
    char answer[SECRET_BYTES_MAX];
    size_t len = 0;
    if (!words_ask(w))
        return OK;
    if (!isatty(STDIN_FILENO)) {
        why_set(why, "%s: standard input is no terminal to ask on, so --yes is needed: %s",
                w->command->name, w->command->asks);
        return E_SYNTAX;
    }
    fprintf(stderr, "%s", w->command->name);
    for (size_t i = 0; i < w->count; i++) {
        if (find_option(w->command, slice_of(command_hyphened(w->names[i].ptr).text)) == NULL)
            fprintf(stderr, " %.*s", SLICE_ARG(w->values[i]));
    }
    fprintf(stderr, ": %s Go on? [y/N] ", w->command->asks);
    bool meant = ctl_words_read_line(STDIN_FILENO, answer, &len) && len > 0 &&
                 (answer[0] == 'y' || answer[0] == 'Y');
    why_set(why, "nothing was done");
    return meant ? OK : E_DENIED;
}
