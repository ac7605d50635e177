/* convert: what reads the data of another server, one function for each kind. It gives all that it
 * finds to the output, or counts it there as lost. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct output;

/* E_IO, E_SYNTAX, E_CORRUPT, E_EXISTS, E_LIMIT: `why` says what is wrong. E_UNSUPPORTED: the file
 * is one of XEP-0227, which a server reads as it is. */
typedef enum err convert_fn(struct output *o, const char *path, const char *option,
                            struct why *why);
convert_fn ejabberd_convert; /* a file of `ejabberdctl dump` */
convert_fn prosody_convert;  /* its data folder, or its file of SQLite; a file of groups, or NULL */
convert_fn openfire_convert; /* a file of its plugin; the domain of the users, or NULL */

/* The same of a text: E_SYNTAX. host empty: the users have none. */
NODISCARD enum err openfire_read(struct output *o, slice text, slice host, struct why *why);
