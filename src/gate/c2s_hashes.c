#include "gate/c2s_hashes.h"
#include "auth/hashes.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "base/setting.h"
#include "gate/c2s_rows.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "io/loop.h"
#include "io/timer.h"
#include "store/store.h"

enum {
    HASHES_LOOK_MS = 2000,
    HASHES_AGAIN_MS = 60000 /* while some are missing: accounts without keys may be disabled */
};

struct alarm c2s_hashes_alarm = {
    .name = "auth.no-scram",
    .severity = ALARM_WARNING,
    .text = "Clients of a domain can log in with PLAIN only.",
    .action = "Tell the users to log in once with clients that use PLAIN over TLS: an account gets "
              "the keys that it lacks at that login. For an account that does not log in, "
              "`musterctl user password` sets a new password; `user disable` takes it out. Look at "
              "`musterctl get c2s.scram-hashes`, too: it may exclude the hash that all accounts "
              "have.",
    .explanation = "Imported accounts may have keys of one hash only, and not all of the same. A "
                   "client takes the strongest mechanism that it is offered and does not try "
                   "another, so the domain offers only what all its accounts can use. With PLAIN "
                   "the server learns the password at each login, and clients that refuse PLAIN "
                   "cannot log in.",
    .raised_when = "There is no SCRAM hash in c2s.scram-hashes for which all enabled accounts of a "
                   "domain with a password have keys.",
    .cleared_when = "There is one again.",
    .settings = "c2s.scram-hashes",
};

static struct {
    struct timer timer;
    struct store_op *op;
    struct worker *worker; /* NULL: not on this node */
    uint64_t asked, looked_us;
} watch;

unsigned c2s_hashes(slice domain)
{
    static const unsigned choices[] = { HASHES_ALL, 1u << SCRAM_SHA_1, 1u << SCRAM_SHA_256 };
    return choices[setting_int_of(&c2s_scram_hashes, domain)] & hashes_complete(domain);
}

static const char *also(struct arena *arena, const char *before, const char *more)
{
    return before == NULL ? more : arena_printf(arena, "%s; %s", before, more);
}

const char *c2s_hashes_missing(const struct node *n, struct arena *arena)
{
    const char *all = NULL;
    for (unsigned i = 0; i < n->domain_count; i++) {
        struct hashes_lacking sum = hashes_lacking(n->domains[i]);
        unsigned offered = c2s_hashes(n->domains[i]);
        if (sum.accounts == 0)
            continue;
        all = also(arena, all,
                   arena_printf(arena,
                                "%.*s: accounts without keys for %s: %llu, so clients are "
                                "offered %s%s",
                                SLICE_ARG(n->domains[i]), hashes_names(hashes_lacked(&sum), arena),
                                (unsigned long long)sum.accounts,
                                offered == 0 ? "PLAIN only" : hashes_names(offered, arena),
                                offered == 0 ? "" : " and PLAIN"));
    }
    return all;
}

static void hashes_judge(const struct worker *w)
{
    const struct node *n = worker_node(w);
    struct arena *tmp = arena_create(0);
    const char *none = NULL;
    for (unsigned i = 0; i < n->domain_count; i++) {
        struct hashes_lacking sum = hashes_lacking(n->domains[i]);
        if (sum.accounts > 0 && c2s_hashes(n->domains[i]) == 0)
            none =
                also(tmp, none,
                     arena_printf(tmp, "%.*s: accounts without keys for %s: %llu",
                                  SLICE_ARG(n->domains[i]), hashes_names(hashes_lacked(&sum), tmp),
                                  (unsigned long long)sum.accounts));
    }
    if (none != NULL)
        alarm_raise(&c2s_hashes_alarm, slice_of(none));
    else
        alarm_clear(&c2s_hashes_alarm);
    arena_destroy(&tmp);
}

static void hashes_again(void)
{
    hashes_judge(watch.worker);
    timer_set(worker_loop(watch.worker), &watch.timer, HASHES_LOOK_MS);
}

static void hashes_read(void *arg, enum store_result r, const struct store_batch *b)
{
    (void)arg;
    watch.op = NULL;
    if (r == STORE_OK)
        hashes_take(b, watch.asked);
    hashes_again();
}

static void hashes_look(struct timer *t, struct loop *loop)
{
    uint64_t now = loop_now_us(loop);
    (void)t;
    ensure(watch.op == NULL);
    if (!hashes_due() &&
        !(hashes_any() && now - watch.looked_us >= (uint64_t)HASHES_AGAIN_MS * 1000)) {
        hashes_again();
        return;
    }
    struct store_batch *b = store_read(worker_store(watch.worker), 0);
    watch.looked_us = now;
    watch.asked = hashes_ask(b);
    watch.op = store_submit(b, loop, 0, hashes_read, NULL);
}

void c2s_hashes_start(struct worker *w)
{
    if (!duty_is_here(w, DUTY_ACCOUNTS) || watch.worker != NULL)
        return;
    watch.worker = w;
    watch.timer.fn = hashes_look;
    hashes_again();
}

void c2s_hashes_stop(struct worker *w)
{
    if (watch.worker != w)
        return;
    timer_cancel(&watch.timer);
    if (watch.op != NULL)
        store_cancel(&watch.op);
    watch.worker = NULL;
}

void c2s_hashes_account(struct worker *w, slice jid)
{
    (void)w, (void)jid;
    hashes_changed();
}
