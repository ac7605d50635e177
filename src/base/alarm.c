#include "base/alarm.h"
#include "base/clock.h"
#include "base/cut.h"
#include "base/ensure.h"
#include "base/log.h"
#include "base/utf8.h"
#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* list, changes and details */
static struct alarm *alarms;
static struct log_area log_alarm = { .name = "alarm" };

const char *alarm_severity_name(const struct alarm *a)
{
    static const char *const names[] = { "warning", "error", "critical" };
    return names[atomic_load(&a->severity_now)];
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

/* Cuts the detail to its size, at a character boundary. */
static void set_detail(struct alarm *a, slice detail)
{
    if (detail.len > sizeof a->detail - 1) {
        detail.len = sizeof a->detail - 1;
        cut_count(CUT_ALARM);
    }
    detail.len = utf8_valid_len(detail);
    if (detail.len > 0)
        memcpy(a->detail, detail.ptr, detail.len);
    a->detail[detail.len] = '\0';
}

static void log_raised(const struct alarm *a, slice detail)
{
    enum log_level level = atomic_load(&a->severity_now) == ALARM_WARNING ? LOG_WARN : LOG_ERROR;
    log_at(&log_alarm, level, LOG_EV("alarm.raised"), LOG_C("alarm", a->name),
           LOG_C("severity", alarm_severity_name(a)), LOG_C("text", a->text),
           LOG_S("detail", detail), LOG_C("action", a->action));
}

void alarm_raise_as(struct alarm *a, enum alarm_severity severity, slice detail)
{
    pthread_mutex_lock(&lock);
    set_detail(a, detail);
    bool is_new = !atomic_load(&a->active);
    bool is_other = atomic_exchange(&a->severity_now, (int)severity) != (int)severity;
    if (is_new) {
        atomic_store(&a->since_us, clock_wall_us());
        atomic_fetch_add(&a->raised_count, 1);
        atomic_store(&a->active, 1);
    }
    if (is_new || is_other)
        log_raised(a, detail); /* under the lock, so that the log has the changes in order */
    pthread_mutex_unlock(&lock);
}

void alarm_raise(struct alarm *a, slice detail) { alarm_raise_as(a, a->severity, detail); }

void alarm_clear(struct alarm *a)
{
    if (!atomic_load(&a->active)) /* usually it is not active: take no lock then */
        return;
    pthread_mutex_lock(&lock);
    if (atomic_load(&a->active)) {
        atomic_store(&a->active, 0);
        atomic_store(&a->since_us, clock_wall_us());
        log_info(&log_alarm, LOG_EV("alarm.cleared"), LOG_C("alarm", a->name));
    }
    pthread_mutex_unlock(&lock);
}

void alarm_detail(struct alarm *a, char *out, size_t cap)
{
    ensure(cap > 0);
    pthread_mutex_lock(&lock);
    size_t len = strlen(a->detail);
    if (len > cap - 1)
        len = utf8_valid_len((slice){ a->detail, cap - 1 });
    memcpy(out, a->detail, len);
    out[len] = '\0';
    pthread_mutex_unlock(&lock);
}

struct alarm *alarm_first(void) { return alarms; }
