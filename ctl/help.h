/* help: what `musterctl help` and `musterctl completion bash` print, from the command rows. */
#pragma once
#include <stdio.h>

struct command;

void help_all(FILE *out);
void help_command(FILE *out, const struct command *c);
/* A script for bash: commands, options, choices, and names of settings. */
void help_completion(FILE *out);
