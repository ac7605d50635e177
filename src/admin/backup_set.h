/* backup_set: a backup is a folder:
 *
 *   MANIFEST               what is in it, with the SHA-256 of each file and of the list itself
 *   muster.db              the database, if it is SQLite: one snapshot, checked
 *   uploads/ab/HASH        contents of uploads; uploads/upload.key signs slots
 *   self-signed-*.pem      the pair that a server makes without a certificate of its own
 *   secrets.key            only if asked for
 *
 * It is made under another name and renamed when all of it is on the disk; it is never changed.
 * Folders have mode 0700, files 0600. All of this blocks: threads of its own, and tools. */
#pragma once
#include "base/err.h"
#include "store/store.h"
#include <stdint.h>

/* With secrets.key, a backup is as good as every password-less login of its time. */
enum backup_keys { BACKUP_WITHOUT_SECRETS, BACKUP_WITH_SECRETS };

struct backup_source {
    struct store *store;
    const char *data; /* the data folder */
    enum backup_keys keys;
    struct store_watch watch; /* percent of the database, then of files: both run from 0 to 100 */
};

struct backup_info {
    uint64_t files, bytes;
    uint64_t damaged;  /* making: uploads that are not what their name says, left out */
    bool has_database; /* else the server used PostgreSQL */
    bool has_secrets;
    char created[32];
};

/* Makes `folder`, whose parent is there. E_EXISTS; E_FULL, E_IO, E_CORRUPT (the database is
 * damaged), E_CANCELED: nothing is left behind. */
NODISCARD enum err backup_make(const char *folder, const struct backup_source *from,
                               struct backup_info *out, struct why *why);
/* Reads all of it: E_CORRUPT names the file; E_UNSUPPORTED: made by a newer musterd; E_CANCELED. */
NODISCARD enum err backup_verify(const char *folder, const struct store_schema *const *schemas,
                                 const struct store_watch *watch, struct backup_info *out,
                                 struct why *why);
/* Verifies, then copies into a data folder that has nothing in it but a lock. `want`: whether the
 * server has its database there. E_EXISTS: the folder is not empty; E_UNSUPPORTED: the backup is of
 * the other kind. An error before the last step leaves it as it was. */
enum backup_database { BACKUP_SQLITE, BACKUP_POSTGRESQL };
NODISCARD enum err backup_restore(const char *folder, const char *data, enum backup_database want,
                                  const struct store_schema *const *schemas,
                                  struct backup_info *out, struct why *why);
/* A restore into this folder was cut short: it must not be used. */
bool backup_is_partial(const char *data);
