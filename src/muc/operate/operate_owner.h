/* operate_owner: gives rooms another owner, many at once: all rooms are looked at before the first
 * is changed. One room after the other, each at its home. */
#pragma once

struct command;

extern struct command room_owner_command;
extern const struct message_row owner_asked_message, owner_told_message;
