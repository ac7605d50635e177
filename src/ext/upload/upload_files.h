/* upload_files: the content of uploads in the file system: DATA/uploads/ab/HASH, one file for equal
 * content.
 *
 * A file is answered for (201) when its bytes, its name and the name of its folder are on the disk.
 * Content that no row refers to any more is removed by the sweep, which first condemns a page of
 * hashes, then asks the database again whether they are still without a reference. Content that is
 * placed in between is spared: whoever places it has committed a reference before. */
#pragma once
#include "base/err.h"
#include "ext/upload/upload_private.h"

struct why;

/* Helper threads only, but for the paths. */
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
