#include "ext/mam/mam_talk.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "home/here.h"
#include "home/host.h"
#include "xmpp/jid.h"
#include <assert.h>

enum {
    PAGE_MS = 2000,
    LINE_MS = 60000
}; /* how long a page is read, and how long it waits before */

static_assert(ROOM_ID_MIN == 1099511627776, "OF_NOBODY has it");

/* Entries `e` of the conversation, newest first: $1 the owner, $2 the address of the other side (in
 * a room: of the author), $3 only entries with lower archive ids, $4 how many. Behind it, the row
 * of the log `m` has TALK_IS. A deleted account has had two peers: its own, and none. */
#define OF_ACCOUNT                                                                                 \
    "coalesce((SELECT id FROM account WHERE jid = $2),"                                            \
    " (SELECT max(id) FROM former WHERE jid = $2))"
#define OF_NOBODY                                                                                  \
    "(SELECT CASE WHEN $1 < 1099511627776 AND EXISTS (SELECT 1 FROM account WHERE jid = $2)"       \
    " THEN -1 ELSE 0 END)"
#define TALK_PART(index, of)                                                                       \
    "SELECT * FROM (SELECT id, peer, msg FROM entry" index " WHERE owner = $1 AND peer = " of      \
    " AND id < $3 ORDER BY id DESC LIMIT $4) AS part"
#define TALK(index)                                                                                \
    "(SELECT * FROM (" TALK_PART(index, OF_ACCOUNT) " UNION ALL " TALK_PART(                       \
        index, OF_NOBODY) ") AS parts ORDER BY id DESC LIMIT $4) e"
#define TALK_IS "(e.peer <> 0 OR m.remote = $2)"

/* `o` is the event that has what was retracted. */
#define CANDIDATES(index, find)                                                                    \
    "SELECT " ARCHIVE_LINE_COLUMNS ", e.id, o.stanza FROM " TALK(                                  \
        index) " JOIN message m ON m.id = e.msg LEFT JOIN archive_event v ON v.about = m.id"       \
               " LEFT JOIN message o ON o.id = v.id WHERE " TALK_IS " AND " find                   \
               "(coalesce(o.stanza, m.stanza), $5) > 0 ORDER BY e.id DESC LIMIT $6"
static struct store_stmt talk_candidates = {
    .name = "mam.candidates",
    .sqlite = CANDIDATES(" INDEXED BY entry_peer", "instr"),
    .pgsql = CANDIDATES("", "strpos"),
    .params = "itiiti",
    .cols = "iiiiiitiT",
};
#define PAGE(index) "SELECT count(*), coalesce(min(e.id), 0) FROM " TALK(index)
static struct store_stmt talk_page = {
    .name = "mam.talk-page",
    .sqlite = PAGE(" INDEXED BY entry_peer"),
    .pgsql = PAGE(""),
    .params = "itii",
    .cols = "ii",
};
struct store_stmt *const mam_talk_stmts[] = { &talk_candidates, &talk_page, NULL };
enum { CANDIDATE_ROWS, PAGE_ROW };

/* Raw: a room writes the same id in the same way. */
static slice talk_occupant_id(const struct stanza *st)
{
    struct elem e;
    return stanza_child(st, KNOWN_OCCUPANT_ID, &e) ? elem_attr_raw(&e, "id") : SLICE("");
}

/* With an occupant of a room: by the mark of XEP-0045 §7.5, which rooms set and clients may leave
 * out. */
static bool talk_in_room(const struct worker *w, const struct stanza *st, bool sent)
{
    slice domain = jid_split(stanza_to(st)).domain;
    return stanza_has(st, KNOWN(MUC_USER)) ||
           (sent && host_find(worker_node(w), domain, &(slice){ 0 }) != NULL);
}

bool mam_same_talk(const struct worker *w, const struct stanza *st, const struct stanza *earlier,
                   bool sent)
{
    if (earlier->kind != STANZA_MESSAGE ||
        !slice_eq(stanza_from_bare(earlier), stanza_from_bare(st)) ||
        !slice_eq(stanza_to_bare(earlier), stanza_to_bare(st)))
        return false;
    if (!talk_in_room(w, st, sent) && !talk_in_room(w, earlier, sent))
        return true;
    return sent ? slice_eq(stanza_to(earlier), stanza_to(st))
                : slice_eq(stanza_from(earlier), stanza_from(st)) &&
                      slice_eq(talk_occupant_id(earlier), talk_occupant_id(st));
}

static bool talk_found(struct mam_search *s, const struct store_batch *b, uint32_t row)
{
    struct arena *tmp = loop_scratch(worker_loop(s->worker));
    struct archive_line m = archive_line_of(b, CANDIDATE_ROWS, row);
    slice said = store_text(b, CANDIDATE_ROWS, row, 8);
    struct stanza *st;
    if (said.ptr == NULL)
        said = m.stanza;
    if (stanza_load(&st, said, worker_xml(s->worker), tmp) != OK)
        return false;
    bool found = s->found(s, &m, said, st);
    stanza_unref(&st);
    return found;
}

static void talk_read(void *arg, enum store_result result, const struct store_batch *b)
{
    struct mam_search *s = arg;
    if (result == STORE_CONFLICT && s->candidates > 1) { /* too many bytes */
        s->candidates = store_fewer(s->candidates);
        mam_search(s);
        return;
    }
    if (result != STORE_OK) {
        s->end(s, result);
        return;
    }
    ensure(worker_is_here(s->worker) && store_row_count(b, PAGE_ROW) == 1);
    uint32_t rows = store_row_count(b, CANDIDATE_ROWS);
    int64_t count = store_int(b, PAGE_ROW, 0, 0);
    for (uint32_t i = 0; i < rows; i++)
        if (talk_found(s, b, i))
            return;
    if (rows == s->candidates) { /* there may be more of them in this page */
        s->before = (uint64_t)store_int(b, CANDIDATE_ROWS, rows - 1, 7);
        s->looked += rows;
    } else {
        s->before = (uint64_t)store_int(b, PAGE_ROW, 0, 1);
        s->looked += (uint32_t)count;
    }
    if (count < MAM_PAGE && rows < s->candidates)
        s->end(s, STORE_OK);
    else
        mam_search(s);
}

void mam_search(struct mam_search *s)
{
    struct buf escaped;
    ensure(s->owner != 0 && s->found != NULL && s->end != NULL);
    if (s->looked >= MAM_LOOK_BACK) {
        s->end(s, STORE_OK);
        return;
    }
    if (s->candidates == 0)
        s->candidates = MAM_CANDIDATES;
    struct store_batch *b = store_read(worker_store(s->worker), s->looked == 0 ? s->lane : 0);
    buf_init(&escaped, XML_PART_MAX);
    xml_escape(&escaped, s->id);
    if (s->looked == 0)
        store_read_late(b, s->owner);
    store_read_long(b, s->user, PAGE_MS);
    STORE_ADD(b, &talk_candidates, STORE_ANY_ROWS, SV_I(s->owner), SV_T(s->address),
              SV_I(s->before), SV_I(MAM_PAGE), SV_T(buf_fit(&escaped)), SV_I(s->candidates));
    STORE_ADD(b, &talk_page, STORE_ANY_ROWS, SV_I(s->owner), SV_T(s->address), SV_I(s->before),
              SV_I(MAM_PAGE));
    buf_fini(&escaped);
    store_submit(b, worker_loop(s->worker), LINE_MS, talk_read, s);
}
