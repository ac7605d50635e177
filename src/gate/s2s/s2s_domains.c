#include "gate/s2s/s2s_domains.h"
#include "base/alarm.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/map.h"
#include "base/setting.h"
#include "base/utf8.h"
#include "gate/s2s/s2s_gate.h"
#include "home/here.h"
#include "io/timer.h"
#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum { LOOK_MS = 60000, STORED_MS = 5000, OTHERS_NAMED = 5, ALARM_TEXT_MAX = 4096 };
static const uint64_t forget_us = 3600ull * 1000000;
/* Three times the longest pause between two attempts: after it, nobody writes to the domain. */
static const uint64_t idle_us = 15ull * 60 * 1000000;

struct setting s2s_metrics_domains = {
    .name = "s2s.metrics-domains",
    .scope = SCOPE_NODE,
    .type = PARAM_INT,
    .def = 100,
    .min = 0,
    .max = S2S_DOMAINS_MAX,
    .unit = "domains",
    .doc = "For how many domains of other servers metrics are counted apart. The rest is counted "
           "as `other`, and the alarm s2s.partner-failing does not look at it. A domain is "
           "forgotten after an hour without a stanza.",
};
static void alarm_after_changed(struct worker *w, const struct setting *s);
struct setting s2s_alarm_after = {
    .name = "s2s.alarm-after",
    .scope = SCOPE_CLUSTER,
    .type = PARAM_MS,
    .def = 15 * 60000,
    .min = 1000,
    .max = 24 * 3600 * 1000,
    .allow_none = true,
    .changed = alarm_after_changed,
    .doc = "When all attempts to reach a server have failed for so long, the alarm "
           "s2s.partner-failing is raised. Domains that do not exist do not count.",
};
struct alarm s2s_failing_alarm = {
    .name = "s2s.partner-failing",
    .severity = ALARM_WARNING,
    .text = "Another server cannot be reached for a long time.",
    .action = "Run `musterctl s2s trace DOMAIN`, which says why, and what to do.",
    .explanation =
        "Users cannot exchange messages with that domain. What they send waits, and comes back as "
        "an error if it waits too long.",
    .raised_when = "An attempt to reach a server fails, and so have all others for "
                   "s2s.alarm-after.",
    .cleared_when = "All such servers can be reached, nobody has written to them for 15 minutes, "
                    "or rules forbid it.",
    .settings = "s2s.alarm-after",
    .also = "InterClusterSyncAgentPeerPeriodicSyncingFailure",
};

/* A slot is used while it has a name. Slot 0 is that of all others. */
enum { HELD_EACH_US = 60 * 1000000 };

struct slot {
    char name[S2S_DOMAIN_BYTES];
    _Atomic uint64_t sent, received, failures, up;
    _Atomic uint64_t seen_us;             /* wall clock, roughly: when something was counted */
    uint64_t held_ms, untold_ms, told_us; /* of s2s_domain_held(); under the lock */
    uint64_t failing_us, failed_us;       /* wall clock: the first failure, the last one; under the
                                             lock, as is `why` */
    char why[S2S_DOMAIN_WHY];
    char of[S2S_DOMAIN_BYTES]; /* the domain of ours that could not reach it, while it fails */
};

static slice slot_name(const void *item) { return slice_of(((const struct slot *)item)->name); }

static struct {
    pthread_mutex_t lock;
    _Atomic uint32_t changes; /* of names */
    struct map names;         /* slots that have one, without slot 0 */
    uint32_t end;             /* behind the last slot that was ever used */
} table = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .names.key = slot_name,
    .end = 1,
};

/* A megabyte, so without values of its own: memory that nobody has written to costs nothing. */
static struct slot slots[S2S_DOMAINS_MAX + 1];
static_assert(sizeof table <= 128,
              "what has values is in the program's file, and read by each look");

/* The last that a thread has counted for: most stanzas are for the same one as before. */
static _Thread_local struct {
    struct slot *slot;
    uint32_t changes;
} last;

static struct slot *slot_known(slice name) { return map_get(&table.names, name); }

static struct slot *slot_make(slice name, bool sent)
{
    uint32_t room = (uint32_t)setting_int(&s2s_metrics_domains);
    if (table.names.count >= (sent ? room : room / 2) || /* whoever writes to us takes half of it */
        name.len >= S2S_DOMAIN_BYTES || name.len == 0)
        return &slots[0];
    struct slot *s = &slots[1];
    while (s->name[0] != '\0')
        s++;
    if (s == &slots[table.end])
        table.end++;
    memcpy(s->name, name.ptr, name.len);
    s->name[name.len] = '\0';
    map_put(&table.names, s);
    atomic_fetch_add(&table.changes, 1);
    return s;
}

/* Under the lock. */
static struct slot *slot_get(slice name, bool sent)
{
    struct slot *s = slot_known(name);
    s = s != NULL ? s : slot_make(name, sent);
    atomic_store_explicit(&s->seen_us, clock_wall_us(), memory_order_relaxed);
    return s;
}

static void slot_forget(struct slot *s)
{
    void *had = map_del(&table.names, slot_name(s));
    ensure(had == s && s != &slots[0]);
    *s = (struct slot){ .name = "" };
    atomic_fetch_add(&table.changes, 1);
}

void s2s_domain_stanza(slice domain, bool sent)
{
    if (last.slot == NULL || last.changes != atomic_load(&table.changes) ||
        !slice_is(domain, last.slot->name)) {
        pthread_mutex_lock(&table.lock);
        last.slot = slot_get(domain, sent);
        last.changes = atomic_load(&table.changes);
        pthread_mutex_unlock(&table.lock);
    }
    atomic_fetch_add_explicit(sent ? &last.slot->sent : &last.slot->received, 1,
                              memory_order_relaxed);
}

uint64_t s2s_domain_held(slice domain, uint64_t ms)
{
    uint64_t now_us = clock_mono_us(), told_ms = 0;
    pthread_mutex_lock(&table.lock);
    struct slot *s = slot_get(domain, false);
    s->held_ms += ms;
    s->untold_ms += ms;
    if (s->told_us == 0 || now_us - s->told_us >= HELD_EACH_US) {
        told_ms = s->untold_ms;
        s->untold_ms = 0;
        s->told_us = now_us;
    }
    pthread_mutex_unlock(&table.lock);
    return told_ms;
}

void s2s_domain_up(slice domain)
{
    pthread_mutex_lock(&table.lock);
    struct slot *s = slot_get(domain, true);
    atomic_fetch_add(&s->up, 1);
    s->failing_us = 0;
    s->why[0] = '\0';
    pthread_mutex_unlock(&table.lock);
}

static void domain_why(char to[S2S_DOMAIN_WHY], slice why)
{
    snprintf(to, S2S_DOMAIN_WHY, "%.*s", SLICE_ARG(why));
    to[utf8_valid_len(slice_of(to))] = '\0'; /* it may have been cut */
}

void s2s_domain_failed(slice domain, slice local, slice why, bool missing)
{
    pthread_mutex_lock(&table.lock);
    struct slot *s = slot_get(domain, true);
    atomic_fetch_add(&s->failures, 1);
    uint64_t now = clock_wall_us();
    if (missing || s == &slots[0])
        s->failing_us = 0;
    else if (s->failing_us == 0 || now > s->failed_us + idle_us)
        s->failing_us = now;
    s->failed_us = now;
    snprintf(s->of, sizeof s->of, "%.*s", SLICE_ARG(local));
    domain_why(s->why, why);
    pthread_mutex_unlock(&table.lock);
}

bool s2s_domain_counts(slice domain, struct s2s_domain_counts *out)
{
    pthread_mutex_lock(&table.lock);
    const struct slot *s = slot_known(domain);
    if (s != NULL)
        *out = (struct s2s_domain_counts){ .sent = s->sent,
                                           .received = s->received,
                                           .failures = s->failures,
                                           .up = s->up,
                                           .held_ms = s->held_ms,
                                           .failing_us = s->failing_us };
    pthread_mutex_unlock(&table.lock);
    return s != NULL;
}

/* Metrics. Domains are prepared, so they have no quotes, backslashes or line ends. */

static void each_domain(const struct metric_family *f, metric_each_fn *fn, void *arg)
{
    pthread_mutex_lock(&table.lock);
    for (uint32_t i = 0; i < table.end; i++) {
        struct slot *s = &slots[i];
        if (s->name[0] != '\0')
            fn(arg, s->name, atomic_load((_Atomic uint64_t *)(void *)((char *)s + f->counter)));
    }
    pthread_mutex_unlock(&table.lock);
}

const struct metric_family s2s_domain_families[] = {
    { "muster_s2s_domain_sent", "Stanzas written to servers of a domain.", "domain",
      offsetof(struct slot, sent), each_domain },
    { "muster_s2s_domain_received", "Stanzas read from servers of a domain.", "domain",
      offsetof(struct slot, received), each_domain },
    { "muster_s2s_domain_failures", "Attempts to reach a domain that have failed.", "domain",
      offsetof(struct slot, failures), each_domain },
    { "muster_s2s_domain_streams", "Streams to a domain that came up.", "domain",
      offsetof(struct slot, up), each_domain },
    { 0 },
};

/* The watch. */

/* The time since one failed attempt does not count: it could be reached by now. */
static bool slot_fails_for_long(const struct slot *s)
{
    uint64_t after = (uint64_t)setting_int(&s2s_alarm_after) * 1000;
    return s->failing_us != 0 && setting_int(&s2s_alarm_after) != SETTING_NONE &&
           s->failed_us >= s->failing_us + after;
}

/* Nobody misses it any more: nobody writes to it, or rules keep it and our domain apart by now.
 * Where another domain of ours may reach it and does not, its next attempt counts. */
static void failing_are_judged(struct worker *w, uint64_t now)
{
    for (uint32_t i = 1; i < table.end; i++) {
        struct slot *s = &slots[i];
        if (s->failing_us != 0 && (now > s->failed_us + idle_us ||
                                   !s2s_is_partner(w, slice_of(s->of), slice_of(s->name))))
            s->failing_us = 0;
    }
}

/* The domain that has failed for longest, and how many fail for too long. */
static uint32_t failing_for_long(const struct slot **longest)
{
    uint32_t count = 0;
    for (uint32_t i = 1; i < table.end; i++) {
        const struct slot *s = &slots[i];
        if (!slot_fails_for_long(s))
            continue;
        if (count++ == 0 || s->failing_us < (*longest)->failing_us)
            *longest = s;
    }
    return count;
}

/* Under the lock. The one that has failed for longest says why; the names of some others follow. */
static void failing_text(struct buf *out, const struct slot *longest, uint32_t count)
{
    uint32_t named = 0;
    buf_printf(out, "%s: %s", longest->name, longest->why);
    for (uint32_t i = 1; i < table.end && named < OTHERS_NAMED; i++) {
        const struct slot *s = &slots[i];
        if (s != longest && slot_fails_for_long(s))
            buf_printf(out, "%s%s", named++ == 0 ? "; also failing: " : ", ", s->name);
    }
    if (count > 1 + named)
        buf_printf(out, " and %u more", count - 1 - named);
}

static void domains_look(struct timer *t, struct loop *loop)
{
    uint64_t now = clock_wall_us(), after_ms = (uint64_t)setting_int(&s2s_alarm_after);
    const struct slot *longest = NULL;
    struct buf text;
    buf_init(&text, ALARM_TEXT_MAX);
    pthread_mutex_lock(&table.lock);
    for (uint32_t i = 1; i < table.end; i++)
        if (slots[i].name[0] != '\0' && now > slots[i].seen_us + forget_us)
            slot_forget(&slots[i]);
    failing_are_judged(worker_here(), now);
    uint32_t count = failing_for_long(&longest);
    if (count > 0)
        failing_text(&text, longest, count);
    pthread_mutex_unlock(&table.lock);
    if (count > 0)
        alarm_raise(&s2s_failing_alarm, buf_fit(&text));
    else
        alarm_clear(&s2s_failing_alarm);
    buf_fini(&text);
    timer_set(loop, t, after_ms < LOOK_MS ? after_ms : LOOK_MS);
}

/* Messages that wait in the database. */

struct metric s2s_stored = { .name = "muster_s2s_stored",
                             .kind = METRIC_GAUGE,
                             .history = true,
                             .help =
                                 "Stored messages that wait for other servers, in the database "
                                 "of the node; at most 100000 are counted. They were there in "
                                 "the last five seconds. Nodes that share a database each count "
                                 "all of it." };

static void stored_counted(void *arg, enum store_result result, const struct store_batch *b)
{
    struct s2s_worker *sw = arg;
    sw->stored_read = NULL;
    if (result != STORE_OK)
        return;
    int64_t now = store_int(b, 0, 0, 0);
    ensure(now >= 0 && now <= OUTGOING_TOTAL_MAX);
    metric_add(&s2s_stored, now - sw->stored);
    sw->stored = now;
}

static void stored_look(struct timer *t, struct loop *loop)
{
    struct s2s_worker *sw = CONTAINER_OF(t, struct s2s_worker, stored_look);
    timer_set(loop, t, STORED_MS);
    if (sw->stored_read != NULL) /* the database is slow, or away */
        return;
    struct store_batch *b = store_read(worker_store(worker_here()), 0);
    outgoing_all(b);
    sw->stored_read = store_submit(b, loop, 0, stored_counted, sw);
}

void s2s_domains_start(struct s2s_worker *sw, struct worker *w)
{
    if (worker_index(w) != 0)
        return;
    pthread_mutex_lock(&table.lock);
    memcpy(slots[0].name, "other", sizeof "other");
    pthread_mutex_unlock(&table.lock);
    sw->domains_look.fn = domains_look;
    timer_set(worker_loop(w), &sw->domains_look, 1000);
    sw->stored_look.fn = stored_look;
    timer_set(worker_loop(w), &sw->stored_look, 0);
}

void s2s_domains_stop(struct s2s_worker *sw)
{
    timer_cancel(&sw->domains_look);
    timer_cancel(&sw->stored_look);
    store_cancel(&sw->stored_read);
    metric_add(&s2s_stored, -sw->stored); /* figures of a process outlive its nodes, in tests */
    sw->stored = 0;
}

static void alarm_after_changed(struct worker *w, const struct setting *s)
{
    struct s2s_gate *g = s2s_gate_of(w);
    (void)s;
    if (g != NULL && timer_is_set(&s2s_worker(g, w)->domains_look))
        timer_set(worker_loop(w), &s2s_worker(g, w)->domains_look, 0);
}
