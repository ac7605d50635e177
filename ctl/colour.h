/* colour: the colours of what a person reads on a terminal: states and severities, so that what is
 * wrong is seen first. Only there, and not with NO_COLOR (no-color.org) or TERM=dumb. */
#pragma once
#include <stdbool.h>
#include <stdio.h>

#define COLOUR_BOLD  "\033[1m" /* ECMA-48 §8.3.117 */
#define COLOUR_PLAIN "\033[0m"

bool colour_is_on(FILE *out);
/* The sequence before this text of a column; NULL: it has none. */
const char *colour_of(const char *column, const char *text);
