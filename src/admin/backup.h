/* backup: the commands of backups, which run on a thread of their own. */
#pragma once

struct feature;

extern const struct feature backup_feature;
