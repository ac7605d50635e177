#include "base/whole_file.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* As long as it was when it was opened. Returns 0 or errno. */
static int whole_file_take(struct buf *out, int fd, size_t size)
{
    for (size_t left = size; left > 0;) {
        ssize_t got = read(fd, buf_reserve(out, left), left);
        if (got < 0 && errno != EINTR)
            return errno;
        if (got == 0)
            return 0;
        out->len += got > 0 ? (size_t)got : 0;
        left -= got > 0 ? (size_t)got : 0;
    }
    return 0;
}

enum err whole_file_read(struct buf *out, const char *path, struct why *why)
{
    enum err e = OK;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int error = fd < 0 || fstat(fd, &st) != 0 ? errno : 0;
    if (error == 0 && !S_ISREG(st.st_mode)) {
        why_set(why, "%s: not a regular file, and nothing else can be read", path);
        e = E_SYNTAX;
    } else if (error == 0 && (uint64_t)st.st_size > out->max - out->len) {
        why_set(why, "%s: found %lld bytes, allowed at most %zu", path, (long long)st.st_size,
                out->max);
        e = E_LIMIT;
    } else if (error == 0) {
        error = whole_file_take(out, fd, (size_t)st.st_size);
    }
    if (error != 0) {
        why_set(why, "%s: %s", path, strerrordesc_np(error));
        e = E_IO;
    }
    if (fd >= 0)
        close(fd);
    return e;
}
