/* control_json: the lines of the control socket (docs/commands.md).
 *
 *     {"command":"user add","args":{"jid":"a@example.test","password":"…"}}
 *     {"ok":true,"text":"…","rows":[{"jid":"a@example.test"}]}
 *     {"ok":false,"error":"exists","text":"…"} */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct buf;
struct command_call;

/* Finds the command and binds its arguments; the call's arena is set. A number, true and false are
 * taken as their text. E_SYNTAX, E_NOTFOUND: no such command. */
NODISCARD enum err control_parse(slice line, struct command_call *call, struct why *why);
/* The reply of an ended call, with its line feed. */
void control_reply(struct buf *out, const struct command_call *call);
/* A refusal without a call. */
void control_refuse(struct buf *out, enum err e, slice text);
