/* convert: runs muster-convert for a command whose source no server reads (its row says so). */
#pragma once
#include "base/err.h"

struct arena;
struct words;

/* Gives the command, instead of its source, a folder in `where` that is made of it, and whose owner
 * is that of `where`. A file of XEP-0227 the server reads as it is. *made: the folder, also after a
 * failure; NULL: there is none. progress: how far it is, in percent. E_IO: `why` says what is
 * wrong. */
NODISCARD enum err convert_source(struct words *w, const char *where, struct arena *arena,
                                  void (*progress)(int percent), const char **made,
                                  struct why *why);
void convert_remove(const char *made); /* NULL is fine */
