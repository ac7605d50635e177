/* upload_sweep: the end of uploads: files whose time is over, content that no row refers to any
 * more, and the commands for operators.
 *
 * Content is removed in steps, so that a file of the same content that comes meanwhile is not lost:
 * it is condemned; the database is asked again; its file is removed, unless it was spared; then its
 * row. A crash in between leaves the row, and the next round goes on. See upload_files.c. */
#pragma once
#include "base/command.h"

struct worker;

extern struct command upload_command_list, upload_command_del, upload_command_sweep,
    upload_command_quota;

/* Removes what has expired and content that nobody refers to, in small steps. */
void upload_sweep_start(struct worker *w);
void upload_sweep_stop(struct worker *w);
