#include "operate/data_folder.h"
#include "account/restart.h"
#include "admin/backup_set.h"
#include "app/features.h"
#include "app/node_file.h"
#include "auth/seal.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/durable.h"
#include "base/ensure.h"
#include "base/log.h"
#include "core/feature.h"
#include "home/host.h"
#include "operate/offline.h"
#include "ops/audit.h"
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

/* What was done has an entry in the audit log of this database. */
static enum err write_audit(const char *url, const struct node_file *file, const char *command,
                            slice args, struct why *why)
{
    struct store *store;
    struct arena *arena = arena_create(0);
    struct store_conf conf = { .url = url, .schemas = features_schemas(arena) };
    enum err e = store_open(&store, &conf, why);
    if (e == OK)
        e = seal_load(store, file->data, why);
    enum err written = e == OK ? audit_of_tool(store, offline_actor(), command, args) : OK;
    if (written != OK)
        why_set(why, "%s: done, but the audit log has no entry of it: %s", command,
                err_text(written));
    store_close(&store);
    arena_destroy(&arena);
    return e != OK ? e : written;
}

/* had_key: there was a secrets.key. */
static void print_restored(const struct node_file *file, const struct backup_info *info,
                           bool had_key)
{
    bool kept = had_key && (seal_ready() || !info->has_database);
    printf("restored into %s: the backup of %s, %llu files, %llu bytes\n", file->data,
           info->created, (unsigned long long)info->files, (unsigned long long)info->bytes);
    if (!info->has_secrets && kept)
        printf("secrets.key is not in it: the one that was there is kept\n");
    else if (!info->has_secrets && had_key)
        printf("secrets.key is not in it, and the one that was there is of another database: move "
               "it away, and put the right one there before the start; without one, run "
               "`musterctl secrets reset` after it, and restart\n");
    else if (!info->has_secrets)
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
    bool had_key = access(arena_printf(arena, "%s/secrets.key", file->data), F_OK) == 0;
    e = backup_restore(backup, file->data,
                       strcmp(file->database, "sqlite") == 0 ? BACKUP_SQLITE : BACKUP_POSTGRESQL,
                       features_schemas(arena), &info, why);
    if (e == OK && info.has_database)
        e = write_audit(
            arena_printf(arena, "sqlite:%s/muster.db", file->data), file, "backup restore",
            slice_of(arena_printf(arena, "backup=%s created=%s", backup, info.created)), why);
    arena_destroy(&arena);
    close(lock);
    if (e == OK)
        print_restored(file, &info, had_key);
    return e;
}

/* Opens and closes the database once, which upgrades its schema and completes interrupted work.
 * data: NULL, or the folder with the key of its secrets, which is loaded. */
static enum err bring_up(const char *url, const struct store_schema *const *schemas,
                         const char *data, struct why *why)
{
    struct store *store;
    struct store_conf conf = { .url = url, .schemas = schemas };
    enum err e = store_open(&store, &conf, why);
    if (e == OK && data != NULL)
        e = seal_load(store, data, why);
    store_close(&store);
    return e;
}

static bool serves(const struct node_file *file, slice domain)
{
    for (size_t i = 0; i < file->domains.count; i++)
        if (slice_is(domain, file->domains.name[i]))
            return true;
    return false;
}

/* The address of an account of one of the node's domains, or a domain; prepared. */
static enum err read_renamed(const struct node_file *file, slice text, struct arena *arena,
                             const char **out, struct why *why)
{
    struct jid jid;
    if (jid_parse(&jid, text, arena) == OK && jid.resource.len == 0 &&
        (jid.local.len == 0 || serves(file, jid.domain))) {
        *out = slice_cstr(arena, jid.full);
        return OK;
    }
    why_set(why,
            "--rename: found \"%.*s\", allowed: the address of an account of this node, such "
            "as user@%s, or a domain",
            SLICE_ARG(text), file->domains.name[0]);
    return E_SYNTAX;
}

static enum err may_become(const struct node_file *file, const char *old, const char *to,
                           struct why *why)
{
    bool domain = strchr(old, '@') == NULL;
    const char *wrong = NULL;
    slice label, above = SLICE("");
    slice_cut(slice_of(to), '.', &label, &above);
    if (domain != (strchr(to, '@') == NULL))
        wrong = "two addresses, each of an account of this node, or two domains";
    else if (domain && strcmp(old, to) == 0)
        wrong = "a domain and its new name";
    else if (domain && !serves(file, slice_of(old)) && !serves(file, slice_of(to)))
        wrong = "two domains, one of which is in `domains` of the node file";
    else if (domain && host_labelled(label) != NULL &&
             (slice_is(above, old) || serves(file, above)))
        wrong = "a new name that is not the one of a service";
    if (wrong == NULL)
        return OK;
    why_set(why, "--rename: found %s and %s, allowed: %s", old, to, wrong);
    return E_SYNTAX;
}

/* The addresses that change; of a domain also its hosts. The domains below it that only the
 * database knows are added later. */
static struct renaming what_changes(const struct node_file *file, const char *old, const char *to,
                                    struct arena *arena)
{
    size_t count = 0;
    const char **others = arena_new(arena, const char *, file->domains.count + 2);
    for (size_t i = 0; i < file->domains.count; i++)
        if (strcmp(file->domains.name[i], old) != 0)
            others[count++] = file->domains.name[i];
    others[count] = to; /* it may be below the old one */
    struct renaming r = renaming_begin(arena, old, to, others);
    FEATURES_EACH (f, hosts)
        for (const struct host *h = f->hosts; r.domain && h->label != NULL; h++) {
            enum err e = renaming_add(&r, slice_of(arena_printf(arena, "%s.%s", h->label, old)));
            ensure(e == OK);
        }
    return r;
}

enum { NOTES_BYTES_MAX = 1 << 20 };

/* Notes on what the operator has to change. */
struct rename_notes {
    const struct node_file *file;
    const struct renaming *renaming;
    struct buf text;
};

static void note_setting(void *arg, const char *name)
{
    struct rename_notes *n = arg;
    buf_printf(&n->text, "the setting %s still has %s: change it with `musterctl set`\n", name,
               n->renaming->old);
}

/* What stands in the node file is the operator's own. */
static void note_file(struct rename_notes *n)
{
    struct buf text;
    struct why why;
    slice line, rest;
    unsigned number = 0;
    buf_init(&text, NODE_FILE_BYTES_MAX + 1);
    if (node_file_read(n->file->path, &text, &why) != OK)
        buf_printf(&n->text, "%s\n", why.text); /* it was read before */
    for (rest = buf_fit(&text); rest.len > 0;) {
        slice_cut(rest, '\n', &line, &rest);
        number++;
        if (renaming_in_text(n->renaming, line))
            buf_printf(&n->text, "%s:%u still has %s: change it there\n", n->file->path, number,
                       n->renaming->old);
    }
    buf_fini(&text);
}

/* Where an address is inside of bytes, only the server's own code finds it. */
static enum err rename_frozen(const char *url, const struct store_schema *const *schemas,
                              const struct renaming *renaming, struct why *why)
{
    struct store *store;
    struct store_conf conf = { .url = url, .schemas = schemas };
    enum err e = store_open(&store, &conf, why);
    if (e != OK)
        return e;
    e = restart_rename(store, renaming);
    if (e != OK)
        why_set(why,
                "%s is %s now, but it was not possible to change the sessions that wait to be "
                "resumed (%s): some clients log in anew",
                renaming->old, renaming->to, err_text(e));
    store_close(&store);
    return e;
}

static enum err rename_with_notes(const struct node_file *file, const char *old, const char *to,
                                  struct arena *arena, struct why *why)
{
    struct renaming renaming = what_changes(file, old, to, arena);
    struct rename_notes notes = { .file = file, .renaming = &renaming };
    struct store_renamed done = { .left = note_setting, .arg = &notes };
    const struct store_schema *const *schemas = features_schemas(arena);
    const char *url = strcmp(file->database, "sqlite") == 0
                          ? arena_printf(arena, "sqlite:%s/muster.db", file->data)
                          : file->database;
    log_set_level(&log_store, LOG_WARN);
    buf_init(&notes.text, NOTES_BYTES_MAX);
    enum err e = bring_up(url, schemas, file->data, why);
    if (e == OK && renaming.domain && !seal_ready()) {
        why_set(why,
                "%s/secrets.key: found no key of this database, and secrets that are sealed for %s "
                "need it; restore the file, or start the server and run `musterctl secrets reset`",
                file->data, old);
        e = E_NOTFOUND;
    }
    if (e == OK)
        e = store_rename(url, schemas, &renaming, &done, why);
    if (e == OK)
        e = write_audit(url, file, "musterd --rename",
                        slice_of(arena_printf(arena, "rename=%s to=%s", old, to)), why);
    if (e == OK)
        e = rename_frozen(url, schemas, &renaming, why);
    if (e == OK) {
        note_file(&notes);
        printf("%s is %s now, in %llu rows; the password%s\n%.*s", old, to,
               (unsigned long long)done.rows, renaming.domain ? "s stay" : " stays",
               SLICE_ARG(buf_slice(&notes.text)));
        if (notes.text.overflow)
            printf("There is more to change, which is not shown.\n");
    }
    buf_fini(&notes.text);
    return e;
}

enum err data_folder_rename(const struct node_file *file, const char *old_and_new, struct why *why)
{
    int lock;
    slice old, new;
    const char *old_text, *new_text;
    struct arena *arena = arena_create(0);
    slice_cut(slice_of(old_and_new), ' ', &old, &new);
    enum err e = read_renamed(file, old, arena, &old_text, why);
    if (e == OK)
        e = read_renamed(file, new, arena, &new_text, why);
    if (e == OK)
        e = may_become(file, old_text, new_text, why);
    if (e == OK)
        e = data_folder_lock(file->data, &lock, why);
    if (e == OK) {
        e = rename_with_notes(file, old_text, new_text, arena, why);
        close(lock);
    }
    arena_destroy(&arena);
    return e;
}

static enum err copy_both(const struct node_file *file, const char *url, struct arena *arena,
                          struct why *why)
{
    const char *path = arena_printf(arena, "%s/muster.db", file->data);
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
    enum err e = bring_up(arena_printf(arena, "sqlite:%s", path), schemas, NULL, why);
    if (e == OK)
        e = bring_up(url, schemas, NULL, why);
    if (e == OK)
        e = store_copy(path, url, &copied, why);
    if (e == OK)
        e = write_audit(url, file, "musterd --copy-to",
                        slice_of(arena_printf(arena, "from=%s/muster.db", file->data)), why);
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
    e = copy_both(file, url, arena, why);
    arena_destroy(&arena);
    close(lock);
    return e;
}
