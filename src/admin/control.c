#include "admin/control.h"
#include "admin/control_json.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "home/command_run.h"
#include "home/duty.h"
#include "home/here.h"
#include "io/conn.h"
#include "io/listen.h"
#include "io/timer.h"
#include "ops/audit_command.h"
#include "ops/command_late.h"
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CLIENTS_MAX = 32,
    ROOT_CLIENTS_MAX = 4, /* more, which are for root alone */
    FIRST_REQUEST_MS = 10 * 1000,
    NEXT_REQUEST_MS = 60 * 1000, /* after an answer */
    REQUEST_BYTES_MAX = 64 * 1024,
    REPLY_BYTES_MAX = 16 * 1024 * 1024,
    OUTPUT_HIGH = 256 * 1024,
    ACTOR_BYTES_MAX = 32,
    PATH_BYTES_MAX = 108,   /* struct sockaddr_un */
    PEER_GROUPS_MAX = 1024, /* a peer in more of them is known by the first ones */
    LAST_ANSWERS_MS = 200   /* of the half second that the node waits for its last connections */
};

static const struct conn_limits limits = {
    .input_bytes = REQUEST_BYTES_MAX,
    .output_high = OUTPUT_HIGH,
    .output_max = REPLY_BYTES_MAX,
    .handshake_ms = 1000,
};

struct log_area log_admin = { .name = "admin" };

struct control {
    struct worker *worker;     /* NULL: it has not begun to accept */
    struct listener *listener; /* NULL after it was stopped */
    char path[PATH_BYTES_MAX]; /* of the socket file */
    struct list clients;
    _Atomic unsigned client_count; /* of `clients`, but those whose command is late */
    _Atomic unsigned late_count;   /* of these */
    struct timer give_up;          /* at the end */
};

struct client {
    struct list node;
    struct control *control;
    struct conn *conn; /* NULL: it was closed or answered while its command ran */
    struct command_return ended;
    struct command_late late;
    struct command_call call; /* arena NULL: no command runs */
    struct timer patience;    /* until its next request is here */
    bool input_ended;         /* the peer has shut down writing, as scripts do */
    char actor[ACTOR_BYTES_MAX];
};

static void client_free(struct client *cl)
{
    list_remove(&cl->node);
    timer_cancel(&cl->patience);
    if (cl->late.answered)
        cl->control->late_count--;
    else
        cl->control->client_count--;
    command_late_over(&cl->late);
    arena_destroy(&cl->call.arena);
    mem_free(&cl);
}

static void write_refusal(struct conn *c, enum err e, const char *text)
{
    struct buf out;
    buf_init(&out, REQUEST_BYTES_MAX);
    control_refuse(&out, e, slice_of(text));
    conn_write(c, buf_fit(&out));
    buf_fini(&out);
}

static void control_write_reply(struct client *cl)
{
    struct buf out;
    buf_init(&out, REPLY_BYTES_MAX);
    control_reply(&out, &cl->call);
    if (out.overflow)
        write_refusal(cl->conn, E_LIMIT, "the answer is longer than 16 MiB; ask for less");
    else
        conn_write(cl->conn, buf_slice(&out));
    buf_fini(&out);
}

/* One who stays and asks nothing would keep the place from others. */
static void client_out_of_patience(struct timer *t, struct loop *loop)
{
    struct client *cl = CONTAINER_OF(t, struct client, patience);
    (void)loop;
    write_refusal(cl->conn, E_AGAIN, "no request has come for too long; connect again");
    conn_close(cl->conn);
}

static void client_awaits(struct client *cl, uint64_t delay_ms)
{
    timer_set(worker_loop(cl->control->worker), &cl->patience, delay_ms);
}

static struct client *client_new(struct control *ctl, const char *actor)
{
    struct client *cl = mem_new(struct client);
    cl->control = ctl;
    cl->patience.fn = client_out_of_patience;
    snprintf(cl->actor, sizeof cl->actor, "%s", actor);
    list_append(&ctl->clients, &cl->node);
    ctl->client_count++;
    return cl;
}

static void client_audited(struct worker *w, void *arg)
{
    struct client *cl = arg;
    (void)w;
    if (cl->conn == NULL) {
        client_free(cl);
        return;
    }
    control_write_reply(cl);
    arena_destroy(&cl->call.arena);
    conn_release(cl->conn, CONN_HOLD_STREAM);
    client_awaits(cl, NEXT_REQUEST_MS);
    if (cl->input_ended || cl->control->listener == NULL)
        conn_close(cl->conn);
}

static void on_ended(struct command_return *r)
{
    struct client *cl = CONTAINER_OF(r, struct client, ended);
    if (!cl->late.answered)
        command_late_over(&cl->late);
    audit_command_then(&cl->call, client_audited, cl);
}

static void control_finished(struct command_call *call, void *arg)
{
    (void)call;
    struct client *cl = arg;
    command_return(&cl->ended, cl->control->worker, on_ended);
}

static const struct conn_ops client_ops;

/* The connection gets a client that asks anew; this one stays for its command, and its place is
 * free. */
static void client_late(struct command_late *late, const char *text)
{
    struct client *cl = CONTAINER_OF(late, struct client, late), *next;
    struct control *ctl = cl->control;
    struct conn *c = cl->conn;
    ctl->client_count--;
    ctl->late_count++;
    if (c == NULL)
        return;
    next = client_new(ctl, cl->actor);
    next->input_ended = cl->input_ended;
    next->conn = c;
    cl->conn = NULL;
    write_refusal(c, E_TIMEOUT, text);
    client_awaits(next, NEXT_REQUEST_MS);
    conn_hand_over(c, &client_ops, next);
    if (next->input_ended || ctl->listener == NULL)
        conn_close(c);
}

static void run_line(struct client *cl, slice line)
{
    struct why why;
    cl->call = (struct command_call){ .arena = arena_create(0),
                                      .worker = cl->control->worker,
                                      .who = { .kind = PRINCIPAL_CONTROL,
                                               .actor = slice_of(cl->actor),
                                               .role = SLICE_INIT("administrator"),
                                               .grants = SLICE_INIT("*") },
                                      .finished = control_finished,
                                      .arg = cl };
    enum err e = control_parse(line, &cl->call, &why);
    if (e != OK) {
        arena_destroy(&cl->call.arena);
        write_refusal(cl->conn, e, why.text);
        return;
    }
    timer_cancel(&cl->patience);
    conn_hold(cl->conn, CONN_HOLD_STREAM);
    command_late_watch(&cl->late, &cl->call, client_late);
    command_run(&cl->call);
}

static size_t control_on_input(struct conn *c, slice data)
{
    struct client *cl = conn_owner(c);
    size_t used = 0;
    slice line, rest;
    while (cl->call.arena == NULL && !conn_waits_for_reader(c) &&
           slice_cut(slice_from(data, used), '\n', &line, &rest)) {
        used += line.len + 1;
        run_line(cl, line);
    }
    bool whole = slice_cut(slice_from(data, used), '\n', &line, &rest);
    if (cl->call.arena == NULL && !whole && data.len - used >= REQUEST_BYTES_MAX) {
        write_refusal(c, E_LIMIT, "found a request of more than 64 KiB, allowed at most that");
        conn_close(c);
    }
    return used;
}

static void control_on_event(struct conn *c, enum conn_event ev)
{
    struct client *cl = conn_owner(c);
    if (ev == CONN_HIGH)
        (void)conn_waits_for_reader(c);
    else if (ev == CONN_LOW)
        conn_release(c, CONN_HOLD_OUTPUT);
    if (ev != CONN_EOF)
        return;
    cl->input_ended = true;
    if (cl->call.arena == NULL) /* otherwise it is freed when the command has been answered */
        conn_close(c);
}

static void control_on_closed(struct conn *c)
{
    struct client *cl = conn_owner(c);
    cl->conn = NULL;
    timer_cancel(&cl->patience);
    if (cl->call.arena == NULL)
        client_free(cl);
}

static const struct conn_ops client_ops = { control_on_input, control_on_event, control_on_closed };

/* Whether the peer is of the group of the socket file. */
static bool peer_has_group(const struct control *ctl, int fd, const struct ucred *peer)
{
    struct stat st;
    if (stat(ctl->path, &st) != 0)
        return false;
    gid_t groups[PEER_GROUPS_MAX];
    socklen_t len = sizeof groups;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) != 0)
        len = 0;
    bool found = peer->gid == st.st_gid;
    for (size_t i = 0; !found && i < len / sizeof groups[0]; i++)
        found = groups[i] == st.st_gid;
    return found;
}

struct control_peer {
    bool may, root;
    char actor[ACTOR_BYTES_MAX];
};

static struct control_peer control_peer_of(const struct control *ctl, int fd)
{
    struct control_peer p = { .actor = "control:unknown" };
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return p;
    p.root = peer.uid == 0;
    if (p.root)
        snprintf(p.actor, sizeof p.actor, "control:root");
    else
        snprintf(p.actor, sizeof p.actor, "control:uid=%u", (unsigned)peer.uid);
    p.may = p.root || peer.uid == geteuid() || peer_has_group(ctl, fd, &peer);
    return p;
}

/* Answers and closes at once: one who sends nothing takes no place of an operator. */
static void control_send_away(int fd, enum err e, slice why)
{
    struct buf out;
    buf_init(&out, REQUEST_BYTES_MAX);
    control_refuse(&out, e, why);
    slice text = buf_fit(&out);
    (void)!send(fd, text.ptr, text.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    buf_fini(&out);
    close(fd);
}

/* Whether there is a place for the peer; else it was sent away. */
static bool control_lets_in(const struct control *ctl, int fd, const struct control_peer *p)
{
    unsigned places = CLIENTS_MAX + (p->root ? ROOT_CLIENTS_MAX : 0);
    if (!p->may) {
        log_warn(&log_admin, LOG_EV("control.refused"), LOG_C("peer", p->actor),
                 LOG_C("hint", "only root, the server's user and the socket's group may use it"));
        control_send_away(fd, E_DENIED,
                          SLICE("you may not use the control socket: be root, the user of the "
                                "server, or in the group of the socket file"));
        return false;
    }
    if (ctl->client_count >= places) {
        log_warn(&log_admin, LOG_EV("control.full"), LOG_C("peer", p->actor),
                 LOG_I("connections", places),
                 LOG_C("hint", "too many connections at once; this one was closed"));
        control_send_away(fd, E_AGAIN,
                          p->root ? SLICE("found too many connections to the control socket, "
                                          "allowed 32, and 4 more for root; end programs that hold "
                                          "them, or try again in a minute")
                                  : SLICE("found too many connections to the control socket, "
                                          "allowed 32, and 4 more for root; try again in 10 "
                                          "seconds, or as root"));
        return false;
    }
    return true;
}

static void control_accepted(struct loop *loop, int fd, const struct sockaddr *peer, void *arg)
{
    struct control *ctl = arg;
    struct control_peer p = control_peer_of(ctl, fd);
    if (!control_lets_in(ctl, fd, &p))
        return;
    struct client *cl = client_new(ctl, p.actor);
    cl->conn = conn_create(loop, fd, peer, 0, NULL, &limits);
    conn_start(cl->conn, &client_ops, cl);
    client_awaits(cl, FIRST_REQUEST_MS);
}

/* The thing that stands where the socket should be; NULL: a socket, so another server listens. */
static const char *control_in_place(const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0 || S_ISSOCK(st.st_mode))
        return NULL;
    return S_ISLNK(st.st_mode)   ? "a symbolic link"
           : S_ISDIR(st.st_mode) ? "a folder"
           : S_ISREG(st.st_mode) ? "a file"
                                 : "a pipe or a device";
}

enum err control_create(struct control **out, const char *address, struct why *why)
{
    struct why inner;
    struct control *ctl = mem_new(struct control);
    list_init(&ctl->clients);
    ensure(strncmp(address, "unix:", strlen("unix:")) == 0);
    snprintf(ctl->path, sizeof ctl->path, "%s", address + strlen("unix:"));
    enum err e = listener_open(&ctl->listener, slice_of(address), &inner);
    if (e != OK) {
        const char *found = e == E_EXISTS ? control_in_place(ctl->path) : NULL;
        if (found != NULL)
            why_set(why,
                    "control: found %s at %s, where the socket is made: remove it or change "
                    "`control`",
                    found, ctl->path);
        else
            why_set(why, "control: %s%s", inner.text,
                    e == E_EXISTS ? "; another server runs: stop it or change `control`" : "");
        mem_free(&ctl);
        return e;
    }
    *out = ctl;
    return OK;
}

void control_destroy(struct control **control)
{
    if (*control == NULL)
        return;
    ensure(list_empty(&(*control)->clients));
    listener_close(&(*control)->listener); /* it was never open, or has been stopped */
    mem_free(control);
}

static void control_open(void *own, struct worker *w)
{
    struct control *ctl = own;
    if (!duty_is_here(w, DUTY_CONTROL))
        return;
    ctl->worker = w;
    enum err e = listener_attach(ctl->listener, worker_loop(w), control_accepted, ctl);
    if (e != OK)
        log_error(&log_admin, LOG_EV("control.deaf"), LOG_C("why", err_text(e)),
                  LOG_C("hint", "musterctl cannot connect; restart the server"));
}

static void control_stop(void *own, struct worker *w)
{
    struct control *ctl = own;
    if (ctl->worker != w)
        return;
    listener_detach(ctl->listener, worker_loop(w));
    listener_close(&ctl->listener); /* and removes the socket file */
    LIST_EACH (it, &ctl->clients) {
        struct client *cl = CONTAINER_OF(it, struct client, node);
        if (cl->conn == NULL || cl->call.arena != NULL)
            continue;
        if (conn_output_bytes(cl->conn) == 0)
            conn_abort(cl->conn); /* its peer may stay, and the loop ends soon */
        else
            conn_close(cl->conn);
    }
}

/* A command that still runs waits for something that has ended, or its peer does not read. */
static void control_give_up(struct timer *t, struct loop *loop)
{
    struct control *ctl = CONTAINER_OF(t, struct control, give_up);
    (void)loop;
    LIST_EACH (it, &ctl->clients) {
        struct client *cl = CONTAINER_OF(it, struct client, node);
        if (cl->conn != NULL)
            conn_abort(cl->conn);
    }
}

/* A peer that has its answer and stays would keep its connection beyond the end of the loop. */
static void control_part(void *own, struct worker *w)
{
    struct control *ctl = own;
    if (ctl->worker != w)
        return;
    LIST_EACH (it, &ctl->clients) {
        struct client *cl = CONTAINER_OF(it, struct client, node);
        if (cl->conn != NULL && cl->call.arena == NULL && conn_output_bytes(cl->conn) == 0)
            conn_abort(cl->conn);
    }
    ctl->give_up.fn = control_give_up;
    timer_set(worker_loop(w), &ctl->give_up, LAST_ANSWERS_MS);
}

static bool control_idle(void *own, struct worker *w)
{
    struct control *ctl = own;
    return ctl->worker != w || atomic_load(&ctl->client_count) + atomic_load(&ctl->late_count) == 0;
}

static void control_end(void *own, struct worker *w)
{
    struct control *ctl = own;
    if (ctl->worker != w)
        return;
    timer_cancel(&ctl->give_up);
    LIST_EACH (it, &ctl->clients)
        client_free(CONTAINER_OF(it, struct client, node));
}

const struct edge control_edge = {
    .name = "control",
    .open = control_open,
    .stop = control_stop,
    .part = control_part,
    .idle = control_idle,
    .end = control_end,
};
