#include "ext/upload/upload_files.h"
#include "base/durable.h"
#include "base/ensure.h"
#include "ext/upload/upload_rows.h"
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FOLDERS = 256 };

static char folder[UPLOAD_PATH_MAX / 2];
static atomic_bool known[FOLDERS]; /* the name of the folder is on the disk */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct upload_page *condemned; /* under the lock; NULL: none */

const char *upload_folder(void) { return folder; }

void upload_blob_path(char out[UPLOAD_PATH_MAX], const char *hash)
{
    snprintf(out, UPLOAD_PATH_MAX, "%s/%.2s/%s", folder, hash, hash);
}

static void blob_folder(char out[UPLOAD_PATH_MAX], const char *hash)
{
    snprintf(out, UPLOAD_PATH_MAX, "%s/%.2s", folder, hash);
}

/* Files that were on their way in when the server ended: none of them was answered for. */
static void empty_temp(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL)
        return;
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        if (e->d_name[0] != '.')
            unlinkat(dirfd(dir), e->d_name, 0);
    closedir(dir);
}

enum err upload_files_open(const char *data, struct why *why)
{
    char path[UPLOAD_PATH_MAX];
    snprintf(folder, sizeof folder, "%s/uploads", data);
    snprintf(path, sizeof path, "%s/tmp", folder);
    enum err e = durable_folder(folder, 0700, why);
    if (e == OK)
        e = durable_folder(path, 0700, why);
    if (e != OK)
        return e;
    empty_temp(path);
    snprintf(path, sizeof path, "%s/upload.key", folder);
    return upload_key_load(path, why);
}

/* errno. */
static int sync_folder(const char *path)
{
    struct why why;
    enum err e = durable_sync_folder(path, &why);
    return e == OK ? 0 : e == E_FULL ? ENOSPC : e == E_NOTFOUND ? ENOENT : EIO;
}

/* Makes the folder of this content, durably. Returns errno. */
static int make_folder(const char *hash)
{
    char path[UPLOAD_PATH_MAX];
    const char prefix[] = { hash[0], hash[1], '\0' };
    unsigned long n = strtoul(prefix, NULL, 16) % FOLDERS;
    blob_folder(path, hash);
    if (mkdir(path, 0700) == 0)
        atomic_store(&known[n], false);
    else if (errno != EEXIST)
        return errno;
    if (atomic_load(&known[n]))
        return 0;
    int error = sync_folder(folder);
    if (error == 0)
        atomic_store(&known[n], true);
    return error;
}

static int upload_files_move_in(const char *temp, const char *hash)
{
    char path[UPLOAD_PATH_MAX];
    upload_blob_path(path, hash);
    pthread_mutex_lock(&lock);
    int error = rename(temp, path) == 0 ? 0 : errno;
    for (uint32_t i = 0; error == 0 && condemned != NULL && i < condemned->count; i++)
        if (strcmp(condemned->hash[i], hash) == 0)
            condemned->spared[i] = true;
    pthread_mutex_unlock(&lock);
    return error;
}

int upload_place(char temp[UPLOAD_PATH_MAX], const char *hash)
{
    char path[UPLOAD_PATH_MAX];
    int error = make_folder(hash);
    if (error == 0)
        error = upload_files_move_in(temp, hash);
    if (error != 0)
        return error;
    temp[0] = '\0';
    blob_folder(path, hash);
    return sync_folder(path);
}

void upload_condemn(struct upload_page *page)
{
    ensure(page->count <= UPLOAD_PAGE);
    pthread_mutex_lock(&lock);
    memset(page->spared, 0, sizeof page->spared);
    condemned = page;
    pthread_mutex_unlock(&lock);
}

void upload_spare(uint32_t i)
{
    pthread_mutex_lock(&lock);
    condemned->spared[i] = true;
    pthread_mutex_unlock(&lock);
}

void upload_acquit(void)
{
    pthread_mutex_lock(&lock);
    condemned = NULL;
    pthread_mutex_unlock(&lock);
}

static void upload_files_remove_one(struct upload_page *page, uint32_t i)
{
    char path[UPLOAD_PATH_MAX];
    upload_blob_path(path, page->hash[i]);
    pthread_mutex_lock(&lock);
    if (!page->spared[i] && unlink(path) != 0 && errno != ENOENT)
        page->spared[i] = true;
    pthread_mutex_unlock(&lock);
}

/* Rows are forgotten only when the names of their files are gone for good; else files that nothing
 * knows of would come back. */
void upload_remove(struct upload_page *page)
{
    char path[UPLOAD_PATH_MAX];
    for (uint32_t i = 0; i < page->count; i++)
        upload_files_remove_one(page, i);
    for (uint32_t i = 0; i < page->count; i++) {
        blob_folder(path, page->hash[i]);
        int error = page->spared[i] ? 0 : sync_folder(path);
        if (error != 0 && error != ENOENT)
            page->spared[i] = true;
    }
}
