/* certs: the certificates in use. For each domain the first of these counts: the one that the node
 * file names for it (tls.domains), the one that a command put into the data folder
 * (cert/cert_store.h), the default one of the node file (tls.certificate), a self-signed pair in
 * the data folder. A component may have one of the data folder; without, it shows one that names it
 * (io/tls.h). */
#pragma once
#include "base/err.h"
#include "io/tls_cert.h"

struct arena;
struct node_cert;
struct node_file;
struct node_findings;
struct tls_ctx;

/* Makes the self-signed pair if the file names no certificate and there is none yet. At a start a
 * pair of the data folder that cannot be used is logged and left out, so that the other domains are
 * served: its domain has the default certificate. At a reload it is an error: what is in use stays.
 * Waits for the disk. */
enum certs_when { CERTS_START, CERTS_RELOAD };
NODISCARD enum err certs_load(struct tls_ctx **out, const struct node_file *file,
                              enum certs_when when, struct why *why);

enum cert_source {
    CERT_OF_NODE_FILE,
    CERT_OF_COMMANDS, /* in the data folder, by cert/cert_store.h */
    CERT_MADE_HERE    /* the self-signed pair of the data folder */
};
const char *cert_source_name(enum cert_source source); /* "node file" */

/* A certificate in use. */
struct cert_use {
    const char *const *domain; /* served with this certificate */
    size_t domain_count;
    const char *domains;           /* the same: "a.test, b.test" */
    const char *certificate, *key; /* paths */
    const char *missing;           /* those of `domains` that it does not name, or "" */
    enum cert_source source;
    bool known;                  /* the file could be read, and the next two are set */
    struct tls_cert_facts facts; /* of the first in `chain` */
    struct tls_chain chain;
};
struct cert_uses {
    struct cert_use *item; /* of the arena, as are all texts in it */
    size_t count;
};

/* Reads the certificates. One without a domain to serve is left out. Everything is copied to the
 * arena: the node file may be freed. Waits for the disk. */
void certs_read(struct cert_uses *out, const struct node_file *file, struct arena *arena);
/* Reads one again from its file: what it says now. */
void cert_use_again(struct cert_use *out, const struct cert_use *use, struct arena *arena);
/* Whether one of its DNS names covers the domain (io/tls_names.h). */
bool cert_names(const struct tls_cert_facts *facts, const char *domain, struct arena *arena);
/* Domains that it does not name, "a.test, b.test", or "". */
const char *cert_missing(const struct tls_cert_facts *facts, const char *const *domain,
                         size_t count, struct arena *arena);
/* The certificate of the node file for just this domain; NULL: it names none. */
const struct node_cert *certs_own(const struct node_file *file, const char *domain);
/* Why clients would refuse the certificate at that time (seconds since 1970), as the end of a
 * sentence: "expired on 2026-11-20". NULL: they accept it. */
const char *cert_fault(const struct cert_use *use, int64_t now, struct arena *arena);
/* The one of a chain that expires first. A root behind the first does not count: clients take the
 * one that they trust. `chain` is not empty. */
const struct tls_cert_facts *cert_first_end(const struct tls_chain *chain);
/* Whole days until it expires; below zero: it has expired. */
int64_t cert_days_left(const struct tls_cert_facts *facts, int64_t now);
struct cert_days {
    char text[32];
};
/* "40 days", "less than a day", "expired". */
struct cert_days cert_days_print(int64_t days);

/* For --check: tests all certificates and keys; makes no files. Mistakes are files that cannot be
 * loaded and certificates that clients would refuse, notes are certificates that may cause trouble.
 */
void certs_check(const struct node_file *file, struct node_findings *out);
