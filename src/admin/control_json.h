/* control_json: the lines of the control socket (docs/commands.md).
 *
 *     {"command":"user add","args":{"jid":"a@example.test","password":"…"}}
 *     {"ok":true,"text":"…","rows":[{"jid":"a@example.test"}]}
 *     {"ok":false,"error":"exists","text":"…"}
 *
 * With "incomplete":true a node did not answer, and what it has is missing. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct buf;
struct command_call;
struct command;
struct command_arg;
struct command_row;
struct arena;
struct json_t;

/* Finds the command and binds its arguments; the call's arena is set. Numbers, true and false are
 * converted to text, of arguments that are such. E_SYNTAX, E_NOTFOUND: no such command. */
NODISCARD enum err control_parse(slice line, struct command_call *call, struct why *why);
/* Binds the members of one JSON object (empty: none), and beside them `count` given arguments. A
 * list of texts is the words of an argument that may be several. E_PROTO: it is no object. */
NODISCARD enum err control_bind(slice object, const slice *names, const slice *values, size_t count,
                                struct command_call *call, struct why *why);
/* The argument of that name; NULL: there is none. */
const struct command_arg *control_arg(const struct command *c, const char *name);
/* A list of texts as the one text that the argument has; ptr NULL: it is no such list. */
slice control_list(struct arena *arena, const struct command_arg *a, const struct json_t *list);
void control_text(struct buf *out, slice text); /* appends a JSON string, of any bytes */
void control_row(struct buf *out, const struct command_row *row); /* appends an object */
/* Appends the rows of a call as a list. */
void control_rows(struct buf *out, const struct command_call *call);
/* Appends the first row of a call as an object. */
void control_record(struct buf *out, const struct command_call *call);
/* Appends an object with a page of a list; `next` leads to the next one, ptr NULL: it is the last.
 */
void control_page(struct buf *out, const struct command_call *call, slice next);
/* Appends the member of an object, behind others, that says that a node did not answer; or
 * nothing. */
void control_incomplete(struct buf *out, const struct command_call *call);
/* Appends the reply of an ended call, with a line feed. */
void control_reply(struct buf *out, const struct command_call *call);
/* Appends an error for a request that was not run. */
void control_refuse(struct buf *out, enum err e, slice text);
