/* info: service discovery of rooms (XEP-0045 §6) and of the service: which rooms there are, what
 * they are, who is in them. */
#pragma once
#include "base/slice.h"
#include "talk/iq.h"

extern const struct iq_rule muc_service_rules[], room_info_rules[];
extern const struct message_row *const room_info_messages[];
/* Answers disco#items of the service. false: this is another request. */
bool room_disco_get(struct iq *iq, slice node);
