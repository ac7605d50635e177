#include "app/node_check.h"
#include "app/node_file.h"
#include "app/node_finding.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/secret_file.h"
#include "cert/cert_trust.h"
#include "cert/certs.h"
#include "io/address.h"
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
    ensure(*out != '\0');
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

static void check_data(const struct node_file *f, struct node_findings *out)
{
    struct stat st;
    const char *parent = node_check_parent_of(out->arena, f->data);
    if (stat(f->data, &st) == 0) {
        if (!S_ISDIR(st.st_mode))
            node_find(out, NODE_DATA_MISSING, NODE_MISTAKE, f->data, "data: %s: is no folder",
                      f->data);
        else if (access(f->data, R_OK | W_OK | X_OK) != 0)
            node_find(out, NODE_DATA_CLOSED, NODE_MISTAKE, f->data,
                      "data: %s: user %s may not read and write there", f->data, user_name());
    } else if (errno == EACCES) {
        node_find(out, NODE_DATA_CLOSED, NODE_MISTAKE, f->data,
                  "data: %s: user %s may not look there", f->data, user_name());
    } else if (stat(parent, &st) != 0 || !S_ISDIR(st.st_mode)) {
        node_find(out, NODE_DATA_MISSING, NODE_MISTAKE, f->data,
                  "data: %s: the folder above it, %s, does not exist; make it", f->data, parent);
    } else if (access(parent, W_OK | X_OK) != 0) {
        node_find(out, NODE_DATA_MISSING, NODE_NOTE, f->data,
                  "data: %s: does not exist, and user %s may not make it; systemd does so "
                  "for the folder that is StateDirectory= in the unit",
                  f->data, user_name());
    }
}

static void check_key(const char *path, struct node_findings *out)
{
    struct stat st;
    struct why why;
    enum err e = secret_file_check(path, &why);
    if (e == OK || e == E_NOTFOUND)
        return;
    bool own = stat(path, &st) == 0 && st.st_uid == geteuid();
    node_find(out,
              e == E_CORRUPT                       ? NODE_KEY_DAMAGED
              : own && (st.st_mode & S_IRUSR) != 0 ? NODE_KEY_OPEN
                                                   : NODE_DATA_CLOSED,
              NODE_MISTAKE, path, "data: %s", why.text);
}

/* What the server uses in its data folder, if it is there. */
static void check_files(const struct node_file *f, struct node_findings *out)
{
    static const char *const used[] = { "muster.lock",   "muster.db", "muster.db-wal",
                                        "muster.db-shm", "uploads",   NULL };
    static const char *const keys[] = { "secrets.key", "uploads/upload.key", NULL };
    char owner[NODE_USER_BYTES];
    struct stat st;
    for (size_t i = 0; used[i] != NULL; i++) {
        const char *path = arena_printf(out->arena, "%s/%s", f->data, used[i]);
        if (access(path, R_OK | W_OK) == 0 || errno != EACCES || stat(path, &st) != 0)
            continue;
        node_check_name(owner, st.st_uid);
        node_find(out, NODE_DATA_CLOSED, NODE_MISTAKE, path,
                  "data: %s: belongs to user %s, and user %s may not read and write it", path,
                  owner, user_name());
    }
    for (size_t i = 0; keys[i] != NULL; i++)
        check_key(arena_printf(out->arena, "%s/%s", f->data, keys[i]), out);
}

/* No mistake if it is not there: systemd makes the folder that is RuntimeDirectory= in the unit. */
static void check_control(const struct node_file *f, struct node_findings *out)
{
    const char *folder = node_check_parent_of(out->arena, f->control);
    if (access(folder, F_OK) == 0 && access(folder, W_OK | X_OK) != 0)
        node_find(out, NODE_CONTROL_CLOSED, NODE_MISTAKE, folder,
                  "control: %s: user %s may not make a socket in %s", f->control, user_name(),
                  folder);
}

/* Whether a server holds the lock of the data folder, which those who only look share. */
static bool is_running(const struct node_file *f, struct arena *arena)
{
    int fd = open(arena_printf(arena, "%s/muster.lock", f->data), O_RDONLY | O_CLOEXEC);
    bool locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
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

/* The right to open ports below 1024, which the process kept of root's, though nothing here says
 * that the server will have it. */
static bool low_ports_lent;

static bool is_low_port(slice address)
{
    union address a;
    char text[16] = "";
    int fd = open("/proc/sys/net/ipv4/ip_unprivileged_port_start", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    int port = address_parse(address, &a) ? address_port(&a) : 0;
    return port > 0 && port < (got > 0 ? strtol(text, NULL, 10) : 1024);
}

static void note_port(const char *key, slice address, struct node_findings *out)
{
    if (low_ports_lent && is_low_port(address))
        node_find(out, NODE_ADDRESS_LOW, NODE_NOTE, "",
                  "listen.%s: %.*s: user %s needs CAP_NET_BIND_SERVICE for it, which "
                  "muster.service gives, but no systemd runs here",
                  key, SLICE_ARG(address), user_name());
}

static enum node_kind address_kind(enum err e, slice address)
{
    return e == E_EXISTS                           ? NODE_ADDRESS_USED
           : e == E_NOTFOUND                       ? NODE_ADDRESS_OTHER
           : e == E_DENIED && is_low_port(address) ? NODE_ADDRESS_LOW
                                                   : NODE_ADDRESS_BAD;
}

/* Binds each address and keeps it bound until all are tried, so that an address that is twice in
 * the file is found. */
static void check_ports(const struct node_file *f, struct node_findings *out)
{
    struct node_listens kinds[NODE_LISTENS];
    size_t count = 0, held = 0;
    struct why why;
    node_check_listens(f, kinds);
    for (size_t k = 0; k < NODE_LISTENS; k++)
        count += kinds[k].list->count;
    struct listener **open = arena_new(out->arena, struct listener *, count + 1);
    for (size_t k = 0; k < NODE_LISTENS; k++) {
        for (size_t i = 0; i < kinds[k].list->count; i++) {
            slice address = slice_of(kinds[k].list->item[i].address);
            note_port(kinds[k].key, address, out);
            enum err e = listener_open(&open[held], address, &why);
            if (e == OK)
                held++;
            else
                node_find(out, address_kind(e, address), NODE_MISTAKE, "", "listen.%s: %s",
                          kinds[k].key, why.text);
        }
    }
    while (held > 0)
        listener_close(&open[--held]);
}

void node_check(const struct node_file *f, struct node_findings *out)
{
    struct why why;
    check_data(f, out);
    if (access(f->data, R_OK | W_OK | X_OK) == 0)
        check_files(f, out);
    check_control(f, out);
    certs_check(f, out);
    if (cert_trust_check(f->data, f->trust, &why) != OK) {
        bool closed = access(f->data, R_OK | X_OK) != 0 && errno == EACCES;
        node_find(out, closed ? NODE_CERT_CLOSED : NODE_CERT_BAD, NODE_MISTAKE,
                  closed ? f->data : "", "%s", why.text);
    }
    if (!is_running(f, out->arena))
        check_ports(f, out);
}

/* After setuid(), given PR_SET_KEEPCAPS: gives up all capabilities but that for ports below 1024,
 * which the systemd unit gives the service, too. */
static void keep_low_ports(void)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { { 0 } };
    data[0].permitted = data[0].effective = 1U << CAP_NET_BIND_SERVICE;
    (void)syscall(SYS_capset, &head, data);
    low_ports_lent = access("/run/systemd/system", F_OK) != 0; /* sd_booted(3) */
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
    if (geteuid() != 0)
        return NULL;
    const struct passwd *user = getpwuid(node_check_user(f));
    if (user == NULL || user->pw_uid == 0 || initgroups(user->pw_name, user->pw_gid) != 0 ||
        setgid(user->pw_gid) != 0 || prctl(PR_SET_KEEPCAPS, 1) != 0 || setuid(user->pw_uid) != 0 ||
        setenv("HOME", user->pw_dir, 1) != 0)
        return NULL;
    keep_low_ports();
    return user->pw_name;
}
