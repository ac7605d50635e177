#include "base/word.h"
#include "base/arena.h"
#include "base/ensure.h"

static bool word_letter(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (unsigned char)c >= 0x80;
}

static char word_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c; }

/* Knuth, Morris and Pratt: the text is read once. A comparison at each place of it would cost the
 * product of both lengths: word "aa…b", text "aaa…". */
struct word_search {
    slice word;
    size_t *back; /* of each length: the longest shorter start of the word that ends there, too */
    size_t have;  /* so many bytes of the word end here */
};

static void word_take(struct word_search *s, char c)
{
    while (s->have > 0 &&
           (s->have == s->word.len || word_lower(s->word.ptr[s->have]) != word_lower(c)))
        s->have = s->back[s->have];
    if (word_lower(s->word.ptr[s->have]) == word_lower(c))
        s->have++;
}

static struct word_search word_search_begin(slice word, struct arena *tmp)
{
    struct word_search s = { .word = word, .back = arena_new(tmp, size_t, word.len + 1) };
    ensure(word.len > 0);
    for (size_t len = 2; len <= word.len; len++) {
        word_take(&s, word.ptr[len - 1]);
        s.back[len] = s.have;
    }
    s.have = 0;
    return s;
}

bool word_is_in(slice text, slice word, struct arena *tmp)
{
    if (word.len == 0 || word.len > text.len)
        return false;
    struct word_search s = word_search_begin(word, tmp);
    for (size_t end = 1; end <= text.len; end++) {
        word_take(&s, text.ptr[end - 1]);
        if (s.have == word.len && (end == word.len || !word_letter(text.ptr[end - word.len - 1])) &&
            (end == text.len || !word_letter(text.ptr[end])))
            return true;
    }
    return false;
}
