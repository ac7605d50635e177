/* forwarded: a stanza inside <forwarded/> (XEP-0297), as components send it. */
#pragma once
#include "xmpp/stanza.h"

struct elem;
struct worker;

/* The stanza in <wrapper><forwarded>…, with the addresses that it names; its `from` may be missing.
 * The caller's reference; NULL: there is none that could be sent. */
struct stanza *forwarded_stanza(struct worker *w, const struct elem *wrapper);
/* The same of an element that is a stanza itself. */
struct stanza *forwarded_as_stanza(struct worker *w, const struct elem *e);
