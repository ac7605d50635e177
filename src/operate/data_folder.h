/* data_folder: the data folder of a node, the lock that gives it to one process, and the work that
 * is done on it while no server runs (--restore, --rename, --copy-to). */
#pragma once
#include "base/err.h"

struct node_file;

/* Makes the folder if only that is missing, and locks it, so that two servers never write one
 * database. E_EXISTS: another process has the lock. Closing *fd releases it; -1 on failure. */
NODISCARD enum err data_folder_lock(const char *data, int *fd, struct why *why);
/* `musterd --restore`: puts a backup into the data folder, which must be empty, and says so.
 * admin/backup_set.h. */
NODISCARD enum err data_folder_restore(const struct node_file *file, const char *backup,
                                       struct why *why);
/* `musterd --rename OLD --to NEW`: gives an account another address, or a domain another name.
 * old_and_new: "OLD NEW". */
NODISCARD enum err data_folder_rename(const struct node_file *file, const char *old_and_new,
                                      struct why *why);
/* `musterd --copy-to URL`: copies all data of muster.db in the data folder to PostgreSQL. */
NODISCARD enum err data_folder_copy(const struct node_file *file, const char *url, struct why *why);
