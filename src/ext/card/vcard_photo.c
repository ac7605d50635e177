#include "ext/card/vcard_photo.h"
#include "account/account.h"
#include "base/arena.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/command.h"
#include "base/ensure.h"
#include "codec/picture.h"
#include "codec/xml_elem.h"
#include "codec/xml_write.h"
#include "core/feature.h"
#include "ext/card/photos.h"
#include "home/here.h"
#include "ops/users.h"
#include "xmpp/ns.h"

enum { SHOWN_BYTES_MAX = 256 << 10, SHOWN_SIDE_MAX = 2048 };

/* Base64 as clients write it, with white space between its lines. */
static bool vcard_photo_decode(struct buf *out, slice text)
{
    struct buf plain;
    buf_init(&plain, XML_STORED_MAX);
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] > ' ')
            buf_append(&plain, text.ptr + i, 1);
    bool fine = !plain.overflow && base64_decode(out, buf_slice(&plain)) == OK;
    buf_fini(&plain);
    return fine;
}

static bool is_too_large(const struct picture *p, size_t bytes)
{
    return bytes > SHOWN_BYTES_MAX || p->width > SHOWN_SIDE_MAX || p->height > SHOWN_SIDE_MAX;
}

static void vcard_photo_row(struct command_call *call, const struct picture *p, size_t bytes)
{
    command_row(call);
    command_text(call, "type", slice_of(p->type));
    command_int(call, "bytes", (int64_t)bytes);
    command_int(call, "width", p->width);
    command_int(call, "height", p->height);
}

static void vcard_photo_show(struct command_call *call, slice bytes)
{
    struct picture p;
    struct buf text;
    if (!picture_read(&p, bytes)) {
        vcard_photo_row(call, &(struct picture){ .type = "unknown" }, bytes.len);
        command_done(call, "%s", "the photo is not shown, since it is no PNG, JPEG or GIF");
        return;
    }
    bool large = is_too_large(&p, bytes.len);
    vcard_photo_row(call, &p, bytes.len);
    if (!large) {
        buf_init(&text, XML_STORED_MAX);
        base64_encode(&text, bytes);
        command_text(call, "image", slice_dup(call->arena, buf_fit(&text)));
        buf_fini(&text);
    }
    command_done(call, "%s", large ? "the photo is too large to be shown" : "");
}

static void vcard_photo_none(struct command_call *call, const char *type, const char *text)
{
    vcard_photo_row(call, &(struct picture){ .type = type }, 0);
    command_done(call, "%s", text);
}

/* Of an image, or of a link to one (XEP-0054 §3). */
static void vcard_photo_read(struct command_call *call, const struct elem *photo)
{
    struct elem child;
    struct buf image;
    slice text = { 0 };
    if (elem_child(photo, "BINVAL", NS_VCARD, &child))
        text = elem_text(&child, call->arena);
    buf_init(&image, XML_STORED_MAX);
    if (!vcard_photo_decode(&image, text))
        vcard_photo_none(call, "unknown", "the photo is not shown, since it is not in base64");
    else if (image.len > 0)
        vcard_photo_show(call, buf_fit(&image));
    else if (elem_child(photo, "EXTVAL", NS_VCARD, &child))
        vcard_photo_none(call, "none",
                         "the user has no photo here, but a link to one; it is not followed");
    else
        vcard_photo_none(call, "none", "the user has no photo");
    buf_fini(&image);
}

/* A card, or a <PHOTO/> alone. */
static void vcard_photo_find(struct command_call *call, slice xml)
{
    struct elem root, photo;
    bool found = xml.len > 0 && elem_parse(&root, xml, SLICE(NS_VCARD));
    if (found && elem_is(&root, "PHOTO", NS_VCARD))
        photo = root;
    else
        found = found && elem_child(&root, "PHOTO", NS_VCARD, &photo);
    if (found)
        vcard_photo_read(call, &photo);
    else
        vcard_photo_none(call, "none", "the user has no photo");
}

static void vcard_photo_of_card(void *arg, enum store_result result, const struct store_batch *b)
{
    struct command_call *call = arg;
    if (result != STORE_OK)
        command_fail_cause(call, err_of_store(result), "the vCard could not be read");
    else
        vcard_photo_find(call, store_row_count(b, 0) > 0 ? store_text(b, 0, 0, 0) : (slice){ 0 });
}

struct vcard_photo_task {
    struct command_call *call;
    int64_t id; /* of the account */
};

static void vcard_photo_of_avatar(void *arg, enum stanza_error e, slice photo)
{
    const struct vcard_photo_task *t = arg;
    const struct worker *w = t->call->worker;
    if (e != SE_NONE) {
        command_fail_cause(t->call, E_DOWN, "the photo could not be read");
        return;
    }
    if (photo.len > 0) {
        vcard_photo_find(t->call, photo);
        return;
    }
    struct store_batch *b = store_read(worker_store(w), 0);
    STORE_ADD(b, &vcard_own_stmt, STORE_ANY_ROWS, SV_I(t->id));
    store_submit(b, worker_loop(w), 0, vcard_photo_of_card, t->call);
}

static void vcard_photo_loaded(struct account *a, enum err e, void *arg)
{
    struct vcard_photo_task *t = arg;
    const struct vcard_photos *photos = vcard_photos();
    ensure(account_here(a));
    if (!users_there(t->call, a, e))
        return;
    if (a->state != ACTOR_READY) { /* which of its photos counts, is not known */
        vcard_photo_none(t->call, "unknown",
                         "the account is disabled, so its photo cannot be read; `user enable` lets "
                         "it in again");
        return;
    }
    t->id = a->id;
    if (photos != NULL)
        photos->get(a, vcard_photo_of_avatar, t);
    else
        vcard_photo_of_avatar(t, SE_NONE, (slice){ 0 });
}

static void run_user_photo(struct command_call *call)
{
    struct vcard_photo_task *t = arena_new(call->arena, struct vcard_photo_task, 1);
    t->call = call;
    account_with(call->worker, command_arg(call, "jid"), vcard_photo_loaded, t);
}

struct command vcard_photo_command = {
    .name = "user photo",
    .rest = "GET /users/{jid}/photo",
    .effect = COMMAND_READS,
    .area = "users",
    .args = (const struct command_arg[]){ COMMAND_USER_ARG, { 0 } },
    .home = "jid",
    .run = run_user_photo,
    .record = true,
    .doc = "Shows the photo of a user: the avatar, or else that of the vCard. Of a photo above 256 "
           "KiB, or wider or higher than 2048 pixels, it shows the sizes only.",
    .columns =
        (const struct command_column[]){
            { .name = "type",
              .doc = "image/png, image/jpeg or image/gif, by its first bytes; unknown: another, "
                     "or one that cannot be read; none" },
            { .name = "bytes", .type = PARAM_INT, .unit = "bytes", .doc = "its size" },
            { .name = "width", .type = PARAM_INT, .unit = "pixels", .doc = "how wide it is" },
            { .name = "height", .type = PARAM_INT, .unit = "pixels", .doc = "how high it is" },
            { .name = "image", .optional = true, .wide = true, .doc = "the image in base64" },
            { 0 } },
};
