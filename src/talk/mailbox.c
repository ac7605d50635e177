#include "talk/mailbox.h"
#include "account/account.h"
#include "archive/ids.h"
#include "archive/size.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/setting.h"
#include "home/here.h"
#include "home/node.h"
#include "presence/roster.h"
#include "presence/roster_view.h"
#include "session/session_struct.h"
#include "talk/message.h"

enum { CURSOR_MS = 1000 };

uint64_t mailbox_mint(struct account *a) { return archive_mint(a->worker, &a->mailbox.last_id); }

static struct entry *at(const struct mailbox *m, uint32_t i)
{
    return &m->ring[(m->head + i) & (m->cap - 1)];
}

/* The place of the first with this id or a higher one: ids rise, so the ring is searched by halves.
 */
static uint32_t mailbox_place(const struct mailbox *m, uint64_t id)
{
    uint32_t lo = 0, hi = m->len;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (at(m, mid)->id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct entry *mailbox_find(const struct mailbox *m, uint64_t id)
{
    uint32_t i = mailbox_place(m, id);
    return i < m->len && at(m, i)->id == id ? at(m, i) : NULL;
}

void mailbox_open(struct account *a, uint64_t id, enum entry_state state)
{
    struct mailbox *m = &a->mailbox;
    ensure(m->len == 0 || at(m, m->len - 1)->id < id);
    if (m->len == m->cap) {
        uint32_t cap = m->cap == 0 ? 8 : m->cap * 2;
        struct entry *ring = mem_alloc(cap * sizeof *ring);
        for (uint32_t i = 0; i < m->len; i++)
            ring[i] = *at(m, i);
        mem_free(&m->ring);
        m->ring = ring;
        m->cap = cap;
        m->head = 0;
    }
    *at(m, m->len++) = (struct entry){ .id = id, .state = (uint8_t)state };
    m->open++;
}

void mailbox_hide(struct account *a, uint64_t id)
{
    struct entry *e = mailbox_find(&a->mailbox, id);
    if (e != NULL)
        e->hidden = a->mailbox.hidden = true;
}

void mailbox_strange(struct account *a, uint64_t id)
{
    struct entry *e = mailbox_find(&a->mailbox, id);
    if (e == NULL || e->stranger)
        return;
    e->stranger = true;
    if (e->state != ENTRY_SETTLED) {
        a->mailbox.strangers++;
        a->mailbox.stranger_bytes += e->bytes;
    }
}

void mailbox_quiet(struct account *a, uint64_t id)
{
    struct entry *e = mailbox_find(&a->mailbox, id);
    if (e == NULL || e->quiet)
        return;
    e->quiet = true;
    a->mailbox.quiet += e->state != ENTRY_SETTLED;
}

void mailbox_from(struct account *a, uint64_t id, slice bare)
{
    struct entry *e = mailbox_find(&a->mailbox, id);
    if (e != NULL)
        e->from = (uint32_t)hash_keyed(bare);
}

uint64_t mailbox_cursor(const struct account *a) { return a->mailbox.cursor; }
uint32_t mailbox_unsettled(const struct account *a) { return a->mailbox.open; }
uint32_t mailbox_messages(const struct account *a) { return a->mailbox.open - a->mailbox.quiet; }

void mailbox_weigh(struct account *a, uint64_t id, size_t len)
{
    struct entry *e = mailbox_find(&a->mailbox, id);
    size_t bytes = len + ARCHIVE_ROW_BYTES;
    if (e == NULL || e->state == ENTRY_SETTLED)
        return;
    ensure(e->bytes == 0);
    e->bytes = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
    a->mailbox.open_bytes += e->bytes;
    a->mailbox.stranger_bytes += e->stranger ? e->bytes : 0;
}

bool mailbox_is_stranger(const struct account *a, slice bare)
{
    if (roster_count(a) == 0 /* there is no contact to keep room for */ ||
        node_serves(account_node(a), bare))
        return false;
    return !roster_is_contact(a, bare) && !slice_eq(bare, a->jid);
}

bool mailbox_hides(const struct account *a, uint64_t id)
{
    const struct mailbox *m = &a->mailbox;
    const struct entry *e = m->hidden ? mailbox_find(m, id) : NULL;
    return e != NULL && e->hidden;
}

void mailbox_set(struct account *a, uint64_t id, enum entry_state state)
{
    struct entry *e = mailbox_find(&a->mailbox, id);
    if (e != NULL && e->state != ENTRY_SETTLED)
        e->state = (uint8_t)state;
}

/* What is settled above the cursor: ranges of ids between entries that are not, each as its first
 * and last id of 8 bytes, low byte first. */
enum { RANGE_BYTES = 16 };

static void put_id(uint8_t *out, uint64_t id)
{
    for (unsigned i = 0; i < 8; i++)
        out[i] = (uint8_t)(id >> 8 * i);
}

static uint64_t get_id(const char *in)
{
    uint64_t id = 0;
    for (unsigned i = 0; i < 8; i++)
        id |= (uint64_t)(uint8_t)in[i] << 8 * i;
    return id;
}

static void add_ranges(struct buf *out, const struct mailbox *m)
{
    uint8_t range[RANGE_BYTES];
    for (uint32_t i = 0; i < m->len && out->len + RANGE_BYTES <= out->max; i++) {
        if (at(m, i)->state != ENTRY_SETTLED)
            continue;
        put_id(range, at(m, i)->id);
        while (i + 1 < m->len && at(m, i + 1)->state == ENTRY_SETTLED)
            i++;
        put_id(range + 8, at(m, i)->id);
        buf_append(out, range, sizeof range);
    }
}

bool mailbox_ranges_have(slice *ranges, uint64_t id)
{
    while (ranges->len >= RANGE_BYTES && get_id(ranges->ptr + 8) < id)
        *ranges = slice_from(*ranges, RANGE_BYTES);
    return ranges->len >= RANGE_BYTES && get_id(ranges->ptr) <= id;
}

static void cursor_due(struct timer *t, struct loop *loop);

/* What is settled may not be on disk: it is written again, from the begin. */
static void write_again(struct account *a)
{
    struct mailbox *m = &a->mailbox;
    m->cursor_stored = 0; /* what is settled once more is allowed (§6) */
    m->dirty = true;
    m->hidden = true; /* perhaps: it looks from the begin then */
    m->timer.fn = cursor_due;
    if (!timer_is_set(&m->timer))
        timer_set(worker_loop(a->worker), &m->timer, CURSOR_MS);
}

static void cursor_written(void *arg, enum store_result result, const struct store_batch *b)
{
    struct account *a = arg;
    struct mailbox *m = &a->mailbox;
    (void)b;
    m->writing = false;
    if (result != STORE_OK)
        write_again(a);
    if (m->dirty && !timer_is_set(&m->timer))
        timer_set(worker_loop(a->worker), &m->timer, CURSOR_MS);
    account_unpin(a);
}

struct mailbox_write {
    struct account *account; /* pinned */
    void (*done)(void *arg, enum err e);
    void *arg;
};

static void mailbox_written(void *arg, enum store_result result, const struct store_batch *b)
{
    struct mailbox_write *w = arg;
    (void)b;
    if (result != STORE_OK)
        write_again(w->account);
    w->done(w->arg, err_of_store(result));
    account_unpin(w->account);
    mem_free(&w);
}

void mailbox_write(struct account *a, void (*done)(void *arg, enum err e), void *arg)
{
    struct mailbox_write *w = mem_alloc(sizeof *w);
    struct store_batch *b = store_write(worker_store(a->worker), account_lane(a));
    *w = (struct mailbox_write){ a, done, arg };
    mailbox_save(a, b);
    account_pin(a);
    store_submit(b, worker_loop(a->worker), 0, mailbox_written, w);
}

void mailbox_save(struct account *a, struct store_batch *b)
{
    struct mailbox *m = &a->mailbox;
    struct buf ranges;
    buf_init(&ranges, SETTLED_RANGES_MAX * RANGE_BYTES);
    add_ranges(&ranges, m);
    STORE_ADD(b, &archive_cursor_put, 1, SV_I(a->id), SV_I(m->cursor),
              ranges.len == 0 ? SV_NULL : SV_B(buf_fit(&ranges)));
    buf_fini(&ranges);
    if (m->hidden)
        archive_remove_hidden(b, a->id, m->cursor_stored, m->cursor);
    m->hidden = m->hidden && m->len > 0;
    m->cursor_stored = m->cursor;
    m->dirty = false;
}

void mailbox_store(struct account *a)
{
    if (a->mailbox.writing || mailbox_clean(a))
        return;
    struct store_batch *b = store_write(worker_store(a->worker), account_lane(a));
    mailbox_save(a, b);
    a->mailbox.writing = true;
    account_pin(a);
    store_submit(b, worker_loop(a->worker), 0, cursor_written, a);
}

static void cursor_due(struct timer *t, struct loop *loop)
{
    (void)loop;
    mailbox_store(CONTAINER_OF(t, struct account, mailbox.timer));
}

static void mailbox_advance(struct mailbox *m)
{
    while (m->len > 0 && at(m, 0)->state == ENTRY_SETTLED) {
        m->cursor = at(m, 0)->id;
        m->head = (m->head + 1) & (m->cap - 1);
        m->len--;
    }
}

/* Of settled entries in a row the first and the last say it all: what the ring does not have counts
 * as settled. */
static void compact(struct mailbox *m)
{
    enum { SPARE = 64 };
    uint32_t kept = 1;
    if (m->len / 6 <= m->open + SPARE)
        return;
    for (uint32_t i = 1; i < m->len; i++) {
        struct entry e = *at(m, i);
        bool inner = i + 1 < m->len && e.state == ENTRY_SETTLED &&
                     at(m, kept - 1)->state == ENTRY_SETTLED &&
                     at(m, i + 1)->state == ENTRY_SETTLED;
        if (!inner)
            *at(m, kept++) = e;
    }
    m->len = kept;
}

void mailbox_settle(struct account *a, uint64_t id)
{
    struct mailbox *m = &a->mailbox;
    struct entry *e = mailbox_find(m, id);
    if (e == NULL || e->state == ENTRY_SETTLED)
        return;
    e->state = ENTRY_SETTLED;
    m->open--;
    m->strangers -= e->stranger;
    m->quiet -= e->quiet;
    m->open_bytes -= e->bytes;
    m->stranger_bytes -= e->stranger ? e->bytes : 0;
    m->dirty = true;
    mailbox_advance(m);
    compact(m);
    if (m->len == 0 &&
        m->cursor < m->last_id) /* nothing waits: what the owner sent is behind, too */
        m->cursor = m->last_id;
    if (m->len == 0 && m->cap > 64) {
        mem_free(&m->ring);
        m->cap = m->head = 0;
    }
    if (!m->writing && !timer_is_set(&m->timer)) {
        m->timer.fn = cursor_due;
        timer_set(worker_loop(a->worker), &m->timer, CURSOR_MS);
    }
}

void mailbox_settle_archived(struct account *a)
{
    struct mailbox *m = &a->mailbox;
    for (uint32_t i = m->len; i-- > 0;) { /* settling moves the others only to the front */
        const struct entry *e = i < m->len ? at(m, i) : NULL;
        if (e != NULL && e->state == ENTRY_OPEN && !e->hidden)
            mailbox_settle(a, e->id);
    }
}

bool mailbox_clean(const struct account *a) { return !a->mailbox.writing && !a->mailbox.dirty; }

bool mailbox_full(const struct account *a)
{
    const struct mailbox *m = &a->mailbox;
    return (int64_t)m->open >= setting_int(&mailbox_unsettled_max) ||
           (int64_t)m->open_bytes >= setting_int(&mailbox_unsettled_bytes);
}

static int64_t strangers_part(const struct setting *limit)
{
    int64_t max = setting_int(limit), share = setting_int(&mailbox_stranger_share);
    return max / 100 * share + max % 100 * share / 100;
}

bool mailbox_full_of_strangers(const struct account *a)
{
    const struct mailbox *m = &a->mailbox;
    return (int64_t)m->strangers >= strangers_part(&mailbox_unsettled_max) ||
           (int64_t)m->stranger_bytes >= strangers_part(&mailbox_unsettled_bytes);
}

static bool is_from_stranger(const struct account *a, const struct stanza *st)
{
    slice local, domain, from = stanza_from_bare(st);
    return slice_cut(from, '@', &local, &domain) && node_serves(account_node(a), domain) &&
           mailbox_is_stranger(a, from);
}

bool mailbox_is_crowded(const struct account *a, const struct stanza *st)
{
    int64_t part = strangers_part(&sm_queue_bytes);
    if ((int64_t)a->queue_bytes + st->bytes <= part || !is_from_stranger(a, st))
        return false;
    LIST_EACH (it, &a->sessions) {
        const struct session *s = CONTAINER_OF(it, struct session, node);
        if (s->state == SESSION_ATTACHED && (int64_t)s->queue_bytes + st->bytes > part)
            return true;
    }
    return false;
}

enum entry_state mailbox_state(const struct account *a, uint64_t id)
{
    const struct entry *e = mailbox_find(&a->mailbox, id);
    return e == NULL ? ENTRY_SETTLED : (enum entry_state)e->state;
}

uint64_t mailbox_next_open(const struct account *a, uint64_t after)
{
    const struct mailbox *m = &a->mailbox;
    for (uint32_t i = mailbox_place(m, after + 1); i < m->len; i++)
        if (at(m, i)->state == ENTRY_OPEN)
            return at(m, i)->id;
    return 0;
}

uint64_t mailbox_last_from(const struct account *a, slice bare)
{
    const struct mailbox *m = &a->mailbox;
    uint32_t from = (uint32_t)hash_keyed(bare);
    for (uint32_t i = m->len; i-- > 0;)
        if (at(m, i)->state == ENTRY_OPEN && at(m, i)->from == from)
            return at(m, i)->id;
    return 0;
}

bool mailbox_has_open(const struct account *a)
{
    const struct mailbox *m = &a->mailbox;
    for (uint32_t i = 0; i < m->len; i++)
        if (at(m, i)->state == ENTRY_OPEN)
            return true;
    return false;
}

void mailbox_load(struct account *a, struct store_batch *b)
{
    store_read_late(b, a->id);
    STORE_ADD(b, &archive_load, STORE_ANY_ROWS, SV_I(a->id));
    STORE_ADD(b, &archive_open, STORE_ANY_ROWS, SV_I(a->id));
}

void mailbox_loaded(struct account *a, const struct store_batch *b, unsigned first)
{
    struct mailbox *m = &a->mailbox;
    slice ranges = store_text(b, first, 0, 2);
    m->cursor = m->cursor_stored = (uint64_t)store_int(b, first, 0, 0);
    m->last_id = (uint64_t)store_int(b, first, 0, 1);
    if (m->last_id < m->cursor)
        m->last_id = m->cursor;
    for (uint32_t i = 0; i < store_row_count(b, first + 1); i++) {
        uint64_t id = (uint64_t)store_int(b, first + 1, i, 0);
        int64_t flags = store_int(b, first + 1, i, 1);
        mailbox_open(a, id, ENTRY_OPEN);
        if ((flags & ENTRY_HIDDEN) != 0)
            mailbox_hide(a, id);
        if ((flags & MESSAGE_QUIET) != 0)
            mailbox_quiet(a, id);
        if (mailbox_ranges_have(&ranges, id)) {
            at(m, m->len - 1)->state = ENTRY_SETTLED;
            m->open--;
            m->quiet -= at(m, m->len - 1)->quiet;
        }
        mailbox_from(a, id, store_text(b, first + 1, i, 2));
        mailbox_weigh(a, id, (size_t)store_int(b, first + 1, i, 3));
    }
    mailbox_advance(m); /* what held it back may be gone */
    compact(m);
}

void mailbox_loaded_roster(struct account *a, const struct store_batch *b, unsigned first)
{
    for (uint32_t i = 0; i < store_row_count(b, first + 1); i++)
        if (mailbox_is_stranger(a, store_text(b, first + 1, i, 2)))
            mailbox_strange(a, (uint64_t)store_int(b, first + 1, i, 0));
}

void mailbox_fini(struct account *a)
{
    timer_cancel(&a->mailbox.timer);
    mem_free(&a->mailbox.ring);
}

uint64_t mailbox_newest(const struct account *a)
{
    const struct mailbox *m = &a->mailbox;
    return m->len == 0 ? 0 : at(m, m->len - 1)->id;
}
