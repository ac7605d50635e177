/* backup_set: a backup is a folder:
 *
 *   MANIFEST               what is in it, with the SHA-256 of each file and of the list itself
 *   muster.db              the database, if it is SQLite: one snapshot, checked
 *   uploads/ab/HASH        contents of uploads; uploads/upload.key signs slots
 *   self-signed-*.pem      the pair that a server makes without a certificate of its own
 *   secrets.key            only if asked for
 *
 * A backup is made under a temporary name and renamed when all of it is on the disk. It is never
 * changed. Folders have mode 0700, files 0600. All functions block on the disk: call them on a
 * separate thread, or in tools. */
#pragma once
#include "base/err.h"
#include "store/store.h"
#include <stdint.h>

/* A backup with secrets.key contains usable login tokens of all devices. */
enum backup_keys { BACKUP_WITHOUT_SECRETS, BACKUP_WITH_SECRETS };

struct backup_source {
    struct store *store;
    const char *data; /* the data folder */
    enum backup_keys keys;
    struct store_watch watch; /* told 0 to 100 % for the database, then for the files */
};

struct backup_info {
    uint64_t files, bytes;
    uint64_t damaged;  /* uploads that were left out because they are damaged */
    bool has_database; /* false: the server used PostgreSQL */
    bool has_secrets;
    char created[32];
};

/* Whether a backup may have this path. Its temporary name is ".NAME.partial": names like that are
 * not given to backups, and it must fit into the 255 bytes of a file name. */
enum { BACKUP_NAME_MAX = 240 };
#define BACKUP_NAME_FORM                                                                           \
    "a path that begins with /; the name behind its last / has at most 240 bytes and does not "    \
    "end in .partial"
bool backup_takes_name(slice path);
/* Makes `folder`, a path that backup_takes_name(), whose parent must exist. E_EXISTS, E_FULL, E_IO,
 * E_LIMIT (the path is too long), E_CORRUPT (the database is damaged), E_CANCELED. On error nothing
 * is left behind. */
NODISCARD enum err backup_make(const char *folder, const struct backup_source *from,
                               struct backup_info *out, struct why *why);
/* Reads only the list of its files. E_NOTFOUND: there is none; else as backup_verify(). */
NODISCARD enum err backup_look(const char *folder, struct backup_info *out, struct why *why);
/* Reads the whole backup. E_CORRUPT: a file is damaged, `why` names it. E_UNSUPPORTED: a newer
 * musterd made it. E_CANCELED. */
NODISCARD enum err backup_verify(const char *folder, const struct store_schema *const *schemas,
                                 const struct store_watch *watch, struct backup_info *out,
                                 struct why *why);
/* Verifies the backup and copies it into a data folder. Files there stay, but keys that the
 * backup has, too, become KEY.old. `want`: the kind of database that the server is configured for.
 * E_EXISTS: there is a database, or something else would be overwritten.
 * E_UNSUPPORTED: the backup is of the other kind. An error before the last step changes nothing. */
enum backup_database { BACKUP_SQLITE, BACKUP_POSTGRESQL };
NODISCARD enum err backup_restore(const char *folder, const char *data, enum backup_database want,
                                  const struct store_schema *const *schemas,
                                  struct backup_info *out, struct why *why);
/* Whether a restore into this folder was interrupted: then it must not be used. */
bool backup_is_partial(const char *data);
