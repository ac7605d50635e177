/* stanza: what readers of other servers' stanzas share. Pure. */
#pragma once
#include "base/slice.h"
#include <stdbool.h>
#include <stdint.h>

struct xml_write;

/* Whether it can be written as the name of an element or an attribute. */
bool is_xml_name(slice name);
/* Whether servers add such a child to a message that they keep (XEP-0359, XEP-0421, and what
 * ejabberd had before): it means nothing elsewhere, and is made anew here. */
bool is_added(slice name, slice ns);
/* XEP-0203: the stanza came at at_us, in microseconds since 1970; 0: nothing is written. from: who
 * says so; empty: nobody. */
void write_delay(struct xml_write *x, uint64_t at_us, slice from);
