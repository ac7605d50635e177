/* words: turns the words of a command line into a command and its arguments, by the command rows
 * that the server uses too. Asks for secrets that are not given. One call a process. */
#pragma once
#include "base/command.h"
#include <stdbool.h>

struct words {
    const struct command *command; /* NULL after a failure: the words do not begin a command */
    slice names[COMMAND_ARGS_MAX], values[COMMAND_ARGS_MAX];
    size_t count;
    char *joined;           /* the value that several words make; NULL: there is none */
    bool secret_from_stdin; /* --stdin was given */
    const char *meant; /* name of another command that the words may be meant to be; NULL: none */
};

/* The two words that may stand for a group whose name has a hyphen: "cert trust" for "cert-trust".
 * false: it has none, or they are a command themselves. */
bool words_of_group(slice group, slice *first, slice *second);
/* Makes one word of two that stand for a group, at the beginning of `argv`, which is changed. */
void words_join_group(char ***argv, size_t *count, struct arena *arena);
/* Joins such words; `arena` keeps what is not in argv. E_SYNTAX: the sentence in `why` says what is
 * wrong. */
NODISCARD enum err words_parse(struct words *w, char **argv, size_t count, struct arena *arena,
                               struct why *why);
/* Adds the secrets that are missing: from a line of standard input, or asked for on the terminal,
 * twice and without echo. */
NODISCARD enum err words_secrets(struct words *w, struct arena *arena, struct why *why);
/* Whether words_confirm() asks, which needs a terminal. */
bool words_ask(const struct words *w);
/* Where the command destroys something (its row says what), asks on the terminal whether it is
 * meant. E_DENIED: it is not. E_SYNTAX: there is no terminal to ask on, so --yes must be given; the
 * sentence in `why` says so. */
NODISCARD enum err words_confirm(const struct words *w, struct why *why);
