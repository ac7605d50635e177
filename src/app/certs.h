/* certs: the certificates that a node file names, or a self-signed pair in the data folder. */
#pragma once
#include "base/err.h"
#include "io/tls_cert.h"

struct arena;
struct buf;
struct node_file;
struct tls_ctx;

/* Makes the self-signed pair if the file names no certificate and there is none yet. */
NODISCARD enum err certs_load(struct tls_ctx **out, const struct node_file *file, struct why *why);

/* A certificate in use. */
struct cert_use {
    const char *domains;           /* that are served with it: "a.test, b.test" */
    const char *certificate, *key; /* paths */
    const char *missing;           /* domains that it does not name, "" */
    bool made_here;                /* the self-signed pair of the data folder */
    bool known;                    /* the file could be read, and `facts` are set */
    struct tls_cert_facts facts;
};
struct cert_uses {
    struct cert_use *item; /* of the arena, as everything in it */
    size_t count;
};

/* What the node file's certificates say; reads the files. Those that serve no domain are left out.
 */
void certs_read(struct cert_uses *out, const struct node_file *file, struct arena *arena);
/* What is wrong with one of them at that time (seconds since 1970), as the end of a sentence:
 * "expired on 2026-11-20"; NULL: nothing. */
const char *cert_fault(const struct cert_use *use, int64_t now, struct arena *arena);
/* Whole days until it expires; below zero: it has expired. */
int64_t cert_days_left(const struct cert_use *use, int64_t now);

/* Looks at all certificates and keys without making files, for --check. Mistakes: what cannot be
 * loaded, and what clients would refuse; notes: what may be wrong. One line each. */
void certs_check(const struct node_file *file, struct buf *mistakes, struct buf *notes);
