/* help_zsh: what `musterctl completion zsh` prints, from the command rows: commands, options and
 * settings with what they are, values in their places, and names of the server. */
#pragma once
#include <stdio.h>

void help_completion_zsh(FILE *out);
