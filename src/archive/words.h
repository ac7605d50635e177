/* archive_words: full text of the archive, which one extension may bring (feature_tables.words).
 * Code that stores, changes, removes or searches messages of the log calls these functions. If
 * no extension has it, they do nothing. */
#pragma once
#include "base/slice.h"
#include "store/store.h"

struct arena;
struct archive_line;
struct setting;
struct worker;

enum archive_words_state { WORDS_CURRENT, WORDS_BEHIND };
typedef void archive_words_fn(void *arg, enum archive_words_state state);

struct archive_words {
    struct setting *enabled;
    /* Statements that find ids of one owner in the order of the log, rising and falling, and count
     * them. $1 the owner; $2 < log id < $3; $4 <= time <= $5; $6 the peer, -1: anybody; $7 its
     * address if it is not one of ours, empty: any; $8, $9 as ARCHIVE_FULL_JID has them; $10 the
     * limit; $11 what match() returned. */
    struct store_stmt *first, *last, *count;
    /* The query to look for; empty: there is no word in the text. */
    slice (*match)(struct worker *w, int64_t owner, slice text, struct arena *tmp);
    /* Indexes what is committed now, and what this lane has submitted, then calls done; on the
     * worker's thread, later. */
    void (*catch_up)(struct worker *w, uint64_t lane, archive_words_fn *done, void *arg);
    void (*stored)(struct worker *w); /* something is being stored: it is read soon */
    /* A batch that changes or removes messages takes each of them out. */
    void (*forget)(struct store_batch *b, const struct archive_line *m, struct arena *tmp);
    /* Puts one in again that the same batch took out: others have it still. */
    void (*again)(struct store_batch *b, const struct archive_line *m, struct arena *tmp);
};

/* Whether the message has this full JID: $8 is how a stanza begins that is from it, $9 what follows
 * the value of its `from` if it is to it; both empty: nobody's. `find` is instr or strpos, by which
 * SQLite and PostgreSQL find a text in another. */
#define ARCHIVE_FULL_JID(find)                                                                     \
    " AND ($8 = '' OR substr(m.stanza, 1, length($8)) = $8"                                        \
    " OR substr(m.stanza, 15 + " find "(substr(m.stanza, 16), ''''), length($9)) = $9)"

const struct archive_words *archive_words(void); /* NULL: there is no full text */
/* Each does nothing where there is none. The readers of the log are told of messages by
 * archive_words_stored(): archive_add() calls it, and whoever commits them much later calls it once
 * more then. w NULL: the thread has no worker. */
void archive_words_stored(struct worker *w);
void archive_words_forget(struct store_batch *b, const struct archive_line *m, struct arena *tmp);
void archive_words_again(struct store_batch *b, const struct archive_line *m, struct arena *tmp);

void archive_words_set(const struct archive_words *w); /* by features_set(); NULL: none */
