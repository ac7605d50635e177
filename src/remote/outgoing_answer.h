/* outgoing_answer: an error of another server for a message of an account that was acknowledged. It
 * is kept as one of ours is (remote/outgoing_bounce.h), until a client of the account has it: the
 * one that it is for, or the others, or the next one that logs in. It is in no archive. Errors that
 * answer nothing stored are for the client that is there, or are ignored (RFC 6121 §8.5.3.2.3).
 *
 * Limits: one error for each message (remote/outgoing_count.h); those of the mailbox. Of what was
 * sent before a restart the database knows what waits: it is asked for clients that are gone, for
 * OUTGOING_ANSWERS_MAX errors of a worker at a time; more are ignored. */
#pragma once
#include <stdbool.h>

struct account;
struct stanza;

enum { OUTGOING_ANSWERS_MAX = 1024 };

/* Whether an error is one of these, as far as memory knows. At the home of the account. */
bool outgoing_is_answer(const struct account *a, const struct stanza *st);
/* The same for a client that is gone. false: it is to be ignored; else `keep` is called, at once or
 * when the database has been asked, or never; it takes over a reference. Borrows st. At the home of
 * the account, which is READY then. */
typedef void outgoing_answer_fn(struct account *a, struct stanza *st);
bool outgoing_answered(struct account *a, struct stanza *st, outgoing_answer_fn *keep);
/* It was kept. */
void outgoing_answer_taken(struct account *a, const struct stanza *st);
