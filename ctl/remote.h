/* remote: one command over the API of a server (docs/api.md), with TLS and an access token. The
 * answer is turned into the line that the control socket would have given, so that all that is
 * printed is the same. It waits for the network: REMOTE_CONNECT_S for the connection, and for the
 * answer as long as the server answers others meanwhile. */
#pragma once
#include "base/buf.h"
#include "base/err.h"

/* How long a command waits until it asks, by another connection, whether the server answers at all;
 * and how long for that answer. Over the control socket, too. */
enum { CTL_SILENT_S = 10 };
/* What a command that changes something has done when its answer does not come. */
#define CTL_OPEN "; the command may have been carried out or not, so look before you run it again"
enum { REMOTE_CONNECT_S = 20, REMOTE_ANSWER_MAX = 17 << 20, REMOTE_TOKEN_MAX = 512 };

struct command;

struct remote {
    const char *url;        /* https://HOST[:PORT][/PATH] */
    const char *token_file; /* NULL: the token is in `token` */
    const char *token;      /* NULL: none */
    const char *ca;         /* certificates to trust, PEM; NULL: those of the system */
};

/* `args`: a JSON object. Adds one line to `line`. E_SYNTAX: address or token are written wrongly;
 * others: the server cannot be reached, or is none. */
NODISCARD enum err remote_run(const struct remote *r, const struct command *c, slice args,
                              struct buf *line, struct why *why);
