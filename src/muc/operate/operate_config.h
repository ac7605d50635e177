/* operate_config: the configuration of a room as operators see and change it: the fields of its
 * owner's form, with the same checks and the same effects on those who are in the room. */
#pragma once

struct command;

extern struct command room_fields_command, room_set_command, room_change_command,
    room_unlock_command;
