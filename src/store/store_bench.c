/* store_bench: CPU and latency of durable messages: one log row of 350 bytes and two index rows
 * each. store_bench [preloaded messages] [messages] [window]; 1000000 500000 100 is the full
 * measurement. On PostgreSQL, where it is installed, the CPU of its server is told as well. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/metric.h"
#include "io/loop.h"
#include "store/store_driver.h"
#include "store/store_fixture.h"
#include <dirent.h>
#include <inttypes.h>
#include <sys/resource.h>

enum { OWNERS = 25000, BODY_BYTES = 350 };

struct bench {
    struct store *store;
    struct loop *loop;
    uint64_t seed, stamp;
    unsigned to_send, to_end, failed;
    uint32_t *latency_us;
    char body[BODY_BYTES];
};

struct message {
    struct bench *bench;
    uint64_t began_us;
};

static uint64_t next_random(struct bench *b) /* xorshift64: the same load each time */
{
    b->seed ^= b->seed << 13;
    b->seed ^= b->seed >> 7;
    b->seed ^= b->seed << 17;
    return b->seed;
}

static void send_next(struct message *m);

static void on_done(void *arg, enum store_result result, const struct store_batch *batch)
{
    struct message *m = arg;
    struct bench *b = m->bench;
    (void)batch;
    b->failed += result != STORE_OK;
    b->latency_us[--b->to_end] = (uint32_t)(clock_mono_us() - m->began_us);
    if (b->to_send > 0)
        send_next(m);
    else if (b->to_end == 0)
        loop_stop(b->loop);
}

static void send_next(struct message *m)
{
    struct bench *b = m->bench;
    int64_t from = (int64_t)(next_random(b) % OWNERS), to = (int64_t)(next_random(b) % OWNERS);
    struct store_batch *batch =
        fix_message(b->store, from, to, (int64_t)++b->stamp, (slice){ b->body, BODY_BYTES });
    b->to_send--;
    m->began_us = clock_mono_us();
    store_submit(batch, b->loop, 60000, on_done, m);
}

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* CPU ticks of a process whose parent is ours to count: fields 14 and 15 of its stat, see proc(5).
 */
static int64_t child_ticks(const char *pid, int64_t parent)
{
    char path[300], line[512] = "";
    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return 0;
    const char *at = fgets(line, sizeof line, f) != NULL ? strrchr(line, ')') : NULL;
    fclose(f);
    slice word, rest = slice_of(at != NULL ? at + 2 : "");
    int64_t ticks = 0, number = 0;
    for (int field = 3; field <= 15 && rest.len > 0; field++) {
        slice_cut(rest, ' ', &word, &rest);
        if (field == 4 && (!slice_int(word, &number) || number != parent))
            return 0;
        if (field >= 14 && slice_int(word, &number))
            ticks += number;
    }
    return ticks;
}

/* Of the processes of a private PostgreSQL. */
static double server_cpu_s(void)
{
    int64_t ticks = 0;
    DIR *proc = pgfix.pid > 0 ? opendir("/proc") : NULL;
    struct dirent *entry;
    while (proc != NULL && (entry = readdir(proc)) != NULL)
        ticks += child_ticks(entry->d_name, pgfix.pid);
    if (proc != NULL)
        closedir(proc);
    return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void report(const char *name, const char *what, double value, const char *unit)
{
    printf("store_%s_%s %.2f %s\n", name, what, value, unit);
    fflush(stdout);
}

/* Opens, sends `count` messages with `window` of them under way, closes. */
static void run(const char *name, uint32_t run_rows, unsigned count, unsigned window)
{
    struct bench b = { .to_send = count, .to_end = count, .seed = 88172645463325252 };
    uint64_t began_us = clock_mono_us();
    memset(b.body, 'm', sizeof b.body);
    fix_late.run_rows = run_rows;
    b.store = fix_store();
    report(name, "open", (double)(clock_mono_us() - began_us) / 1e3, "ms");
    b.loop = loop_create(0);
    b.latency_us = mem_zalloc(count * sizeof *b.latency_us);
    b.stamp = clock_wall_us();
    struct message *messages = mem_zalloc(window * sizeof *messages);
    int64_t commits = metric_read(&store_commits);
    double cpu = cpu_s(), server_cpu = server_cpu_s();
    began_us = clock_mono_us();
    for (unsigned i = 0; i < window && b.to_send > 0; i++) {
        messages[i].bench = &b;
        send_next(&messages[i]);
    }
    loop_run(b.loop);
    double wall_s = (double)(clock_mono_us() - began_us) / 1e6;
    cpu = cpu_s() - cpu;
    server_cpu = server_cpu_s() - server_cpu;
    commits = metric_read(&store_commits) - commits;
    qsort(b.latency_us, count, sizeof *b.latency_us, by_value);
    report(name, "cpu", cpu * 1e6 / count, "us/message");
    if (fix_driver == FIX_PGSQL)
        report(name, "server_cpu", server_cpu * 1e6 / count, "us/message");
    report(name, "rate", count / wall_s, "messages/s");
    report(name, "group", count / (double)commits, "messages/commit");
    report(name, "p50", b.latency_us[count / 2] / 1e3, "ms");
    report(name, "p99", b.latency_us[(uint64_t)count * 99 / 100] / 1e3, "ms");
    report(name, "max", b.latency_us[count - 1] / 1e3, "ms");
    report(name, "failed", b.failed, "messages");
    began_us = clock_mono_us();
    store_close(&b.store);
    report(name, "close", (double)(clock_mono_us() - began_us) / 1e3, "ms");
    loop_destroy(&b.loop);
    mem_free(&messages);
    mem_free(&b.latency_us);
}

static void report_pss(void)
{
    char line[128];
    long kib = 0;
    FILE *f = fopen("/proc/self/smaps_rollup", "r");
    if (f == NULL)
        return;
    while (fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "Pss:", 4) == 0)
            kib = strtol(line + 4, NULL, 10);
    fclose(f);
    report("empty", "pss", (double)kib, "KiB");
}

int main(int argc, char **argv)
{
    unsigned preload = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 50000;
    unsigned count = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 50000;
    unsigned window = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 100;
    fix_begin();
    for (int i = 0; store_metrics[i] != NULL; i++)
        metric_register(store_metrics[i]);
    struct store *store = fix_store();
    report_pss();
    store_close(&store);
    run("preload", 65536, preload, 2000);
    run("late", 65536, count, window);
    run("direct", 0, count, window);
    run("single", 65536, count / 50 + 1, 1);
    fix_end();
    if (!pgfix_start())
        return 0;
    fix_driver = FIX_PGSQL;
    fix_begin();
    run("pgsql_preload", 65536, preload, 2000);
    run("pgsql", 65536, count, window);
    run("pgsql_single", 65536, count / 50 + 1, 1);
    fix_end();
    pgfix_end();
    return 0;
}
