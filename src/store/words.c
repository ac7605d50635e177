#include "store/words.h"
#include "base/ensure.h"
#include <pthread.h>
#include <sqlite3.h>
#include <stdint.h>

enum { WORD_BYTES_MAX = 2000, PLACE_MAX = 16383 };

static struct {
    fts5_tokenizer calls;
    void *context;
    sqlite3 *db; /* in memory and empty: it holds the tokenizer */
} unicode;

static void find_tokenizer(void)
{
    fts5_api *api = NULL;
    sqlite3_stmt *stmt = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX;
    ensure(sqlite3_open_v2(":memory:", &unicode.db, flags, NULL) == SQLITE_OK);
    ensure(sqlite3_prepare_v2(unicode.db, "SELECT fts5($1)", -1, &stmt, NULL) == SQLITE_OK);
    sqlite3_bind_pointer(stmt, 1, &api, "fts5_api_ptr", NULL);
    sqlite3_step(stmt);
    sqlite3_finalize(stmt);
    ensure(api != NULL);
    ensure(api->xFindTokenizer(api, "unicode61", &unicode.context, &unicode.calls) == SQLITE_OK);
}

struct words {
    struct buf *out;
    uint32_t place; /* of the last word; 0: there was none */
};

typedef int token_fn(void *arg, int flags, const char *ptr, int len, int start, int end);

static void each_word(slice text, token_fn *fn, void *arg)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static const char *options[] = { "remove_diacritics", "2" };
    Fts5Tokenizer *tokenizer; /* has a buffer of its own: one for each call */
    pthread_once(&once, find_tokenizer);
    ensure(text.len <= INT32_MAX);
    ensure(unicode.calls.xCreate(unicode.context, options, 2, &tokenizer) == SQLITE_OK);
    unicode.calls.xTokenize(tokenizer, arg, FTS5_TOKENIZE_DOCUMENT, text.ptr, (int)text.len, fn);
    unicode.calls.xDelete(tokenizer);
}

static void add_quoted(struct buf *out, const char *ptr, int len)
{
    if (len > WORD_BYTES_MAX) {
        len = WORD_BYTES_MAX;
        while (((uint8_t)ptr[len] & 0xc0) == 0x80)
            len--;
    }
    buf_lit(out, "'");
    for (int i = 0; i < len; i++) {
        if (ptr[i] == '\'' || ptr[i] == '\\')
            buf_append(out, ptr + i, 1);
        buf_append(out, ptr + i, 1);
    }
    buf_lit(out, "'");
}

static int add_word(void *arg, int flags, const char *ptr, int len, int start, int end)
{
    struct words *words = arg;
    (void)flags, (void)start, (void)end;
    words->place += words->place < PLACE_MAX;
    add_quoted(words->out, ptr, len);
    buf_printf(words->out, ":%u ", (unsigned)words->place);
    return SQLITE_OK;
}

static int add_to_phrase(void *arg, int flags, const char *ptr, int len, int start, int end)
{
    struct words *words = arg;
    (void)flags, (void)start, (void)end;
    if (words->place > 0)
        buf_lit(words->out, " <-> ");
    else if (words->out->len > 0)
        buf_lit(words->out, " & ");
    words->place = 1;
    add_quoted(words->out, ptr, len);
    return SQLITE_OK;
}

void words_vector(struct buf *out, slice text)
{
    each_word(text, add_word, &(struct words){ .out = out });
}

void words_phrase(struct buf *out, slice text)
{
    each_word(text, add_to_phrase, &(struct words){ .out = out });
}

struct first {
    unsigned count, most;
    size_t end; /* of the last word */
};

static int count_word(void *arg, int flags, const char *ptr, int len, int start, int end)
{
    struct first *f = arg;
    (void)flags, (void)ptr, (void)len, (void)start;
    f->end = (size_t)end;
    return ++f->count == f->most ? SQLITE_DONE : SQLITE_OK;
}

slice words_first(slice text, unsigned most, unsigned *count)
{
    struct first f = { .most = most };
    ensure(most > 0);
    each_word(text, count_word, &f);
    *count = f.count;
    return f.count == most ? (slice){ text.ptr, f.end } : text;
}
