#include "operate/doctor_check.h"
#include "app/node_check.h"
#include "app/node_file.h"
#include "app/node_finding.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/setting.h"
#include "base/units.h"
#include "cert/cert_ocsp.h"
#include "cert/certs.h"
#include "gate/c2s_hashes.h"
#include "home/here.h"
#include "io/address.h"
#include "operate/control_group.h"
#include "store/store.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

enum { MIB = 1 << 20, PROC_BYTES = 4096, CONNECT_MS = 2000 };
enum { DESCRIPTORS_WANTED = 65536, BACKLOG_WANTED = 4096 };
/* Into the database. In the server others wait for the helper thread: logins, files, and its end.
 */
enum { LOOK_MS = 3000, LOOK_IN_SERVER_MS = 500 };

/* Judgements. */

static void __attribute__((format(printf, 3, 4)))
finding_say(struct doctor_finding *out, enum doctor_state state, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    out->state = state;
    vsnprintf(out->found, sizeof out->found, fmt, ap);
    va_end(ap);
}

static void __attribute__((format(printf, 2, 3)))
finding_mend(struct doctor_finding *out, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(out->remedy, sizeof out->remedy, fmt, ap);
    va_end(ap);
}

/* The lock can be hidden, too, so that it is not known whether a server runs. */
static void judge_closed_server(const struct doctor_facts *f, struct doctor_finding *out)
{
    const char *group = f->control_group;
    finding_say(out, DOCTOR_WARNING,
                "%s: user %s may not use this socket, so the server was not asked", f->control,
                f->looker);
    if (*group != '\0')
        finding_mend(out, "run the doctor as root, or: usermod -aG %s %s, and log in again", group,
                     f->looker);
    else
        finding_mend(out, "run the doctor as root");
}

static void judge_server(const struct doctor_facts *f, struct doctor_finding *out)
{
    if (f->hangs) {
        finding_say(out, DOCTOR_ERROR, "it takes connections, but does not answer");
        finding_mend(out, "systemctl restart muster; journalctl -u muster says what it did last");
        return;
    }
    if (f->closed) {
        judge_closed_server(f, out);
        return;
    }
    finding_say(out, f->runs ? DOCTOR_OK : DOCTOR_ERROR,
                f->runs ? "it runs" : "no server runs with this node file");
    finding_mend(out, "systemctl start muster; journalctl -u muster says why it ended");
}

static void judge_clock(const struct doctor_facts *f, struct doctor_finding *out)
{
    if (f->clock_off < 0)
        finding_say(out, DOCTOR_WARNING,
                    "the kernel does not say whether the clock is set by anybody");
    else if (f->clock_off != 0)
        finding_say(out, DOCTOR_WARNING,
                    "nobody keeps the clock right: archives and certificates need it");
    else
        finding_say(out, DOCTOR_OK, "it is synchronised");
    finding_mend(out, "timedatectl set-ntp true, or on the host of a container");
}

/* Who connects when all are used waits in vain. */
static void judge_descriptors(const struct doctor_facts *f, struct doctor_finding *out)
{
    if (f->descriptors < 0) {
        finding_say(out, DOCTOR_UNKNOWN, "only a running server knows its own limit");
        finding_mend(out, "%s",
                     f->closed ? "run the doctor as root" : "start the server and run it again");
        return;
    }
    if (f->descriptors <= f->planned)
        finding_say(out, DOCTOR_ERROR,
                    "the server may have %" PRId64 " descriptors, each connection is one, and "
                    "%" PRId64 " sessions are planned for (capacity.users)",
                    f->descriptors, f->planned);
    else
        finding_say(out, f->descriptors < DESCRIPTORS_WANTED ? DOCTOR_WARNING : DOCTOR_OK,
                    "the server may have %" PRId64 " descriptors, each connection is one",
                    f->descriptors);
    finding_mend(out, "systemctl edit muster: [Service] LimitNOFILE=1048576, then restart it%s",
                 f->descriptors <= f->planned
                     ? "; or plan for fewer: musterctl set capacity.users NUMBER"
                     : "");
}

static void judge_kernel(const struct doctor_facts *f, struct doctor_finding *out)
{
    if (f->somaxconn >= 0 && f->somaxconn < BACKLOG_WANTED) {
        finding_say(out, DOCTOR_WARNING,
                    "net.core.somaxconn is %" PRId64
                    ": when many clients come back at once, some wait "
                    "for seconds",
                    f->somaxconn);
        finding_mend(out, "sysctl -w net.core.somaxconn=%d", BACKLOG_WANTED);
    } else if (f->nr_open >= 0 && f->nr_open < DESCRIPTORS_WANTED) {
        finding_say(out, DOCTOR_WARNING,
                    "fs.nr_open is %" PRId64 ": no process may have more descriptors", f->nr_open);
        finding_mend(out, "sysctl -w fs.nr_open=1048576");
    } else {
        bool known = f->somaxconn >= 0 && f->nr_open >= 0;
        finding_say(out, known ? DOCTOR_OK : DOCTOR_UNKNOWN,
                    known ? "its limits are high enough" : "its limits cannot be read");
        finding_mend(out, "sysctl net.core.somaxconn fs.nr_open");
    }
}

static void judge_disk(const struct doctor_facts *f, struct doctor_finding *out)
{
    if (f->disk_free < 0) {
        finding_say(out, DOCTOR_ERROR, "%s: it cannot be looked at", f->data);
        finding_mend(out, "ls -ld %s", f->data);
        return;
    }
    bool few = f->inodes > 0 && f->inodes_free < f->inodes / 100;
    bool full = f->disk_free < 256LL * MIB;
    bool low = f->disk_free < 1024LL * MIB || f->disk_free < f->disk_bytes / 20;
    finding_say(out,
                full || few ? DOCTOR_ERROR
                : low       ? DOCTOR_WARNING
                            : DOCTOR_OK,
                few ? "%s: %" PRId64 " MiB of %" PRId64
                      " MiB are free, but hardly any file can be made"
                    : "%s: %" PRId64 " MiB of %" PRId64 " MiB are free",
                f->data, f->disk_free / MIB, f->disk_bytes / MIB);
    finding_mend(out, "make room on that disk: du -xh %s | sort -h | tail", f->data);
}

static void judge_memory(const struct doctor_facts *f, struct doctor_finding *out)
{
    if (f->memory_free < 0) {
        finding_say(out, DOCTOR_WARNING, "/proc/meminfo cannot be read");
        finding_mend(out, "mount -t proc proc /proc");
        return;
    }
    bool full = f->memory_free < 64LL * MIB;
    bool low = f->memory_free < f->memory_bytes / 10;
    finding_say(out,
                full  ? DOCTOR_ERROR
                : low ? DOCTOR_WARNING
                      : DOCTOR_OK,
                "%" PRId64 " MiB of %" PRId64 " MiB are available", f->memory_free / MIB,
                f->memory_bytes / MIB);
    finding_mend(out, "end what else needs memory here: ps aux --sort=-rss | head");
}

static void judge_permissions(const struct doctor_facts *f, struct doctor_finding *out)
{
    finding_say(out, DOCTOR_OK, "%s: only the user and the group of the server may look there",
                f->data);
    if (f->data_mode < 0) {
        finding_say(out, DOCTOR_ERROR, "%s: there is no such folder, or it may not be looked at",
                    f->data);
        finding_mend(out, "install -d -o %s -m 750 %s", f->user, f->data);
    } else if ((f->data_mode & S_IWOTH) != 0) {
        finding_say(out, DOCTOR_ERROR,
                    "%s: every user of this machine may replace the files there, such as the "
                    "database (mode %03o)",
                    f->data, (unsigned)f->data_mode & 0777);
        finding_mend(out, "chmod o= %s", f->data);
    } else if ((f->data_mode & 07) != 0) {
        finding_say(out, DOCTOR_WARNING,
                    "%s: every user of this machine may look there (mode %03o)", f->data,
                    (unsigned)f->data_mode & 0777);
        finding_mend(out, "chmod o= %s", f->data);
    } else if (f->database_mode >= 0 && (f->database_mode & 07) != 0) {
        finding_say(out, DOCTOR_WARNING, "%s/muster.db: every user may read it (mode %03o)",
                    f->data, (unsigned)f->database_mode & 0777);
        finding_mend(out, "chmod o= %s/muster.db", f->data);
    }
}

/* It is there, or the folder hides it: nobody should make a new one. */
static void judge_closed_database(const struct doctor_facts *f, struct doctor_finding *out)
{
    ensure(f->database_errno != 0);
    if (f->database_mode < 0)
        finding_say(out, DOCTOR_ERROR, "%s/muster.db: user %s cannot look at it: %s", f->data,
                    f->user, strerror((int)f->database_errno));
    else
        finding_say(out, DOCTOR_ERROR,
                    "%s/muster.db: it belongs to user %s (mode %03o), and user %s cannot read and "
                    "write it: %s",
                    f->data, f->database_owner, (unsigned)f->database_mode & 0777, f->user,
                    strerror((int)f->database_errno));
    if (f->database_errno != EACCES)
        finding_mend(out, "ls -l %s; dmesg | tail", f->data);
    else if (f->stranger)
        finding_mend(out, "run the doctor as root, or as user %s", f->user);
    else if (f->database_mode < 0)
        finding_mend(out, "chown -R %s: %s && chmod u+rwX %s", f->user, f->data, f->data);
    else if (strcmp(f->database_owner, f->user) == 0)
        finding_mend(out, "chmod u+rw %s/muster.db", f->data);
    else
        finding_mend(out, "chown %s: %s/muster.db && chmod u+rw %s/muster.db", f->user, f->data,
                     f->data);
}

static int facts_look_ms(const struct doctor_facts *f)
{
    return f->in_server ? LOOK_IN_SERVER_MS : LOOK_MS;
}

/* Judges what a look into the file says. */
static void judge_content(const struct doctor_facts *f, struct doctor_finding *out)
{
    switch (f->database_look) {
    case OK:
        finding_say(out, DOCTOR_OK, "%s/muster.db: all of it was read, and is whole", f->data);
        break;
    case E_CANCELED:
        finding_say(out, DOCTOR_OK, "%s/muster.db: no damage in what was read in %d ms", f->data,
                    facts_look_ms(f));
        break;
    case E_CORRUPT:
    case E_UNSUPPORTED:
        finding_say(out, DOCTOR_ERROR, "%s", f->database_said);
        finding_mend(out,
                     "systemctl stop muster; mkdir -m 700 %s/damaged && mv %s/muster.db* "
                     "%s/damaged/ && musterd --config %s --restore FOLDER && systemctl start "
                     "muster",
                     f->data, f->data, f->data, f->config);
        break;
    default:
        finding_say(out, DOCTOR_WARNING, "it could not be looked at: %s", f->database_said);
        finding_mend(out, "ls -l %s; dmesg | tail", f->data);
    }
}

/* The server knows by itself: an alarm says if it is away. */
static void judge_postgresql(const struct doctor_facts *f, struct doctor_finding *out)
{
    if (f->in_server || f->database_look == OK) {
        finding_say(out, DOCTOR_OK, "PostgreSQL: %s%s", f->database_said,
                    f->in_server ? "the server is connected, unless there is an alarm store.down"
                                 : " takes the server in");
        return;
    }
    finding_say(out, f->stranger ? DOCTOR_WARNING : DOCTOR_ERROR, "PostgreSQL: %s",
                f->database_said);
    if (f->stranger)
        finding_mend(out, "run the doctor as root, or as user %s", f->user);
    else
        finding_mend(out,
                     "start that server (on this machine: systemctl start postgresql), or correct "
                     "`database` in %s",
                     f->config);
}

static void judge_database(const struct doctor_facts *f, struct doctor_finding *out)
{
    if (!f->sqlite) {
        judge_postgresql(f, out);
    } else if (f->database_errno != 0) {
        judge_closed_database(f, out);
    } else if (f->database_mode < 0) {
        finding_say(out, f->runs ? DOCTOR_ERROR : DOCTOR_WARNING,
                    "%s/muster.db: it is not there: the first start makes it", f->data);
        finding_mend(out,
                     "musterd --config %s --restore FOLDER puts a backup there; systemctl start "
                     "muster makes an empty one",
                     f->config);
    } else {
        judge_content(f, out);
    }
}

const struct doctor_check doctor_checks[] = {
    { "server", judge_server },
    { "permissions", judge_permissions },
    { "database", judge_database },
    { "disk", judge_disk },
    { "memory", judge_memory },
    { "clock", judge_clock },
    { "descriptors", judge_descriptors },
    { "kernel", judge_kernel },
    { 0 },
};

/* Facts. */

static void facts_read(const char *path, char out[PROC_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? 0 : read(fd, out, PROC_BYTES - 1);
    if (fd >= 0)
        close(fd);
    out[len > 0 ? len : 0] = '\0';
}

static int64_t read_number(const char *path)
{
    char text[PROC_BYTES];
    facts_read(path, text);
    return text[0] >= '0' && text[0] <= '9' ? strtoll(text, NULL, 10) : -1;
}

/* -1: it is not known. */
static int64_t facts_planned(void)
{
    const struct setting *users = setting_find(SLICE("capacity.users"));
    const struct setting *percent = setting_find(SLICE("capacity.sessions-percent"));
    return users == NULL || percent == NULL ? -1 : setting_int(users) * setting_int(percent) / 100;
}

/* "MemTotal:  1234 kB" */
static int64_t memory_line(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    return at == NULL ? -1 : strtoll(at + strlen(key), NULL, 10) * 1024;
}

/* Whether a server holds the lock of the data folder (operate/data_folder.h). If it can be seen, it
 * says more than the socket, which a server that was killed leaves behind. Those who only look
 * share it. */
static void facts_of_lock(struct doctor_facts *f)
{
    char path[PROC_BYTES];
    snprintf(path, sizeof path, "%s/muster.lock", f->data);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool free = fd >= 0 ? flock(fd, LOCK_SH | LOCK_NB) == 0 : errno == ENOENT;
    f->runs = fd >= 0 && !free && errno == EWOULDBLOCK;
    f->closed = f->closed && !free;
    if (fd >= 0)
        close(fd);
}

struct facts_until {
    uint64_t us;
    const struct doctor_look *look;
};

static bool look_stops(const struct doctor_look *look)
{
    return look->stop != NULL && atomic_load(look->stop);
}

static bool facts_go_on(void *arg, int percent)
{
    const struct facts_until *until = arg;
    (void)percent;
    return clock_mono_us() < until->us && !look_stops(until->look);
}

/* Not by a descriptor of our own: to close it in the server would end the locks of SQLite. */
static void facts_of_database(struct doctor_facts *f, const struct doctor_look *look)
{
    struct stat st;
    char path[PROC_BYTES];
    snprintf(path, sizeof path, "%s/muster.db", f->data);
    if (stat(path, &st) != 0) {
        f->database_errno = errno == ENOENT || errno == ENOTDIR ? 0 : errno;
        return;
    }
    f->database_mode = st.st_mode & 07777;
    node_check_name(f->database_owner, st.st_uid);
    if (faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) != 0) {
        f->database_errno = errno;
        return;
    }
    struct why why = { "" };
    struct facts_until until = { clock_mono_us() + (uint64_t)facts_look_ms(f) * 1000, look };
    f->database_look = store_look(path, f->runs ? STORE_IN_USE : STORE_UNUSED,
                                  &(struct store_watch){ facts_go_on, &until }, &why);
    snprintf(f->database_said, sizeof f->database_said, "%s", why.text);
}

static void facts_of_postgresql(struct doctor_facts *f, const char *url)
{
    struct why why = { "" };
    char name[200] = "";
    f->database_look = store_reach(url, name, sizeof name, &why);
    snprintf(f->database_said, sizeof f->database_said, "%s%s%s", name,
             *name != '\0' && *why.text != '\0' ? ": " : "", why.text);
}

/* Facts of a socket that refuses who looks. */
static void facts_of_control(struct doctor_facts *f, const char *control)
{
    f->control = control;
    node_check_name(f->looker, geteuid());
    control_group(f->control_group, control);
}

static void facts_of_files(struct doctor_facts *f, const struct doctor_look *look)
{
    struct stat st;
    struct statvfs disk;
    if (stat(f->data, &st) == 0 && S_ISDIR(st.st_mode))
        f->data_mode = st.st_mode & 07777;
    if (statvfs(f->data, &disk) == 0) {
        f->disk_free = (int64_t)(disk.f_bavail * disk.f_frsize);
        f->disk_bytes = (int64_t)(disk.f_blocks * disk.f_frsize);
        f->inodes_free = (int64_t)disk.f_favail;
        f->inodes = (int64_t)disk.f_files;
    }
    if (f->sqlite)
        facts_of_database(f, look);
}

void doctor_read_facts(struct doctor_facts *out, const struct node_file *file,
                       const struct doctor_look *look)
{
    uid_t user = look->place == DOCTOR_BESIDE ? node_check_user(file) : geteuid();
    struct timex clock = { .modes = 0 };
    struct rlimit limit;
    char text[PROC_BYTES];
    *out = (struct doctor_facts){ .descriptors = -1,
                                  .disk_free = -1,
                                  .data_mode = -1,
                                  .database_mode = -1,
                                  .data = file->data,
                                  .config = file->path,
                                  .in_server = look->place == DOCTOR_IN_SERVER,
                                  .hangs = look->server == DOCTOR_SERVER_HANGS,
                                  .closed = look->server == DOCTOR_SERVER_CLOSED,
                                  .stranger = user != geteuid() && geteuid() != 0,
                                  .sqlite = strcmp(file->database, "sqlite") == 0 };
    int state = adjtimex(&clock);
    out->clock_off = state < 0 ? -1 : state == TIME_ERROR || (clock.status & STA_UNSYNC) != 0;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        out->descriptors = limit.rlim_cur > INT64_MAX ? INT64_MAX : (int64_t)limit.rlim_cur;
    out->planned = facts_planned();
    out->nr_open = read_number("/proc/sys/fs/nr_open");
    out->somaxconn = read_number("/proc/sys/net/core/somaxconn");
    facts_read("/proc/meminfo", text);
    out->memory_free = memory_line(text, "MemAvailable:");
    out->memory_bytes = memory_line(text, "MemTotal:");
    out->runs = out->in_server;
    if (!out->in_server)
        facts_of_lock(out);
    out->user_id = user;
    node_check_name(out->user, user);
    ensure(*out->user != '\0');
    facts_of_files(out, look);
    if (!out->sqlite && !out->in_server)
        facts_of_postgresql(out, file->database);
    if (out->closed)
        facts_of_control(out, look->control);
}

/* Rows. */

void doctor_add(struct command_call *call, const char *check, enum doctor_state state,
                const char *found, const char *remedy)
{
    static const char *const states[] = { "ok", "unknown", "warning", "error" };
    ensure(state <= DOCTOR_ERROR);
    command_row(call);
    command_text(call, "check", slice_of(check));
    command_text(call, "state", slice_of(states[state]));
    command_text(call, "found", slice_of(found));
    command_text(call, "remedy", state == DOCTOR_OK ? SLICE("") : slice_of(remedy));
}

/* A server takes commands, such as those of certificates. */
static bool doctor_answers(const struct doctor_facts *f)
{
    return (f->runs || f->closed) && !f->hangs;
}

/* The remedy for what the check of the node file finds. */
static const char *mend_finding(struct command_call *call, const struct doctor_facts *f,
                                const struct node_finding *found)
{
    struct arena *arena = call->arena;
    switch (found->kind) {
    case NODE_DATA_MISSING:
        return arena_printf(arena, "install -d -o %s -m 750 %s", f->user, f->data);
    case NODE_DATA_CLOSED:
        return arena_printf(arena, "chown -R %s: %s && chmod -R u+rwX %s", f->user, f->data,
                            f->data);
    case NODE_KEY_OPEN:
        return arena_printf(arena, "chmod 600 %s", found->path);
    case NODE_KEY_DAMAGED:
        return arena_printf(arena, "put the file of a backup in place of %s", found->path);
    case NODE_CONTROL_CLOSED:
        return arena_printf(arena,
                            "chown %s: %s if it is of the server alone, or another `control` in "
                            "the node file",
                            f->user, found->path);
    case NODE_ADDRESS_USED:
        return "ss -ltnp names the program that has the port";
    case NODE_ADDRESS_OTHER:
        return "ip -brief address lists the addresses of this machine: give one of them, or [::] "
               "for all, in the node file";
    case NODE_ADDRESS_LOW:
        return arena_printf(arena,
                            "start it by muster.service, which gives user %s this capability, or: "
                            "setcap cap_net_bind_service=+ep \"$(command -v musterd)\"",
                            f->user);
    case NODE_ADDRESS_BAD:
        return arena_printf(arena, "correct the address in %s", f->config);
    case NODE_CERT_CLOSED:
        return arena_printf(arena, "let user %s read that file: ls -l %s shows whose it is",
                            f->user, found->path);
    default:
        return doctor_answers(f)
                   ? "musterctl cert check says what clients will refuse, and why"
                   : arena_printf(arena,
                                  "put another certificate and its key in place of that file, or "
                                  "name other ones in %s; musterd --config %s --check looks again",
                                  f->config, f->config);
    }
}

static void add_finding(struct command_call *call, const struct doctor_facts *f,
                        const struct node_finding *found)
{
    static const char *const checks[NODE_KINDS] = {
        [NODE_DATA_MISSING] = "permissions",   [NODE_DATA_CLOSED] = "permissions",
        [NODE_KEY_OPEN] = "permissions",       [NODE_KEY_DAMAGED] = "permissions",
        [NODE_CONTROL_CLOSED] = "permissions", [NODE_ADDRESS_USED] = "ports",
        [NODE_ADDRESS_OTHER] = "ports",        [NODE_ADDRESS_LOW] = "ports",
        [NODE_ADDRESS_BAD] = "ports",          [NODE_CERT_CLOSED] = "certificates",
        [NODE_CERT_BAD] = "certificates",
    };
    static const bool of_rights[NODE_KINDS] = {
        /* another user may have others */
        [NODE_DATA_CLOSED] = true, [NODE_KEY_OPEN] = true,    [NODE_CONTROL_CLOSED] = true,
        [NODE_CERT_CLOSED] = true, [NODE_ADDRESS_LOW] = true,
    };
    bool hidden = f->stranger && of_rights[found->kind];
    ensure(checks[found->kind] != NULL);
    doctor_add(call, checks[found->kind],
               found->weight == NODE_MISTAKE ? DOCTOR_ERROR : DOCTOR_WARNING, found->text,
               hidden ? arena_printf(call->arena, "run the doctor as root, or as user %s", f->user)
                      : mend_finding(call, f, found));
}

/* A certificate that the server made itself is refused by other servers, and clients ask. */
static void add_self_signed(struct command_call *call, const struct doctor_facts *f,
                            const struct cert_uses *uses)
{
    for (size_t i = 0; i < uses->count; i++)
        if (uses->item[i].source == CERT_MADE_HERE)
            doctor_add(
                call, "certificates", DOCTOR_WARNING,
                arena_printf(call->arena, "%s: the certificate is self-signed",
                             uses->item[i].domains),
                doctor_answers(f)
                    ? "musterctl cert csr DOMAIN, then musterctl cert import DOMAIN --file FILE; "
                      "or tls.certificate and tls.key in the node file"
                    : arena_printf(call->arena,
                                   "tls.certificate and tls.key in %s; or, when the server runs: "
                                   "musterctl cert csr DOMAIN",
                                   f->config));
}

/* The private keys of certificates. A key of another user, such as root, may be there for the group
 * of the server to read. */
static void add_open_keys(struct command_call *call, const struct doctor_facts *f,
                          const struct cert_uses *uses)
{
    struct stat st;
    for (size_t i = 0; i < uses->count; i++) {
        const char *key = uses->item[i].key;
        if (uses->item[i].source == CERT_MADE_HERE || stat(key, &st) != 0)
            continue;
        unsigned group = (unsigned)st.st_mode & (st.st_uid == f->user_id ? S_IRWXG : S_IWGRP);
        if (group == 0 && (st.st_mode & S_IRWXO) == 0)
            continue;
        doctor_add(call, "permissions", DOCTOR_ERROR,
                   arena_printf(call->arena, "%s: %s may use this private key (mode %03o)", key,
                                (st.st_mode & S_IRWXO) != 0 ? "every user of this machine"
                                                            : "the group of this file",
                                (unsigned)st.st_mode & 0777),
                   arena_printf(call->arena, "chmod %s %s",
                                st.st_uid == f->user_id ? "go=" : "g-w,o=", key));
    }
}

/* Of the other keys, the check of the node file says it (base/secret_file.h). */
static void add_open_to_all(struct command_call *call, const struct node_file *file)
{
    const char *const paths[] = { file->control,
                                  arena_printf(call->arena, "%s/self-signed-key.pem", file->data) };
    struct stat st;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (stat(paths[i], &st) != 0 || (st.st_mode & 07) == 0)
            continue;
        doctor_add(call, "permissions", DOCTOR_ERROR,
                   arena_printf(call->arena,
                                "%s: every user of this machine may use it (mode %03o)", paths[i],
                                (unsigned)st.st_mode & 0777),
                   arena_printf(call->arena, "chmod o= %s", paths[i]));
    }
}

static void add_revoked(struct command_call *call, const char *domains)
{
    doctor_add(call, "certificates", DOCTOR_ERROR,
               arena_printf(call->arena, "%s: the certificate " CERT_OCSP_REVOKED, domains),
               "musterctl cert csr DOMAIN, then musterctl cert import DOMAIN --file FILE");
}

/* revoked: of struct doctor_look. */
static void add_node_file(struct command_call *call, const struct doctor_facts *f,
                          const struct node_file *file, const char *revoked)
{
    struct node_findings findings;
    struct cert_uses uses;
    bool certificates = true;
    node_findings_init(&findings, call->arena);
    node_check(file, &findings);
    for (const struct node_finding *found = findings.first; found != NULL; found = found->next) {
        add_finding(call, f, found);
        if (found->kind == NODE_CERT_CLOSED || found->kind == NODE_CERT_BAD)
            certificates = false;
    }
    if (revoked != NULL)
        add_revoked(call, revoked);
    else if (certificates)
        doctor_add(call, "certificates", DOCTOR_OK, "they can be used for the domains", "");
    certs_read(&uses, file, call->arena);
    add_self_signed(call, f, &uses);
    add_open_keys(call, f, &uses);
}

/* From inside: connects to a listener of ours, at this machine where it is at any address. 0, or an
 * errno. */
static int listener_answers(const char *text, char shown[ADDRESS_TEXT_BYTES])
{
    union address to;
    if (!address_parse(slice_of(text), &to))
        return EINVAL;
    if (to.any.sa_family == AF_INET && to.v4.sin_addr.s_addr == htonl(INADDR_ANY))
        to.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (to.any.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&to.v6.sin6_addr))
        to.v6.sin6_addr = in6addr_loopback;
    address_print(&to, shown);
    int fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), why = 0;
    if (fd < 0)
        return errno;
    if (connect(fd, &to.any, address_bytes(&to)) != 0)
        why = errno;
    if (why == EINPROGRESS) {
        struct pollfd p = { .fd = fd, .events = POLLOUT };
        socklen_t len = sizeof why;
        if (poll(&p, 1, CONNECT_MS) <= 0)
            why = ETIMEDOUT;
        else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len) != 0)
            why = errno;
    }
    close(fd);
    return why;
}

static void add_listeners(struct command_call *call, const struct node_file *file)
{
    struct node_listens kinds[NODE_LISTENS];
    node_check_listens(file, kinds);
    for (size_t k = 0; k < NODE_LISTENS; k++) {
        for (size_t i = 0; i < kinds[k].list->count; i++) {
            char shown[ADDRESS_TEXT_BYTES] = "";
            int why = listener_answers(kinds[k].list->item[i].address, shown);
            doctor_add(call, "ports", why == 0 ? DOCTOR_OK : DOCTOR_ERROR,
                       arena_printf(call->arena, "listen.%s: %s: %s", kinds[k].key, shown,
                                    why == 0 ? "it answers" : strerror(why)),
                       "systemctl restart muster; if it was changed: musterctl server restart");
        }
    }
}

static void add_logins(struct command_call *call)
{
    const char *missing = c2s_hashes_missing(worker_node(call->worker), call->arena);
    if (missing != NULL)
        doctor_add(call, "logins", DOCTOR_WARNING, missing,
                   "an account gets the keys when its user logs in with PLAIN or changes the "
                   "password; `musterctl user password` sets a new one (docs/import.md)");
    else
        doctor_add(call, "logins", DOCTOR_OK,
                   "all accounts with a password have keys of all SCRAM hashes", "");
}

static void add_alarms(struct command_call *call)
{
    char detail[ALARM_DETAIL_BYTES];
    for (struct alarm *a = alarm_first(); a != NULL; a = a->next) {
        if (atomic_load(&a->active) == 0)
            continue;
        alarm_detail(a, detail, sizeof detail);
        doctor_add(call, "alarms",
                   atomic_load(&a->severity_now) >= ALARM_ERROR ? DOCTOR_ERROR : DOCTOR_WARNING,
                   arena_printf(call->arena, "%s: %s%s%s", a->name, a->text,
                                *detail != '\0' ? " " : "", detail),
                   a->action);
    }
}

void doctor_check_all(struct command_call *call, const struct node_file *file,
                      const struct doctor_look *look)
{
    struct doctor_facts facts;
    doctor_read_facts(&facts, file, look);
    if (!facts.in_server)
        facts.descriptors = -1; /* the limit of another process */
    for (const struct doctor_check *c = doctor_checks; c->name != NULL; c++) {
        struct doctor_finding finding = { DOCTOR_OK, "", "" };
        c->judge(&facts, &finding);
        ensure(*finding.found != '\0' && (finding.state == DOCTOR_OK || *finding.remedy != '\0'));
        doctor_add(call, c->name, finding.state, finding.found, finding.remedy);
    }
    add_open_to_all(call, file);
    add_node_file(call, &facts, file, look->revoked);
    if (doctor_answers(&facts))
        add_listeners(call, file);
    if (facts.in_server) {
        add_logins(call);
        add_alarms(call);
    }
}
