#include "admin/backup_set.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/durable.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "base/mem.h"
#include "io/tls_trust.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    HASH_LEN = 64,
    PIECE_BYTES = 1 << 18,
    LINE_MAX_BYTES = 512,
    FDS_MAX = 16,
    DIRS = 256,
    NAME_BYTES_MAX = 300
};

#define MANIFEST   "MANIFEST"
#define UNFINISHED ".partial" /* the end of a name until the backup is whole */
#define PARTIAL    "restore.partial"

/* Folders of certificates (cert/cert_store.h, cert/cert_trust.h): each file in them. */
static const char *const cert_folders[] = { "certs", "trust/federation", "trust/clients", NULL };
static const char *const key_files[] = { "uploads/upload.key", "self-signed-key.pem",
                                         "self-signed-cert.pem", "secrets.key", NULL };

static enum err backup_set_join(char out[DURABLE_PATH_MAX], const char *folder, const char *name,
                                struct why *why)
{
    int len = snprintf(out, DURABLE_PATH_MAX, "%s/%s", folder, name);
    if (len > 0 && len < DURABLE_PATH_MAX)
        return OK;
    why_set(why, "%s: the path is too long", folder);
    return E_LIMIT;
}

/* Makes each folder of a path that is inside of `folder`. */
static enum err backup_set_make_folders(const char *folder, const char *inside, struct why *why)
{
    char path[DURABLE_PATH_MAX];
    enum err e = backup_set_join(path, folder, inside, why);
    for (char *at = path + strlen(folder) + 1; e == OK && at != NULL;) {
        at = strchr(at, '/');
        if (at != NULL)
            *at = '\0';
        e = durable_folder(path, 0700, why);
        if (at != NULL)
            *at++ = '/';
    }
    return e;
}

static int backup_set_remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static void backup_set_remove_all(const char *folder)
{
    nftw(folder, backup_set_remove_one, FDS_MAX, FTW_DEPTH | FTW_PHYS);
}

/* Reads and hashes a file and writes it to `to`, unless that is < 0. Returns errno. */
static int pump(int from, int to, char hash[HASH_LEN + 1], uint64_t *size,
                const struct store_watch *watch)
{
    unsigned char sha[EVP_MAX_MD_SIZE];
    char *piece = mem_alloc(PIECE_BYTES);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int error = 0;
    ssize_t n = 0;
    *size = 0;
    EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
    while (error == 0 && (n = read(from, piece, PIECE_BYTES)) != 0) {
        if (n < 0 && errno != EINTR)
            error = errno;
        else if (!watch->go_on(watch->arg, 0))
            error = ECANCELED;
        for (ssize_t at = 0, w; error == 0 && to >= 0 && at < n; at += w)
            if ((w = write(to, piece + at, (size_t)(n - at))) < 0)
                error = errno;
        if (error == 0 && n > 0) {
            EVP_DigestUpdate(ctx, piece, (size_t)n);
            *size += (uint64_t)n;
        }
    }
    EVP_DigestFinal_ex(ctx, sha, NULL);
    EVP_MD_CTX_free(ctx);
    mem_free(&piece);
    hex_encode(hash, (slice){ (const char *)sha, HASH_LEN / 2 });
    return error;
}

/* Copies and hashes a file; to NULL: only hashes it. E_NOTFOUND: there is no such file. The copy is
 * synced, its folder is not. */
static enum err copy_file(const char *from, const char *to, char hash[HASH_LEN + 1], uint64_t *size,
                          const struct store_watch *watch, struct why *why)
{
    int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), out = -1, error = 0;
    if (in < 0)
        return durable_failed(why, from, errno);
    if (to != NULL && (out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        error = errno;
    if (error == 0)
        error = pump(in, out, hash, size, watch);
    if (error == 0 && out >= 0 && fsync(out) != 0)
        error = errno;
    close(in);
    if (out >= 0 && close(out) != 0 && error == 0)
        error = errno;
    return error == 0 ? OK : durable_failed(why, to != NULL ? to : from, error);
}

static bool backup_set_is_hash(const char *name)
{
    return strlen(name) == HASH_LEN && strspn(name, "0123456789abcdef") == HASH_LEN;
}

/* The list has words, so that no name in it has a space. */
static bool is_certificate(const char *name)
{
    slice s = slice_of(name), end = slice_from(s, s.len > 4 ? s.len - 4 : s.len);
    if (!tls_trust_takes(name) && !tls_crl_takes(name) && !slice_is(end, ".key"))
        return false;
    for (size_t i = 0; cert_folders[i] != NULL; i++) {
        size_t len = strlen(cert_folders[i]);
        if (strncmp(name, cert_folders[i], len) == 0 && name[len] == '/')
            return strpbrk(name + len + 1, "/ \n") == NULL;
    }
    return false;
}

/* Accepts only names that a backup makes, so that no path leads out of the folder. */
static bool backup_set_is_known(const char *name)
{
    for (size_t i = 0; key_files[i] != NULL; i++)
        if (strcmp(name, key_files[i]) == 0)
            return true;
    return strcmp(name, "muster.db") == 0 || is_certificate(name) ||
           (strncmp(name, "uploads/", 8) == 0 && strspn(name + 8, "0123456789abcdef") == 2 &&
            name[10] == '/' && backup_set_is_hash(name + 11) &&
            strncmp(name + 8, name + 11, 2) == 0);
}

/* Making. */

struct making {
    const struct backup_source *from;
    const char *folder; /* its temporary name */
    struct backup_info *info;
    FILE *manifest;
    struct why *why;
};

static void note(struct making *m, const char *name, const char *hash, uint64_t size)
{
    fprintf(m->manifest, "file %s %llu %s\n", hash, (unsigned long long)size, name);
    m->info->files++;
    m->info->bytes += size;
}

/* Adds a file to the backup. One that is missing, or is removed meanwhile, is left out. */
static enum err backup_set_take(struct making *m, const char *name)
{
    char from[DURABLE_PATH_MAX], to[DURABLE_PATH_MAX], hash[HASH_LEN + 1];
    uint64_t size;
    enum err e = backup_set_join(from, m->from->data, name, m->why);
    if (e == OK)
        e = backup_set_join(to, m->folder, name, m->why);
    if (e == OK)
        e = copy_file(from, to, hash, &size, &m->from->watch, m->why);
    if (e == OK)
        note(m, name, hash, size);
    return e == E_NOTFOUND ? OK : e;
}

static enum err take_keys(struct making *m)
{
    enum err e = OK;
    for (size_t i = 0; e == OK && key_files[i] != NULL; i++) {
        bool secrets = strcmp(key_files[i], "secrets.key") == 0;
        uint64_t before = m->info->files;
        if (secrets && m->from->keys != BACKUP_WITH_SECRETS)
            continue;
        e = backup_set_take(m, key_files[i]);
        if (secrets)
            m->info->has_secrets = m->info->files > before;
    }
    return e;
}

static enum err take_database(struct making *m)
{
    char path[DURABLE_PATH_MAX], hash[HASH_LEN + 1];
    uint64_t size;
    enum err e = backup_set_join(path, m->folder, "muster.db", m->why);
    if (e == OK)
        e = store_backup(m->from->store, path, &m->from->watch, m->why);
    if (e == E_UNSUPPORTED)
        return OK;
    int fd = e == OK ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        e = fsync(fd) == 0 ? OK : durable_failed(m->why, path, errno);
        close(fd);
    }
    if (e == OK)
        e = copy_file(path, NULL, hash, &size, &m->from->watch, m->why);
    if (e == OK) {
        m->info->has_database = true;
        note(m, "muster.db", hash, size);
    }
    return e;
}

/* The name of an upload is its hash. An upload whose hash differs is damaged: it is left out and
 * counted. */
static enum err take_content(struct making *m, const char *dir, const char *file)
{
    char name[128], from[DURABLE_PATH_MAX], to[DURABLE_PATH_MAX], hash[HASH_LEN + 1];
    uint64_t size;
    snprintf(name, sizeof name, "uploads/%.2s/%.*s", dir, HASH_LEN, file);
    enum err e = backup_set_join(from, m->from->data, name, m->why);
    if (e == OK)
        e = backup_set_join(to, m->folder, name, m->why);
    if (e == OK)
        e = copy_file(from, to, hash, &size, &m->from->watch, m->why);
    if (e == OK && strcmp(hash, file) != 0) {
        m->info->damaged++;
        unlink(to);
    } else if (e == OK) {
        note(m, name, hash, size);
    }
    return e == E_NOTFOUND ? OK : e;
}

static enum err take_contents(struct making *m, const char *dir)
{
    char name[32], path[DURABLE_PATH_MAX];
    struct dirent *d;
    snprintf(name, sizeof name, "uploads/%s", dir);
    enum err e = backup_set_join(path, m->from->data, name, m->why);
    DIR *from = e == OK ? opendir(path) : NULL;
    if (from == NULL)
        return e != OK || errno == ENOENT ? e : durable_failed(m->why, path, errno);
    e = backup_set_join(path, m->folder, name, m->why);
    if (e == OK)
        e = durable_folder(path, 0700, m->why);
    while (e == OK && (d = readdir(from)) != NULL)
        if (backup_set_is_hash(d->d_name))
            e = take_content(m, dir, d->d_name);
    closedir(from);
    return e == OK ? durable_sync_folder(path, m->why) : e;
}

/* Its folder in the backup is made as it is in the data folder. */
static enum err take_cert_folder(struct making *m, const char *folder)
{
    char path[DURABLE_PATH_MAX], name[NAME_BYTES_MAX];
    const struct dirent *d;
    enum err e = backup_set_join(path, m->from->data, folder, m->why);
    DIR *from = e == OK ? opendir(path) : NULL;
    if (from == NULL)
        return e != OK || errno == ENOENT ? e : durable_failed(m->why, path, errno);
    e = backup_set_make_folders(m->folder, folder, m->why);
    while (e == OK && (d = readdir(from)) != NULL) {
        int len = snprintf(name, sizeof name, "%s/%s", folder, d->d_name);
        if (len > 0 && (size_t)len < sizeof name && backup_set_is_known(name))
            e = backup_set_take(m, name);
    }
    closedir(from);
    if (e == OK)
        e = backup_set_join(path, m->folder, folder, m->why);
    return e == OK ? durable_sync_folder(path, m->why) : e;
}

static enum err take_certs(struct making *m)
{
    enum err e = OK;
    for (size_t i = 0; e == OK && cert_folders[i] != NULL; i++)
        e = take_cert_folder(m, cert_folders[i]);
    return e;
}

static enum err take_uploads(struct making *m)
{
    enum err e = OK;
    for (int i = 0; e == OK && i < DIRS; i++) {
        char dir[3];
        snprintf(dir, sizeof dir, "%02x", (unsigned)i);
        if (m->from->watch.go_on(m->from->watch.arg, i * 100 / DIRS)) {
            e = take_contents(m, dir);
        } else {
            why_set(m->why, "%s: given up", m->folder);
            e = E_CANCELED;
        }
    }
    return e;
}

/* Writes the last line, which is the hash of all lines before it. */
static enum err close_manifest(struct making *m, const char *path)
{
    char hash[HASH_LEN + 1];
    uint64_t size;
    enum err e = fflush(m->manifest) == 0 ? OK : durable_failed(m->why, path, errno);
    if (e == OK)
        e = copy_file(path, NULL, hash, &size, &m->from->watch, m->why);
    if (e == OK && (fprintf(m->manifest, "end %s\n", hash) < 0 || fflush(m->manifest) != 0 ||
                    fsync(fileno(m->manifest)) != 0))
        e = durable_failed(m->why, path, errno);
    if (fclose(m->manifest) != 0 && e == OK)
        e = durable_failed(m->why, path, errno);
    m->manifest = NULL;
    return e;
}

static enum err open_manifest(struct making *m, const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    m->manifest = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (m->manifest == NULL)
        return durable_failed(m->why, path, errno);
    clock_stamp(m->info->created, clock_wall_us());
    fprintf(m->manifest, "muster backup 1\nversion %s\ncreated %s\n", MUSTER_VERSION,
            m->info->created);
    return OK;
}

static enum err fill(struct making *m)
{
    char path[DURABLE_PATH_MAX], uploads[DURABLE_PATH_MAX];
    enum err e = backup_set_join(uploads, m->folder, "uploads", m->why);
    if (e == OK)
        e = durable_folder(uploads, 0700, m->why);
    if (e == OK)
        e = backup_set_join(path, m->folder, MANIFEST, m->why);
    if (e == OK)
        e = open_manifest(m, path);
    if (e == OK)
        e = take_database(m);
    if (e == OK)
        e = take_keys(m);
    if (e == OK)
        e = take_certs(m);
    if (e == OK)
        e = take_uploads(m);
    if (e == OK)
        e = close_manifest(m, path);
    else if (m->manifest != NULL)
        fclose(m->manifest);
    if (e == OK)
        e = durable_sync_folder(uploads, m->why);
    return e == OK ? durable_sync_folder(m->folder, m->why) : e;
}

bool backup_takes_name(slice path)
{
    slice whole = slice_without_end(path, '/', 1);
    const char *above = memrchr(whole.ptr, '/', whole.len);
    slice name = above != NULL ? slice_from(whole, (size_t)(above + 1 - whole.ptr)) : whole;
    bool unfinished = name.len >= sizeof UNFINISHED - 1 &&
                      slice_is(slice_from(name, name.len - (sizeof UNFINISHED - 1)), UNFINISHED);
    return slice_starts(path, SLICE("/")) && !unfinished && name.len <= BACKUP_NAME_MAX;
}

enum err backup_make(const char *folder, const struct backup_source *from, struct backup_info *out,
                     struct why *why)
{
    char partial[DURABLE_PATH_MAX];
    struct stat st;
    *out = (struct backup_info){ 0 };
    const char *name = strrchr(folder, '/') + 1; /* hidden: no backup of the API has such a name */
    int len =
        snprintf(partial, sizeof partial, "%.*s.%s" UNFINISHED, (int)(name - folder), folder, name);
    if (len < 0 || len >= (int)sizeof partial) {
        why_set(why, "found a path of %zu bytes, allowed at most %zu", strlen(folder),
                sizeof partial - sizeof "." UNFINISHED);
        return E_LIMIT;
    }
    if (lstat(folder, &st) == 0) {
        why_set(why, "%s: is there already; a backup makes its folder", folder);
        return E_EXISTS;
    }
    backup_set_remove_all(partial); /* left by an attempt that was killed */
    if (mkdir(partial, 0700) != 0)
        return durable_failed(why, partial, errno);
    struct making m = { .from = from, .folder = partial, .info = out, .why = why };
    enum err e = fill(&m);
    if (e == OK && rename(partial, folder) != 0)
        e = durable_failed(why, folder, errno);
    if (e == OK)
        return durable_sync_parent(folder, why);
    backup_set_remove_all(partial);
    return e;
}

/* Reading. */

struct entry {
    char hash[HASH_LEN + 1], name[NAME_BYTES_MAX];
    uint64_t size;
};

static enum err backup_set_damaged(struct why *why, const char *path, const char *what)
{
    why_set(why, "%s: %s: this backup is damaged, use another one", path, what);
    return E_CORRUPT;
}

typedef enum err entry_fn(void *arg, const struct entry *entry, struct why *why);

/* Parses "HASH SIZE NAME". All three fit into the entry. */
static bool parse_entry(struct entry *entry, slice rest)
{
    slice hash, size, name;
    int64_t bytes;
    if (!slice_word(&rest, &hash) || !slice_word(&rest, &size) || !slice_word(&rest, &name) ||
        hash.len != HASH_LEN || name.len >= sizeof entry->name || !slice_int(size, &bytes) ||
        bytes < 0)
        return false;
    snprintf(entry->hash, sizeof entry->hash, "%.*s", SLICE_ARG(hash));
    snprintf(entry->name, sizeof entry->name, "%.*s", SLICE_ARG(name));
    entry->size = (uint64_t)bytes;
    return backup_set_is_known(entry->name);
}

static slice without_end(const char *line)
{
    slice text, rest;
    slice_cut(slice_of(line), '\n', &text, &rest);
    return text;
}

struct reading {
    const char *path; /* of the list */
    struct backup_info *info;
    entry_fn *each;
    void *arg;
};

static enum err backup_set_read_line(const struct reading *r, slice line, struct why *why)
{
    struct entry entry;
    slice kind = { 0 }, when = { 0 }, rest = line;
    slice_word(&rest, &kind);
    if (slice_is(kind, "created") && slice_word(&rest, &when))
        snprintf(r->info->created, sizeof r->info->created, "%.*s", SLICE_ARG(when));
    if (slice_is(kind, "created") || slice_is(kind, "version") || slice_is(kind, "muster") ||
        slice_is(kind, "end"))
        return OK;
    if (!slice_is(kind, "file") || !parse_entry(&entry, rest))
        return backup_set_damaged(why, r->path, "a line that no backup has");
    r->info->files++;
    r->info->bytes += entry.size;
    r->info->has_database = r->info->has_database || strcmp(entry.name, "muster.db") == 0;
    r->info->has_secrets = r->info->has_secrets || strcmp(entry.name, "secrets.key") == 0;
    return r->each != NULL ? r->each(r->arg, &entry, why) : OK;
}

/* Verifies the hash of the list before any line of it is used. */
static enum err check_list(FILE *f, const char *path, struct why *why)
{
    unsigned char sha[EVP_MAX_MD_SIZE];
    char line[LINE_MAX_BYTES], hash[HASH_LEN + 1];
    slice end = { 0 }, rest;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool first = true, ours = false;
    EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
    while (end.len == 0 && fgets(line, sizeof line, f) != NULL) {
        if (first)
            ours = strcmp(line, "muster backup 1\n") == 0;
        first = false;
        rest = slice_of(line);
        if (slice_starts(rest, SLICE("end ")))
            slice_cut(slice_from(rest, 4), '\n', &end, &rest);
        else
            EVP_DigestUpdate(ctx, line, strlen(line));
    }
    EVP_DigestFinal_ex(ctx, sha, NULL);
    EVP_MD_CTX_free(ctx);
    hex_encode(hash, (slice){ (const char *)sha, HASH_LEN / 2 });
    if (!ours) {
        why_set(why, "%s: not the list of a backup that this musterd can read", path);
        return E_UNSUPPORTED;
    }
    return slice_is(end, hash) ? OK : backup_set_damaged(why, path, "the list is not whole");
}

static enum err backup_set_read_list(const char *folder, struct backup_info *info, entry_fn *each,
                                     void *arg, struct why *why)
{
    char path[DURABLE_PATH_MAX], line[LINE_MAX_BYTES];
    *info = (struct backup_info){ 0 };
    enum err e = backup_set_join(path, folder, MANIFEST, why);
    FILE *f = e == OK ? fopen(path, "re") : NULL;
    if (f == NULL)
        return e != OK ? e : durable_failed(why, path, errno);
    struct reading r = { path, info, each, arg };
    e = check_list(f, path, why);
    rewind(f);
    while (e == OK && fgets(line, sizeof line, f) != NULL)
        e = backup_set_read_line(&r, without_end(line), why);
    fclose(f);
    return e;
}

enum err backup_look(const char *folder, struct backup_info *out, struct why *why)
{
    return backup_set_read_list(folder, out, NULL, NULL, why);
}

struct verifying {
    const char *folder;
    const struct store_watch *watch;
};

static enum err verify_one(void *arg, const struct entry *entry, struct why *why)
{
    const struct verifying *v = arg;
    char path[DURABLE_PATH_MAX], hash[HASH_LEN + 1];
    uint64_t size;
    enum err e = backup_set_join(path, v->folder, entry->name, why);
    if (e == OK)
        e = copy_file(path, NULL, hash, &size, v->watch, why);
    if (e == E_NOTFOUND)
        return backup_set_damaged(why, path, "is missing");
    if (e == OK && (size != entry->size || strcmp(hash, entry->hash) != 0))
        return backup_set_damaged(why, path, "is not what was backed up");
    return e;
}

enum err backup_verify(const char *folder, const struct store_schema *const *schemas,
                       const struct store_watch *watch, struct backup_info *out, struct why *why)
{
    char path[DURABLE_PATH_MAX];
    struct verifying v = { folder, watch };
    enum err e = backup_set_read_list(folder, out, verify_one, &v, why);
    if (e != OK || !out->has_database)
        return e;
    e = backup_set_join(path, folder, "muster.db", why);
    return e == OK ? store_verify(path, schemas, watch, why) : e;
}

/* Restoring. */

struct restoring {
    const char *folder, *data, *partial;
};

static bool never_ends(void *arg, int percent)
{
    (void)arg;
    (void)percent;
    return true;
}
static const struct store_watch unwatched = { never_ends, NULL };

static enum err copy_one(void *arg, const struct entry *entry, struct why *why)
{
    const struct restoring *r = arg;
    char from[DURABLE_PATH_MAX], to[DURABLE_PATH_MAX], hash[HASH_LEN + 1];
    uint64_t size;
    enum err e = backup_set_join(from, r->folder, entry->name, why);
    if (e == OK)
        e = backup_set_join(to, r->partial, entry->name, why);
    const char *slash = strrchr(entry->name, '/');
    if (e == OK && slash != NULL) { /* "uploads", "uploads/ab", "trust/clients" */
        char inside[NAME_BYTES_MAX];
        snprintf(inside, sizeof inside, "%.*s", (int)(slash - entry->name), entry->name);
        e = backup_set_make_folders(r->partial, inside, why);
    }
    if (e == OK)
        e = copy_file(from, to, hash, &size, &unwatched, why);
    if (e == OK)
        e = durable_sync_parent(to, why);
    if (e == OK && strcmp(hash, entry->hash) != 0)
        return backup_set_damaged(why, from, "is not what was backed up");
    return e;
}

static bool backup_set_is_there(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 || errno != ENOENT;
}

static bool is_key_file(const char *name)
{
    for (size_t i = 0; key_files[i] != NULL; i++)
        if (strcmp(name, key_files[i]) == 0)
            return true;
    return false;
}

static bool is_same_file(const char *path, const struct entry *entry)
{
    char hash[HASH_LEN + 1];
    uint64_t size;
    struct why why;
    return copy_file(path, NULL, hash, &size, &unwatched, &why) == OK && size == entry->size &&
           strcmp(hash, entry->hash) == 0;
}

/* A database, and what belongs to it: the rest of another one would damage what is restored. */
static enum err no_database(const char *data, struct why *why)
{
    static const char *const names[] = { "muster.db", "muster.db-wal", "muster.db-shm",
                                         "muster.db-journal", NULL };
    char path[DURABLE_PATH_MAX];
    enum err e = OK;
    for (size_t i = 0; e == OK && names[i] != NULL; i++) {
        e = backup_set_join(path, data, names[i], why);
        if (e != OK || !backup_set_is_there(path))
            continue;
        why_set(why,
                "data: %s: is there, and a restore overwrites nothing; move it away with what "
                "belongs to it: mkdir -m 700 %s/former && mv %s/muster.db* %s/former/",
                path, data, data, data);
        e = E_EXISTS;
    }
    return e;
}

/* A file that is there already may stay if it is the same. Keys are set aside, since those of the
 * backup belong to its database. */
static enum err overwrites_nothing(void *arg, const struct entry *entry, struct why *why)
{
    const char *data = arg;
    char path[DURABLE_PATH_MAX], old[DURABLE_PATH_MAX + 4];
    enum err e = backup_set_join(path, data, entry->name, why);
    ensure(backup_set_is_known(entry->name)); /* it is inside of the folder */
    if (strcmp(entry->name, "muster.db") == 0)
        return no_database(data, why);
    if (e != OK || !backup_set_is_there(path) || is_same_file(path, entry))
        return e;
    snprintf(old, sizeof old, "%s.old", path);
    if (is_key_file(entry->name) && !backup_set_is_there(old))
        return OK;
    why_set(why,
            "data: %s: is there, and is not what the backup has; a restore overwrites nothing: "
            "move it away",
            is_key_file(entry->name) ? old : path);
    return E_EXISTS;
}

/* One that has not come with its folder. */
static enum err move_one(void *arg, const struct entry *entry, struct why *why)
{
    const struct restoring *r = arg;
    char from[DURABLE_PATH_MAX], to[DURABLE_PATH_MAX], old[DURABLE_PATH_MAX + 4];
    enum err e = backup_set_join(from, r->partial, entry->name, why);
    ensure(backup_set_is_known(entry->name));
    if (e == OK)
        e = backup_set_join(to, r->data, entry->name, why);
    if (e != OK || strcmp(entry->name, "muster.db") == 0 || !backup_set_is_there(from))
        return e;
    const char *slash = strrchr(entry->name, '/');
    if (slash != NULL) {
        char inside[NAME_BYTES_MAX];
        snprintf(inside, sizeof inside, "%.*s", (int)(slash - entry->name), entry->name);
        e = backup_set_make_folders(r->data, inside, why);
    }
    snprintf(old, sizeof old, "%s.old", to);
    if (e == OK && backup_set_is_there(to) && !is_same_file(to, entry) && rename(to, old) != 0)
        e = durable_failed(why, old, errno);
    if (e == OK && rename(from, to) != 0)
        e = durable_failed(why, to, errno);
    return e == OK ? durable_sync_parent(to, why) : e;
}

static enum err move_whole(const struct restoring *r, const char *name, struct why *why)
{
    char from[DURABLE_PATH_MAX], to[DURABLE_PATH_MAX];
    enum err e = backup_set_join(from, r->partial, name, why);
    if (e == OK)
        e = backup_set_join(to, r->data, name, why);
    if (e == OK && rename(from, to) != 0 && errno != ENOENT && errno != ENOTEMPTY &&
        errno != EEXIST)
        e = durable_failed(why, to, errno);
    return e;
}

/* Moves the database last: a server does not start in a restored folder without it. */
static enum err backup_set_move_in(struct restoring *r, struct why *why)
{
    static const char *const folders[] = { "uploads", "certs", "trust", NULL };
    struct backup_info info;
    enum err e = OK;
    for (size_t i = 0; e == OK && folders[i] != NULL; i++)
        e = move_whole(r, folders[i], why);
    if (e == OK)
        e = backup_set_read_list(r->folder, &info, move_one, r, why);
    if (e == OK)
        e = move_whole(r, "muster.db", why);
    if (e == OK)
        e = durable_sync_folder(r->data, why);
    if (e != OK)
        return e;
    backup_set_remove_all(r->partial);
    return durable_sync_folder(r->data, why);
}

static enum err check_kind(const char *folder, enum backup_database want, struct why *why)
{
    struct backup_info info;
    enum err e = backup_look(folder, &info, why);
    if (e != OK || info.has_database == (want == BACKUP_SQLITE))
        return e;
    why_set(why,
            info.has_database ? "%s: has a database of SQLite, but the node file names PostgreSQL: "
                                "restore with `database: sqlite`"
                              : "%s: has no database, as the server used PostgreSQL: restore that "
                                "with pg_restore, and name it as `database` in the node file",
            folder);
    return E_UNSUPPORTED;
}

enum err backup_restore(const char *folder, const char *data, enum backup_database want,
                        const struct store_schema *const *schemas, struct backup_info *out,
                        struct why *why)
{
    char partial[DURABLE_PATH_MAX];
    struct restoring r = { folder, data, partial };
    enum err e = check_kind(folder, want, why);
    if (e == OK)
        e = backup_set_read_list(folder, out, overwrites_nothing, (void *)data, why);
    if (e == OK)
        e = backup_verify(folder, schemas, &unwatched, out, why);
    if (e == OK)
        e = backup_set_join(partial, data, PARTIAL, why);
    if (e != OK)
        return e;
    backup_set_remove_all(partial); /* left by an attempt that was killed */
    e = durable_folder(partial, 0700, why);
    if (e == OK)
        e = backup_set_read_list(folder, out, copy_one, &r, why);
    if (e == OK)
        return backup_set_move_in(&r, why);
    backup_set_remove_all(partial);
    return e;
}

bool backup_is_partial(const char *data)
{
    char path[DURABLE_PATH_MAX];
    struct why why;
    return backup_set_join(path, data, PARTIAL, &why) == OK && access(path, F_OK) == 0;
}
