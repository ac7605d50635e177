/* command_options: texts of rows and commands speak of options of musterctl, "--visible-to". On
 * another surface these are members of JSON, or fields of a form. */
#pragma once
#include "base/slice.h"

struct buf;
struct command;
struct command_arg;

typedef void command_option_fn(struct buf *out, const struct command_arg *a);

/* The text with each option of `c` named by `name`, also those of another command in backquotes. A
 * line of musterctl without options stays as it is. */
void command_options_named(struct buf *out, const struct command *c, slice text,
                           command_option_fn *name);
