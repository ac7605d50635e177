/* notify: tells systemd how the start, a reload and the end go (sd_notify(3)). Does nothing where
 * NOTIFY_SOCKET is not set. */
#pragma once

void notify_send(const char *state); /* "READY=1\nSTATUS=…" */
void notify_reloading(void);
