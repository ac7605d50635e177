#include "muc/parts.h"

/* One a line. An event reaches them in this order. */
/* clang-format off */
const struct room_part *const room_parts[] = {
    &relay_part,
    &joins_part,
    &follow_part,
    &mention_part,
    &bookmark_part,
    &cleanup_part,
    &moderate_part,
    &administrators_part,
    &absent_part,
    &invite_part,
    &voice_request_part,
    &register_part,
    &hats_part,
    &vcard_part,
    &query_part,
    &remote_part,
    &missed_part,
    &removed_part,
    NULL,
};
/* clang-format on */
