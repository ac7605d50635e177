#include "base/alarm.h"
#include "base/clock.h"
#include "base/cut.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/utf8.h"
#include <pthread.h>
#include <stdio.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* list, changes and details */
static struct alarm *alarms;
static struct alarm_listener *listeners;
static struct log_area log_alarm = { .name = "alarm", .whole = true };

const char *const alarm_severities[] = { "warning", "error", "critical", NULL };

const char *alarm_severity_name(const struct alarm *a)
{
    return alarm_severities[atomic_load(&a->severity_now)];
}

struct alarm *alarm_find(slice name)
{
    struct alarm *a = alarms;
    while (a != NULL && !slice_is(name, a->name))
        a = a->next;
    return a;
}

void alarm_listen(struct alarm_listener *l)
{
    pthread_mutex_lock(&lock);
    l->next = listeners;
    listeners = l;
    pthread_mutex_unlock(&lock);
}

void alarm_unlisten(struct alarm_listener *l)
{
    pthread_mutex_lock(&lock);
    for (struct alarm_listener **at = &listeners; *at != NULL; at = &(*at)->next) {
        if (*at == l) {
            *at = l->next;
            break;
        }
    }
    pthread_mutex_unlock(&lock);
}

static void tell_listeners(void)
{
    for (struct alarm_listener *l = listeners; l != NULL; l = l->next)
        l->changed(l);
}

void alarm_register(struct alarm *a)
{
    pthread_mutex_lock(&lock);
    if (alarms == NULL)
        log_register(&log_alarm);
    struct alarm **at = &alarms;
    while (*at != NULL && strcmp((*at)->name, a->name) < 0)
        at = &(*at)->next;
    ensure(*at == NULL || strcmp((*at)->name, a->name) != 0);
    atomic_store(&a->severity_now, (int)a->severity);
    a->next = *at;
    *at = a;
    pthread_mutex_unlock(&lock);
}

/* What fits of a longer text: whole words, or whole characters of a word without end. */
static slice words_of(slice text, size_t max)
{
    enum { WORD_MAX = 64 };
    slice head = utf8_head(text, max);
    for (size_t at = head.len; at > 0 && head.len - at < WORD_MAX; at--)
        if (text.ptr[at] == ' ')
            return (slice){ text.ptr, at };
    return head;
}

/* Cuts the detail to its size, and says so. */
static void set_detail(struct alarm *a, slice detail)
{
    static const char cut[] = " …";
    const char *end = "";
    if (detail.len > sizeof a->detail - 1) {
        cut_count(CUT_ALARM);
        detail = words_of(detail, sizeof a->detail - sizeof cut);
        end = cut;
    }
    snprintf(a->detail, sizeof a->detail, "%.*s%s", SLICE_ARG(utf8_head(detail, detail.len)), end);
}

/* It was raised, or has another severity. */
static void log_active(const struct alarm *a, const char *event, slice detail)
{
    enum log_level level = atomic_load(&a->severity_now) == ALARM_WARNING ? LOG_WARN : LOG_ERROR;
    log_at(&log_alarm, level, LOG_C("event", event), LOG_C("alarm", a->name),
           LOG_C("severity", alarm_severity_name(a)), LOG_C("text", a->text),
           LOG_S("detail", detail), LOG_C("action", a->action));
}

void alarm_raise_as(struct alarm *a, enum alarm_severity severity, slice detail)
{
    pthread_mutex_lock(&lock);
    int set = atomic_load(&a->severity_set);
    severity = set > 0 ? (enum alarm_severity)(set - 1) : severity;
    set_detail(a, detail);
    bool is_new = !atomic_load(&a->active);
    bool is_other = atomic_exchange(&a->severity_now, (int)severity) != (int)severity;
    if (is_new) {
        atomic_store(&a->since_us, clock_wall_us());
        atomic_fetch_add(&a->raised_count, 1);
        atomic_store(&a->active, 1);
    }
    if (is_new || is_other) {
        /* under the lock, so that the log has the changes in order */
        log_active(a, is_new ? "alarm.raised" : "alarm.changed", detail);
        tell_listeners();
    }
    pthread_mutex_unlock(&lock);
}

void alarm_raise(struct alarm *a, slice detail) { alarm_raise_as(a, a->severity, detail); }

void alarm_set_severity(struct alarm *a, int severity)
{
    pthread_mutex_lock(&lock);
    int next = severity >= 0 ? severity : (int)a->severity;
    atomic_store(&a->severity_set, severity + 1);
    if (atomic_exchange(&a->severity_now, next) != next && atomic_load(&a->active)) {
        log_active(a, "alarm.changed", slice_of(a->detail));
        tell_listeners();
    }
    pthread_mutex_unlock(&lock);
}

static void alarm_keep(char *out, size_t cap, slice text)
{
    text = utf8_head(text, cap - 1);
    if (text.len > 0)
        memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
}

bool alarm_acknowledge(struct alarm *a, slice by, slice note, uint64_t at_us)
{
    pthread_mutex_lock(&lock);
    bool active = atomic_load(&a->active) != 0;
    if (active) {
        alarm_keep(a->known_by, sizeof a->known_by, by);
        alarm_keep(a->note, sizeof a->note, note);
        atomic_store(&a->known_us, at_us);
    }
    pthread_mutex_unlock(&lock);
    return active;
}

void alarm_restore(struct alarm *a, enum alarm_severity severity, slice detail, uint64_t since_us)
{
    pthread_mutex_lock(&lock);
    set_detail(a, detail);
    atomic_store(&a->severity_now, (int)severity);
    atomic_store(&a->since_us, since_us);
    atomic_store(&a->active, 1);
    log_info(&log_alarm, LOG_EV("alarm.restored"), LOG_C("alarm", a->name),
             LOG_C("severity", alarm_severity_name(a)), LOG_S("detail", detail));
    pthread_mutex_unlock(&lock);
}

void alarm_since(struct alarm *a, uint64_t since_us)
{
    pthread_mutex_lock(&lock);
    if (atomic_load(&a->active))
        atomic_store(&a->since_us, since_us);
    pthread_mutex_unlock(&lock);
}

void alarm_clear(struct alarm *a)
{
    if (!atomic_load(&a->active)) /* usually it is not active: take no lock then */
        return;
    pthread_mutex_lock(&lock);
    if (atomic_load(&a->active)) {
        atomic_store(&a->active, 0);
        atomic_store(&a->since_us, clock_wall_us());
        atomic_store(&a->known_us, 0);
        a->known_by[0] = a->note[0] = '\0';
        tell_listeners();
        log_info(&log_alarm, LOG_EV("alarm.cleared"), LOG_C("alarm", a->name));
    }
    pthread_mutex_unlock(&lock);
}

static void copy_locked(const char *text, char *out, size_t cap)
{
    ensure(cap > 0);
    pthread_mutex_lock(&lock);
    size_t len = utf8_head(slice_of(text), cap - 1).len;
    memcpy(out, text, len);
    out[len] = '\0';
    pthread_mutex_unlock(&lock);
}

void alarm_detail(struct alarm *a, char *out, size_t cap) { copy_locked(a->detail, out, cap); }
void alarm_known_by(struct alarm *a, char *out, size_t cap) { copy_locked(a->known_by, out, cap); }
void alarm_note(struct alarm *a, char *out, size_t cap) { copy_locked(a->note, out, cap); }

struct alarm *alarm_first(void) { return alarms; }
