/* avatar: the image of an account (XEP-0084) is the photo of its vCard as well (XEP-0398,
 * XEP-0153): it is kept in the account's nodes only. A card is read with the current image as its
 * photo, a photo that is set with a card is published, and presence of the account's sessions tells
 * the hash of the image.
 *
 * In memory is the hash while there is an image. */
#include "account/account.h"
#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/ensure.h"
#include "base/hex.h"
#include "base/mem.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "ext/card/photos.h"
#include "ext/ext.h"
#include "home/here.h"
#include "presence/presence.h"
#include "presence/presence_pace.h"
#include "pubsub/pubsub.h"
#include "session/sessions.h"
#include "xmpp/ns.h"
#include <openssl/evp.h>
#include <openssl/sha.h>

#define NS_AVATAR   "urn:xmpp:avatar:data"
#define NS_METADATA "urn:xmpp:avatar:metadata"
#define NS_UPDATE   "vcard-temp:x:update"

enum { HASH_LEN = 2 * SHA_DIGEST_LENGTH, TYPE_LEN_MAX = 63, IMAGE_BYTES_MAX = 4 << 20 };

struct avatar {
    char hash[HASH_LEN + 1];
    char type[TYPE_LEN_MAX + 1]; /* media type; empty: not said */
};

static unsigned slot;

static struct avatar *avatar_of(const struct account *a) { return a->state_of[slot]; }

static slice avatar_hash(const struct avatar *av)
{
    return av == NULL ? (slice){ 0 } : (slice){ av->hash, HASH_LEN };
}

static bool avatar_is_hash(slice s)
{
    if (s.len != HASH_LEN)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!((s.ptr[i] >= '0' && s.ptr[i] <= '9') || (s.ptr[i] >= 'a' && s.ptr[i] <= 'f')))
            return false;
    return true;
}

/* The image of metadata that is in the account's node: the first that is not elsewhere (XEP-0398
 * §3.1). false: there is none. */
static bool read_metadata(struct avatar *out, slice xml, struct arena *tmp)
{
    struct elem metadata, e;
    if (!elem_parse(&metadata, xml, SLICE(NS_CLIENT)) ||
        !elem_is(&metadata, "metadata", NS_METADATA))
        return false;
    for (bool more = elem_first(&metadata, &e); more; more = elem_next(&e, &e)) {
        slice id = elem_attr(&e, "id", tmp), type = elem_attr(&e, "type", tmp);
        if (!elem_is(&e, "info", NS_METADATA) || elem_attr_raw(&e, "url").ptr != NULL ||
            !avatar_is_hash(id))
            continue;
        *out = (struct avatar){ 0 };
        memcpy(out->hash, id.ptr, id.len);
        if (type.len > 0 && type.len <= TYPE_LEN_MAX)
            memcpy(out->type, type.ptr, type.len);
        return true;
    }
    return false;
}

static void set_avatar(struct account *a, const struct avatar *av)
{
    struct avatar *own = avatar_of(a);
    if (av == NULL) {
        mem_free(&own);
    } else {
        if (own == NULL)
            own = mem_new(struct avatar);
        *own = *av;
    }
    a->state_of[slot] = own;
}

static struct store_stmt stmt_metadata = {
    .name = "avatar.metadata",
    .sql = "SELECT i.xml FROM pubsub_node n JOIN pubsub_item i ON i.owner = n.owner AND "
           "i.nid = n.nid WHERE n.owner = $1 AND n.node = '" NS_METADATA "' "
           "ORDER BY i.at_us DESC LIMIT 1",
    .params = "i",
    .cols = "t",
};
static struct store_stmt stmt_image = {
    .name = "avatar.image",
    .sql = "SELECT i.xml FROM pubsub_node n JOIN pubsub_item i ON i.owner = n.owner AND "
           "i.nid = n.nid WHERE n.owner = $1 AND n.node = '" NS_AVATAR "' AND i.id = $2",
    .params = "it",
    .cols = "t",
};
static const struct store_schema avatar_schema = {
    .feature = "avatar",
    .migrations = (const struct store_migration[]){ { 0 } },
    .stmts = (struct store_stmt *const[]){ &stmt_metadata, &stmt_image, NULL },
};

static void avatar_load(struct account *a, struct store_batch *b)
{
    STORE_ADD(b, &stmt_metadata, STORE_ANY_ROWS, SV_I(a->id));
}

static void avatar_loaded(struct account *a, const struct store_batch *b, unsigned first)
{
    struct avatar av;
    if (store_row_count(b, first) > 0 &&
        read_metadata(&av, store_text(b, first, 0, 0), loop_scratch(worker_loop(a->worker))))
        set_avatar(a, &av);
}

static void avatar_unload(struct account *a) { set_avatar(a, NULL); }

/* Presence (XEP-0398 §4). */

/* The empty photo that the server adds when the image of the account was removed. The space
 * distinguishes it from an empty photo of the client, which asks the server not to add one
 * later. */
#define NO_IMAGE "<x xmlns='" NS_UPDATE "' ><photo/></x>"

enum photo_said { SAYS_NOTHING, SAYS_NO_PHOTO, SAYS_EMPTY, SAYS_HASH };

static enum photo_said what_it_says(const struct stanza *st, slice hash, struct arena *tmp)
{
    struct elem x, photo;
    if (!stanza_find(st, "x", NS_UPDATE, &x))
        return SAYS_NOTHING;
    if (slice_is(x.whole, NO_IMAGE) || !elem_child(&x, "photo", NS_UPDATE, &photo))
        return SAYS_NO_PHOTO;
    slice said = elem_text(&photo, tmp);
    if (said.len == 0)
        return SAYS_EMPTY;
    return slice_eq(said, hash) ? SAYS_HASH : SAYS_NO_PHOTO;
}

static bool is_update(enum known_child known, const struct elem *e, void *unused)
{
    (void)known;
    (void)unused;
    return elem_is(e, "x", NS_UPDATE);
}

/* With the hash of the image; the same stanza where it must not be said. Takes over. */
static struct stanza *with_hash(struct stanza *st, slice hash, struct arena *tmp)
{
    enum photo_said said = what_it_says(st, hash, tmp);
    if (said == SAYS_EMPTY || said == SAYS_HASH)
        return st; /* the client does not want it said (XEP-0153 §4.2), or has said it */
    st = stanza_without(st, KNOWN(PAYLOAD), is_update, NULL);
    struct buf xml;
    struct xml_write x;
    xml_begin(&x, &xml, XML_PART_MAX);
    xml_open(&x, "x", NS_UPDATE);
    xml_element(&x, "photo", hash);
    xml_close(&x);
    struct stanza *more = stanza_append(st, buf_fit(&xml));
    buf_fini(&xml);
    stanza_unref(&st);
    return more;
}

static enum verdict avatar_check(struct session *s, struct stanza **st, struct refusal *why)
{
    slice hash = avatar_hash(avatar_of(s->account));
    (void)why;
    if (hash.len > 0 && (*st)->kind == STANZA_PRESENCE && (*st)->type == TYPE_AVAILABLE &&
        !(*st)->bad_to)
        *st = with_hash(*st, hash, loop_scratch(worker_loop(s->account->worker)));
    return PASS;
}

/* Another image: contacts are told by another presence of each session that tells the hash. */
static struct stanza *rewrite(struct session *s, struct stanza *st)
{
    struct arena *tmp = loop_scratch(worker_loop(s->account->worker));
    slice hash = avatar_hash(avatar_of(s->account));
    if (hash.len > 0)
        return with_hash(st, hash, tmp);
    if (what_it_says(st, hash, tmp) == SAYS_EMPTY)
        return st;
    const struct stanza *was = st;
    st = stanza_without(st, KNOWN(PAYLOAD), is_update, NULL);
    if (st == was)
        return st;
    struct stanza *none = stanza_append(st, SLICE(NO_IMAGE));
    stanza_unref(&st);
    return none;
}

static void tell_again(struct session *s, void *unused)
{
    (void)unused;
    presence_rewrite(s, rewrite);
}

/* item: the newest metadata; NULL: there is none. */
static void take_metadata(struct account *a, const struct ps_item *item)
{
    struct avatar av, *own = avatar_of(a);
    bool some = item != NULL && read_metadata(&av, item->xml, loop_scratch(worker_loop(a->worker)));
    bool same = some ? own != NULL && slice_is(avatar_hash(own), av.hash) : own == NULL;
    set_avatar(a, some ? &av : NULL);
    if (!same)
        sessions_each(a, SESSIONS_AVAILABLE, tell_again, NULL);
}

/* Metadata has gone: what is the newest now? */
struct newest {
    struct account *account; /* pinned */
    struct avatar before;    /* without a hash: there was none */
};

static void newest_found(void *arg, enum stanza_error e, const struct ps_item *items,
                         unsigned count)
{
    struct newest *n = arg;
    struct account *a = n->account;
    slice before = slice_of(n->before.hash);
    bool same = slice_eq(before, avatar_hash(avatar_of(a))); /* else: another came */
    ensure(account_here(a) && account_is_pinned(a));
    if (e == SE_NONE && a->state == ACTOR_READY && same)
        take_metadata(a, count > 0 ? &items[0] : NULL);
    mem_free(&n);
    account_unpin(a);
}

static void metadata_changed(struct account *a, enum ps_by by, const struct ps_item *item)
{
    const struct avatar *own = avatar_of(a);
    (void)by;
    if (item != NULL) {
        take_metadata(a, item);
        return;
    }
    struct newest *n = mem_new(struct newest);
    n->account = a;
    if (own != NULL)
        n->before = *own;
    account_pin(a);
    ps_own_items(a, SLICE(NS_METADATA), (slice){ 0 }, newest_found, n);
}

/* Reading a card: the image as its photo. */

struct photo_get {
    struct account *account; /* pinned */
    struct avatar avatar;
    vcard_get_fn *done;
    void *arg;
};

/* Base64 without the white space that clients put between lines. */
static void add_base64(struct buf *out, slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] > ' ')
            buf_append(out, text.ptr + i, 1);
}

static void image_found(void *arg, enum store_result result, const struct store_batch *b)
{
    struct photo_get *g = arg;
    struct account *a = g->account;
    struct arena *tmp = loop_scratch(worker_loop(a->worker));
    enum stanza_error e = result == STORE_OK ? SE_NONE : stanza_error_of(err_of_store(result));
    struct elem data;
    struct buf out;
    struct xml_write x;
    ensure(account_here(a) && account_is_pinned(a) && g->done != NULL);
    xml_begin(&x, &out, XML_STORED_MAX);
    if (store_row_count(b, 0) > 0 && elem_parse(&data, store_text(b, 0, 0, 0), SLICE(NS_CLIENT))) {
        struct buf text;
        buf_init(&text, XML_STORED_MAX);
        add_base64(&text, elem_text(&data, tmp));
        xml_open(&x, "PHOTO", NULL);
        xml_element_some(&x, "TYPE", slice_of(g->avatar.type));
        xml_element(&x, "BINVAL", buf_slice(&text));
        xml_close(&x);
        out.overflow |= text.overflow;
        buf_fini(&text);
    }
    if (out.overflow)
        g->done(g->arg, SE_RESOURCE_CONSTRAINT, (slice){ 0 });
    else
        g->done(g->arg, e, buf_slice(&out));
    buf_fini(&out);
    mem_free(&g);
    account_unpin(a);
}

static void photo_get(struct account *a, vcard_get_fn *done, void *arg)
{
    const struct avatar *av = avatar_of(a);
    ensure(account_here(a) && done != NULL);
    if (av == NULL) {
        done(arg, SE_NONE, (slice){ 0 });
        return;
    }
    struct photo_get *g = mem_alloc(sizeof *g);
    *g = (struct photo_get){ a, *av, done, arg };
    struct store_batch *b = store_read(worker_store(a->worker), account_lane(a));
    STORE_ADD(b, &stmt_image, STORE_ANY_ROWS, SV_I(a->id), SV_T(avatar_hash(av)));
    account_pin(a);
    store_submit(b, worker_loop(a->worker), 0, image_found, g);
}

/* Setting a card: its photo is published, first the image, then what tells of it. */

struct photo_set {
    struct account *account; /* pinned */
    vcard_set_fn *done;
    void *arg;
    struct avatar avatar;
    size_t bytes; /* of the image; 0: there is none */
};

static void photo_set_end(struct photo_set *p, enum stanza_error e)
{
    struct account *a = p->account;
    ensure(account_is_pinned(p->account));
    p->done(p->arg, e);
    mem_free(&p);
    account_unpin(a);
}

static void metadata_published(void *arg, enum stanza_error e) { photo_set_end(arg, e); }

static void publish_metadata(struct photo_set *p)
{
    struct buf xml;
    struct xml_write x;
    xml_begin(&x, &xml, XML_PART_MAX);
    xml_open(&x, "pubsub", NS_PUBSUB);
    xml_open_with(&x, "publish", NULL, "node", SLICE(NS_METADATA));
    xml_open(&x, "item", NULL);
    xml_attr_some(&x, "id", slice_of(p->bytes > 0 ? p->avatar.hash : NULL));
    xml_open(&x, "metadata", NS_METADATA); /* empty: there is none (XEP-0084 §3.5) */
    if (p->bytes > 0) {
        xml_open_with(&x, "info", NULL, "id", slice_of(p->avatar.hash));
        xml_attr_int(&x, "bytes", (int64_t)p->bytes);
        xml_attr(&x, "type", slice_of(p->avatar.type));
        xml_close(&x);
    }
    xml_close_all(&x);
    ps_own_buf(p->account, &xml, metadata_published, p);
}

static void image_published(void *arg, enum stanza_error e)
{
    if (e != SE_NONE)
        photo_set_end(arg, e);
    else
        publish_metadata(arg);
}

static void publish_image(struct photo_set *p, slice base64)
{
    struct buf xml;
    struct xml_write x;
    xml_begin(&x, &xml, XML_STORED_MAX);
    xml_open(&x, "pubsub", NS_PUBSUB);
    xml_open_with(&x, "publish", NULL, "node", SLICE(NS_AVATAR));
    xml_open_with(&x, "item", NULL, "id", slice_of(p->avatar.hash));
    xml_open(&x, "data", NS_AVATAR);
    xml_text(&x, base64);
    xml_close_all(&x);
    ps_own_buf(p->account, &xml, image_published, p);
}

/* false: there is no image in it, but a link, or nothing that is one. */
static bool read_photo(struct photo_set *p, const struct elem *photo, struct buf *base64,
                       struct arena *tmp)
{
    struct elem binval, type;
    struct buf image;
    unsigned char sha[SHA_DIGEST_LENGTH];
    if (!elem_child(photo, "BINVAL", NS_VCARD, &binval))
        return false;
    add_base64(base64, elem_text(&binval, tmp));
    buf_init(&image, IMAGE_BYTES_MAX);
    bool fine = base64_decode(&image, buf_slice(base64)) == OK && image.len > 0 &&
                EVP_Digest(image.ptr, image.len, sha, NULL, EVP_sha1(), NULL) == 1;
    if (fine) {
        hex_encode(p->avatar.hash, (slice){ (const char *)sha, sizeof sha });
        p->bytes = image.len;
    }
    buf_fini(&image);
    slice t = elem_child(photo, "TYPE", NS_VCARD, &type) ? elem_text(&type, tmp) : (slice){ 0 };
    if (t.len == 0 || t.len > TYPE_LEN_MAX)
        t = SLICE("image/png"); /* what XEP-0084 §3.1 has everybody understand */
    memcpy(p->avatar.type, t.ptr, t.len);
    return fine;
}

static void avatar_photo_set(struct account *a, const struct elem *photo, vcard_set_fn *done,
                             void *arg)
{
    struct avatar *own = avatar_of(a);
    ensure(account_here(a) && done != NULL);
    if (photo == NULL && own == NULL) {
        done(arg, SE_NONE);
        return;
    }
    struct photo_set *p = mem_new(struct photo_set);
    struct buf base64;
    p->account = a;
    p->done = done;
    p->arg = arg;
    account_pin(a);
    buf_init(&base64, XML_STORED_MAX);
    if (photo == NULL)
        publish_metadata(p);
    else if (!read_photo(p, photo, &base64, loop_scratch(worker_loop(a->worker))))
        photo_set_end(p, SE_BAD_REQUEST);
    else if (own != NULL && slice_is(avatar_hash(own), p->avatar.hash))
        photo_set_end(p, SE_NONE); /* a card that was read, changed elsewhere, and set again */
    else
        publish_image(p, buf_fit(&base64));
    buf_fini(&base64);
}

static const struct vcard_photos photos = { avatar_photo_set, photo_get };

static void avatar_start(void) { vcard_photos_are(&photos); }

const struct feature avatar_feature = {
    .name = "avatar",
    .xeps =
        (const struct xep[]){
            { "0084", "1.1.4", "User Avatar", "0.1.0", "services/test_avatar", NULL },
            { "0153", "1.1", "vCard-Based Avatars", "0.1.0", "services/test_avatar", NULL },
            { "0398", "1.0.0", "User Avatar to vCard-Based Avatars Conversion", "0.1.0",
              "services/test_avatar", NULL },
            { 0 },
        },
    .disco_account = (const char *const[]){ "urn:xmpp:pep-vcard-conversion:0", NULL },
    .schema = &avatar_schema,
    .start = avatar_start,
    .watches = (const struct ps_watch[]){ { NS_METADATA, metadata_changed, NULL, NULL }, { 0 } },
    .account.slot = &slot,
    .account.load = avatar_load,
    .account.loaded = avatar_loaded,
    .account.unload = avatar_unload,
    .stage.check = avatar_check,
};
