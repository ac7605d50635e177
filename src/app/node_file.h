/* node_file: the YAML file with what a node needs to start (docs/config.md, first half). The keys
 * are rows of one table (app/node_keys.h): loading, range checks and messages come from it.
 *
 * A loaded file is immutable and owns its texts; a reload makes a new one. Bounds: 256 KiB a file,
 * 32 items a list, 32 keys a section, 64 domains, 512 settings, 50 reported errors. */
#pragma once
#include "admin/settings/settings.h"
#include "base/err.h"
#include "base/log.h"
#include "base/slice.h"

struct buf;

struct node_listen {
    const char *address; /* "[::]:5222" */
    int64_t proxy;       /* 1: each connection begins with a PROXY header */
};
struct node_listen_list {
    const struct node_listen *item;
    size_t count;
};
struct node_domains {
    const char *const *name; /* prepared (RFC 7622) */
    size_t count;
};
struct node_cert {
    const char *domain;
    const char *certificate, *key; /* absolute paths */
    size_t line;                   /* of the file */
};
struct node_certs {
    const struct node_cert *item;
    size_t count;
};
struct node_settings {
    const struct setting_fixed *item;
    size_t count;
};

enum { NODE_WORKERS_AUTO = 0, NODE_FILE_KEYS_MAX = 40 };

struct node_file {
    struct arena *arena;
    const char *path;                      /* absolute */
    const char *shown[NODE_FILE_KEYS_MAX]; /* each key's value as one line, by row; NULL: not set */

    const char *node, *cluster_id;
    int64_t node_id;
    struct node_domains domains;
    const char *data, *control; /* absolute paths */
    const char *database;       /* "sqlite", or a URL, which may hold a password */
    int64_t workers;            /* 1..64, or NODE_WORKERS_AUTO */
    int64_t worker_pinning;     /* 0, 1 */
    struct node_listen_list c2s, c2s_tls, s2s, s2s_tls, component, proxy65;
    struct node_listen_list http, https, bosh, metrics, http_admin, https_admin;
    const char *certificate, *key; /* absolute paths; both NULL: self-signed in data/ */
    const char *trust;             /* absolute path; NULL: what the system trusts */
    struct node_certs certs;       /* by domain */
    int64_t log_level, log_format; /* enum log_level, enum log_format */
    struct node_settings settings;
};

enum { NODE_FILE_BYTES_MAX = 256 * 1024 };

/* The file as it is, in `text`, which has room for NODE_FILE_BYTES_MAX and one byte more. E_IO: it
 * cannot be read; E_SYNTAX: it is longer. */
NODISCARD enum err node_file_read(const char *path, struct buf *text, struct why *why);
/* Reads and checks the whole file. On failure `errors` gets one line "FILE:LINE: key …" for each
 * mistake. E_IO: cannot be read; E_SYNTAX: something in it is wrong. Settings must be registered.
 */
NODISCARD enum err node_file_load(struct node_file **out, const char *path, struct buf *errors);
/* The same for text in memory; relative paths count from the folder of `path`. */
NODISCARD enum err node_file_parse(struct node_file **out, const char *path, slice text,
                                   struct buf *errors);
void node_file_free(struct node_file **file); /* NULL is fine */

/* Calls found() for each key that has changed and that a reload cannot apply. */
void node_file_restart_keys(const struct node_file *was, const struct node_file *now,
                            void (*found)(const char *key, void *arg), void *arg);
/* Only the values of `control` and `data` (NULL: it is malformed), whatever mistakes there are
 * elsewhere in the file: for musterctl. E_IO: cannot be read, E_SYNTAX: `control` is malformed. */
NODISCARD enum err node_file_control(const char *path, struct arena *arena, const char **control,
                                     const char **data, struct why *why);
/* The file that this server runs with: set before workers run. The caller keeps the text. */
void node_file_set_own_path(const char *path);
const char *node_file_own_path(void);
