/* foreign_ask: whether a stanza that has waited may still leave for another server. Rules may have
 * changed since it was sent, and those of a user are known at the home of the account only. */
#pragma once
#include "home/edge.h"

struct message_row;
struct stanza;
struct worker;

/* One that goes whole if nobody can say it now. */
typedef void foreign_ask_fn(void *arg, struct edge_word word);
/* Asks at the home of its sender. Borrows. `done` is called once, later, unless the worker ends
 * before: then `drop` is, memory only. */
void foreign_ask(struct worker *w, struct stanza *st, foreign_ask_fn *done, void (*drop)(void *arg),
                 void *arg);

extern const struct message_row foreign_ask_message, foreign_ask_answer;
