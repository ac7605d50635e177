/* help: what `musterctl help` and `musterctl completion SHELL` print, from the command rows. */
#pragma once
#include <stdbool.h>
#include <stdio.h>

struct command;

void help_all(FILE *out);
void help_command(FILE *out, const struct command *c);
/* Help on what musterctl does itself, as `watch`; false: it is none of these. */
bool help_own(FILE *out, const char *word);
/* The commands that begin with a word, as `user`; false: there are none. */
bool help_group(FILE *out, const char *word);
/* Kinds of names that completion asks the server for, as `names KIND PREFIX` does; ended by NULL.
 */
enum { HELP_LISTS_MAX = 2 };
struct help_names {
    char *name;
    char *lists[HELP_LISTS_MAX]; /* "s2s": the first column of `s2s list` has them; NULL: no more */
};
extern const struct help_names help_names[];
/* A script for bash: commands, options, choices, and names of settings. */
void help_completion(FILE *out);
void help_completion_fish(FILE *out);
