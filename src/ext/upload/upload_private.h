/* upload_private: what the files of HTTP File Upload (XEP-0363) share.
 *
 * A slot is a signed URL: nothing is kept until its file has come. A file is a row of `upload`; its
 * content lies once in DATA/uploads/ab/HASH, and `blob` counts the rows that refer to it. */
#pragma once
#include "base/slice.h"

enum {
    UPLOAD_ID_LEN = 32,   /* hex digits */
    UPLOAD_HASH_LEN = 64, /* of SHA-256 */
    UPLOAD_NAME_MAX = 255,
    UPLOAD_TYPE_MAX = 255,
    UPLOAD_PATH_MAX = 4096,
    UPLOAD_PAGE = 100 /* contents that the sweep looks at in one step */
};

/* What a PUT may do. */
struct upload_slot {
    char id[UPLOAD_ID_LEN + 1];
    slice name, type; /* type: as upload_type_read() gives it; empty: not said */
    int64_t owner;    /* account id */
    int64_t size;     /* bytes */
    uint64_t until_us;
};
