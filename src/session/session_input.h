/* session_input: the inbound half of a session: what its client sends, and the tickets that its h
 * waits for (architecture §6). h is the longest prefix of handled stanzas; only this file advances
 * it. */
#pragma once
#include "core/stage_wait.h"
#include "home/origin.h"
#include <stdbool.h>

struct buf;
struct message_row;
struct session;
struct stanza;
struct worker;

/* What the stream brings. */
void session_input(struct session *s, struct stanza *st); /* takes over */
void session_asked(struct session *s);                    /* <r/> */
/* Its stream is read while not too much is unfinished. To be called when another one resumes it. */
void session_flow(struct session *s);
/* What it said is answered: see session/session_wait.h. */
void session_answered(struct stage_pause *p, enum verdict v, struct stanza *st,
                      const struct refusal *why);
void session_nonza(struct session *s, uint32_t number); /* see core/feature.h */

/* Handles st as if the client had sent it, or lets it wait (session/session_wait.h); takes it over.
 * How many ticket_done(o) will follow. */
unsigned session_said(struct session *s, struct stanza *st, struct origin o);

/* What a client, or who speaks for a user, says of the origin of its own stanza is not passed on,
 * whoever gets it (XEP-0033 §4.1.5). Takes over st; the stanza without it. */
struct stanza *session_input_without_claims(struct worker *w, struct stanza *st);

/* What a stanza of a client costs beyond its own size, such as the copies that it makes: counts
 * against what the client may send (c2s.byte-rate), which is not read until it is paid. On any
 * worker; `client` is the sender of the stanza, of a session that has ended, or no client. It is
 * not the origin, which goes only as far as a ticket does. */
void session_charge(struct worker *w, slice client, uint64_t bytes);

/* The tickets above h as TICKET_BYTES each, and back: for a move to another node, to which the
 * reports come that are awaited. `in_count`: of the session, whose h is set; there are as many as
 * it says. */
enum { TICKET_BYTES = 8 };
void session_tickets_save(const struct session *s, struct buf *out);
void session_tickets_restore(struct session *s, uint32_t in_count, slice saved);

/* A report of home/ticket.h has come. false: there is no such session. */
bool session_ticket(struct worker *w, struct origin o);

extern const struct message_row charge_message;
