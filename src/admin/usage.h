/* usage: the syntax of a command, from its row, for `musterctl help` and docs/commands.md. */
#pragma once

struct buf;
struct command;
struct command_arg;

/* "user add JID [--password PASSWORD]" */
/* What it is, what is allowed, and where a secret comes from. */
void usage_note(struct buf *out, const struct command_arg *a);
void usage_line(struct buf *out, const struct command *c);
/* "JID" or "[--password PASSWORD]", as it stands in usage_line() */
void usage_part(struct buf *out, const struct command_arg *a);
/* "JID" or "--password PASSWORD" */
void usage_arg(struct buf *out, const struct command_arg *a);
