/* pubsub_arrive: notifications to explicit subscriptions, at the home of the subscriber: one body
 * that all of this worker share. Headlines, and what is too large to be kept, go to sessions that
 * are there; other notifications take the way of a message to the account, each as a copy of its
 * own. */
#pragma once
#include "base/setting.h"
#include "base/slice.h"

struct stanza;
struct worker;

extern struct setting ps_offline_bytes;
/* The tag of a fan says behind FAN_EXPLICIT on whose behalf the service speaks: each bare JID ends
 * with a newline. */
void ps_explicit_arrived(struct worker *w, slice jid, uint32_t number, struct stanza *st,
                         slice tag); /* fan_fn */
