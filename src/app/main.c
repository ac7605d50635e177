/* musterd: reads the node file, starts the server, and waits for signals. */
#include "admin/api/api.h"
#include "admin/health.h"
#include "admin/lifecycle.h"
#include "app/features.h"
#include "app/node_check.h"
#include "app/node_file.h"
#include "app/node_finding.h"
#include "app/server.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/log.h"
#include "notify/log_journal.h"
#include "notify/notify.h"
#include "operate/data_folder.h"
#include "operate/docs.h"
#include "operate/offline.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { STOP_SECONDS_MAX = 15 };

struct options {
    const char *config, *dump_docs, *restore, *copy_to, *rename, *to;
    bool check, version, help, core_dumps;
};

static const char usage[] =
    "Usage: musterd [--config FILE] [--check | --restore FOLDER | --copy-to URL |\n"
    "               --rename OLD --to NEW]\n"
    "\n"
    "  --config FILE     node file (default /etc/muster/muster.yaml)\n"
    "  --check           check node file, certificates, data folder and ports; start nothing.\n"
    "                    Run as root, it takes the rights of the user that owns the data folder\n"
    "  --restore FOLDER  put a backup of `musterctl backup create` into the data folder of a\n"
    "                    server that does not run, which has no database; it is verified before\n"
    "  --copy-to URL     copy all data of muster.db in the data folder of a server that does not\n"
    "                    run to an empty database of PostgreSQL\n"
    "  --rename OLD --to NEW\n"
    "                    give the account OLD (user@domain) the address NEW, or the domain OLD\n"
    "                    the name NEW, with everything that is there, in the database of a server\n"
    "                    that does not run\n"
    "  --dump-docs PART  print generated documentation: config, commands, alarms, xeps,\n"
    "                    doap, promises, requests, features, openapi, man-musterd,\n"
    "                    man-musterctl, man-muster.yaml\n"
    "  --core-dumps      leave the process dumpable, for debuggers. A dump holds keys of TLS,\n"
    "                    tokens and passwords\n"
    "  --version         show the version\n"
    "  --help            show this\n"
    "\n"
    "SIGHUP reads node file and certificates again; SIGTERM ends in order, a second one at once.\n"
    "Exit status: 0 ended in order, 1 the start failed, 2 a mistake in options or node file.\n";

static bool main_parse_options(struct options *o, int argc, char **argv)
{
    *o = (struct options){ .config = "/etc/muster/muster.yaml" };
    for (int i = 1; i < argc; i++) {
        const char **value = strcmp(argv[i], "--config") == 0      ? &o->config
                             : strcmp(argv[i], "--dump-docs") == 0 ? &o->dump_docs
                             : strcmp(argv[i], "--restore") == 0   ? &o->restore
                             : strcmp(argv[i], "--copy-to") == 0   ? &o->copy_to
                             : strcmp(argv[i], "--rename") == 0    ? &o->rename
                             : strcmp(argv[i], "--to") == 0        ? &o->to
                                                                   : NULL;
        if (value != NULL && i + 1 < argc) {
            *value = argv[++i];
        } else if (strcmp(argv[i], "--check") == 0) {
            o->check = true;
        } else if (strcmp(argv[i], "--core-dumps") == 0) {
            o->core_dumps = true;
        } else if (strcmp(argv[i], "--version") == 0) {
            o->version = true;
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            o->help = true;
        } else {
            fprintf(stderr, "musterd: %s: %s\n\n", argv[i],
                    value != NULL ? "a value is missing" : "there is no such option");
            return false;
        }
    }
    return true;
}

/* NULL: the options go together. Otherwise what to write instead. */
static const char *main_options_wrong(const struct options *o)
{
    int tasks = o->check + (o->restore != NULL) + (o->copy_to != NULL) + (o->rename != NULL) +
                (o->dump_docs != NULL);
    if (tasks > 1)
        return "only one of --check, --restore, --copy-to, --rename and --dump-docs";
    if (o->core_dumps && tasks > 0)
        return "--core-dumps is for a server that starts";
    if (o->rename != NULL && o->to == NULL)
        return "--rename: the new address is missing: --rename OLD --to NEW";
    if (o->rename == NULL && o->to != NULL)
        return "--to: the old address is missing: --rename OLD --to NEW";
    return NULL;
}

static int dump_docs(const char *part)
{
    static const struct {
        const char *part;
        void (*write)(struct buf *out);
    } table[] = { { "config", docs_config },
                  { "commands", docs_commands },
                  { "alarms", docs_alarms },
                  { "xeps", docs_xeps },
                  { "doap", docs_doap },
                  { "promises", docs_promises },
                  { "requests", docs_requests },
                  { "features", docs_features },
                  { "openapi", api_openapi },
                  { "man-musterd", docs_man_musterd },
                  { "man-musterctl", docs_man_musterctl },
                  { "man-muster.yaml", docs_man_yaml } };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(part, table[i].part) != 0)
            continue;
        struct buf out;
        buf_init(&out, DOCS_BYTES_MAX);
        table[i].write(&out);
        ensure(!out.overflow); /* all of it is in the program */
        printf("%.*s", SLICE_ARG(buf_slice(&out)));
        buf_fini(&out);
        return EXIT_DONE;
    }
    return EXIT_USAGE;
}

static int main_check(const char *path)
{
    struct buf mistakes, notes;
    struct node_findings found;
    struct node_file *file = offline_read(path);
    if (file != NULL)
        file = offline_as_service(file);
    if (file == NULL)
        return EXIT_USAGE;
    buf_init(&mistakes, CHECK_BYTES_MAX);
    buf_init(&notes, CHECK_BYTES_MAX);
    node_findings_init(&found, arena_create(0));
    node_check(file, &found);
    node_findings_write(&found, NODE_MISTAKE, &mistakes);
    node_findings_write(&found, NODE_NOTE, &notes);
    arena_destroy(&found.arena);
    bool fine = mistakes.len == 0 && !mistakes.overflow;
    printf("%.*s%s", SLICE_ARG(buf_slice(&notes)),
           notes.overflow ? "There are more notes, which are not shown.\n" : "");
    if (fine)
        printf("%s: no mistakes\n", path);
    print_mistakes(&mistakes);
    buf_fini(&mistakes);
    buf_fini(&notes);
    node_file_free(&file);
    return fine ? EXIT_DONE : EXIT_USAGE;
}

/* Each connection is a descriptor: as many as the system allows us. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* Keeps keys and passwords in memory: no core dumps, no access by debuggers. Debug builds are left
 * out, because their tools need both. */
static void keep_memory_in(void)
{
#ifndef MUSTER_DEBUG
    struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0);
#endif
}

/* Only the main thread takes signals, one after the other. All other threads inherit the mask. */
static sigset_t block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, LIFECYCLE_SIGNAL);
#ifdef MUSTER_DEBUG
    sigaddset(&set, SIGUSR2);
#endif
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file beyond the limit is an error of the one write: EFBIG */
    return set;
}

/* Whether a signal has asked for the end; a command may have begun it without one. */
static volatile sig_atomic_t end_asked;

static void main_end_asked(int sig)
{
    static const char text[] = "musterd: ended without waiting for the rest\n";
    static volatile sig_atomic_t seconds;
    if (sig == SIGALRM && ++seconds < STOP_SECONDS_MAX) {
        alarm(1);
        return;
    }
    if (sig != SIGALRM && !end_asked) {
        end_asked = 1;
        return;
    }
    ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
    _exit(written < 0 ? EXIT_FAILED : EXIT_FAILED);
}

/* From here on, a second signal or a stop that takes too long ends the process at once. */
static void arm_giving_up(void)
{
    struct sigaction action = { .sa_handler = main_end_asked, .sa_flags = SA_RESTART };
    sigset_t set;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    alarm(1); /* second by second: those in which the whole process stands still do not count */
}

/* For `server restart`: runs the program that is installed now in the same process. It inherits no
 * descriptor, as all are closed on exec, but the signals that are blocked and those that wait: one
 * that asks for the end meanwhile is taken after the start. */
static int start_again(const char *program, char **argv)
{
    execv(program, argv);
    fprintf(stderr, "%smusterd: %s cannot be started again\n", log_mark(LOG_ERROR), program);
    return EXIT_FAILED;
}

static int main_rename(const struct options *o)
{
    struct arena *arena = arena_create(0);
    int code = offline("musterd", o->config, data_folder_rename,
                       arena_printf(arena, "%s %s", o->rename, o->to));
    arena_destroy(&arena);
    return code;
}

/* Takes signals until one, or a command, ends the server. */
static void serve_until_the_end(struct server *server, const sigset_t *set)
{
    while (!end_asked && lifecycle_end() == LIFECYCLE_GOES_ON) {
        int sig = sigwaitinfo(set, NULL);
        end_asked = sig == SIGTERM || sig == SIGINT;
        if (sig == SIGHUP) {
            notify_reloading();
            server_reload(server);
            notify_send("READY=1");
        }
        if (sig == SIGUSR2) /* debug builds only */
            server_cut(server);
    }
}

static void watchdog_beat(void) { notify_send("WATCHDOG=1"); }

/* *restarts: the program is to be started again. Signals are blocked at the end. */
static int main_serve(struct node_file *file, bool *restarts)
{
    struct server server;
    struct why why;
    sigset_t set = block_signals();
    raise_descriptors();
    if (notify_has_watchdog())
        health_on_beat(watchdog_beat);
    if (server_start(&server, file, &why) != OK) {
        fprintf(stderr, "%smusterd: %s\n", log_mark(LOG_ERROR), why.text);
        return EXIT_FAILED;
    }
    notify_send("READY=1\nSTATUS=serving");
    serve_until_the_end(&server, &set);
    *restarts = !end_asked && lifecycle_end() == LIFECYCLE_RESTARTS;
    if (*restarts) {
        notify_reloading(); /* tells systemd that this is not the end of the service */
        server_restarts(&server);
    } else {
        notify_send("STOPPING=1\nSTATUS=closing streams");
    }
    arm_giving_up();
    server_stop(&server);
    alarm(0);
    block_signals();
    *restarts = *restarts && !end_asked; /* a signal that came meanwhile prevails */
    return EXIT_DONE;
}

static void main_log_begin(void)
{
    if (!notify_stderr_is_journal())
        return;
    log_mark_priorities();
    log_write_by(log_journal_write);
}

int main(int argc, char **argv)
{
    struct options o;
    if (!main_parse_options(&o, argc, argv)) {
        fprintf(stderr, "%s", usage);
        return EXIT_USAGE;
    }
    if (o.help || o.version) {
        printf("%s", o.help ? usage : "musterd " MUSTER_VERSION "\n");
        return EXIT_DONE;
    }
    const char *wrong = main_options_wrong(&o);
    if (wrong != NULL) {
        fprintf(stderr, "musterd: %s\n\n%s", wrong, usage);
        return EXIT_USAGE;
    }
    features_register();
    features_set(features_all);
    main_log_begin();
    if (o.dump_docs != NULL) {
        features_check();
        return dump_docs(o.dump_docs);
    }
    if (o.check)
        return main_check(o.config);
    if (o.restore != NULL)
        return (int)offline("musterd", o.config, data_folder_restore, o.restore);
    if (o.copy_to != NULL)
        return (int)offline("musterd", o.config, data_folder_copy, o.copy_to);
    if (o.rename != NULL)
        return main_rename(&o);
    char program[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);
    program[len < 0 ? 0 : len] = '\0';
    struct node_file *file = offline_read(o.config);
    if (file == NULL)
        return EXIT_USAGE;
    const char *owner = node_check_owner(file);
    if (owner != NULL) {
        fprintf(stderr,
                "musterd: the data folder %s belongs to user %s, who could not use what root "
                "writes there. Run `systemctl start muster`, or musterd as user %s.\n",
                file->data, owner, owner);
        node_file_free(&file);
        return EXIT_FAILED;
    }
    node_file_set_own_path(file->path);
    if (!o.core_dumps)
        keep_memory_in();
    bool restarts = false;
    int code = main_serve(file, &restarts);
    return restarts ? start_again(program, argv) : code;
}
