/* wrap: text in lines for a terminal. Widths are columns, one for each character. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

size_t wrap_width(const char *text, size_t len);
/* How many bytes of the text are the next line of that width (at least 1): whole words where they
 * fit. A word that is longer than a line is broken, or is a line of its own if `whole`. *skip: the
 * spaces behind the line. */
size_t wrap_line(const char *text, size_t width, bool whole, size_t *skip);
/* Prints the text and a line end. Its first line begins where the cursor is, the others behind
 * `indent` spaces; no line is longer than `width`, except for a word that is: a link stays one. */
void wrap_print(FILE *out, const char *text, size_t indent, size_t width);
