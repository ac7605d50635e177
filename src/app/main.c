/* musterd: reads the node file, starts the server, and waits for signals. */
#include "admin/lifecycle.h"
#include "app/certs.h"
#include "app/config_check.h"
#include "app/docs.h"
#include "app/features.h"
#include "app/node_file.h"
#include "app/notify.h"
#include "app/server.h"
#include "base/buf.h"
#include "base/log.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

enum exit_code { EXIT_DONE, EXIT_FAILED, EXIT_USAGE };

enum { ERRORS_BYTES_MAX = 64 * 1024, STOP_SECONDS_MAX = 8 };

struct options {
    const char *config, *dump_docs;
    bool check, version, help;
};

static const char usage[] =
    "Usage: musterd [--config FILE] [--check]\n"
    "\n"
    "  --config FILE     node file (default /etc/muster/muster.yaml)\n"
    "  --check           check the node file and its certificates, start nothing\n"
    "  --dump-docs PART  print generated documentation: config, commands, xeps, doap\n"
    "  --version         show the version\n"
    "  --help            show this\n"
    "\n"
    "SIGHUP reads node file and certificates again; SIGTERM ends orderly, a second one at once.\n"
    "Exit status: 0 ended orderly, 1 the start failed, 2 a mistake in options or node file.\n";

static bool parse_options(struct options *o, int argc, char **argv)
{
    *o = (struct options){ .config = "/etc/muster/muster.yaml" };
    for (int i = 1; i < argc; i++) {
        const char **value = strcmp(argv[i], "--config") == 0      ? &o->config
                             : strcmp(argv[i], "--dump-docs") == 0 ? &o->dump_docs
                                                                   : NULL;
        if (value != NULL && i + 1 < argc) {
            *value = argv[++i];
        } else if (strcmp(argv[i], "--check") == 0) {
            o->check = true;
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

static int dump_docs(const char *part)
{
    static const struct {
        const char *part;
        void (*write)(struct buf *out);
    } table[] = { { "config", docs_config },
                  { "commands", docs_commands },
                  { "xeps", docs_xeps },
                  { "doap", docs_doap } };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (strcmp(part, table[i].part) != 0)
            continue;
        struct buf out;
        buf_init(&out, DOCS_BYTES_MAX);
        table[i].write(&out);
        printf("%.*s", SLICE_ARG(buf_slice(&out)));
        buf_fini(&out);
        return EXIT_DONE;
    }
    return EXIT_USAGE;
}

/* The node file, or NULL after its mistakes were printed. */
static struct node_file *read_file(const char *path)
{
    struct node_file *file = NULL;
    struct buf errors;
    buf_init(&errors, ERRORS_BYTES_MAX);
    if (node_file_load(&file, path, &errors) != OK)
        fprintf(stderr, "%.*s", SLICE_ARG(buf_slice(&errors)));
    buf_fini(&errors);
    return file;
}

static int check(const char *path)
{
    struct why why;
    struct node_file *file = read_file(path);
    if (file == NULL)
        return EXIT_USAGE;
    enum err e = certs_check(file, &why);
    if (e == OK)
        printf("%s: no mistakes\n", path);
    else
        fprintf(stderr, "%s: %s\n", path, why.text);
    node_file_free(&file);
    return e == OK ? EXIT_DONE : EXIT_USAGE;
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

/* Signals are taken by main's thread alone, one by one; all other threads inherit the mask. */
static sigset_t block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return set;
}

static void give_up(int sig)
{
    static const char text[] = "musterd: ended without waiting for the rest\n";
    (void)sig;
    ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
    _exit(written < 0 ? EXIT_FAILED : EXIT_FAILED);
}

/* From now on another signal, or too long a wait, ends the process at once. */
static void arm_giving_up(const sigset_t *set)
{
    struct sigaction action = { .sa_handler = give_up };
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
    pthread_sigmask(SIG_UNBLOCK, set, NULL);
    alarm(STOP_SECONDS_MAX);
}

/* `server restart`: the same process, the program that is installed now. It inherits the mask of
 * signals and nothing else of ours: every descriptor is closed by it. */
static int start_again(const char *program, char **argv)
{
    alarm(0);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    execv(program, argv);
    fprintf(stderr, "musterd: %s cannot be started again\n", program);
    return EXIT_FAILED;
}

static int serve(struct node_file *file)
{
    struct server server;
    struct why why;
    sigset_t set = block_signals();
    int sig = 0;
    raise_descriptors();
    if (server_start(&server, file, &why) != OK) {
        fprintf(stderr, "musterd: %s\n", why.text);
        return EXIT_FAILED;
    }
    notify_send("READY=1\nSTATUS=serving");
    while (sig != SIGTERM && sig != SIGINT) {
        sig = sigwaitinfo(&set, NULL);
        if (sig == SIGHUP) {
            notify_reloading();
            server_reload(&server);
            notify_send("READY=1");
        }
    }
    if (lifecycle_restarts()) /* to systemd: not the end of the service */
        notify_reloading();
    else
        notify_send("STOPPING=1\nSTATUS=closing streams");
    arm_giving_up(&set);
    server_stop(&server);
    return EXIT_DONE;
}

int main(int argc, char **argv)
{
    struct options o;
    if (!parse_options(&o, argc, argv)) {
        fprintf(stderr, "%s", usage);
        return EXIT_USAGE;
    }
    if (o.help || o.version) {
        printf("%s", o.help ? usage : "musterd " MUSTER_VERSION "\n");
        return EXIT_DONE;
    }
    features_register();
    if (o.dump_docs != NULL)
        return dump_docs(o.dump_docs);
    if (o.check)
        return check(o.config);
    char program[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", program, sizeof program - 1);
    program[len < 0 ? 0 : len] = '\0';
    struct node_file *file = read_file(o.config);
    if (file == NULL)
        return EXIT_USAGE;
    config_check_path(file->path);
    int code = serve(file);
    return code == EXIT_DONE && lifecycle_restarts() ? start_again(program, argv) : code;
}
