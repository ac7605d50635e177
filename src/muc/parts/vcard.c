/* vcard: the card of a room with its avatar (XEP-0486): owners set it as vcard-temp, everybody
 * reads it, disco#info tells the hashes of its photos, and those who are in hear of a change (104).
 * The card of a stored room is in the database only; that of an ad hoc room is in memory.
 *
 * Limits: VCARD_BYTES_MAX of a card, VCARD_PHOTOS_MAX photos; cards of ad hoc rooms count for who
 * made the room (muc/room/makers.h). */
#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "core/feature.h"
#include "muc/muc.h"
#include "muc/parts.h"
#include "muc/people/affiliation.h"
#include "muc/people/show.h"
#include "muc/room/makers.h"
#include "muc/room/part.h"
#include "muc/room/room.h"
#include "muc/room/room_line.h"
#include "muc/room/rooms.h"
#include "muc/room/settings.h"
#include "muc/state/store.h"
#include "store/store.h"
#include "xmpp/disco_info.h"
#include "xmpp/muc.h"
#include "xmpp/ns.h"
#include <openssl/sha.h>

enum { VCARD_BYTES_MAX = 256 * 1024, VCARD_PHOTOS_MAX = 4, HASHES_BYTES_MAX = 1024 };

static const struct store_migration migrations[] = {
    { 1,
      "CREATE TABLE room_vcard(room INTEGER PRIMARY KEY, hashes TEXT NOT NULL, vcard TEXT NOT "
      "NULL)",
      "CREATE TABLE room_vcard(room BIGINT PRIMARY KEY, hashes TEXT NOT NULL, vcard TEXT NOT "
      "NULL)" },
    { 0 }
};
static struct store_stmt put = {
    .name = "room.vcard",
    .sql = "INSERT INTO room_vcard(room, hashes, vcard) SELECT $1, $2, $3" ROOM_EXISTS
           " ON CONFLICT(room) DO UPDATE SET hashes = excluded.hashes, vcard = excluded.vcard",
    .params = "itt",
    .cols = "",
};
static struct store_stmt delete = {
    .name = "room.vcard-delete",
    .sql = "DELETE FROM room_vcard WHERE room = $1",
    .params = "i",
    .cols = "",
};
static struct store_stmt vcard_get = {
    .name = "room.vcard-get",
    .sql = "SELECT vcard FROM room_vcard WHERE room = $1",
    .params = "i",
    .cols = "t",
};
static struct store_stmt vcard_hashes = {
    .name = "room.vcard-hashes",
    .sql = "SELECT v.hashes FROM room r JOIN room_vcard v ON v.room = r.id WHERE r.jid = $1",
    .params = "t",
    .cols = "t",
};
static const struct store_schema schema = {
    .feature = "room_vcard",
    .migrations = migrations,
    .stmts = (struct store_stmt *const[]){ &put, &delete, &vcard_get, &vcard_hashes, NULL },
};

/* At the slot of the room, if it has a card. */
struct room_card {
    slice text;   /* of an ad hoc room; owned; empty: none, or in the database */
    slice hashes; /* of its photos; owned */
};
static unsigned vcard_slot;

static const struct room_card *card_of(const struct room *r) { return *room_slot(r, vcard_slot); }
static void vcard_clear(struct room *r)
{
    struct room_card *card = *room_slot(r, vcard_slot);
    if (card == NULL)
        return;
    ensure(r->part_bytes >= card->text.len);
    r->part_bytes -= card->text.len;
    slice_release(&card->text);
    slice_release(&card->hashes);
    mem_free(room_slot(r, vcard_slot));
}

/* Replaces what the room had. Copies. */
static void vcard_keep(struct room *r, slice text, slice hashes)
{
    vcard_clear(r);
    if (text.len == 0 && hashes.len == 0)
        return;
    struct room_card *card = *room_slot(r, vcard_slot) = mem_new(struct room_card);
    card->text = slice_keep(text);
    card->hashes = slice_keep(hashes);
    r->part_bytes += text.len;
}

static void vcard_load(struct store_batch *b, slice room)
{
    STORE_ADD(b, &vcard_hashes, STORE_ANY_ROWS, SV_T(room));
}

static void vcard_loaded(struct room *r, const struct store_batch *b, unsigned at)
{
    if (store_row_count(b, at) == 1)
        vcard_keep(r, (slice){ 0 }, store_text(b, at, 0, 0));
}

static void vcard_store(struct store_batch *b, const struct room *r)
{
    const struct room_card *card = card_of(r);
    if (card != NULL && card->text.len > 0)
        STORE_ADD(b, &put, 1, SV_I(r->id), SV_T(card->hashes), SV_T(card->text));
}

static void card_remove(struct store_batch *b, const struct room *r)
{
    STORE_ADD(b, &delete, STORE_ANY_ROWS, SV_I(r->id));
}

/* The card of a room that is persistent no longer was in the database. */
static void vcard_configured(struct room *r, const struct room_configured *c)
{
    const struct room_card *card = card_of(r);
    if (c->was_stored && !r->stored && card != NULL && card->text.len == 0) {
        vcard_clear(r);
        room_makers_weigh(r);
    }
}

static void vcard_info(struct disco_info *d, const struct room *r, struct arena *tmp)
{
    const struct room_card *card = card_of(r);
    (void)tmp;
    if (card == NULL || card->hashes.len == 0)
        return;
    slice rest = card->hashes, hash;
    struct disco_field *f = disco_add_field(d, SLICE("muc#roominfo_avatarhash"));
    f->type = "text-multi"; /* XEP-0486 */
    while (slice_word(&rest, &hash))
        disco_add_value(f, hash);
}

/* Lines are broken where the writer liked. */
static bool image_of(const struct elem *data, struct arena *tmp, struct buf *image)
{
    slice text = elem_text(data, tmp);
    char *bare = arena_new(tmp, char, text.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] != ' ' && text.ptr[i] != '\n' && text.ptr[i] != '\r' && text.ptr[i] != '\t')
            bare[n++] = text.ptr[i];
    return base64_decode(image, (slice){ bare, n }) == OK;
}

/* The hashes of its photos, with a space between. */
static bool hashes_of(const struct elem *card, struct arena *tmp, struct buf *out)
{
    struct elem e, data;
    unsigned n = 0;
    for (bool more = elem_first(card, &e); more; more = elem_next(&e, &e)) {
        unsigned char hash[SHA_DIGEST_LENGTH];
        char hex[2 * SHA_DIGEST_LENGTH + 1];
        if (!elem_is(&e, "PHOTO", NS_VCARD) || !elem_child(&e, "BINVAL", NS_VCARD, &data))
            continue;
        struct buf image;
        buf_init(&image, VCARD_BYTES_MAX);
        bool good = n < VCARD_PHOTOS_MAX && image_of(&data, tmp, &image);
        if (good) {
            SHA1((const unsigned char *)image.ptr, image.len, hash);
            hex_encode(hex, (slice){ (const char *)hash, sizeof hash });
            buf_printf(out, "%s%s", n++ > 0 ? " " : "", hex);
        }
        buf_fini(&image);
        if (!good)
            return false;
    }
    return true;
}

static bool card_read(struct elem *card, slice text)
{
    return text.len <= VCARD_BYTES_MAX && elem_parse(card, text, (slice){ 0 }) &&
           elem_is(card, "vCard", NS_VCARD);
}

/* In files. */

static void vcard_read_line(struct store_batch *b, const struct room *r)
{
    STORE_ADD(b, &vcard_get, STORE_ANY_ROWS, SV_I(r->id));
}

static void vcard_write_line(const struct room *r, const struct store_batch *b, unsigned first,
                             room_line_fn *write, void *arg)
{
    (void)r;
    if (store_row_count(b, first) == 1)
        write(&(struct room_line){ .type = LINE_CARD, .card = store_text(b, first, 0, 0) }, arg);
}

static bool vcard_line_fits(const struct room_line *l, uint32_t count, struct arena *tmp,
                            struct why *why)
{
    struct elem e;
    struct buf hashes;
    (void)count;
    buf_init(&hashes, HASHES_BYTES_MAX);
    bool right = card_read(&e, l->card) && hashes_of(&e, tmp, &hashes);
    buf_fini(&hashes);
    if (!right)
        why_set(why, "\"vcard\": allowed: a vCard of at most 256 KiB");
    return right;
}

static void vcard_line_store(struct store_batch *b, int64_t room, const struct room_line *l,
                             struct arena *tmp)
{
    struct elem e;
    struct buf hashes;
    buf_init(&hashes, HASHES_BYTES_MAX);
    if (card_read(&e, l->card) && hashes_of(&e, tmp, &hashes))
        STORE_ADD(b, &put, 1, SV_I(room), SV_T(hashes.len == 0 ? SLICE("") : buf_fit(&hashes)),
                  SV_T(l->card));
    buf_fini(&hashes);
}

static const struct room_lines vcard_lines = {
    .type = LINE_CARD,
    .read = vcard_read_line,
    .write = vcard_write_line,
    .fits = vcard_line_fits,
    .store = vcard_line_store,
};

struct setting_card {
    struct room *room; /* pinned */
    int64_t room_id;
    struct iq *iq; /* held */
    slice vcard, hashes;
};

static void muc_vcard_applied(struct setting_card *c, enum store_result result)
{
    struct room *r = c->room;
    ensure(room_here(r) && room_is_pinned(r) && c->iq->held);
    if (result == STORE_OK && room_is(r, c->room_id)) {
        vcard_keep(r, r->stored ? (slice){ 0 } : c->vcard, c->hashes);
        room_makers_weigh(r);
        r->beside = r->beside || !r->stored;
        room_announce(r, &(unsigned){ 104 }, 1);
        iq_result(c->iq, (slice){ 0 });
    } else {
        iq_error(c->iq, SE_RESOURCE_CONSTRAINT, SLICE("the card could not be stored now"));
    }
    slice_release(&c->vcard);
    slice_release(&c->hashes);
    room_unpin(r);
    mem_free(&c);
}

static void muc_vcard_committed(void *arg, enum store_result result, const struct store_batch *b)
{
    (void)b;
    muc_vcard_applied(arg, result);
}

static void muc_vcard_card_set(struct iq *iq)
{
    struct room *r = room_of_iq(iq);
    size_t was = card_of(r) == NULL ? 0 : card_of(r)->text.len;
    if (!affiliation_may(room_affiliation(r, stanza_from_bare(iq->st)), ACT_CONFIGURE)) {
        iq_error(iq, SE_FORBIDDEN, SLICE("only owners set the card of a room"));
        return;
    }
    struct buf text;
    buf_init(&text, VCARD_BYTES_MAX);
    struct buf hashes;
    buf_init(&hashes, HASHES_BYTES_MAX);
    elem_extract(&iq->payload, &text);
    struct elem any;
    if (text.overflow || !hashes_of(&iq->payload, iq->tmp, &hashes)) {
        iq_error(iq, SE_NOT_ACCEPTABLE, SLICE("the card is too large, or its photo is not base64"));
    } else if (!r->stored && text.len > was &&
               room_makers_bytes(r) + (int64_t)(text.len - was) >
                   setting_int(&muc_affiliations_bytes)) {
        iq_error(iq, SE_RESOURCE_CONSTRAINT,
                 SLICE("the lists and cards of the rooms that their maker has made are too large"));
    } else {
        bool empty = !elem_first(&iq->payload, &any);
        struct setting_card *c = mem_new(struct setting_card);
        c->room = r;
        c->room_id = r->id;
        c->iq = iq_hold(iq);
        c->vcard = slice_keep(empty ? (slice){ "", 0 } : buf_slice(&text));
        c->hashes = slice_keep(buf_fit(&hashes));
        room_pin(r);
        if (r->stored) {
            struct store_batch *b = store_write(room_store(r), (uint64_t)r->id);
            if (empty)
                card_remove(b, r);
            else
                STORE_ADD(b, &put, 1, SV_I(r->id), SV_T(c->hashes), SV_T(c->vcard));
            store_submit(b, room_loop(r), 0, muc_vcard_committed, c);
        } else {
            muc_vcard_applied(c, STORE_OK);
        }
    }
    buf_fini(&hashes);
    buf_fini(&text);
}

/* XEP-0054 §3.1: who has none has an empty one. */
static void muc_vcard_answer(struct iq *iq, slice card)
{
    iq_result(iq, card.len > 0 ? card : SLICE("<vCard xmlns='" NS_VCARD "'/>"));
}

static void muc_vcard_was_read(void *arg, enum store_result result, const struct store_batch *b)
{
    ensure(((const struct iq *)arg)->held);
    if (result == STORE_OK)
        muc_vcard_answer(arg, store_row_count(b, 0) == 1 ? store_text(b, 0, 0, 0) : (slice){ 0 });
    else
        iq_error(arg, SE_RESOURCE_CONSTRAINT, SLICE("the card could not be read now"));
}

static void muc_vcard_card_get(struct iq *iq)
{
    const struct room *r = room_of_iq(iq);
    if (!r->stored) {
        muc_vcard_answer(iq, card_of(r) == NULL ? (slice){ 0 } : card_of(r)->text);
    } else {
        struct store_batch *b = store_read(room_store(r), (uint64_t)r->id);
        STORE_ADD(b, &vcard_get, STORE_ANY_ROWS, SV_I(r->id));
        store_submit(b, room_loop(r), 0, muc_vcard_was_read, iq_hold(iq));
    }
}

static const struct iq_rule rules[] = {
    { TYPE_GET, NS_VCARD, "vCard", IQ_TO_ROOM, muc_vcard_card_get },
    { TYPE_SET, NS_VCARD, "vCard", IQ_TO_ROOM, muc_vcard_card_set },
    { 0 },
};

const struct feature muc_vcard_feature = {
    .name = "muc_vcard",
    .iq = rules,
    .xeps =
        (const struct xep[]){
            { "0486", "0.1.0", "MUC Avatars", "0.1.0", "rooms/test_modern", NULL }, { 0 } },
    .schema = &schema,
};

const struct room_part vcard_part = {
    .name = "vcard",
    .slot = &vcard_slot,
    .disco = (const char *const[]){ NS_VCARD, NULL },
    .load = vcard_load,
    .loaded = vcard_loaded,
    .store = vcard_store,
    .remove = card_remove,
    .clear = vcard_clear,
    .configured = vcard_configured,
    .info = vcard_info,
    .lines = &vcard_lines,
};
