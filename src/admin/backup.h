/* backup: the commands of backups, which run on a thread of their own. */
#pragma once

struct feature;

/* The server stops: a backup that is made or verified ends soon with E_CANCELED. Any thread. */
void backup_give_up(void);

extern const struct feature backup_feature;
