#include "app/reload.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/command.h"
#include "home/here.h"
#include "home/node.h"
#include "im/feature.h"
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

static struct alarm refused_alarm = {
    .name = "server.reload",
    .severity = ALARM_ERROR,
    .text = "The node file or a certificate has a mistake. The last reload changed nothing.",
    .action = "Run `musterd --check`, correct the mistake, and run `systemctl reload muster`.",
};
static struct alarm restart_alarm = {
    .name = "server.restart",
    .severity = ALARM_WARNING,
    .text = "Keys of the node file have changed that apply only after a restart.",
    .action = "Run `musterctl server restart`. Clients resume their sessions.",
};

/* A command that waits for a reload. Lives in the arena of its call. */
struct wish {
    struct command_call *call;
    struct wish *next;
    enum err err;
    const char *text;
};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct wish *wishes;

static void run_reload(struct command_call *call)
{
    struct wish *wish = arena_new(call->arena, struct wish, 1);
    wish->call = call;
    pthread_mutex_lock(&lock);
    wish->next = wishes;
    wishes = wish;
    pthread_mutex_unlock(&lock);
    kill(getpid(), SIGHUP); /* the main thread reloads and then calls reload_ended() */
}

static void reload_answer(struct worker *w, void *arg)
{
    (void)w;
    struct wish *wish = arg;
    if (wish->err != OK)
        command_fail(wish->call, wish->err, "%s", wish->text);
    else if (*wish->text != '\0')
        command_done(wish->call, "the node file was read again; restart needed: %s", wish->text);
    else
        command_done(wish->call, "the node file and the certificates were read again");
}

/* On a worker, because the arena of a call may be used by one thread only. */
static void reload_answer_all(enum err e, slice text)
{
    pthread_mutex_lock(&lock);
    struct wish *wish = wishes, *next;
    wishes = NULL;
    pthread_mutex_unlock(&lock);
    for (; wish != NULL; wish = next) {
        struct worker *w = wish->call->worker;
        next = wish->next;
        wish->err = e;
        wish->text = slice_cstr(wish->call->arena, text);
        node_call(worker_node(w), worker_index(w), reload_answer, wish);
    }
}

void reload_ended(enum err e, slice text)
{
    slice first = text, rest;
    if (e != OK) {
        slice_cut(text, '\n', &first, &rest);
        alarm_raise(&refused_alarm, first);
    } else {
        alarm_clear(&refused_alarm);
        if (text.len > 0)
            alarm_raise(&restart_alarm, text);
        else
            alarm_clear(&restart_alarm);
    }
    reload_answer_all(e, text);
}

void reload_given_up(void) { reload_answer_all(E_CANCELED, SLICE("the server ends")); }

static struct command reload_command = {
    .name = "server reload",
    .effect = COMMAND_CHANGES,
    .area = "server",
    .run = run_reload,
    .doc = "Reads the node file and the certificates again. They apply without disconnecting "
           "clients. If there is a mistake, its file and line are shown and nothing changes. Keys "
           "that need a restart are named.",
};

const struct feature reload_feature = {
    .name = "reload",
    .commands = (struct command *const[]){ &reload_command, NULL },
    .alarms = (struct alarm *const[]){ &refused_alarm, &restart_alarm, NULL },
};
