/* question: a message whose sender waits for the answers of one home or of all homes. A worker
 * that gets it runs it like any message, and says any number of answers meanwhile by
 * question_answer(). They come to `gather`, in order from each worker, and when all have ended,
 * `done` is called, both on the worker that asked, by the FIFO of all messages (architecture §4).
 * `done` is never called from inside each_home() and home_ask(): if all homes were here, later in
 * the tick.
 *
 * A question is kept by a number, so nothing that is sent has a pointer in it. It is of the worker
 * that asked, as a connection is of one, not of a slot: what waits for it is in the memory of that
 * worker. So who answers later keeps a struct message_from, and slots may move meanwhile. Numbers
 * are of one run and begin anywhere: an answer that comes after a restart almost surely finds
 * nobody.
 *
 * It always ends. What a node has not answered when it is gone, or within QUESTION_MS if its row
 * does not say `slow`, is lost: `lost` is called, then the rest goes on as if it had ended. Within
 * the process nothing is lost. */
#pragma once
#include "home/message.h"

/* An answer, a struct of row.answer of the question. */
typedef void gather_fn(struct worker *w, void *arg, void *answer, const struct message_from *from);
typedef void gathered_fn(struct worker *w, void *arg);

enum { QUESTION_MS = 30000 }; /* for what comes from other nodes */

/* Who waits; the struct itself is borrowed for the call. `done` frees what `arg` owns. Where the
 * worker ends first, `drop` does: memory only. Without it that is not freed; only at the end of the
 * process, which gives it back. */
struct asker {
    gather_fn *gather; /* NULL: no answers are expected */
    gathered_fn *done; /* NULL: nobody waits */
    void *arg;
    gathered_fn *lost; /* before `done`: answers of another node will not come. NULL: no matter */
    void (*drop)(void *arg);
};

/* To all workers of all nodes; of this node, where the row's scope is the process. Gives away the
 * references in the message. */
void each_home(struct worker *w, const struct message_row *row, void *message,
               const struct asker *by);
/* To a worker of a node, as in home_send_to(). */
void home_ask_at(struct worker *w, uint32_t node, unsigned worker, const struct message_row *row,
                 void *message, const struct asker *by);
/* To the home of a bare JID. */
void home_ask(struct worker *w, slice bare, const struct message_row *row, void *message,
              const struct asker *by);

/* While it is run, or, of a row that says `later`, until question_end(). Nothing if `from` asked
 * nothing. Gives away the references in `answer`. */
void question_answer(struct worker *w, const struct message_from *from,
                     const struct message_row *row, void *answer);
void question_end(struct worker *w, const struct message_from *from);

/* By home/message.c: a part of a conversation has come. */
void question_deliver(struct worker *w, const struct message_row *row, void *message,
                      const struct message_from *from);
extern const struct message_row question_ended_message;

void questions_node_gone(struct worker *w, uint32_t node);
void questions_init(struct worker *w);
void questions_fini(struct worker *w);
