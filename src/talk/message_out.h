/* message_out: messages that accounts send, at their homes: which of them are kept, and until when.
 * talk/message.h has what becomes of those that they get. */
#pragma once
#include "core/stage.h"
#include "home/origin.h"

struct account;
struct session;
struct stanza;

/* Returns how many reports follow (enum routed). Takes over st. */
unsigned message_from_session(struct session *s, struct stanza *st, struct origin origin);
/* An account sends a message, but none of its clients does: kept and copied the same way. The
 * account is READY and stays. Takes over st, which comes from its bare JID. */
void message_in_name(struct account *a, struct stanza *st);
/* It waited at ARCHIVE, which goes on at `at`, and this is the answer. */
unsigned message_archived(struct session *s, struct stanza *st, struct origin origin, unsigned at,
                          enum verdict v);
