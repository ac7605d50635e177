/* usage: the syntax of a command, from its row, for `musterctl help`, the manual pages and
 * docs/commands.md; and what musterctl does without a server, as rows. */
#pragma once

struct buf;
struct command;
struct command_arg;

/* Commands that musterctl does itself, and its own options. */
struct usage_own {
    const char *syntax; /* "watch COMMAND [--every TIME]"; NULL ends the table */
    const char *doc;    /* as that of a command */
};
extern const struct usage_own usage_own_commands[], usage_own_options[], usage_exit_codes[];

/* Writes what it is, what is allowed, and where a secret comes from. */
void usage_note(struct buf *out, const struct command_arg *a);
/* "user add JID [--password PASSWORD]" */
void usage_line(struct buf *out, const struct command *c);
/* "JID" or "[--password PASSWORD]", as it stands in usage_line() */
void usage_part(struct buf *out, const struct command_arg *a);
/* "JID" or "--password PASSWORD" */
void usage_arg(struct buf *out, const struct command_arg *a);
/* Writes what it does, and that it asks before. */
void usage_doc(struct buf *out, const struct command *c);
