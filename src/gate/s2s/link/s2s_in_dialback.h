/* s2s_in_dialback: dialback (XEP-0220) on streams that other servers have opened: keys that are to
 * prove a pair of domains, which the server of the foreign domain is asked about, and questions
 * about keys of ours. Confined to the worker of the stream. */
#pragma once
#include <stdbool.h>

struct elem;
struct pair;
struct s2s_in;

/* true: the element was of dialback, and is done. The stream may have failed. */
bool s2s_in_dialback(struct s2s_in *s, const struct elem *e);
/* Answers the key of a pair: type "valid" or "invalid". */
void s2s_in_say_result(struct s2s_in *s, const struct pair *p, const char *type);
