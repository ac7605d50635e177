/* operate_archive: the command `archive room`: the archive of a room (ops/archive_read.h). */
#pragma once
#include "base/command.h"
#include "store/store.h"

extern struct command archive_room_command;
extern struct store_stmt archive_room_stmt;
