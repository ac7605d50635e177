/* photos: what one extension (avatar) says about the photos in the vCards of another (XEP-0398). */
#pragma once
#include "base/slice.h"
#include "xmpp/stanza_error.h"

struct account;
struct elem;

/* photo: the <PHOTO/> of a card, NULL: it has none. `done` is called once, maybe at once. */
typedef void vcard_set_fn(void *arg, enum stanza_error e);
/* photo: XML of a <PHOTO/>; empty: none is known, that of the card counts. */
typedef void vcard_get_fn(void *arg, enum stanza_error e, slice photo);
struct vcard_photos {
    void (*set)(struct account *a, const struct elem *photo, vcard_set_fn *done, void *arg);
    void (*get)(struct account *a, vcard_get_fn *done, void *arg);
};
/* At start. From then on photos are not kept in cards. */
void vcard_photos_are(const struct vcard_photos *photos);
const struct vcard_photos *vcard_photos(void); /* NULL: they are kept with their cards */
