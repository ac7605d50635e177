/* Loaded in front of libc (LD_PRELOAD) by tests: records what a server does to the files below
 * SHIM_ROOT, so that muster/power.py can replay what a power cut may leave of them, and makes
 * writes and syncs fail. Compiled by muster/shim.py.
 *
 *   SHIM_ROOT  the folder
 *   SHIM_LOG   where the record goes; without it nothing is recorded
 *   SHIM_KNOBS a file that tests write to while the server runs: struct knobs */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { FDS = 65536 };

struct knobs {
    _Atomic int32_t writes_fail; /* one write in so many fails; 0: none */
    _Atomic int32_t syncs_fail;
    _Atomic int32_t reads_fail;
    _Atomic int32_t error;         /* errno of a failure */
    _Atomic int32_t sync_delay_ms; /* each sync takes that much longer */
    _Atomic int32_t failed;        /* how many have failed */
    _Atomic int32_t database_only; /* not 0: only writes to the database itself fail, not its log */
};

/* A record; `len` and `len2` bytes follow it. */
struct record {
    char kind;
    char pad[3];
    int32_t file; /* of an open one */
    uint64_t time_us;
    int64_t at;
    uint32_t len, len2;
};

static struct knobs none, *knobs = &none;
static char root[4096];
static size_t root_len;
static int log_fd = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int32_t files[FDS]; /* by descriptor: what is watched */
static _Atomic int32_t last_file;
static _Atomic int is_database[FDS];

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_pread)(int, void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);
static int (*real_unlinkat)(int, const char *, int);
static int (*real_mkdir)(const char *, mode_t);
static int (*real_rmdir)(const char *);

static void *find(const char *name)
{
    void *at = dlsym(RTLD_NEXT, name);
    if (at == NULL)
        abort();
    return at;
}

static void open_log(const char *path)
{
    int fd = real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 900);
    real_close(fd);
}

static void map_knobs(const char *path)
{
    int fd = real_open(path, O_RDWR | O_CLOEXEC);
    void *at = mmap(NULL, sizeof *knobs, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED)
        knobs = at;
    real_close(fd);
}

__attribute__((constructor)) static void begin(void)
{
    const char *folder = getenv("SHIM_ROOT"), *log = getenv("SHIM_LOG");
    const char *shared = getenv("SHIM_KNOBS");
    *(void **)&real_open = find("open");
    *(void **)&real_openat = find("openat");
    *(void **)&real_close = find("close");
    *(void **)&real_write = find("write");
    *(void **)&real_pwrite = find("pwrite64");
    *(void **)&real_pread = find("pread64");
    *(void **)&real_ftruncate = find("ftruncate");
    *(void **)&real_fsync = find("fsync");
    *(void **)&real_fdatasync = find("fdatasync");
    *(void **)&real_rename = find("rename");
    *(void **)&real_unlink = find("unlink");
    *(void **)&real_unlinkat = find("unlinkat");
    *(void **)&real_mkdir = find("mkdir");
    *(void **)&real_rmdir = find("rmdir");
    if (folder != NULL)
        snprintf(root, sizeof root, "%s/", folder);
    root_len = strlen(root);
    if (log != NULL)
        open_log(log);
    if (shared != NULL)
        map_knobs(shared);
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void put(const void *bytes, size_t len)
{
    for (const char *at = bytes; len > 0;) {
        ssize_t n = real_write(log_fd, at, len);
        if (n <= 0)
            abort();
        at += n;
        len -= (size_t)n;
    }
}

static void note(char kind, int32_t file, int64_t at, const void *one, size_t len, const char *two)
{
    if (log_fd < 0)
        return;
    size_t len2 = two != NULL ? strlen(two) : 0;
    struct record r = { kind, { 0 }, file, 0, at, (uint32_t)len, (uint32_t)len2 };
    pthread_mutex_lock(&lock);
    r.time_us = now_us();
    put(&r, sizeof r);
    put(one, len);
    put(two, len2);
    pthread_mutex_unlock(&lock);
}

/* The rest of a path below the root, "" for the root, or NULL. */
static const char *below(const char *path)
{
    if (root_len > 0 && strncmp(path, root, root_len - 1) == 0 && path[root_len - 1] == '\0')
        return "";
    return root_len > 0 && strncmp(path, root, root_len) == 0 ? path + root_len : NULL;
}

static int32_t file_of(int fd) { return fd >= 0 && fd < FDS ? atomic_load(&files[fd]) : 0; }

static int fails(_Atomic int32_t *knob)
{
    int32_t one_in = atomic_load(knob);
    if (one_in <= 0 || random() % one_in != 0)
        return 0;
    atomic_fetch_add(&knobs->failed, 1);
    errno = atomic_load(&knobs->error);
    return 1;
}

static int write_fails(int fd)
{
    if (atomic_load(&knobs->database_only) != 0 && !atomic_load(&is_database[fd]))
        return 0;
    return fails(&knobs->writes_fail);
}

static void opened(int fd, const char *name, int flags, int was_there)
{
    struct stat st;
    size_t len = strlen(name);
    if (fd < 0 || fd >= FDS || fstat(fd, &st) != 0 ||
        (len > 4 && strcmp(name + len - 4, "-shm") == 0))
        return;
    int32_t file = atomic_fetch_add(&last_file, 1) + 1;
    atomic_store(&files[fd], file);
    atomic_store(&is_database[fd], len > 3 && strcmp(name + len - 3, ".db") == 0);
    note(S_ISDIR(st.st_mode) ? 'D' : 'O', file,
         (flags & O_CREAT) && !was_there ? 1 : (flags & O_TRUNC) ? 2 : 0, name, len, NULL);
}

int open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    const char *name = below(path);
    int was_there = name == NULL || access(path, F_OK) == 0;
    int fd = real_open(path, flags, mode);
    if (name != NULL)
        opened(fd, name, flags, was_there);
    return fd;
}

int open64(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return open(path, flags, mode);
}

int __open_2(const char *path, int flags) { return open(path, flags); }
int __open64_2(const char *path, int flags) { return open(path, flags); }

int close(int fd)
{
    if (file_of(fd) != 0) {
        note('C', file_of(fd), 0, "", 0, NULL);
        atomic_store(&files[fd], 0);
    }
    return real_close(fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t at)
{
    if (file_of(fd) == 0)
        return real_pwrite(fd, bytes, len, at);
    if (write_fails(fd))
        return -1;
    ssize_t n = real_pwrite(fd, bytes, len, at);
    if (n > 0)
        note('W', file_of(fd), at, bytes, (size_t)n, NULL);
    return n;
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    return pwrite64(fd, bytes, len, at);
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    if (file_of(fd) == 0)
        return real_write(fd, bytes, len);
    if (write_fails(fd))
        return -1;
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t n = real_write(fd, bytes, len);
    if (n > 0)
        note('W', file_of(fd), at, bytes, (size_t)n, NULL);
    return n;
}

ssize_t pread64(int fd, void *out, size_t len, off_t at)
{
    return file_of(fd) != 0 && fails(&knobs->reads_fail) ? -1 : real_pread(fd, out, len, at);
}

ssize_t pread(int fd, void *out, size_t len, off_t at) { return pread64(fd, out, len, at); }

int ftruncate(int fd, off_t len)
{
    int rc = real_ftruncate(fd, len);
    if (rc == 0 && file_of(fd) != 0)
        note('T', file_of(fd), len, "", 0, NULL);
    return rc;
}

int ftruncate64(int fd, off_t len) { return ftruncate(fd, len); }

/* While it is recorded, what the disk of the test holds does not matter. */
static int sync_file(int fd, int (*real)(int))
{
    int32_t file = file_of(fd), delay_ms = atomic_load(&knobs->sync_delay_ms);
    if (file == 0)
        return real(fd);
    if (delay_ms > 0)
        usleep((unsigned)delay_ms * 1000);
    if (fails(&knobs->syncs_fail))
        return -1;
    note('B', file, 0, "", 0, NULL);
    int rc = log_fd >= 0 ? 0 : real(fd);
    if (rc == 0)
        note('S', file, 0, "", 0, NULL);
    return rc;
}

int fsync(int fd) { return sync_file(fd, real_fsync); }
int fdatasync(int fd) { return sync_file(fd, real_fdatasync); }

int rename(const char *from, const char *to)
{
    int rc = real_rename(from, to);
    const char *a = below(from), *b = below(to);
    if (rc == 0 && a != NULL && b != NULL)
        note('R', 0, 0, a, strlen(a), b);
    return rc;
}

int unlink(const char *path)
{
    int rc = real_unlink(path);
    const char *name = below(path);
    if (rc == 0 && name != NULL)
        note('U', 0, 0, name, strlen(name), NULL);
    return rc;
}

int unlinkat(int folder, const char *path, int flags)
{
    int rc = real_unlinkat(folder, path, flags);
    if (rc == 0 && file_of(folder) != 0)
        note('u', file_of(folder), 0, path, strlen(path), NULL);
    return rc;
}

int mkdir(const char *path, mode_t mode)
{
    int rc = real_mkdir(path, mode);
    const char *name = below(path);
    if (rc == 0 && name != NULL)
        note('M', 0, 0, name, strlen(name), NULL);
    return rc;
}

int rmdir(const char *path)
{
    int rc = real_rmdir(path);
    const char *name = below(path);
    if (rc == 0 && name != NULL)
        note('U', 0, 0, name, strlen(name), NULL);
    return rc;
}
