/* s2s_confirm: what a partner writes to its stream, what of it the other server has confirmed, and
 * when the stream takes no more: see gate/s2s/s2s_partner.h. For gate/s2s/s2s_partner.c alone. */
#pragma once
#include "gate/s2s/s2s_partner.h"
#include "io/timer.h"

struct loop_defer;

/* Pauses and goes on, for one of the reasons. */
void partner_hold(struct partner *p, unsigned reason);
void partner_release(struct partner *p, unsigned reason);
/* Takes over the reference: to the stream, which is up. */
void partner_write(struct partner *p, const struct s2s_sent *s);
/* Whether it is an answer to what the other server has asked us, as a ping. */
bool partner_is_reply(const struct stanza *st);
/* Such an answer goes before others, also if much is not confirmed, since the other server confirms
 * nothing before it has it. false: it is none, or there is no room. Takes over the reference if
 * true. */
bool partner_reply(struct partner *p, const struct s2s_sent *s);
void partner_write_replies(struct partner *p);
/* A stored message: what it takes back (XEP-0424), and waits in memory, is not sent any more, or
 * not again. */
void partner_retracts(struct partner *p, const struct s2s_sent *s);
/* Its stream ends, which was up. */
void partner_suspects(struct partner *p);
void partner_drop_replies(struct partner *p);
void partner_write_next(struct partner *p); /* what waits for that in `unacked` */
void partner_weigh(struct partner *p);      /* whether too much is not confirmed */
void partner_ping_due(struct timer *t, struct loop *loop);
/* If the inbox is empty: what the database has goes before what comes from now on. */
void partner_mail_begin(struct partner *p);

/* What waits in memory is judged again before it is written, if rules have changed since it came
 * (foreign_version()): the inbox, and after a break what was not confirmed. A page at a time leaves
 * the inbox for `unacked`, where it is not written before it was judged (gate/s2s/s2s_judge.h);
 * meanwhile the inbox is held. A stanza that may not leave any more is taken out, and its sender
 * gets the answer that the rule gives. A break ends that; the next stream begins it anew. While
 * rules stay the same, this costs one comparison for a stanza. */
void doubt_inbox_begins(struct partner *p); /* it was empty */
/* A stanza of the inbox, whose turn it is, of a stream that is up. true: it was taken over. */
bool doubt_takes(struct partner *p, const struct s2s_sent *s);
/* A new stream, or the next of one that gets one at a time: whether what is not written is judged
 * before. Nothing is written and not confirmed. */
bool doubt_unacked(struct partner *p);
void doubt_go_on(struct partner *p);   /* judges the next, if they may be written now */
void doubt_stop(struct partner *p);    /* the stream has ended, or the partner ends */
void doubt_next(struct loop_defer *d); /* partner.doubt.next */

/* Our domain of it is served no more, and stored messages of its users wait. It may come back, as
 * after a mistake in the node file: they wait as for a server that is away. */
void partner_blames_us(struct partner *p);
