/* federation_asked: requests (IQ) of sessions that have gone to other servers and have no answer
 * yet. A rule may then forbid that server, and the answer does not come, or is refused. So requests
 * are judged again when rules change, and one that may leave no more is answered with an error (RFC
 * 6120 §8.2.3). A later answer is dropped, since a request has one answer.
 *
 * Limits: ASKED_MAX of a session, then the oldest is forgotten. One with a longer id than
 * ASKED_ID_MAX is not remembered, and one that is older than ASKED_FOR_MS is not answered: its
 * client has given it up. A restart forgets them. At the home of the account. */
#pragma once
#include <stdbool.h>

struct account;
struct session;
struct stanza;

enum { ASKED_MAX = 64, ASKED_ID_MAX = 256, ASKED_FOR_MS = 5 * 60000 };

extern unsigned federation_asked_slot; /* of struct session.state_of */

void federation_asked_goes(const struct account *a, const struct stanza *st);
/* A result or an error has come. true: its request has been answered already. */
bool federation_asked_ends(const struct account *a, const struct stanza *st);
void federation_asked_judge(struct account *a); /* rules have changed */
void federation_asked_free(struct session *s);  /* feature.session */
