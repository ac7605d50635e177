/* federation_asked: requests (IQ) of sessions that have gone to other servers, so that each gets
 * one answer (RFC 6120 §8.2.3). A rule may forbid a server that has not answered yet: the answer
 * does not come, or is refused. So open requests are judged again when rules change, and one that
 * may leave no more is answered with an error. A request that the other server has answered may be
 * on its way all the same: it goes back to its sender, or goes again and is answered again, if the
 * stream breaks before that server has confirmed it. So each answer after the first is dropped.
 *
 * Limits: ASKED_MAX of a session are open, then the oldest is forgotten, and as many answered ones
 * are remembered. One with a longer id than ASKED_ID_MAX is not remembered, and an open one that is
 * older than ASKED_FOR_MS is not answered: its client has given it up. A restart forgets them. At
 * the home of the account. */
#pragma once
#include <stdbool.h>

struct account;
struct session;
struct stanza;

enum { ASKED_MAX = 64, ASKED_ID_MAX = 256, ASKED_FOR_MS = 5 * 60000 };

extern unsigned federation_asked_slot; /* of struct session.state_of */

/* A client sends a request, perhaps with an id that it has used before: answers to it count. */
void federation_asked_anew(const struct session *s, const struct stanza *st);
void federation_asked_goes(const struct account *a, const struct stanza *st);
/* A result or an error has come. true: its request has been answered already. */
bool federation_asked_ends(const struct account *a, const struct stanza *st);
void federation_asked_judge(struct account *a); /* rules have changed */
void federation_asked_free(struct session *s);  /* feature.session */
