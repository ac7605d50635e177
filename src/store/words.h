/* words: the words of a text as SQLite's full-text index has them (unicode61, without diacritics),
 * written as PostgreSQL takes them, so that a search finds the same on both. Any thread.
 *
 * Limits, which are PostgreSQL's: of a word the first 2,000 bytes count; of a word that comes more
 * than 255 times in one text, and of what stands behind the 16,383rd word, a phrase may be missed.
 */
#pragma once
#include "base/buf.h"

void words_vector(struct buf *out, slice text); /* adds a text for CAST(… AS tsvector) */
/* Adds to a text for CAST(… AS tsquery) that this phrase has to be there, too; nothing if there is
 * no word in it. */
void words_phrase(struct buf *out, slice text);
/* The start of a text with at most so many words, and how many it has. most: at least 1. */
slice words_first(slice text, unsigned most, unsigned *count);
