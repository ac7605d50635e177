#include "base/ensure.h"
#include "base/mem.h"
#include "store/store_sqlite.h"
#include <errno.h>

/* Between SQLite and its "unix" VFS:
 *
 * SQLite writes the WAL in two small calls a page. They are gathered here and written as one, no
 * later than the sync that makes a commit durable. Nobody else reads those bytes before: other
 * connections look only at frames that the commit has published, which it does after the sync
 * (synchronous=FULL, see sqlite_conn.c), and our own reads of a gathered range write it first.
 *
 * A quota and a limit of file sizes are reported as SQLITE_FULL, like a full disk. */

/* The unix VFS writes at most 128 KiB - 1 in one call. */
enum { GATHER_BYTES = 120 << 10 };

struct vfs_file {
    sqlite3_file base;
    sqlite3_file *real; /* right behind this struct */
    bool is_wal;
    char *gathered; /* NULL until the first write */
    int len;        /* bytes gathered, for the offset `at` */
    sqlite3_int64 at;
};

static struct vfs_file *file_of(sqlite3_file *f) { return (struct vfs_file *)(void *)f; }

static int write_real(struct vfs_file *f, const void *ptr, int len, sqlite3_int64 at)
{
    errno = 0;
    int rc = f->real->pMethods->xWrite(f->real, ptr, len, at);
    return rc == SQLITE_IOERR_WRITE && (errno == EDQUOT || errno == EFBIG) ? SQLITE_FULL : rc;
}

static int sqlite_vfs_flush(struct vfs_file *f)
{
    int len = f->len;
    f->len = 0; /* after a failure SQLite rolls back and writes these frames again */
    return len > 0 ? write_real(f, f->gathered, len, f->at) : SQLITE_OK;
}

static int on_write(sqlite3_file *file, const void *ptr, int len, sqlite3_int64 at)
{
    struct vfs_file *f = file_of(file);
    if (!f->is_wal)
        return write_real(f, ptr, len, at);
    if (f->len > 0 && (at != f->at + f->len || len > GATHER_BYTES - f->len)) {
        int rc = sqlite_vfs_flush(f);
        if (rc != SQLITE_OK)
            return rc;
    }
    if (len > GATHER_BYTES)
        return write_real(f, ptr, len, at);
    if (f->gathered == NULL)
        f->gathered = mem_alloc(GATHER_BYTES);
    if (f->len == 0)
        f->at = at;
    memcpy(f->gathered + f->len, ptr, (size_t)len);
    f->len += len;
    return SQLITE_OK;
}

static _Thread_local void (*watch)(void *arg);
static _Thread_local void *watch_arg;

void sqlite_vfs_watch(void (*fn)(void *arg), void *arg)
{
    watch = fn;
    watch_arg = arg;
}

static int sqlite_vfs_on_read(sqlite3_file *file, void *out, int len, sqlite3_int64 at)
{
    struct vfs_file *f = file_of(file);
    if (f->len > 0 && at < f->at + f->len && at + len > f->at) {
        int rc = sqlite_vfs_flush(f);
        if (rc != SQLITE_OK)
            return rc;
    }
    if (watch != NULL)
        watch(watch_arg);
    return f->real->pMethods->xRead(f->real, out, len, at);
}

static int on_sync(sqlite3_file *file, int flags)
{
    struct vfs_file *f = file_of(file);
    int rc = sqlite_vfs_flush(f);
    return rc == SQLITE_OK ? f->real->pMethods->xSync(f->real, flags) : rc;
}

static int on_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct vfs_file *f = file_of(file);
    int rc = sqlite_vfs_flush(f);
    return rc == SQLITE_OK ? f->real->pMethods->xTruncate(f->real, size) : rc;
}

static int on_size(sqlite3_file *file, sqlite3_int64 *size)
{
    struct vfs_file *f = file_of(file);
    int rc = sqlite_vfs_flush(f);
    return rc == SQLITE_OK ? f->real->pMethods->xFileSize(f->real, size) : rc;
}

static int on_close(sqlite3_file *file)
{
    struct vfs_file *f = file_of(file);
    sqlite_vfs_flush(f); /* a commit has synced before; what is left was not promised */
    mem_free(&f->gathered);
    return f->real->pMethods->xClose(f->real);
}

#define PASS(f, method, ...) file_of(f)->real->pMethods->method(file_of(f)->real, __VA_ARGS__)
static int on_lock(sqlite3_file *f, int level) { return PASS(f, xLock, level); }
static int on_unlock(sqlite3_file *f, int level) { return PASS(f, xUnlock, level); }
static int on_reserved(sqlite3_file *f, int *out) { return PASS(f, xCheckReservedLock, out); }
static int on_control(sqlite3_file *f, int op, void *arg) { return PASS(f, xFileControl, op, arg); }
static int on_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
    return PASS(f, xShmLock, at, n, flags);
}
static int on_shm_map(sqlite3_file *f, int page, int bytes, int extend, void volatile **out)
{
    return PASS(f, xShmMap, page, bytes, extend, out);
}
static int on_shm_unmap(sqlite3_file *f, int del) { return PASS(f, xShmUnmap, del); }
#undef PASS

static void on_shm_barrier(sqlite3_file *f)
{
    file_of(f)->real->pMethods->xShmBarrier(file_of(f)->real);
}
static int on_sector_size(sqlite3_file *f)
{
    return file_of(f)->real->pMethods->xSectorSize(file_of(f)->real);
}
static int on_device(sqlite3_file *f)
{
    return file_of(f)->real->pMethods->xDeviceCharacteristics(file_of(f)->real);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2, /* shared memory, but no memory-mapped pages: see store_sqlite.h */
    .xClose = on_close,
    .xRead = sqlite_vfs_on_read,
    .xWrite = on_write,
    .xTruncate = on_truncate,
    .xSync = on_sync,
    .xFileSize = on_size,
    .xLock = on_lock,
    .xUnlock = on_unlock,
    .xCheckReservedLock = on_reserved,
    .xFileControl = on_control,
    .xSectorSize = on_sector_size,
    .xDeviceCharacteristics = on_device,
    .xShmMap = on_shm_map,
    .xShmLock = on_shm_lock,
    .xShmBarrier = on_shm_barrier,
    .xShmUnmap = on_shm_unmap,
};

static sqlite3_vfs *unix_vfs;

static int on_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                   int *out_flags)
{
    struct vfs_file *f = file_of(file);
    (void)vfs;
    *f = (struct vfs_file){ .real = (sqlite3_file *)(f + 1),
                            .is_wal = (flags & SQLITE_OPEN_WAL) != 0 };
    int rc = unix_vfs->xOpen(unix_vfs, name, f->real, flags, out_flags);
    f->base.pMethods = f->real->pMethods != NULL ? &methods : NULL;
    return rc;
}

void sqlite_vfs_register(void)
{
    static sqlite3_vfs vfs;
    unix_vfs = sqlite3_vfs_find("unix");
    ensure(unix_vfs != NULL);
    vfs = *unix_vfs;
    vfs.pNext = NULL;
    vfs.zName = SQLITE_VFS_NAME;
    vfs.szOsFile = (int)sizeof(struct vfs_file) + unix_vfs->szOsFile;
    vfs.xOpen = on_open;
    int rc = sqlite3_vfs_register(&vfs, 0);
    ensure(rc == SQLITE_OK);
}
