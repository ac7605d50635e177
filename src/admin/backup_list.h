/* backup_list: which backups there are, and what their making and verifying said. The files are
 * at the home of DUTY_BACKUP; results are in the database, by the name of the node. */
#pragma once
#include "base/slice.h"
#include "store/store.h"

struct command;
struct worker;

extern struct command backup_list_command;
extern const struct store_schema backup_schema;

/* Keeps the last result for a folder. `why`: empty if it was a success. */
void backup_keep(struct worker *w, const char *folder, bool verified, slice why,
                 store_done_fn *done, void *arg);
