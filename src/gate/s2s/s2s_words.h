/* s2s_words: what a stream that we open to another server says and hears before it takes stanzas,
 * as elements. They know no partner. Confined to the worker of the stream. */
#pragma once
#include "gate/s2s/s2s_gate.h"

struct elem;

/* A stream over this connection, whose `ops` and `role` are set, with limits for its beginning. */
void s2s_begin(struct xstream *x, struct conn *c, struct worker *w, struct xstreams *among);
/* The header of the server, of which the stream was opened to `remote`; else the stream fails. */
bool s2s_header_fits(struct xstream *x, slice unit, slice remote);
void s2s_write_both(struct xstream *x);                  /* asks for both directions (XEP-0288) */
void s2s_write_external(struct xstream *x, slice local); /* SASL EXTERNAL (XEP-0178 §3) */
/* Dialback: a key for `local` (XEP-0220 §2.1.1), or with the id of a stream, a question about one
 * (§2.1.2). */
void s2s_write_key(struct xstream *x, slice local, slice remote, slice key);
void s2s_write_question(struct xstream *x, slice local, slice remote, slice id, slice key);
/* TLS begins on our side, with the certificate of `local` (empty: none of ours), and is to report
 * what the server of `remote` shows. */
void s2s_start_tls(struct xstream *x, struct s2s_gate *g, const char *alpn, slice local,
                   slice remote);
/* The id that a server gives the stream, in place of the last one; NULL: none, or too long. */
void s2s_keep_id(char **kept, struct xstream *x, slice unit);
/* A stream error as an operator reads it: "the server says: …". The condition is in *condition. */
const char *s2s_said(const struct elem *error, struct elem *condition, struct arena *tmp);
