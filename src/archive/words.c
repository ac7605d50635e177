#include "archive/words.h"

static const struct archive_words *words;

void archive_words_set(const struct archive_words *w) { words = w; }

const struct archive_words *archive_words(void) { return words; }

void archive_words_stored(struct worker *w)
{
    if (words != NULL && w != NULL)
        words->stored(w);
}

void archive_words_forget(struct store_batch *b, const struct archive_line *m, struct arena *tmp)
{
    if (words != NULL)
        words->forget(b, m, tmp);
}

void archive_words_again(struct store_batch *b, const struct archive_line *m, struct arena *tmp)
{
    if (words != NULL)
        words->again(b, m, tmp);
}
