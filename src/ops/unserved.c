#include "ops/unserved.h"
#include "base/alarm.h"
#include "base/arena.h"
#include "base/ensure.h"
#include "home/duty.h"
#include "home/here.h"
#include "home/node.h"
#include "io/timer.h"
#include "store/store.h"
#include <stdio.h>

enum { AGAIN_MS = 60000, DETAIL_BYTES = 256 };

struct alarm unserved_alarm = {
    .name = "domains.unserved",
    .severity = ALARM_WARNING,
    .text = "There are accounts or rooms of domains that this node does not serve.",
    .action =
        "Add the domain to `domains` in the node file and restart the server. If nobody needs them "
        "any more: `user list --domain DOMAIN` shows the accounts and `user del` deletes them. "
        "Contacts, affiliations and policies of others that name such an address stay, since it "
        "may be one of another server now. "
        "`room-alias add conference.DOMAIN` makes the rooms reachable, then `room destroy` "
        "deletes them. musterd --rename moves them to another domain.",
    .explanation = "Nobody can log in to these accounts or enter these rooms, and an export leaves "
                   "the accounts out. They are from a backup of another node, or their domain was "
                   "removed from the node file.",
    .raised_when = "The database has accounts or rooms of a domain that is not in `domains` of the "
                   "node file and, for rooms, is no alias of group chat.",
    .cleared_when = "There are none any more. While the alarm is active, Muster counts them once a "
                    "minute, and when an account is deleted.",
};

/* $1: the domains that are served, each between two spaces. */
#define UNSERVED_COUNT(domain, position)                                                           \
    "SELECT " domain ", count(*) FROM account a WHERE " position "($1, ' ' || " domain             \
    " || ' ') = 0 "                                                                                \
    "AND NOT EXISTS (SELECT 1 FROM test_user t WHERE t.account = a.id) GROUP BY 1 ORDER BY 1"
struct store_stmt unserved_accounts = {
    .name = "unserved.accounts",
    .sqlite = UNSERVED_COUNT("substr(a.jid, instr(a.jid, '@') + 1)", "instr"),
    .pgsql = UNSERVED_COUNT("split_part(a.jid, '@', 2)", "strpos"),
    .params = "t",
    .cols = "ti",
};
static const struct store_stmt *rooms_by_domain; /* NULL: there is no group chat */
static const char *rooms_label;

void unserved_rooms(const struct store_stmt *by_domain, const char *label)
{
    ensure(by_domain != NULL && *label != '\0');
    rooms_by_domain = by_domain;
    rooms_label = label;
}

void unserved_count(struct store_batch *b, const struct node *n)
{
    struct arena *tmp = arena_create(0);
    const char *served = " ";
    for (unsigned i = 0; i < n->domain_count; i++)
        served = arena_printf(tmp, "%s%.*s ", served, SLICE_ARG(n->domains[i]));
    STORE_ADD(b, &unserved_accounts, STORE_ANY_ROWS, SV_T(slice_of(served)));
    arena_destroy(&tmp);
}

static void unserved_name(struct unserved *u, slice domain)
{
    static const char more[] = ", …";
    size_t len = strlen(u->names), comma = len > 0 ? 2 : 0;
    size_t room = sizeof u->names - 1 - len;
    ensure(len < sizeof u->names);
    if (len >= strlen(more) && strcmp(u->names + len - strlen(more), more) == 0)
        return;
    if (comma + domain.len + strlen(more) <= room)
        snprintf(u->names + len, room + 1, "%s%.*s", comma > 0 ? ", " : "", SLICE_ARG(domain));
    else
        snprintf(u->names + len, room + 1, "%s", comma > 0 ? more : more + 2);
}

void unserved_add_accounts(struct unserved *u, const struct store_batch *b, unsigned stmt)
{
    for (uint32_t i = 0; i < store_row_count(b, stmt); i++) {
        u->accounts += store_int(b, stmt, i, 1);
        unserved_name(u, store_text(b, stmt, i, 0));
    }
}

static void unserved_add_rooms(struct unserved *u, const struct node *n,
                               const struct store_batch *b, unsigned stmt)
{
    for (uint32_t i = 0; i < store_row_count(b, stmt); i++) {
        slice domain = store_text(b, stmt, i, 0), label, parent;
        if (slice_cut(domain, '.', &label, &parent) && slice_is(label, rooms_label) &&
            node_serves(n, parent))
            continue;
        u->rooms += store_int(b, stmt, i, 1);
        unserved_name(u, domain);
    }
}

/* At the home of the duty, the only thread that looks. */
static struct {
    struct timer timer;
    struct worker *worker;
    struct store_op *op; /* NULL: none is under way */
    bool again;          /* something went meanwhile */
    bool some;           /* the alarm is active */
} watch;

static void unserved_look(void);

static void unserved_tell(const struct unserved *u)
{
    char detail[DETAIL_BYTES];
    watch.some = u->accounts > 0 || u->rooms > 0;
    if (!watch.some) {
        alarm_clear(&unserved_alarm);
        return;
    }
    snprintf(detail, sizeof detail, "%lld account%s and %lld room%s: %s", (long long)u->accounts,
             u->accounts == 1 ? "" : "s", (long long)u->rooms, u->rooms == 1 ? "" : "s", u->names);
    alarm_raise(&unserved_alarm, slice_of(detail));
}

static void unserved_counted(void *arg, enum store_result result, const struct store_batch *b)
{
    struct unserved u = { .names = "" };
    (void)arg;
    watch.op = NULL;
    ensure(worker_is_here(watch.worker));
    if (result == STORE_OK) {
        unserved_add_accounts(&u, b, 0);
        if (rooms_by_domain != NULL)
            unserved_add_rooms(&u, worker_node(watch.worker), b, 1);
        unserved_tell(&u);
    }
    if (watch.again)
        unserved_look();
    else if (watch.some || result != STORE_OK)
        timer_set(worker_loop(watch.worker), &watch.timer, AGAIN_MS);
}

static void unserved_look(void)
{
    struct worker *w = watch.worker;
    ensure(worker_is_here(w));
    watch.again = watch.op != NULL;
    if (watch.again)
        return;
    struct store_batch *b = store_read(worker_store(w), 0);
    unserved_count(b, worker_node(w));
    if (rooms_by_domain != NULL)
        store_add(b, rooms_by_domain, STORE_ANY_ROWS, NULL, 0);
    watch.op = store_submit(b, worker_loop(w), 0, unserved_counted, NULL);
}

static void unserved_look_again(struct timer *t, struct loop *loop)
{
    (void)t, (void)loop;
    unserved_look();
}

void unserved_account_deleted(struct worker *w, slice bare)
{
    (void)bare;
    if (duty_is_here(w, DUTY_ACCOUNTS) && watch.some)
        unserved_look();
}

void unserved_start(struct worker *w)
{
    if (!duty_is_here(w, DUTY_ACCOUNTS))
        return;
    watch.timer.fn = unserved_look_again;
    watch.worker = w;
    watch.again = watch.some = false;
    unserved_look();
}

void unserved_stop(struct worker *w)
{
    if (!duty_is_here(w, DUTY_ACCOUNTS))
        return;
    timer_cancel(&watch.timer);
    store_cancel(&watch.op);
}
