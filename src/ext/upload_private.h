/* upload_private: what the files of HTTP File Upload (XEP-0363) share.
 *
 * A slot is a signed URL: nothing is kept until its file has come. A file is a row of `upload`; its
 * content lies once in DATA/uploads/ab/HASH, and `blob` counts the rows that refer to it. */
#pragma once
#include "base/setting.h"
#include "base/slice.h"
#include "http/server.h"
#include "im/feature.h"
#include "store/store.h"

struct arena;
struct buf;
struct worker;

enum {
    UPLOAD_ID_LEN = 32,   /* hex digits */
    UPLOAD_HASH_LEN = 64, /* of SHA-256 */
    UPLOAD_NAME_MAX = 255,
    UPLOAD_TYPE_MAX = 127,
    UPLOAD_PATH_MAX = 4096
};

extern struct setting upload_quota, upload_daily, upload_keep, upload_types;
extern struct metric upload_stored, upload_served, upload_refused, upload_removed;
extern struct alarm upload_disk_alarm;
extern struct log_area log_upload;

/* What a PUT may do. */
struct upload_slot {
    char id[UPLOAD_ID_LEN + 1];
    slice name, type; /* type empty: not said */
    int64_t owner;    /* account id */
    int64_t size;     /* bytes */
    uint64_t until_us;
};
/* The query of its URL; and back: false if it was not signed by us for this id, name and type. Time
 * is not looked at. */
void upload_sign(struct buf *out, const struct upload_slot *slot);
bool upload_verify(struct upload_slot *slot, slice query, struct arena *tmp);
NODISCARD bool upload_key_load(const char *data); /* once, before workers run */

bool upload_name_ok(slice name);  /* no path, no control characters, UTF-8 */
bool upload_type_ok(slice type);  /* type "/" subtype, without parameters */
bool upload_types_ok(slice text); /* of upload.types */
bool upload_type_allowed(slice type);
void upload_url_path(struct buf *out, slice id, slice name); /* "/upload/ID/NAME" */

/* Files. Helper threads only, but for the paths. */
const char *upload_folder(void); /* DATA/uploads */
void upload_blob_path(char out[UPLOAD_PATH_MAX], const char *hash);

extern struct store_stmt upload_owner, upload_put, upload_ref, upload_within, upload_active,
    upload_find, upload_list, upload_unref, upload_delete, upload_expired, upload_orphans,
    upload_forget, upload_unref_all, upload_delete_all;
extern const struct store_schema upload_schema;
extern const struct http_route upload_routes[];
extern struct command upload_command_list, upload_command_del, upload_command_sweep;

/* Removes what has expired and content that nobody refers to, in small steps; upload_sweep.c. */
void upload_sweep_start(struct worker *w);
void upload_sweep_stop(struct worker *w);
