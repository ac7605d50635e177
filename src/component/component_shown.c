#include "component/component_shown.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "core/feature.h"
#include "core/stage.h"
#include "home/here.h"
#include "home/node.h"
#include "home/remote.h"
#include "home/router.h"
#include "io/timer.h"
#include "presence/directed.h"
#include "presence/presence_over.h"
#include "presence/roster.h"
#include "presence/roster_view.h"
#include "session/session.h"
#include "session/sessions.h"
#include "store/store.h"
#include "xmpp/jid.h"

enum {
    PAGE_ROWS = 128,      /* read at a time; or written, and those of one more session */
    PAGE_SESSIONS = 1024, /* looked at for that */
    PAUSE_MS = 50         /* before the next page */
};

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE component_shown(jid TEXT NOT NULL, component TEXT NOT NULL,"
      " contact TEXT NOT NULL, PRIMARY KEY(jid, component, contact)) WITHOUT ROWID;",
      "CREATE TABLE component_shown(jid TEXT NOT NULL, component TEXT NOT NULL,"
      " contact TEXT NOT NULL, PRIMARY KEY(jid, component, contact));" },
    { 0 }
};
static struct store_stmt shown_put = {
    .name = "component-shown.put",
    .sql = "INSERT INTO component_shown(jid, component, contact) VALUES($1, $2, $3)"
           " ON CONFLICT(jid, component, contact) DO NOTHING",
    .params = "ttt",
    .cols = "",
};
static struct store_stmt shown_delete = {
    .name = "component-shown.delete",
    .sql = "DELETE FROM component_shown WHERE jid = $1 AND component = $2 AND contact = $3",
    .params = "ttt",
    .cols = "",
};
static struct store_stmt shown_end = {
    .name = "component-shown.end",
    .sql = "DELETE FROM component_shown WHERE jid = $1 AND component = $2",
    .params = "tt",
    .cols = "",
};
static struct store_stmt shown_page = {
    .name = "component-shown.page",
    .sql = "SELECT jid, contact FROM component_shown WHERE component = $1"
           " AND (jid, contact) > ($2, $3) ORDER BY jid, contact LIMIT $4",
    .params = "ttti",
    .cols = "tt",
};
static const struct store_address addresses[] = {
    { "component_shown", "component", .kind = STORE_JID, .beside = "jid contact", .below = true },
    { "component_shown", "contact", .kind = STORE_JID, .beside = "jid component", .below = true },
    { 0 },
};
static const struct store_schema schema = {
    .feature = "component_shown",
    .migrations = migrations,
    .stmts =
        (struct store_stmt *const[]){ &shown_put, &shown_delete, &shown_end, &shown_page, NULL },
    .addresses = addresses,
};
static struct metric shown_gone = {
    .name = "muster_component_sessions_gone",
    .kind = METRIC_COUNTER,
    .help = "Unavailable presence that components got when they connected, from sessions that had "
            "ended without it.",
};
static struct log_area log_shown = { .name = "component-shown" };

/* Rows of one component that are being read. */
struct showing {
    struct list node; /* in the list of the worker */
    struct worker *worker;
    struct store_op *op;
    struct timer timer;      /* the next page */
    struct buf jid, contact; /* behind which it begins */
    uint16_t len;
    char component[];
};
/* Sessions that are there when a component is added. Those that come later have rows by themselves.
 */
struct catch_up {
    struct list node; /* in the list of the worker */
    struct worker *worker;
    struct timer timer; /* the next page */
    char *component;
    uint32_t next, count;
    uint64_t ids[];
};

/* A worker has these under way. */
struct shown_worker {
    struct list showings, catching_up;
};
static unsigned slot;
static struct shown_worker *shown_worker_of(const struct worker *w)
{
    struct shown_worker *sw = *worker_state(w, slot);
    if (sw == NULL) {
        sw = *worker_state(w, slot) = mem_new(struct shown_worker);
        list_init(&sw->showings);
        list_init(&sw->catching_up);
    }
    return sw;
}

static slice shown_component(const struct showing *g) { return (slice){ g->component, g->len }; }

/* Rows of sessions. */

/* One that is not connected gets no presence. It is sent that of its contacts when it comes. */
static bool is_of_component(const struct worker *w, slice domain)
{
    return !node_serves(worker_node(w), domain) && remote_known(w, domain);
}

static struct store_batch *shown_write(struct worker *w, slice jid)
{
    return store_write(worker_store(w), hash_keyed(jid_bare_of(jid)));
}

static void shown_submit(struct worker *w, struct store_batch *b)
{
    store_submit(b, worker_loop(w), 0, NULL, NULL);
}

/* NULL: it has no new rows. */
static void shown_submit_of(struct session *s, struct store_batch *b)
{
    if (b == NULL)
        return;
    s->to_component = true;
    shown_submit(s->account->worker, b);
}

static void shown_add_row(const struct session *s, slice to, struct store_batch **b)
{
    slice domain = jid_split(to).domain;
    ensure(session_here(s));
    if (*b == NULL)
        *b = shown_write(s->account->worker, s->jid);
    STORE_ADD(*b, &shown_put, STORE_ANY_ROWS, SV_T(s->jid), SV_T(domain), SV_T(to));
}

static void shown_add(const struct session *s, slice to, struct store_batch **b)
{
    if (is_of_component(s->account->worker, jid_split(to).domain))
        shown_add_row(s, to, b);
}

void component_shown(struct session *s, slice to)
{
    struct store_batch *b = NULL;
    shown_add(s, to, &b);
    shown_submit_of(s, b);
}

void component_unshown(struct session *s, slice to)
{
    struct worker *w = s->account->worker;
    slice domain = jid_split(to).domain;
    ensure(session_here(s));
    if (!s->to_component || !remote_known(w, domain))
        return;
    struct store_batch *b = shown_write(w, s->jid);
    STORE_ADD(b, &shown_delete, STORE_ANY_ROWS, SV_T(s->jid), SV_T(domain), SV_T(to));
    shown_submit(w, b);
}

struct shown_told {
    const struct session *session;
    struct store_batch *batch;
};

static void shown_told(slice domain, unsigned links, void *arg)
{
    struct shown_told *told = arg;
    (void)links;
    STORE_ADD(told->batch, &shown_end, STORE_ANY_ROWS, SV_T(told->session->jid), SV_T(domain));
}

void component_shown_ends(struct session *s)
{
    struct worker *w = s->account->worker;
    ensure(session_here(s));
    if (!s->to_component)
        return;
    s->to_component = false; /* rows of those that are not connected are for when they come */
    struct shown_told told = { s, shown_write(w, s->jid) };
    remote_each(w, shown_told, &told);
    if (store_stmt_count(told.batch) > 0)
        shown_submit(w, told.batch);
    else
        store_drop(&told.batch);
}

/* only: of that component, also if it is not connected; empty: of all that are. */
static void shown_contacts(const struct session *s, slice only, struct store_batch **b)
{
    slice contact;
    for (struct roster_at at = { 0 }; (*b == NULL || store_stmt_count(*b) < SHOWN_CONTACTS_MAX) &&
                                      roster_next(s->account, ROSTER_IS_SEEN, &at, &contact);)
        if (only.len > 0 && slice_eq(jid_split(contact).domain, only) && stage_view(s, contact))
            shown_add_row(s, contact, b);
        else if (only.len == 0 && stage_view(s, contact))
            shown_add(s, contact, b);
}

static void shown_available(struct session *s)
{
    struct store_batch *b = NULL;
    shown_contacts(s, (slice){ 0 }, &b);
    shown_submit_of(s, b);
}

/* NULL: it has no rows. */
static struct store_batch *catch_up_rows(const struct session *s, slice component)
{
    struct store_batch *b = NULL;
    char text[JID_MAX];
    slice to;
    if (s->available && s->hidden == SESSION_SHOWN)
        shown_contacts(s, component, &b);
    for (struct directed_at at = { 0 };
         s->directed != NULL && directed_next(s->directed, &at, text, &to);)
        if (slice_eq(jid_split(to).domain, component))
            shown_add_row(s, to, &b);
    return b;
}

/* Returns how many rows it has. */
static uint32_t catch_up_session(struct session *s, slice component)
{
    struct store_batch *b = catch_up_rows(s, component);
    uint32_t rows = b == NULL ? 0 : store_stmt_count(b);
    shown_submit_of(s, b);
    return rows;
}

/* A component that was added, and is not connected, is told when it comes. */
void component_shown_leaves(struct session *s)
{
    struct shown_worker *sw = shown_worker_of(s->account->worker);
    ensure(session_here(s));
    LIST_EACH (it, &sw->catching_up)
        (void)catch_up_session(s, slice_of(CONTAINER_OF(it, struct catch_up, node)->component));
}

static void catch_up_free(struct catch_up *a)
{
    timer_cancel(&a->timer);
    list_remove(&a->node);
    mem_free(&a->component);
    mem_free(&a);
}

static void catch_up_next(struct timer *t, struct loop *loop)
{
    struct catch_up *a = CONTAINER_OF(t, struct catch_up, timer);
    slice component = slice_of(a->component);
    uint32_t rows = 0,
             last = a->count - a->next < PAGE_SESSIONS ? a->count : a->next + PAGE_SESSIONS;
    if (!remote_expected(a->worker, component)) { /* it is deleted, and its rows are */
        catch_up_free(a);
        return;
    }
    while (a->next < last && rows < PAGE_ROWS) {
        struct session *s = session_find(a->worker, a->ids[a->next++]);
        rows += s == NULL ? 0 : catch_up_session(s, component);
    }
    if (a->next < a->count)
        timer_set(loop, t, PAUSE_MS);
    else
        catch_up_free(a);
}

static void catch_up_end(struct shown_worker *sw, slice component)
{
    LIST_EACH (it, &sw->catching_up) {
        struct catch_up *a = CONTAINER_OF(it, struct catch_up, node);
        if (slice_is(component, a->component)) {
            catch_up_free(a);
            return;
        }
    }
}

void component_shown_again(struct worker *w, slice component)
{
    struct shown_worker *sw = shown_worker_of(w);
    const struct session *s;
    ensure(worker_is_here(w) && component.len > 0);
    catch_up_end(sw, component); /* its rows may have been deleted since then */
    struct catch_up *a = mem_zalloc(sizeof *a + sessions_count(w) * sizeof a->ids[0]);
    a->worker = w;
    a->timer.fn = catch_up_next;
    a->component = mem_zalloc(component.len + 1);
    memcpy(a->component, component.ptr, component.len);
    for (uint32_t i = 0; (s = sessions_next(w, &i)) != NULL;)
        a->ids[a->count++] = s->id;
    list_append(&sw->catching_up, &a->node);
    catch_up_next(&a->timer, worker_loop(w));
}

/* Of what this worker has not come to, the next one knows nothing. */
static void shown_save(const struct session *s, struct buf *out)
{
    struct shown_worker *sw = shown_worker_of(s->account->worker);
    bool has_rows = s->to_component;
    LIST_EACH (it, &sw->catching_up) {
        slice component = slice_of(CONTAINER_OF(it, struct catch_up, node)->component);
        struct store_batch *b = catch_up_rows(s, component);
        has_rows = has_rows || b != NULL;
        if (b != NULL)
            shown_submit(s->account->worker, b);
    }
    if (has_rows)
        buf_add(out, SLICE("1"));
}

static void shown_restore(struct session *s, slice saved) { s->to_component = saved.len > 0; }

/* A component has come. */

static void showing_free(struct showing *g)
{
    store_cancel(&g->op);
    timer_cancel(&g->timer);
    list_remove(&g->node);
    buf_fini(&g->jid);
    buf_fini(&g->contact);
    mem_free(&g);
}

static void row_tell(struct worker *w, slice jid, slice contact)
{
    slice component = jid_split(contact).domain;
    ensure(worker_is_here(w) && component.len > 0);
    if (!remote_known(w, component))
        return;
    metric_add(&shown_gone, 1);
    route_send(w, stanza_make(STANZA_PRESENCE, TYPE_UNAVAILABLE, jid, contact, (slice){ 0 },
                              (slice){ 0 }));
    struct store_batch *b = shown_write(w, jid);
    STORE_ADD(b, &shown_delete, STORE_ANY_ROWS, SV_T(jid), SV_T(component), SV_T(contact));
    shown_submit(w, b);
}

/* A row of an account that is being loaded. */
struct row_held {
    uint16_t jid_len, contact_len;
    char text[]; /* both */
};

static void row_decide(struct account *a, enum err e, void *arg)
{
    struct row_held *row = arg;
    slice jid = { row->text, row->jid_len },
          contact = { row->text + row->jid_len, row->contact_len };
    bool over = e == OK && presence_is_over(a, jid_split(jid).resource, contact);
    if (over) /* else it stays until the next time */
        row_tell(a->worker, jid, contact);
    mem_free(&row);
}

/* The rows may be damaged: what makes no sense stays where it is. */
static void showing_row(const struct showing *g, slice text, slice contact)
{
    struct worker *w = g->worker;
    struct arena *tmp = loop_scratch(worker_loop(w));
    struct jid jid, to;
    if (jid_parse(&jid, text, tmp) != OK || jid.resource.len == 0 || !slice_eq(jid.full, text) ||
        jid_parse(&to, contact, tmp) != OK || !slice_eq(to.full, contact) ||
        !slice_eq(to.domain, shown_component(g)) || !node_is_home(w, jid_bare(&jid)))
        return;
    const struct account *a = account_seek(w, jid_bare(&jid));
    if (a == NULL || a->state == ACTOR_ABSENT) {
        row_tell(w, text, contact);
        return;
    }
    struct row_held *row = mem_alloc(sizeof *row + text.len + contact.len);
    row->jid_len = (uint16_t)text.len;
    row->contact_len = (uint16_t)contact.len;
    memcpy(row->text, text.ptr, text.len);
    memcpy(row->text + text.len, contact.ptr, contact.len);
    account_with(w, jid_bare(&jid), row_decide, row);
}

static void showing_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct showing *g = arg;
    uint32_t rows = store_row_count(b, 0);
    ensure(worker_is_here(g->worker) && rows <= PAGE_ROWS);
    g->op = NULL;
    if (result != STORE_OK)
        log_warn(&log_shown, LOG_EV("component.not-told"), LOG_S("domain", shown_component(g)),
                 LOG_C("why", store_result_name(result)),
                 LOG_C("hint", "it may take users for online who have left; it is told when it "
                               "connects the next time"));
    if (!remote_known(g->worker, shown_component(g))) { /* it has gone again */
        showing_free(g);
        return;
    }
    for (uint32_t i = 0; i < rows; i++)
        showing_row(g, store_text(b, 0, i, 0), store_text(b, 0, i, 1));
    if (rows < PAGE_ROWS) {
        showing_free(g);
        return;
    }
    buf_clear(&g->jid);
    buf_clear(&g->contact);
    buf_add(&g->jid, store_text(b, 0, rows - 1, 0));
    buf_add(&g->contact, store_text(b, 0, rows - 1, 1));
    timer_set(worker_loop(g->worker), &g->timer, PAUSE_MS);
}

static void showing_next(struct timer *t, struct loop *loop)
{
    struct showing *g = CONTAINER_OF(t, struct showing, timer);
    struct store_batch *b = store_read(worker_store(g->worker), 0);
    STORE_ADD(b, &shown_page, STORE_ANY_ROWS, SV_T(shown_component(g)), SV_T(buf_fit(&g->jid)),
              SV_T(buf_fit(&g->contact)), SV_I(PAGE_ROWS));
    g->op = store_submit(b, loop, 0, showing_read, g);
}

/* Sessions whose rows were read when it came before, and stayed, may have ended since. */
static void showing_end(struct shown_worker *sw, slice component)
{
    LIST_EACH (it, &sw->showings) {
        struct showing *g = CONTAINER_OF(it, struct showing, node);
        if (slice_eq(shown_component(g), component)) {
            showing_free(g);
            return;
        }
    }
}

static void shown_domain_back(struct worker *w, slice domain)
{
    struct shown_worker *sw = shown_worker_of(w);
    if (!remote_known(w, domain))
        return;
    showing_end(sw, domain);
    struct showing *g = mem_zalloc(sizeof *g + domain.len);
    g->worker = w;
    g->timer.fn = showing_next;
    buf_init(&g->jid, JID_MAX);
    buf_init(&g->contact, JID_MAX);
    g->len = (uint16_t)domain.len;
    memcpy(g->component, domain.ptr, domain.len);
    list_append(&sw->showings, &g->node);
    timer_set(worker_loop(w), &g->timer, 0);
}

static void shown_worker_stop(struct worker *w)
{
    struct shown_worker *sw = shown_worker_of(w);
    while (!list_empty(&sw->showings))
        showing_free(CONTAINER_OF(sw->showings.next, struct showing, node));
    while (!list_empty(&sw->catching_up))
        catch_up_free(CONTAINER_OF(sw->catching_up.next, struct catch_up, node));
}

static void shown_worker_ended(struct worker *w)
{
    struct shown_worker *sw = *worker_state(w, slot);
    if (sw != NULL)
        mem_free(&sw);
    *worker_state(w, slot) = NULL;
}

const struct feature component_shown_feature = {
    .name = "component_shown",
    .parts = PART_PRESENCE,
    .schema = &schema,
    .metrics = (struct metric *const[]){ &shown_gone, NULL },
    .logs = (struct log_area *const[]){ &log_shown, NULL },
    .session.available = shown_available,
    .session.save = shown_save,
    .session.restore = shown_restore,
    .worker.slot = &slot,
    .worker.stop = shown_worker_stop,
    .worker.ended = shown_worker_ended,
    .worker.domain_back = shown_domain_back,
};
