/* cert_import: what is true of a certificate before it is taken into use: it is one, its key is
 * there, its chain is whole and in order, and clients accept it for its domains today. */
#pragma once
#include "base/err.h"
#include "base/slice.h"

struct arena;
struct buf;
struct node_file;

/* An import: its files, and its domains. All texts live as long as the call of the import. */
struct cert_import {
    const struct node_file *file; /* as it is on the disk now */
    const char *const *domain;    /* of ours, or of components */
    size_t domain_count;
    const char *certificate; /* path: PEM, with its chain */
    slice text;              /* the same PEM by itself; `certificate` is then what it is called.
                              * ptr NULL: it is in the file */
    const char *key;         /* path; NULL: in the same file, or of a request */
    struct arena *arena;
};

/* E_CONFLICT: the node file says which certificate this domain has. */
NODISCARD enum err cert_import_allowed(const struct node_file *file, const char *domain,
                                       struct why *why);
struct cert_import_found {
    const char *used;  /* path of the key of a request that it was made from; NULL: none */
    const char *notes; /* lines about what is in order, but may cause trouble; "": none */
};
/* Checks all of it and writes it as one text in PEM, key first. Each file is read once. E_IO,
 * E_SYNTAX: a file; E_NOTFOUND: no key; E_CONFLICT: the key of another certificate; E_AUTH: clients
 * would refuse it. Waits for the disk. */
NODISCARD enum err cert_import_check(const struct cert_import *in, struct buf *pem,
                                     struct cert_import_found *out, struct why *why);
