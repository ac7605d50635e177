#include "ext/federation/federation_file.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/whole_file.h"
#include "ext/federation/federation.h"
#include "ext/federation/federation_book.h"
#include "home/here.h"
#include "home/node.h"
#include "io/timer.h"
#include "io/work.h"
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

static bool is_path_or_none(slice text) { return text.len == 0 || param_is_absolute(text); }

struct setting federation_blocklist = {
    .name = "federation.blocklist",
    .scope = SCOPE_NODE,
    .type = PARAM_PATH,
    .def_text = "",
    .max = 1000,
    .check = is_path_or_none,
    .form = PARAM_ABSOLUTE,
    .doc = "File of the server's host with domains and addresses of other servers that this node "
           "does not communicate with, one a line: `spam.test`, `*.spam.test`, `bob@spam.test` or "
           "`win*@spam.test`; "
           "`#` begins a comment. It is read within 2 seconds, also when it changes. If a line is "
           "wrong, an alarm "
           "names it, and the patterns that were read before stay. Empty: there is none.",
};
struct alarm federation_blocklist_alarm = {
    .name = "federation.blocklist",
    .severity = ALARM_ERROR,
    .text = "The file of blocked domains cannot be used; what was read before applies.",
    .action = "Correct the line or the file that the alarm names; it is read again by itself. Or "
              "change the setting federation.blocklist.",
    .explanation =
        "The list that was read last still applies, so newly listed domains can still reach "
        "users.",
    .raised_when = "The changed file cannot be read, or has a line with a mistake.",
    .cleared_when = "The file was read without a mistake, or federation.blocklist is empty.",
    .settings = "federation.blocklist",
};

struct alarm federation_blocklist_unread_alarm = {
    .name = "federation.blocklist-unread",
    .severity = ALARM_ERROR,
    .text = "The file of blocked domains cannot be used; nothing of it applies.",
    .action = "Correct the line or the file that the alarm names; it is read again by itself. Or "
              "change the setting federation.blocklist.",
    .explanation =
        "No list has been read since the server started, so domains that you meant to block can "
        "reach users.",
    .raised_when = "The file cannot be read, or has a line with a mistake, and no list was read "
                   "before.",
    .cleared_when = "The file was read without a mistake, or federation.blocklist is empty.",
    .settings = "federation.blocklist",
};

/* What says that a file is another one, or may be read now. */
struct file_stamp {
    int64_t time_s, time_ns, changed_s, changed_ns, size;
    uint64_t number;
};

struct federation_watch {
    struct worker *worker;
    struct timer timer;
    struct work work;
    bool working; /* the helper has what is below */
    bool stopped;
    bool has_list;                    /* of a file that was read before */
    char path[1001], read_path[1001]; /* to be looked at; that stamp is of */
    struct file_stamp stamp;
    bool changed;
    struct federation_list *list; /* what was read; NULL: `why`, or there is no file */
    struct why why;
};

/* Helper thread. */

static bool watch_stamp(const char *path, struct file_stamp *out, struct why *why)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        why_set(why, "%s: %s", path, strerror(errno));
        return false;
    }
    *out = (struct file_stamp){ st.st_mtim.tv_sec,  st.st_mtim.tv_nsec, st.st_ctim.tv_sec,
                                st.st_ctim.tv_nsec, st.st_size,         st.st_ino };
    return true;
}

static bool watch_is_same(const struct federation_watch *d, const struct file_stamp *s)
{
    return strcmp(d->path, d->read_path) == 0 && d->stamp.time_s == s->time_s &&
           d->stamp.time_ns == s->time_ns && d->stamp.changed_s == s->changed_s &&
           d->stamp.changed_ns == s->changed_ns && d->stamp.size == s->size &&
           d->stamp.number == s->number;
}

static void watch_read(struct federation_watch *d)
{
    struct why why = { "" };
    struct buf text;
    buf_init(&text, FEDERATION_LIST_BYTES);
    if (whole_file_read(&text, d->path, &d->why) == OK &&
        federation_list_read(&d->list, buf_fit(&text), &why) != OK)
        why_set(&d->why, "%s, %s", d->path, why.text);
    buf_fini(&text);
}

static void watch_run(struct work *w)
{
    struct federation_watch *d = CONTAINER_OF(w, struct federation_watch, work);
    struct file_stamp stamp = { 0 };
    d->why.text[0] = '\0';
    bool there = d->path[0] == '\0' || watch_stamp(d->path, &stamp, &d->why);
    d->changed = !there || !watch_is_same(d, &stamp);
    if (!d->changed)
        return;
    if (there && d->path[0] != '\0')
        watch_read(d);
    d->stamp = stamp;
    snprintf(d->read_path, sizeof d->read_path, "%s", d->path);
}

/* The loop. */

static void watch_use(struct federation_watch *d)
{
    ensure(d->changed && !d->working);
    if (d->why.text[0] != '\0') {
        alarm_raise(d->has_list ? &federation_blocklist_alarm : &federation_blocklist_unread_alarm,
                    slice_of(d->why.text));
        return;
    }
    alarm_clear(&federation_blocklist_alarm);
    alarm_clear(&federation_blocklist_unread_alarm);
    d->has_list = d->path[0] != '\0';
    log_info(&log_federation, LOG_EV("federation.blocklist"), LOG_C("file", d->path),
             LOG_I("patterns", federation_list_count(d->list)));
    if (federation_list_useless(d->list) > 0)
        log_warn(&log_federation, LOG_EV("federation.blocklist-useless"), LOG_C("file", d->path),
                 LOG_I("line", federation_list_useless(d->list)),
                 LOG_C("hint", "no domain is below an IP address, so this line blocks nothing, and "
                               "perhaps others like it; write each address in full"));
    federation_book_put_file(d->list);
    d->list = NULL;
}

static void watch_done(struct work *w)
{
    struct federation_watch *d = CONTAINER_OF(w, struct federation_watch, work);
    ensure(d->working && worker_is_here(d->worker));
    d->working = false;
    if (d->stopped || d->work.skipped) {
        federation_list_free(&d->list);
        if (d->stopped)
            mem_free(&d);
        return;
    }
    if (d->changed) {
        watch_use(d);
        federation_apply(d->worker);
    }
    federation_list_free(&d->list);
    timer_set(worker_loop(d->worker), &d->timer, FEDERATION_LOOK_MS);
}

static void watch_set_path(struct federation_watch *d)
{
    snprintf(d->path, sizeof d->path, "%s", setting_text(&federation_blocklist));
}

static void watch_look(struct timer *t, struct loop *loop)
{
    struct federation_watch *d = CONTAINER_OF(t, struct federation_watch, timer);
    ensure(!d->working);
    watch_set_path(d);
    d->working = work_submit(worker_work(d->worker), loop, &d->work) == OK;
    if (!d->working)
        timer_set(loop, t, FEDERATION_LOOK_MS);
}

void federation_file_start(struct worker *w, struct federation_watch **at)
{
    struct federation_watch *d = mem_new(struct federation_watch);
    d->worker = w;
    d->timer.fn = watch_look;
    d->work.run = watch_run;
    d->work.done = watch_done;
    d->work.may_skip = true;
    *at = d;
    watch_set_path(d);
    watch_run(&d->work); /* no loop waits for it yet, and no stream is open */
    if (d->changed)
        watch_use(d);
    timer_set(worker_loop(w), &d->timer, FEDERATION_LOOK_MS);
}

void federation_file_stop(struct federation_watch **at)
{
    struct federation_watch *d = *at;
    *at = NULL;
    timer_cancel(&d->timer);
    d->stopped = true;
    if (!d->working)
        mem_free(&d);
}
