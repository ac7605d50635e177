/* word: looks for a word in a text, in one pass over both. */
#pragma once
#include "base/slice.h"

struct arena;

/* Whether the text has it as a word of its own, in whatever case (ASCII); an empty word is in no
 * text. Bytes of UTF-8 beyond ASCII count as letters. */
bool word_is_in(slice text, slice word, struct arena *tmp);
