#include "ext/card/photos.h"
#include <stddef.h>

static const struct vcard_photos *photos;

void vcard_photos_are(const struct vcard_photos *p) { photos = p; }

const struct vcard_photos *vcard_photos(void) { return photos; }
