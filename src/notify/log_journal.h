/* log_journal: lines of the log go to journald with their fields, where standard error does so
 * anyway: `journalctl MUSTER_EVENT=auth.fail` then finds them. The message is the line as it is
 * written elsewhere. If journald does not take one, standard error has it. Any thread. */
#pragma once
#include "base/log_listen.h"

log_write_fn log_journal_write;
