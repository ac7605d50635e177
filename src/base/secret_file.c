#include "base/secret_file.h"
#include "base/durable.h"
#include "base/rand.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err examine(const char *path, const struct stat *st, struct why *why)
{
    if (!S_ISREG(st->st_mode)) {
        why_set(why, "%s: not a file", path);
        return E_CORRUPT;
    }
    if (st->st_uid != geteuid()) {
        why_set(why, "%s: belongs to user id %ld, expected %ld, who runs the server: chown it",
                path, (long)st->st_uid, (long)geteuid());
        return E_DENIED;
    }
    if ((st->st_mode & 077) != 0) {
        why_set(why, "%s: others may use it (mode %04o), expected 0600: chmod 600 it", path,
                (unsigned)st->st_mode & 07777);
        return E_DENIED;
    }
    if (st->st_size == 0) {
        why_set(why, "%s: is empty", path);
        return E_CORRUPT;
    }
    return OK;
}

static enum err open_checked(const char *path, int *fd, struct stat *st, struct why *why)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0 || fstat(*fd, st) != 0) {
        int error = errno;
        if (*fd >= 0)
            close(*fd);
        why_set(why, "%s: %s", path, strerrordesc_np(error));
        return durable_err(error);
    }
    enum err e = examine(path, st, why);
    if (e != OK)
        close(*fd);
    return e;
}

enum err secret_file_check(const char *path, struct why *why)
{
    int fd;
    struct stat st;
    enum err e = open_checked(path, &fd, &st, why);
    if (e == OK)
        close(fd);
    return e;
}

static enum err read_whole(int fd, const char *path, char *out, size_t len, struct why *why)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = read(fd, out + at, len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            why_set(why, "%s: %s", path, n < 0 ? strerrordesc_np(errno) : "ends too early");
            return n < 0 ? E_IO : E_CORRUPT;
        }
        at += (size_t)n;
    }
    return OK;
}

enum err secret_file_read(const char *path, void *out, size_t len, struct why *why)
{
    int fd;
    struct stat st;
    memset(out, 0, len);
    enum err e = open_checked(path, &fd, &st, why);
    if (e != OK)
        return e;
    if (st.st_size != (off_t)len) {
        why_set(why, "%s: %lld bytes, expected %zu", path, (long long)st.st_size, len);
        e = E_CORRUPT;
    } else {
        e = read_whole(fd, path, out, len, why);
    }
    close(fd);
    if (e != OK)
        explicit_bzero(out, len);
    return e;
}

enum err secret_file_write(const char *path, slice bytes, struct why *why)
{
    return durable_write(path, 0600, bytes, why);
}

enum err secret_file_obtain(const char *path, void *out, size_t len, struct why *why)
{
    enum err e = secret_file_read(path, out, len, why);
    if (e != E_NOTFOUND)
        return e;
    rand_bytes(out, len);
    e = secret_file_write(path, (slice){ out, len }, why);
    if (e != OK)
        explicit_bzero(out, len);
    return e;
}
