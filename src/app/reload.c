#include "app/reload.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/command.h"
#include "core/feature.h"
#include "home/here.h"
#include "home/message.h"
#include "home/node.h"
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

static struct alarm refused_alarm = {
    .name = "server.reload",
    .severity = ALARM_ERROR,
    .text = "The node file or a certificate has a mistake. The last reload changed nothing.",
    .action = "Run `musterd --check`, correct the mistake, and run `systemctl reload muster`.",
    .explanation =
        "A reload with a mistake changes nothing, so the server still runs with what it read "
        "before.",
    .raised_when = "A reload was refused.",
    .cleared_when = "A reload succeeds.",
};
static struct alarm restart_alarm = {
    .name = "server.restart",
    .severity = ALARM_WARNING,
    .text = "Keys of the node file have changed that apply only after a restart.",
    .action = "Run `musterctl server restart`. Clients resume their sessions.",
    .explanation = "Some keys of the node file are read only at the start.",
    .raised_when = "A reload has found changes of such keys.",
    .cleared_when = "The server starts, or the changes are undone.",
};

/* Somebody waits for a reload. Lives in the arena of the waiter. */
struct wish {
    struct worker *worker; /* of the waiter */
    struct arena *arena;
    void (*answer)(const struct wish *wish); /* there */
    void *arg;
    struct wish *next;
    enum err err;
    const char *text, *refused; /* as of reload_ended() */
    const char *done, *changed; /* of reload_for(); NULL: the command is `server reload` */
    void (*applied)(void *arg, const char *refused); /* of reload_settings() */
};
static const char text_given_up[] = "the server ends";
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* That wait for main; that the reload under way is for; that wait for their worker. */
static struct wish *wishes, *begun, *ended;
static bool given_up; /* main reloads no more */

/* The main thread reloads and then calls reload_ended(). */
void reload_soon(void) { kill(getpid(), SIGHUP); }

static void reload_answer(const struct wish *wish)
{
    struct command_call *call = wish->arg;
    if (wish->changed != NULL && wish->err != OK)
        command_fail(call, wish->err, "%s, but nothing applies yet: %s", wish->changed, wish->text);
    else if (wish->done != NULL)
        command_done(call, "%s", wish->done);
    else if (wish->err != OK)
        command_fail(call, wish->err, "%s", wish->text);
    else if (*wish->text != '\0')
        command_done(call, "the node file was read again; restart needed: %s", wish->text);
    else
        command_done(call, "the node file and the certificates were read again");
}

static void reload_wish(struct wish *wish)
{
    pthread_mutex_lock(&lock);
    bool waits = !given_up;
    if (waits) {
        wish->next = wishes;
        wishes = wish;
    }
    pthread_mutex_unlock(&lock);
    if (waits) {
        reload_soon();
        return;
    }
    wish->err = E_CANCELED;
    wish->text = text_given_up;
    wish->answer(wish);
}

void reload_for(struct command_call *call, const char *done, const char *changed)
{
    struct wish *wish = arena_new(call->arena, struct wish, 1);
    *wish = (struct wish){ .worker = call->worker,
                           .arena = call->arena,
                           .answer = reload_answer,
                           .arg = call,
                           .done = done,
                           .changed = changed };
    reload_wish(wish);
}

static void reload_applied(const struct wish *wish) { wish->applied(wish->arg, wish->refused); }

void reload_settings(struct worker *w, struct arena *arena,
                     void (*done)(void *arg, const char *refused), void *arg)
{
    struct wish *wish = arena_new(arena, struct wish, 1);
    *wish = (struct wish){
        .worker = w, .arena = arena, .answer = reload_applied, .arg = arg, .applied = done
    };
    reload_wish(wish);
}

static void run_reload(struct command_call *call) { reload_for(call, NULL, NULL); }

/* One of this worker; NULL: none. */
static struct wish *wish_take(const struct worker *w)
{
    struct wish **at = &ended, *wish;
    pthread_mutex_lock(&lock);
    while (*at != NULL && (*at)->worker != w)
        at = &(*at)->next;
    wish = *at;
    if (wish != NULL)
        *at = wish->next;
    pthread_mutex_unlock(&lock);
    return wish;
}

/* On the worker of the command, because the arena of a call may be used by one thread only. */
static void reload_answers(struct worker *w, void *message, const struct message_from *from)
{
    const struct wish *wish;
    (void)message, (void)from;
    while ((wish = wish_take(w)) != NULL)
        wish->answer(wish);
}

static const struct message_row reload_ended_message = {
    .id = 30,
    .scope = MESSAGE_PROCESS,
    .name = "reload-ended",
    .size = sizeof(struct message_nothing),
    .fields = message_no_fields,
    .run = reload_answers,
};

void reload_begins(void)
{
    pthread_mutex_lock(&lock);
    struct wish **end = &begun;
    while (*end != NULL)
        end = &(*end)->next;
    *end = wishes; /* a later one is for the next reload: this one may have read what it changed */
    wishes = NULL;
    pthread_mutex_unlock(&lock);
}

/* On main's thread: what is waited for has ended. */
static void reload_answer_all(enum err e, slice text, slice refused)
{
    bool any[NODE_WORKERS_MAX] = { false };
    struct node *n = NULL;
    pthread_mutex_lock(&lock);
    for (struct wish *wish = begun, *next; wish != NULL; wish = next) {
        next = wish->next;
        wish->err = e;
        wish->text = slice_cstr(wish->arena, text);
        wish->refused = refused.len > 0 ? slice_cstr(wish->arena, refused) : NULL;
        wish->next = ended;
        ended = wish;
        n = worker_node(wish->worker);
        any[worker_index(wish->worker)] = true;
    }
    begun = NULL;
    pthread_mutex_unlock(&lock);
    for (unsigned i = 0; n != NULL && i < n->worker_count; i++)
        if (any[i])
            home_post(n, i, &reload_ended_message);
}

void reload_ended(enum err e, slice text, slice refused)
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
    reload_answer_all(e, text, refused);
}

void reload_given_up(void)
{
    pthread_mutex_lock(&lock);
    given_up = true; /* a command that comes later would wait for main in vain */
    pthread_mutex_unlock(&lock);
    reload_begins();
    reload_answer_all(E_CANCELED, slice_of(text_given_up), SLICE(""));
}

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
    .messages = (const struct message_row *const[]){ &reload_ended_message, NULL },
    .commands = (struct command *const[]){ &reload_command, NULL },
    .alarms = (struct alarm *const[]){ &refused_alarm, &restart_alarm, NULL },
};
