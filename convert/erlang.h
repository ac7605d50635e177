/* erlang: reads the terms that Erlang programs write into text files, as
 * `ejabberdctl dump` does: atoms, numbers, binaries, strings, tuples, lists and maps. Nothing is
 * run. Pure.
 *
 * Limits: ERLANG_DEPTH_MAX terms inside each other, ERLANG_TERMS_MAX in all. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct arena;

enum { ERLANG_DEPTH_MAX = 128, ERLANG_TERMS_MAX = 2000000 };
enum erlang_type { ERLANG_ATOM, ERLANG_NUMBER, ERLANG_TEXT, ERLANG_TUPLE, ERLANG_LIST, ERLANG_MAP };

struct erlang_term {
    struct erlang_term *next; /* in the same tuple, list, or map */
    enum erlang_type type;
    slice text; /* of an atom, number, binary or string */
    /* Of the others; in a map a key and its value by turns. What stands behind the | of a list is
     * its last. */
    struct erlang_term *first;
};

/* How many bytes the first term of `text` has with its full stop and what is between it and the
 * next one. 0: it does not end in `text`. last: nothing follows. */
size_t erlang_length(slice text, bool last);
/* A term with or without its full stop, in the arena; texts may borrow `text`. E_SYNTAX: `why` says
 * where, from the beginning of the term, and what. */
NODISCARD enum err erlang_read(struct erlang_term *out, slice text, struct arena *tmp,
                               struct why *why);

/* The term at a place of a tuple or list, from 0; NULL: nothing, or `t` is neither or NULL. */
const struct erlang_term *erlang_at(const struct erlang_term *t, unsigned at);
unsigned erlang_count(const struct erlang_term *t);
/* The text of a binary or string; empty: it is none. erlang_word(): of an atom, too. */
slice erlang_text(const struct erlang_term *t);
slice erlang_word(const struct erlang_term *t);
bool erlang_is(const struct erlang_term *t, const char *atom);
/* The value in a list of {key, value}; NULL: it is not there. */
const struct erlang_term *erlang_get(const struct erlang_term *list, const char *key);
