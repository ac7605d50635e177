/* mam_fulltext: full-text search (XEP-0431): an index of the message log that follows it by
 * position (architecture §7: reader `fulltext`), in batches behind the commits, so that a message
 * waits for none of it. A search first brings the index up to what was committed when it was asked.
 *
 * A row of the index has the words of a message, and one word for each archive that the message is
 * in: PRIVATE followed by the id of the account or room, which no text has. So a search looks only
 * at messages of the owner's archive, however common the words are elsewhere. Encrypted messages
 * are not indexed. The index keeps no text: who removes a message has to say what was indexed.
 *
 * On PostgreSQL the same words are a tsvector (store/words.h), and what is removed is a row.
 *
 * Limits: TEXT_MAX bytes of a message; STEP_ROWS messages a step; WORDS_MAX words of a search, as
 * the index divides them ("don't" is two): the words behind them are left out. A search waits
 * CATCH_UP_US for the index, then what it finds may change ("unstable").
 *
 * The steps of two workers may meet: the position is moved only from where the step began, so one
 * of them is undone and begins again. So is one that read messages which were edited meanwhile. */
#pragma once
#include "archive/words.h"
#include "base/setting.h"
#include "store/store.h"

struct alarm;
struct message_row;
struct worker;

extern struct setting mam_fulltext;
extern struct store_stmt *const mam_fulltext_stmts[];
extern const struct archive_words mam_words;
#define MAM_INDEX_CREATE                                                                           \
    "CREATE VIRTUAL TABLE message_fts USING fts5(words, content='', columnsize=0,"                 \
    " tokenize='unicode61 remove_diacritics 2')"
extern const struct store_index mam_index;
extern struct alarm mam_index_alarm;
extern const struct message_row mam_index_message;
/* The worker of DUTY_ARCHIVE has started: was the index emptied when the store was opened? */
void mam_fulltext_look(struct worker *w);
void mam_fulltext_stop(struct worker *w); /* the worker has ended */
