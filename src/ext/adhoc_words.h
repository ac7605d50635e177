/* adhoc_words: what a command has said, for who filled in a form: that has no options, but fields
 * with labels. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>

struct command;
struct command_call;

enum { ADHOC_TEXT_BYTES_MAX = 32 << 10 };
#define ADHOC_REMOVE_LABEL "values to remove; an empty field leaves its value"

bool adhoc_has_pages(const struct command *c);
slice adhoc_words_failed(const struct command_call *call);
slice adhoc_words_done(const struct command_call *call);
