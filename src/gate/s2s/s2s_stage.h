/* s2s_stage: how far a connection to another server has come. Whatever tells an operator where one
 * has failed says it with these words: `s2s trace`, `s2s list`, `s2s show` and the tests from
 * outside. */
#pragma once
#include "base/slice.h"
#include "xmpp/stanza_error.h"
#include <stdbool.h>

struct xstream;

enum s2s_stage {
    S2S_AT_NONE,
    S2S_AT_POLICY,
    S2S_AT_THEIR_POLICY, /* the other server says that its rules forbid it */
    S2S_AT_ROUTE,
    S2S_AT_DNS,
    S2S_AT_TCP,
    S2S_AT_TLS,
    S2S_AT_CERTIFICATE,
    S2S_AT_AUTHENTICATION,
    S2S_AT_OFFERS, /* its features */
    S2S_AT_STREAM,
    S2S_AT_NO_ANSWER,
    S2S_AT_LINK, /* the stream for stanzas, that a partner has */
    S2S_STAGES
};

/* As operators read it; NULL for S2S_AT_NONE. Static. */
const char *s2s_stage_name(enum s2s_stage stage);
/* A failure there is of this server's own rules: no other server was asked. */
bool s2s_stage_is_ours(enum s2s_stage stage);
/* Advice to an operator about a failure there, if no more is known. Static. */
const char *s2s_stage_advice(enum s2s_stage stage);
/* More exact advice, for what the failure says of itself. NULL: there is none. Static. */
const char *s2s_stage_exact_advice(enum s2s_stage stage, slice why);
/* What the sender of a stanza is told that failed there. It names no address, no setting and no
 * command: these are for operators. Static. */
slice s2s_stage_words(enum s2s_stage stage, enum stanza_error error);
/* The stage of a stream to another server. direct: TLS from the first byte; late: the server does
 * not answer. */
enum s2s_stage s2s_stage_of(const struct xstream *x, bool direct, bool late);
/* The same of a stream that the server has ended there with this error, before it was used. */
enum s2s_stage s2s_stage_said(enum s2s_stage at, slice condition);
