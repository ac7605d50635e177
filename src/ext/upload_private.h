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
    UPLOAD_PATH_MAX = 4096,
    UPLOAD_PAGE = 100 /* contents that the sweep looks at in one step */
};

extern struct setting upload_quota, upload_daily, upload_keep, upload_types;
extern struct metric upload_stored, upload_stored_files, upload_served, upload_served_files,
    upload_refused, upload_removed;
extern struct alarm upload_disk_alarm, upload_key_alarm;
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
/* Once, before workers run. Without the key no slot is given and none is accepted. */
NODISCARD enum err upload_key_load(const char *path, struct why *why);
bool upload_has_key(void);

bool upload_name_ok(slice name);  /* no path, no control characters, UTF-8 */
bool upload_type_ok(slice type);  /* type "/" subtype, without parameters */
bool upload_types_ok(slice text); /* of upload.types */
bool upload_type_allowed(slice type);
void upload_url_path(struct buf *out, slice id, slice name); /* "/upload/ID/NAME" */

/* Files; upload_files.c. Helper threads only, but for the paths. */
NODISCARD enum err upload_files_open(const char *data, struct why *why); /* key included; once */
const char *upload_folder(void);                                         /* DATA/uploads */
void upload_blob_path(char out[UPLOAD_PATH_MAX], const char *hash);
/* Moves a file to its place, over one of the same content if there is one; `temp` is empty then.
 * 0: it is there after a power cut; else errno. */
NODISCARD int upload_place(char temp[UPLOAD_PATH_MAX], const char *hash);

/* Contents that seem to have no reference. From upload_condemn() to upload_acquit() what is placed
 * is marked as spared; one page at a time. */
struct upload_page {
    uint32_t count;
    char hash[UPLOAD_PAGE][UPLOAD_HASH_LEN + 1];
    bool spared[UPLOAD_PAGE]; /* it stays, and so does its row */
};
void upload_condemn(struct upload_page *page);
void upload_spare(uint32_t i); /* of the page that is condemned */
void upload_acquit(void);
void upload_remove(struct upload_page *page); /* all that are not spared; marks what stays */

extern struct store_stmt upload_owner, upload_put, upload_ref, upload_within, upload_active,
    upload_find, upload_list, upload_unref, upload_delete, upload_expired, upload_orphans,
    upload_orphan, upload_forget, upload_unref_all, upload_delete_all;
extern const struct store_schema upload_schema;
extern const struct http_route upload_routes[];
extern struct command upload_command_list, upload_command_del, upload_command_sweep;

/* Removes what has expired and content that nobody refers to, in small steps; upload_sweep.c. */
void upload_sweep_start(struct worker *w);
void upload_sweep_stop(struct worker *w);
