/* users_note: what the audit log says of an account before it is deleted: its profile, its role and
 * what features note of it, such as its groups. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct command_call;

/* In the arena of the call; all empty: there is no such account. */
struct users_note {
    const char *created; /* when */
    bool disabled;
    slice rest; /* "given_name=Bob role=viewer group=sales", only what is there */
};
/* Then, on the worker of the call: OK, or why the database could not be read. */
void users_note_read(struct command_call *call, slice jid, struct users_note *out,
                     void (*fn)(void *arg, enum err e), void *arg);
