#include "app/node_check.h"
#include "app/cert_trust.h"
#include "app/certs.h"
#include "app/node_file.h"
#include "base/arena.h"
#include "base/buf.h"
#include "io/listen.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

void node_check_name(char out[NODE_USER_BYTES], uid_t uid)
{
    const struct passwd *user = getpwuid(uid);
    if (user != NULL && strlen(user->pw_name) < NODE_USER_BYTES)
        snprintf(out, NODE_USER_BYTES, "%s", user->pw_name);
    else
        snprintf(out, NODE_USER_BYTES, "%u", (unsigned)uid);
}

uid_t node_check_user(const struct node_file *f)
{
    struct stat st;
    char path[PATH_MAX];
    if (stat(f->data, &st) != 0) {
        const struct passwd *user = getpwnam("muster");
        return user != NULL ? user->pw_uid : geteuid();
    }
    snprintf(path, sizeof path, "%s/muster.lock", f->data);
    uid_t owner = st.st_uid;
    return owner == 0 && stat(path, &st) == 0 ? st.st_uid : owner;
}

static const char *user_name(void)
{
    const struct passwd *user = getpwuid(geteuid());
    return user != NULL ? user->pw_name : "of this process";
}

/* The folder above a path without a "/" at its end; "/" above "/a". */
static const char *node_check_parent_of(struct arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == path ? "/" : slice_cstr(arena, (slice){ path, (size_t)(slash - path) });
}

static void check_data(const struct node_file *f, struct arena *arena, struct buf *mistakes,
                       struct buf *notes)
{
    struct stat st;
    const char *parent = node_check_parent_of(arena, f->data);
    if (stat(f->data, &st) == 0) {
        if (!S_ISDIR(st.st_mode))
            buf_printf(mistakes, "data: %s: is no folder\n", f->data);
        else if (access(f->data, R_OK | W_OK | X_OK) != 0)
            buf_printf(mistakes, "data: %s: user %s may not read and write there\n", f->data,
                       user_name());
    } else if (errno == EACCES) {
        buf_printf(mistakes, "data: %s: user %s may not look there\n", f->data, user_name());
    } else if (stat(parent, &st) != 0 || !S_ISDIR(st.st_mode)) {
        buf_printf(mistakes, "data: %s: the folder above it, %s, does not exist; make it\n",
                   f->data, parent);
    } else if (access(parent, W_OK | X_OK) != 0) {
        buf_printf(notes,
                   "data: %s: does not exist, and user %s may not make it; systemd does so "
                   "for the folder that is StateDirectory= in the unit\n",
                   f->data, user_name());
    }
}

/* No mistake if it is not there: systemd makes the folder that is RuntimeDirectory= in the unit. */
static void check_control(const struct node_file *f, struct arena *arena, struct buf *mistakes)
{
    const char *folder = node_check_parent_of(arena, f->control);
    if (access(folder, F_OK) == 0 && access(folder, W_OK | X_OK) != 0)
        buf_printf(mistakes, "control: %s: user %s may not make a socket in %s\n", f->control,
                   user_name(), folder);
}

/* Whether a server holds the lock of the data folder. */
static bool is_running(const struct node_file *f, struct arena *arena)
{
    int fd = open(arena_printf(arena, "%s/muster.lock", f->data), O_RDONLY | O_CLOEXEC);
    bool locked = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    locked = locked || (fd < 0 && errno == EACCES); /* unknown; assume that a server runs */
    if (fd >= 0)
        close(fd);
    return locked;
}

void node_check_listens(const struct node_file *f, struct node_listens out[NODE_LISTENS])
{
    const struct node_listens all[NODE_LISTENS] = {
        { "c2s", &f->c2s },
        { "c2s_tls", &f->c2s_tls },
        { "http", &f->http },
        { "https", &f->https },
        { "bosh", &f->bosh },
        { "metrics", &f->metrics },
        { "s2s", &f->s2s },
        { "s2s_tls", &f->s2s_tls },
        { "component", &f->component },
        { "proxy65", &f->proxy65 },
        { "http_admin", &f->http_admin },
        { "https_admin", &f->https_admin },
    };
    memcpy(out, all, sizeof all);
}

/* Binds each address and keeps it bound until all are tried, so that an address that is twice in
 * the file is found. */
static void check_ports(const struct node_file *f, struct arena *arena, struct buf *mistakes)
{
    struct node_listens kinds[NODE_LISTENS];
    size_t count = 0, held = 0;
    struct why why;
    node_check_listens(f, kinds);
    for (size_t k = 0; k < NODE_LISTENS; k++)
        count += kinds[k].list->count;
    struct listener **open = arena_new(arena, struct listener *, count + 1);
    for (size_t k = 0; k < NODE_LISTENS; k++) {
        for (size_t i = 0; i < kinds[k].list->count; i++) {
            slice address = slice_of(kinds[k].list->item[i].address);
            if (listener_open(&open[held], address, &why) == OK)
                held++;
            else
                buf_printf(mistakes, "listen.%s: %s\n", kinds[k].key, why.text);
        }
    }
    while (held > 0)
        listener_close(&open[--held]);
}

void node_check(const struct node_file *f, struct buf *mistakes, struct buf *notes)
{
    struct arena *arena = arena_create(0);
    struct why why;
    check_data(f, arena, mistakes, notes);
    check_control(f, arena, mistakes);
    certs_check(f, mistakes, notes);
    if (cert_trust_check(f->data, f->trust, &why) != OK)
        buf_printf(mistakes, "%s\n", why.text);
    if (!is_running(f, arena))
        check_ports(f, arena, mistakes);
    arena_destroy(&arena);
}

/* After setuid(), given PR_SET_KEEPCAPS: gives up all capabilities but that for ports below 1024,
 * which the systemd unit gives the service, too. */
static void keep_low_ports(void)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { { 0 } };
    data[0].permitted = data[0].effective = 1U << CAP_NET_BIND_SERVICE;
    (void)syscall(SYS_capset, &head, data);
}

const char *node_check_owner(const struct node_file *f)
{
    struct stat st;
    if (geteuid() != 0 || stat(f->data, &st) != 0 || st.st_uid == 0)
        return NULL;
    const struct passwd *user = getpwuid(st.st_uid);
    return user != NULL ? user->pw_name : NULL;
}

const char *node_check_as_service(const struct node_file *f)
{
    struct stat st;
    if (geteuid() != 0)
        return NULL;
    const struct passwd *user = stat(f->data, &st) == 0 ? getpwuid(st.st_uid) : getpwnam("muster");
    if (user == NULL || user->pw_uid == 0 || initgroups(user->pw_name, user->pw_gid) != 0 ||
        setgid(user->pw_gid) != 0 || prctl(PR_SET_KEEPCAPS, 1) != 0 || setuid(user->pw_uid) != 0 ||
        setenv("HOME", user->pw_dir, 1) != 0)
        return NULL;
    keep_low_ports();
    return user->pw_name;
}
