/* mam_read: the command `archive read`: what is in the archive of an account, for those who may
 * read it with a stated reason. It finds the messages as a query of the account itself does
 * (archive/query.h), and settles nothing: the account has not seen them by that.
 *
 * Limits: ROWS_MAX messages an answer and READ_BYTES of their texts, but always one; more are asked
 * for with --after. */
#pragma once
#include "base/command.h"
#include "store/store.h"

extern struct command mam_read_command;
extern struct store_stmt *const mam_read_stmts[];
