/* render: a reply of the server as a person reads it: several rows as a table that fits the
 * terminal, one row of a record as "name  value" lines, then the text. */
#pragma once
#include <jansson.h>
#include <stdio.h>

struct command;

/* Rows as comma-separated values (RFC 4180) below a line of names, which has all columns of the
 * command whatever the rows are; no text. What a spreadsheet would take for a formula begins with
 * an apostrophe. */
size_t render_terminal(FILE *out); /* its width in columns; SIZE_MAX: it has none */
void render_lines(FILE *out, const struct command *c, const json_t *reply); /* of a file */
void render_csv(FILE *out, const struct command *c, const json_t *reply);
void render_found(FILE *out, const struct command *c, const json_t *reply); /* its rows alone */
void render_reply(FILE *out, const struct command *c, const json_t *reply);
