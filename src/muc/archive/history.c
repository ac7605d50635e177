#include "muc/archive/history.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "xmpp/ns.h"
#include "xmpp/stanza.h"

enum { RING_FIRST = 16 };

struct history_line {
    struct stanza *st; /* as it is sent */
    uint64_t id, at_us;
    char *author; /* bare JID; NULL: the room */
};

static struct history_line *line(const struct room_history *h, uint32_t i)
{
    return &h->ring[(h->head + i) & (h->cap - 1)];
}

static void history_drop_first(struct room_history *h)
{
    ensure(h->len > 0);
    struct history_line *l = line(h, 0);
    h->bytes -= l->st->bytes;
    stanza_unref(&l->st);
    mem_free(&l->author);
    h->head = (h->head + 1) & (h->cap - 1);
    h->len--;
}

void room_history_init(struct room_history *h) { *h = (struct room_history){ 0 }; }

void room_history_fini(struct room_history *h)
{
    while (h->len > 0)
        history_drop_first(h);
    mem_free(&h->ring);
    h->cap = h->head = 0;
}

void room_history_trim(struct room_history *h, size_t bytes)
{
    while (h->bytes > bytes)
        history_drop_first(h);
}

static void shrink(struct room_history *h, uint32_t most)
{
    while (h->len > most || (h->len > 1 && h->bytes > HISTORY_BYTES))
        history_drop_first(h);
}

static void history_grow(struct room_history *h)
{
    if (h->len < h->cap)
        return;
    uint32_t cap = h->cap == 0 ? RING_FIRST : 2 * h->cap;
    struct history_line *ring = mem_alloc(cap * sizeof *ring);
    for (uint32_t i = 0; i < h->len; i++)
        ring[i] = *line(h, i);
    mem_free(&h->ring);
    h->ring = ring;
    h->cap = cap;
    h->head = 0;
}

static char *author_of(slice sender)
{
    if (sender.len == 0)
        return NULL;
    struct jid jid = jid_split(sender);
    slice bare = jid_bare(&jid);
    char *out = mem_alloc(bare.len + 1);
    memcpy(out, bare.ptr, bare.len);
    out[bare.len] = '\0';
    return out;
}

/* XEP-0203 §3, with the room as the one that delayed it (XEP-0045 §7.2.14). */
struct stanza *room_stamped(const struct room_post *p, slice room)
{
    struct buf delay;
    struct xml_write x;
    char stamp[CLOCK_STAMP_LEN];
    clock_stamp(stamp, p->at_us);
    xml_begin(&x, &delay, XML_PART_MAX);
    xml_open_with(&x, "delay", NS_DELAY, "from", room);
    xml_attr(&x, "stamp", slice_of(stamp));
    xml_close(&x);
    struct stanza *st = stanza_change(
        p->st,
        &(struct stanza_change){ .to = { "", 0 }, .known = KNOWN(DELAY), .more = buf_fit(&delay) });
    buf_fini(&delay);
    return st;
}

void room_history_add(struct room_history *h, const struct room_post *p, uint32_t most, slice room)
{
    if (most == 0 || (stanza_has(p->st, KNOWN(SUBJECT)) && !stanza_has(p->st, KNOWN(BODY))))
        return;
    history_grow(h);
    struct history_line *l = line(h, h->len++);
    /* messages that an owner brought from another chat keep their stamp (§7.9) */
    bool stamped = stanza_has(p->st, KNOWN(DELAY));
    *l = (struct history_line){ stamped ? stanza_ref(p->st) : room_stamped(p, room), p->id,
                                p->at_us, author_of(p->sender) };
    h->bytes += l->st->bytes;
    shrink(h, most < HISTORY_MAX ? most : HISTORY_MAX);
}

/* Bytes that it takes on the stream. */
static uint64_t chars_of(const struct stanza *st, slice to)
{
    const struct stanza_note note = { .to = to.len > 0 ? to : (slice){ 0 } };
    char *text = mem_alloc(stanza_write_max(st, &note));
    size_t len = stanza_write(text, st, &note);
    uint64_t chars = 0;
    for (size_t i = 0; i < len; i++)
        chars += ((unsigned char)text[i] & 0xc0) != 0x80;
    mem_free(&text);
    return chars;
}

void room_history_each(const struct room_history *h, const struct history_ask *ask, uint32_t most,
                       room_history_fn *fn, void *arg)
{
    uint32_t first = h->len;
    uint64_t chars = 0;
    if (ask->stanzas < most)
        most = ask->stanzas;
    while (first > 0 && h->len - first < most) {
        const struct history_line *l = line(h, first - 1);
        if (ask->chars != UINT64_MAX)
            chars += chars_of(l->st, ask->to);
        if (chars > ask->chars || l->at_us < ask->since_us)
            break;
        first--;
    }
    for (; first < h->len; first++)
        fn(line(h, first)->st, arg);
}

/* The elements added by the server stay: author, time and id. */
static bool history_is_content(enum known_child known, const struct elem *e, void *arg)
{
    (void)e, (void)arg;
    return known != KNOWN_OCCUPANT_ID && known != KNOWN_DELAY && known != KNOWN_STANZA_ID;
}

bool room_history_bury(struct room_history *h, uint64_t id, slice author, slice tombstone)
{
    for (uint32_t i = 0; i < h->len; i++) {
        struct history_line *l = line(h, i);
        if (l->id != id || id == 0)
            continue;
        if (author.len > 0 && !slice_eq(slice_of(l->author), author))
            return false;
        struct stanza *st = stanza_change(
            l->st, &(struct stanza_change){
                       .known = ~0ull, .unwanted = history_is_content, .more = tombstone });
        h->bytes += st->bytes;
        h->bytes -= l->st->bytes;
        stanza_unref(&l->st);
        l->st = st;
        return true;
    }
    return false;
}

uint32_t room_history_since(const struct room_history *h, uint64_t id, slice author)
{
    uint32_t n = 0;
    for (uint32_t i = h->len; i > 0 && line(h, i - 1)->id > id; i--) {
        const struct history_line *l = line(h, i - 1);
        bool own = l->author != NULL && slice_eq(slice_of(l->author), author);
        n += !own && stanza_has(l->st, KNOWN(BODY) | KNOWN(ENCRYPTED));
    }
    return n;
}

static bool tombstone_drops(enum known_child known, const struct elem *e, void *arg)
{
    (void)e, (void)arg;
    return known != KNOWN_OCCUPANT_ID;
}

struct stanza *room_tombstone(const struct stanza *st, slice xml)
{
    return stanza_change(
        st, &(struct stanza_change){ .known = ~0ull, .unwanted = tombstone_drops, .more = xml });
}
