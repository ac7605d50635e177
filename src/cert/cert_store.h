/* cert_store: the certificates that commands have put into the data folder. Each domain, of ours or
 * of a component, may have one file certs/DOMAIN.pem with its key and the certificates behind it,
 * so that both are replaced at once, and certs/DOMAIN.key, the key of a request whose certificate
 * has not come yet.
 *
 * Reading and writing wait for the disk: helper threads, or the main thread at start. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct arena;
struct buf;
struct node_domains;
struct node_file;

/* Paths, in the arena. domain: as the node has it. */
const char *cert_store_pair(struct arena *arena, const char *data, const char *domain);
const char *cert_store_request(struct arena *arena, const char *data, const char *domain);
bool cert_store_has(const char *path);
/* The domains that have a certificate there, but are not among these: of components, or no longer
 * served. Sorted, in the arena; at most CERT_STORE_OTHERS_MAX. */
enum { CERT_STORE_OTHERS_MAX = 1024 };
void cert_store_others(struct node_domains *out, const char *data, const struct node_domains *ours,
                       struct arena *arena);
/* Writes a file with mode 0600, as a whole; makes the folder. */
NODISCARD enum err cert_store_write(const char *data, const char *path, slice pem, struct why *why);
struct cert_file {
    const char *path;
    slice text;
};
/* Writes files of one folder, or replaces them, with mode 0600: all or none, unless the disk fails
 * between two names. */
NODISCARD enum err cert_store_replace(const struct cert_file *files, size_t count, struct why *why);
/* The node file as it is on the disk: that is what a reload will apply. Not OK: it has a mistake.
 */
NODISCARD enum err cert_store_node_file(struct node_file **out, struct why *why);
/* Reads a file that an operator named: base/whole_file.h. `why` says who must be able to read it.
 */
NODISCARD enum err cert_store_read_given(struct buf *out, const char *path, struct why *why);
/* Removes what a write that was cut short has left in the folders of certificates. At start, before
 * anything writes. */
void cert_store_clean(const char *data);
/* Removes a file. E_NOTFOUND: there is none. */
NODISCARD enum err cert_store_remove(const char *path, struct why *why);
