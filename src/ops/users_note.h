/* users_note: what the audit log says of an account before it is deleted: its profile, its role and
 * what features note of it, such as its groups. */
#pragma once
#include "base/slice.h"

struct command_call;
struct store_batch;

/* In the arena of the call. */
struct users_note {
    const char *created; /* when */
    bool disabled;
    slice rest; /* "given_name=Bob role=viewer group=sales", only what is there */
};
void users_note_reads(struct store_batch *b, slice jid);
/* Rows that these have found, from the first statement of the batch on. The account was there. */
void users_note_found(struct command_call *call, slice jid, const struct store_batch *b,
                      struct users_note *out);
