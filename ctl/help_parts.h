/* help_parts: what the scripts for shells share. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>
#include <stdio.h>

struct command;
struct command_arg;
struct usage_own;

slice help_group_of(const struct command *c); /* its first word */
/* The next group after `c` whose name may be two words, and these; c NULL: the first. NULL: no
 * more.
 */
const struct command *help_next_parted(const struct command *c, slice *first, slice *second);
/* For bash and zsh: makes one word of "cert trust" in the list `typed`, whose first two words `two`
 * is. */
void help_put_join(FILE *out, const char *two);
slice help_own_name(const struct usage_own *o);
bool help_is_option(const struct command_arg *a);
/* Names of the server that a value of such an argument may be; NULL: none. */
const char *help_names_of(const struct command_arg *a);
/* In single quotes of a shell: they agree on nothing else. */
void help_put_quoted(FILE *out, slice text);
