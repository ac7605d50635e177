/* mam_read: the command `archive read`: the archive of an account (ops/archive_read.h). */
#pragma once
#include "base/command.h"
#include "store/store.h"

extern struct command mam_read_command;
extern struct store_stmt *const mam_read_stmts[];
