#include "base/durable.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum err durable_err(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return E_FULL;
    case ENOENT:
        return E_NOTFOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return E_DENIED;
    case EEXIST:
        return E_EXISTS;
    case ECANCELED:
        return E_CANCELED;
    default:
        return E_IO;
    }
}

enum err durable_failed(struct why *why, const char *path, int error)
{
    why_set(why, "%s: %s", path, strerrordesc_np(error));
    return durable_err(error);
}

enum err durable_sync_folder(const char *path, struct why *why)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return durable_failed(why, path, errno);
    int error = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    return error == 0 ? OK : durable_failed(why, path, error);
}

enum err durable_sync_parent(const char *path, struct why *why)
{
    char parent[DURABLE_PATH_MAX];
    slice above = slice_without_end(slice_of(path), '/', 1);
    while (above.len > 0 && above.ptr[above.len - 1] != '/')
        above.len--;
    above = slice_without_end(above, '/', 1);
    if (above.len >= sizeof parent)
        return durable_failed(why, path, ENAMETOOLONG);
    if (above.len == 0)
        above = SLICE(".");
    snprintf(parent, sizeof parent, "%.*s", SLICE_ARG(above));
    return durable_sync_folder(parent, why);
}

enum err durable_folder(const char *path, mode_t mode, struct why *why)
{
    bool made = mkdir(path, mode) == 0;
    if (!made && errno != EEXIST)
        return durable_failed(why, path, errno);
    enum err e = durable_sync_parent(path, why);
    return e == E_DENIED && !made ? OK : e; /* it was there before and is another user's */
}

int durable_write_all(int fd, slice data)
{
    while (data.len > 0) {
        ssize_t n = write(fd, data.ptr, data.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        data = slice_from(data, (size_t)n);
    }
    return 0;
}

/* Returns errno. A file left by an earlier attempt is removed first: its mode may differ. */
static int write_new(const char *path, mode_t mode, slice bytes)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return errno;
    int error = fchmod(fd, mode) == 0 ? durable_write_all(fd, bytes) : errno;
    if (error == 0 && fsync(fd) != 0)
        error = errno;
    if (close(fd) != 0 && error == 0)
        error = errno;
    return error;
}

enum err durable_write(const char *path, mode_t mode, slice bytes, struct why *why)
{
    char temp[DURABLE_PATH_MAX];
    int len = snprintf(temp, sizeof temp, "%s.new", path);
    if (len < 0 || (size_t)len >= sizeof temp) {
        why_set(why, "%s: the path is too long", path);
        return E_LIMIT;
    }
    int error = write_new(temp, mode, bytes);
    if (error == 0 && rename(temp, path) != 0)
        error = errno;
    if (error != 0) {
        unlink(temp);
        return durable_failed(why, path, error);
    }
    return durable_sync_parent(path, why);
}
