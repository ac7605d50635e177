/* slow_disk: loaded into musterd by tests (LD_PRELOAD). A file that both sides map says how slow
 * writing below SLOW_DISK_ROOT is, and what the clocks show. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

struct knobs {
    _Atomic int write_ms; /* each write takes so much longer */
    _Atomic int sync_ms;  /* each sync; < 0: it waits until that changes */
    _Atomic long long wall_us, mono_us;
};
static struct knobs none, *knobs = &none;

static void *next(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("SLOW_DISK");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    void *map = fd < 0 ? MAP_FAILED
                       : mmap(NULL, sizeof *knobs, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED)
        knobs = map;
    if (fd >= 0)
        close(fd);
}

static void pause_ms(int ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000L };
    nanosleep(&t, NULL);
}

static int is_ours(int fd)
{
    char link[64], path[4096];
    const char *root = getenv("SLOW_DISK_ROOT");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (root == NULL || len < 0)
        return 0;
    path[len] = '\0';
    return strncmp(path, root, strlen(root)) == 0;
}

static void slow_write(int fd)
{
    int ms = atomic_load(&knobs->write_ms);
    if (ms > 0 && is_ours(fd))
        pause_ms(ms);
}

static void slow_sync(int fd)
{
    int ms = atomic_load(&knobs->sync_ms);
    if (ms == 0 || !is_ours(fd))
        return;
    while (atomic_load(&knobs->sync_ms) < 0)
        pause_ms(2);
    if (ms > 0)
        pause_ms(ms);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at)
{
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (real == NULL)
        real = (ssize_t(*)(int, const void *, size_t, off64_t))next("pwrite64");
    slow_write(fd);
    return real(fd, data, len, at);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at) { return pwrite64(fd, data, len, at); }

int fdatasync(int fd)
{
    static int (*real)(int);
    if (real == NULL)
        real = (int (*)(int))next("fdatasync");
    slow_sync(fd);
    return real(fd);
}

int fsync(int fd)
{
    static int (*real)(int);
    if (real == NULL)
        real = (int (*)(int))next("fsync");
    slow_sync(fd);
    return real(fd);
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    static int (*real)(clockid_t, struct timespec *);
    if (real == NULL)
        real = (int (*)(clockid_t, struct timespec *))next("clock_gettime");
    int result = real(id, t);
    int wall = id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE;
    long long off = wall                    ? atomic_load(&knobs->wall_us)
                    : id == CLOCK_MONOTONIC ? atomic_load(&knobs->mono_us)
                                            : 0;
    if (result == 0 && off != 0) {
        long long us = (long long)t->tv_sec * 1000000 + t->tv_nsec / 1000 + off;
        t->tv_sec = us / 1000000;
        t->tv_nsec = us % 1000000 * 1000;
    }
    return result;
}
