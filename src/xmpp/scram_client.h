/* scram_client: the client's side of SCRAM without channel binding (RFC 5802 §3, RFC 7677), for
 * logins that the server itself makes elsewhere. Pure; one thread at a time. The caller does the
 * base64.
 *
 * Limits: SCRAM_CLIENT_BYTES of a message of the server, SCRAM_CLIENT_ITERATIONS. No secret
 * outlives scram_client_free(). */
#pragma once
#include "xmpp/sasl.h"

enum { SCRAM_CLIENT_BYTES = 4096, SCRAM_CLIENT_ITERATIONS = 1000000 };

struct scram_client;

/* user and password are prepared; nonce: printable, without a comma. Copies them. */
struct scram_client *scram_client_create(enum scram_hash h, slice user, slice password,
                                         slice nonce);
void scram_client_free(struct scram_client **c);        /* NULL is fine */
slice scram_client_first(const struct scram_client *c); /* for <auth/>; until it is freed */
/* The server's first message. E_SYNTAX: it is none, or for another nonce; E_LIMIT: too many
 * iterations, or it is too long. */
NODISCARD enum err scram_client_challenge(struct scram_client *c, slice message);
/* After that: computes the proof. Slow: on a helper thread. */
void scram_client_compute(struct scram_client *c);
slice scram_client_final(const struct scram_client *c); /* for <response/>; until it is freed */
/* Whether the server's last message proves that it knows the password, too. */
bool scram_client_is_proved(const struct scram_client *c, slice message);
