/* notify: tells systemd about start, reload and end (sd_notify(3)). Does nothing if NOTIFY_SOCKET
 * is not set. */
#pragma once
#include <stdbool.h>

/* Whether standard error is the stream to journald that JOURNAL_STREAM names (systemd.exec(5)). */
bool notify_stderr_is_journal(void);
bool notify_has_watchdog(void);      /* systemd wants WATCHDOG=1 from this process */
void notify_send(const char *state); /* "READY=1\nSTATUS=…" */
void notify_reloading(void);
