#include "app/data_folder.h"
#include "admin/backup_set.h"
#include "app/features.h"
#include "app/node_file.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/durable.h"
#include "base/log.h"
#include "im/restart.h"
#include "store/store_rename.h"
#include "xmpp/jid.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum err data_folder_lock(const char *data, int *fd, struct why *why)
{
    struct why found;
    enum err e = OK;
    *fd = -1;
    if (durable_folder(data, 0750, &found) != OK) {
        why_set(why, "data: %s: cannot be made: %s", data, found.text);
        return E_IO;
    }
    struct arena *arena = arena_create(0);
    const char *path = arena_printf(arena, "%s/muster.lock", data);
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (*fd < 0) {
        why_set(why, "data: %s: cannot be opened: %s", path, strerror(errno));
        e = E_IO;
    } else if (flock(*fd, LOCK_EX | LOCK_NB) != 0) {
        why_set(why, "data: %s: another server uses this folder; stop it or change `data`", data);
        e = E_EXISTS;
    }
    arena_destroy(&arena);
    if (e != OK && *fd >= 0) {
        close(*fd);
        *fd = -1;
    }
    return e;
}

static void print_restored(const struct node_file *file, const struct backup_info *info)
{
    printf("restored into %s: the backup of %s, %llu files, %llu bytes\n", file->data,
           info->created, (unsigned long long)info->files, (unsigned long long)info->bytes);
    if (!info->has_secrets)
        printf("secrets.key is not in it: after the start, run `musterctl secrets reset` and "
               "restart, or put the key there before; devices log in with passwords, and "
               "components need new secrets\n");
    if (!info->has_database)
        printf("the database is not in it: restore it with pg_restore before the start\n");
}

enum err data_folder_restore(const struct node_file *file, const char *backup, struct why *why)
{
    int lock;
    struct backup_info info;
    enum err e = data_folder_lock(file->data, &lock, why);
    if (e != OK)
        return e;
    struct arena *arena = arena_create(0);
    e = backup_restore(backup, file->data,
                       strcmp(file->database, "sqlite") == 0 ? BACKUP_SQLITE : BACKUP_POSTGRESQL,
                       features_schemas(arena), &info, why);
    arena_destroy(&arena);
    close(lock);
    if (e == OK)
        print_restored(file, &info);
    return e;
}

/* Opens and closes the database once, which upgrades its schema and completes interrupted work. */
static enum err bring_up(const char *url, const struct store_schema *const *schemas,
                         struct why *why)
{
    struct store *store;
    struct store_conf conf = { .url = url, .schemas = schemas };
    enum err e = store_open(&store, &conf, why);
    store_close(&store);
    return e;
}

/* A bare JID of one of the node's domains, prepared. */
static enum err read_account(const struct node_file *file, slice text, struct arena *arena,
                             const char **out, struct why *why)
{
    struct jid jid;
    if (jid_parse(&jid, text, arena) == OK && jid.local.len > 0 && jid.resource.len == 0)
        for (size_t i = 0; i < file->domains.count; i++)
            if (slice_is(jid.domain, file->domains.name[i])) {
                *out = slice_cstr(arena, jid.full);
                return OK;
            }
    why_set(why,
            "--rename: found \"%.*s\", allowed: the address of an account of this node, such "
            "as user@%s",
            SLICE_ARG(text), file->domains.name[0]);
    return E_SYNTAX;
}

enum { NOTES_BYTES_MAX = 1 << 20 };

struct renaming {
    const struct node_file *file;
    const char *old;
    struct buf notes; /* what the operator has to change */
};

static void note_setting(void *arg, const char *name)
{
    struct renaming *r = arg;
    buf_printf(&r->notes, "the setting %s still has %s: change it with `musterctl set`\n", name,
               r->old);
}

/* What stands in the node file is the operator's own. */
static void note_file(struct renaming *r)
{
    struct buf text;
    struct why why;
    slice line, rest;
    unsigned number = 0;
    buf_init(&text, NODE_FILE_BYTES_MAX + 1);
    if (node_file_read(r->file->path, &text, &why) != OK)
        buf_printf(&r->notes, "%s\n", why.text); /* it was read before */
    for (rest = buf_slice(&text); rest.len > 0;) {
        slice_cut(rest, '\n', &line, &rest);
        number++;
        if (store_rename_names(line, r->old))
            buf_printf(&r->notes, "%s:%u still has %s: change it there\n", r->file->path, number,
                       r->old);
    }
    buf_fini(&text);
}

/* Where the address is inside of bytes, only the server's own code finds it. */
static enum err rename_frozen(const char *url, const struct store_schema *const *schemas,
                              const char *old, const char *to, struct why *why)
{
    struct store *store;
    struct store_conf conf = { .url = url, .schemas = schemas };
    enum err e = store_open(&store, &conf, why);
    if (e != OK)
        return e;
    e = restart_rename(store, slice_of(old), slice_of(to));
    if (e != OK)
        why_set(why,
                "%s is %s now, but it was not possible to change the sessions that wait to be "
                "resumed (%s): some clients log in anew",
                old, to, err_text(e));
    store_close(&store);
    return e;
}

static enum err rename_account(const struct node_file *file, const char *old, const char *to,
                               struct arena *arena, struct why *why)
{
    struct renaming r = { .file = file, .old = old };
    struct store_renamed done = { .left = note_setting, .arg = &r };
    const struct store_schema *const *schemas = features_schemas(arena);
    const char *url = strcmp(file->database, "sqlite") == 0
                          ? arena_printf(arena, "sqlite:%s/muster.db", file->data)
                          : file->database;
    log_set_level(&log_store, LOG_WARN);
    buf_init(&r.notes, NOTES_BYTES_MAX);
    enum err e = bring_up(url, schemas, why);
    if (e == OK)
        e = store_rename(url, schemas, old, to, &done, why);
    if (e == OK)
        e = rename_frozen(url, schemas, old, to, why);
    if (e == OK) {
        note_file(&r);
        printf("%s is %s now, in %llu rows; the password stays\n%.*s", old, to,
               (unsigned long long)done.rows, SLICE_ARG(buf_slice(&r.notes)));
    }
    buf_fini(&r.notes);
    return e;
}

enum err data_folder_rename(const struct node_file *file, const char *old_and_new, struct why *why)
{
    int lock;
    slice old, new;
    const char *old_text, *new_text;
    struct arena *arena = arena_create(0);
    slice_cut(slice_of(old_and_new), ' ', &old, &new);
    enum err e = read_account(file, old, arena, &old_text, why);
    if (e == OK)
        e = read_account(file, new, arena, &new_text, why);
    if (e == OK)
        e = data_folder_lock(file->data, &lock, why);
    if (e == OK) {
        e = rename_account(file, old_text, new_text, arena, why);
        close(lock);
    }
    arena_destroy(&arena);
    return e;
}

static enum err copy_both(const char *path, const char *url, struct arena *arena, struct why *why)
{
    struct store_copied copied;
    const struct store_schema *const *schemas = features_schemas(arena);
    log_set_level(&log_store, LOG_WARN);
    if (access(path, F_OK) != 0) {
        why_set(why, "%s: %s: there is nothing to copy", path, strerror(errno));
        return E_NOTFOUND;
    }
    if (!slice_starts(slice_of(url), SLICE("postgresql://"))) {
        why_set(why, "--copy-to: allowed: a URL as postgresql://USER@HOST/NAME");
        return E_SYNTAX;
    }
    enum err e = bring_up(arena_printf(arena, "sqlite:%s", path), schemas, why);
    if (e == OK)
        e = bring_up(url, schemas, why);
    if (e == OK)
        e = store_copy(path, url, &copied, why);
    if (e == OK)
        printf("copied and counted: %llu rows of %llu tables; now write the URL as `database` into "
               "the node file, and move muster.db away when all is well\n",
               (unsigned long long)copied.rows, (unsigned long long)copied.tables);
    return e;
}

enum err data_folder_copy(const struct node_file *file, const char *url, struct why *why)
{
    int lock;
    enum err e = data_folder_lock(file->data, &lock, why);
    if (e != OK)
        return e;
    struct arena *arena = arena_create(0);
    e = copy_both(arena_printf(arena, "%s/muster.db", file->data), url, arena, why);
    arena_destroy(&arena);
    close(lock);
    return e;
}
