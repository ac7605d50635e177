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
    const char *domains;           /* served with this certificate: "a.test, b.test" */
    const char *certificate, *key; /* paths */
    const char *missing;           /* those of `domains` that it does not name, or "" */
    bool made_here;                /* the self-signed pair of the data folder */
    bool known;                    /* the file could be read, and `facts` are set */
    struct tls_cert_facts facts;
};
struct cert_uses {
    struct cert_use *item; /* of the arena, as are all texts in it */
    size_t count;
};

/* Reads the certificates that the node file names, or the self-signed one. A certificate without a
 * domain to serve is left out. Everything is copied to the arena: the node file may be freed. */
void certs_read(struct cert_uses *out, const struct node_file *file, struct arena *arena);
/* Why clients would refuse the certificate at that time (seconds since 1970), as the end of a
 * sentence: "expired on 2026-11-20". NULL: they accept it. */
const char *cert_fault(const struct cert_use *use, int64_t now, struct arena *arena);
/* Whole days until it expires; below zero: it has expired. */
int64_t cert_days_left(const struct cert_use *use, int64_t now);

/* For --check: tests all certificates and keys; makes no files. Appends one line for each finding:
 * mistakes are files that cannot be loaded and certificates that clients would refuse, notes are
 * certificates that may cause trouble. */
void certs_check(const struct node_file *file, struct buf *mistakes, struct buf *notes);
