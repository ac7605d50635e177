/* musterctl: commands a running server over its control socket (src/admin/control_json.h), or over
 * its API (ctl/remote.h). Help, completion and the check of arguments come from the command rows it
 * shares with the server. */
#include "app/features.h"
#include "app/node_check.h"
#include "app/node_file.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "ctl/convert.h"
#include "ctl/help.h"
#include "ctl/help_zsh.h"
#include "ctl/remote.h"
#include "ctl/render.h"
#include "ctl/schema.h"
#include "ctl/words.h"
#include "operate/control_group.h"
#include "operate/data_folder.h"
#include "operate/doctor.h"
#include "operate/offline.h"
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* More than the number of the signal, as shells say it. */
enum { EXIT_INTERRUPTED = 128 };
enum { REPLY_BYTES_MAX = 32 * 1024 * 1024, READ_BYTES = 64 * 1024, PROGRESS_MS = 500 };
enum { PROGRESS_BAR = 20, PROGRESS_TEXT_MAX = 4096 };
/* How long `doctor` waits for a server that other commands give more time: CTL_SILENT_S. */
enum { DOCTOR_SECONDS_MAX = 5 };

struct options {
    const char *socket;
    const char *config;   /* NULL: not given */
    const char *data;     /* the data folder; NULL: it is not known */
    struct remote remote; /* url NULL: over the socket */
    const char *names;    /* only names that begin so are printed; NULL: all of the answer is */
    bool *final;          /* set where the same request will be refused again; NULL: nobody asks */
    json_t **next; /* lines of a file: where the next page begins is put there; NULL: no lines */
    bool losses;   /* the answer is what a command would destroy: shown beside its question */
    bool json, csv, yes, help, version;
    char **words; /* what is left: the command and its arguments */
    size_t word_count;
};

static int usage_error(const char *text)
{
    fprintf(stderr, "musterctl: %s\n", text);
    return EXIT_USAGE;
}

/* The value of "--name=VALUE" of that name; NULL: it is another word. */
static const char *inlined_value(const char *word, const char *name)
{
    size_t len = strlen(name);
    return strncmp(word, name, len) == 0 && word[len] == '=' ? word + len + 1 : NULL;
}

/* How many words the option of that name takes, from this one on, with its value; 0: it is another
 * word. */
static size_t words_of_option(const char *word, const char *name)
{
    return strcmp(word, name) == 0 ? 2 : inlined_value(word, name) != NULL ? 1 : 0;
}

/* Where the value of one of musterctl's own options goes; NULL: it is none, or has no value.
 * *inlined: the value, if the word has it; else NULL. */
static const char **option_value(struct options *o, const char *word, const char **inlined)
{
    const struct {
        const char *name;
        const char **value;
    } all[] = { { "--socket", &o->socket },
                { "--config", &o->config },
                { "--url", &o->remote.url },
                { "--token-file", &o->remote.token_file },
                { "--ca", &o->remote.ca } };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        *inlined = inlined_value(word, all[i].name);
        if (words_of_option(word, all[i].name) > 0)
            return all[i].value;
    }
    return NULL;
}

/* Where nothing is said on the command line. An empty variable says nothing. */
static void musterctl_environment(struct options *o)
{
    const char *url = getenv("MUSTER_URL"), *token = getenv("MUSTER_TOKEN");
    const char *ca = getenv("MUSTER_CA");
    bool local = o->socket != NULL || o->config != NULL;
    if (!local && o->remote.url == NULL && url != NULL && *url != '\0')
        o->remote.url = url;
    if (token != NULL && *token != '\0')
        o->remote.token = token;
    if (o->remote.ca == NULL && ca != NULL && *ca != '\0')
        o->remote.ca = ca;
}

/* Takes out musterctl's own options, wherever they stand before "--". */
static bool musterctl_parse_options(struct options *o, int argc, char **argv)
{
    *o = (struct options){ .words = argv };
    int i = 1;
    for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *inlined, **value = option_value(o, argv[i], &inlined);
        if (value != NULL && inlined == NULL && i + 1 == argc)
            return false;
        if (value != NULL)
            *value = inlined != NULL ? inlined : argv[++i];
        else if (strcmp(argv[i], "--json") == 0)
            o->json = true;
        else if (strcmp(argv[i], "--csv") == 0)
            o->csv = true;
        else if (strcmp(argv[i], "--yes") == 0)
            o->yes = true;
        else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            o->help = true;
        else if (strcmp(argv[i], "--version") == 0)
            o->version = true;
        else
            o->words[o->word_count++] = argv[i];
    }
    for (; i < argc; i++)
        o->words[o->word_count++] = argv[i];
    musterctl_environment(o);
    return true;
}

static int show_help(const struct options *o, struct arena *arena)
{
    struct words w;
    struct why why;
    size_t skip = o->word_count > 0 && strcmp(o->words[0], "help") == 0;
    size_t count = o->word_count - skip;
    char **words = o->words + skip;
    words_join_group(&words, &count, arena);
    /* Missing arguments are no mistake here: only the command counts. */
    enum err e = words_parse(&w, words, count, arena, &why);
    if (count > 0 && w.command != NULL)
        help_command(stdout, w.command);
    else if (count > 0 && help_own(stdout, words[0]))
        return EXIT_DONE;
    else if (count == 1 && help_group(stdout, words[0]))
        return EXIT_DONE;
    else if (count > 0 && e != OK)
        return usage_error(why.text);
    else
        help_all(o->word_count > 0 || o->help ? stdout : stderr);
    return o->word_count > 0 || o->help ? EXIT_DONE : EXIT_USAGE;
}

static int show_completion(const struct options *o)
{
    static const struct {
        const char *shell;
        void (*print)(FILE *out);
    } shells[] = { { "bash", help_completion },
                   { "zsh", help_completion_zsh },
                   { "fish", help_completion_fish } };
    for (size_t i = 0; o->word_count == 2 && i < sizeof shells / sizeof shells[0]; i++) {
        if (strcmp(o->words[1], shells[i].shell) == 0) {
            shells[i].print(stdout);
            return EXIT_DONE;
        }
    }
    return usage_error("completion: allowed bash, zsh or fish");
}

/* seconds: that connecting, and each reading and writing, may take. */
static int connect_within(const char *path, int seconds)
{
    const struct timeval limit = { .tv_sec = seconds };
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    size_t len = strlen(path);
    if (len >= sizeof addr.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(addr.sun_path, path, len);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0 ||
                    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
                    connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0)) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

/* The arguments, and the request with them. */
static json_t *request_args(const struct words *w)
{
    json_t *args = json_object();
    for (size_t i = 0; i < w->count; i++) {
        json_t *value = json_stringn(w->values[i].ptr, w->values[i].len);
        json_object_set_new(args, w->names[i].ptr, value);
    }
    return args;
}

static void write_json(struct buf *out, const json_t *value)
{
    size_t len = json_dumpb(value, NULL, 0, JSON_COMPACT);
    char *room = buf_reserve(out, len);
    if (room != NULL)
        out->len += json_dumpb(value, room, len, JSON_COMPACT);
}

/* One line with its line feed. */
static void write_request(struct buf *out, const struct words *w)
{
    json_t *request = json_object();
    json_object_set_new(request, "command", json_string(w->command->name));
    json_object_set_new(request, "args", request_args(w));
    write_json(out, request);
    buf_lit(out, "\n");
    json_decref(request);
}

static bool musterctl_send_all(int fd, slice data)
{
    while (data.len > 0) {
        ssize_t sent = send(fd, data.ptr, data.len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            return false;
        data = slice_from(data, sent > 0 ? (size_t)sent : 0);
    }
    return true;
}

static bool read_reply(int fd, struct buf *in)
{
    while (in->len == 0 || in->ptr[in->len - 1] != '\n') {
        char *room = buf_reserve(in, READ_BYTES);
        ssize_t got = room != NULL ? read(fd, room, READ_BYTES) : -1;
        if (got == 0 || (got < 0 && (room == NULL || errno != EINTR)))
            return false;
        in->len += got > 0 ? (size_t)got : 0;
    }
    return true;
}

static void show_failure(const struct options *o, const struct command *c, const json_t *reply,
                         const char *text)
{
    if (c->report && o->csv)
        render_csv(stdout, c, reply);
    else if (c->report)
        render_found(stdout, c, reply);
    fflush(stdout);
    fprintf(stderr, "musterctl: %s\n", text != NULL ? text : "the command failed");
}

/* The first column of a list. */
static void show_names(const char *prefix, const struct command *c, const json_t *reply)
{
    size_t i;
    const json_t *row, *last = NULL;
    json_array_foreach(json_object_get(reply, "rows"), i, row)
    {
        const json_t *value = json_object_get(row, c->columns[0].name);
        if (json_equal(value, last)) /* as of two streams with a domain */
            continue;
        last = value;
        char number[24];
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        const char *name = json_is_integer(value) ? number : json_string_value(value);
        if (name != NULL && strncmp(name, prefix, strlen(prefix)) == 0)
            puts(name);
    }
}

/* The rows are a file, so remarks about them are not among them. */
static void show_lines(const struct options *o, const struct command *c, const json_t *reply,
                       const char *text)
{
    json_decref(*o->next);
    *o->next = json_incref(json_object_get(reply, "next"));
    render_lines(stdout, c, reply);
    if (*o->next == NULL)
        fprintf(stderr, "musterctl: %s\n", text != NULL ? text : "");
}

/* Says that to ask again is of no use. */
static void final_say(const struct options *o, bool final)
{
    if (o->final != NULL)
        *o->final = final;
}

/* Of a failure nothing: it has no rows. */
static void print_losses(const struct command *c, const json_t *reply)
{
    if (json_array_size(json_object_get(reply, "rows")) > 0)
        fprintf(stderr, "What goes with it:\n");
    render_found(stderr, c, reply);
}

static int show_reply(const struct options *o, const struct command *c, slice line)
{
    json_t *reply = json_loadb(line.ptr, line.len, 0, NULL);
    if (reply == NULL) {
        fprintf(stderr, "musterctl: the server's reply is not JSON\n");
        return EXIT_UNREACHABLE;
    }
    bool fine = json_is_true(json_object_get(reply, "ok"));
    const char *text = json_string_value(json_object_get(reply, "text"));
    const char *error = json_string_value(json_object_get(reply, "error"));
    bool is_wrongly_written = error != NULL && strcmp(error, err_name(E_SYNTAX)) == 0;
    final_say(o, error != NULL && (strcmp(error, err_name(E_DENIED)) == 0 ||
                                   strcmp(error, err_name(E_AUTH)) == 0));
    if (o->losses)
        print_losses(c, reply);
    else if (fine && o->names != NULL)
        show_names(o->names, c, reply);
    else if (fine && o->next != NULL)
        show_lines(o, c, reply, text);
    else if (o->json)
        printf("%.*s", SLICE_ARG(line));
    else if (fine && o->csv) {
        render_csv(stdout, c, reply);
        if (text != NULL && *text != '\0') /* such as that there are more rows */
            fprintf(stderr, "musterctl: %s\n", text);
    } else if (fine)
        render_reply(stdout, c, reply);
    else
        show_failure(o, c, reply, text);
    json_decref(reply);
    return fine ? EXIT_DONE : is_wrongly_written ? EXIT_USAGE : EXIT_FAILED;
}

/* Whether a server says its state, or takes connections but does not say it. */
enum server_state { SERVER_ANSWERS, SERVER_HANGS, SERVER_GONE };
static enum server_state server_state(const char *path, int seconds)
{
    struct buf out, in;
    struct words ask = { .command = command_find(SLICE("status")) };
    int fd = connect_within(path, seconds);
    if (fd < 0)
        return errno == EAGAIN ? SERVER_HANGS : SERVER_GONE; /* too many wait already */
    buf_init(&out, REPLY_BYTES_MAX);
    buf_init(&in, REPLY_BYTES_MAX);
    write_request(&out, &ask);
    errno = 0;
    bool answered = musterctl_send_all(fd, buf_fit(&out)) && read_reply(fd, &in);
    enum server_state state = answered          ? SERVER_ANSWERS
                              : errno == EAGAIN ? SERVER_HANGS
                                                : SERVER_GONE;
    buf_fini(&in);
    buf_fini(&out);
    close(fd);
    return state;
}

static bool server_hangs(const char *path, int seconds)
{
    return server_state(path, seconds) == SERVER_HANGS;
}

/* The oldest of the jobs that run, of this command, which began after `asked`: others run the same
 * command. NULL: there is none. */
static const json_t *progress_job(const json_t *reply, const struct command *c, const char *asked)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(reply, "rows"), i, row)
    {
        const char *name = json_string_value(json_object_get(row, "command"));
        const char *created = json_string_value(json_object_get(row, "created"));
        if (name != NULL && strcmp(name, c->name) == 0 && created != NULL &&
            strcmp(created, asked) >= 0)
            return row;
    }
    return NULL;
}

/* In one line of the terminal, which is drawn anew: "[######              ] 30 %: users 60". */
static void progress_line(const json_t *job)
{
    const char *text = json_string_value(json_object_get(job, "text"));
    const json_t *percent = json_object_get(job, "percent");
    json_int_t done = json_integer_value(percent);
    size_t width = render_terminal(stderr) - 1; /* the cursor is behind it */
    struct buf line;
    buf_init(&line, PROGRESS_TEXT_MAX);
    if (percent != NULL) {
        buf_add(&line, SLICE("["));
        for (json_int_t at = 1; at <= PROGRESS_BAR; at++)
            buf_add(&line, at * 100 <= done * PROGRESS_BAR ? SLICE("#") : SLICE(" "));
        buf_printf(&line, "] %d %%%s", (int)done, text != NULL && *text != '\0' ? ": " : "");
    }
    buf_add(&line, slice_of(text != NULL ? text : ""));
    slice drawn = buf_fit(&line);
    if (drawn.len > width)
        drawn.len = width;
    fprintf(stderr, "\r\033[K%.*s", SLICE_ARG(drawn)); /* ECMA-48: erases the line */
    buf_fini(&line);
}

/* How far a long command is, by another connection. */
static void progress_draw(const struct command *c, const char *path, const char *asked)
{
    struct buf out, in;
    struct words ask = { .command = command_find(SLICE("job list")),
                         .names = { SLICE_INIT("running") },
                         .values = { SLICE_INIT("true") },
                         .count = 1 };
    int fd = connect_within(path, CTL_SILENT_S);
    if (fd < 0)
        return;
    buf_init(&out, REPLY_BYTES_MAX);
    buf_init(&in, REPLY_BYTES_MAX);
    write_request(&out, &ask);
    json_t *reply = NULL;
    if (musterctl_send_all(fd, buf_fit(&out)) && read_reply(fd, &in))
        reply = json_loadb(in.ptr, in.len, 0, NULL);
    const json_t *job = progress_job(reply, c, asked);
    if (job != NULL)
        progress_line(job);
    json_decref(reply);
    buf_fini(&in);
    buf_fini(&out);
    close(fd);
}

/* Until there is something to read; `asked`: the time of before the request. false: the server has
 * fallen silent. */
static bool musterctl_await(const struct words *w, const char *path, int fd, const char *asked)
{
    struct pollfd reply = { .fd = fd, .events = POLLIN };
    bool progress = w->command->job && isatty(STDERR_FILENO);
    uint64_t heard_us = clock_mono_us();
    bool drawn = false, hangs = false;
    while (!hangs && poll(&reply, 1, PROGRESS_MS) == 0) {
        if (progress)
            progress_draw(w->command, path, asked);
        drawn = progress;
        if (clock_mono_us() - heard_us < CTL_SILENT_S * 1000000ULL)
            continue;
        hangs = server_hangs(path, CTL_SILENT_S);
        heard_us = clock_mono_us();
    }
    if (drawn)
        fprintf(stderr, "\r\033[K");
    return !hangs;
}

static int exchange_failed(const struct command *c, const char *path, bool hangs)
{
    if (hangs)
        fprintf(stderr,
                "musterctl: the server does not answer; it may still carry out the command when "
                "it goes on. `musterctl doctor` says what it is about\n");
    else
        fprintf(stderr, "musterctl: the server %s%s\n",
                server_state(path, CTL_SILENT_S) == SERVER_GONE
                    ? "has stopped before it answered"
                    : "closed the connection without a reply",
                c->effect == COMMAND_CHANGES ? CTL_OPEN : "");
    return EXIT_UNREACHABLE;
}

static int exchange(const struct options *o, const struct words *w, const char *path, int fd)
{
    struct buf out, in;
    int code;
    char asked[CLOCK_STAMP_LEN];
    buf_init(&out, REPLY_BYTES_MAX);
    buf_init(&in, REPLY_BYTES_MAX);
    write_request(&out, w);
    clock_stamp(asked, clock_wall_us());
    errno = 0;
    bool sent = !out.overflow && musterctl_send_all(fd, buf_fit(&out));
    bool closed = !sent && errno == EPIPE; /* it has said why, perhaps, and asks for nothing */
    bool hangs = sent ? !musterctl_await(w, path, fd, asked) : errno == EAGAIN;
    errno = 0;
    if (out.overflow) {
        fprintf(stderr, "musterctl: the arguments have more than %d bytes\n", REPLY_BYTES_MAX);
        code = EXIT_USAGE;
    } else if ((sent || closed) && !hangs && read_reply(fd, &in)) {
        code = show_reply(o, w->command, buf_slice(&in)); /* fits: read_reply() says so */
    } else {
        code = exchange_failed(w->command, path, hangs || errno == EAGAIN);
    }
    buf_fini(&in);
    buf_fini(&out);
    return code;
}

/* The socket, or the folder that hides it, belongs to a group whose members may use it. */
static int musterctl_unreachable(const char *path, int why)
{
    char group[CONTROL_GROUP_BYTES], user[NODE_USER_BYTES];
    fprintf(stderr, "musterctl: %s: cannot connect: %s\n", path, strerror(why));
    if (why == EACCES) {
        control_group(group, path);
        node_check_name(user, getuid());
        fprintf(stderr, "Run it as root");
        if (*group != '\0')
            fprintf(stderr,
                    ", or become a member of group %s and log in again: `usermod -aG %s %s`", group,
                    group, user);
        fprintf(stderr, ".\n");
    } else {
        fprintf(stderr, "Is the server running? Start it with `systemctl start muster` or "
                        "`musterd --config FILE`.\n");
    }
    return EXIT_UNREACHABLE;
}

/* Runs here what runs without a server. */
static int musterctl_run_offline(const struct options *o, const struct words *w, const char *path,
                                 enum doctor_server server)
{
    struct why why;
    struct buf line;
    if (strcmp(w->command->name, "doctor") != 0)
        return (int)offline("musterctl", o->config, data_folder_restore, w->values[0].ptr);
    buf_init(&line, REPLY_BYTES_MAX);
    int code = EXIT_FAILED;
    if (doctor_offline(o->config, path, server, &line, &why) == OK)
        code = show_reply(o, w->command, buf_fit(&line));
    else
        fprintf(stderr, "musterctl: %s\n", why.text);
    buf_fini(&line);
    return code;
}

/* It is about another machine, so it needs neither a server nor a node file. */
static bool musterctl_is_outside(const struct words *w)
{
    return w->command != NULL && strcmp(w->command->name, "doctor outside") == 0;
}

static int musterctl_run_outside(const struct options *o, const struct words *w)
{
    struct why why;
    struct buf line;
    slice domain = SLICE(""), dns = SLICE("");
    for (size_t i = 0; i < w->count; i++)
        *(slice_is(w->names[i], "dns") ? &dns : &domain) = w->values[i];
    buf_init(&line, REPLY_BYTES_MAX);
    int code = EXIT_USAGE;
    if (doctor_outside(domain, dns, &line, &why) == OK)
        code = show_reply(o, w->command, buf_fit(&line));
    else
        fprintf(stderr, "musterctl: %s\n", why.text);
    buf_fini(&line);
    return code;
}

static int musterctl_run_local(const struct options *o, const struct words *w, const char *path)
{
    if (strcmp(w->command->name, "doctor") == 0 && server_hangs(path, DOCTOR_SECONDS_MAX))
        return musterctl_run_offline(o, w, path, DOCTOR_SERVER_HANGS);
    int fd = connect_within(path, CTL_SILENT_S);
    if (fd < 0 && w->command->offline && (errno == ENOENT || errno == ECONNREFUSED))
        return musterctl_run_offline(o, w, path, DOCTOR_SERVER_UNKNOWN);
    if (fd < 0 && strcmp(w->command->name, "doctor") == 0 && errno == EACCES)
        return musterctl_run_offline(o, w, path, DOCTOR_SERVER_CLOSED);
    if (fd < 0 && errno == EAGAIN) /* too many wait already */
        return exchange_failed(w->command, path, true);
    if (fd < 0) {
        final_say(o, errno == EACCES || errno == ENAMETOOLONG);
        return musterctl_unreachable(path, errno);
    }
    int code = exchange(o, w, path, fd);
    close(fd);
    return code;
}

static int musterctl_run_remote(const struct options *o, const struct words *w)
{
    struct why why;
    struct buf args, line;
    json_t *object = request_args(w);
    buf_init(&args, REPLY_BYTES_MAX);
    buf_init(&line, REPLY_BYTES_MAX);
    write_json(&args, object);
    json_decref(object);
    enum err e = remote_run(&o->remote, w->command, buf_fit(&args), &line, &why);
    int code = EXIT_USAGE;
    if (e == OK)
        code = show_reply(o, w->command, buf_fit(&line));
    else if (usage_error(why.text) == EXIT_USAGE && e != E_SYNTAX)
        code = EXIT_UNREACHABLE;
    if (e != OK)
        final_say(o, e == E_AUTH);
    buf_fini(&line);
    buf_fini(&args);
    return code;
}

/* The command and the socket it goes over. EXIT_DONE: it can begin. */
static int musterctl_prepare(struct options *o, struct arena *arena, struct words *w,
                             const char **path)
{
    struct why why;
    bool remote = o->remote.url != NULL;
    *path = o->socket;
    if (remote && (o->socket != NULL || o->config != NULL))
        return usage_error("--url is for another machine: give it without --socket and --config");
    if (o->config == NULL)
        o->config = "/etc/muster/muster.yaml";
    enum err e = words_parse(w, o->words, o->word_count, arena, &why);
    if (e == OK && !remote && *path == NULL && !musterctl_is_outside(w) &&
        node_file_control(o->config, arena, path, &o->data, &why) != OK) {
        fprintf(stderr, "musterctl: %s\nGive --socket PATH, --config FILE or --url URL.\n",
                why.text);
        return EXIT_UNREACHABLE;
    }
    if (e == OK)
        e = words_secrets(w, arena, &why);
    return e == OK ? EXIT_DONE : usage_error(why.text);
}

/* A job goes on without who waits for it. Only what a handler of signals may call. */
static void job_goes_on(int number)
{
    static const char text[] =
        "\nmusterctl: the server goes on with it: `musterctl job list --running` shows how far it "
        "is, `musterctl job cancel ID` ends it\n";
    ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
    (void)written;
    _exit(EXIT_INTERRUPTED + number);
}

static int musterctl_send(const struct options *o, const struct words *w, const char *path)
{
    if (musterctl_is_outside(w))
        return musterctl_run_outside(o, w);
    if (w->command->job)
        signal(SIGINT, job_goes_on);
    return o->remote.url != NULL ? musterctl_run_remote(o, w) : musterctl_run_local(o, w, path);
}

/* All pages of a command whose rows are lines of a file. */
static int musterctl_file(struct options *o, struct words *w, const char *path)
{
    json_t *next = NULL;
    size_t after = 0;
    while (after < w->count && !slice_is(w->names[after], "after"))
        after++;
    ensure(after < COMMAND_ARGS_MAX);
    o->next = &next;
    int code = musterctl_send(o, w, path);
    while (code == EXIT_DONE && next != NULL) {
        json_t *place = json_incref(next);
        w->names[after] = SLICE("after");
        w->values[after] = slice_of(json_string_value(place));
        w->count = after == w->count ? after + 1 : w->count;
        code = musterctl_send(o, w, path);
        json_decref(place);
    }
    json_decref(next);
    return code;
}

/* What is destroyed together with the thing is shown before the question. An operator who may not
 * see that, or who names nothing that is there, is only asked. */
static int musterctl_show_losses(const struct options *o, const struct words *w, const char *path)
{
    if (w->command->loses == NULL || !words_ask(w) || !isatty(STDIN_FILENO))
        return EXIT_DONE;
    struct options quiet = *o;
    struct words shows = { .command = command_find(slice_of(w->command->loses)) };
    quiet.losses = true;
    for (size_t i = 0; i < w->count; i++)
        if (slice_is(w->names[i], w->command->home)) {
            shows.names[0] = w->names[i];
            shows.values[0] = w->values[i];
            shows.count = 1;
        }
    int code = musterctl_send(&quiet, &shows, path);
    return code == EXIT_UNREACHABLE ? code : EXIT_DONE;
}

static void convert_progress(int percent)
{
    if (!isatty(STDERR_FILENO))
        return;
    json_t *job = json_pack("{s:i, s:s}", "percent", percent, "text", "converting");
    progress_line(job);
    json_decref(job);
    if (percent >= 100)
        fprintf(stderr, "\r\033[K");
}

static int convert_failed(const struct options *o, const struct words *w, const struct why *why)
{
    struct buf line;
    json_t *reply = json_pack("{s:b, s:s, s:s, s:[]}", "ok", 0, "error", err_name(E_IO), "text",
                              why->text, "rows");
    buf_init(&line, REPLY_BYTES_MAX);
    write_json(&line, reply);
    buf_lit(&line, "\n");
    int code = show_reply(o, w->command, buf_fit(&line));
    json_decref(reply);
    buf_fini(&line);
    return code;
}

/* What it is made of is put where the server can read it, in its data folder or beside its socket.
 */
static int musterctl_convert(const struct options *o, struct words *w, const char *path,
                             struct arena *arena)
{
    struct why why;
    const char *made = NULL, *where = o->data, *slash = strrchr(path, '/');
    if (where == NULL)
        where = slash == NULL ? "." : slice_cstr(arena, (slice){ path, (size_t)(slash - path) });
    char absolute[PATH_MAX];
    if (realpath(where, absolute) != NULL)
        where = absolute;
    enum err e = convert_source(w, where, arena, convert_progress, &made, &why);
    int code = e == OK ? musterctl_send(o, w, path) : convert_failed(o, w, &why);
    convert_remove(made);
    return code;
}

static int musterctl_run_command(struct options *o, struct arena *arena)
{
    struct words w;
    const char *path;
    int code = musterctl_prepare(o, arena, &w, &path);
    if (code == EXIT_DONE && !o->yes)
        code = musterctl_show_losses(o, &w, path);
    if (code != EXIT_DONE)
        return code;
    struct why why;
    enum err e = o->yes ? OK : words_confirm(&w, &why);
    if (e != OK)
        return usage_error(why.text) == EXIT_USAGE && e == E_SYNTAX ? EXIT_USAGE : EXIT_FAILED;
    if (w.command->converts != NULL && o->remote.url == NULL)
        return musterctl_convert(o, &w, path, arena);
    bool lines = w.command->file != NULL && !o->json && !o->csv;
    for (size_t i = 0; i < w.count; i++)
        lines = lines && !slice_is(w.names[i], "limit"); /* only a part is wanted */
    return lines ? musterctl_file(o, &w, path) : musterctl_send(o, &w, path);
}

static int musterctl_names_of(struct options *o, char *group, char *prefix, struct arena *arena)
{
    static char list[] = "list", limit[] = "--limit", most[] = "200", after[] = "--after";
    char *words[] = { group, list, limit, most, after, prefix, NULL };
    struct words w;
    const char *path;
    const char *name = arena_printf(arena, "%s list", group);
    bool in_pages = command_has_arg(command_find(slice_of(name)), "after");
    o->words = words;
    o->word_count = !in_pages ? 2 : *prefix != '\0' ? 6 : 4;
    int code = musterctl_prepare(o, arena, &w, &path);
    return code == EXIT_DONE ? musterctl_send(o, &w, path) : code;
}

/* `names user PREFIX`, for the completion of shells: names that the server has, one a line. Long
 * lists are read behind the prefix. */
static int musterctl_names(struct options *o, struct arena *arena)
{
    char **given = o->words;
    const struct help_names *kind = help_names;
    while (kind->name != NULL && (o->word_count != 3 || strcmp(given[1], kind->name) != 0))
        kind++;
    if (kind->name == NULL)
        return usage_error("names: allowed `names KIND PREFIX`, as in `names user al`");
    o->names = given[2];
    int code = EXIT_DONE;
    for (size_t i = 0; i < HELP_LISTS_MAX && kind->lists[i] != NULL && code == EXIT_DONE; i++)
        code = musterctl_names_of(o, kind->lists[i], given[2], arena);
    return code;
}

static const struct param every_row = {
    .name = "--every", .type = PARAM_MS, .def = 2000, .min = 200, .max = 24 * 3600 * 1000
};

/* The place of the word `watch`, which --every may stand in front of. false: it is none. */
static bool watch_place(const struct options *o, size_t *place)
{
    size_t every = words_of_option(o->words[0], every_row.name);
    *place = every < o->word_count ? every : 0;
    return strcmp(o->words[*place], "watch") == 0;
}

/* Takes `watch` and --every out of the words. false: it was said what is wrong. */
static bool watch_words(struct options *o, int64_t *every_ms)
{
    struct why why;
    size_t count = 0, place = 0;
    (void)watch_place(o, &place);
    *every_ms = every_row.def;
    for (size_t i = 0; i < o->word_count; i++) {
        if (i == place)
            continue;
        size_t taken = words_of_option(o->words[i], every_row.name);
        if (taken == 0) {
            o->words[count++] = o->words[i];
            continue;
        }
        if (i + taken > o->word_count) {
            usage_error("--every needs a value");
            return false;
        }
        const char *value = taken == 2 ? o->words[++i] : inlined_value(o->words[i], every_row.name);
        if (param_check(&every_row, slice_of(value), every_ms, &why) != OK) {
            usage_error(why.text);
            return false;
        }
    }
    o->word_count = count;
    return true;
}

/* On a terminal each answer takes the place of the one before. */
static void watch_show_time(const struct options *o, const struct words *w, int64_t every_ms)
{
    char stamp[CLOCK_STAMP_LEN];
    if (!isatty(STDOUT_FILENO))
        return;
    clock_stamp(stamp, clock_wall_us());
    printf("\033[H\033[J"); /* ECMA-48: to the first place, and empty what follows */
    if (!o->json && !o->csv)
        printf("%s, every %g s, %.10s %.8s\n\n", w->command->name, (double)every_ms / 1000, stamp,
               stamp + 11);
}

/* Until it is interrupted, or the server has refused what it will refuse again. A server that is
 * away for a while is no reason to end. */
static int musterctl_watch(struct options *o, struct arena *arena)
{
    struct words w;
    const char *path;
    int64_t every_ms;
    if (!watch_words(o, &every_ms))
        return EXIT_USAGE;
    if (o->word_count == 0)
        return usage_error("watch: found no command, allowed one that reads");
    int code = musterctl_prepare(o, arena, &w, &path);
    if (code != EXIT_DONE)
        return code;
    if (w.command->effect != COMMAND_READS)
        return usage_error("watch: found a command that changes something, allowed one that reads");
    bool final = false;
    o->final = &final;
    const struct timespec pause = { every_ms / 1000, every_ms % 1000 * 1000000 };
    for (bool again = false;; again = true) {
        if (again && !o->json && !o->csv && !isatty(STDOUT_FILENO))
            putchar('\n');
        watch_show_time(o, &w, every_ms);
        code = musterctl_send(o, &w, path);
        if (code == EXIT_USAGE || fflush(stdout) != 0 || (code != EXIT_DONE && final))
            return code;
        if (code == EXIT_UNREACHABLE)
            fprintf(stderr, "musterctl: watch asks again in %g s; Ctrl-C ends it\n",
                    (double)every_ms / 1000);
        final = false;
        nanosleep(&pause, NULL);
    }
}

int main(int argc, char **argv)
{
    struct options o;
    if (!musterctl_parse_options(&o, argc, argv))
        return usage_error("--socket, --config, --url, --token-file and --ca need a value");
    if (o.version) {
        printf("musterctl %s\n", MUSTER_VERSION);
        return EXIT_DONE;
    }
    features_register();
    struct arena *arena = arena_create(0);
    size_t place;
    int code;
    if (o.help || o.word_count == 0 || strcmp(o.words[0], "help") == 0) {
        code = show_help(&o, arena);
    } else if (strcmp(o.words[0], "completion") == 0) {
        code = show_completion(&o);
    } else if (strcmp(o.words[0], "schema") == 0) {
        schema_print(stdout);
        code = EXIT_DONE;
    } else if (watch_place(&o, &place)) {
        code = musterctl_watch(&o, arena);
    } else if (strcmp(o.words[0], "names") == 0) {
        code = musterctl_names(&o, arena);
    } else {
        code = musterctl_run_command(&o, arena);
    }
    arena_destroy(&arena);
    return code;
}
